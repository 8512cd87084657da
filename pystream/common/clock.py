"""Time comes in through a Clock, so that a test can turn it.

Plain functions take `now_ms`, or a `Clock` where they read the time themselves; only asyncio code holds a
`SleepingClock`. Wall time (`now_ms`) goes into records and files and may jump; `monotonic_ms` measures spans
and never runs back.
"""

from __future__ import annotations

import heapq
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Clock(Protocol):
    """What time it is."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z. May jump either way."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since some fixed moment. Never runs back."""
        ...


class SleepingClock(Clock, Protocol):
    """A clock that asyncio code can wait on."""

    async def sleep_ms(self, duration_ms: int) -> None:
        """Return once `duration_ms` have passed on this clock; at once, after other tasks had their turn, when <= 0."""
        ...


class SystemClock:
    """The clock of the machine."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: int) -> None:
        import asyncio

        await asyncio.sleep(max(duration_ms, 0) / 1_000)


class ManualClock:
    """A clock that stands still until a test turns it. Sleepers wake in the order of their deadlines."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = 0
        self._sequence = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    @property
    def sleepers(self) -> int:
        """How many tasks wait on this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass on both clocks and wake whoever waited for them."""
        if ms < 0:
            raise ValueError(f"time cannot run back by {-ms} ms; set_now_ms moves wall time alone")
        self._now_ms += ms
        self._monotonic_ms += ms
        while self._sleepers and self._sleepers[0][0] <= self._monotonic_ms:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    def set_now_ms(self, now_ms: int) -> None:
        """Make wall time jump, as an administrator or NTP would; the monotonic clock does not move."""
        self._now_ms = now_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        import asyncio

        if duration_ms <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._sleepers, (self._monotonic_ms + duration_ms, self._sequence, future))
        await future
