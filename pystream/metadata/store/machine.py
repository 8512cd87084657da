"""What the embedded stores share: how a transaction changes keys, who holds which lease, how a watch waits.

Plain functions over a `Table`, so that SQLite's thread and the simulated store run the very same rules.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from pystream.common.clock import SleepingClock
from pystream.common.errors import Closed, LeaseGone
from pystream.metadata.store.interface import (
    MINIMUM_LEASE_MS,
    NO_LEASE,
    PROGRESS_INTERVAL_MS,
    Batch,
    Compare,
    Delete,
    Event,
    Get,
    KeyValue,
    Operation,
    OperationResult,
    Put,
    TransactionResult,
    holds,
)


class Table(Protocol):
    """Keys and the history of their changes, wherever they are kept. `revision` is the latest one."""

    revision: int

    def read(self, key: str) -> KeyValue | None: ...

    def write(self, event: Event) -> None:
        """Make the key as the event says, and add the event to the history."""
        ...


class Leases:
    """Who is alive until when, and which keys hang on it. Times are of a monotonic clock.

    A lease is kept alive from another thread than the one that ends it: the lock makes one of them come first.
    """

    def __init__(self, new_id: Callable[[], int]) -> None:
        self._new_id = new_id
        self._lock = threading.Lock()
        self._time_to_live_ms: dict[int, int] = {}
        self._ends_at_ms: dict[int, int] = {}
        self._keys: dict[int, set[str]] = {}

    def grant(self, time_to_live_ms: int, now_ms: int) -> int:
        """A new lease; a shorter time to live than MINIMUM_LEASE_MS is stretched to it."""
        lease = self._new_id()
        self._time_to_live_ms[lease] = max(time_to_live_ms, MINIMUM_LEASE_MS)
        self._ends_at_ms[lease] = now_ms + self._time_to_live_ms[lease]
        self._keys[lease] = set()
        return lease

    def lives(self, lease: int, now_ms: int) -> bool:
        return self._ends_at_ms.get(lease, now_ms) > now_ms

    def left_ms(self, lease: int, now_ms: int) -> int | None:
        """How long the lease still lives unless it is kept alive; None once it has ended."""
        end_ms = self._ends_at_ms.get(lease)
        return None if end_ms is None else max(0, end_ms - now_ms)

    def granted(self, lease: int) -> bool:
        """Whether the lease has not been let go of; callers `end_due` before."""
        return lease in self._ends_at_ms

    def keep_alive(self, lease: int, now_ms: int) -> None:
        with self._lock:
            if not self.lives(lease, now_ms):
                raise LeaseGone(f"lease {lease} has ended")
            self._ends_at_ms[lease] = now_ms + self._time_to_live_ms[lease]

    def end_due(self, now_ms: int) -> list[list[str]]:
        """Let go of the leases whose time has come, first the one that ended first. The keys of each, in order."""
        with self._lock:
            due = [lease for lease, end in self._ends_at_ms.items() if end <= now_ms]
            return [self.end(lease) for lease in sorted(due, key=self._ends_at_ms.__getitem__)]

    def end(self, lease: int) -> list[str]:
        """Forget the lease for ever; the keys that hung on it, in order."""
        self._ends_at_ms.pop(lease, None)
        self._time_to_live_ms.pop(lease, None)
        return sorted(self._keys.pop(lease, ()))

    def restore(self, keys: dict[str, int], now_ms: int) -> None:
        """After a rollback: `keys` hang on these leases again. A lease that had ended meanwhile is due at once."""
        for held in self._keys.values():
            held.clear()
        for key, lease in keys.items():
            self._ends_at_ms.setdefault(lease, now_ms)
            self._time_to_live_ms.setdefault(lease, 0)
            self._keys.setdefault(lease, set()).add(key)

    def move(self, key: str, before: int, after: int) -> None:
        """The key hung on lease `before` and now hangs on `after`; either may be NO_LEASE."""
        if before != NO_LEASE and before in self._keys:
            self._keys[before].discard(key)
        if after != NO_LEASE:
            self._keys[after].add(key)


def apply_transaction(
    table: Table,
    leases: Leases,
    compares: Sequence[Compare],
    then: Sequence[Operation],
    otherwise: Sequence[Operation],
) -> TransactionResult:
    """Run a transaction that `check_transaction` has passed. Raises LeaseGone, with nothing applied."""
    succeeded = all(holds(compare, table.read(compare.key)) for compare in compares)
    operations = then if succeeded else otherwise
    for operation in operations:
        if isinstance(operation, Put) and operation.lease != NO_LEASE and not leases.granted(operation.lease):
            raise LeaseGone(f"lease {operation.lease} has ended")
    revision = table.revision + 1
    results: list[OperationResult] = []
    for operation in operations:
        before = table.read(operation.key)
        match operation:
            case Put(key, value, lease):
                after = KeyValue(
                    key,
                    value,
                    before.create_revision if before else revision,
                    revision,
                    before.version + 1 if before else 1,
                    lease,
                )
                table.revision = revision
                table.write(Event(revision, key, after))
                leases.move(key, before.lease if before else NO_LEASE, lease)
                results.append(None)
            case Delete(key):
                if before is not None:
                    table.revision = revision
                    table.write(Event(revision, key, None))
                    leases.move(key, before.lease, NO_LEASE)
                results.append(before)
            case Get():
                results.append(before)
    return TransactionResult(succeeded, table.revision, tuple(results))


def end_lease(table: Table, leases: Leases, lease: int) -> bool:
    """Let a lease go and delete its keys in one revision. Returns whether there were any."""
    keys = leases.end(lease)
    return delete_keys(table, keys)


def delete_keys(table: Table, keys: Iterable[str]) -> bool:
    """Delete what exists of `keys`, all in one revision. Returns whether anything did."""
    existing = [key for key in keys if table.read(key) is not None]
    if existing:
        table.revision += 1
    for key in existing:
        table.write(Event(table.revision, key, None))
    return bool(existing)


class Watching:
    """Wakes watches after a change, and lets them say that they are still there."""

    def __init__(self, clock: SleepingClock) -> None:
        self._clock = clock
        self._waiting: set[asyncio.Event] = set()
        self.closed = False

    def wake(self) -> None:
        """Something changed: every watch looks at the history again. Called in the loop's thread."""
        for changed in self._waiting:
            changed.set()

    def close(self) -> None:
        self.closed = True
        self.wake()

    async def watch(self, from_revision: int, history: Callable[[int], Awaitable[Batch]]) -> AsyncIterator[Batch]:
        """Batches from `from_revision` on; `history(n)` reads those from revision n on that there are now."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        next_revision, spoke_at_ms = from_revision, self._clock.monotonic_ms()
        try:
            while True:
                if self.closed:
                    raise Closed("the metadata store was closed")
                changed.clear()
                batch = await history(next_revision)
                left_ms = spoke_at_ms + PROGRESS_INTERVAL_MS - self._clock.monotonic_ms()
                if batch.events or left_ms <= 0:
                    next_revision = max(next_revision, batch.revision + 1)
                    spoke_at_ms = self._clock.monotonic_ms()
                    yield batch
                elif not changed.is_set():
                    await self._changed_or_after(changed, left_ms)
        finally:
            self._waiting.discard(changed)

    async def _changed_or_after(self, changed: asyncio.Event, left_ms: int) -> None:
        waits = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._clock.sleep_ms(left_ms))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
