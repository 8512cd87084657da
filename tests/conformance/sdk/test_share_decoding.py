"""Deserializers, spans and metrics of share consumers, on our broker and on Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pystream.client import AcknowledgeType, aio
from pystream.client import Producer as BlockingProducer
from pystream.client import ShareConsumer as BlockingShareConsumer
from pystream.client.consumer.decoding import DecodedMessage
from pystream.client.serdes import AvroDeserializer, AvroSerializer, IntegerDeserializer, SchemaRegistryClient
from pystream.common.errors import SchemaRegistryError, SerializationError
from pystream.common.model import TopicPartition
from tests.conformance.sdk.conftest import RunningCluster
from tests.conformance.sdk.test_share_consumer import prepared
from tests.conformance.sdk.test_tracing import Recorder, recorder
from tests.support.schema_registry import SchemaRegistry

__all__ = ["recorder"]
PATIENCE = 120.0
GOOD, BAD = b"\x00\x00\x00\x07", b"no"  # an IntegerDeserializer reads four bytes
USER = {"type": "record", "name": "User", "fields": [{"name": "name", "type": "string"}]}


def written(cluster: RunningCluster, *values: Any, **settings: Any) -> tuple[str, str]:
    """A topic with these values, and a group that begins with the first of them."""
    topic, group = prepared(cluster, 0)
    with BlockingProducer(bootstrap_servers=cluster.bootstrap, **settings) as producer:
        for value in values:
            producer.send(topic, value, key=b"k", partition=0)
    return topic, group


class Turns:
    """The asyncio share consumer, called as the blocking one."""

    def __init__(self, runner: asyncio.Runner, **settings: Any) -> None:
        async def begun() -> aio.ShareConsumer[Any]:
            return aio.ShareConsumer(**settings)

        self._runner = runner
        self._consumer = runner.run(begun())
        self.acknowledge = self._consumer.acknowledge
        self.acknowledge_offset = self._consumer.acknowledge_offset
        self.metrics = self._consumer.metrics
        self.processing = self._consumer.processing

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._consumer, name)
        return lambda *given, **named: self._runner.run(method(*given, **named))

    def __iter__(self) -> Iterator[Any]:
        messages = self._consumer.__aiter__()
        while True:
            yield self._runner.run(messages.__anext__())


@pytest.fixture(params=["blocking", "asyncio"])
def member(request: pytest.FixtureRequest, cluster: RunningCluster) -> Iterator[Callable[..., Any]]:
    """Makes a share consumer of either face, subscribed."""
    with asyncio.Runner() as runner:
        made: list[Any] = []

        def make(topic: str, group: str, **settings: Any) -> Any:
            given = {"bootstrap_servers": cluster.bootstrap, "group_id": group, **settings}
            consumer = BlockingShareConsumer(**given) if request.param == "blocking" else Turns(runner, **given)
            consumer.subscribe(topic)
            made.append(consumer)
            return consumer

        yield make
        for consumer in made:
            consumer.close()


def take(consumer: Any, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        polled = consumer.poll(PATIENCE)
        assert polled
        found += polled
    return found


def test_messages_are_what_the_deserializers_make_of_them(cluster: RunningCluster, member: Callable[..., Any]):
    topic, group = written(cluster, GOOD, None, GOOD)
    consumer = member(topic, group, value_deserializer=IntegerDeserializer())
    messages = take(consumer, 3)
    assert [(type(message), message.key, message.value) for message in messages] == [
        (DecodedMessage, b"k", 7),
        (DecodedMessage, b"k", None),
        (DecodedMessage, b"k", 7),
    ]
    assert {message.delivery_count for message in messages} == {1}
    assert consumer.commit() == {TopicPartition(topic, 0): None}


@pytest.mark.parametrize("mode", ["implicit", "explicit"])
def test_a_record_that_does_not_decode_is_released_and_holds_nobody_up(
    cluster: RunningCluster, member: Callable[..., Any], mode: str
):
    topic, group = written(cluster, GOOD, BAD, GOOD)
    consumer = member(
        topic, group, value_deserializer=IntegerDeserializer(), share_acknowledgement_mode=mode, max_poll_records=3
    )
    offsets: list[int] = []
    refused: list[SerializationError] = []
    while len(offsets) < 2:
        try:
            messages = consumer.poll(PATIENCE)
        except SerializationError as error:
            refused.append(error)
            continue
        offsets += [message.offset for message in messages]
        for message in messages if mode == "explicit" else ():
            consumer.acknowledge(message)
    assert offsets == [0, 2]
    assert {(error.topic, error.partition, error.offset) for error in refused} == {(topic, 0, 1)}
    with pytest.raises(SerializationError, match="it is released"):  # it comes again
        consumer.poll(PATIENCE)
    consumer.close()
    plain = member(topic, group)
    (again,) = take(plain, 1)
    assert (again.offset, again.value) == (1, BAD)
    assert again.delivery_count >= 3


def test_a_record_that_does_not_decode_can_be_rejected(cluster: RunningCluster, member: Callable[..., Any]):
    topic, group = written(cluster, BAD, GOOD)
    consumer = member(topic, group, value_deserializer=IntegerDeserializer(), share_acknowledgement_mode="explicit")
    with pytest.raises(SerializationError, match="acknowledge_offset") as caught:
        consumer.poll(PATIENCE)
    error = caught.value
    consumer.acknowledge_offset(error.topic, error.partition, error.offset, AcknowledgeType.REJECT)
    (message,) = take(consumer, 1)
    consumer.acknowledge(message)
    assert consumer.commit() == {TopicPartition(topic, 0): None}
    consumer.close()
    with BlockingProducer(bootstrap_servers=cluster.bootstrap) as producer:
        producer.send(topic, b"last", partition=0)
    assert [message.value for message in take(member(topic, group), 1)] == [b"last"]


def test_iteration_and_columns_stop_in_front_of_it(cluster: RunningCluster, member: Callable[..., Any]):
    topic, group = written(cluster, GOOD, GOOD, BAD, GOOD)
    consumer = member(topic, group, value_deserializer=IntegerDeserializer())
    messages = iter(consumer)
    assert [next(messages).offset, next(messages).offset] == [0, 1]
    with pytest.raises(SerializationError):
        next(messages)
    batch = consumer.poll_batch(PATIENCE)
    assert (list(batch.offsets), batch.values(), [message.value for message in batch]) == ([3], [7], [7])
    consumer.close()
    plain = member(topic, group)  # closing released what the last poll gave, and the one that was refused
    assert {message.offset for message in take(plain, 2)} == {2, 3}


def test_a_registry_that_is_away_is_told_and_the_record_stays(cluster: RunningCluster, member: Callable[..., Any]):
    with SchemaRegistry() as registry, SchemaRegistryClient(url=registry.url) as client:
        topic, group = written(cluster, {"name": "Ann"}, value_serializer=AvroSerializer(client, USER))
        away = SchemaRegistryClient(url="http://127.0.0.1:1", max_retries=0)
        consumer = member(topic, group, value_deserializer=AvroDeserializer(away))
        for _ in range(2):
            with pytest.raises(SchemaRegistryError):
                consumer.poll(PATIENCE)
        consumer.close()
        there = SchemaRegistryClient(url=registry.url)
        consumer = member(topic, group, value_deserializer=AvroDeserializer(there))
        (message,) = take(consumer, 1)
        assert (message.value, message.delivery_count) == ({"name": "Ann"}, 2)
        for opened in (away, there):
            asyncio_part = getattr(consumer, "_runner", None)
            if isinstance(asyncio_part, asyncio.Runner):
                asyncio_part.run(opened.aclose())
            opened.close()


def test_what_is_taken_is_traced(cluster: RunningCluster, member: Callable[..., Any], recorder: Recorder):
    topic, group = written(cluster, GOOD, GOOD, tracing=recorder.tracing)
    consumer = member(topic, group, tracing=recorder.tracing)
    messages = iter(consumer)
    assert [next(messages).offset, next(messages).offset] == [0, 1]
    consumer.close()
    sent = recorder.of("send")
    processed = recorder.of("process")
    assert [span.parent.span_id for span in processed] == [span.context.span_id for span in sent]
    assert {span.attributes["messaging.consumer.group.name"] for span in processed} == {group}


def test_a_poll_is_linked_to_what_it_gave(cluster: RunningCluster, member: Callable[..., Any], recorder: Recorder):
    topic, group = written(cluster, GOOD, tracing=recorder.tracing)
    consumer = member(topic, group, tracing=recorder.tracing)
    (message,) = take(consumer, 1)
    with consumer.processing(message):
        assert message.offset == 0
    (sent,), (polled,), (processed,) = (recorder.of(operation) for operation in ("send", "poll", "process"))
    assert processed.parent.span_id == sent.context.span_id
    assert [link.context.span_id for link in polled.links] == [sent.context.span_id]
    assert polled.attributes["messaging.batch.message_count"] == 1


def test_metrics_have_the_names_of_kafkas(cluster: RunningCluster, member: Callable[..., Any]):
    topic, group = written(cluster, *[GOOD] * 10)
    consumer = member(topic, group)
    take(consumer, 10)
    consumer.commit()
    metrics = consumer.metrics()
    assert metrics.value("records-consumed-total") == 10
    assert metrics.value("bytes-consumed-total") > 0
    assert metrics.value("acknowledgements-send-total") == 10
    assert metrics.value("acknowledgements-error-total") == 0
    for name in ("fetch-total", "heartbeat-total", "rebalance-total"):
        assert metrics.value(name) >= 1
    names = {(name.group, name.name) for name in metrics}
    assert names >= {
        ("consumer-share-metrics", "last-poll-seconds-ago"),
        ("consumer-share-metrics", "time-between-poll-avg"),
        ("consumer-share-metrics", "time-between-poll-max"),
        ("consumer-share-metrics", "poll-idle-ratio-avg"),
        ("consumer-share-coordinator-metrics", "heartbeat-response-time-max"),
        ("consumer-share-coordinator-metrics", "heartbeat-rate"),
        ("consumer-share-coordinator-metrics", "last-heartbeat-seconds-ago"),
        ("consumer-share-coordinator-metrics", "rebalance-rate-per-hour"),
        *(
            ("consumer-share-fetch-manager-metrics", f"{stem}-{kind}")
            for stem in ("fetch-size", "records-per-request", "fetch-latency", "fetch-throttle-time")
            for kind in ("avg", "max")
        ),
        *(
            ("consumer-share-fetch-manager-metrics", f"{stem}-{kind}")
            for stem in (
                "fetch",
                "bytes-consumed",
                "records-consumed",
                "acknowledgements-send",
                "acknowledgements-error",
            )
            for kind in ("rate", "total")
        ),
    }
