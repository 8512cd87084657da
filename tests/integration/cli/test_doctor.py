"""`pystream doctor` against brokers with and without faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from pystream.cli.main import main
from tests.integration.cli.conftest import SETTINGS, Command, Produce, fresh
from tests.support.broker_process import BrokerProcess
from tests.support.ports import nobodys

QUIET_DISK = ("--disk-percent", "101")


def findings(outcome: object) -> set[tuple[str, str]]:
    return {(row["check"], row["severity"]) for row in outcome.json}  # type: ignore[attr-defined]


def test_a_sound_cluster_is_told_what_was_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with BrokerProcess(tmp_path / "data", SETTINGS) as broker, pytest.raises(SystemExit) as stopped:
        main(["doctor", "--all", "-b", broker.bootstrap, *QUIET_DISK, "-o", "csv"])

    checks = {line.split(",")[1]: line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]}
    assert {name: told for name, told in checks.items() if name not in ("disks", "versions")} == dict.fromkeys(
        ("listeners", "clock", "settings", "partitions", "replication", "groups", "transactions"), "ok"
    )
    assert stopped.value.code == (1 if str(tmp_path).startswith("/tmp/") else 0)  # a directory of /tmp is a finding


def test_a_group_that_nobody_reads_for_and_a_lag_are_found(pystream: Command, produce: Produce):
    topic, group = fresh("waiting"), fresh("nobody")
    pystream("topics", "create", topic, "--partitions", "1")
    produce(topic, 10)
    pystream("groups", "reset-offsets", group, "--topic", topic, "--to-earliest", "--execute")

    found = pystream("cluster", "doctor", *QUIET_DISK, "--json")

    assert found.code == 1
    (row,) = [row for row in found.json if row["subject"] == f"group {group}"]
    assert (row["check"], row["severity"]) == ("groups", "warning")
    assert "10 records wait" in row["what"]
    assert group in row["remedy"]
    pystream("groups", "delete", group)


def test_a_listener_that_cannot_be_reached_is_an_error_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    port = nobodys()
    settings = {**SETTINGS, "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}"}
    with BrokerProcess(tmp_path / "data", settings) as broker, pytest.raises(SystemExit) as stopped:
        main(["doctor", "-b", broker.bootstrap, "-o", "csv", "--timeout", "5"])

    captured = capsys.readouterr()
    assert stopped.value.code == 1
    assert f'error,listeners,broker 1,"advertises 127.0.0.1:{port}, which cannot be reached' in captured.out
    assert "advertised.listeners" in captured.out


def test_no_cluster_at_all_is_exit_code_five(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "-b", "127.0.0.1:1", "--timeout", "1"])

    captured = capsys.readouterr()
    assert (stopped.value.code, captured.out, captured.err.count("\n")) == (5, "", 1)
