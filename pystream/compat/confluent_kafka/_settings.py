"""A configuration of confluent_kafka, in librdkafka's names, as settings of the SDK and of these clients themselves.

Names of the other kinds of client are left out, as librdkafka does; names that mean nothing here (IDLE) too. What
nobody knows, and what cannot be had, raises KafkaException(_INVALID_ARG). The README lists both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pystream.client.config import (
    SECURITY_PREFIXES,
    AdminConfig,
    ClientConfig,
    ConsumerConfig,
    ProducerConfig,
    ShareConsumerConfig,
)
from pystream.common.config import INT_MAX, definition_of
from pystream.common.errors import InvalidConfig
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import KafkaException, local

DEFAULT_PORT: Final = 9092
NO_SERVERS: Final = "none.invalid:9092"  # librdkafka's clients can be made without brokers; they reach none (RFC 2606)

RENAMED: Final = {  # librdkafka's name -> Kafka's
    "metadata.broker.list": "bootstrap.servers",
    "queue.buffering.max.ms": "linger.ms",
    "message.timeout.ms": "delivery.timeout.ms",
    "message.send.max.retries": "retries",
    "request.required.acks": "acks",
    "compression.codec": "compression.type",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "message.max.bytes": "max.request.size",
    "socket.timeout.ms": "request.timeout.ms",
    "socket.send.buffer.bytes": "send.buffer.bytes",
    "socket.receive.buffer.bytes": "receive.buffer.bytes",
    "topic.metadata.refresh.interval.ms": "metadata.max.age.ms",
    "fetch.wait.max.ms": "fetch.max.wait.ms",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
    "auto.commit.enable": "enable.auto.commit",
    "queue.buffering.max.kbytes": "buffer.memory",
    "sasl.mechanisms": "sasl.mechanism",
}

IDLE: Final = frozenset(  # how librdkafka works inside: nothing of it to be set here
    {
        "api.version.fallback.ms",
        "api.version.request",
        "api.version.request.timeout.ms",
        "batch.num.messages",
        "broker.address.family",
        "broker.address.ttl",
        "broker.version.fallback",
        "client.software.name",
        "client.software.version",
        "consume.callback.max.messages",
        "coordinator.query.interval.ms",
        "enable.gapless.guarantee",
        "enable.random.seed",
        "fetch.error.backoff.ms",
        "fetch.queue.backoff.ms",
        "group.protocol.type",
        "internal.termination.signal",
        "log.connection.close",
        "log.queue",
        "log.thread.name",
        "message.copy.max.bytes",
        "offset.store.method",
        "offset.store.path",
        "offset.store.sync.interval.ms",
        "produce.offset.report",
        "queue.buffering.backpressure.threshold",
        "queued.min.messages",
        "queuing.strategy",
        "reconnect.backoff.jitter.ms",
        "socket.blocking.max.ms",
        "socket.keepalive.enable",
        "socket.max.fails",
        "socket.nagle.disable",
        "sticky.partitioning.linger.ms",
        "topic.metadata.propagation.max.ms",
        "topic.metadata.refresh.fast.cnt",
        "topic.metadata.refresh.fast.interval.ms",
        "topic.metadata.refresh.sparse",
    }
)

REFUSED: Final = {  # what cannot be had -> what to do instead
    "topic.blacklist": "subscribe to the topics that are wanted",
    "plugin.library.paths": "interceptors are C libraries: wrap the client instead",
    "interceptors": "interceptors are C libraries: wrap the client instead",
    "partitioner_cb": "give produce() the partition",
    "log_cb": "it is a function in C: give `logger` what has a method log()",
    "oauth_cb": "SASL, and OAUTHBEARER with it, comes with part 4",
    "background_event_cb": "poll() serves callbacks",
    "enabled_events": "poll() serves callbacks",
}

CALLBACKS: Final = frozenset({"error_cb", "stats_cb", "throttle_cb", "on_delivery", "on_commit"})
SPECIAL: Final = ("on_delivery", "on_commit")  # of one kind of client, which says in its own way what they must be
KEYWORDS: Final = frozenset({*CALLBACKS, "logger", "log_level", "log_cb", "oauth_cb", "partitioner_cb"})

OWN: Final = {  # kept by these clients themselves -> the default
    "queue.buffering.max.messages": 100_000,
    "partitioner": "consistent_random",
    "delivery.report.only.error": False,
    "compression.level": -1,
    "statistics.interval.ms": 0,
    "log_level": -1,  # 0 to 7, of syslog; not given: 6, and without `logger` what pystream's logging is set to
    "debug": "",
    "enable.partition.eof": False,
    "enable.auto.offset.store": True,
    "enable.auto.commit": True,
    "auto.commit.interval.ms": 5_000,
}

BOUNDS: Final = {
    "queue.buffering.max.messages": (0, INT_MAX),
    "compression.level": (-1, 12),
    "statistics.interval.ms": (0, 86_400_000),
    "log_level": (0, 7),
    "auto.commit.interval.ms": (0, 86_400_000),
}

DEFAULTS: Final[dict[type[ClientConfig], dict[str, Any]]] = {  # librdkafka's, where they differ from Kafka's
    ProducerConfig: {"batch.size": 1_000_000, "buffer.memory": 1 << 30, "delivery.timeout.ms": 300_000},
    ConsumerConfig: {
        "group.protocol": "classic",
        "partition.assignment.strategy": "range,roundrobin",
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
        "check.crcs": False,
    },
    ShareConsumerConfig: {"allow.auto.create.topics": False, "check.crcs": False},
    AdminConfig: {},
}

OFFSET_RESETS: Final = {
    "smallest": "earliest",
    "beginning": "earliest",
    "largest": "latest",
    "end": "latest",
    "error": "none",
}


@dataclass(slots=True)
class Settings:
    """What one client was configured with."""

    sdk: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Callable[..., Any]] = field(default_factory=dict)
    logger: Any = None  # what has log(level, format, *arguments)
    ignored: list[str] = field(default_factory=list)  # settings of other kinds of client

    def callback(self, name: str) -> Callable[..., Any] | None:
        return self.callbacks.get(name)


def parse(
    kind: type[ClientConfig], config: Mapping[str, Any] | None, keywords: Mapping[str, Any], callbacks: set[str]
) -> Settings:
    """What `config` and `keywords`, which win, say; `callbacks` are those that this client has.

    Raises TypeError and KafkaException.
    """
    if not isinstance(config, Mapping | None) or (config is None and not keywords):
        raise TypeError("expected configuration dict")
    given = dict(config or {})
    for name, value in keywords.items():
        given[name if "." in name or name in KEYWORDS else name.replace("_", ".")] = value
    given.update(given.pop("default.topic.config", None) or {})
    settings = Settings(sdk=dict(DEFAULTS[kind]), own=dict(OWN))
    for name, value in given.items():
        _take(settings, kind, name, value, callbacks)
    if not settings.sdk.get("bootstrap.servers"):
        settings.sdk["bootstrap.servers"] = NO_SERVERS
    _fit(settings.sdk, given, kind)
    return settings


def _take(settings: Settings, kind: type[ClientConfig], name: str, value: Any, callbacks: set[str]) -> None:
    if name == "logger":
        settings.logger = value
        return
    if name in CALLBACKS or name.endswith("_cb"):
        _take_callback(settings, name, value, callbacks)
        return
    if value is None or name in IDLE:
        return
    if name in REFUSED:
        raise _refused(name)
    dotted = RENAMED.get(name, name)
    if dotted in OWN:
        settings.own[dotted] = _within(dotted, _as(type(OWN[dotted]), dotted, value))
    elif dotted in definition_of(kind).keys or dotted.startswith((*SECURITY_PREFIXES, "enable.ssl.", "enable.sasl.")):
        settings.sdk[dotted] = _value(name, value)
    elif any(dotted in definition_of(other).keys for other in DEFAULTS):
        settings.ignored.append(name)
    else:
        raise local(Codes._INVALID_ARG, f'No such configuration property: "{name}"')


def _take_callback(settings: Settings, name: str, value: Any, callbacks: set[str]) -> None:
    known = name in callbacks if name in SPECIAL else name in CALLBACKS or name in REFUSED
    if not known:
        raise local(Codes._INVALID_ARG, f'No such configuration property: "{name}"')
    if value is None:
        return
    if name in REFUSED and name != "oauth_cb":
        raise _refused(name)
    if not callable(value):
        if name in SPECIAL:
            raise local(Codes._INVALID_ARG, f"{name} requires a callable object")
        wrong = ValueError if name == "throttle_cb" else TypeError
        raise wrong(f"expected {name} property as a callable function")
    if name in REFUSED:
        raise _refused(name)
    settings.callbacks[name] = value


def _refused(name: str) -> KafkaException:
    return local(Codes._INVALID_ARG, f'"{name}" is not supported by pystream.compat: {REFUSED[name]}')


def invalid_value(name: str, value: Any) -> KafkaException:
    """To be raised."""
    return local(Codes._INVALID_ARG, f'Invalid value for configuration property "{name}": {value}')


def _within(name: str, value: Any) -> Any:
    lowest, highest = BOUNDS.get(name, (None, None))
    if lowest is not None and highest is not None and not lowest <= value <= highest:
        text = f'Configuration property "{name}" value {value} is outside allowed range {lowest}..{highest}'
        raise local(Codes._INVALID_ARG, text)
    return value


def _as(kind: type, name: str, value: Any) -> Any:
    if kind is int and isinstance(value, bool):
        raise invalid_value(name, value)
    try:
        if kind is bool:
            if isinstance(value, str):
                return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}[value.lower()]
            return bool(value)
        return kind(value)
    except (KeyError, ValueError) as error:
        raise invalid_value(name, value) from error


def _value(name: str, value: Any) -> Any:
    """As the SDK takes it. Raises KafkaException for what is no number where one is meant."""
    dotted = RENAMED.get(name, name)
    if dotted == "bootstrap.servers":
        servers = value.split(",") if isinstance(value, str) else list(value)
        return [_with_port(str(server).strip()) for server in servers if str(server).strip()]
    if dotted == "auto.offset.reset":
        return OFFSET_RESETS.get(str(value), value)
    if dotted == "security.protocol":
        return str(value).upper()
    if name == "queue.buffering.max.kbytes":
        return _as(int, name, value) << 10
    if name in ("socket.send.buffer.bytes", "socket.receive.buffer.bytes"):
        return _as(int, name, value) or -1
    if name == "topic.metadata.refresh.interval.ms" and _as(int, name, value) < 0:
        return INT_MAX
    if dotted == "linger.ms":
        return int(_as(float, name, value))
    if dotted == "acks":
        return "all" if str(value) == "-1" else str(value)
    if dotted == "delivery.timeout.ms" and _as(int, name, value) == 0:
        return INT_MAX
    return value


def _with_port(server: str) -> str:
    host, separator, port = server.rpartition(":")
    bare = not separator or not port.isdecimal() or host.endswith(":")
    return f"{server}:{DEFAULT_PORT}" if bare else server


def _fit(sdk: dict[str, Any], given: Mapping[str, Any], kind: type[ClientConfig]) -> None:
    """Where librdkafka lets settings contradict one another, bring those that were not given into line."""
    if kind is ProducerConfig:
        delivery = _as(int, "delivery.timeout.ms", sdk["delivery.timeout.ms"])
        linger = _as(int, "linger.ms", sdk.get("linger.ms", 5))
        if {"delivery.timeout.ms", "linger.ms"} <= {RENAMED.get(name, name) for name in given} and delivery <= linger:
            raise local(Codes._INVALID_ARG, "`message.timeout.ms` must be greater than `linger.ms`")
        if str(sdk.get("compression.type", "")) == "inherit":
            del sdk["compression.type"]
        if delivery < linger + _as(int, "request.timeout.ms", sdk.get("request.timeout.ms", 30_000)):
            sdk["linger.ms"] = min(linger, max(delivery - 1, 0))
            sdk["request.timeout.ms"] = max(delivery - sdk["linger.ms"], 0)
    if kind is AdminConfig and "request.timeout.ms" in sdk:
        sdk["default.api.timeout.ms"] = sdk["request.timeout.ms"]  # socket.timeout.ms is for the operation, too
    if kind is ConsumerConfig and "session.timeout.ms" in given and "heartbeat.interval.ms" not in given:
        session = _as(int, "session.timeout.ms", given["session.timeout.ms"])
        sdk["heartbeat.interval.ms"] = min(3_000, max(session // 3, 1))


def loaded(make: Callable[[], Any]) -> Any:
    """What `make` gives; what the SDK says of a setting as confluent_kafka does."""
    try:
        return make()
    except InvalidConfig as error:
        raise local(Codes._INVALID_ARG, str(error)) from error
