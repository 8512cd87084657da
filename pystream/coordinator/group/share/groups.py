"""ShareGroups: the share part of a shard: records, sessions of members, epochs, and the target assignment.

    group epoch       grows when members, subscriptions, topics or the partitions that have a state change
    assignment epoch  the group epoch that the target assignment was made for
    member epoch      the assignment epoch that the member has heard of: it takes over its target at once, since
                      partitions are shared and nobody has to give them up first

Timers: ("share-session", group id, member id).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from pystream.common.errors import GroupIdNotFound
from pystream.common.logging import get_logger
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.group.share.assignor import assign
from pystream.coordinator.group.share.config import ShareGroupConfig
from pystream.coordinator.group.share.state import (
    Assignment,
    ShareGroup,
    ShareMember,
    StoredPartitions,
    TopicPartitions,
    member_keys,
)
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.group_settings import SettingsOfGroup
from pystream.coordinator.machine import Effects, Record
from pystream.protocol.coordinator_records import share_group_current_member_assignment as current_records
from pystream.protocol.coordinator_records import share_group_state_partition_metadata as stored_records
from pystream.protocol.coordinator_records import share_group_target_assignment_member as target_records
from pystream.protocol.coordinator_records.share_group_member_metadata import (
    ShareGroupMemberMetadataKey,
    ShareGroupMemberMetadataValue,
)
from pystream.protocol.coordinator_records.share_group_metadata import ShareGroupMetadataKey, ShareGroupMetadataValue
from pystream.protocol.coordinator_records.share_group_target_assignment_metadata import (
    ShareGroupTargetAssignmentMetadataKey,
    ShareGroupTargetAssignmentMetadataValue,
)

logger = get_logger(__name__)

STABLE_MEMBER = 0  # MemberState in the record: share members know no other
MemberLeft = Callable[[str, str], None]  # (group id, member id): whoever serves the member's records is told


class ShareGroups:
    """See the head of this module. `left` is told when a member is removed, by whatever cause."""

    def __init__(
        self,
        shard: GroupShard,
        config: ShareGroupConfig,
        topics: TopicCatalog,
        settings: SettingsOfGroup,
        left: MemberLeft,
    ) -> None:
        self.shard = shard
        self.config = config
        self.topics = topics
        self.settings = settings
        self._left = left

    # the shard's part

    def replays(self) -> Mapping[type, Replay]:
        return {
            ShareGroupMetadataKey: self._replay_group,
            ShareGroupMemberMetadataKey: self._replay_member,
            ShareGroupTargetAssignmentMetadataKey: self._replay_target,
            target_records.ShareGroupTargetAssignmentMemberKey: self._replay_target_member,
            current_records.ShareGroupCurrentMemberAssignmentKey: self._replay_current,
            stored_records.ShareGroupStatePartitionMetadataKey: self._replay_stored,
        }

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """Groups write nothing in transactions."""

    def loaded(self, now_ms: int, effects: Effects) -> None:
        for group in self.all():
            for member_id in group.members:
                self.expect_heartbeat(group, member_id, now_ms)

    def unloaded(self, effects: Effects) -> None:
        """Nobody waits here."""

    def all(self) -> list[ShareGroup]:
        return [group for group in self.shard.groups.values() if isinstance(group, ShareGroup)]

    def find(self, group_id: str) -> ShareGroup:
        """Raises GroupIdNotFound when there is no group of this id, or one of another kind."""
        group = self.shard.groups.get(group_id)
        if group is None:
            raise GroupIdNotFound(f"Share group {group_id} not found.")
        if not isinstance(group, ShareGroup):
            raise GroupIdNotFound(f"Group {group_id} is not a share group.")
        return group

    # members

    def expect_heartbeat(self, group: ShareGroup, member_id: str, now_ms: int) -> None:
        """Remove the member when it does not show itself in time."""
        deadline_ms = now_ms + self.settings(group.group_id).share_session_timeout_ms

        def expired(now_ms: int, effects: Effects) -> None:
            logger.info("share group member timed out", group=group.group_id, member=member_id)
            self.remove(group, member_id, effects)

        self.shard.timers.schedule(_session(group.group_id, member_id), deadline_ms, expired)

    def remove(self, group: ShareGroup, member_id: str, effects: Effects) -> None:
        """Take a member out; the others get its partitions with the next assignment."""
        for key in member_keys(group.group_id, member_id):
            effects.write(key, None)
        self.write_epoch(group, effects)
        self._left(group.group_id, member_id)

    def write_member(self, group_id: str, member: ShareMember, effects: Effects) -> None:
        value = ShareGroupMemberMetadataValue(
            rack_id=member.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topic_names=list(member.subscribed),
        )
        effects.write(ShareGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id), value)

    def write_epoch(self, group: ShareGroup, effects: Effects) -> None:
        """The next group epoch, for the topics as they are now."""
        value = ShareGroupMetadataValue(
            epoch=group.epoch + 1, metadata_hash=self.topics.fingerprint(group.subscribed_topics())
        )
        effects.write(ShareGroupMetadataKey(group_id=group.group_id), value)

    # assignment

    def assignable(self, group: ShareGroup) -> dict[bytes, frozenset[int]]:
        """The partitions that have a state, of topics that are subscribed to and exist."""
        found = {}
        for name in group.subscribed_topics():
            topic = self.topics.by_name(name)
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
        ids = {name: topic.topic_id for name in group.subscribed_topics() if (topic := self.topics.by_name(name))}
        subscriptions = {
            member.member_id: {ids[name] for name in member.subscribed if name in ids}
            for member in group.members.values()
        }
        made = assign(subscriptions, self.assignable(group), group.target)
        for member_id, assignment in made.items():
            if group.target.get(member_id) != assignment:
                effects.write(
                    target_records.ShareGroupTargetAssignmentMemberKey(group_id=group.group_id, member_id=member_id),
                    target_records.ShareGroupTargetAssignmentMemberValue(
                        topic_partitions=[
                            target_records.TopicPartition(topic_id=topic_id, partitions=sorted(partitions))
                            for topic_id, partitions in assignment.items()
                        ]
                    ),
                )
        effects.write(
            ShareGroupTargetAssignmentMetadataKey(group_id=group.group_id),
            ShareGroupTargetAssignmentMetadataValue(assignment_epoch=group.epoch),
        )

    def write_current(self, group: ShareGroup, member: ShareMember, effects: Effects) -> None:
        """The member takes over its target."""
        effects.write(
            current_records.ShareGroupCurrentMemberAssignmentKey(group_id=group.group_id, member_id=member.member_id),
            current_records.ShareGroupCurrentMemberAssignmentValue(
                member_epoch=group.assignment_epoch,
                previous_member_epoch=member.epoch,
                state=STABLE_MEMBER,
                assigned_partitions=[
                    current_records.TopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
                    for topic_id, partitions in group.target.get(member.member_id, {}).items()
                ],
            ),
        )

    def write_stored(self, group: ShareGroup, stored: StoredPartitions, effects: Effects) -> None:
        """Which share partitions have a state from now on."""
        key = stored_records.ShareGroupStatePartitionMetadataKey(group_id=group.group_id)
        value = stored_records.ShareGroupStatePartitionMetadataValue(
            initializing_topics=_infos(stored.initializing),
            initialized_topics=_infos(stored.initialized),
            deleting_topics=[
                stored_records.TopicInfo(topic_id=topic_id, topic_name=name)
                for topic_id, name in stored.deleting.items()
            ],
        )
        effects.write(key, value)

    # replay

    def _group(self, group_id: str, *, create: bool) -> ShareGroup | None:
        group = self.shard.groups.get(group_id)
        if group is None and create:
            group = self.shard.groups[group_id] = ShareGroup(group_id)
        return group if isinstance(group, ShareGroup) else None

    def _replay_group(self, record: Record) -> None:
        group = self._group(record.key.group_id, create=record.value is not None)
        if group is None:
            return
        if record.value is None:
            for member_id in group.members:
                self.shard.timers.cancel(_session(group.group_id, member_id))
            del self.shard.groups[group.group_id]
            return
        group.epoch = record.value.epoch
        group.metadata_hash = record.value.metadata_hash

    def _replay_member(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._group(key.group_id, create=value is not None)
        if group is None:
            return
        if value is None:
            group.members.pop(key.member_id, None)
            self.shard.timers.cancel(_session(group.group_id, key.member_id))
            return
        known = group.members.get(key.member_id) or ShareMember(key.member_id)
        group.members[key.member_id] = replace(
            known,
            rack_id=value.rack_id,
            client_id=value.client_id,
            client_host=value.client_host,
            subscribed=tuple(value.subscribed_topic_names),
        )

    def _replay_target(self, record: Record) -> None:
        group = self._group(record.key.group_id, create=record.value is not None)
        if group is not None:
            group.assignment_epoch = 0 if record.value is None else record.value.assignment_epoch

    def _replay_target_member(self, record: Record) -> None:
        group = self._group(record.key.group_id, create=record.value is not None)
        if group is None:
            return
        if record.value is None:
            group.target.pop(record.key.member_id, None)
        else:
            group.target[record.key.member_id] = _assignment(record.value.topic_partitions)

    def _replay_current(self, record: Record) -> None:
        value = record.value
        group = self._group(record.key.group_id, create=value is not None)
        if group is None or (value is None and record.key.member_id not in group.members):
            return
        member = group.members.setdefault(record.key.member_id, ShareMember(record.key.member_id))
        member.epoch = -1 if value is None else value.member_epoch
        member.previous_epoch = -1 if value is None else value.previous_member_epoch
        member.assigned = {} if value is None else _assignment(value.assigned_partitions)

    def _replay_stored(self, record: Record) -> None:
        value = record.value
        group = self._group(record.key.group_id, create=value is not None)
        if group is None:
            return
        group.stored = StoredPartitions() if value is None else _stored(value)
        group.initializing_since_ms = {
            topic_id: since_ms
            for topic_id, since_ms in group.initializing_since_ms.items()
            if topic_id in group.stored.initializing
        }


def _session(group_id: str, member_id: str) -> tuple[str, str, str]:
    return "share-session", group_id, member_id


def _assignment(topics: object) -> Assignment:
    assert isinstance(topics, list | tuple), "records hold sequences"
    return {topic.topic_id: frozenset(topic.partitions) for topic in topics}


def _infos(topics: Mapping[bytes, TopicPartitions]) -> list[stored_records.TopicPartitionsInfo]:
    return [
        stored_records.TopicPartitionsInfo(
            topic_id=topic_id, topic_name=topic.name, partitions=sorted(topic.partitions)
        )
        for topic_id, topic in topics.items()
    ]


def _stored(value: stored_records.ShareGroupStatePartitionMetadataValue) -> StoredPartitions:
    return StoredPartitions(
        initializing={
            t.topic_id: TopicPartitions(t.topic_name, frozenset(t.partitions)) for t in value.initializing_topics
        },
        initialized={
            t.topic_id: TopicPartitions(t.topic_name, frozenset(t.partitions)) for t in value.initialized_topics
        },
        deleting={t.topic_id: t.topic_name for t in value.deleting_topics},
    )
