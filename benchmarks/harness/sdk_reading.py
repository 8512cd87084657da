"""Reading, for clients_sdk: each gives a function that reads so many records of a topic that is filled beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

PARTITION: Final = 0
ROWS_AT_ONCE: Final = 10_000
PATIENCE_SECONDS: Final = 60.0

Read = Callable[[int], None]  # reads so many records


def fill(bootstrap: str, topic: str, value: bytes, count: int) -> None:
    """Write what is read then, with a client that is neither measured nor compared."""
    from pystream.client import Producer

    with Producer({"bootstrap.servers": bootstrap, "batch.size": 100_000}) as producer:
        for _ in range(count):
            producer.send(topic, value, partition=PARTITION)
        producer.flush()


def pystream_messages(bootstrap: str, topic: str) -> Read:
    from pystream.client import Consumer

    consumer = Consumer({"bootstrap.servers": bootstrap, "auto.offset.reset": "earliest"})
    consumer.assign([(topic, PARTITION)])
    messages = iter(consumer)

    def read(count: int) -> None:
        size = 0
        for _ in range(count):
            size += len(next(messages).value or b"")
        assert size

    return read


def confluent(bootstrap: str, topic: str) -> Any:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, PARTITION, OFFSET_BEGINNING)])
    return consumer


def confluent_messages(bootstrap: str, topic: str) -> Read:
    consumer = confluent(bootstrap, topic)

    def read(count: int) -> None:
        size = done = 0
        while done < count:
            message = consumer.poll(PATIENCE_SECONDS)
            size += len(message.value())
            done += 1
        assert size

    return read


def confluent_consume(bootstrap: str, topic: str) -> Read:
    """Its own consume(), which gives a list; values are looked at, as columns have them."""
    consumer = confluent(bootstrap, topic)

    def read(count: int) -> None:
        size = done = 0
        while done < count:
            found = consumer.consume(min(ROWS_AT_ONCE, count - done), PATIENCE_SECONDS)
            size += sum(len(message.value()) for message in found)
            done += len(found)
        assert size

    return read


def pystream_columns(bootstrap: str, topic: str) -> Read:
    from pystream.client import Consumer

    consumer = Consumer({"bootstrap.servers": bootstrap, "auto.offset.reset": "earliest"})
    consumer.assign([(topic, PARTITION)])

    def read(count: int) -> None:
        size = done = 0
        while done < count:
            batch = consumer.poll_batch(PATIENCE_SECONDS, max_records=count - done)
            assert batch is not None
            size += int(batch.to_numpy()["value_size"].sum())
            done += len(batch)
        assert size

    return read


def pystream_arrow(bootstrap: str, topic: str) -> Read:
    from pystream.client import Consumer

    consumer = Consumer({"bootstrap.servers": bootstrap, "auto.offset.reset": "earliest"})
    consumer.assign([(topic, PARTITION)])

    def read(count: int) -> None:
        size = done = 0
        while done < count:
            batch = consumer.poll_batch(PATIENCE_SECONDS, max_records=count - done)
            assert batch is not None
            size += batch.to_arrow().column("value").nbytes
            done += len(batch)
        assert size

    return read


def pystream_asyncio(bootstrap: str, topic: str) -> Read:
    from pystream.client import aio

    loop = asyncio.new_event_loop()

    async def make() -> Any:
        consumer = aio.Consumer({"bootstrap.servers": bootstrap, "auto.offset.reset": "earliest"})
        await consumer.assign([(topic, PARTITION)])
        return consumer.__aiter__()

    messages = loop.run_until_complete(make())

    async def read(count: int) -> None:
        size = done = 0
        async for message in messages:
            size += len(message.value or b"")
            done += 1
            if done == count:
                return

    return lambda count: loop.run_until_complete(read(count))


def aiokafka_asyncio(bootstrap: str, topic: str) -> Read:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    loop = asyncio.new_event_loop()

    async def make() -> Any:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        consumer.assign([TopicPartition(topic, PARTITION)])
        return consumer

    consumer = loop.run_until_complete(make())

    async def read(count: int) -> None:
        size = done = 0
        async for message in consumer:
            size += len(message.value)
            done += 1
            if done == count:
                return

    return lambda count: loop.run_until_complete(read(count))
