"""Topics with records, entered into a store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pystream.common.errors import TopicAlreadyExists
from pystream.common.model import random_uuid
from pystream.controller.adopt import CHUNK, AdoptedTopic, adopt_topic, reserve_producer_ids
from pystream.metadata import records
from pystream.metadata.image import ClusterImage
from pystream.metadata.store import Event, MetadataStore, read_all
from pystream.metadata.store.sqlite import SqliteStore

NODE = 4


def in_store(path: Path, scenario: Callable[[MetadataStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = SqliteStore.open(path / "metadata.db")
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(run())


async def image_of(store: MetadataStore) -> ClusterImage:
    items, revision = await read_all(store, "")
    image, _ = ClusterImage().apply([Event(item.mod_revision, item.key, item) for item in items], revision)
    return image


def test_an_adopted_topic_leads_in_an_epoch_above_those_of_its_logs(tmp_path: Path) -> None:
    topic = AdoptedTopic("orders", random_uuid(), [2, -1, 7], {"retention.ms": "-1"})

    async def scenario(store: MetadataStore) -> None:
        await adopt_topic(store, topic, node_id=NODE)
        found = (await image_of(store)).topics["orders"]
        assert found.topic_id == topic.topic_id
        assert [partition.leader_epoch for partition in found.partitions] == [3, 0, 8]
        assert {partition.leader for partition in found.partitions} == {NODE}

    in_store(tmp_path, scenario)


def test_a_topic_of_more_partitions_than_one_transaction_holds_is_adopted(tmp_path: Path) -> None:
    topic = AdoptedTopic("wide", random_uuid(), list(range(3 * CHUNK)), {})

    async def scenario(store: MetadataStore) -> None:
        await adopt_topic(store, topic, node_id=NODE)
        found = (await image_of(store)).topics["wide"]
        assert [partition.leader_epoch for partition in found.partitions] == [epoch + 1 for epoch in range(3 * CHUNK)]

    in_store(tmp_path, scenario)


def test_a_topic_is_not_adopted_twice(tmp_path: Path) -> None:
    topic = AdoptedTopic("orders", random_uuid(), [0], {})

    async def scenario(store: MetadataStore) -> None:
        await adopt_topic(store, topic, node_id=NODE)
        with pytest.raises(TopicAlreadyExists):
            await adopt_topic(store, topic._replace(name="other"), node_id=NODE)
        with pytest.raises(TopicAlreadyExists):
            await adopt_topic(store, topic._replace(topic_id=random_uuid()), node_id=NODE)

    in_store(tmp_path, scenario)


def test_producer_ids_go_on_above_the_reserved_ones_and_never_back(tmp_path: Path) -> None:
    async def scenario(store: MetadataStore) -> None:
        for below, expected in ((195, b"195"), (12, b"195"), (300, b"300")):
            await reserve_producer_ids(store, below)
            item = await store.get(records.PRODUCER_IDS_KEY)
            assert item is not None
            assert item.value.split()[0] == expected

    in_store(tmp_path, scenario)
