"""Settings of a log: every topic key of Kafka 4.2 with its broker-wide synonyms, and `flush.policy`, our own.

A topic's own settings use the short names; a broker gives the default of all its topics under the synonyms:

    topic     retention.ms=60000
    broker    log.retention.ms > log.retention.minutes > log.retention.hours=168
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pystream.common.clock import DAY_MS, HOUR_MS, MINUTE_MS
from pystream.common.config import INT_MAX, LONG_MAX, ConfigType, Synonym, key
from pystream.common.errors import InvalidConfig

MIB = 1 << 20
UNLIMITED = -1
FOLLOWS_RETENTION = -2  # local.retention.*: as retention.*
COMPACT, DELETE = "compact", "delete"
GROUP, OS, INTERVAL, WRITE = "group", "os", "interval", "write"
_THROTTLED = re.compile(r"[0-9]+:[0-9]+")


def _throttled_replicas(name: str) -> Callable[[tuple[str, ...]], str | None]:
    """Of a list of PARTITION:BROKER pairs, or `*` alone: the complaint, None when there is none."""

    def complaint(value: tuple[str, ...]) -> str | None:
        if value in ((), ("*",)) or all(_THROTTLED.fullmatch(item.strip()) for item in value):
            return None
        form = "[partitionId]:[brokerId]"
        return f"{name} must be the literal '*' or a list of replicas in the following format: {form},{form},..."

    return complaint


def _gzip_level(value: int) -> str | None:
    return None if value == -1 or 1 <= value <= 9 else "Value must be between 1 and 9 or equal to -1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What one partition's log goes by. Fields in the order of their keys' names."""

    cleanup_policy: tuple[str, ...] = key(
        "cleanup.policy",
        default=(DELETE,),
        valid=(COMPACT, DELETE),
        dynamic=True,
        synonyms=("log.cleanup.policy",),
        doc="Old segments are deleted (delete), or rid of records with a newer value of their key (compact), or both.",
    )
    compression_gzip_level: int = key(
        "compression.gzip.level",
        default=-1,
        check=_gzip_level,
        dynamic=True,
        synonyms=("compression.gzip.level",),
        doc="Level when compression.type is gzip; -1 is gzip's own default.",
    )
    compression_lz4_level: int = key(
        "compression.lz4.level",
        default=9,
        minimum=1,
        maximum=17,
        dynamic=True,
        synonyms=("compression.lz4.level",),
        doc="Level when compression.type is lz4.",
    )
    compression_type: str = key(
        "compression.type",
        default="producer",
        valid=("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
        dynamic=True,
        synonyms=("compression.type",),
        doc="Codec of the records in the log; producer keeps whatever a producer has chosen.",
    )
    compression_zstd_level: int = key(
        "compression.zstd.level",
        default=3,
        minimum=-131_072,
        maximum=22,
        dynamic=True,
        synonyms=("compression.zstd.level",),
        doc="Level when compression.type is zstd.",
    )
    delete_retention_ms: int = key(
        "delete.retention.ms",
        default=DAY_MS,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        synonyms=("log.cleaner.delete.retention.ms",),
        doc="How long compaction keeps the mark that a key was deleted.",
    )
    file_delete_delay_ms: int = key(
        "file.delete.delay.ms",
        default=MINUTE_MS,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        synonyms=("log.segment.delete.delay.ms",),
        doc="Wait between leaving a file out of the log and removing it from the disk.",
    )
    flush_messages: int = key(
        "flush.messages",
        default=LONG_MAX,
        type=ConfigType.LONG,
        minimum=1,
        dynamic=True,
        synonyms=("log.flush.interval.messages",),
        doc="Under flush.policy=interval: fsync once so many records wait for it.",
    )
    flush_ms: int = key(
        "flush.ms",
        default=LONG_MAX,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        synonyms=("log.flush.interval.ms",),
        doc="Under flush.policy=interval: fsync once a record has waited so long for it.",
    )
    flush_policy: str = key(
        "flush.policy",
        default=GROUP,
        valid=(GROUP, OS, INTERVAL, WRITE),
        dynamic=True,
        synonyms=("log.flush.policy",),
        doc="When a record counts as safe: after a shared fsync (group), in the page cache (os), as os with an fsync "
        "every flush.ms or flush.messages (interval), after an fsync of its own (write).",
    )
    follower_replication_throttled_replicas: tuple[str, ...] = key(
        "follower.replication.throttled.replicas",
        default=(),
        check=_throttled_replicas("follower.replication.throttled.replicas"),
        dynamic=True,
        doc="Replicas, PARTITION:BROKER, whose copying is throttled on the follower's side; * for all.",
    )
    index_interval_bytes: int = key(
        "index.interval.bytes",
        default=4096,
        minimum=0,
        dynamic=True,
        synonyms=("log.index.interval.bytes",),
        doc="Bytes of log between two entries of the offset index.",
    )
    leader_replication_throttled_replicas: tuple[str, ...] = key(
        "leader.replication.throttled.replicas",
        default=(),
        check=_throttled_replicas("leader.replication.throttled.replicas"),
        dynamic=True,
        doc="Replicas, PARTITION:BROKER, whose copying is throttled on the leader's side; * for all.",
    )
    local_retention_bytes: int = key(
        "local.retention.bytes",
        default=FOLLOWS_RETENTION,
        type=ConfigType.LONG,
        minimum=FOLLOWS_RETENTION,
        dynamic=True,
        synonyms=("log.local.retention.bytes",),
        doc="Bytes kept on the local disk when older segments lie in remote storage; -2 follows retention.bytes.",
    )
    local_retention_ms: int = key(
        "local.retention.ms",
        default=FOLLOWS_RETENTION,
        type=ConfigType.LONG,
        minimum=FOLLOWS_RETENTION,
        dynamic=True,
        synonyms=("log.local.retention.ms",),
        doc="Time kept on the local disk when older segments lie in remote storage; -2 follows retention.ms.",
    )
    max_compaction_lag_ms: int = key(
        "max.compaction.lag.ms",
        default=LONG_MAX,
        type=ConfigType.LONG,
        minimum=1,
        dynamic=True,
        synonyms=("log.cleaner.max.compaction.lag.ms",),
        doc="The longest that a record may wait for compaction.",
    )
    max_message_bytes: int = key(
        "max.message.bytes",
        default=MIB + 12,
        minimum=0,
        dynamic=True,
        synonyms=("message.max.bytes",),
        doc="The largest record batch taken, after compression.",
    )
    message_timestamp_after_max_ms: int = key(
        "message.timestamp.after.max.ms",
        default=HOUR_MS,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        synonyms=("log.message.timestamp.after.max.ms",),
        doc="How far a record's time may lie after the broker's; with LogAppendTime ignored.",
    )
    message_timestamp_before_max_ms: int = key(
        "message.timestamp.before.max.ms",
        default=LONG_MAX,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        synonyms=("log.message.timestamp.before.max.ms",),
        doc="How far a record's time may lie before the broker's; with LogAppendTime ignored.",
    )
    message_timestamp_type: str = key(
        "message.timestamp.type",
        default="CreateTime",
        valid=("CreateTime", "LogAppendTime"),
        dynamic=True,
        synonyms=("log.message.timestamp.type",),
        doc="Whether records keep the producer's time or get the broker's.",
    )
    min_cleanable_dirty_ratio: float = key(
        "min.cleanable.dirty.ratio",
        default=0.5,
        minimum=0,
        maximum=1,
        dynamic=True,
        synonyms=("log.cleaner.min.cleanable.ratio",),
        doc="The part of a log that must be uncompacted before compaction is worth it.",
    )
    min_compaction_lag_ms: int = key(
        "min.compaction.lag.ms",
        default=0,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        synonyms=("log.cleaner.min.compaction.lag.ms",),
        doc="The shortest that a record stays uncompacted.",
    )
    min_insync_replicas: int = key(
        "min.insync.replicas",
        default=1,
        minimum=1,
        dynamic=True,
        synonyms=("min.insync.replicas",),
        doc="Replicas in sync without which acks=all is refused; more than a partition has count as all of them.",
    )
    preallocate: bool = key(
        "preallocate",
        default=False,
        dynamic=True,
        synonyms=("log.preallocate",),
        doc="Whether a new segment's space is reserved on the disk at once.",
    )
    remote_log_copy_disable: bool = key(
        "remote.log.copy.disable",
        default=False,
        dynamic=True,
        doc="Whether nothing more is copied to remote storage, what is there staying readable.",
    )
    remote_log_delete_on_disable: bool = key(
        "remote.log.delete.on.disable",
        default=False,
        dynamic=True,
        doc="Whether what lies in remote storage is deleted when remote storage is switched off.",
    )
    remote_storage_enable: bool = key(
        "remote.storage.enable",
        default=False,
        dynamic=True,
        doc="Whether older segments are copied to remote storage.",
    )
    retention_bytes: int = key(
        "retention.bytes",
        default=UNLIMITED,
        type=ConfigType.LONG,
        dynamic=True,
        synonyms=("log.retention.bytes",),
        doc="Above this size a partition loses its oldest segments; -1: no bound.",
    )
    retention_ms: int = key(
        "retention.ms",
        default=7 * DAY_MS,
        type=ConfigType.LONG,
        minimum=UNLIMITED,
        dynamic=True,
        synonyms=(
            Synonym("log.retention.ms"),
            Synonym("log.retention.minutes", scale=MINUTE_MS),
            Synonym("log.retention.hours", scale=HOUR_MS, default=168),
        ),
        doc="Segments whose newest record is older than this are deleted; -1: never.",
    )
    segment_bytes: int = key(
        "segment.bytes",
        default=1024 * MIB,
        minimum=MIB,
        maximum=INT_MAX,
        dynamic=True,
        synonyms=("log.segment.bytes",),
        doc="A segment rolls at this size.",
    )
    segment_index_bytes: int = key(
        "segment.index.bytes",
        default=10 * MIB,
        minimum=4,
        dynamic=True,
        synonyms=("log.index.size.max.bytes",),
        doc="Upper bound of an index file; a segment rolls when its index is full.",
    )
    segment_jitter_ms: int = key(
        "segment.jitter.ms",
        default=0,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        synonyms=(Synonym("log.roll.jitter.ms"), Synonym("log.roll.jitter.hours", scale=HOUR_MS, default=0)),
        doc="The most by which segment.ms is shortened at random, so that not all segments roll at once.",
    )
    segment_ms: int = key(
        "segment.ms",
        default=7 * DAY_MS,
        type=ConfigType.LONG,
        minimum=1,
        dynamic=True,
        synonyms=(Synonym("log.roll.ms"), Synonym("log.roll.hours", scale=HOUR_MS, default=168)),
        doc="A segment rolls at this age, full or not.",
    )
    unclean_leader_election_enable: bool = key(
        "unclean.leader.election.enable",
        default=False,
        dynamic=True,
        synonyms=("unclean.leader.election.enable",),
        doc="Whether a replica that is behind may lead when no other is left, losing records.",
    )


def check_topic(config: LogConfig) -> None:
    """Raises InvalidConfig for settings that contradict one another, or ask for what there is not."""
    least, most = config.min_compaction_lag_ms, config.max_compaction_lag_ms
    if least > most:
        raise InvalidConfig(
            f"conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        )
    if config.remote_storage_enable:
        raise InvalidConfig(
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage."
        )


def check_defaults(config: LogConfig) -> None:
    """Raises InvalidConfig for what a broker may not set for all its topics."""
    if config.retention_ms == 0:
        raise InvalidConfig("log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
    check_topic(config)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanerConfig:
    """What compaction goes by on one broker; when a log is due, its topic's own settings say."""

    enable: bool = key("log.cleaner.enable", default=True, doc="Whether compacted topics are compacted.")
    threads: int = key(
        "log.cleaner.threads", default=1, minimum=0, maximum=256, dynamic=True, doc="Threads that compact."
    )
    io_max_bytes_per_second: float = key(
        "log.cleaner.io.max.bytes.per.second",
        default=1.7976931348623157e308,
        dynamic=True,
        doc="The most that compaction reads and writes, all threads together.",
    )
    dedupe_buffer_size: int = key(
        "log.cleaner.dedupe.buffer.size",
        default=128 * MIB,
        type=ConfigType.LONG,
        minimum=MIB,
        dynamic=True,
        doc="Memory for the keys of the logs being compacted, all threads together; 24 bytes a key.",
    )
    io_buffer_size: int = key(
        "log.cleaner.io.buffer.size",
        default=512 << 10,
        minimum=1 << 10,
        dynamic=True,
        doc="Memory for reading and writing, all threads together; a larger batch takes more while it is read.",
    )
    io_buffer_load_factor: float = key(
        "log.cleaner.io.buffer.load.factor",
        default=0.9,
        minimum=0.01,
        maximum=1,
        dynamic=True,
        doc="How full the memory for keys gets: fuller takes more keys in one round, and more time for each.",
    )
    backoff_ms: int = key(
        "log.cleaner.backoff.ms",
        default=15_000,
        type=ConfigType.LONG,
        minimum=0,
        dynamic=True,
        doc="Wait when no log is due.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """What all logs of a broker share; the broker fills it from its own keys."""

    log_dirs: tuple[str, ...]
    node_id: int = 1
    recovery_threads: int = 2  # per directory
    gather_ms: float = 5  # the longest that a round of group commit waits for more requests
    reserve_bytes: int = 256 * MIB  # kept per directory for what must go on when the disk is full
    open_segment_files: int = 4_096
    allow_volatile: bool = True  # logs that promise an fsync, on a file system in memory; the broker's default is no
    producer_id_expiration_ms: int = DAY_MS


def native_options(config: LogConfig, *, jitter_ms: int = 0) -> dict[str, int | str | bool | None]:
    """The settings that the native log goes by; `jitter_ms` is this log's own part of segment.jitter.ms.

    What may wait for compaction only so long must not wait in the active segment, which is never compacted.
    """
    compacts = COMPACT in config.cleanup_policy
    return {
        "segment_bytes": config.segment_bytes,
        "segment_ms": min(config.segment_ms, config.max_compaction_lag_ms) if compacts else config.segment_ms,
        "segment_jitter_ms": jitter_ms,
        "index_interval_bytes": config.index_interval_bytes,
        "segment_index_bytes": config.segment_index_bytes,
        "max_message_bytes": config.max_message_bytes,
        "log_append_time": config.message_timestamp_type == "LogAppendTime",
        "require_keys": compacts,
        "codec": config.compression_type,
        "codec_level": {
            "gzip": None if config.compression_gzip_level == -1 else config.compression_gzip_level,
            "lz4": config.compression_lz4_level,
            "zstd": config.compression_zstd_level,
        }.get(config.compression_type),
        "timestamp_before_max_ms": config.message_timestamp_before_max_ms,
        "timestamp_after_max_ms": config.message_timestamp_after_max_ms,
        "preallocate": config.preallocate,
        "flush_policy": config.flush_policy,
    }
