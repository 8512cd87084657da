"""Settings of share partitions and of the coordinator that stores their state, under Kafka's names and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from pystream.common.clock import MINUTE_MS
from pystream.common.config import key


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePartitionConfig:
    """How records are given out. What a single group may set for itself is in `coordinator.group_settings`."""

    partition_max_record_locks: int = key(
        "group.share.partition.max.record.locks",
        default=2_000,
        minimum=100,
        maximum=10_000,
        doc="Records of one share partition that may be in flight.",
    )
    delivery_count_limit: int = key(
        "group.share.delivery.count.limit",
        default=5,
        minimum=2,
        maximum=10,
        doc="How often a record is delivered before it is given up.",
    )
    max_share_sessions: int = key(
        "group.share.max.share.sessions", default=2_000, minimum=1, doc="Share sessions that this broker keeps at most."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareStateConfig:
    """How the state of share partitions is stored; its topic is in `coordinator.config`."""

    update_records_per_snapshot: int = key(
        "share.coordinator.snapshot.update.records.per.snapshot",
        default=500,
        minimum=0,
        maximum=500,
        doc="After so many updates of a share partition all of its state is written.",
    )
    prune_interval_ms: int = key(
        "share.coordinator.state.topic.prune.interval.ms",
        default=5 * MINUTE_MS,
        minimum=1,
        doc="How often records of __share_group_state that nothing needs any more are deleted.",
    )
