"""Looks at the cluster for watches: watches that ask the same share theirs, and none keeps the server from its calls.

    watch ─┐
    watch ─┼─ latest(since) ─ one look at a time ─ answer, the same bytes for all
    watch ─┘

A look is done by one of those that wait for it, as part of its own call: when that call ends, the next one does it.
After a look nobody looks for the same thing for as long as it took, whatever interval was asked for: large answers
take the server's time. Not thread-safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pystream.common.clock import SleepingClock

MOST_AT_ONCE: Final = 4  # looks for different things; the others wait for their turn

Look = Callable[[], Awaitable[bytes]]


@dataclass(eq=False, slots=True)
class _Shared:
    watches: int = 0
    answer: bytes | None = None
    began_ms: int = 0  # the look that gave the answer
    rests_until_ms: int = 0
    looking: asyncio.Event | None = None  # set when the look that goes on has ended, well or not


class Looks:
    """Those of one server."""

    def __init__(self, clock: SleepingClock) -> None:
        self._clock = clock
        self._shared: dict[Hashable, _Shared] = {}
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)

    @contextmanager
    def watching(self, key: Hashable, look: Look) -> Iterator[Callable[[int], Awaitable[bytes]]]:
        """For one watch: gives `latest`, which is told when a look has to have begun, or later. Raises what it raises.

        `look` is the same for all that have this key.
        """
        shared = self._shared.setdefault(key, _Shared())
        shared.watches += 1

        async def latest(since_ms: int) -> bytes:
            while shared.answer is None or shared.began_ms < since_ms:
                if shared.looking is not None:
                    await shared.looking.wait()
                else:
                    await self._look(shared, look)
            return shared.answer

        try:
            yield latest
        finally:
            shared.watches -= 1
            if not shared.watches:
                del self._shared[key]

    async def _look(self, shared: _Shared, look: Look) -> None:
        ended = shared.looking = asyncio.Event()
        try:
            rest_ms = shared.rests_until_ms - self._clock.monotonic_ms()
            if rest_ms > 0:
                await self._clock.sleep_ms(rest_ms)
            async with self._turns:
                began_ms = self._clock.monotonic_ms()
                try:
                    shared.answer = await look()
                    shared.began_ms = began_ms
                finally:
                    now_ms = self._clock.monotonic_ms()
                    shared.rests_until_ms = 2 * now_ms - began_ms
        finally:
            shared.looking = None
            ended.set()
