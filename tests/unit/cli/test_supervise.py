"""Children that take long to start, and how often, and after how long, one that died is started again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pystream.cli.supervise import ChildFailed, Component, ProcessSupervisor, RestartPolicy

CHILD = """
import os, sys
what, ready, lifeline = sys.argv[1], int(sys.argv[3]), int(sys.argv[5])
if what == "fails":
    sys.exit(1)
if what != "never":
    open(what).readline()
    os.write(ready, b"{}\\n")
os.read(lifeline, 1)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that is ready once its first argument, a pipe by name, has been written to; "never": never."""
    (tmp_path / "started_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return "started_child"


def test_a_child_that_takes_longer_than_patience_lasts_is_waited_for(tmp_path: Path, child: str):
    os.mkfifo(tmp_path / "go")
    go = os.open(tmp_path / "go", os.O_RDWR)
    said: list[str] = []

    def report(text: str) -> None:
        said.append(text)
        os.write(go, b"now\n")

    async def started() -> bool:
        component = Component("slow", (child, str(tmp_path / "go")), ready_patience_seconds=0.01)
        supervisor = ProcessSupervisor([component], report=report)
        is_up = await supervisor.start()
        await supervisor.stop()
        return is_up

    assert asyncio.run(started()) is True
    assert said[0] == "slow is not ready after 0.01 s; still waiting for it"
    os.close(go)


def test_a_stop_that_is_asked_for_while_a_child_starts_is_heard(child: str):
    async def ended() -> tuple[bool, int]:
        component = Component("never", (child, "never"), ready_patience_seconds=0.01)
        supervisor = ProcessSupervisor([component], report=lambda _: supervisor.request_stop())
        return await supervisor.start(), await supervisor.children[0].wait()

    is_up, code = asyncio.run(ended())

    assert (is_up, code) == (False, -15)


def test_one_child_that_does_not_start_stops_the_others(child: str, tmp_path: Path):
    (tmp_path / "go").write_text("now\n")
    components = [Component("first", (child, str(tmp_path / "go"))), Component("second", (child, "fails"))]

    async def first_code() -> int:
        supervisor = ProcessSupervisor(components, report=print)
        with pytest.raises(ChildFailed, match="second did not start"):
            await supervisor.start()
        return await supervisor.children[0].wait()

    assert asyncio.run(first_code()) == -15


def test_each_restart_waits_twice_as_long():
    policy = RestartPolicy(most_restarts=4)

    assert [policy.delay_after_death(now) for now in (0, 1, 2, 3)] == [0.5, 1.0, 2.0, 4.0]


def test_a_child_that_dies_too_often_is_given_up():
    policy = RestartPolicy(most_restarts=2, window_seconds=60)

    assert [policy.delay_after_death(now) for now in (0, 1, 2)] == [0.5, 1.0, None]


def test_deaths_of_long_ago_are_forgiven():
    policy = RestartPolicy(most_restarts=2, window_seconds=60)
    policy.delay_after_death(0)
    policy.delay_after_death(1)

    assert policy.delay_after_death(100) == 0.5
