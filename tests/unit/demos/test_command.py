"""`pystream demo` finds demos by name."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pystream.demos import command


def test_the_help_lists_every_demo():
    result = CliRunner().invoke(command.demo, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in command.DEMOS)


@pytest.mark.parametrize("name", command.DEMOS)
def test_every_demo_is_found_and_has_its_own_help(name: str):
    result = CliRunner().invoke(command.demo, [name, "--help"])
    assert result.exit_code == 0
    assert "--bootstrap" in result.output


def test_an_unknown_demo_is_a_usage_error():
    assert CliRunner().invoke(command.demo, ["nothing"]).exit_code == 2
