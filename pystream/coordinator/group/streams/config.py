"""Settings of streams groups that no single group changes, under the names and with the defaults of Kafka 4.2."""

from __future__ import annotations

from dataclasses import dataclass

from pystream.common.config import INT_MAX, key


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsGroupConfig:
    """What StreamsGroupHeartbeat goes by."""

    max_size: int = key(
        "group.streams.max.size",
        default=INT_MAX,
        minimum=1,
        doc="The maximum number of streams clients that a single streams group can accommodate.",
    )
