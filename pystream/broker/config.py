"""The broker's settings, under the names and with the defaults of Kafka 4.2's server.properties.

The cluster-wide defaults of topic settings (log.retention.ms, log.segment.bytes, message.max.bytes, ...) are not
here: `storage.config.LogConfig` declares each topic key with its broker-wide synonyms; `broker_keys()` lists both.
Own keys that Kafka does not have: metrics.listener, log.flush.policy (a synonym in LogConfig), log.format, log.level,
log.dir.*, log.scrub.*, metadata.backup.interval.ms, log.flush.gather.ms, log.open.segment.files, frame.*,
control.queue.max.bytes, listeners.public.allow, max.inflight.requests.per.connection, max.partitions,
shutdown.drain.ms. Other defaults than Kafka's: node.id is 1, listeners bind the loopback address, num.network.threads
follows the cores, socket.*.buffer.bytes are the system's, log.dirs has none.
Keys that are not known are kept, warned about, and have no effect, as in Kafka; what asks for another server than this
one is (see check_role) is refused.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pystream.broker.listeners import Listener, check_metrics_listener, parse_listeners
from pystream.common.clock import DAY_MS, MINUTE_MS, SECOND_MS
from pystream.common.config import INT_MAX, LONG_MAX, ConfigKey, ConfigSource, ConfigType, Layer, definition_of, key
from pystream.common.errors import InvalidConfig
from pystream.controller.config import ControllerConfig
from pystream.coordinator.config import CoordinatorConfig
from pystream.coordinator.group.parts import GroupConfigs
from pystream.coordinator.group_settings import GroupBounds, GroupSettings, check_broker
from pystream.coordinator.share.config import SharePartitionConfig, ShareStateConfig
from pystream.coordinator.transaction.config import TransactionConfig
from pystream.storage.config import CleanerConfig, LogConfig, StorageConfig, check_defaults

MIB = 1 << 20
PROTOCOL_MAP = ("PLAINTEXT:PLAINTEXT", "SSL:SSL", "SASL_PLAINTEXT:SASL_PLAINTEXT", "SASL_SSL:SASL_SSL")
AUTHORIZER = "authorizer.class.name"
CONTROLLERS = ("controller.quorum.voters", "controller.quorum.bootstrap.servers")
# Keys of a KRaft server.properties that mean nothing to a broker that keeps its metadata in a store: no warning.
SILENTLY_ACCEPTED = frozenset(
    {
        "broker.id",
        *CONTROLLERS,
        "process.roles",
    }
)


# Keys that the data plane takes as they are.
PLANE_LIMITS = (
    "socket.request.max.bytes",
    "max.inflight.requests.per.connection",
    "max.connections",
    "max.connections.per.ip",
    "connections.max.idle.ms",
    "frame.timeout.ms",
    "frame.min.bytes.per.second",
    "queued.max.request.bytes",
    "control.queue.max.bytes",
    "fetch.max.bytes",
    "max.incremental.fetch.session.cache.slots",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.listen.backlog.size",
)
LISTENER_KEYS = ("max.connection.creation.rate",)
MAXIMUM_NETWORK_THREADS = 63  # a partition has a bit for each
CGROUP_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or its control group's where that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in CGROUP_MEMORY_LIMITS:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return min(machine, int(text))
    return machine


def default_network_threads() -> int:
    """One event loop for two cores."""
    return min(max(1, len(os.sched_getaffinity(0)) // 2), MAXIMUM_NETWORK_THREADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """Everything a broker is started with. `settings` is what the operator wrote, unparsed."""

    # identity
    node_id: int = key(
        "node.id", default=1, minimum=0, doc="This node's id, unique in the cluster; broker.id is taken for it."
    )
    cluster_id: str | None = key("cluster.id", default=None, doc="Id of a new cluster; null makes one up.")
    broker_rack: str | None = key("broker.rack", default=None, doc="Where this broker stands, for spreading replicas.")

    # listeners
    listeners: tuple[str, ...] = key(
        "listeners",
        default=("PLAINTEXT://127.0.0.1:9092",),
        doc="Where to listen: NAME://HOST:PORT, several by comma. Port 0 takes a free one.",
    )
    advertised_listeners: tuple[str, ...] | None = key(
        "advertised.listeners",
        default=None,
        doc="What clients are told to connect to, by listener; null: the listeners.",
    )
    listener_security_protocol_map: tuple[str, ...] = key(
        "listener.security.protocol.map",
        default=PROTOCOL_MAP,
        doc="Security protocol of each listener name, NAME:PROTOCOL.",
    )
    controller_listener_names: tuple[str, ...] = key(
        "controller.listener.names",
        default=(),
        doc="Listeners of this list are not opened: there is no controller listener.",
    )
    inter_broker_listener_name: str | None = key(
        "inter.broker.listener.name", default=None, doc="Listener that other brokers use; null: the first."
    )
    listeners_public_allow: bool = key(
        "listeners.public.allow",
        default=False,
        doc="Whether a listener without authentication may be open to other machines.",
    )
    metrics_listener: str = key(
        "metrics.listener",
        default="http://127.0.0.1:9404",
        check=check_metrics_listener,
        doc="Where /metrics and /health are served: http://HOST:PORT. Empty: nowhere.",
    )

    # network
    num_network_threads: int = key(
        "num.network.threads",
        default=default_network_threads(),
        minimum=1,
        maximum=MAXIMUM_NETWORK_THREADS,
        dynamic=True,
        doc="Event loops. Default: one for two cores.",
    )
    num_io_threads: int = key(
        "num.io.threads",
        default=8,
        minimum=1,
        dynamic=True,
        doc="Threads for requests that wait for the disk; made when needed.",
    )
    socket_request_max_bytes: int = key(
        "socket.request.max.bytes", default=100 * MIB, minimum=1, doc="A request above this size closes its connection."
    )
    queued_max_request_bytes: int = key(
        "queued.max.request.bytes",
        default=-1,
        type=ConfigType.LONG,
        doc="Memory for requests being received; beyond it sockets are not read. -1: a quarter of the machine's.",
    )
    max_inflight_requests_per_connection: int = key(
        "max.inflight.requests.per.connection",
        default=64,
        minimum=1,
        doc="Requests in flight on one connection; then it is not read.",
    )
    frame_timeout_ms: int = key(
        "frame.timeout.ms",
        default=30 * SECOND_MS,
        minimum=1,
        doc="A request that has begun to arrive must be whole by then.",
    )
    frame_min_bytes_per_second: int = key(
        "frame.min.bytes.per.second", default=1024, minimum=0, doc="A request that arrives more slowly is given up."
    )
    control_queue_max_bytes: int = key(
        "control.queue.max.bytes",
        default=256 * MIB,
        type=ConfigType.LONG,
        minimum=MIB,
        doc="Requests waiting for the control plane; beyond it their connections wait.",
    )
    socket_receive_buffer_bytes: int = key(
        "socket.receive.buffer.bytes", default=-1, minimum=-1, doc="SO_RCVBUF of connections; -1: the system's default."
    )
    socket_send_buffer_bytes: int = key(
        "socket.send.buffer.bytes", default=-1, minimum=-1, doc="SO_SNDBUF of connections; -1: the system's default."
    )
    socket_listen_backlog_size: int = key(
        "socket.listen.backlog.size", default=1024, minimum=1, doc="Connections that wait to be accepted."
    )
    max_connections: int = key(
        "max.connections", default=INT_MAX, minimum=0, dynamic=True, doc="Connections of all listeners."
    )
    max_connections_per_ip: int = key(
        "max.connections.per.ip", default=INT_MAX, minimum=0, dynamic=True, doc="Connections of one address."
    )
    max_connection_creation_rate: int = key(
        "max.connection.creation.rate",
        default=INT_MAX,
        minimum=1,
        dynamic=True,
        doc="New connections a second, of all listeners; of one: listener.name.NAME.max.connection.creation.rate.",
    )
    connections_max_idle_ms: int = key(
        "connections.max.idle.ms",
        default=10 * MINUTE_MS,
        type=ConfigType.LONG,
        doc="Idle connections are closed after this time.",
    )
    request_timeout_ms: int = key(
        "request.timeout.ms",
        default=30 * SECOND_MS,
        minimum=1,
        doc="How long a request that names no time-out may take.",
    )
    fetch_max_bytes: int = key(
        "fetch.max.bytes", default=55 * MIB, minimum=1024, doc="Upper bound of one fetch response."
    )
    max_incremental_fetch_session_cache_slots: int = key(
        "max.incremental.fetch.session.cache.slots", default=1000, minimum=0, doc="Fetch sessions kept (KIP-227)."
    )
    max_request_partition_size_limit: int = key(
        "max.request.partition.size.limit",
        default=2000,
        minimum=1,
        doc="Upper bound of partitions in one DescribeTopicPartitions response.",
    )

    # topics
    auto_create_topics_enable: bool = key(
        "auto.create.topics.enable", default=True, doc="Whether asking for a topic that does not exist creates it."
    )

    # logs
    log_dirs: tuple[str, ...] | None = key(
        "log.dirs",
        default=None,
        synonyms=("log.dirs", "log.dir"),
        doc="Directories of the logs; the first also holds the metadata. Required.",
    )
    metadata_backup_interval_ms: int = key(
        "metadata.backup.interval.ms",
        default=DAY_MS,
        type=ConfigType.LONG,
        minimum=-1,
        doc="How often the embedded metadata store is copied beside itself, two copies being kept; -1: never.",
    )
    log_retention_check_interval_ms: int = key(
        "log.retention.check.interval.ms",
        default=5 * MINUTE_MS,
        type=ConfigType.LONG,
        minimum=1,
        doc="How often logs are looked over for segments to delete.",
    )
    log_initial_task_delay_ms: int = key(
        "log.initial.task.delay.ms",
        default=30 * SECOND_MS,
        type=ConfigType.LONG,
        minimum=0,
        doc="Wait before the first such look.",
    )
    log_flush_scheduler_interval_ms: int = key(
        "log.flush.scheduler.interval.ms",
        default=LONG_MAX,
        type=ConfigType.LONG,
        doc="How often logs are looked over for data to flush; at the largest value: every second.",
    )
    log_flush_offset_checkpoint_interval_ms: int = key(
        "log.flush.offset.checkpoint.interval.ms",
        default=MINUTE_MS,
        minimum=1,
        doc="How often the recovery points are written.",
    )
    num_recovery_threads_per_data_dir: int = key(
        "num.recovery.threads.per.data.dir",
        default=2,
        minimum=1,
        dynamic=True,
        doc="Threads for recovery at start and for closing at the end, per directory.",
    )
    num_replica_alter_log_dirs_threads: int | None = key(
        "num.replica.alter.log.dirs.threads",
        default=None,
        minimum=1,
        doc="Replicas that move between log directories at one time; null: as many as there are directories.",
    )
    replica_alter_log_dirs_io_max_bytes_per_second: int = key(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        default=LONG_MAX,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        doc="What all replicas that move between log directories may copy in a second, together.",
    )
    log_flush_gather_ms: float = key(
        "log.flush.gather.ms",
        default=5.0,
        minimum=0,
        doc="The longest that a round of group commit waits for more requests to share its fsync.",
    )
    log_dir_reserve_bytes: int = key(
        "log.dir.reserve.bytes",
        default=256 * MIB,
        type=ConfigType.LONG,
        minimum=0,
        doc="Space kept per directory for what must go on when its disk is full.",
    )
    log_scrub_interval_ms: int = key(
        "log.scrub.interval.ms",
        default=7 * DAY_MS,
        type=ConfigType.LONG,
        minimum=-1,
        doc="How often closed segments are read again in search of damage; -1: never.",
    )
    log_scrub_bytes_per_second: int = key(
        "log.scrub.bytes.per.second",
        default=8 * MIB,
        type=ConfigType.LONG,
        minimum=1,
        doc="The most that is read for it.",
    )
    log_dir_volatile_allow: bool = key(
        "log.dir.volatile.allow",
        default=False,
        doc="Whether logs may promise an fsync (flush policy group or write) on a file system that lies in memory.",
    )
    log_open_segment_files: int = key(
        "log.open.segment.files", default=4096, minimum=16, doc="Segment files kept open; others are opened when read."
    )
    producer_id_expiration_check_interval_ms: int = key(
        "producer.id.expiration.check.interval.ms",
        default=10 * MINUTE_MS,
        minimum=1,
        doc="How often forgotten producers are looked for.",
    )
    producer_id_expiration_ms: int = key(
        "producer.id.expiration.ms",
        default=DAY_MS,
        minimum=1,
        dynamic=True,
        doc="Idempotent producers silent for so long are forgotten.",
    )

    # quotas
    quota_window_num: int = key(
        "quota.window.num", default=11, minimum=1, doc="Samples over which a client's rate is looked at."
    )
    quota_window_size_seconds: int = key(
        "quota.window.size.seconds", default=1, minimum=1, doc="Length of one such sample."
    )

    controller_quota_window_num: int = key(
        "controller.quota.window.num", default=11, minimum=1, doc="Samples over which changes of topics are looked at."
    )
    controller_quota_window_size_seconds: int = key(
        "controller.quota.window.size.seconds", default=1, minimum=1, doc="Length of one such sample."
    )

    # telemetry
    client_telemetry_enable: bool = key(
        "client.telemetry.enable",
        default=True,
        doc="Whether clients may push their metrics (KIP-714), to be shown on /metrics.",
    )
    telemetry_max_bytes: int = key(
        "telemetry.max.bytes", default=1 << 20, minimum=1, doc="Largest push of metrics of one client."
    )

    # process
    controlled_shutdown_enable: bool = key(
        "controlled.shutdown.enable", default=True, doc="Whether SIGTERM answers what is in flight before the end."
    )
    shutdown_drain_ms: int = key(
        "shutdown.drain.ms",
        default=5 * SECOND_MS,
        minimum=0,
        doc="How long a controlled shutdown waits for requests in flight.",
    )
    log_level: str = key(
        "log.level",
        default="info",
        valid=("debug", "info", "warning", "error"),
        doc="Least level of what is written to standard error.",
    )
    log_format: str = key("log.format", default="auto", valid=("auto", "text", "json"), doc="Form of those lines.")

    controller: ControllerConfig = field(default_factory=ControllerConfig)
    coordinator: CoordinatorConfig = field(default_factory=CoordinatorConfig)
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> BrokerConfig:
        """Parse and check, cluster-wide topic settings too. Raises InvalidConfig for the first that is wrong."""
        settings = dict(settings)
        check_role(settings)
        if "broker.id" in settings:
            settings.setdefault("node.id", settings["broker.id"])
        layer = Layer(ConfigSource.STATIC_BROKER_CONFIG, settings)
        controller = definition_of(ControllerConfig).load(layer)
        coordinator = definition_of(CoordinatorConfig).load(layer)
        config = replace(
            definition_of(cls).load(layer), controller=controller, coordinator=coordinator, settings=settings
        )
        GroupConfigs.load(layer)
        shares = (SharePartitionConfig, ShareStateConfig)
        for each in (TransactionConfig, LogConfig, CleanerConfig, *shares):
            definition_of(each).load(layer)
        check_defaults(definition_of(LogConfig).load(layer))
        check_broker(definition_of(GroupSettings).load(layer), definition_of(GroupBounds).load(layer))
        if not config.log_dirs:
            raise InvalidConfig("no data directory: give --data-dir DIR, or set log.dirs")
        if not all(config.log_dirs):  # the empty name is the working directory: nobody means that
            raise InvalidConfig(f"log.dirs has an entry without a name: {','.join(config.log_dirs)!r}")
        if len(set(map(os.path.realpath, config.log_dirs))) < len(config.log_dirs):
            raise InvalidConfig(f"log.dirs names a directory twice: {', '.join(config.log_dirs)}")
        config.open_listeners()
        return config

    def open_listeners(self) -> tuple[Listener, ...]:
        """The listeners to open, with what clients are told. Raises InvalidConfig."""
        return parse_listeners(
            listeners=self.listeners,
            advertised=self.advertised_listeners,
            protocol_map=self.listener_security_protocol_map,
            left_out=self.controller_listener_names,
            public_allowed=self.listeners_public_allow,
        )

    def storage(self) -> StorageConfig:
        """The settings that all logs share."""
        return StorageConfig(
            log_dirs=self.log_dirs or (),
            node_id=self.node_id,
            recovery_threads=self.num_recovery_threads_per_data_dir,
            gather_ms=self.log_flush_gather_ms,
            reserve_bytes=self.log_dir_reserve_bytes,
            open_segment_files=self.log_open_segment_files,
            allow_volatile=self.log_dir_volatile_allow,
            producer_id_expiration_ms=self.producer_id_expiration_ms,
        )

    def cleaner(self) -> CleanerConfig:
        """What compaction goes by as the broker starts."""
        return definition_of(CleanerConfig).load(self.static_layer())

    def replica_alter_log_dirs_threads(self) -> int:
        """How many replicas move at one time."""
        return self.num_replica_alter_log_dirs_threads or max(len(self.log_dirs or ()), 1)

    def plane_limits(self) -> dict[str, int]:
        """The limits of the data plane, by their keys."""
        keys = definition_of(BrokerConfig).keys
        limits = {name: getattr(self, keys[name].field_name) for name in PLANE_LIMITS}
        if self.queued_max_request_bytes < 0:
            limits["queued.max.request.bytes"] = memory_bytes() // 4
        return limits

    def static_layer(self) -> Layer:
        """The operator's settings as the layer below every dynamic one."""
        return Layer(ConfigSource.STATIC_BROKER_CONFIG, self.settings)

    def listener_keys(self) -> dict[str, ConfigKey]:
        """What may be set for one listener: listener.name.NAME.KEY, the name in small letters."""
        keys = definition_of(BrokerConfig).keys
        names = [f"listener.name.{listener.name.lower()}." for listener in self.open_listeners()]
        return {prefix + name: replace(keys[name], name=prefix + name) for prefix in names for name in LISTENER_KEYS}

    def unknown_settings(self) -> list[str]:
        """Names in `settings` that no key has."""
        known = broker_keys().keys() | self.listener_keys().keys() | SILENTLY_ACCEPTED
        return sorted(name for name in self.settings if name not in known)


def check_role(settings: Mapping[str, str]) -> None:
    """Raises InvalidConfig for what asks for another server than this one is.

    A controller, one node of several, or a broker that asks an authorizer whom to let in: no matter for a warning.
    """
    broker_id, node_id = settings.get("broker.id"), settings.get("node.id")
    if broker_id is not None and node_id is not None and broker_id.strip() != node_id.strip():
        raise InvalidConfig(f"node.id={node_id} and broker.id={broker_id}: both name this node, and must be equal")
    roles = _items(settings, "process.roles")
    if roles and "broker" not in roles:
        raise InvalidConfig(f"process.roles={','.join(roles)}: this is a broker, there are no controllers beside it")
    for name in CONTROLLERS:
        if len(found := _items(settings, name)) > 1:
            raise InvalidConfig(
                f"{name} names {len(found)} controllers: clusters of more than one node are not available, "
                "and each node would be a cluster of its own; leave it out if that is meant"
            )
    if settings.get(AUTHORIZER, "").strip():
        raise InvalidConfig(
            f"{AUTHORIZER} is set, and ACLs are not available: everybody would be let in; leave it out if that is meant"
        )


def nearest_key(name: str) -> str | None:
    """What somebody may have meant who wrote a name that no key has."""
    if topic_key := definition_of(LogConfig).keys.get(name):
        return topic_key.synonyms[0].name if topic_key.synonyms else None
    near = difflib.get_close_matches(name, broker_keys(), n=3, cutoff=0.85)
    return next((key for key in near if _is_misspelt(name, key)), None)


def _is_misspelt(name: str, key: str) -> bool:
    """Word by word alike: `queued.max.requests` is a key of Kafka's own, and no slip for `queued.max.request.bytes`."""
    words, meant = re.split("[._-]", name), key.split(".")
    return len(words) == len(meant) and all(
        difflib.get_close_matches(word, [other], cutoff=0.6) for word, other in zip(words, meant, strict=True)
    )


def _items(settings: Mapping[str, str], name: str) -> list[str]:
    return [item.strip() for item in settings.get(name, "").split(",") if item.strip()]


def broker_keys() -> dict[str, ConfigKey]:
    """Every key of a broker by name: its own, and the cluster-wide synonyms of the keys of topics and groups."""
    own = (
        BrokerConfig,
        ControllerConfig,
        CoordinatorConfig,
        TransactionConfig,
        *GroupConfigs.kinds(),
        GroupBounds,
        CleanerConfig,
        SharePartitionConfig,
        ShareStateConfig,
    )
    keys = {name: config_key for each in own for name, config_key in definition_of(each).keys.items()}
    for config_key in list(keys.values()):
        for synonym in config_key.synonyms:
            keys.setdefault(
                synonym.name, replace(config_key, name=synonym.name, default=None, nullable=True, synonyms=())
            )
    for config_key in (*definition_of(LogConfig).broker_keys(), *definition_of(GroupSettings).broker_keys()):
        keys.setdefault(config_key.name, config_key)
    return keys
