"""The loop behind the synchronous face: one thread, many callers, signals and forks."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from pystream.client.sync import runner as runners
from pystream.common.errors import ClientError, ClientForked, Closed
from tests.architecture.house import ROOT

SECONDS = 60

WAITING_PROGRAM = """
import asyncio
from pystream.client.sync import runner as runners

cancelled = []

async def for_ever():
    try:
        print("waiting", flush=True)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        cancelled.append(True)
        raise

runner = runners.acquire()
try:
    runner.run(for_ever())
except KeyboardInterrupt:
    print("heard", flush=True)
runners.release(runner)
print(cancelled, flush=True)
"""


@pytest.fixture
def runner():
    acquired = runners.acquire()
    yield acquired
    runners.release(acquired)


async def value(result: object) -> object:
    return result


def test_a_coroutine_gives_its_result_or_its_error(runner: runners.Runner):
    async def fails() -> None:
        raise ClientError("on purpose")

    assert runner.run(value(5)) == 5
    with pytest.raises(ClientError, match="on purpose"):
        runner.run(fails())


def test_all_clients_of_a_process_share_one_thread_which_ends_with_the_last(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runners, "_shared", [])  # another test's fixture may still have a client
    before = set(threading.enumerate())
    first, second = runners.acquire(), runners.acquire()
    assert first is second
    runners.release(first)
    assert second.run(value(1)) == 1
    runners.release(second)
    assert not second.is_running
    assert [thread for thread in set(threading.enumerate()) - before if thread.name == "pystream-client"] == []
    with pytest.raises(Closed):
        second.run(value(2))
    third = runners.acquire()
    assert third is not first
    assert third.run(value(3)) == 3
    runners.release(third)


def test_many_threads_run_at_the_same_time(runner: runners.Runner):
    barrier = asyncio.Barrier(8)
    gathered: list[object] = []
    threads = [threading.Thread(target=lambda: gathered.append(runner.run(barrier.wait()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert sorted(map(str, gathered)) == [str(number) for number in range(8)]


def test_a_time_out_cancels_the_work(runner: runners.Runner):
    cancelled = threading.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        runner.run(waits(), timeout_s=0.05)
    assert cancelled.wait(SECONDS)


def test_a_callback_in_the_loop_must_not_wait_for_the_loop(runner: runners.Runner):
    async def inside() -> None:
        with pytest.raises(ClientError, match="must not wait for the client itself"):
            runner.run(value(1))

    runner.run(inside())


def test_a_nudge_is_run_in_the_loop(runner: runners.Runner):
    nudged = threading.Event()
    runner.call_soon(nudged.set)
    assert nudged.wait(SECONDS)


def test_what_still_runs_at_the_end_is_cancelled_and_cleans_up():
    acquired = runners.acquire()
    cleaned = threading.Event()

    async def left_behind() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    async def start() -> None:
        acquired.kept = asyncio.ensure_future(left_behind())  # type: ignore[attr-defined]
        await asyncio.wait([asyncio.ensure_future(value(1))])

    acquired.run(start())
    runners.release(acquired)
    assert cleaned.is_set()


def test_ctrl_c_ends_a_wait_and_cancels_what_it_waited_for():
    process = subprocess.Popen([sys.executable, "-c", WAITING_PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=SECONDS)[0] == "heard\n[True]\n"
    assert process.returncode == 0


def test_an_interrupt_while_work_is_handed_over_cancels_it(runner: runners.Runner, monkeypatch: pytest.MonkeyPatch):
    begun, cancelled = threading.Event(), threading.Event()

    async def for_ever() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    hand_over = runner.loop.call_soon_threadsafe

    def interrupted(*arguments: Any) -> None:
        monkeypatch.undo()
        hand_over(*arguments)
        assert begun.wait(SECONDS)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run(for_ever())
    assert cancelled.wait(SECONDS)


def test_work_that_an_interrupt_kept_from_being_handed_over_is_dropped(
    runner: runners.Runner, monkeypatch: pytest.MonkeyPatch
):
    begun: list[bool] = []

    async def never() -> None:
        begun.append(True)

    def interrupted(*_: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.loop, "call_soon_threadsafe", interrupted)
    work = never()
    with pytest.raises(KeyboardInterrupt):
        runner.run(work)
    assert runner.run(value(1)) == 1  # behind what drops it
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED
    assert begun == []


def in_a_fork(check) -> int:
    """The exit code of a forked child in which `check` ran: 17 when it held."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(17 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_runner_does_not_survive_a_fork(runner: runners.Runner):
    def refused() -> bool:
        with pytest.raises(ClientForked, match="make a new one in the child"):
            runner.run(value(1))
        with pytest.raises(ClientForked):
            runner.call_soon(print)
        return not runner.is_running

    assert in_a_fork(refused) == 17


@pytest.mark.unsanitized  # a thread that begins in a forked child waits for ever under ASan
def test_a_child_makes_a_runner_of_its_own(runner: runners.Runner):
    def works() -> bool:
        runners.release(runner)
        own = runners.acquire()
        result = own.run(value(8)) == 8 and own is not runner
        runners.release(own)
        return result

    assert in_a_fork(works) == 17
    assert runner.run(value(1)) == 1
