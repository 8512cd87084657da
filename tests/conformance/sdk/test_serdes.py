"""Serializers and deserializers in the producer and the consumer, on our broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy
import pyarrow
import pytest

from pystream.client import Consumer as BlockingConsumer
from pystream.client import Producer as BlockingProducer
from pystream.client.aio import Consumer, Producer
from pystream.client.consumer.decoding import DecodedMessage
from pystream.client.serdes import (
    AvroDeserializer,
    AvroSerializer,
    IntegerDeserializer,
    IntegerSerializer,
    JsonDeserializer,
    JsonSerializer,
    ProtobufDeserializer,
    ProtobufSerializer,
    SchemaRegistryClient,
    StringSerializer,
)
from pystream.common.errors import SchemaRegistryError, SerializationError
from pystream.common.model import TopicPartition
from tests.conformance.sdk.conftest import RunningCluster
from tests.support.messages import Order, an_order
from tests.support.schema_registry import SchemaRegistry

PATIENCE = 120.0
USER = {"type": "record", "name": "User", "fields": [{"name": "name", "type": "string"}]}
NAMES = ["Ann", "Bob", "Cy"]
EARLIEST = {"auto.offset.reset": "earliest", "enable.auto.commit": False}


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        yield running


def topic_of(cluster: RunningCluster) -> str:
    return cluster.with_admin(lambda admin: cluster.new_topic(admin, "serdes"))


def blocking_reader(cluster: RunningCluster, topic: str, **serdes: Any) -> BlockingConsumer:
    consumer = BlockingConsumer({"bootstrap.servers": cluster.bootstrap, **EARLIEST}, **serdes)
    consumer.assign([(topic, 0)])
    return consumer


def read(consumer: BlockingConsumer, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        polled = consumer.poll(PATIENCE)
        assert polled
        found += polled
    return found


@pytest.mark.parametrize("place", ["prefix", "header"])
def test_avro_goes_through_the_blocking_clients(cluster: RunningCluster, registry: SchemaRegistry, place: str):
    topic = topic_of(cluster)
    with SchemaRegistryClient(url=registry.url) as schemas:
        serdes = {
            "key_serializer": AvroSerializer(schemas, '"string"', schema_id_serializer=place),
            "value_serializer": AvroSerializer(schemas, USER, schema_id_serializer=place),
        }
        with BlockingProducer(bootstrap_servers=cluster.bootstrap, **serdes) as producer:
            for name in NAMES:
                producer.send(topic, {"name": name}, key=name, headers={"kind": "user"})
            producer.send(topic, None, key="gone")
            producer.flush()
        avro = AvroDeserializer(schemas)
        with blocking_reader(cluster, topic, key_deserializer=avro, value_deserializer=avro) as consumer:
            messages = read(consumer, 4)
    assert [message.value for message in messages] == [*({"name": name} for name in NAMES), None]
    assert [message.key for message in messages] == [*NAMES, "gone"]
    assert messages[0].headers[0] == ("kind", b"user")
    assert [name for name, _ in messages[0].headers[1:]] == (
        ["__key_schema_id", "__value_schema_id"] if place == "header" else []
    )
    assert sorted(registry.state.subjects) == [f"{topic}-key", f"{topic}-value"]


def test_protobuf_goes_through_the_asyncio_clients(cluster: RunningCluster, registry: SchemaRegistry):
    topic = topic_of(cluster)

    async def work() -> list[Any]:
        async with SchemaRegistryClient(url=registry.url) as writing, SchemaRegistryClient(url=registry.url) as reading:
            serializer = ProtobufSerializer(writing, Order)
            async with Producer(bootstrap_servers=cluster.bootstrap, value_serializer=serializer) as producer:
                await asyncio.gather(*[await producer.send(topic, an_order()) for _ in NAMES])
            deserializer = ProtobufDeserializer(reading)
            settings = {"bootstrap.servers": cluster.bootstrap, **EARLIEST}
            async with Consumer(settings, value_deserializer=deserializer) as consumer, asyncio.timeout(PATIENCE):
                await consumer.assign([(topic, 0)])
                found = []
                async for message in consumer:
                    found.append(message.value)
                    if len(found) == len(NAMES):
                        break
                assert reading._blocking is None  # the registry was asked on the loop
                return found

    assert [order.lines[1].text for order in asyncio.run(work())] == ["milk"] * 3


def send_numbers_and_a_bad_one(cluster: RunningCluster, topic: str) -> None:
    """1, 2, then bytes that are no int32, then 4."""
    numbers = IntegerSerializer()
    with BlockingProducer(bootstrap_servers=cluster.bootstrap, linger_ms=10_000) as producer:  # one batch
        for data in (numbers(topic, 1), numbers(topic, 2), b"bad", numbers(topic, 4)):
            producer.send(topic, data, partition=0)
        producer.flush()


def test_a_record_that_does_not_decode_is_named_and_can_be_stepped_over(cluster: RunningCluster):
    topic = topic_of(cluster)
    send_numbers_and_a_bad_one(cluster, topic)
    with blocking_reader(cluster, topic, value_deserializer=IntegerDeserializer()) as consumer:
        assert [message.value for message in read(consumer, 2)] == [1, 2]
        for _ in range(2):  # as in Kafka, until somebody does something about it
            with pytest.raises(SerializationError, match=f"{topic}-0 at offset 2: the value's deserializer") as caught:
                consumer.poll(PATIENCE)
        error = caught.value
        assert (error.topic, error.partition, error.offset) == (topic, 0, 2)
        assert consumer.position((topic, 0)) == 2
        consumer.seek(TopicPartition(topic, 0), error.offset + 1)
        assert [message.value for message in read(consumer, 1)] == [4]


def test_iteration_and_columns_stop_at_a_record_that_does_not_decode(cluster: RunningCluster):
    topic = topic_of(cluster)
    send_numbers_and_a_bad_one(cluster, topic)
    with blocking_reader(cluster, topic, value_deserializer=IntegerDeserializer()) as consumer:
        messages = iter(consumer)
        assert [next(messages).value, next(messages).value] == [1, 2]
        with pytest.raises(SerializationError):
            next(messages)
        consumer.seek((topic, 0), 0)
        batch = consumer.poll_batch(PATIENCE)
        assert batch is not None
        assert (list(batch.offsets), batch.values(), [message.value for message in batch]) == ([0, 1], [1, 2], [1, 2])
        assert isinstance(batch[0], DecodedMessage)
        assert batch[-1].raw.value == b"\0\0\0\2"
        assert batch.to_pandas()["value"].tolist() == [1, 2]
        assert batch.to_arrow()["value"].to_pylist() == [b"\0\0\0\1", b"\0\0\0\2"]
        with pytest.raises(SerializationError):
            consumer.poll_batch(PATIENCE)
        consumer.seek((topic, 0), 3)
        batch = consumer.poll_batch(PATIENCE)
        assert batch is not None
        assert batch.values() == [4]


def test_asyncio_consumers_step_over_it_too(cluster: RunningCluster):
    topic = topic_of(cluster)
    send_numbers_and_a_bad_one(cluster, topic)

    async def work() -> list[Any]:
        settings = {"bootstrap.servers": cluster.bootstrap, **EARLIEST}
        async with Consumer(settings, value_deserializer=IntegerDeserializer()) as consumer, asyncio.timeout(PATIENCE):
            await consumer.assign([(topic, 0)])
            found: list[Any] = []
            while len(found) < 3:
                try:
                    async for message in consumer:
                        found.append(message.value)
                        if message.value == 4:
                            break
                except SerializationError as error:
                    await consumer.seek((topic, 0), error.offset + 1)
            return found

    assert asyncio.run(work()) == [1, 2, 4]


def test_a_registry_that_is_away_is_told_and_the_record_comes_again(cluster: RunningCluster, registry: SchemaRegistry):
    topic = topic_of(cluster)
    with SchemaRegistryClient(url=registry.url) as writing:
        with BlockingProducer(
            bootstrap_servers=cluster.bootstrap, value_serializer=AvroSerializer(writing, USER)
        ) as producer:
            producer.send(topic, {"name": "Ann"}).result(PATIENCE)
    with SchemaRegistryClient(url=registry.url, max_retries=0) as reading:
        with blocking_reader(cluster, topic, value_deserializer=AvroDeserializer(reading)) as consumer:
            registry.state.failures = [503]
            with pytest.raises(SchemaRegistryError, match="backend data store"):
                consumer.poll(PATIENCE)
            assert [message.value for message in read(consumer, 1)] == [{"name": "Ann"}]


def test_a_schema_that_nobody_has_is_the_records_fault(cluster: RunningCluster, registry: SchemaRegistry):
    topic = topic_of(cluster)
    with BlockingProducer(bootstrap_servers=cluster.bootstrap) as producer:
        producer.send(topic, b"\0\0\0\0\x07data").result(PATIENCE)

    async def work() -> int | None:
        settings = {"bootstrap.servers": cluster.bootstrap, **EARLIEST}
        async with SchemaRegistryClient(url=registry.url) as schemas:
            async with Consumer(settings, value_deserializer=AvroDeserializer(schemas)) as consumer:
                await consumer.assign([(topic, 0)])
                with pytest.raises(SerializationError, match="Schema 7 not found") as caught:
                    await consumer.poll(PATIENCE)
                return caught.value.offset

    assert asyncio.run(work()) == 0
    with SchemaRegistryClient(url=registry.url) as schemas:
        with blocking_reader(cluster, topic, value_deserializer=AvroDeserializer(schemas)) as consumer:
            with pytest.raises(SerializationError, match="Schema 7 not found") as caught:
                consumer.poll(PATIENCE)
    assert caught.value.offset == 0


def test_plain_serdes_and_what_a_serializer_refuses(cluster: RunningCluster):
    topic = topic_of(cluster)
    with BlockingProducer(
        bootstrap_servers=cluster.bootstrap, key_serializer=StringSerializer(), value_serializer=JsonSerializer()
    ) as producer:
        with pytest.raises(SerializationError, match="the value's serializer refused a set"):
            producer.send(topic, {1})
        producer.send(topic, {"a": 1}, key="k").result(PATIENCE)
    with blocking_reader(cluster, topic, value_deserializer=JsonDeserializer()) as consumer:
        message = read(consumer, 1)[0]
        assert (message.key, message.value, message.offset) == (b"k", {"a": 1}, 0)


# ---- rows of send_batch


class Refusing:
    """Serializes numbers, but not the one it was told."""

    def __init__(self, refused: int) -> None:
        self.refused = refused

    def __call__(self, topic: str, value: int) -> bytes:
        if value == self.refused:
            raise ValueError("not this one")
        return b"%d" % value


ROWS_TO_SERIALIZE = {
    "a list": ([{"n": 0}, {"n": 1}, None], ["0", "1", None]),
    "an Arrow column": (pyarrow.array([{"n": 0}, {"n": 1}, None]), pyarrow.array(["0", "1", None])),
    "an Arrow table": (
        pyarrow.table({"value": pyarrow.array([{"n": 0}, {"n": 1}, None]), "key": ["0", "1", None]}),
        None,
    ),
}


@pytest.mark.parametrize("kind", ROWS_TO_SERIALIZE)
@pytest.mark.parametrize("face", ["blocking", "asyncio"])
def test_rows_of_a_batch_go_through_the_serializers(cluster: RunningCluster, face: str, kind: str):
    topic = topic_of(cluster)
    rows, keys = ROWS_TO_SERIALIZE[kind]
    serializers: dict[str, Any] = {"key_serializer": StringSerializer(), "value_serializer": JsonSerializer()}

    async def produce() -> None:
        async with Producer(bootstrap_servers=cluster.bootstrap, **serializers) as producer:
            await (await producer.send_batch(topic, rows, keys, headers={"all": "1"}))

    if face == "asyncio":
        asyncio.run(produce())
    else:
        with BlockingProducer(bootstrap_servers=cluster.bootstrap, **serializers) as blocking:
            blocking.send_batch(topic, rows, keys, headers={"all": "1"}).result(PATIENCE)
    with blocking_reader(cluster, topic) as consumer:
        messages = read(consumer, 3)
    assert [(message.key, message.value) for message in messages] == [
        (b"0", b'{"n":0}'),
        (b"1", b'{"n":1}'),
        (None, None),
    ]
    assert [message.headers for message in messages] == [(("all", b"1"),)] * 3


@pytest.mark.parametrize("place", ["prefix", "header"])
@pytest.mark.parametrize("face", ["blocking", "asyncio"])
def test_rows_of_a_batch_are_written_with_their_schema(
    cluster: RunningCluster, registry: SchemaRegistry, face: str, place: str
):
    topic = topic_of(cluster)
    rows = [{"name": name} for name in NAMES]
    with SchemaRegistryClient(url=registry.url) as client:
        serializer = AvroSerializer(client, USER, schema_id_serializer=place)

        async def produce() -> None:
            async with Producer(bootstrap_servers=cluster.bootstrap, value_serializer=serializer) as producer:
                await (await producer.send_batch(topic, rows, headers=[{"own": b"1"}, None, None]))
            await client.aclose()

        if face == "asyncio":
            asyncio.run(produce())
        else:
            with BlockingProducer(bootstrap_servers=cluster.bootstrap, value_serializer=serializer) as blocking:
                blocking.send_batch(topic, rows, headers=[{"own": b"1"}, None, None]).result(PATIENCE)
        with blocking_reader(cluster, topic, value_deserializer=AvroDeserializer(client)) as consumer:
            messages = read(consumer, 3)
    assert [message.value for message in messages] == rows
    assert [dict(message.headers).get("own") for message in messages] == [b"1", None, None]


@pytest.mark.parametrize("face", ["blocking", "asyncio"])
def test_rows_before_one_that_is_refused_are_sent(cluster: RunningCluster, face: str):
    topic = topic_of(cluster)
    rows = numpy.arange(2_500)

    def send() -> None:
        with BlockingProducer(bootstrap_servers=cluster.bootstrap, value_serializer=Refusing(2_100)) as producer:
            producer.send_batch(topic, rows)

    async def send_later() -> None:
        async with Producer(bootstrap_servers=cluster.bootstrap, value_serializer=Refusing(2_100)) as producer:
            await producer.send_batch(topic, rows)

    with pytest.raises(SerializationError, match="the value's serializer refused a int: not this one") as caught:
        send() if face == "blocking" else asyncio.run(send_later())
    assert caught.value.__notes__ == ["2100 rows before the one that was refused are in the buffer"]
    with blocking_reader(cluster, topic) as consumer:
        assert [int(message.value) for message in read(consumer, 2_100)] == list(range(2_100))


@pytest.mark.parametrize("face", ["blocking", "asyncio"])
def test_a_partitioner_of_ones_own_is_asked_for_rows_too(cluster: RunningCluster, face: str):
    topic = cluster.with_admin(lambda admin: cluster.new_topic(admin, "serdes", partitions=3))
    own: dict[str, Any] = {
        "key_serializer": IntegerSerializer(),
        "partitioner": lambda _topic, key, count: int.from_bytes(key, "big") % count,
    }

    async def produce() -> list[Any]:
        async with Producer(bootstrap_servers=cluster.bootstrap, **own) as producer:
            return await (await producer.send_batch(topic, [b"v"] * 6, range(6), partitions=[None] * 5 + [0]))

    if face == "asyncio":
        spans = asyncio.run(produce())
    else:
        with BlockingProducer(bootstrap_servers=cluster.bootstrap, **own) as blocking:
            spans = blocking.send_batch(topic, [b"v"] * 6, range(6), partitions=[None] * 5 + [0]).result(PATIENCE)
    assert sorted((span.partition, span.record_count) for span in spans) == [(0, 3), (1, 2), (2, 1)]
