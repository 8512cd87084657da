"""Which parts a shard of __consumer_offsets has: a kind of groups joins with one line."""

from __future__ import annotations

from dataclasses import dataclass, field

from pystream.common.config import Layer, definition_of
from pystream.coordinator.group.classic.groups import ClassicGroups
from pystream.coordinator.group.config import ClassicGroupConfig, OffsetsConfig
from pystream.coordinator.group.offsets import Offsets
from pystream.coordinator.group.shard import GroupShard


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfigs:
    """The settings of every kind."""

    classic: ClassicGroupConfig = field(default_factory=ClassicGroupConfig)
    offsets: OffsetsConfig = field(default_factory=OffsetsConfig)

    @classmethod
    def load(cls, *layers: Layer) -> GroupConfigs:
        """From the broker's settings, strongest layer first. Raises InvalidConfig."""
        return cls(
            classic=definition_of(ClassicGroupConfig).load(*layers),
            offsets=definition_of(OffsetsConfig).load(*layers),
        )


def make_group_shard(partition: int, configs: GroupConfigs) -> GroupShard:
    """An empty shard, to be filled from its log."""
    shard = GroupShard(partition)
    shard.add(ClassicGroups(shard, configs.classic))
    shard.add(Offsets(shard, configs.offsets))
    return shard
