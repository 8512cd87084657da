"""ShareGroups: the share part of a shard; what it shares with other kinds is in modern/groups.py.

The group epoch also grows when partitions get a state, or lose it: only those that have one may be assigned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from pystream.common.errors import GroupIdNotFound
from pystream.coordinator.group.modern.groups import ModernGroups
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.group.share import records
from pystream.coordinator.group.share.assignor import assign
from pystream.coordinator.group.share.config import ShareGroupConfig
from pystream.coordinator.group.share.group import ShareGroup
from pystream.coordinator.group.share.member import ShareMember
from pystream.coordinator.group.share.partitions import StoredPartitions
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.group_settings import SettingsOfGroup
from pystream.coordinator.machine import Effects, Record
from pystream.protocol.coordinator_records.share_group_state_partition_metadata import (
    ShareGroupStatePartitionMetadataKey,
)

MemberLeft = Callable[[str, str], None]  # (group id, member id): whoever serves the member's records is told


class ShareGroups(ModernGroups[ShareGroup, ShareMember]):
    """See the head of this module. `left` is told when a member is removed, by whatever cause."""

    group_class = ShareGroup
    member_class = ShareMember
    records = records

    def __init__(
        self,
        shard: GroupShard,
        config: ShareGroupConfig,
        catalog: TopicCatalog,
        settings_of: SettingsOfGroup,
        left: MemberLeft,
    ) -> None:
        super().__init__(shard, catalog, settings_of)
        self.config = config
        self._left = left

    def replays(self) -> Mapping[type, Replay]:
        return {**super().replays(), ShareGroupStatePartitionMetadataKey: self._replay_states}

    def find(self, group_id: str) -> ShareGroup:
        """Raises GroupIdNotFound, also for a group of another kind."""
        if group_id not in self.shard.groups:
            raise GroupIdNotFound(f"Share group {group_id} not found.")
        return super().find(group_id)

    def fence(self, group: ShareGroup, leaving: Iterable[ShareMember], now_ms: int, effects: Effects) -> None:
        gone = list(leaving)
        super().fence(group, gone, now_ms, effects)
        for member in gone:
            self._left(group.group_id, member.member_id)

    def session_timeout_ms(self, group: ShareGroup, member: ShareMember) -> int:
        return self.settings_of(group.group_id).share_session_timeout_ms

    def write_next_epoch(self, group: ShareGroup, effects: Effects) -> None:
        """For the topics as they are now."""
        metadata_hash = self.catalog.fingerprint(group.subscribed_topics())
        effects.write(*records.group_epoch(group.group_id, group.group_epoch + 1, metadata_hash))
        self.shard.metrics.rebalances[group.kind] += 1

    # Assignment

    def assignable(self, group: ShareGroup) -> dict[bytes, frozenset[int]]:
        """The partitions that have a state, of topics that are subscribed to and exist."""
        found = {}
        for name in group.subscribed_topics():
            topic = self.catalog.by_name(name)
            stored = None if topic is None else group.stored.initialized.get(topic.topic_id)
            if topic is not None and stored is not None:
                found[topic.topic_id] = frozenset(p for p in stored.partitions if p < topic.partition_count)
        return found

    def is_assignment_behind(self, group: ShareGroup) -> bool:
        """Whether partitions have come that nobody is assigned, or have gone."""
        assigned = {topic_id: frozenset(found) for topic_id, found in group.assigned_partitions().items() if found}
        return assigned != {topic_id: found for topic_id, found in self.assignable(group).items() if found}

    def write_target(self, group: ShareGroup, effects: Effects) -> None:
        """Make the target assignment of the group epoch, and write what changes."""
        ids = {name: topic.topic_id for name in group.subscribed_topics() if (topic := self.catalog.by_name(name))}
        subscriptions = {
            member.member_id: {ids[name] for name in member.subscribed if name in ids}
            for member in group.members.values()
        }
        for member_id, assignment in assign(subscriptions, self.assignable(group), group.targets).items():
            if group.targets.get(member_id) != assignment:
                effects.write(*records.target(group.group_id, member_id, assignment))
        effects.write(*records.KINDS.epoch_of_target(group.group_id, group.group_epoch))

    def advance_member(self, group: ShareGroup, member: ShareMember, effects: Effects) -> None:
        """The member takes over its target."""
        after = replace(
            member,
            member_epoch=group.target_epoch,
            previous_member_epoch=member.member_epoch,
            assigned=group.targets.get(member.member_id, {}),
        )
        effects.write(*records.current_assignment_of(group.group_id, after))

    def write_stored(self, group: ShareGroup, stored: StoredPartitions, effects: Effects) -> None:
        """Which share partitions have a state from now on."""
        effects.write(*records.states(group.group_id, stored))

    # Replay of the records that only share groups have

    def _replay_states(self, record: Record) -> None:
        value = record.value
        group = self.of(record.key.group_id, make=value is not None)
        if group is None:
            return
        group.stored = StoredPartitions() if value is None else records.stored_of(value)
        group.initializing_since_ms = {
            topic_id: since_ms
            for topic_id, since_ms in group.initializing_since_ms.items()
            if topic_id in group.stored.initializing
        }
