from __future__ import annotations

import asyncio
import signal

import pytest

from pystream.common.clock import ManualClock, SystemClock
from pystream.common.logging import event_of
from pystream.common.tasks import Supervisor, contained, contained_now, stop_signals


async def settle() -> None:
    """Give every task that is ready its turn."""
    for _ in range(5):
        await SystemClock().sleep_ms(0)


def test_a_periodic_task_runs_when_its_time_has_come() -> None:
    async def scenario() -> list[int]:
        clock = ManualClock()
        runs: list[int] = []
        async with Supervisor("test", clock) as supervisor:
            supervisor.every("count", 100, lambda: runs.append(clock.monotonic_ms()))
            for _ in range(4):
                await settle()
                clock.advance(ms=50)
            await settle()
        return runs

    assert asyncio.run(scenario()) == [100, 200]


def test_an_unexpected_failure_is_kept_and_wakes_whoever_waits() -> None:
    async def fails() -> None:
        raise KeyError("lost")

    async def scenario() -> BaseException | None:
        async with Supervisor("test", SystemClock()) as supervisor:
            supervisor.start("fails", fails())
            await supervisor.failed_or(asyncio.Event())
            return supervisor.failure

    assert isinstance(asyncio.run(scenario()), KeyError)


def test_a_set_event_ends_the_wait_without_a_failure() -> None:
    async def scenario() -> BaseException | None:
        async with Supervisor("test", SystemClock()) as supervisor:
            event = asyncio.Event()
            event.set()
            await supervisor.failed_or(event)
            return supervisor.failure

    assert asyncio.run(scenario()) is None


def test_stopping_waits_until_cancelled_tasks_have_cleaned_up() -> None:
    async def scenario() -> list[str]:
        steps: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await settle()
                steps.append("cleaned up")

        supervisor = Supervisor("test", SystemClock())
        supervisor.start("work", work())
        await settle()
        await supervisor.stop()
        steps.append("stopped")
        return steps

    assert asyncio.run(scenario()) == ["cleaned up", "stopped"]


def test_sleepers_of_a_manual_clock_wake_in_the_order_of_their_deadlines() -> None:
    async def scenario() -> list[int]:
        clock = ManualClock()
        woken: list[int] = []

        async def sleeper(duration_ms: int) -> None:
            await clock.sleep_ms(duration_ms)
            woken.append(duration_ms)

        tasks = [asyncio.ensure_future(sleeper(ms)) for ms in (30, 10, 20, 0)]
        await settle()
        assert clock.sleepers == 3
        clock.advance(ms=25)
        await settle()
        clock.advance(ms=5)
        await asyncio.gather(*tasks)
        return woken

    assert asyncio.run(scenario()) == [0, 10, 20, 30]


def test_time_does_not_run_back() -> None:
    with pytest.raises(ValueError, match="run back"):
        ManualClock().advance(ms=-1)


def test_wall_time_may_jump_without_the_monotonic_clock() -> None:
    clock = ManualClock(now_ms=1_000)
    clock.set_now_ms(5)

    assert (clock.now_ms(), clock.monotonic_ms()) == (5, 0)


async def fails() -> str:
    raise ZeroDivisionError("a fault nobody expected")


def test_a_contained_fault_gives_the_other_value_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture):
    result = contained_now("request failed", lambda: str(1 // 0), lambda error: type(error).__name__)

    assert result == "ZeroDivisionError"
    assert [event_of(record) for record in caplog.records] == ["request failed"]


def test_a_contained_fault_of_awaited_work_gives_the_other_value():
    assert asyncio.run(contained("request failed", fails(), lambda error: str(error))) == "a fault nobody expected"


def test_contained_work_that_succeeds_gives_its_own_value():
    assert contained_now("request failed", lambda: 7, lambda error: 0) == 7


def test_a_task_that_is_stopped_before_its_first_step_leaves_nothing_behind() -> None:
    async def never_begins() -> None:
        raise AssertionError("it was stopped before")

    async def scenario() -> BaseException | None:
        supervisor = Supervisor("test", SystemClock())
        supervisor.start("never begins", never_begins())
        await supervisor.stop()
        return supervisor.failure

    assert asyncio.run(scenario()) is None


def test_an_attempt_that_fails_is_counted_and_stops_nothing() -> None:
    async def scenario() -> tuple[BaseException | None, int, list[str]]:
        told: list[str] = []
        async with Supervisor("test", SystemClock()) as supervisor:
            supervisor.attempt("fails", fails(), lambda error: told.append(str(error)))
            await settle()
            return supervisor.failure, supervisor.faults, told

    assert asyncio.run(scenario()) == (None, 1, ["a fault nobody expected"])


def test_an_attempt_that_is_stopped_before_its_first_step_leaves_nothing_behind() -> None:
    async def scenario() -> int:
        supervisor = Supervisor("test", SystemClock())
        supervisor.attempt("never begins", fails())
        await supervisor.stop()
        return supervisor.faults

    assert asyncio.run(scenario()) == 0


@pytest.mark.parametrize(("on_hangup", "stops"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_stops_a_process_unless_nohup_started_it(on_hangup: signal.Handlers, stops: bool) -> None:
    before = signal.signal(signal.SIGHUP, on_hangup)
    try:
        heard = stop_signals()
    finally:
        signal.signal(signal.SIGHUP, before)

    assert (signal.SIGHUP in heard) is stops
    assert {signal.SIGTERM, signal.SIGINT} <= set(heard)
