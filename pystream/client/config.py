"""What a client can be set to: Kafka's names, defaults and bounds.

    ProducerConfig.load({"bootstrap.servers": "a:9092,b:9092", "linger.ms": 20})      # dotted names, as in Kafka
    ProducerConfig.load(bootstrap_servers=["a:9092", "b:9092"], linger_ms=20)         # or keywords; both may be mixed

Values are given as Python has them (5, True, ["a", "b"]) or as text ("5", "true", "a,b"). A name that nobody knows, a
value out of bounds and settings that contradict one another raise InvalidConfig, which says what is meant.

Where it differs from Kafka: socket buffers are the operating system's unless set (-1; Kafka: 128 and 64 KiB, which
switches off Linux's own tuning), send_batch makes larger batches than `batch.size` (`bulk.batch.size`),
`receive.message.max.bytes` bounds an answer as in librdkafka, and `group.protocol` unset takes the new protocol where
brokers have it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from pystream.common.config import (
    INT_MAX,
    LONG_MAX,
    ConfigDefinition,
    ConfigSource,
    ConfigType,
    Layer,
    definition_of,
    key,
)
from pystream.common.errors import InvalidConfig

SYSTEM_BUFFER: Final = -1
CANONICAL_NAMES: Final = "resolve_canonical_bootstrap_servers_only"
PLAINTEXT: Final = "PLAINTEXT"
SECURITY_PROTOCOLS: Final = (PLAINTEXT, "SSL", "SASL_PLAINTEXT", "SASL_SSL")
NOT_WIRED: Final = "this version of the client speaks PLAINTEXT only: leave it out, or set security.protocol=PLAINTEXT"
SECURITY_PREFIXES: Final = ("ssl.", "sasl.")

# Kafka's settings that name classes of Java, or steer Java's metrics: what to do instead
JAVA_ONLY: Final = {
    "key.serializer": "pass key_serializer= to the producer",
    "value.serializer": "pass value_serializer= to the producer",
    "key.deserializer": "pass key_deserializer= to the consumer",
    "value.deserializer": "pass value_deserializer= to the consumer",
    "partitioner.class": "pass partition= to send, or partitioner= to the producer",
    "interceptor.classes": "wrap the client instead",
    "metric.reporters": "read client.metrics() instead",
    "metrics.num.samples": "leave it out",
    "metrics.recording.level": "leave it out",
    "metrics.sample.window.ms": "leave it out",
    "auto.include.jmx.reporter": "leave it out",
    "security.providers": "leave it out",
    "config.providers": "resolve secrets before they come here",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """What all clients share."""

    bootstrap_servers: tuple[str, ...] = key(
        "bootstrap.servers", doc="host:port of some brokers, from which the others are learnt."
    )
    client_id: str = key("client.id", default="", doc="Names the client in the broker's logs, quotas and metrics.")
    client_rack: str = key("client.rack", default="", doc="Where the client stands; replicas there are read first.")
    client_dns_lookup: str = key(
        "client.dns.lookup",
        default="use_all_dns_ips",
        valid=("use_all_dns_ips", CANONICAL_NAMES),
        doc="All addresses of a name are tried in turn, or bootstrap.servers by the names that their addresses have.",
    )
    security_protocol: str = key(
        "security.protocol", default=PLAINTEXT, valid=SECURITY_PROTOCOLS, doc="How to talk to brokers; see NOT_WIRED."
    )
    metadata_max_age_ms: int = key(
        "metadata.max.age.ms",
        default=300_000,
        type=ConfigType.LONG,
        minimum=0,
        doc="Metadata is renewed after so long.",
    )
    metadata_recovery_strategy: str = key(
        "metadata.recovery.strategy",
        default="rebootstrap",
        valid=("none", "rebootstrap"),
        doc="When no known broker can be reached: go back to bootstrap.servers, or fail.",
    )
    metadata_recovery_rebootstrap_trigger_ms: int = key(
        "metadata.recovery.rebootstrap.trigger.ms",
        default=300_000,
        type=ConfigType.LONG,
        minimum=0,
        doc="After so long without metadata the client goes back to bootstrap.servers.",
    )
    request_timeout_ms: int = key("request.timeout.ms", default=30_000, minimum=0, doc="For one request.")
    default_api_timeout_ms: int = key(
        "default.api.timeout.ms", default=60_000, minimum=0, doc="For one operation with all its retries."
    )
    retry_backoff_ms: int = key(
        "retry.backoff.ms", default=100, type=ConfigType.LONG, minimum=0, doc="Wait before the first retry."
    )
    retry_backoff_max_ms: int = key(
        "retry.backoff.max.ms", default=1_000, type=ConfigType.LONG, minimum=0, doc="Longest wait before a retry."
    )
    reconnect_backoff_ms: int = key(
        "reconnect.backoff.ms", default=50, type=ConfigType.LONG, minimum=0, doc="Wait before connecting again."
    )
    reconnect_backoff_max_ms: int = key(
        "reconnect.backoff.max.ms", default=1_000, type=ConfigType.LONG, minimum=0, doc="Longest wait before that."
    )
    socket_connection_setup_timeout_ms: int = key(
        "socket.connection.setup.timeout.ms", default=10_000, type=ConfigType.LONG, minimum=1, doc="To connect."
    )
    socket_connection_setup_timeout_max_ms: int = key(
        "socket.connection.setup.timeout.max.ms",
        default=30_000,
        type=ConfigType.LONG,
        minimum=1,
        doc="The time to connect doubles with each failure up to this.",
    )
    connections_max_idle_ms: int = key(
        "connections.max.idle.ms", default=540_000, type=ConfigType.LONG, doc="Unused connections close; -1: never."
    )
    send_buffer_bytes: int = key(
        "send.buffer.bytes", default=SYSTEM_BUFFER, minimum=-1, doc="SO_SNDBUF; -1 is the system's own."
    )
    receive_buffer_bytes: int = key(
        "receive.buffer.bytes", default=SYSTEM_BUFFER, minimum=-1, doc="SO_RCVBUF; -1 is the system's own."
    )
    receive_message_max_bytes: int = key(
        "receive.message.max.bytes",
        default=100_000_000,
        minimum=1_000,
        maximum=INT_MAX,
        doc="A longer answer closes the connection.",
    )
    enable_metrics_push: bool = key(
        "enable.metrics.push",
        default=True,
        doc="Push the client's metrics when the cluster subscribes to them (KIP-714).",
    )

    @classmethod
    def load(cls, settings: Mapping[str, Any] | None = None, /, **keywords: Any) -> Self:
        """The config that settings and keywords make. Raises InvalidConfig."""
        if settings is not None and not isinstance(settings, Mapping):
            raise InvalidConfig(
                f"settings are a dict with dotted names, or keywords such as bootstrap_servers=..., not "
                f"{type(settings).__name__} {settings!r}"
            )
        definition = definition_of(cls)
        texts = texts_of(definition, {**(settings or {}), **keywords})
        return definition.load(Layer(ConfigSource.STATIC_BROKER_CONFIG, texts))._checked(frozenset(texts))

    def _checked(self, given: frozenset[str]) -> Self:
        """Raises InvalidConfig where settings contradict one another; `given` names those that were set."""
        if self.security_protocol != PLAINTEXT:
            raise InvalidConfig(f"security.protocol={self.security_protocol}: {NOT_WIRED}")
        addresses(self.bootstrap_servers)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminConfig(ClientConfig):
    """Settings of an AdminClient."""

    connections_max_idle_ms: int = key(
        "connections.max.idle.ms", default=300_000, type=ConfigType.LONG, doc="Unused connections close; -1: never."
    )
    retries: int = key("retries", default=INT_MAX, minimum=0, maximum=INT_MAX, doc="Retries within the deadline.")
    enable_metrics_push: bool = key("enable.metrics.push", default=False, doc="As in Kafka, off for admin clients.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerConfig(ClientConfig):
    """Settings of a Producer."""

    acks: str = key("acks", default="all", valid=("all", "-1", "0", "1"), doc="Who must have a record: all, 1 or 0.")
    enable_idempotence: bool = key(
        "enable.idempotence", default=True, doc="Retries neither duplicate nor reorder. Needs acks=all."
    )
    transactional_id: str | None = key("transactional.id", default=None, doc="Makes the producer transactional.")
    transaction_timeout_ms: int = key(
        "transaction.timeout.ms", default=60_000, minimum=1, doc="The coordinator aborts a transaction after so long."
    )
    transaction_two_phase_commit_enable: bool = key(
        "transaction.two.phase.commit.enable", default=False, doc="Transactions stay until committed from outside."
    )
    buffer_memory: int = key(
        "buffer.memory",
        default=32 << 20,
        type=ConfigType.LONG,
        minimum=0,
        doc="Bytes that may wait to be acknowledged.",
    )
    max_block_ms: int = key(
        "max.block.ms", default=60_000, type=ConfigType.LONG, minimum=0, doc="How long send waits for room or metadata."
    )
    batch_size: int = key("batch.size", default=16_384, minimum=0, doc="Bytes of a batch, before compression.")
    bulk_batch_size: int = key(
        "bulk.batch.size",
        default=1_000_000,
        minimum=0,
        doc="Bytes of a batch that send_batch begins, where batch.size is smaller: its rows need not be waited for.",
    )
    linger_ms: int = key(
        "linger.ms", default=5, type=ConfigType.LONG, minimum=0, doc="How long a batch waits for more records."
    )
    max_request_size: int = key("max.request.size", default=1 << 20, minimum=0, doc="Largest request, and record.")
    max_in_flight_requests_per_connection: int = key(
        "max.in.flight.requests.per.connection", default=5, minimum=1, doc="At most 5 with idempotence."
    )
    delivery_timeout_ms: int = key(
        "delivery.timeout.ms", default=120_000, minimum=0, doc="From send to acknowledged or failed, retries included."
    )
    retries: int = key("retries", default=INT_MAX, minimum=0, maximum=INT_MAX, doc="Within delivery.timeout.ms.")
    compression_type: str = key(
        "compression.type", default="none", valid=("none", "gzip", "snappy", "lz4", "zstd"), doc="Codec of batches."
    )
    compression_gzip_level: int = key("compression.gzip.level", default=-1, minimum=-1, maximum=9, doc="-1: default.")
    compression_lz4_level: int = key("compression.lz4.level", default=9, minimum=1, maximum=17, doc="1 is the fastest.")
    compression_zstd_level: int = key(
        "compression.zstd.level", default=3, minimum=-131_072, maximum=22, doc="Higher is smaller and slower."
    )
    partitioner_ignore_keys: bool = key("partitioner.ignore.keys", default=False, doc="Spread records with keys too.")
    partitioner_adaptive_partitioning_enable: bool = key(
        "partitioner.adaptive.partitioning.enable", default=True, doc="Send more to brokers that are faster."
    )
    partitioner_availability_timeout_ms: int = key(
        "partitioner.availability.timeout.ms",
        default=0,
        type=ConfigType.LONG,
        minimum=0,
        doc="A broker that takes no batch for so long gets no new ones; 0 is off.",
    )
    metadata_max_idle_ms: int = key(
        "metadata.max.idle.ms",
        default=300_000,
        type=ConfigType.LONG,
        minimum=5_000,
        doc="A topic that nothing was sent to for so long is forgotten.",
    )

    def _checked(self, given: frozenset[str]) -> Self:
        config = super(ProducerConfig, self)._checked(given)
        if config.acks == "-1":
            config = replace(config, acks="all")
        conflict = config._idempotence_conflict()
        if conflict is not None and config.enable_idempotence:
            if "enable.idempotence" in given:
                raise InvalidConfig(f"enable.idempotence=true needs {conflict}")
            config = replace(config, enable_idempotence=False)
        if config.transactional_id is not None and not config.enable_idempotence:
            raise InvalidConfig(f"transactional.id needs enable.idempotence=true and {conflict or 'nothing else'}")
        shortest = config.linger_ms + config.request_timeout_ms
        if config.delivery_timeout_ms < shortest:
            if "delivery.timeout.ms" in given:
                raise InvalidConfig(
                    f"delivery.timeout.ms={config.delivery_timeout_ms} must be at least linger.ms + request.timeout.ms "
                    f"= {shortest}"
                )
            config = replace(config, delivery_timeout_ms=min(shortest, INT_MAX))
        return config

    def _idempotence_conflict(self) -> str | None:
        if self.acks != "all":
            return f"acks=all, found acks={self.acks}"
        if self.retries == 0:
            return "retries above 0"
        if self.max_in_flight_requests_per_connection > 5:
            found = self.max_in_flight_requests_per_connection
            return f"max.in.flight.requests.per.connection of at most 5, found {found}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchConfig(ClientConfig):
    """What consumers and share consumers have in common."""

    group_id: str | None = key("group.id", default=None, doc="The group that the consumer joins.")
    fetch_min_bytes: int = key("fetch.min.bytes", default=1, minimum=0, doc="A fetch waits for so many bytes.")
    fetch_max_bytes: int = key(
        "fetch.max.bytes", default=50 << 20, minimum=0, doc="Of one answer, but one batch comes."
    )
    fetch_max_wait_ms: int = key("fetch.max.wait.ms", default=500, minimum=0, doc="And waits no longer than this.")
    max_partition_fetch_bytes: int = key("max.partition.fetch.bytes", default=1 << 20, minimum=0, doc="Of a partition.")
    max_poll_records: int = key("max.poll.records", default=500, minimum=1, doc="Records that one poll gives.")
    max_poll_interval_ms: int = key("max.poll.interval.ms", default=300_000, minimum=1, doc="Longest pause of polls.")
    check_crcs: bool = key("check.crcs", default=True, doc="Check the CRC of every batch.")
    allow_auto_create_topics: bool = key("allow.auto.create.topics", default=True, doc="By subscribing to them.")
    exclude_internal_topics: bool = key("exclude.internal.topics", default=True, doc="From patterns.")

    def _checked(self, given: frozenset[str]) -> Self:
        config = super(FetchConfig, self)._checked(given)
        room = config.fetch_max_bytes + FRAME_OVERHEAD_BYTES
        if config.receive_message_max_bytes < room:
            if "receive.message.max.bytes" in given:
                raise InvalidConfig(
                    f"receive.message.max.bytes={config.receive_message_max_bytes} must be at least fetch.max.bytes + "
                    f"{FRAME_OVERHEAD_BYTES} = {room}"
                )
            config = replace(config, receive_message_max_bytes=min(room, INT_MAX))
        return config


FRAME_OVERHEAD_BYTES: Final = 1 << 16  # of a Fetch answer around its records


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerConfig(FetchConfig):
    """Settings of a Consumer."""

    group_protocol: str | None = key(
        "group.protocol",
        default=None,
        valid=("classic", "consumer"),
        doc="Unset: consumer (KIP-848) where brokers have it, else classic.",
    )
    group_instance_id: str | None = key("group.instance.id", default=None, doc="Static membership.")
    group_remote_assignor: str | None = key("group.remote.assignor", default=None, doc="Of the consumer protocol.")
    partition_assignment_strategy: tuple[str, ...] = key(
        "partition.assignment.strategy",
        default=("range", "cooperative-sticky"),
        doc="Of the classic protocol, the preferred first: range, roundrobin, sticky, cooperative-sticky.",
    )
    session_timeout_ms: int = key("session.timeout.ms", default=45_000, minimum=1, doc="Silent members are removed.")
    heartbeat_interval_ms: int = key("heartbeat.interval.ms", default=3_000, minimum=1, doc="Between heartbeats.")
    enable_auto_commit: bool = key("enable.auto.commit", default=True, doc="Commit what was polled, now and then.")
    auto_commit_interval_ms: int = key("auto.commit.interval.ms", default=5_000, minimum=0, doc="How often.")
    auto_offset_reset: str = key(
        "auto.offset.reset",
        default="latest",
        check=lambda value: _reset_complaint(value),
        doc="Where to begin without a committed offset: earliest, latest, none or by_duration:PT1H.",
    )
    isolation_level: str = key(
        "isolation.level",
        default="read_uncommitted",
        valid=("read_uncommitted", "read_committed"),
        doc="Whether records of open and aborted transactions are given.",
    )
    queued_max_messages_kbytes: int = key(
        "queued.max.messages.kbytes",
        default=65_536,
        minimum=1,
        maximum=LONG_MAX >> 10,
        type=ConfigType.LONG,
        doc="Bound of what is fetched ahead, as in librdkafka.",
    )

    def _checked(self, given: frozenset[str]) -> Self:
        config = super(ConsumerConfig, self)._checked(given)
        if config.heartbeat_interval_ms >= config.session_timeout_ms:
            raise InvalidConfig(
                f"heartbeat.interval.ms={config.heartbeat_interval_ms} must be below "
                f"session.timeout.ms={config.session_timeout_ms}, best a third of it"
            )
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareConsumerConfig(FetchConfig):
    """Settings of a ShareConsumer (KIP-932)."""

    share_acknowledgement_mode: str = key(
        "share.acknowledgement.mode",
        default="implicit",
        valid=("implicit", "explicit"),
        doc="Whether the next poll accepts what was polled, or each record is acknowledged.",
    )
    share_acquire_mode: str = key(
        "share.acquire.mode",
        default="batch_optimized",
        valid=("batch_optimized", "record_limit"),
        doc="Whether max.poll.records is a hint for whole batches or a strict bound.",
    )


# --- names and values as users give them ------------------------------------------------------------------------------


def addresses(servers: tuple[str, ...]) -> list[tuple[str, int]]:
    """(host, port) of each of `bootstrap.servers`. Raises InvalidConfig for what is none."""
    found = []
    for server in servers:
        text = server.rpartition("://")[2]
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise InvalidConfig(f"Invalid url in bootstrap.servers: {server!r}; expected host:port")
        found.append((host.strip("[]"), int(port)))
    if not found:
        raise InvalidConfig("No resolvable bootstrap urls given in bootstrap.servers; expected host:port,host:port")
    return found


def texts_of(definition: ConfigDefinition[Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings under their dotted names, as text; what is None is left at its default."""
    fields = {config_key.field_name: name for name, config_key in definition.keys.items()}
    texts: dict[str, str] = {}
    for given, value in settings.items():
        name = given if given in definition.keys else fields.get(given)
        if name is None:
            raise InvalidConfig(_unknown(definition, given))
        if name in texts:
            raise InvalidConfig(f"{name} is set twice, as {given} too")
        if value is not None:
            texts[name] = _text(value)
    return texts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value)


def _unknown(definition: ConfigDefinition[Any], given: str) -> str:
    dotted = given.replace("_", ".")
    if dotted.startswith(SECURITY_PREFIXES):
        return f"{given}: {NOT_WIRED}"
    if dotted in JAVA_ONLY:
        return f"{given} is a setting of Java's client: {JAVA_ONLY[dotted]}"
    kind = definition.config_class.__name__.removesuffix("Config")
    for other in (ProducerConfig, ConsumerConfig, ShareConsumerConfig, AdminConfig):
        if dotted in definition_of(other).keys:
            return f"{given} is a setting of {other.__name__.removesuffix('Config')}, not of {kind}"
    near = difflib.get_close_matches(dotted, definition.keys, n=1, cutoff=0.6)
    return f"{kind} has no setting {given}{f'; did you mean {near[0]}?' if near else ''}"


def _reset_complaint(value: str) -> str | None:
    if value in ("earliest", "latest", "none") or value.startswith("by_duration:P"):
        return None
    return "Expected earliest, latest, none or by_duration:<ISO 8601 duration>"
