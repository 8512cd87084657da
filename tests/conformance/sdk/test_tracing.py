"""Spans of what is sent, received and processed, kept in memory; the context across brokers and other clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiokafka
import numpy
import pyarrow
import pytest
from confluent_kafka import Consumer as TheirConsumer
from confluent_kafka import Producer as TheirProducer
from opentelemetry import trace
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from pystream.client import Consumer as BlockingConsumer
from pystream.client import Producer as BlockingProducer
from pystream.client.aio import Consumer, Producer
from pystream.client.telemetry import Tracing
from pystream.common.errors import MessageTooLarge, UnknownTopicOrPartition
from tests.conformance.sdk.conftest import RunningCluster

PATIENCE = 120.0


@dataclass
class Recorder:
    """A tracer provider whose spans can be looked at."""

    provider: TracerProvider
    exporter: InMemorySpanExporter

    @property
    def tracing(self) -> Tracing:
        return Tracing(self.provider)

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def of(self, operation: str) -> list[Any]:
        return [span for span in self.spans if span.name.startswith(f"{operation} ")]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Recorder(provider, exporter)
    provider.shutdown()


@pytest.fixture
def topic(cluster: RunningCluster) -> str:
    return cluster.with_admin(lambda admin: cluster.new_topic(admin, "traced", max_message_bytes="1000"))


def reader(cluster: RunningCluster, topic: str, recorder: Recorder | None) -> BlockingConsumer:
    tracing = None if recorder is None else recorder.tracing
    settings = {"bootstrap.servers": cluster.bootstrap, "auto.offset.reset": "earliest", "client.id": "reader"}
    consumer = BlockingConsumer(settings, tracing=tracing)
    consumer.assign([(topic, 0)])
    return consumer


def test_a_record_is_one_trace_from_sending_to_processing(cluster: RunningCluster, topic: str, recorder: Recorder):
    host, port = cluster.bootstrap.split(":")
    with BlockingProducer(
        bootstrap_servers=cluster.bootstrap, client_id="writer", tracing=recorder.tracing
    ) as producer:
        producer.send(topic, b"value", b"key", {"mine": "1"}).result(PATIENCE)
    with reader(cluster, topic, recorder) as consumer:
        message = next(iter(consumer))
        inside = trace.get_current_span().get_span_context()
    (sent,), (processed,) = recorder.of("send"), recorder.of("process")
    assert [name for name, _ in message.headers] == ["mine", "traceparent"]
    assert (sent.name, sent.kind) == (f"send {topic}", SpanKind.PRODUCER)
    assert dict(sent.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": "0",
        "messaging.client.id": "writer",
        "messaging.kafka.message.key": "key",
        "messaging.kafka.offset": 0,
        "server.address": host,
        "server.port": int(port),
    }
    assert (processed.name, processed.kind) == (f"process {topic}", SpanKind.CONSUMER)
    assert processed.parent.span_id == sent.context.span_id
    assert processed.context.trace_id == sent.context.trace_id
    assert inside == processed.context
    assert processed.attributes["messaging.kafka.offset"] == 0
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_poll_is_linked_to_what_was_sent_and_processing_is_explicit(
    cluster: RunningCluster, topic: str, recorder: Recorder
):
    with BlockingProducer(bootstrap_servers=cluster.bootstrap, linger_ms=1_000, tracing=recorder.tracing) as producer:
        for value in (b"a", b"b", None):
            producer.send(topic, value)
        producer.flush()
        producer.send_batch(topic, [b"c", b"d"], headers={"mine": "1"}).result(PATIENCE)
    with reader(cluster, topic, recorder) as consumer:
        messages = consumer.poll(PATIENCE)
        while len(messages) < 5:
            messages += consumer.poll(PATIENCE)
        with pytest.raises(ZeroDivisionError), consumer.processing(messages[0]):
            raise ZeroDivisionError("a fault of the user's")
        with recorder.provider.get_tracer("user").start_as_current_span("user"):
            with consumer.processing(messages[2]):
                pass
    *sent, batch = recorder.of("send")
    singles = [span.context.span_id for span in sent]
    assert (batch.kind, batch.attributes["messaging.batch.message_count"]) == (SpanKind.PRODUCER, 2)
    assert batch.attributes["messaging.destination.partition.id"] == "0"
    assert [name for name, _ in messages[4].headers] == ["mine", "traceparent"]
    links = [link.context.span_id for span in recorder.of("poll") for link in span.links]
    assert sorted(links) == sorted([*singles, batch.context.span_id, batch.context.span_id])
    assert sum(span.attributes["messaging.batch.message_count"] for span in recorder.of("poll")) == 5
    failed, fine = recorder.of("process")
    assert (failed.status.status_code, failed.attributes["error.type"]) == (StatusCode.ERROR, "ZeroDivisionError")
    assert [event.name for event in failed.events] == ["exception"]
    assert (fine.status.status_code, fine.attributes["messaging.kafka.message.tombstone"]) == (StatusCode.UNSET, True)
    (user,) = [span for span in recorder.spans if span.name == "user"]
    assert fine.parent.span_id == user.context.span_id
    assert [link.context.span_id for link in fine.links] == [singles[2]]


def test_asyncio_clients_trace_the_same(cluster: RunningCluster, topic: str, recorder: Recorder):
    async def work() -> None:
        async with Producer(bootstrap_servers=cluster.bootstrap, tracing=recorder.tracing) as producer:
            for number in range(3):
                await (await producer.send(topic, b"%d" % number))
            await (await producer.send_batch(topic, [b"4"]))
        settings = {"bootstrap.servers": cluster.bootstrap, "auto.offset.reset": "earliest"}
        async with Consumer(settings, tracing=recorder.tracing) as consumer, asyncio.timeout(PATIENCE):
            await consumer.assign([(topic, 0)])
            async for message in consumer:
                if message.offset == 3:
                    break
            await consumer.seek((topic, 0), 0)
            batch = await consumer.poll_batch()
            assert batch is not None
            assert not trace.get_current_span().get_span_context().is_valid

    asyncio.run(work())
    sent = recorder.of("send")
    processed = recorder.of("process")
    assert [span.attributes["messaging.kafka.offset"] for span in processed] == [0, 1, 2, 3]
    assert [span.parent.span_id for span in processed] == [span.context.span_id for span in sent]
    assert len(recorder.of("poll")) == 1


ROWS = {
    "list": ([b"a", b"b"], None),
    "numpy": (numpy.array([b"a", b"b"], "S1"), None),
    "arrow": (pyarrow.array([b"a", b"b"]), None),
    "rows with headers of their own": ([b"a", b"b"], [{"own": "1"}, None]),
    "a table with headers": (
        pyarrow.table(
            {
                "value": [b"a", b"b"],
                "headers": pyarrow.array([[("own", b"1")], None], pyarrow.map_(pyarrow.string(), pyarrow.binary())),
            }
        ),
        None,
    ),
}


@pytest.mark.parametrize("kind", ROWS)
def test_all_rows_of_a_batch_carry_its_context(cluster: RunningCluster, topic: str, recorder: Recorder, kind: str):
    rows, headers = ROWS[kind]
    with BlockingProducer(bootstrap_servers=cluster.bootstrap, tracing=recorder.tracing) as producer:
        producer.send_batch(topic, rows, headers=headers).result(PATIENCE)
    (span,) = recorder.of("send")
    with reader(cluster, topic, None) as consumer:
        messages = consumer.poll(PATIENCE)
    contexts = [dict(message.headers)["traceparent"] for message in messages]
    assert [f"{span.context.span_id:016x}".encode() in (context or b"") for context in contexts] == [True, True]
    assert [dict(message.headers).get("own") for message in messages] == [b"1" if "headers" in kind else None, None]


def test_the_span_of_a_batch_tells_what_became_of_it(cluster: RunningCluster, topic: str, recorder: Recorder):
    with BlockingProducer(bootstrap_servers=cluster.bootstrap, tracing=recorder.tracing) as producer:
        with pytest.raises(MessageTooLarge):
            producer.send_batch(topic, [bytes(2_000)]).result(PATIENCE)
        with pytest.raises(TypeError):
            producer.send_batch(topic, 5)
    refused, wrong = recorder.of("send")
    assert refused.attributes["error.type"] == "MessageTooLarge"
    assert wrong.attributes["error.type"] == "TypeError"


def test_what_fails_is_told(cluster: RunningCluster, topic: str, recorder: Recorder):
    with BlockingProducer(
        bootstrap_servers=cluster.bootstrap, max_block_ms=5_000, tracing=recorder.tracing
    ) as producer:
        with pytest.raises(MessageTooLarge):
            producer.send(topic, b"v" * 2_000).result(PATIENCE)
        with pytest.raises(UnknownTopicOrPartition):
            producer.send(topic, b"v", None, None, None, 77)
    refused, unsent = recorder.of("send")
    assert [span.status.status_code for span in (refused, unsent)] == [StatusCode.ERROR] * 2
    assert refused.attributes["error.type"] == "MessageTooLarge"
    assert unsent.attributes["error.type"] == "UnknownTopicOrPartition"


def test_clients_without_tracing_make_no_spans(cluster: RunningCluster, topic: str, recorder: Recorder):
    with BlockingProducer(bootstrap_servers=cluster.bootstrap) as producer:
        producer.send(topic, b"value").result(PATIENCE)
    with reader(cluster, topic, None) as consumer:
        (message,) = consumer.poll(PATIENCE)
        with consumer.processing(message) as span:
            assert span is None
    assert message.headers == ()
    assert recorder.spans == []


def test_contexts_pass_between_us_and_the_instrumentation_of_confluent_kafka(
    cluster: RunningCluster, topic: str, recorder: Recorder
):
    theirs = ConfluentKafkaInstrumentor.instrument_producer(
        TheirProducer({"bootstrap.servers": cluster.bootstrap}), recorder.provider
    )
    theirs.produce(topic, b"theirs", partition=0)
    theirs.flush(PATIENCE)
    with BlockingProducer(bootstrap_servers=cluster.bootstrap, tracing=recorder.tracing) as producer:
        producer.send(topic, b"ours").result(PATIENCE)
    with reader(cluster, topic, recorder) as consumer:
        messages = iter(consumer)
        assert next(messages).value == b"theirs"
        next(messages)
    their_send = next(span for span in recorder.spans if span.name == f"{topic} send")
    (our_send,) = recorder.of("send")
    assert [span.parent.span_id for span in recorder.of("process")] == [
        their_send.context.span_id,
        our_send.context.span_id,
    ]
    settings = {"bootstrap.servers": cluster.bootstrap, "group.id": cluster.fresh("g"), "auto.offset.reset": "earliest"}
    plain = TheirConsumer(settings)
    plain.subscribe([topic])
    consumer_of_theirs = ConfluentKafkaInstrumentor.instrument_consumer(plain, recorder.provider)
    for _ in range(2):
        assert consumer_of_theirs.poll(PATIENCE) is not None
    consumer_of_theirs.close()
    linked = [link.context.span_id for span in recorder.spans for link in span.links]
    assert linked == [their_send.context.span_id, our_send.context.span_id]


def test_contexts_pass_between_us_and_the_instrumentation_of_aiokafka(
    cluster: RunningCluster, topic: str, recorder: Recorder
):
    async def work() -> None:
        AIOKafkaInstrumentor().instrument(tracer_provider=recorder.provider)
        try:
            async with aiokafka.AIOKafkaProducer(bootstrap_servers=cluster.bootstrap) as theirs:
                await theirs.send_and_wait(topic, b"theirs")
            async with Producer(bootstrap_servers=cluster.bootstrap, tracing=recorder.tracing) as ours:
                await (await ours.send(topic, b"ours"))
            consumer = aiokafka.AIOKafkaConsumer(
                topic, bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest"
            )
            async with consumer:
                for _ in range(2):
                    await consumer.getone()
        finally:
            AIOKafkaInstrumentor().uninstrument()

    asyncio.run(work())
    with reader(cluster, topic, recorder) as consumer:
        messages = iter(consumer)
        next(messages), next(messages)
    their_send = next(span for span in recorder.spans if span.name == f"{topic} send")
    (our_send,) = recorder.of("send")
    senders = [their_send.context.span_id, our_send.context.span_id]
    assert [span.parent.span_id for span in recorder.of("process")] == senders
    received = [span for span in recorder.spans if span.name == f"{topic} receive"]
    assert [span.parent.span_id for span in received] == senders
