"""What `pystream up` and `pystream broker` refuse before anything is started, and the commands of the components."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pystream.cli.broker_command import broker
from pystream.cli.up_command import UpOptions, admin_component, broker_component, check_broker_settings, up


def options(tmp_path: Path, *assignments: str, host: str = "127.0.0.1") -> UpOptions:
    return UpOptions(data_dir=tmp_path, host=host, port_offset=1000, assignments=assignments)


def with_logs(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "meta.properties").write_text("version=1\nnode.id=1\n")


def test_an_ipv6_host_is_put_in_brackets(tmp_path: Path):
    given = options(tmp_path, host="::1")

    check_broker_settings(given)
    listened = broker_component(given).command
    asked = admin_component(given).command

    assert "PLAINTEXT://[::1]:10092" in listened
    assert "metrics.listener=http://[::1]:10404" in listened
    assert asked[asked.index("--bootstrap") + 1] == "[::1]:10092"
    assert asked[asked.index("--listen") + 1] == "[::1]:10095"


@pytest.mark.parametrize(
    ("assignment", "option"),
    [("listeners=PLAINTEXT://127.0.0.1:1", "--port-offset"), ("log.dirs=x", "--data-dir"), ("log.dir=x", "--data-dir")],
)
def test_a_setting_that_an_option_gives_is_refused(tmp_path: Path, assignment: str, option: str):
    with pytest.raises(click.UsageError, match=option):
        check_broker_settings(options(tmp_path, assignment))


def test_up_does_not_begin_an_empty_broker_beside_the_logs_of_one(tmp_path: Path):
    with_logs(tmp_path)

    result = CliRunner().invoke(up, ["--data-dir", str(tmp_path), "--only", "broker"])

    assert result.exit_code == 2
    assert f"pystream broker --data-dir {tmp_path}" in result.output
    assert not (tmp_path / "broker").exists()


def test_a_broker_does_not_begin_beside_the_logs_of_up(tmp_path: Path):
    with_logs(tmp_path / "broker")

    result = CliRunner().invoke(broker, ["--data-dir", str(tmp_path)])

    assert result.exit_code == 2
    assert str(tmp_path / "broker") in result.output
    assert not (tmp_path / "meta.properties").exists()
