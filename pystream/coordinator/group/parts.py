"""Which parts a shard of __consumer_offsets has: a kind of groups joins with one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pystream.common.config import Layer, definition_of
from pystream.coordinator.group.classic.groups import ClassicGroups
from pystream.coordinator.group.config import ClassicGroupConfig, OffsetsConfig
from pystream.coordinator.group.consumer.classic_members import ClassicMembers
from pystream.coordinator.group.consumer.config import ConsumerGroupConfig
from pystream.coordinator.group.consumer.groups import ConsumerGroups
from pystream.coordinator.group.consumer.migration import downgrade_without
from pystream.coordinator.group.group import GroupKind
from pystream.coordinator.group.metrics import GroupMetrics
from pystream.coordinator.group.offsets import Offsets
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.group.share.config import ShareGroupConfig
from pystream.coordinator.group.share.groups import MemberLeft, ShareGroups
from pystream.coordinator.group.streams.config import StreamsGroupConfig
from pystream.coordinator.group.streams.groups import StreamsGroups
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.group_settings import SettingsOfGroup
from pystream.coordinator.ports import TopicMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfigs:
    """The settings of every kind."""

    classic: ClassicGroupConfig = field(default_factory=ClassicGroupConfig)
    consumer: ConsumerGroupConfig = field(default_factory=ConsumerGroupConfig)
    share: ShareGroupConfig = field(default_factory=ShareGroupConfig)
    streams: StreamsGroupConfig = field(default_factory=StreamsGroupConfig)
    offsets: OffsetsConfig = field(default_factory=OffsetsConfig)

    @classmethod
    def load(cls, *layers: Layer) -> GroupConfigs:
        """From the broker's settings, strongest layer first. Raises InvalidConfig."""
        return cls(
            classic=definition_of(ClassicGroupConfig).load(*layers),
            consumer=definition_of(ConsumerGroupConfig).load(*layers),
            share=definition_of(ShareGroupConfig).load(*layers),
            streams=definition_of(StreamsGroupConfig).load(*layers),
            offsets=definition_of(OffsetsConfig).load(*layers),
        )

    @classmethod
    def kinds(cls) -> tuple[type, ...]:
        """The classes of settings, one for each kind."""
        return (ClassicGroupConfig, ConsumerGroupConfig, ShareGroupConfig, StreamsGroupConfig, OffsetsConfig)


def make_group_shard(
    partition: int,
    configs: GroupConfigs,
    *,
    topics: Callable[[], TopicMetadata],
    settings_of: SettingsOfGroup,
    share_member_left: MemberLeft = lambda group_id, member_id: None,
    metrics: GroupMetrics | None = None,
) -> GroupShard:
    """An empty shard, to be filled from its log. `topics` and `settings_of` tell how things are when they are asked.

    `share_member_left` is told of members of share groups that are removed: what they have acquired is to be released.
    `metrics` are those of all shards together.
    """
    catalog = TopicCatalog(topics)
    shard = GroupShard(partition, metrics)
    shard.add(ClassicGroups(shard, configs.classic))
    consumer_groups = ConsumerGroups(shard, configs.consumer, catalog, settings_of, downgrade_without)
    shard.add(consumer_groups)
    shard.bridges[GroupKind.CONSUMER] = ClassicMembers(consumer_groups)
    shard.add(ShareGroups(shard, configs.share, catalog, settings_of, share_member_left))
    shard.add(StreamsGroups(shard, configs.streams, catalog, settings_of))
    shard.add(Offsets(shard, configs.offsets, catalog))
    return shard
