"""`pystream demo` finds demos by name and says what is missing."""

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


def test_a_missing_client_library_is_told_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "find_spec", lambda _name: None)
    result = CliRunner().invoke(command.demo, ["payments"])
    assert result.exit_code == 1
    assert command.EXTRA in result.output
