"""The records of a consumer group, made and read: the messages that Apache Kafka writes, in its order.

    member       what it is and wants       ConsumerGroupMemberMetadata
    group epoch  with the topics' hash      ConsumerGroupMetadata
    target       of one member              ConsumerGroupTargetAssignmentMember
    target epoch                            ConsumerGroupTargetAssignmentMetadata
    current      assignment of one member   ConsumerGroupCurrentMemberAssignment
    regex        and the topics it names    ConsumerGroupRegularExpression

Each function gives the key and the value for `effects.write`; a `no_...` gives a tombstone. See modern/records.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment
from pystream.coordinator.group.consumer.member import ClassicMetadata, ClassicProtocol, ConsumerMember
from pystream.coordinator.group.modern.member import LEAVING_EPOCH, MemberState
from pystream.coordinator.group.modern.records import KeyValue, RecordKinds
from pystream.protocol.coordinator_records import consumer_group_current_member_assignment as current_assignment
from pystream.protocol.coordinator_records import consumer_group_member_metadata as member_metadata
from pystream.protocol.coordinator_records import consumer_group_metadata as group_metadata
from pystream.protocol.coordinator_records import consumer_group_partition_metadata as partition_metadata
from pystream.protocol.coordinator_records import consumer_group_regular_expression as regular_expression
from pystream.protocol.coordinator_records import consumer_group_target_assignment_member as target_member
from pystream.protocol.coordinator_records import consumer_group_target_assignment_metadata as target_metadata

KINDS = RecordKinds(
    member=member_metadata.ConsumerGroupMemberMetadataKey,
    group_epoch=group_metadata.ConsumerGroupMetadataKey,
    target=target_member.ConsumerGroupTargetAssignmentMemberKey,
    target_epoch=target_metadata.ConsumerGroupTargetAssignmentMetadataKey,
    target_epoch_value=target_metadata.ConsumerGroupTargetAssignmentMetadataValue,
    current_assignment=current_assignment.ConsumerGroupCurrentMemberAssignmentKey,
)
STATE_NUMBERS = {
    MemberState.STABLE: 0,
    MemberState.UNREVOKED: 1,
    MemberState.UNRELEASED: 2,
    MemberState.UNKNOWN: 127,
}
STATES = {number: state for state, number in STATE_NUMBERS.items()}


def member(group_id: str, member: ConsumerMember) -> KeyValue:
    classic = member.classic
    return (
        member_metadata.ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id),
        member_metadata.ConsumerGroupMemberMetadataValue(
            instance_id=member.instance_id,
            rack_id=member.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topic_names=sorted(member.subscribed_topic_names),
            subscribed_topic_regex=member.subscribed_topic_regex,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            server_assignor=member.server_assignor,
            classic_member_metadata=None if classic is None else _classic_record(classic),
        ),
    )


def group_epoch(group_id: str, epoch: int, metadata_hash: int) -> KeyValue:
    return (
        group_metadata.ConsumerGroupMetadataKey(group_id=group_id),
        group_metadata.ConsumerGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash),
    )


def target(group_id: str, member_id: str, assignment: Assignment) -> KeyValue:
    topics = [target_member.TopicPartition(topic_id=t, partitions=sorted(p)) for t, p in sorted(assignment.items())]
    return (
        target_member.ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id),
        target_member.ConsumerGroupTargetAssignmentMemberValue(topic_partitions=topics),
    )


def current_assignment_of(group_id: str, member: ConsumerMember) -> KeyValue:
    return (
        current_assignment.ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id),
        current_assignment.ConsumerGroupCurrentMemberAssignmentValue(
            member_epoch=member.member_epoch,
            previous_member_epoch=member.previous_member_epoch,
            state=STATE_NUMBERS[member.state],
            assigned_partitions=_topic_partitions(member.assigned),
            partitions_pending_revocation=_topic_partitions(member.pending_revocation),
        ),
    )


def regex(group_id: str, expression: str, *, topics: Sequence[str], version: int, timestamp_ms: int) -> KeyValue:
    return (
        regular_expression.ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=expression),
        regular_expression.ConsumerGroupRegularExpressionValue(topics=topics, version=version, timestamp=timestamp_ms),
    )


def no_regex(group_id: str, expression: str) -> KeyValue:
    return (
        regular_expression.ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=expression),
        None,
    )


def no_partition_metadata(group_id: str) -> KeyValue:
    """What Kafka 4.0 and older wrote, and a newer coordinator deletes."""
    return partition_metadata.ConsumerGroupPartitionMetadataKey(group_id=group_id), None


# Reading


def with_metadata(before: ConsumerMember, value: member_metadata.ConsumerGroupMemberMetadataValue) -> ConsumerMember:
    """The member as the record says it is; how far it has come stays."""
    return replace(
        before,
        instance_id=value.instance_id,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        subscribed_topic_names=frozenset(value.subscribed_topic_names),
        subscribed_topic_regex=value.subscribed_topic_regex or "",
        rebalance_timeout_ms=value.rebalance_timeout_ms,
        server_assignor=value.server_assignor,
        classic=None if value.classic_member_metadata is None else _classic(value.classic_member_metadata),
    )


def with_current_assignment(
    before: ConsumerMember, value: current_assignment.ConsumerGroupCurrentMemberAssignmentValue | None
) -> ConsumerMember:
    """The member with what the record says it has; nothing after a tombstone."""
    if value is None:
        return replace(
            before,
            member_epoch=LEAVING_EPOCH,
            previous_member_epoch=LEAVING_EPOCH,
            assigned=NO_PARTITIONS,
            pending_revocation=NO_PARTITIONS,
        )
    return replace(
        before,
        member_epoch=value.member_epoch,
        previous_member_epoch=value.previous_member_epoch,
        state=STATES.get(value.state, MemberState.UNKNOWN),
        assigned=assignment_of(value.assigned_partitions),
        pending_revocation=assignment_of(value.partitions_pending_revocation),
    )


def target_of(value: target_member.ConsumerGroupTargetAssignmentMemberValue) -> Assignment:
    return assignment_of(value.topic_partitions)


def assignment_of(topics: Sequence[Any] | None) -> Assignment:
    """The assignment in a list of (topic_id, partitions), of a record or a request."""
    if not topics:
        return NO_PARTITIONS
    found: dict[bytes, frozenset[int]] = {}
    for topic in topics:
        if topic.partitions:
            found[topic.topic_id] = found.get(topic.topic_id, frozenset()) | frozenset(topic.partitions)
    return found


def _topic_partitions(assignment: Assignment) -> list[current_assignment.TopicPartitions]:
    return [
        current_assignment.TopicPartitions(topic_id=topic_id, partitions=sorted(indexes))
        for topic_id, indexes in sorted(assignment.items())
    ]


def _classic_record(classic: ClassicMetadata) -> member_metadata.ClassicMemberMetadata:
    return member_metadata.ClassicMemberMetadata(
        session_timeout_ms=classic.session_timeout_ms,
        supported_protocols=[
            member_metadata.ClassicProtocol(name=protocol.name, metadata=protocol.metadata)
            for protocol in classic.protocols
        ],
    )


def _classic(value: member_metadata.ClassicMemberMetadata) -> ClassicMetadata:
    return ClassicMetadata(
        value.session_timeout_ms,
        tuple(ClassicProtocol(protocol.name, bytes(protocol.metadata)) for protocol in value.supported_protocols),
    )
