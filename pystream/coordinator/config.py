"""Settings of the coordinators' topics, under Kafka's names and with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from pystream.common.clock import SECOND_MS
from pystream.common.config import ConfigType, key

SEGMENT_BYTES = 100 << 20
REBALANCE_PROTOCOLS = ("classic", "consumer", "streams", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorConfig:
    """How the topics are made when they are first needed, and how long a write to them may take.

    Numbers of replicas are upper bounds: a cluster with fewer brokers gets one replica on each.
    """

    rebalance_protocols: tuple[str, ...] = key(
        "group.coordinator.rebalance.protocols",
        default=REBALANCE_PROTOCOLS[:3],
        valid=REBALANCE_PROTOCOLS,
        doc="Protocols that groups may use; share groups go by the feature share.version.",
    )
    offsets_topic_num_partitions: int = key(
        "offsets.topic.num.partitions", default=50, minimum=1, doc="Partitions of the topic of committed offsets."
    )
    offsets_topic_replication_factor: int = key(
        "offsets.topic.replication.factor",
        default=3,
        type=ConfigType.SHORT,
        minimum=1,
        doc="Replicas of that topic, at most one per broker.",
    )
    offsets_topic_segment_bytes: int = key(
        "offsets.topic.segment.bytes", default=SEGMENT_BYTES, minimum=1, doc="Segment size of that topic."
    )
    offsets_topic_compression_codec: int = key(
        "offsets.topic.compression.codec",
        default=0,
        minimum=0,
        maximum=4,
        doc="How batches of that topic are compressed: 0 not at all, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
    )
    offsets_commit_timeout_ms: int = key(
        "offsets.commit.timeout.ms",
        default=5 * SECOND_MS,
        minimum=1,
        doc="How long what a group coordinator writes may take to be committed.",
    )
    transaction_state_log_num_partitions: int = key(
        "transaction.state.log.num.partitions",
        default=50,
        minimum=1,
        doc="Partitions of the topic of transactions.",
    )
    transaction_state_log_replication_factor: int = key(
        "transaction.state.log.replication.factor",
        default=3,
        type=ConfigType.SHORT,
        minimum=1,
        doc="Replicas of that topic, at most one per broker.",
    )
    transaction_state_log_min_isr: int = key(
        "transaction.state.log.min.isr",
        default=2,
        minimum=1,
        doc="In-sync replicas of that topic without which it takes no writes, at most as many as it has.",
    )
    transaction_state_log_segment_bytes: int = key(
        "transaction.state.log.segment.bytes", default=SEGMENT_BYTES, minimum=1, doc="Segment size of that topic."
    )
    share_state_topic_num_partitions: int = key(
        "share.coordinator.state.topic.num.partitions",
        default=50,
        minimum=1,
        doc="Partitions of the topic of share groups' state.",
    )
    share_state_topic_replication_factor: int = key(
        "share.coordinator.state.topic.replication.factor",
        default=3,
        type=ConfigType.SHORT,
        minimum=1,
        doc="Replicas of that topic, at most one per broker.",
    )
    share_state_topic_min_isr: int = key(
        "share.coordinator.state.topic.min.isr",
        default=2,
        type=ConfigType.SHORT,
        minimum=1,
        doc="In-sync replicas of that topic without which it takes no writes, at most as many as it has.",
    )
    share_state_topic_segment_bytes: int = key(
        "share.coordinator.state.topic.segment.bytes",
        default=SEGMENT_BYTES,
        minimum=1,
        doc="Segment size of that topic.",
    )
    share_state_topic_compression_codec: int = key(
        "share.coordinator.state.topic.compression.codec",
        default=0,
        minimum=0,
        maximum=4,
        doc="How batches of that topic are compressed: 0 not at all, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
    )
    share_write_timeout_ms: int = key(
        "share.coordinator.write.timeout.ms",
        default=5 * SECOND_MS,
        minimum=1,
        doc="How long what a share coordinator writes may take to be committed.",
    )
