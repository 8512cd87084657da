"""The supervisor: every asyncio task belongs to one, and the one broad catch lives here.

    async with Supervisor("broker", clock) as supervisor:
        supervisor.start("watch metadata", publisher.run())
        supervisor.every("retention", interval_ms, log_manager.enforce_retention)
        await supervisor.failed_or(stop_requested)

A task that ends with an exception nobody expected is logged and stops the whole service: half a broker is worse than
none. `contained` keeps the fault of one request's handler to that request, `attempt` that of the work it has started.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from pystream.common.clock import SleepingClock
from pystream.common.logging import get_logger

logger = get_logger(__name__)

R = TypeVar("R")


class Supervisor:
    """Owns tasks. Not thread-safe: used from the loop it runs in."""

    def __init__(self, name: str, clock: SleepingClock) -> None:
        self.name = name
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed = asyncio.Event()
        self.failure: BaseException | None = None
        self.faults = 0  # of attempts

    async def __aenter__(self) -> Supervisor:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` until it ends, fails or is stopped."""
        task = asyncio.get_running_loop().create_task(self._guard(name, work), name=f"{self.name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before its first step never awaits it
        return task

    def attempt(
        self, name: str, work: Coroutine[Any, Any, object], failed: Callable[[Exception], object] | None = None
    ) -> asyncio.Task[None]:
        """Run `work` for one request among many: a fault in it is logged and counted, `failed` is told, and no more."""

        def otherwise(error: Exception) -> None:
            self.faults += 1
            if failed is not None:
                failed(error)

        async def attempted() -> None:
            await contained("attempt failed", work, otherwise, supervisor=self.name, task=name)

        task = self.start(name, attempted())
        task.add_done_callback(lambda _: work.close())
        return task

    def every(self, name: str, interval_ms: int, work: Callable[[], Awaitable[object] | object]) -> asyncio.Task[None]:
        """Call `work`, awaiting it where it can be awaited, `interval_ms` after its last end or the start."""
        if interval_ms <= 0:
            raise ValueError(f"{name}: an interval of {interval_ms} ms")
        return self.start(name, self._repeat(interval_ms, work))

    async def failed_or(self, event: asyncio.Event) -> None:
        """Return when `event` is set or a task has failed; `failure` tells which."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._failed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def stop(self) -> None:
        """Cancel what still runs, newest first, and wait until all of it has cleaned up."""
        current = asyncio.current_task()
        running = [task for task in self._tasks if task is not current]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _repeat(self, interval_ms: int, work: Callable[[], Awaitable[object] | object]) -> None:
        while True:
            await self._clock.sleep_ms(interval_ms)
            result = work()
            if isinstance(result, Awaitable):
                await result

    async def _guard(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the one broad catch
            logger.exception("task failed", error, supervisor=self.name, task=name)
            self.failure = self.failure or error
            self._failed.set()


async def contained(event: str, work: Awaitable[R], otherwise: Callable[[Exception], R], **fields: object) -> R:
    """What `work` gives; when it fails with something nobody expected, log `event` and give `otherwise(error)`.

    For one request among many: a fault in its handler must not stop the service.
    """
    try:
        return await work
    except Exception as error:
        logger.exception(event, error, **fields)
        return otherwise(error)


def contained_now(event: str, work: Callable[[], R], otherwise: Callable[[Exception], R], **fields: object) -> R:
    """`contained` for a plain function."""
    try:
        return work()
    except Exception as error:
        logger.exception(event, error, **fields)
        return otherwise(error)


def stop_signals() -> list[signal.Signals]:
    """What asks a process to stop: SIGTERM, SIGINT, and SIGHUP of a closed terminal, unless nohup has it ignored."""
    closing = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *closing]
