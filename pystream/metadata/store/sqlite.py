"""The embedded metadata store: one SQLite file, for a cluster of one machine.

    metadata.db     application_id "PSTR", user_version 1 (the format), journal_mode WAL, synchronous FULL
      item          key | value | create_revision | mod_revision | version | lease
      history       revision, sequence | key | value (null: deleted) | create_revision | version | lease | at_ms
      counter       name ("revision", "compacted_below") | value

One thread owns the file. Requests queue up for it, and all that have gathered while it was busy share one commit, so
many callers cost one fsync; a caller hears of its transaction after that. After a failed commit the callers hear the
truth: disk full is StoreFull (all of it was rolled back, and tried once more where room could be made); an I/O error
is StoreOutcomeUnknown, and nothing is served from then on, since a failed fsync cannot be repeated.

Leases are timers of this process: keys of leases do not survive it and are deleted when the file is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import secrets
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from pystream.common.clock import SleepingClock, SystemClock
from pystream.common.errors import (
    Busy,
    Closed,
    PystreamError,
    StoreCompacted,
    StoreDamaged,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
    UnknownFormatVersion,
)
from pystream.common.logging import get_logger
from pystream.metadata.store.interface import (
    KEPT_HISTORY_MS,
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
    prefix_end,
)
from pystream.metadata.store.machine import Leases, Watching, apply_transaction, delete_keys, end_lease

logger = get_logger(__name__)

R = TypeVar("R")
APPLICATION_ID: Final = int.from_bytes(b"PSTR", "big")
FORMAT_VERSION: Final = 1
REQUESTS_PER_COMMIT: Final = 256
MAXIMUM_QUEUED_REQUESTS: Final = 10_000
EVENTS_PER_BATCH: Final = 1_000
TRIM_EVERY_REVISIONS: Final = 256
KEPT_HISTORY_BYTES: Final = 64 << 20
BUSY_TIMEOUT_S: Final = 5.0
LEASE_CHECK_MS: Final = 100
HARMLESS_ERRORS: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM}
)  # rolled back whole

SCHEMA: Final = """
CREATE TABLE item (
    key TEXT PRIMARY KEY, value BLOB NOT NULL,
    create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL
);
CREATE TABLE history (
    revision INTEGER NOT NULL, sequence INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
    create_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (revision, sequence)
);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counter VALUES ('revision', 1), ('compacted_below', 1);
"""


class _Request(NamedTuple):
    serve: Callable[[_SqliteTable], Any]
    loop: asyncio.AbstractEventLoop
    reply: asyncio.Future[Any]


class _Outcome(NamedTuple):
    request: _Request
    result: Any
    error: PystreamError | None


class _SqliteTable:
    """The tables of the file, as the shared rules see them. Lives in the store's thread."""

    def __init__(self, connection: sqlite3.Connection, clock: SleepingClock) -> None:
        self._connection = connection
        self._clock = clock
        self._sequence = 0
        self.revision: int = 0
        self.compacted_below: int = 0
        self._saved_revision = 0
        self._trimmed_at = 0
        self.reload()

    def reload(self) -> None:
        """Take the counters from the file, after opening or a rollback."""
        counters = dict(self._connection.execute("SELECT name, value FROM counter"))
        self.revision, self.compacted_below = counters["revision"], counters["compacted_below"]
        self._saved_revision = self.revision

    def save_counters(self) -> None:
        """Once per commit; also the moment to drop old history."""
        if self.revision == self._saved_revision:
            return
        if self.revision - self._trimmed_at >= TRIM_EVERY_REVISIONS:
            self._trim()
            self._trimmed_at = self.revision
        self._saved_revision = self.revision
        self._connection.executemany(
            "UPDATE counter SET value = ? WHERE name = ?",
            [(self.revision, "revision"), (self.compacted_below, "compacted_below")],
        )

    def read(self, key: str) -> KeyValue | None:
        row = self._connection.execute("SELECT * FROM item WHERE key = ?", (key,)).fetchone()
        return KeyValue._make(row) if row else None

    def write(self, event: Event) -> None:
        item = event.item
        if item is None:
            self._connection.execute("DELETE FROM item WHERE key = ?", (event.key,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?, ?, ?)", item)
        self._sequence += 1
        kept = (None, 0, 0, 0) if item is None else (item.value, item.create_revision, item.version, item.lease)
        self._connection.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (event.revision, self._sequence, event.key, *kept, self._clock.now_ms()),
        )

    def range(self, prefix: str, start: str | None, limit: int) -> Page:
        end = prefix_end(prefix)
        rows = self._connection.execute(
            "SELECT * FROM item WHERE key >= ? AND (? IS NULL OR key < ?) ORDER BY key LIMIT ?",
            (max(prefix, start or ""), end, end, limit + 1),
        ).fetchall()
        following = rows[limit][0] if len(rows) > limit else None
        return Page(tuple(map(KeyValue._make, rows[:limit])), self.revision, following)

    def leased_keys(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT key, lease FROM item WHERE lease != 0"))

    def history(self, prefix: str, from_revision: int) -> Batch:
        """Whole revisions from `from_revision` on, about EVENTS_PER_BATCH events of them."""
        if from_revision < self.compacted_below:
            raise StoreCompacted(self.compacted_below)
        row = self._connection.execute(
            "SELECT revision FROM history WHERE revision >= ? ORDER BY revision, sequence LIMIT 1 OFFSET ?",
            (from_revision, EVENTS_PER_BATCH),
        ).fetchone()
        up_to = row[0] if row else max(self.revision, from_revision - 1)
        end = prefix_end(prefix)
        rows = self._connection.execute(
            "SELECT revision, key, value, create_revision, version, lease FROM history"
            " WHERE revision BETWEEN ? AND ? AND key >= ? AND (? IS NULL OR key < ?) ORDER BY revision, sequence",
            (from_revision, up_to, prefix, end, end),
        )
        return Batch(up_to, tuple(map(_event_of, rows)))

    def _trim(self) -> None:
        """Drop history that is too old, too long or too large; at most what a late watcher could ask for is lost."""
        (old_below,) = self._connection.execute(
            "SELECT coalesce(max(revision), 0) + 1 FROM history WHERE at_ms < ?",
            (self._clock.now_ms() - KEPT_HISTORY_MS,),
        ).fetchone()
        large_below, total = 0, 0
        for revision, size in self._connection.execute(
            "SELECT revision, sum(coalesce(length(value), 0) + length(key)) FROM history"
            " GROUP BY revision ORDER BY revision DESC"
        ):
            total += size
            if total > KEPT_HISTORY_BYTES:
                large_below = revision + 1
                break
        below = max(
            self.revision - KEPT_REVISIONS + 1, large_below, min(old_below, self.revision), self.compacted_below
        )
        self._connection.execute("DELETE FROM history WHERE revision < ?", (below,))
        self.compacted_below = below


def _event_of(row: tuple[int, str, bytes | None, int, int, int]) -> Event:
    revision, key, value, create_revision, version, lease = row
    item = None if value is None else KeyValue(key, value, create_revision, revision, version, lease)
    return Event(revision, key, item)


class SqliteLease:
    """A lease of the embedded store: a timer of this process."""

    def __init__(self, store: SqliteStore, lease: int) -> None:
        self._store = store
        self.id = lease

    @property
    def expired(self) -> bool:
        return not self._store.lease_lives(self.id)

    async def keep_alive(self) -> None:
        self._store.keep_alive(self.id)

    async def revoke(self) -> None:
        await self._store.revoke(self.id)


class SqliteStore:
    """The MetadataStore in one SQLite file. Make it with `open`, inside the event loop that will use it."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, clock: SleepingClock, make_room: Callable[[], bool]
    ) -> None:
        self._path = path
        self._make_room = make_room
        self._connection = connection
        self._clock = clock
        self._table = _SqliteTable(connection, clock)
        self._leases = Leases(lambda: secrets.randbits(62) | 1)
        self._timers: set[asyncio.Task[None]] = set()
        self._watching = Watching(clock)
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._failure: PystreamError | None = None
        self._thread = threading.Thread(target=self._serve_requests, name="metadata-store", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, path: Path, clock: SleepingClock | None = None, make_room: Callable[[], bool] = lambda: False
    ) -> SqliteStore:
        """Open or create the file, check it, and delete the keys of leases that ended with the last process.

        `make_room` is called on the store's thread when the disk is full; whether there may be room now.

        Blocks for the disk. Raises StoreDamaged when SQLite's own check fails, UnknownFormatVersion for a file of a
        later pystream or of another program, StoreUnavailable when it cannot be opened.
        """
        clock = clock or SystemClock()
        try:
            path.touch(mode=0o600)
            connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
            )
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{path}: {error}") from error
        try:
            _prepare(connection, path)
            table = _SqliteTable(connection, clock)
            connection.execute("BEGIN IMMEDIATE")
            if delete_keys(table, table.leased_keys()):
                table.save_counters()
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise _damaged(path, str(error)) from error
        except PystreamError:
            connection.close()
            raise
        return cls(path, connection, clock, make_room)

    async def get(self, key: str) -> KeyValue | None:
        return await self._ask(lambda table: table.read(key))

    async def range(self, prefix: str, *, start: str | None = None, limit: int = MAXIMUM_PAGE) -> Page:
        bounded = max(1, min(limit, MAXIMUM_PAGE))
        return await self._ask(lambda table: table.range(prefix, start, bounded))

    async def transaction(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TransactionResult:
        check_transaction(compares, then, otherwise)
        return await self._ask(lambda table: apply_transaction(table, self._leases, compares, then, otherwise))

    def watch(self, prefix: str, from_revision: int) -> AsyncIterator[Batch]:
        return self._watching.watch(from_revision, lambda n: self._ask(lambda table: table.history(prefix, n)))

    async def lease(self, time_to_live_ms: int) -> SqliteLease:
        lease = await self._ask(lambda _: self._leases.grant(time_to_live_ms, self._clock.monotonic_ms()))
        timer = asyncio.ensure_future(self._end_in_time(lease))
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)
        return SqliteLease(self, lease)

    def keep_alive(self, lease: int) -> None:
        """Touches no disk: a disk that stands still must not end the lease of a process that lives."""
        self._leases.keep_alive(lease, self._clock.monotonic_ms())

    async def revoke(self, lease: int) -> None:
        await self._ask(lambda table: end_lease(table, self._leases, lease))

    def lease_lives(self, lease: int) -> bool:
        return self._leases.lives(lease, self._clock.monotonic_ms())

    async def backup(self, destination: Path) -> None:
        """Write a whole copy to `destination`, replacing what is there at once. The store goes on meanwhile."""
        await asyncio.to_thread(_copy, self._path, destination)

    async def close(self) -> None:
        """Serve what is queued, then close the file. Closing twice is no error."""
        self._watching.close()
        for timer in self._timers:
            timer.cancel()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # --- the loop's side ----------------------------------------------------------------------------------------------

    async def _ask(self, serve: Callable[[_SqliteTable], R]) -> R:
        if self._watching.closed or not self._thread.is_alive():
            raise Closed("the metadata store was closed")
        if self._queue.qsize() >= MAXIMUM_QUEUED_REQUESTS:
            raise Busy(f"{MAXIMUM_QUEUED_REQUESTS} requests wait for the metadata store")
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[R] = loop.create_future()
        self._queue.put(_Request(serve, loop, reply))
        return await reply

    async def _end_in_time(self, lease: int) -> None:
        """Ends are served with the next request, whatever it is; this makes sure that there is one."""
        while (left_ms := self._leases.left_ms(lease, self._clock.monotonic_ms())) is not None:
            await self._clock.sleep_ms(left_ms)
            try:
                await self._ask(lambda _: None)
            except Closed:
                return
            except (StoreUnavailable, StoreOutcomeUnknown, Busy):
                await self._clock.sleep_ms(LEASE_CHECK_MS)

    def _settle(self, outcomes: list[_Outcome], changed: bool) -> None:
        for request, result, error in outcomes:
            if request.reply.done():
                continue
            if error is None:
                request.reply.set_result(result)
            else:
                request.reply.set_exception(error)
        if changed:
            self._watching.wake()

    # --- the thread's side --------------------------------------------------------------------------------------------

    def _serve_requests(self) -> None:
        try:
            while requests := self._next_requests():
                before = self._table.revision
                outcomes = self._serve_together(requests)
                self._reply(outcomes, self._table.revision != before)
        finally:
            self._failure = Closed("the metadata store was closed")
            while requests := self._next_requests(wait=False):
                self._reply(self._serve_together(requests), changed=False)
            self._connection.close()

    def _next_requests(self, *, wait: bool = True) -> list[_Request]:
        """All that are queued, at most REQUESTS_PER_COMMIT; empty when the store is to close."""
        requests: list[_Request] = []
        while len(requests) < REQUESTS_PER_COMMIT:
            try:
                following = self._queue.get(block=wait and not requests)
            except queue.Empty:
                break
            if following is None:
                if requests:
                    self._queue.put(None)
                break
            requests.append(following)
        return requests

    def _serve_together(self, requests: list[_Request], *, once_more: bool = True) -> list[_Outcome]:
        if self._failure is not None:
            return [_Outcome(request, None, self._failure) for request in requests]
        committing = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for keys in self._leases.end_due(self._clock.monotonic_ms()):
                delete_keys(self._table, keys)
            outcomes = [self._serve(request) for request in requests]
            self._table.save_counters()
            committing = True
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            failure = self._failed(error, committing)
            if once_more and isinstance(failure, StoreFull) and self._make_room():
                return self._serve_together(requests, once_more=False)
            return [_Outcome(request, None, failure) for request in requests]
        return outcomes

    def _serve(self, request: _Request) -> _Outcome:
        try:
            return _Outcome(request, request.serve(self._table), None)
        except PystreamError as error:  # a refusal, before anything was applied
            return _Outcome(request, None, error)

    def _failed(self, error: sqlite3.Error, committing: bool) -> PystreamError:
        """Undo what was begun, and say what the callers have to think of it."""
        harmless = (error.sqlite_errorcode & 0xFF) in HARMLESS_ERRORS
        if not harmless:
            self._failure = StoreUnavailable(f"the metadata store failed before: {error}")
        logger.error("metadata store failed", path=self._path, error=error, goes_on=harmless)
        if harmless:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._table.reload()
            self._leases.restore(self._table.leased_keys(), self._clock.monotonic_ms())
        if committing and not harmless:
            return StoreOutcomeUnknown(f"the commit failed: {error}")
        if (error.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_FULL:
            return StoreFull(f"{error}")
        return StoreUnavailable(f"{error}")

    def _reply(self, outcomes: list[_Outcome], changed: bool) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            outcomes[0].request.loop.call_soon_threadsafe(self._settle, outcomes, changed)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Settings, schema, and SQLite's own check."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    is_new = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not is_new and (application, version) != (APPLICATION_ID, FORMAT_VERSION):
        expected = f"expected {APPLICATION_ID:#x} version {FORMAT_VERSION}"
        raise UnknownFormatVersion(f"{path}: application {application:#x} version {version}, {expected}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if is_new:
        connection.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT_VERSION}; {SCHEMA} COMMIT;"
        )
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _damaged(path, verdict)


def _damaged(path: Path, verdict: str) -> StoreDamaged:
    return StoreDamaged(f"{path}: {verdict}; stop the broker and put back a backup of this file, or move it away")


def _copy(source: Path, destination: Path) -> None:
    unfinished = destination.with_name(destination.name + ".part")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it holds credentials
    with contextlib.closing(sqlite3.connect(source)) as original:
        with contextlib.closing(sqlite3.connect(unfinished)) as copy:
            original.backup(copy)
    with open(unfinished, "rb+") as written:
        os.fsync(written.fileno())
    unfinished.replace(destination)
    directory = os.open(destination.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
