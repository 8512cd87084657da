"""Metadata and logs that do not agree after a crash between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import OFFSET_INVALID, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pystream.metadata import records
from pystream.metadata.store import Delete
from pystream.metadata.store.sqlite import SqliteStore
from tests.support.broker_process import BrokerProcess

TIMEOUT_SECONDS = 60.0
TOPIC = "orders"


def create(broker: BrokerProcess) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result(TIMEOUT_SECONDS)


def produce(broker: BrokerProcess, values: Sequence[bytes]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(TOPIC, value, partition=0)
    assert producer.flush(TIMEOUT_SECONDS) == 0


def consume(broker: BrokerProcess, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        return [message.value() for message in consumer.consume(count, TIMEOUT_SECONDS)]
    finally:
        consumer.close()


def commit(broker: BrokerProcess, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "enable.auto.commit": False})
    try:
        (committed,) = consumer.commit(offsets=[TopicPartition(TOPIC, 0, offset)], asynchronous=False)
        assert committed.error is None
    finally:
        consumer.close()


def committed(broker: BrokerProcess) -> int:
    """What group g has committed; OFFSET_INVALID: nothing."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "enable.auto.commit": False})
    try:
        (found,) = consumer.committed([TopicPartition(TOPIC, 0)], TIMEOUT_SECONDS)
        assert found.error is None
        return int(found.offset)
    finally:
        consumer.close()


def forget_topic(path: Path) -> None:
    """What DeleteTopics writes, without what the broker does about it: it was killed in between."""

    async def within_loop() -> None:
        store = SqliteStore.open(path)
        name = await store.get(records.topic_name_key(TOPIC))
        assert name is not None
        await store.transaction([], [Delete(records.TOPICS + name.value.decode()), Delete(name.key)])
        await store.close()

    asyncio.run(within_loop())


def test_a_topic_of_a_name_whose_deletion_was_cut_short_starts_empty_and_the_old_files_are_kept(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "data")
    with broker:
        create(broker)
        produce(broker, [b"old"] * 3)
        commit(broker, 3)
        broker.kill()
    forget_topic(tmp_path / "data" / "metadata.db")

    with broker:
        assert TOPIC not in AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=30).topics
        create(broker)
        produce(broker, [b"new"])
        assert consume(broker, 1) == [b"new"]
        assert committed(broker) == OFFSET_INVALID
        assert broker.terminate() == 0

    (kept,) = (tmp_path / "data").glob("orders-0.*-stray")
    assert b"old" in (kept / f"{0:020}.log").read_bytes()
    with broker:
        assert consume(broker, 1) == [b"new"]


def topic_id_of(path: Path) -> str:
    async def within_loop() -> str:
        store = SqliteStore.open(path)
        item = await store.get(records.topic_name_key(TOPIC))
        await store.close()
        assert item is not None
        return item.value.decode()

    return asyncio.run(within_loop())


def test_a_broker_that_founds_its_cluster_takes_over_the_logs_that_it_finds(tmp_path: Path) -> None:
    metadata = tmp_path / "data" / "metadata.db"
    broker = BrokerProcess(tmp_path / "data")
    with broker:
        create(broker)
        produce(broker, [b"kept"] * 3)
        commit(broker, 2)
        cluster_id = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=30).cluster_id
        assert broker.terminate() == 0
    topic_id = topic_id_of(metadata)
    for path in metadata.parent.glob("metadata.db*"):
        path.unlink()

    with broker:
        found = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=30)
        assert found.cluster_id == cluster_id
        assert len(found.topics[TOPIC].partitions) == 2
        assert committed(broker) == 2
        produce(broker, [b"new"])
        assert consume(broker, 4) == [b"kept"] * 3 + [b"new"]
        assert broker.terminate() == 0

    assert topic_id_of(metadata) == topic_id
