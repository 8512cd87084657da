"""What every metadata store must show, one test for each line of its promise. All implementations run all of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pystream.common.clock import ManualClock
from pystream.common.errors import Closed, LeaseGone, StoreCompacted, TransactionTooLarge
from pystream.metadata.store import (
    Absent,
    Batch,
    CreateRevision,
    Delete,
    Event,
    Exists,
    Get,
    KeyValue,
    MetadataStore,
    ModRevision,
    Put,
    TransactionResult,
    Value,
    read_all,
)
from pystream.metadata.store.interface import (
    KEPT_REVISIONS,
    MAXIMUM_COMPARES,
    MAXIMUM_OPERATIONS,
    MAXIMUM_REQUEST_BYTES,
    MINIMUM_LEASE_MS,
    PROGRESS_INTERVAL_MS,
)
from pystream.metadata.store.simulated import SimulatedStore
from pystream.metadata.store.sqlite import SqliteStore

Scenario = Callable[[MetadataStore, ManualClock], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=["simulated", "sqlite"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a scenario against a new, empty store."""

    def with_store(scenario: Scenario) -> None:
        async def within_loop() -> None:
            clock = ManualClock()
            store: MetadataStore
            if request.param == "sqlite":
                (tmp_path / "metadata.db").unlink(missing_ok=True)
                store = SqliteStore.open(tmp_path / "metadata.db", clock)
            else:
                store = SimulatedStore(clock)
            try:
                await scenario(store, clock)
            finally:
                await store.close()

        asyncio.run(within_loop())

    return with_store


async def put(store: MetadataStore, key: str, value: bytes = b"v") -> int:
    return (await store.transaction([], [Put(key, value)])).revision


async def collect(watch: AsyncIterator[Batch], up_to: int) -> list[Batch]:
    """Batches with events, until the watch has come to revision `up_to`."""
    batches = []
    async for batch in watch:
        if batch.events:
            batches.append(batch)
        if batch.revision >= up_to:
            break
    return batches


def test_a_key_is_read_as_it_was_written(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        assert await store.get("/a") is None
        revision = await put(store, "/a", b"\x00\xff")
        assert await store.get("/a") == KeyValue("/a", b"\x00\xff", revision, revision, 1)

    run(scenario)


def test_a_transaction_with_an_effect_raises_the_revision_by_one_for_all_its_keys(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        before = (await store.range("/")).revision
        result = await store.transaction([], [Put("/a", b"1"), Put("/b", b"2"), Delete("/never")])
        items = (await store.range("/")).items
        assert result.revision == before + 1
        assert [item.mod_revision for item in items] == [before + 1, before + 1]

    run(scenario)


def test_reading_or_deleting_an_absent_key_does_not_raise_the_revision(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        before = await put(store, "/a")
        assert (await store.transaction([], [Get("/a")])).revision == before
        assert (await store.transaction([], [Delete("/b")])).revision == before
        assert (await store.transaction([Absent("/a")], [Put("/a", b"x")])).revision == before

    run(scenario)


def test_rewriting_the_same_value_raises_the_revision(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        before = await put(store, "/a", b"1")
        assert await put(store, "/a", b"1") == before + 1

    run(scenario)


def test_create_revision_survives_updates_and_changes_after_a_deletion(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        created = await put(store, "/a", b"1")
        changed = await put(store, "/a", b"2")
        assert await store.get("/a") == KeyValue("/a", b"2", created, changed, 2)
        await store.transaction([], [Delete("/a")])
        again = await put(store, "/a", b"3")
        assert await store.get("/a") == KeyValue("/a", b"3", again, again, 1)

    run(scenario)


@pytest.mark.parametrize("present", [True, False])
def test_compares_say_what_is_there(run: Run, present: bool) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        created = await put(store, "/a", b"old")
        changed = await put(store, "/a", b"new")
        key = "/a" if present else "/b"
        expectations = {
            Exists(key): present,
            Absent(key): not present,
            CreateRevision(key, created): present,
            CreateRevision(key, 0): not present,
            CreateRevision(key, changed): False,
            ModRevision(key, changed): present,
            ModRevision(key, 0): not present,
            Value(key, b"new"): present,
            Value(key, b"old"): False,
            Value(key, b""): False,
        }
        for compare, expected in expectations.items():
            assert (await store.transaction([compare], [])).succeeded is expected, compare

    run(scenario)


def test_one_false_compare_sends_the_transaction_the_other_way(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        await put(store, "/a")
        result = await store.transaction(
            [Exists("/a"), Exists("/b")], [Put("/c", b"yes")], [Put("/c", b"no"), Get("/a")]
        )
        assert not result.succeeded
        assert result.results[1] == await store.get("/a")
        item = await store.get("/c")
        assert item is not None
        assert item.value == b"no"

    run(scenario)


def test_a_transaction_sees_its_own_writes_and_answers_what_it_deleted(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        await put(store, "/a", b"old")
        result = await store.transaction([], [Put("/b", b"1"), Get("/b"), Delete("/a"), Get("/a"), Delete("/a")])
        written, read, deleted, gone, nothing = result.results
        assert (written, gone, nothing) == (None, None, None)
        assert read == KeyValue("/b", b"1", result.revision, result.revision, 1)
        assert deleted is not None
        assert deleted.value == b"old"

    run(scenario)


@pytest.mark.parametrize(
    "shape", ["compares", "then", "otherwise", "two puts of one key", "put and delete of one key", "bytes"]
)
def test_a_transaction_above_a_limit_is_refused_whole(run: Run, shape: str) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        puts = [Put(f"/k{n}", b"") for n in range(MAXIMUM_OPERATIONS)]
        fits = [Absent(f"/k{n}") for n in range(MAXIMUM_COMPARES)]
        requests = {
            "compares": ([*fits, Absent("/more")], puts, []),
            "then": (fits, [*puts, Put("/more", b"")], []),
            "otherwise": (fits, puts, [*puts, Put("/more", b"")]),
            "two puts of one key": ([], [Put("/a", b"1"), Put("/a", b"1")], []),
            "put and delete of one key": ([], [Put("/a", b"1"), Delete("/a")], []),
            "bytes": ([], [Put("/a", bytes(MAXIMUM_REQUEST_BYTES))], []),
        }
        before = (await store.range("/")).revision
        with pytest.raises(TransactionTooLarge):
            await store.transaction(*requests[shape])
        page = await store.range("/")
        assert (page.items, page.revision) == ((), before)

    run(scenario)


def test_a_transaction_at_the_limits_is_served(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        puts = [Put(f"/k{n}", b"") for n in range(MAXIMUM_OPERATIONS)]
        fits = [Absent(f"/k{n}") for n in range(MAXIMUM_COMPARES)]
        assert (await store.transaction(fits, puts, puts)).succeeded
        assert len((await store.range("/k")).items) == MAXIMUM_OPERATIONS
        assert (await store.transaction([], [Put("/a", bytes(MAXIMUM_REQUEST_BYTES - 2))])).succeeded

    run(scenario)


def test_a_range_is_ordered_by_bytes_and_ends_with_its_prefix(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        keys = ["/t/a", "/t/a/1", "/t/ä", "/t/\U0001f600", "/t/\uffff", "/t0", "/s", "/t/"]
        for key in keys:
            await put(store, key)
        page = await store.range("/t/")
        expected = sorted((key for key in keys if key.startswith("/t/")), key=str.encode)
        assert [item.key for item in page.items] == expected
        assert page.next is None

    run(scenario)


def test_pages_follow_one_another_without_gaps(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        await store.transaction([], [Put(f"/k/{n:03}", b"") for n in range(10)])
        seen, start = [], None
        for _ in range(4):
            page = await store.range("/k/", start=start, limit=3)
            seen += [item.key for item in page.items]
            start = page.next
        assert seen == [f"/k/{n:03}" for n in range(10)]
        assert start is None
        assert [item.key for item in (await read_all(store, "/k/"))[0]] == seen

    run(scenario)


def test_a_watch_delivers_the_past_and_the_present_once_in_order(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        first = await put(store, "/w/a", b"1")
        await put(store, "/other")
        await store.transaction([], [Put("/w/b", b"2"), Delete("/w/a")])
        watch = store.watch("/w/", first)
        late = asyncio.ensure_future(collect(watch, first + 3))
        await put(store, "/w/b", b"3")
        events = [event for batch in await late for event in batch.events]
        assert events == [
            Event(first, "/w/a", KeyValue("/w/a", b"1", first, first, 1)),
            Event(first + 2, "/w/b", KeyValue("/w/b", b"2", first + 2, first + 2, 1)),
            Event(first + 2, "/w/a", None),
            Event(first + 3, "/w/b", KeyValue("/w/b", b"3", first + 2, first + 3, 2)),
        ]

    run(scenario)


def test_a_revision_is_never_split_over_two_batches(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        revisions = 25
        for n in range(revisions):
            await store.transaction([], [Put(f"/{n}/{k}", b"") for k in range(MAXIMUM_OPERATIONS)])
        last = (await store.range("/", limit=1)).revision
        batches = await collect(store.watch("/", last - revisions + 1), last)
        seen: set[int] = set()
        for batch in batches:
            here = {event.revision for event in batch.events}
            assert not here & seen
            assert all(sum(event.revision == r for event in batch.events) == MAXIMUM_OPERATIONS for r in here)
            seen |= here
        assert len(seen) == revisions

    run(scenario)


def test_a_watch_may_begin_in_the_future(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        now = await put(store, "/a")
        future = asyncio.ensure_future(collect(store.watch("/", now + 3), now + 3))
        for n in range(3):
            await put(store, f"/{n}")
        (batch,) = await future
        assert [event.key for event in batch.events] == ["/2"]

    run(scenario)


def test_a_silent_watch_tells_how_far_it_is(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        watch = store.watch("/w/", (await store.range("/")).revision + 1)
        progress = asyncio.ensure_future(anext(watch))
        revision = await put(store, "/other")
        while not clock.sleepers:
            await clock.sleep_ms(0)
        clock.advance(ms=PROGRESS_INTERVAL_MS)
        assert await progress == Batch(revision, ())

    run(scenario)


def test_history_is_bounded_and_a_watch_below_it_is_told(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        first = await put(store, "/a")
        for _ in range(3 * KEPT_REVISIONS // 1_000):
            await asyncio.gather(*(put(store, "/a") for _ in range(1_000)))
        with pytest.raises(StoreCompacted) as refusal:
            await anext(store.watch("/", first))
        assert refusal.value.minimum_revision > first
        assert (await anext(store.watch("/", refusal.value.minimum_revision))).events

    run(scenario)


def test_the_keys_of_an_expired_lease_go_in_one_revision(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        lease = await store.lease(5_000)
        before = (await store.transaction([], [Put("/l/a", b"", lease.id), Put("/l/b", b"", lease.id)])).revision
        await put(store, "/stays")
        clock.advance(ms=4_999)
        assert await store.get("/l/a") is not None
        assert not lease.expired
        watch = asyncio.ensure_future(collect(store.watch("/l/", before + 1), before + 2))
        clock.advance(ms=1)
        assert [batch.events for batch in await watch] == [
            (Event(before + 2, "/l/a", None), Event(before + 2, "/l/b", None))
        ]
        assert lease.expired
        assert [item.key for item in (await store.range("/")).items] == ["/stays"]

    run(scenario)


def test_a_lease_that_is_kept_alive_lives(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        lease = await store.lease(MINIMUM_LEASE_MS)
        await store.transaction([], [Put("/l", b"", lease.id)])
        for _ in range(5):
            clock.advance(ms=MINIMUM_LEASE_MS - 1)
            await lease.keep_alive()
        assert await store.get("/l") is not None

    run(scenario)


def test_a_lease_that_ended_never_comes_back(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        lease = await store.lease(MINIMUM_LEASE_MS)
        clock.advance(ms=MINIMUM_LEASE_MS)
        with pytest.raises(LeaseGone):
            await lease.keep_alive()
        with pytest.raises(LeaseGone):
            await store.transaction([], [Put("/x", b""), Put("/l", b"", lease.id)])
        assert (await store.range("/")).items == ()
        assert lease.expired

    run(scenario)


def test_a_revoked_lease_takes_its_keys_along_and_may_be_revoked_again(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        lease = await store.lease(60_000)
        await store.transaction([], [Put("/l", b"", lease.id)])
        await lease.revoke()
        await lease.revoke()
        assert await store.get("/l") is None
        assert lease.expired
        with pytest.raises(LeaseGone):
            await lease.keep_alive()

    run(scenario)


def test_a_key_that_was_written_anew_without_the_lease_outlives_it(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        lease = await store.lease(60_000)
        await store.transaction([], [Put("/l", b"", lease.id)])
        await put(store, "/l")
        await lease.revoke()
        assert await store.get("/l") is not None

    run(scenario)


def test_compare_and_swap_of_many_writers_loses_nothing(run: Run, full: bool) -> None:
    each = 1_000 if full else 125

    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        async def increments(count: int) -> None:
            while count:
                item = await store.get("/n")
                number = int(item.value) if item else 0
                compare = ModRevision("/n", item.mod_revision if item else 0)
                count -= (await store.transaction([compare], [Put("/n", str(number + 1).encode())])).succeeded

        await asyncio.gather(*(increments(each) for _ in range(8)))
        item = await store.get("/n")
        assert item is not None
        assert int(item.value) == 8 * each

    run(scenario)


@pytest.mark.parametrize("seed", range(3))
def test_clients_at_once_see_one_order_of_changes(run: Run, seed: int) -> None:
    """Linearizable: replayed in the order of their revisions, all transactions give what their callers were told.

    A transaction that began after another had ended comes after it; reads inside show the state at their place.
    """

    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        random_source = random.Random(seed)
        done: list[tuple[int, int, str, bytes, TransactionResult]] = []
        latest = 1

        async def client(number: int) -> None:
            nonlocal latest
            for step in range(40):
                began, key = latest, random_source.choice("abc")
                value = f"{number}/{step}".encode()
                seen = await store.get(key)
                compare = ModRevision(key, seen.mod_revision if seen else 0)
                result = await store.transaction([compare], [Get(key), Put(key, value)], [Get(key)])
                latest = max(latest, result.revision)
                done.append((began, result.revision, key, value, result))

        await asyncio.gather(*(client(number) for number in range(8)))
        state: dict[str, KeyValue] = {}
        for began, revision, key, value, result in sorted(done, key=lambda each: (each[1], not each[4].succeeded)):
            assert revision >= began
            assert result.results[0] == state.get(key)
            if result.succeeded:
                before = state.get(key)
                created = before.create_revision if before else revision
                state[key] = KeyValue(key, value, created, revision, before.version + 1 if before else 1)
        assert {item.key: item for item in (await store.range("")).items} == state
        assert sum(result.succeeded for *_, result in done) == latest - 1

    run(scenario)


def test_a_closed_store_says_so(run: Run) -> None:
    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        watching = asyncio.ensure_future(collect(store.watch("/", 1), 100))
        await put(store, "/a")
        await store.close()
        with pytest.raises(Closed):
            await store.get("/a")
        with pytest.raises(Closed):
            await watching

    run(scenario)


KEYS = st.sampled_from(["/a", "/a/1", "/b", "/ä"])
COMPARES = st.one_of(
    st.builds(Exists, KEYS),
    st.builds(Absent, KEYS),
    st.builds(ModRevision, KEYS, st.integers(0, 12)),
    st.builds(CreateRevision, KEYS, st.integers(0, 12)),
    st.builds(Value, KEYS, st.sampled_from([b"", b"1", b"2"])),
)
OPERATIONS = st.lists(
    st.one_of(st.builds(Put, KEYS, st.sampled_from([b"", b"1", b"2"])), st.builds(Delete, KEYS), st.builds(Get, KEYS)),
    max_size=3,
    unique_by=lambda operation: operation.key,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(transactions=st.lists(st.tuples(st.lists(COMPARES, max_size=2), OPERATIONS, OPERATIONS), max_size=12))
def test_any_history_agrees_with_a_plain_dict(run: Run, transactions: list) -> None:
    """The model: key -> (value, created, changed, version), written without a look at the implementation."""

    async def scenario(store: MetadataStore, clock: ManualClock) -> None:
        model: dict[str, tuple[bytes, int, int, int]] = {}
        revision = start = (await store.range("")).revision
        changes: list[tuple[int, str, bytes | None]] = []

        def true_of(compare: object) -> bool:
            absent = (None, 0, 0, 0)
            value, created, changed, _ = model.get(compare.key, absent)  # type: ignore[attr-defined]
            match compare:
                case Exists():
                    return value is not None
                case Absent():
                    return value is None
                case ModRevision(_, expected):
                    return changed == expected
                case CreateRevision(_, expected):
                    return created == expected
                case Value(_, expected):
                    return value == expected
            raise AssertionError(compare)

        for compares, then, otherwise in transactions:
            succeeded = all(map(true_of, compares))
            operations = then if succeeded else otherwise
            effective = any(isinstance(o, Put) or (isinstance(o, Delete) and o.key in model) for o in operations)
            revision += effective
            for operation in operations:
                if isinstance(operation, Put):
                    _, created, _, version = model.get(operation.key, (b"", revision, 0, 0))
                    model[operation.key] = (operation.value, created, revision, version + 1)
                    changes.append((revision, operation.key, operation.value))
                elif isinstance(operation, Delete) and model.pop(operation.key, None):
                    changes.append((revision, operation.key, None))
            result = await store.transaction(compares, then, otherwise)
            assert (result.succeeded, result.revision) == (succeeded, revision)

        items = (await store.range("")).items
        assert {
            item.key: (item.value, item.create_revision, item.mod_revision, item.version) for item in items
        } == model
        if changes:
            batches = await collect(store.watch("", start + 1), revision)
            told = [(e.revision, e.key, e.item and e.item.value) for batch in batches for e in batch.events]
            assert told == changes

    run(scenario)
