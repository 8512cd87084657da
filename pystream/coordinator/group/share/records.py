"""The records of a share group, made and read: the messages that Apache Kafka writes.

    member       what it is and wants       ShareGroupMemberMetadata
    group epoch  with the topics' hash      ShareGroupMetadata
    target       of one member              ShareGroupTargetAssignmentMember
    target epoch                            ShareGroupTargetAssignmentMetadata
    current      assignment of one member   ShareGroupCurrentMemberAssignment
    states       which partitions have one  ShareGroupStatePartitionMetadata

Each function gives the key and the value for `effects.write`; a `no_...` gives a tombstone. See modern/records.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment
from pystream.coordinator.group.modern.member import LEAVING_EPOCH
from pystream.coordinator.group.modern.records import KeyValue, RecordKinds
from pystream.coordinator.group.share.member import ShareMember
from pystream.coordinator.group.share.partitions import StoredPartitions, TopicPartitions
from pystream.protocol.coordinator_records import share_group_current_member_assignment as current_assignment
from pystream.protocol.coordinator_records import share_group_member_metadata as member_metadata
from pystream.protocol.coordinator_records import share_group_metadata as group_metadata
from pystream.protocol.coordinator_records import share_group_state_partition_metadata as partition_states
from pystream.protocol.coordinator_records import share_group_target_assignment_member as target_member
from pystream.protocol.coordinator_records import share_group_target_assignment_metadata as target_metadata

KINDS = RecordKinds(
    member=member_metadata.ShareGroupMemberMetadataKey,
    group_epoch=group_metadata.ShareGroupMetadataKey,
    target=target_member.ShareGroupTargetAssignmentMemberKey,
    target_epoch=target_metadata.ShareGroupTargetAssignmentMetadataKey,
    target_epoch_value=target_metadata.ShareGroupTargetAssignmentMetadataValue,
    current_assignment=current_assignment.ShareGroupCurrentMemberAssignmentKey,
)
STABLE_MEMBER = 0  # MemberState in the record: share members know no other


def member(group_id: str, member: ShareMember) -> KeyValue:
    return (
        member_metadata.ShareGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id),
        member_metadata.ShareGroupMemberMetadataValue(
            rack_id=member.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topic_names=list(member.subscribed),
        ),
    )


def group_epoch(group_id: str, epoch: int, metadata_hash: int) -> KeyValue:
    return (
        group_metadata.ShareGroupMetadataKey(group_id=group_id),
        group_metadata.ShareGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash),
    )


def target(group_id: str, member_id: str, assignment: Assignment) -> KeyValue:
    topics = [target_member.TopicPartition(topic_id=t, partitions=sorted(p)) for t, p in assignment.items()]
    return (
        target_member.ShareGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id),
        target_member.ShareGroupTargetAssignmentMemberValue(topic_partitions=topics),
    )


def current_assignment_of(group_id: str, member: ShareMember) -> KeyValue:
    return (
        current_assignment.ShareGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id),
        current_assignment.ShareGroupCurrentMemberAssignmentValue(
            member_epoch=member.member_epoch,
            previous_member_epoch=member.previous_member_epoch,
            state=STABLE_MEMBER,
            assigned_partitions=[
                current_assignment.TopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
                for topic_id, partitions in member.assigned.items()
            ],
        ),
    )


def states(group_id: str, stored: StoredPartitions) -> KeyValue:
    """Which share partitions have a state from now on."""
    return (
        partition_states.ShareGroupStatePartitionMetadataKey(group_id=group_id),
        partition_states.ShareGroupStatePartitionMetadataValue(
            initializing_topics=_infos(stored.initializing),
            initialized_topics=_infos(stored.initialized),
            deleting_topics=[
                partition_states.TopicInfo(topic_id=topic_id, topic_name=name)
                for topic_id, name in stored.deleting.items()
            ],
        ),
    )


def no_states(group_id: str) -> KeyValue:
    return partition_states.ShareGroupStatePartitionMetadataKey(group_id=group_id), None


# Reading


def with_metadata(before: ShareMember, value: member_metadata.ShareGroupMemberMetadataValue) -> ShareMember:
    """The member as the record says it is; how far it has come stays."""
    return replace(
        before,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        subscribed=tuple(value.subscribed_topic_names),
    )


def with_current_assignment(
    before: ShareMember, value: current_assignment.ShareGroupCurrentMemberAssignmentValue | None
) -> ShareMember:
    """The member with what the record says it has; nothing after a tombstone."""
    if value is None:
        return replace(before, member_epoch=LEAVING_EPOCH, previous_member_epoch=LEAVING_EPOCH, assigned=NO_PARTITIONS)
    return replace(
        before,
        member_epoch=value.member_epoch,
        previous_member_epoch=value.previous_member_epoch,
        assigned={topic.topic_id: frozenset(topic.partitions) for topic in value.assigned_partitions},
    )


def target_of(value: target_member.ShareGroupTargetAssignmentMemberValue) -> Assignment:
    return {topic.topic_id: frozenset(topic.partitions) for topic in value.topic_partitions}


def stored_of(value: partition_states.ShareGroupStatePartitionMetadataValue) -> StoredPartitions:
    return StoredPartitions(
        initializing={
            t.topic_id: TopicPartitions(t.topic_name, frozenset(t.partitions)) for t in value.initializing_topics
        },
        initialized={
            t.topic_id: TopicPartitions(t.topic_name, frozenset(t.partitions)) for t in value.initialized_topics
        },
        deleting={t.topic_id: t.topic_name for t in value.deleting_topics},
    )


def _infos(topics: Mapping[bytes, TopicPartitions]) -> list[partition_states.TopicPartitionsInfo]:
    return [
        partition_states.TopicPartitionsInfo(
            topic_id=topic_id, topic_name=topic.name, partitions=sorted(topic.partitions)
        )
        for topic_id, topic in topics.items()
    ]
