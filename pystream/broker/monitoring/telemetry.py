"""Metrics that clients push, kept and shown on /metrics. Source: KIP-714.

    subscription    what the CLIENT_METRICS settings that match a client ask it for, and how often
    push            OTLP metrics, compressed; sums come as deltas and are added up here
    /metrics        org_apache_kafka_producer_record_send_total{client_id="…",client_instance_id="…",…}

Everything is bounded: clients, series of a client, bytes of a push and what they become, numbers read of it. A client
that has not been heard of for a quarter of an hour, and for three intervals of the slowest subscription, is forgotten
with all that it pushed.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pystream._native.compression import Codec, decompress, is_available
from pystream._native.crc32c import crc32c
from pystream.broker.client_metrics import ALL_METRICS, ClientMetricsConfig, parsed_match
from pystream.common.error_codes import (
    INVALID_RECORD,
    INVALID_REQUEST,
    NONE,
    TELEMETRY_TOO_LARGE,
    THROTTLING_QUOTA_EXCEEDED,
    UNKNOWN_SUBSCRIPTION_ID,
    UNSUPPORTED_COMPRESSION_TYPE,
)
from pystream.common.errors import KafkaError, LimitExceeded, MalformedInput
from pystream.common.logging import get_logger
from pystream.common.metrics import COUNTER, GAUGE, Family, Sample
from pystream.common.model import ZERO_UUID, random_uuid, uuid_text

if TYPE_CHECKING:
    from pystream.common.clock import Clock

logger = get_logger(__name__)

ACCEPTED_CODECS: Final = (Codec.ZSTD, Codec.LZ4, Codec.GZIP, Codec.SNAPPY)  # the ones we would rather have first
DEFAULT_INTERVAL_MS: Final = 300_000
MAXIMUM_CLIENTS: Final = 5_000
MAXIMUM_SERIES: Final = 1_000  # of one client, and numbers of one push
MAXIMUM_CONNECTIONS: Final = 50_000  # whose software we remember
INTERVALS_OF_SILENCE: Final = 3
_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_:]")
_NOT_IN_A_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")

Labels = tuple[tuple[str, str], ...]


class Software(NamedTuple):
    """What a client says it is, in its ApiVersions request."""

    name: str = ""
    version: str = ""


class Subscription(NamedTuple):
    """What one client is asked for. Without metrics: nothing, for now."""

    subscription_id: int
    interval_ms: int
    metrics: tuple[str, ...]


@dataclass(slots=True)
class _Client:
    labels: Labels
    subscription: Subscription
    heard_ms: int
    asked_ms: int | None = None
    pushed_ms: int | None = None
    may_ask_early: bool = False  # it was told that it has to
    terminating: bool = False
    series: dict[tuple[str, Labels], tuple[str, float]] = field(default_factory=dict)  # (name, labels): (type, value)


class ClientTelemetry:
    """Lives in the broker's loop; `families` may be called on another thread."""

    def __init__(
        self, clock: Clock, subscriptions: Callable[[], Mapping[str, ClientMetricsConfig]], *, maximum_bytes: int
    ) -> None:
        """`subscriptions` gives the settings in force; a push above `maximum_bytes` is refused."""
        self.maximum_bytes = maximum_bytes
        self._clock = clock
        self._subscriptions = subscriptions
        self._clients: OrderedDict[bytes, _Client] = OrderedDict()  # the one heard of last is the last
        self._software: OrderedDict[int, Software] = OrderedDict()
        self.dropped_series = 0

    def met(self, connection: int, software: Software) -> None:
        """The client on this connection has said what it is."""
        self._software[connection] = software
        if len(self._software) > MAXIMUM_CONNECTIONS:
            self._software.popitem(last=False)

    def subscribe(
        self, client_instance_id: bytes, connection: int, client_id: str, peer: str
    ) -> tuple[int, bytes, Subscription]:
        """(error code, the client's id, what it is asked for); a client without an id gets one."""
        if client_instance_id == ZERO_UUID:
            client_instance_id = random_uuid()
        client = self._client(client_instance_id, connection, client_id, peer)
        now_ms = self._clock.monotonic_ms()
        last_ms = max((t for t in (client.asked_ms, client.pushed_ms) if t is not None), default=None)
        early = last_ms is not None and now_ms - last_ms < client.subscription.interval_ms
        if early and not client.may_ask_early:
            return THROTTLING_QUOTA_EXCEEDED, client_instance_id, client.subscription
        client.asked_ms, client.may_ask_early = now_ms, False
        return NONE, client_instance_id, client.subscription

    def push(
        self,
        client_instance_id: bytes,
        connection: int,
        client_id: str,
        peer: str,
        *,
        subscription_id: int,
        terminating: bool,
        codec: int,
        metrics: bytes,
    ) -> int:
        """Take one push in; the error code."""
        if client_instance_id == ZERO_UUID:
            return INVALID_REQUEST
        client = self._client(client_instance_id, connection, client_id, peer)
        code = self._push_complaint(client, subscription_id, terminating=terminating, codec=codec, size=len(metrics))
        if code != NONE:
            client.may_ask_early = code in (UNKNOWN_SUBSCRIPTION_ID, UNSUPPORTED_COMPRESSION_TYPE)
            return code
        client.pushed_ms, client.terminating = self._clock.monotonic_ms(), terminating
        try:
            plain = decompress(metrics, codec, limit=self.maximum_bytes) if codec else metrics
            for name, labels, kind, value, is_delta in itertools.islice(_data_points(plain), MAXIMUM_SERIES):
                self._keep(client, name, labels, kind, value, is_delta=is_delta)
        except (MalformedInput, LimitExceeded, KafkaError) as error:
            logger.limited("client telemetry does not parse", client_id=client_id, error=error)
            return INVALID_RECORD
        if terminating:
            self._clients.pop(client_instance_id, None)
        return NONE

    def families(self) -> Iterator[Family]:
        """What clients have pushed, and how many there are."""
        clients = list(self._clients.values())
        families: dict[tuple[str, str], list[Sample]] = {}
        for client in clients:
            for (name, labels), (kind, value) in list(client.series.items()):
                families.setdefault((name, kind), []).append(Sample((*client.labels, *labels), value))
        seen: set[str] = set()
        for (name, kind), samples in sorted(families.items()):
            if name not in seen:  # two clients that do not agree on the type: the first type is shown
                seen.add(name)
                yield Family(name, kind, "Pushed by clients (KIP-714).", samples)
        yield Family(
            "kafka_server_clientmetrics_instance_count", GAUGE, "Clients known to push.", [Sample((), len(clients))]
        )
        yield Family(
            "pystream_client_metrics_dropped_total",
            COUNTER,
            "Series of clients that were above the limit, or of a type that is not kept.",
            [Sample((), self.dropped_series)],
        )

    def _push_complaint(
        self, client: _Client, subscription_id: int, *, terminating: bool, codec: int, size: int
    ) -> int:
        if client.terminating:
            return INVALID_REQUEST
        now_ms = self._clock.monotonic_ms()
        early = client.pushed_ms is not None and now_ms - client.pushed_ms < client.subscription.interval_ms
        if early and not terminating:
            return THROTTLING_QUOTA_EXCEEDED
        if subscription_id != client.subscription.subscription_id or not client.subscription.metrics:
            return UNKNOWN_SUBSCRIPTION_ID
        if codec not in (Codec.NONE, *ACCEPTED_CODECS) or not is_available(codec):
            return UNSUPPORTED_COMPRESSION_TYPE
        return TELEMETRY_TOO_LARGE if size > self.maximum_bytes else NONE

    def _client(self, client_instance_id: bytes, connection: int, client_id: str, peer: str) -> _Client:
        """The client as we know it, its subscription as it is now."""
        now_ms = self._clock.monotonic_ms()
        software = self._software.get(connection, Software())
        attributes = {
            "client_instance_id": uuid_text(client_instance_id),
            "client_id": client_id,
            "client_software_name": software.name,
            "client_software_version": software.version,
            "client_source_address": peer,
        }
        subscriptions = self._subscriptions()
        subscription = _subscription_of(subscriptions, client_instance_id, attributes)
        client = self._clients.get(client_instance_id)
        if client is None:
            shown = ("client_id", "client_instance_id", "client_software_name", "client_software_version")
            client = _Client(tuple((name, attributes[name]) for name in shown), subscription, now_ms)
            self._clients[client_instance_id] = client
        elif client.subscription != subscription:
            client.subscription, client.asked_ms, client.pushed_ms = subscription, None, None  # begun anew
        client.heard_ms = now_ms
        self._clients.move_to_end(client_instance_id)
        slowest_ms = max((config.interval_ms for config in subscriptions.values()), default=DEFAULT_INTERVAL_MS)
        self._forget_silent(now_ms, INTERVALS_OF_SILENCE * max(slowest_ms, DEFAULT_INTERVAL_MS))
        return client

    def _forget_silent(self, now_ms: int, limit_ms: int) -> None:
        while self._clients:
            client_instance_id, client = next(iter(self._clients.items()))
            silent_ms = now_ms - client.heard_ms
            if len(self._clients) <= MAXIMUM_CLIENTS and silent_ms <= limit_ms:
                return
            del self._clients[client_instance_id]

    def _keep(self, client: _Client, name: str, labels: Labels, kind: str, value: float, *, is_delta: bool) -> None:
        key = (name, labels)
        known = client.series.get(key)
        if not kind or (known is None and len(client.series) >= MAXIMUM_SERIES):
            self.dropped_series += 1
            return
        client.series[key] = (kind, value + known[1] if is_delta and known is not None else value)


def _subscription_of(
    subscriptions: Mapping[str, ClientMetricsConfig], client_instance_id: bytes, attributes: Mapping[str, str]
) -> Subscription:
    """What a client with these attributes is asked for."""
    matching = [
        config
        for config in subscriptions.values()
        if config.metrics
        and all(pattern.fullmatch(attributes[name]) for name, pattern in parsed_match(config.match).items())
    ]
    names = {metric for config in matching for metric in config.metrics}
    metrics = ("",) if ALL_METRICS in names else tuple(sorted(names))  # an empty prefix is one of every name
    interval_ms = min((config.interval_ms for config in matching), default=DEFAULT_INTERVAL_MS)
    checksum = crc32c(repr((metrics, interval_ms)).encode(), crc32c(client_instance_id))
    return Subscription(checksum - (1 << 32) if checksum >> 31 else checksum, interval_ms, metrics)


def _data_points(data: bytes) -> Iterable[tuple[str, Labels, str, float, bool]]:
    """(name, labels, type, value, whether it is added up) of each number; no type for what is neither gauge nor sum.

    Raises MalformedInput.
    """
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, MetricsData

    message = MetricsData()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise MalformedInput(f"not OTLP metrics: {error}") from error
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                name = _NOT_IN_A_NAME.sub("_", metric.name)
                shape = metric.WhichOneof("data")
                if not name or shape not in ("gauge", "sum"):
                    yield name, (), "", 0.0, False
                    continue
                is_delta = shape == "sum" and metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
                kind = COUNTER if shape == "sum" and metric.sum.is_monotonic else GAUGE
                for point in getattr(metric, shape).data_points:
                    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
                    yield name, _labels(point.attributes), kind, float(value), is_delta


def _labels(attributes: Iterable[Any]) -> Labels:
    """Attributes as label pairs, by name."""
    pairs = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        if attribute.key and kind in ("string_value", "int_value", "bool_value", "double_value"):
            pairs["attribute_" + _NOT_IN_A_LABEL.sub("_", attribute.key)] = str(getattr(attribute.value, kind))
    return tuple(sorted(pairs.items()))
