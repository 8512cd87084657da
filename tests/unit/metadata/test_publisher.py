from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pystream.common.clock import ManualClock
from pystream.common.model import random_uuid
from pystream.metadata import records
from pystream.metadata.image import ClusterImage, Delta
from pystream.metadata.publisher import RETRY_MS, ImagePublisher
from pystream.metadata.records import TopicRecord
from pystream.metadata.store import Delete, Put
from pystream.metadata.store.interface import MAXIMUM_PAGE
from pystream.metadata.store.simulated import SimulatedStore


async def create(store: SimulatedStore, name: str) -> tuple[bytes, int]:
    topic_id = random_uuid()
    value = records.encode_topic(TopicRecord(name, ((1,),)))
    result = await store.transaction([], [Put(records.topic_key(topic_id), value)])
    return topic_id, result.revision


def with_publisher(scenario: Callable[[SimulatedStore, ImagePublisher, ManualClock], Awaitable[None]]) -> None:
    async def within_loop() -> None:
        clock = ManualClock()
        store = SimulatedStore(clock)
        publisher = ImagePublisher(store, clock)
        await create(store, "before")
        await publisher.load()
        running = asyncio.ensure_future(publisher.run())
        try:
            await scenario(store, publisher, clock)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await store.close()

    asyncio.run(within_loop())


def test_loading_tells_subscribers_what_there_is() -> None:
    async def scenario() -> None:
        store = SimulatedStore()
        await create(store, "a")
        publisher = ImagePublisher(store, ManualClock())
        told: list[Delta] = []
        publisher.subscribe(lambda delta, image: told.append(delta))
        image = await publisher.load()
        assert [topic.name for topic in told[0].created] == ["a"]
        assert (image.revision, publisher.image) == (store.revision, image)

    asyncio.run(scenario())


def test_whoever_waits_for_a_revision_finds_subscribers_told() -> None:
    async def scenario(store: SimulatedStore, publisher: ImagePublisher, clock: ManualClock) -> None:
        told: list[tuple[Delta, ClusterImage]] = []
        publisher.subscribe(lambda delta, image: told.append((delta, image)))
        _, revision = await create(store, "new")
        image = await publisher.wait_for(revision)
        assert set(image.topics) == {"before", "new"}
        assert [[topic.name for topic in delta.created] for delta, _ in told] == [["new"]]
        assert await publisher.wait_for(revision - 1) is image

    with_publisher(scenario)


def test_many_waiters_are_woken_by_their_own_revisions() -> None:
    async def scenario(store: SimulatedStore, publisher: ImagePublisher, clock: ManualClock) -> None:
        now = publisher.image.revision
        late, early = (asyncio.ensure_future(publisher.wait_for(now + n)) for n in (2, 1))
        await create(store, "a")
        await early
        assert not late.done()
        await create(store, "b")
        assert (await late).revision >= now + 2

    with_publisher(scenario)


def test_a_watch_that_fell_behind_is_replaced_by_the_difference() -> None:
    async def scenario(store: SimulatedStore, publisher: ImagePublisher, clock: ManualClock) -> None:
        told: list[Delta] = []
        publisher.subscribe(lambda delta, image: told.append(delta))
        topic = publisher.image.topics["before"]
        await store.transaction([], [Delete(records.topic_key(topic.topic_id))])
        _, revision = await create(store, "after")
        store.compact(revision)
        image = await publisher.wait_for(revision)
        assert set(image.topics) == {"after"}
        assert [t.name for delta in told for t in delta.deleted] == ["before"]
        assert [t.name for delta in told for t in delta.created] == ["after"]

    with_publisher(scenario)


@pytest.mark.parametrize("behind", [0, 1])
def test_an_unreachable_store_is_asked_again_and_the_last_image_stays(behind: int) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        store = SimulatedStore(clock)
        publisher = ImagePublisher(store, clock)
        await create(store, "a")
        await publisher.load()
        store.faults.unavailable = True
        running = asyncio.ensure_future(publisher.run())
        while not clock.sleepers:
            await clock.sleep_ms(0)
        store.faults.unavailable = False
        _, revision = await create(store, "b")
        store.compact(revision + behind)
        for _ in range(10):
            await clock.sleep_ms(0)
        assert set(publisher.image.topics) == {"a"}
        clock.advance(ms=RETRY_MS)
        assert set((await publisher.wait_for(revision)).topics) == {"a", "b"}
        running.cancel()
        await asyncio.wait([running])
        await store.close()

    asyncio.run(scenario())


def test_pages_from_different_revisions_end_in_the_right_state() -> None:
    class ChangingStore(SimulatedStore):
        """Changes between two pages: the first topic goes, and one that sorts before it comes."""

        pages = 0

        async def range(self, prefix: str, *, start: str | None = None, limit: int = MAXIMUM_PAGE):  # type: ignore[no-untyped-def]
            self.pages += 1
            if self.pages == 2:
                first = (await super().range(records.TOPICS, limit=1)).items[0]
                await self.transaction([], [Delete(first.key)])
                await self.transaction([], [Put("cluster-id", b"late")])
            return await super().range(prefix, start=start, limit=limit)

    async def scenario() -> None:
        store = ChangingStore()
        await asyncio.gather(*(create(store, f"t{n}") for n in range(MAXIMUM_PAGE + 10)))
        image = await ImagePublisher(store, ManualClock()).load()
        assert len(image.topics) == MAXIMUM_PAGE + 9
        assert (image.cluster_id, image.revision) == ("late", store.revision)
        await store.close()

    asyncio.run(scenario())
