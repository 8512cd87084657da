"""Producers against a real broker; what they wrote is read back with another client."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from pystream.client import Producer, aio
from pystream.common.errors import Closed, InvalidTxnState, ProducerFenced, TransactionAbortable
from tests.support.broker_process import BrokerProcess

PARTITIONS = 3


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {"num.partitions": str(PARTITIONS)}
    with BrokerProcess(tmp_path_factory.mktemp("producer") / "data", settings) as broker:
        yield broker.bootstrap


@pytest.fixture
def topic() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


def read(bootstrap: str, topic: str) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
    """partition -> (key, value) of every committed record, in order."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "readers",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    }
    consumer = Consumer(settings)
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {number: [] for number in range(PARTITIONS)}
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        ended: set[int] = set()
        while len(ended) < PARTITIONS:
            message = consumer.poll(30)
            assert message is not None, f"nothing in 30 s; read to the end: {ended}"
            error = message.error()
            if error is None:
                found[message.partition()].append((message.key(), message.value()))
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ended.add(message.partition())
        return found
    finally:
        consumer.close()


def values(bootstrap: str, topic: str) -> list[bytes | None]:
    return sorted(value for rows in read(bootstrap, topic).values() for _, value in rows)


def test_what_was_sent_is_there_in_the_order_of_each_key(bootstrap: str, topic: str):
    with Producer(bootstrap_servers=bootstrap) as producer:
        deliveries = [producer.send(topic, b"%d" % n, key=b"key-%d" % (n % 7)) for n in range(2000)]
        producer.flush()
        assert all(delivery.done() and delivery.exception() is None for delivery in deliveries)
    found = read(bootstrap, topic)
    for number in range(7):
        mine = [int(value) for rows in found.values() for key, value in rows if key == b"key-%d" % number]
        assert mine == list(range(number, 2000, 7))


def test_an_asyncio_delivery_tells_where_the_record_is(bootstrap: str, topic: str):
    async def produce() -> tuple[str, int, int]:
        async with aio.Producer(bootstrap_servers=bootstrap) as producer:
            delivery = await (await producer.send(topic, b"value", headers={"a": "b"}, partition=2))
            return delivery.topic, delivery.partition, delivery.offset

    assert asyncio.run(produce()) == (topic, 2, 0)


def test_closing_sends_what_is_left_and_refuses_what_comes(bootstrap: str, topic: str):
    producer = Producer(bootstrap_servers=bootstrap, linger_ms=60_000, delivery_timeout_ms=120_000)
    delivery = producer.send(topic, b"left")
    producer.close()
    producer.close()
    assert delivery.result(0).offset == 0
    with pytest.raises(Closed):
        producer.send(topic, b"late")


def test_a_transaction_is_seen_whole_or_not_at_all(bootstrap: str, topic: str):
    with Producer(bootstrap_servers=bootstrap, transactional_id=topic) as producer:
        with producer.transaction():
            producer.send(topic, b"kept")
        with suppress(ZeroDivisionError), producer.transaction():
            producer.send(topic, b"dropped")
            producer.flush()
            raise ZeroDivisionError
        producer.begin_transaction()
        producer.send(topic, b"kept too")
        producer.commit_transaction()
    assert values(bootstrap, topic) == [b"kept", b"kept too"]


def test_the_later_of_two_producers_fences_the_earlier(bootstrap: str, topic: str):
    with (
        Producer(bootstrap_servers=bootstrap, transactional_id=topic) as earlier,
        Producer(bootstrap_servers=bootstrap, transactional_id=topic) as later,
    ):
        earlier.init_transactions()
        earlier.begin_transaction()
        earlier.send(topic, b"fenced")
        earlier.flush()
        with later.transaction():
            later.send(topic, b"later")
        with pytest.raises((ProducerFenced, TransactionAbortable)):
            earlier.commit_transaction()
    assert values(bootstrap, topic) == [b"later"]


def test_steps_out_of_turn_say_what_comes_first(bootstrap: str, topic: str):
    with Producer(bootstrap_servers=bootstrap, transactional_id=topic) as producer:
        with pytest.raises(InvalidTxnState, match="init_transactions first"):
            producer.begin_transaction()
        producer.init_transactions()
        with pytest.raises(InvalidTxnState, match="begin_transaction first"):
            producer.send(topic, b"outside")
