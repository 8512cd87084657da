"""A metadata store in memory, for tests: driven by the test's clock, and as faulty as the test wants it.

    store = SimulatedStore(clock)
    store.faults.lose_reply = 1        the next transaction is applied, and its caller hears StoreOutcomeUnknown
    store.faults.lose_request = 1      the next transaction never arrives, and its caller hears the same
    store.faults.unavailable = True    every request is refused with StoreUnavailable until it is False again
    store.faults.full = True           every transaction is refused with StoreFull until it is False again
    store.faults.delay_ms = 50         every request waits that long on the clock before it is served
    store.faults.stale_by = 3          ranges show what was there 3 revisions ago (never `get`)
    store.compact(revision)            history below `revision` is gone
    store.expire(lease.id)             the lease ends now

Everything is decided by the caller and the order of the calls: two runs with one seed are equal.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pystream.common.clock import ManualClock, SleepingClock
from pystream.common.errors import Closed, StoreCompacted, StoreFull, StoreOutcomeUnknown, StoreUnavailable
from pystream.metadata.store.interface import (
    KEPT_REVISIONS,
    MAXIMUM_PAGE,
    Batch,
    Compare,
    Event,
    KeyValue,
    Operation,
    Page,
    TransactionResult,
    check_transaction,
)
from pystream.metadata.store.machine import Leases, Watching, apply_transaction, delete_keys, end_lease

R = TypeVar("R")


@dataclass(slots=True)
class Faults:
    """What goes wrong next. Counts fall by one with each transaction that they hit."""

    lose_reply: int = 0
    lose_request: int = 0
    unavailable: bool = False
    full: bool = False
    delay_ms: int = 0
    stale_by: int = 0


class _MemoryTable:
    """Keys in a dict, their order in a list, their history in another."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted_below = 1
        self.items: dict[str, KeyValue] = {}
        self.keys: list[str] = []
        self.history: list[Event] = []
        self.base: dict[str, KeyValue] = {}  # the keys as they stood just before the history begins

    def read(self, key: str) -> KeyValue | None:
        return self.items.get(key)

    def write(self, event: Event) -> None:
        if event.item is None:
            del self.items[event.key]
            del self.keys[bisect.bisect_left(self.keys, event.key)]
        else:
            if event.key not in self.items:
                bisect.insort(self.keys, event.key)
            self.items[event.key] = event.item
        self.history.append(event)
        if self.revision - self.compacted_below > 2 * KEPT_REVISIONS:
            self.compact(self.revision - KEPT_REVISIONS)

    def compact(self, below: int) -> None:
        self.compacted_below = max(self.compacted_below, below)
        kept = bisect.bisect_left(self.history, self.compacted_below, key=lambda event: event.revision)
        _replay(self.base, self.history[:kept])
        del self.history[:kept]

    def as_of(self, revision: int) -> dict[str, KeyValue]:
        """The keys as they stood at `revision`, or where the history begins if that is later."""
        last = bisect.bisect_right(self.history, revision, key=lambda event: event.revision)
        return _replay(dict(self.base), self.history[:last])


def _replay(items: dict[str, KeyValue], events: Sequence[Event]) -> dict[str, KeyValue]:
    for event in events:
        if event.item is None:
            items.pop(event.key, None)
        else:
            items[event.key] = event.item
    return items


class SimulatedLease:
    """A lease of the simulated store."""

    def __init__(self, store: SimulatedStore, lease: int) -> None:
        self._store = store
        self.id = lease

    @property
    def expired(self) -> bool:
        return not self._store.lease_lives(self.id)

    async def keep_alive(self) -> None:
        await self._store.keep_alive(self.id)

    async def revoke(self) -> None:
        await self._store.revoke(self.id)


class SimulatedStore:
    """The MetadataStore in memory. See the head of the module for its faults."""

    def __init__(self, clock: SleepingClock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._table = _MemoryTable()
        self._leases = Leases(itertools.count(1).__next__)
        self._watching = Watching(self._clock)
        self._timers: set[asyncio.Task[None]] = set()
        self.faults = Faults()

    @property
    def revision(self) -> int:
        return self._table.revision

    async def get(self, key: str) -> KeyValue | None:
        return await self._serve(lambda: self._table.read(key))

    async def range(self, prefix: str, *, start: str | None = None, limit: int = MAXIMUM_PAGE) -> Page:
        return await self._serve(lambda: self._range(prefix, start, limit))

    async def transaction(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TransactionResult:
        check_transaction(compares, then, otherwise)
        if self.faults.lose_request:
            self.faults.lose_request -= 1
            raise StoreOutcomeUnknown("the request was lost")
        if self.faults.full:
            raise StoreFull("the simulated disk is full")
        result = await self._serve(lambda: apply_transaction(self._table, self._leases, compares, then, otherwise))
        if self.faults.lose_reply:
            self.faults.lose_reply -= 1
            raise StoreOutcomeUnknown("the reply was lost")
        return result

    def watch(self, prefix: str, from_revision: int) -> AsyncIterator[Batch]:
        async def history(next_revision: int) -> Batch:
            return self._history(prefix, next_revision)

        return self._watching.watch(from_revision, history)

    async def lease(self, time_to_live_ms: int) -> SimulatedLease:
        lease = await self._serve(lambda: self._leases.grant(time_to_live_ms, self._clock.monotonic_ms()))
        timer = asyncio.ensure_future(self._expire_in_time(lease))
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)
        return SimulatedLease(self, lease)

    async def close(self) -> None:
        self._watching.close()
        for timer in self._timers:
            timer.cancel()

    def lease_lives(self, lease: int) -> bool:
        return self._leases.lives(lease, self._clock.monotonic_ms())

    async def keep_alive(self, lease: int) -> None:
        await self._serve(lambda: self._leases.keep_alive(lease, self._clock.monotonic_ms()))

    async def revoke(self, lease: int) -> None:
        await self._serve(lambda: end_lease(self._table, self._leases, lease))

    def expire(self, lease: int) -> None:
        """End a lease now, as a store does that lost its owner."""
        end_lease(self._table, self._leases, lease)
        self._watching.wake()

    def compact(self, below: int) -> None:
        """Forget the history below a revision."""
        self._table.compact(below)
        self._watching.wake()

    async def _serve(self, request: Callable[[], R]) -> R:
        """One request, when the store can be reached at all."""
        if self._watching.closed:
            raise Closed("the metadata store was closed")
        if self.faults.delay_ms:
            await self._clock.sleep_ms(self.faults.delay_ms)
        if self.faults.unavailable:
            raise StoreUnavailable("the simulated store is not to be reached")
        self._expire_due()
        before = self._table.revision
        reply = request()
        if self._table.revision != before:
            self._watching.wake()
        return reply

    def _expire_due(self) -> None:
        ended = [delete_keys(self._table, keys) for keys in self._leases.end_due(self._clock.monotonic_ms())]
        if any(ended):
            self._watching.wake()

    async def _expire_in_time(self, lease: int) -> None:
        while (left_ms := self._leases.left_ms(lease, self._clock.monotonic_ms())) is not None:
            await self._clock.sleep_ms(left_ms)
            self._expire_due()

    def _range(self, prefix: str, start: str | None, limit: int) -> Page:
        limit = max(1, min(limit, MAXIMUM_PAGE))
        revision = max(self._table.compacted_below - 1, self._table.revision - self.faults.stale_by)
        items = self._table.items if not self.faults.stale_by else self._table.as_of(revision)
        keys = self._table.keys if not self.faults.stale_by else sorted(items)
        first = bisect.bisect_left(keys, max(prefix, start or ""))
        found = list(itertools.takewhile(lambda key: key.startswith(prefix), keys[first : first + limit + 1]))
        following = found[limit] if len(found) > limit else None
        return Page(tuple(items[key] for key in found[:limit]), revision, following)

    def _history(self, prefix: str, from_revision: int) -> Batch:
        if self.faults.unavailable:
            raise StoreUnavailable("the simulated store is not to be reached")
        if from_revision < self._table.compacted_below:
            raise StoreCompacted(self._table.compacted_below)
        first = bisect.bisect_left(self._table.history, from_revision, key=lambda event: event.revision)
        events = tuple(event for event in self._table.history[first:] if event.key.startswith(prefix))
        return Batch(max(self._table.revision, from_revision - 1), events)
