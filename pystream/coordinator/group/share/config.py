"""Settings of share groups, under Kafka's names and with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from pystream.common.clock import SECOND_MS
from pystream.common.config import key

SIMPLE = "simple"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareGroupConfig:
    """What ShareGroupHeartbeat goes by. What a single group may set for itself is in `coordinator.group_settings`."""

    max_size: int = key(
        "group.share.max.size", default=200, minimum=1, maximum=1_000, doc="Members that one share group may have."
    )
    assignors: tuple[str, ...] = key(
        "group.share.assignors",
        default=(SIMPLE,),
        valid=(SIMPLE,),
        doc="The assignors of share groups; the first is used.",
    )
    initialize_retry_interval_ms: int = key(
        "group.share.initialize.retry.interval.ms",
        default=30 * SECOND_MS,
        minimum=1,
        doc="After so long the state of a share partition is initialised again, when it was never heard to be.",
    )
