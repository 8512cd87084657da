"""The demo against a real broker, and tools/run from start to stop."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystream.cli.up_command import ADMIN_PORT, KAFKA_PORT, METRICS_PORT
from pystream.demos.payments import generator
from tests.support.broker_process import ROOT, BrokerProcess
from tests.support.ports import HeldPorts


def run_demo(bootstrap: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pystream.demos.payments", "--bootstrap", bootstrap]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_all_payments_come_through_a_topic_twice_in_a_row(tmp_path: Path):
    with BrokerProcess(tmp_path / "data") as broker:
        for _ in range(2):
            result = run_demo(broker.bootstrap)
            assert result.returncode == 0, result.stdout + result.stderr
            assert f"verified  {generator.EVENTS:,} payments" in result.stdout


def test_a_broker_that_is_not_there_is_told_and_fails_the_demo(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pystream.demos.payments.stream.FIRST_ANSWER_SECONDS", 2)
    from pystream.demos.payments.stream import DemoFailed, ensure_topic

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        with pytest.raises(DemoFailed, match="cannot create topic payments"):
            ensure_topic(f"127.0.0.1:{nobody.getsockname()[1]}", "payments", partitions=1)


@pytest.fixture
def tools_run(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Calls tools/run with a data folder and ports of its own, without a terminal or input; stops it at the end."""
    with HeldPorts(KAFKA_PORT, METRICS_PORT, ADMIN_PORT) as held:
        where = ["--data-dir", str(tmp_path / "data"), "--port-offset", str(held.offset)]

        def call(*options: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [ROOT / "tools/run", *where, *options],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
            )

        yield call
        call("--stop")


@pytest.mark.skipif(not (ROOT / ".venv/.made-of.dev").exists(), reason="without tools/test, it would install packages")
def test_tools_run_streams_and_leaves_the_platform_running_until_it_is_stopped(tools_run):
    first = tools_run()
    assert first.returncode == 0, first.stdout + first.stderr
    assert "started the platform" in first.stdout
    assert "verified" in first.stdout

    again = tools_run()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "the platform is up" in again.stdout

    assert "stopped" in tools_run("--stop").stdout
    assert "not running" in tools_run("--stop").stdout
