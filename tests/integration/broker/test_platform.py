"""`pystream up`: children that come up, are started again when they die, and never outlive their supervisor."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystream.cli.up_command import KAFKA_PORT, METRICS_PORT
from tests.support.broker_process import ROOT
from tests.support.ports import HeldPorts

TIMEOUT_SECONDS = 60.0


class Platform:
    """A `pystream up` whose output is read line by line."""

    def __init__(self, data_dir: Path, port_offset: int, only: str = "broker") -> None:
        self.port_offset = port_offset
        command = [sys.executable, "-m", "pystream.cli.main", "up", "--data-dir", str(data_dir), "--only", only]
        self.process = subprocess.Popen(
            [*command, "--port-offset", str(self.port_offset), "--set", "log.dir.reserve.bytes=1048576"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            text=True,
        )
        self.shown = ""

    def read_until(self, text: str) -> str:
        """What it prints up to and with the line that holds `text`; fails when it ends before."""
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            self.shown += line
            assert line, f"it ended before it said {text!r}:\n{self.shown}"
            if text in line:
                return self.shown

    def broker_pid(self) -> int:
        """The child's process, from the table or from the last restart."""
        found = re.findall(r"process\D+(\d+)", self.shown)
        return int(found[-1])

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(TIMEOUT_SECONDS)

    def clean_up(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def port_offset() -> Iterator[int]:
    with HeldPorts(KAFKA_PORT, METRICS_PORT) as held:
        yield held.offset


@pytest.fixture
def platform(tmp_path: Path, port_offset: int) -> Iterator[Platform]:
    started = Platform(tmp_path / "data", port_offset)
    yield started
    started.clean_up()


def ends(descriptor: int) -> bool:
    """Wait until the process behind a pidfd has ended."""
    readable, _, _ = select.select([descriptor], [], [], TIMEOUT_SECONDS)
    os.close(descriptor)
    return bool(readable)


def test_it_says_where_to_look_and_stops_cleanly(platform: Platform):
    shown = platform.read_until("Ctrl-C")
    broker = os.pidfd_open(platform.broker_pid())

    assert f"127.0.0.1:{KAFKA_PORT + platform.port_offset}" in shown
    assert f"127.0.0.1:{METRICS_PORT + platform.port_offset}/metrics" in shown
    assert platform.stop() == 0
    assert ends(broker)


def test_a_broker_that_dies_is_started_again_on_its_port(platform: Platform):
    platform.read_until("Ctrl-C")
    os.kill(platform.broker_pid(), signal.SIGKILL)
    shown = platform.read_until("is up again")

    assert "broker was ended by SIGKILL; starting it again in 0.5 s" in shown
    with socket.create_connection(("127.0.0.1", KAFKA_PORT + platform.port_offset), TIMEOUT_SECONDS):
        assert platform.stop() == 0


def test_a_broker_does_not_outlive_a_supervisor_that_was_killed(platform: Platform):
    platform.read_until("Ctrl-C")
    broker = os.pidfd_open(platform.broker_pid())

    platform.process.kill()

    assert ends(broker)


def test_a_broker_that_cannot_start_is_exit_code_one(tmp_path: Path, port_offset: int):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "broker").write_text("in the way")
    command = [sys.executable, "-m", "pystream.cli.main", "up", "--data-dir", str(tmp_path / "data")]

    result = subprocess.run(
        [*command, "--port-offset", str(port_offset)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )

    assert result.returncode == 1
    assert "broker did not start" in result.stderr
    assert "Traceback" not in result.stderr
