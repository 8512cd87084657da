"""What only the SQLite store has: a file that outlives the process, and a disk that fails."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pystream.common.clock import DAY_MS, ManualClock
from pystream.common.errors import (
    StoreCompacted,
    StoreDamaged,
    StoreFull,
    StoreOutcomeUnknown,
    StoreUnavailable,
    UnknownFormatVersion,
)
from pystream.common.logging import event_of
from pystream.metadata.store import Absent, Batch, Delete, Event, Put, read_all, sqlite
from pystream.metadata.store.backups import keep_backups, newest_of, older_of
from pystream.metadata.store.interface import KEPT_HISTORY_MS
from pystream.metadata.store.sqlite import TRIM_EVERY_REVISIONS, SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metadata.db"


def with_store(path: Path, scenario: Callable[[SqliteStore, ManualClock], Awaitable[None]]) -> None:
    async def within_loop() -> None:
        clock = ManualClock()
        store = SqliteStore.open(path, clock)
        try:
            await scenario(store, clock)
        finally:
            await store.close()

    asyncio.run(within_loop())


async def write_and_forget(store: SqliteStore, clock: ManualClock) -> None:
    await store.transaction([], [Put("/a", b"1"), Put("/b", b"2")])
    await store.transaction([], [Delete("/b"), Put("/a", b"3")])


def test_what_was_committed_is_there_after_a_restart(path: Path) -> None:
    async def after_restart(store: SqliteStore, clock: ManualClock) -> None:
        items, revision = await read_all(store, "")
        assert [(item.key, item.value, item.version) for item in items] == [("/a", b"3", 2)]
        assert revision == 3
        history = await anext(store.watch("", 2))
        assert [(event.revision, event.key) for event in history.events] == [(2, "/a"), (2, "/b"), (3, "/b"), (3, "/a")]

    with_store(path, write_and_forget)
    with_store(path, after_restart)


def test_keys_of_leases_do_not_outlive_the_process(path: Path) -> None:
    async def leased(store: SqliteStore, clock: ManualClock) -> None:
        lease = await store.lease(60_000)
        await store.transaction([], [Put("/l/a", b"", lease.id), Put("/l/b", b"", lease.id), Put("/stays", b"")])

    async def after_restart(store: SqliteStore, clock: ManualClock) -> None:
        assert [item.key for item in (await store.range("")).items] == ["/stays"]
        assert await anext(store.watch("", 3)) == Batch(3, (Event(3, "/l/a", None), Event(3, "/l/b", None)))

    with_store(path, leased)
    with_store(path, after_restart)


def test_only_the_owner_can_read_the_file(path: Path) -> None:
    with_store(path, write_and_forget)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_commits_are_written_through_to_the_disk(path: Path) -> None:
    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        settings = await store._ask(  # the pragmas are of the store's own connection
            lambda table: [table._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS]
        )
        assert dict(zip(PRAGMAS, settings, strict=True)) == PRAGMAS

    with_store(path, scenario)


PRAGMAS = {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL


@pytest.mark.parametrize("where", [0, 100, 4_096 + 8])
def test_a_damaged_file_is_refused_with_a_hint(path: Path, where: int) -> None:
    async def fill(store: SqliteStore, clock: ManualClock) -> None:
        for n in range(100):
            await store.transaction([], [Put(f"/{n}", bytes(1_000))])

    with_store(path, fill)
    with open(path, "rb+") as file:
        file.seek(where)
        file.write(b"\xff" * 64)

    with pytest.raises(StoreDamaged, match="put back a backup"):
        with_store(path, fill)


def test_a_file_of_another_program_or_a_later_format_is_not_touched(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (n INTEGER)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(UnknownFormatVersion):
        with_store(path, write_and_forget)

    assert path.read_bytes() == before


def test_a_path_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no-such-dir"):
        with_store(tmp_path / "no-such-dir" / "metadata.db", write_and_forget)


def test_callers_that_wait_together_share_a_commit(path: Path) -> None:
    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        commits = 0

        def count(statement: str) -> None:
            nonlocal commits
            commits += statement == "COMMIT"

        store._connection.set_trace_callback(count)
        results = await asyncio.gather(*(store.transaction([], [Put(f"/{n}", b"")]) for n in range(200)))
        assert sorted(result.revision for result in results) == list(range(2, 202))
        assert commits <= 10

    with_store(path, scenario)


def test_a_refused_transaction_does_not_hurt_those_it_shared_a_commit_with(path: Path) -> None:
    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        results = await asyncio.gather(
            store.transaction([], [Put("/a", b"")]),
            store.transaction([], [Put("/b", b"", lease=4711)]),
            store.transaction([], [Put("/c", b"")]),
            return_exceptions=True,
        )
        assert [type(result).__name__ for result in results] == ["TransactionResult", "LeaseGone", "TransactionResult"]
        assert [item.key for item in (await store.range("")).items] == ["/a", "/c"]

    with_store(path, scenario)


def test_a_full_disk_refuses_and_loses_nothing_and_recovers(path: Path) -> None:
    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        lease = await store.lease(60_000)
        await store.transaction([], [Put("/kept", b"1", lease.id)])
        await store._ask(lambda table: limit_pages(table._connection, 12))
        with pytest.raises(StoreFull, match="full"):
            await store.transaction([], [Put("/kept", b"2"), Put("/large", bytes(200_000))])
        item = await store.get("/kept")
        assert item is not None
        assert (item.value, item.lease) == (b"1", lease.id)
        await store._ask(lambda table: limit_pages(table._connection, 100_000))
        assert (await store.transaction([], [Put("/large", bytes(200_000))])).succeeded
        await lease.revoke()
        assert await store.get("/kept") is None

    with_store(path, scenario)


def test_a_transaction_that_finds_the_disk_full_is_tried_again_where_room_could_be_made(path: Path) -> None:
    room = [100_000]

    def make_room() -> bool:
        if room:
            limit_pages(store._connection, room.pop())
            return True
        return False

    async def scenario() -> None:
        nonlocal store
        store = SqliteStore.open(path, ManualClock(), make_room)
        lease = await store.lease(60_000)
        await store._ask(lambda table: limit_pages(table._connection, 12))
        puts = [Put("/large", bytes(200_000)), Put("/leased", b"1", lease.id)]
        assert (await store.transaction([], puts)).succeeded
        assert room == []
        await store._ask(lambda table: limit_pages(table._connection, 12))
        with pytest.raises(StoreFull):
            await store.transaction([], [Put("/larger", bytes(400_000))])
        await lease.revoke()
        assert [item.key for item in (await store.range("")).items] == ["/large"]
        await store.close()

    store: SqliteStore
    asyncio.run(scenario())


def limit_pages(connection: sqlite3.Connection, pages: int) -> None:
    """SQLite's own way of a full disk."""
    connection.execute(f"PRAGMA max_page_count = {pages}")


def test_after_a_failed_fsync_nothing_is_served_any_more(path: Path) -> None:
    class FailingConnection:
        """The store's connection, with a disk that fails at the commit."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self.connection = connection
            self.in_transaction = False

        def execute(self, statement: str, *parameters: object) -> sqlite3.Cursor:
            if statement == "COMMIT":
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                raise error
            return self.connection.execute(statement, *parameters)  # type: ignore[arg-type]

        def close(self) -> None:
            self.connection.close()

    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        store._connection = FailingConnection(store._connection)  # type: ignore[assignment]
        with pytest.raises(StoreOutcomeUnknown, match="I/O error"):
            await store.transaction([], [Put("/a", b"")])
        with pytest.raises(StoreUnavailable, match="failed before"):
            await store.get("/a")

    with_store(path, scenario)


def test_history_is_bounded_by_age(path: Path) -> None:
    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        await store.transaction([], [Put("/old", b"")])
        clock.advance(ms=KEPT_HISTORY_MS + 1)
        for n in range(TRIM_EVERY_REVISIONS):
            await store.transaction([], [Put("/new", str(n).encode())])
        with pytest.raises(StoreCompacted) as refusal:
            await anext(store.watch("", 2))
        assert refusal.value.minimum_revision == 3
        assert await store.get("/old") is not None

    with_store(path, scenario)


def test_history_is_bounded_by_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "KEPT_HISTORY_BYTES", 100_000)

    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        for _ in range(TRIM_EVERY_REVISIONS):
            await store.transaction([], [Put("/a", bytes(1_000))])
        with pytest.raises(StoreCompacted) as refusal:
            await anext(store.watch("", 2))
        assert refusal.value.minimum_revision > TRIM_EVERY_REVISIONS - 110

    with_store(path, scenario)


def test_a_backup_is_a_whole_store_and_the_original_goes_on(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup.db"

    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        await write_and_forget(store, clock)
        await store.backup(copy)
        await store.transaction([], [Put("/later", b"")])

    async def restored(store: SqliteStore, clock: ManualClock) -> None:
        assert [item.key for item in (await store.range("")).items] == ["/a"]
        assert (await store.transaction([Absent("/later")], [Put("/later", b"")])).revision == 4

    with_store(path, scenario)
    with_store(copy, restored)


def test_the_two_newest_backups_are_kept_one_an_interval(path: Path) -> None:
    newest, older = newest_of(path), older_of(path)

    def content(file: Path) -> bytes | None:
        return file.read_bytes() if file.exists() else None

    async def written(file: Path, held: bytes | None) -> None:
        while await asyncio.to_thread(content, file) in (None, held):
            pass

    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        keeping = asyncio.create_task(keep_backups(store, path, clock, interval_ms=DAY_MS))
        await written(newest, None)
        first = newest.read_bytes()
        await store.transaction([], [Put("/a", b"")])
        while clock.sleepers == 0:
            await asyncio.to_thread(newest.exists)
        clock.advance(DAY_MS - 1)
        assert not older.exists()
        clock.advance(1)
        await written(older, None)
        await written(newest, first)
        assert older.read_bytes() == first
        assert {stat.S_IMODE(file.stat().st_mode) for file in (newest, older)} == {0o600}
        keeping.cancel()

    async def restored(store: SqliteStore, clock: ManualClock) -> None:
        assert [item.key for item in (await store.range("")).items] == ["/a"]

    with_store(path, scenario)
    with_store(newest, restored)


def test_a_backup_that_cannot_be_made_is_told_of_and_tried_again(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = newest_of(path).with_name(newest_of(path).name + "-new.part")

    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        blocked.mkdir()
        keeping = asyncio.create_task(keep_backups(store, path, clock, interval_ms=DAY_MS))
        while clock.sleepers == 0:
            await asyncio.to_thread(blocked.exists)
        assert not newest_of(path).exists()
        blocked.rmdir()
        clock.advance(DAY_MS)
        while not newest_of(path).exists():
            await asyncio.to_thread(blocked.exists)
        keeping.cancel()

    with_store(path, scenario)
    assert [event_of(record) for record in caplog.records] == ["metadata not backed up"]


def test_closing_serves_what_waits(path: Path) -> None:
    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        writes = [asyncio.ensure_future(store.transaction([], [Put(f"/{n}", b"")])) for n in range(50)]
        await clock.sleep_ms(0)
        await store.close()
        assert all(result.succeeded for result in await asyncio.gather(*writes))

    with_store(path, scenario)


def test_a_disk_that_stands_still_does_not_end_the_lease_of_a_living_process(path: Path) -> None:
    async def scenario(store: SqliteStore, clock: ManualClock) -> None:
        lease = await store.lease(2_000)
        await store.transaction([], [Put("/alive", b"", lease.id)])
        moving = threading.Event()
        slow = asyncio.ensure_future(store._ask(lambda table: moving.wait(10)))
        for _ in range(5):
            clock.advance(ms=1_500)
            await lease.keep_alive()
        moving.set()
        await slow
        assert await store.get("/alive") is not None

    with_store(path, scenario)
