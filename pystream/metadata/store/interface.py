"""What a metadata store promises. Embedded SQLite, etcd and the simulated one keep the same words; one suite for all.

Keys are UTF-8 paths, ordered by their bytes; values are bytes. Every change has a revision:

    revision 1              empty
    transaction A           put /a, put /b           revision 2     both keys: mod_revision 2, create_revision 2
    transaction B           put /a                   revision 3     /a: mod 3, create 2, version 2
    transaction C           delete /nothing          (revision 3)   no effect, no revision
    transaction D           delete /b                revision 4     one event: /b deleted
    transaction E           put /b                   revision 5     /b: mod 5, create 5, version 1

A transaction applies all its operations or none, on the outcome of its compares. A watch hears every event of every
revision exactly once, in order. A lease deletes its keys when it ends, as an ordinary revision, and never comes back.

Errors (common/errors.py): StoreUnavailable: certainly not applied. StoreOutcomeUnknown: perhaps applied; the caller
reads before it tries again, the store never does. StoreCompacted: the revision asked for is gone. LeaseGone.
TransactionTooLarge. Closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from pystream.common.errors import TransactionTooLarge

MAXIMUM_COMPARES: Final = 128
MAXIMUM_OPERATIONS: Final = 128  # of `then`, and of `otherwise`
MAXIMUM_REQUEST_BYTES: Final = 1_500 * 1024
MAXIMUM_PAGE: Final = 1_000
MINIMUM_LEASE_MS: Final = 2_000
PROGRESS_INTERVAL_MS: Final = 10_000  # a watch says at least this often how far it is
KEPT_REVISIONS: Final = 10_000  # history that a late watcher can still ask for
KEPT_HISTORY_MS: Final = 3_600_000
NO_LEASE: Final = 0


class KeyValue(NamedTuple):
    """One key as it stands."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int  # 1 when created, one more with each change
    lease: int = NO_LEASE


@dataclass(frozen=True, slots=True)
class Exists:
    """True while the key exists."""

    key: str


@dataclass(frozen=True, slots=True)
class Absent:
    """True while the key does not exist."""

    key: str


@dataclass(frozen=True, slots=True)
class CreateRevision:
    """True while the key was created at `revision`; an absent key has revision 0."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class ModRevision:
    """True while the key was last changed at `revision`; an absent key has revision 0."""

    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Value:
    """True while the key holds exactly `value`; never true of an absent key."""

    key: str
    value: bytes


Compare = Exists | Absent | CreateRevision | ModRevision | Value


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key; with a lease, the key ends with it. Without one it lives until it is deleted."""

    key: str
    value: bytes
    lease: int = NO_LEASE


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key; nothing happens to an absent one. Result: the KeyValue that went, or None."""

    key: str


@dataclass(frozen=True, slots=True)
class Get:
    """Read a key as it is at this point of the transaction. Result: KeyValue or None."""

    key: str


Operation = Put | Delete | Get
OperationResult = KeyValue | None


class TransactionResult(NamedTuple):
    """`succeeded`: the compares held and `then` ran. One result per operation that ran; a Put's is None."""

    succeeded: bool
    revision: int
    results: tuple[OperationResult, ...]


class Page(NamedTuple):
    """Keys in order, the store's revision when they were read, and where the next page starts (None: no more)."""

    items: tuple[KeyValue, ...]
    revision: int
    next: str | None


class Event(NamedTuple):
    """One key changed: `item` as it stands after `revision`; None when it was deleted."""

    revision: int
    key: str
    item: KeyValue | None


class Batch(NamedTuple):
    """Whole revisions, in order, up to and including `revision`. Without events it only tells how far the watch is."""

    revision: int
    events: tuple[Event, ...]


class Lease(Protocol):
    """A promise to be alive. Attach keys to it with `Put(..., lease=lease.id)`."""

    @property
    def id(self) -> int: ...

    @property
    def expired(self) -> bool:
        """True once the store has let the lease go, as far as this process knows."""
        ...

    async def keep_alive(self) -> None:
        """Begin the time to live anew. Raises LeaseGone once it has ended."""
        ...

    async def revoke(self) -> None:
        """End the lease and delete its keys. Ending it twice is no error."""
        ...


class MetadataStore(Protocol):
    """The face of every store. Used from one event loop."""

    async def get(self, key: str) -> KeyValue | None:
        """The key as of the latest revision (linearizable)."""
        ...

    async def range(self, prefix: str, *, start: str | None = None, limit: int = MAXIMUM_PAGE) -> Page:
        """Keys that begin with `prefix`, from `start` on, at most `limit`.

        Pages read one after another may come from different revisions. Reading all pages and then watching from the
        first page's revision + 1 ends in the right state all the same: events carry whole values.
        """
        ...

    async def transaction(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TransactionResult:
        """Run `then` if every compare holds, else `otherwise`. Raises TransactionTooLarge, LeaseGone."""
        ...

    def watch(self, prefix: str, from_revision: int) -> AsyncIterator[Batch]:
        """Events of keys that begin with `prefix`, from `from_revision` on. Raises StoreCompacted, Closed."""
        ...

    async def lease(self, time_to_live_ms: int) -> Lease:
        """A new lease of at least MINIMUM_LEASE_MS."""
        ...

    async def close(self) -> None:
        """Let go of files, threads and connections. Leases end with the process, not with this call."""
        ...


def check_transaction(compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation]) -> None:
    """Raises TransactionTooLarge where a rule that all stores share is broken: nothing may be applied then."""
    if len(compares) > MAXIMUM_COMPARES:
        raise TransactionTooLarge(f"{len(compares)} compares, at most {MAXIMUM_COMPARES}")
    for operations in (then, otherwise):
        if len(operations) > MAXIMUM_OPERATIONS:
            raise TransactionTooLarge(f"{len(operations)} operations, at most {MAXIMUM_OPERATIONS}")
        put = [operation.key for operation in operations if isinstance(operation, Put)]
        deleted = {operation.key for operation in operations if isinstance(operation, Delete)}
        if len(set(put)) != len(put) or deleted.intersection(put):
            raise TransactionTooLarge("one transaction writes one key twice")
    size = sum(map(_size_of, compares)) + sum(map(_size_of, (*then, *otherwise)))
    if size > MAXIMUM_REQUEST_BYTES:
        raise TransactionTooLarge(f"a request of {size} bytes, at most {MAXIMUM_REQUEST_BYTES}")


def _size_of(part: Compare | Operation) -> int:
    return len(part.key.encode()) + len(part.value if isinstance(part, Value | Put) else b"")


def holds(compare: Compare, item: KeyValue | None) -> bool:
    """Whether `compare` is true of the key as it stands."""
    match compare:
        case Exists():
            return item is not None
        case Absent():
            return item is None
        case CreateRevision(_, revision):
            return (item.create_revision if item else 0) == revision
        case ModRevision(_, revision):
            return (item.mod_revision if item else 0) == revision
        case Value(_, value):
            return item is not None and item.value == value


async def read_all(store: MetadataStore, prefix: str) -> tuple[list[KeyValue], int]:
    """Every key that begins with `prefix`, and the revision from which (plus 1) a watch completes what was read."""
    page = await store.range(prefix)
    items, revision = list(page.items), page.revision
    while page.next is not None:
        page = await store.range(prefix, start=page.next)
        items += page.items
    return items, revision


def prefix_end(prefix: str) -> str | None:
    """The first key above all that begin with `prefix`; None when there is no such bound."""
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index])
        if code < 0x10FFFF:
            following = 0xE000 if code == 0xD7FF else code + 1
            return prefix[:index] + chr(following)
    return None
