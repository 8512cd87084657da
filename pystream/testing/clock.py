"""The clock of a broker under test: it goes with the machine's, or stands still, and a test lets time pass.

    b.clock.advance(seconds=46)     # sessions that send no heartbeat end
    b.clock.advance(days=8)         # retention.ms is over

What it rules: sessions and rebalances of groups, time-outs of transactions, retention, expiry of producers and of
offsets. What it does not: the waits of requests in the data plane (fetch.max.wait.ms, request.timeout.ms) and those of
clients, and the timestamps that the broker itself gives to records (LogAppendTime), which are the machine's.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any, Final

from pystream.common.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, SystemClock

LONGEST_STEP_MS: Final = 10 * DAY_MS  # the broker renews its registration, which lasts 24 days, between two of them
LONGEST_SPAN_MS: Final = 36_525 * DAY_MS
SETTLE_SECONDS: Final = 2.0


@dataclass(eq=False, slots=True)
class _Sleeper:
    due_ms: int
    future: asyncio.Future[None]
    task: asyncio.Task[Any] | None
    timer: asyncio.TimerHandle | None = None


class BrokerClock:
    """A SleepingClock for one broker, also through its restarts. `advance` is called from any thread but the loop's."""

    def __init__(self, *, stands: bool = False) -> None:
        self._system = SystemClock()
        self._ahead_ms = 0
        self._stands_at = (self._system.now_ms(), self._system.monotonic_ms()) if stands else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turning = threading.Lock()  # a loop that is being asked to let time pass is not taken away
        self._sleepers: set[_Sleeper] = set()
        self._stirring: set[asyncio.Task[Any]] = set()  # woken by a test, and neither asleep again nor done
        self._at_rest = asyncio.Event()

    # ------------------------------------------------------------------------------------------------ a test's side

    @property
    def stands(self) -> bool:
        """Whether time passes only by `advance`."""
        return self._stands_at is not None

    def advance(
        self, ms: float = 0, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Let so much time pass at once, wake the work that is due, and wait until it has been done.

        Work that waits for something else in turn (a client's request) is left to itself after two seconds.
        """
        span = ms + seconds * SECOND_MS + minutes * MINUTE_MS + hours * HOUR_MS + days * DAY_MS
        if span < 0:
            raise ValueError(f"time cannot run back by {-span} ms")
        if not span <= LONGEST_SPAN_MS:
            raise ValueError(f"time passes by {LONGEST_SPAN_MS} ms at most, a hundred years, and not by {span} ms")
        span_ms = round(span)
        with self._turning:
            if self._loop is None:
                self._ahead_ms += span_ms
            else:
                asyncio.run_coroutine_threadsafe(self._advance(span_ms), self._loop).result()

    # ------------------------------------------------------------------------------------------------ the broker's side

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """The loop of the broker that sleeps on this clock, None when there is none any more."""
        with self._turning:
            self._loop = loop
            self._sleepers.clear()
            self._stirring.clear()

    def now_ms(self) -> int:
        return (self._system.now_ms() if self._stands_at is None else self._stands_at[0]) + self._ahead_ms

    def monotonic_ms(self) -> int:
        return (self._system.monotonic_ms() if self._stands_at is None else self._stands_at[1]) + self._ahead_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        if duration_ms <= 0:
            await asyncio.sleep(0)
            return
        task = asyncio.current_task()
        sleeper = _Sleeper(self.monotonic_ms() + duration_ms, asyncio.get_running_loop().create_future(), task)
        self._sleepers.add(sleeper)
        self._set_timer(sleeper)
        if task is not None:
            self._rests(task)
        try:
            await sleeper.future
        finally:
            self._sleepers.discard(sleeper)
            if sleeper.timer is not None:
                sleeper.timer.cancel()

    def _set_timer(self, sleeper: _Sleeper) -> None:
        if sleeper.timer is not None:
            sleeper.timer.cancel()
        if self._stands_at is None:
            left_s = max(sleeper.due_ms - self.monotonic_ms(), 0) / SECOND_MS
            sleeper.timer = asyncio.get_running_loop().call_later(left_s, _wake, sleeper)

    async def _advance(self, span_ms: int) -> None:
        while span_ms > 0:
            step_ms = min(span_ms, LONGEST_STEP_MS)
            span_ms -= step_ms
            self._ahead_ms += step_ms
            self._wake_due()
            try:
                await asyncio.wait_for(self._at_rest.wait(), SETTLE_SECONDS)
            except TimeoutError:
                self._stirring.clear()

    def _wake_due(self) -> None:
        now_ms = self.monotonic_ms()
        self._at_rest.clear()
        for sleeper in sorted(self._sleepers, key=lambda sleeper: sleeper.due_ms):
            if sleeper.due_ms > now_ms:
                self._set_timer(sleeper)
            else:
                self._sleepers.discard(sleeper)
                _wake(sleeper)
                if sleeper.task is not None and sleeper.task not in self._stirring:
                    self._stirring.add(sleeper.task)
                    sleeper.task.add_done_callback(self._rests)
        if not self._stirring:
            self._at_rest.set()

    def _rests(self, task: asyncio.Task[Any]) -> None:
        self._stirring.discard(task)
        if not self._stirring:
            self._at_rest.set()


def _wake(sleeper: _Sleeper) -> None:
    if not sleeper.future.done():
        sleeper.future.set_result(None)
