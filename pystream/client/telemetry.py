"""Spans of OpenTelemetry for what is sent, received and processed. Needs opentelemetry-api (extra `otel`).

    tracing = Tracing()                                     # the global tracer provider and propagator
    producer = Producer(bootstrap_servers=..., tracing=tracing)
    consumer = Consumer({...}, tracing=tracing)             # ShareConsumer likewise
    for message in consumer: ...                            # each within a span `process orders`
    for message in consumer.poll():                         # `poll orders`, linked to what was sent
        with consumer.processing(message): ...              # `process orders`; what it raises is recorded

    send orders ── traceparent in the record's headers ──▶ process orders     one trace

Names and attributes are those of the semantic conventions for messaging and Kafka. The context travels in the headers
of records as W3C's traceparent and tracestate, or as the global propagator writes it: what OpenTelemetry's
instrumentations of confluent-kafka, aiokafka and kafka-python write is understood here, and the other way round.
A span of a record ends when the record is acknowledged. `send_batch` has one span, whose context goes with all its
records, and which ends when the last of them is acknowledged.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import pystream
from pystream.client.config import ClientConfig, addresses
from pystream.client.extras import need
from pystream.client.headers import RowHeaders, pairs_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

Pairs = list[tuple[str | bytes, Any]]
D = TypeVar("D", bound="_Delivery")

NONE: Final[Mapping[str, Any]] = {}

MOST_LINKS: Final = 128  # of a span that receives many messages: what SDKs keep by default
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"
SYSTEM: Final = "messaging.system"
DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
CLIENT_ID: Final = "messaging.client.id"
GROUP: Final = "messaging.consumer.group.name"
KEY: Final = "messaging.kafka.message.key"
OFFSET: Final = "messaging.kafka.offset"
TOMBSTONE: Final = "messaging.kafka.message.tombstone"
COUNT: Final = "messaging.batch.message_count"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"


class _Delivery(Protocol):
    """What tells of a record's fate."""

    def add_callback(self, callback: Callable[[Any], object]) -> None: ...


class Tracing:
    """What clients trace with; one may serve many of them."""

    def __init__(self, tracer_provider: Any = None, propagator: Any = None) -> None:
        """The global ones where none are given. Raises MissingExtra."""
        self.trace = need("opentelemetry.trace", extra="otel", what="tracing")
        self.context = need("opentelemetry.context", extra="otel", what="tracing")
        self.propagator = propagator or need("opentelemetry.propagate", extra="otel", what="tracing")
        self.tracer = self.trace.get_tracer(
            "pystream.client", pystream.__version__, tracer_provider=tracer_provider, schema_url=SCHEMA_URL
        )

    def of_producer(self, config: ClientConfig) -> ProducerTracing:
        """For one producer."""
        return ProducerTracing(self, config)

    def of_consumer(self, config: ClientConfig, group_id: str | None) -> ConsumerTracing:
        """For one consumer."""
        return ConsumerTracing(self, config, group_id)


class _ClientTracing:
    def __init__(self, tracing: Tracing, config: ClientConfig) -> None:
        self._tracing = tracing
        self._kinds = tracing.trace.SpanKind
        host, port = addresses(config.bootstrap_servers)[0]
        self._attributes: dict[str, Any] = {SYSTEM: "kafka", SERVER_ADDRESS: host, SERVER_PORT: port}
        if config.client_id:
            self._attributes[CLIENT_ID] = config.client_id

    def _span(
        self, operation: str, operation_type: str, topic: str, *, attributes: Mapping[str, Any] = NONE, **options: Any
    ) -> Span:
        named = {OPERATION: operation, OPERATION_TYPE: operation_type, DESTINATION: topic}
        attributes = {**self._attributes, **named, **attributes}
        span: Span = self._tracing.tracer.start_span(f"{operation} {topic}", attributes=attributes, **options)
        return span

    def fail(self, span: Span, error: BaseException) -> None:
        """Record what went wrong."""
        trace = self._tracing.trace
        span.set_attribute(ERROR_TYPE, type(error).__qualname__)
        span.record_exception(error)
        span.set_status(trace.Status(trace.StatusCode.ERROR, str(error)))


class ProducerTracing(_ClientTracing):
    """Spans of one producer."""

    def around(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """A producer's `send`, a function or a coroutine function, within spans."""

        async def later(
            topic: str, value: Any = None, key: Any = None, headers: Any = None, *rest: Any, **named: Any
        ) -> Any:
            with self._single(topic, value, key, headers) as sending:
                return sending.until(await send(topic, value, key, sending.headers, *rest, **named))

        def now(topic: str, value: Any = None, key: Any = None, headers: Any = None, *rest: Any, **named: Any) -> Any:
            with self._single(topic, value, key, headers) as sending:
                return sending.until(send(topic, value, key, sending.headers, *rest, **named))

        return later if inspect.iscoroutinefunction(send) else now

    def around_batch(self, send_batch: Callable[..., Any]) -> Callable[..., Any]:
        """A producer's `send_batch` within one span, whose context goes into the headers of all its records."""

        async def later(
            topic: str, values: Any, keys: Any = None, headers: Any = None, *rest: Any, **named: Any
        ) -> Any:
            with self._batch(topic, headers) as sending:
                return sending.until(await send_batch(topic, values, keys, sending.headers, *rest, **named))

        def now(topic: str, values: Any, keys: Any = None, headers: Any = None, *rest: Any, **named: Any) -> Any:
            with self._batch(topic, headers) as sending:
                return sending.until(send_batch(topic, values, keys, sending.headers, *rest, **named))

        return later if inspect.iscoroutinefunction(send_batch) else now

    def _batch(self, topic: str, headers: Any) -> _Sending:
        span = self._span("send", "send", topic, kind=self._kinds.PRODUCER)
        of_all = isinstance(headers, Mapping)
        common = self._with_context(span, pairs_of(headers) if of_all else [])
        return _SendingBatch(self, span, RowHeaders(None if of_all else headers, common))

    def _single(self, topic: str, value: Any, key: Any, headers: Any) -> _Sending:
        attributes: dict[str, Any] = {}
        text = _key_text(key)
        if text is not None:
            attributes[KEY] = text
        if value is None:
            attributes[TOMBSTONE] = True
        span = self._span("send", "send", topic, kind=self._kinds.PRODUCER, attributes=attributes)
        given = headers.items() if isinstance(headers, Mapping) else headers or ()
        return _Sending(self, span, self._with_context(span, list(given)))

    def _with_context(self, span: Span, pairs: Pairs) -> Pairs:
        """Headers, and the span's context behind them."""
        context = self._tracing.trace.set_span_in_context(span)
        self._tracing.propagator.inject(pairs, context=context, setter=_SETTER)
        return pairs

    def end(self, span: Span, delivery: Any) -> None:
        """The record was acknowledged, or failed."""
        error = delivery.exception(0)
        if error is not None:
            self.fail(span, error)
        else:
            span.set_attribute(PARTITION, str(delivery.partition))
            if delivery.offset >= 0:
                span.set_attribute(OFFSET, delivery.offset)
        span.end()

    def end_batch(self, span: Span, delivery: Any) -> None:
        """All records of a batch were acknowledged, or failed."""
        error = delivery.exception(0)
        partitions = {part.partition for part in delivery}
        if len(partitions) == 1:
            span.set_attribute(PARTITION, str(partitions.pop()))
        if error is not None:
            self.fail(span, error)
        span.end()


class _Sending:
    """A record on its way into the buffer; `headers` have the span's context."""

    def __init__(self, tracing: ProducerTracing, span: Span, headers: Any) -> None:
        self._tracing = tracing
        self._span = span
        self.headers = headers

    def until(self, delivery: D) -> D:
        """It is there: the span ends with the delivery."""
        delivery.add_callback(lambda done: self._tracing.end(self._span, done))
        return delivery

    def __enter__(self) -> _Sending:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._tracing.fail(self._span, error)
            self._span.end()


class _SendingBatch(_Sending):
    """The records of a batch, likewise."""

    def until(self, delivery: Any) -> Any:
        """They are there: the span ends with the last of them."""
        self._span.set_attribute(COUNT, len(delivery))
        delivery.add_callback(lambda done: self._tracing.end_batch(self._span, done))
        return delivery


class ConsumerTracing(_ClientTracing):
    """Spans of one consumer. Like it, used by one task or thread at a time."""

    def __init__(self, tracing: Tracing, config: ClientConfig, group_id: str | None) -> None:
        super().__init__(tracing, config)
        if group_id is not None:
            self._attributes[GROUP] = group_id
        self._current: tuple[Span, Any] | None = None  # of the message that an iteration gave last, and its token

    def received(self, messages: Sequence[Any], began_ns: int) -> None:
        """A poll that began then gave these messages, all of one partition: `poll`, linked to where they come from."""
        first = messages[0]
        links = []
        for message in messages[:MOST_LINKS]:
            context = self._span_context_of(self._sent_from(message))
            if context is not None:
                links.append(self._tracing.trace.Link(context))
        self._span(
            "poll",
            "receive",
            first.topic,
            kind=self._kinds.CLIENT,
            links=links,
            start_time=began_ns,
            attributes={PARTITION: str(first.partition), COUNT: len(messages)},
        ).end()

    def received_of_any(self, messages: Sequence[Any], began_ns: int) -> None:
        """The same for messages of any partitions: a span for each of them."""
        for _, part in groupby(messages, key=attrgetter("topic", "partition")):
            self.received(list(part), began_ns)

    @contextmanager
    def processing(self, message: Any) -> Iterator[Span]:
        """A span of what is done with a message, current meanwhile; what is raised is recorded."""
        span = self._process(message)
        token = self._tracing.context.attach(self._tracing.trace.set_span_in_context(span))
        try:
            yield span
        except BaseException as error:
            self.fail(span, error)
            raise
        finally:
            self._tracing.context.detach(token)
            span.end()

    def begin(self, message: Any) -> None:
        """An iteration gives this message: its span is current until the next one, or the next poll."""
        self.finish()
        span = self._process(message)
        self._current = span, self._tracing.context.attach(self._tracing.trace.set_span_in_context(span))

    def finish(self) -> None:
        """The message that an iteration gave last is processed."""
        if self._current is not None:
            span, token = self._current
            self._current = None
            self._tracing.context.detach(token)
            span.end()

    def _process(self, message: Any) -> Span:
        """Within the span that is current, linked to the sender; without one, within the sender's trace."""
        trace = self._tracing.trace
        sent_from = self._sent_from(message)
        sender = self._span_context_of(sent_from)
        options: dict[str, Any] = {}
        if trace.get_current_span().get_span_context().is_valid:
            options["links"] = [] if sender is None else [trace.Link(sender)]
        else:
            options["context"] = sent_from
        attributes: dict[str, Any] = {PARTITION: str(message.partition), OFFSET: message.offset}
        text = _key_text(message.key)
        if text is not None:
            attributes[KEY] = text
        if message.value is None:
            attributes[TOMBSTONE] = True
        return self._span(
            "process", "process", message.topic, kind=self._kinds.CONSUMER, attributes=attributes, **options
        )

    def _sent_from(self, message: Any) -> Context:
        context: Context = self._tracing.propagator.extract(message.headers, getter=_GETTER)
        return context

    def _span_context_of(self, context: Context) -> Any:
        found = self._tracing.trace.get_current_span(context).get_span_context()
        return found if found.is_valid and found.is_remote else None


class _Setter:
    """Writes into the headers of a record."""

    def set(self, carrier: Pairs, key: str, value: str) -> None:
        carrier.append((key, value.encode()))


class _Getter:
    """Reads the headers of a record."""

    def get(self, carrier: Sequence[tuple[str, bytes | None]], key: str) -> list[str] | None:
        found = [value.decode("ascii", "replace") for name, value in carrier if name == key and value is not None]
        return found or None

    def keys(self, carrier: Sequence[tuple[str, bytes | None]]) -> list[str]:
        return [name for name, _ in carrier]


_SETTER: Final = _Setter()
_GETTER: Final = _Getter()


def _key_text(key: Any) -> str | None:
    """A key as an attribute: text, and bytes that are text; others would tell nobody anything."""
    if isinstance(key, str):
        return key
    if isinstance(key, bytes | bytearray | memoryview):
        try:
            return bytes(key).decode()
        except UnicodeDecodeError:
            return None
    return str(key) if isinstance(key, int | float) else None
