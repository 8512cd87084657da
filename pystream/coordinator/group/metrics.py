"""What the coordinator of groups counts, over all its shards. Source: Kafka's GroupCoordinatorMetrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from pystream.coordinator.group.group import GroupKind


@dataclass(slots=True)
class GroupMetrics:
    """Since the start. A rebalance is complete in a classic group; in others it begins, with a new group epoch."""

    offset_commits: int = 0
    offset_expirations: int = 0
    offset_deletions: int = 0  # by OffsetDelete
    rebalances: dict[GroupKind, int] = field(default_factory=lambda: dict.fromkeys(GroupKind, 0))
