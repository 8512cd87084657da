"""The faults of the simulated store do what they are called."""

from __future__ import annotations

import asyncio

import pytest

from pystream.common.clock import ManualClock
from pystream.common.errors import StoreCompacted, StoreOutcomeUnknown, StoreUnavailable
from pystream.metadata.store import Put
from pystream.metadata.store.simulated import SimulatedStore


def test_a_lost_reply_is_of_a_change_that_was_made() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        store.faults.lose_reply = 1
        with pytest.raises(StoreOutcomeUnknown):
            await store.transaction([], [Put("/a", b"")])
        assert await store.get("/a") is not None

    asyncio.run(scenario())


def test_a_lost_request_is_of_a_change_that_was_not_made() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        store.faults.lose_request = 1
        with pytest.raises(StoreOutcomeUnknown):
            await store.transaction([], [Put("/a", b"")])
        assert await store.get("/a") is None

    asyncio.run(scenario())


def test_an_unavailable_store_changes_nothing_and_comes_back() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        store.faults.unavailable = True
        with pytest.raises(StoreUnavailable):
            await store.transaction([], [Put("/a", b"")])
        store.faults.unavailable = False
        assert await store.get("/a") is None

    asyncio.run(scenario())


def test_a_delayed_request_waits_on_the_clock() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        store = SimulatedStore(clock)
        store.faults.delay_ms = 50
        reading = asyncio.ensure_future(store.get("/a"))
        while not clock.sleepers:
            await clock.sleep_ms(0)
        assert not reading.done()
        clock.advance(ms=50)
        assert await reading is None

    asyncio.run(scenario())


def test_a_stale_range_shows_what_was_there_and_a_get_does_not() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        for n in range(4):
            await store.transaction([], [Put("/a", str(n).encode())])
        store.compact(3)
        store.faults.stale_by = 2
        page = await store.range("/")
        assert (page.revision, page.items[0].value) == (3, b"1")
        store.faults.stale_by = 100
        assert (await store.range("/")).items[0].value == b"0"
        item = await store.get("/a")
        assert item is not None
        assert item.value == b"3"

    asyncio.run(scenario())


def test_compacted_history_is_refused() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        for n in range(5):
            await store.transaction([], [Put("/a", str(n).encode())])
        store.compact(4)
        with pytest.raises(StoreCompacted):
            await anext(store.watch("/", 3))
        assert (await anext(store.watch("/", 4))).events[0].revision == 4

    asyncio.run(scenario())


def test_a_lease_can_be_ended_from_outside() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        lease = await store.lease(60_000)
        await store.transaction([], [Put("/a", b"", lease.id)])
        store.expire(lease.id)
        assert await store.get("/a") is None
        assert lease.expired
        await store.close()

    asyncio.run(scenario())
