"""Settings of classic groups and of committed offsets, under Kafka's names and with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from pystream.common.clock import DAY_MS, MINUTE_MS, SECOND_MS
from pystream.common.config import INT_MAX, ConfigType, key


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicGroupConfig:
    """What JoinGroup goes by."""

    min_session_timeout_ms: int = key(
        "group.min.session.timeout.ms",
        default=6 * SECOND_MS,
        doc="The shortest session time-out that a member may ask for.",
    )
    max_session_timeout_ms: int = key(
        "group.max.session.timeout.ms",
        default=30 * MINUTE_MS,
        doc="The longest session time-out that a member may ask for.",
    )
    initial_rebalance_delay_ms: int = key(
        "group.initial.rebalance.delay.ms",
        default=3 * SECOND_MS,
        doc="How long an empty group waits for more members before its first rebalance.",
    )
    max_size: int = key("group.max.size", default=INT_MAX, minimum=1, doc="Members that one group may have.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetsConfig:
    """How committed offsets are kept."""

    metadata_max_bytes: int = key(
        "offset.metadata.max.bytes", default=4096, doc="The longest metadata that may go with a committed offset."
    )
    retention_minutes: int = key(
        "offsets.retention.minutes",
        default=7 * DAY_MS // MINUTE_MS,
        minimum=1,
        doc="Offsets are forgotten when their group has been empty, or nothing was committed, for so long.",
    )
    retention_check_interval_ms: int = key(
        "offsets.retention.check.interval.ms",
        default=10 * MINUTE_MS,
        type=ConfigType.LONG,
        minimum=1,
        doc="How often offsets are looked over for some to forget.",
    )

    @property
    def retention_ms(self) -> int:
        return self.retention_minutes * MINUTE_MS
