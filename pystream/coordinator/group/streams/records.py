"""The records of a streams group, made and read: the messages that Apache Kafka writes, in its order.

    member       what it is                 StreamsGroupMemberMetadata
    topology     of the application         StreamsGroupTopology
    group epoch  and what it was made from  StreamsGroupMetadata
    target       of one member              StreamsGroupTargetAssignmentMember
    target epoch                            StreamsGroupTargetAssignmentMetadata
    current      assignment of one member   StreamsGroupCurrentMemberAssignment

Each function gives the key and the value for `effects.write`; a `no_...` gives a tombstone. See modern/records.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pystream.coordinator.group.modern.member import LEAVING_EPOCH, MemberState
from pystream.coordinator.group.modern.records import KeyValue, RecordKinds
from pystream.coordinator.group.streams.member import Endpoint, StreamsMember
from pystream.coordinator.group.streams.tasks import (
    NOTHING_ASSIGNED,
    AssignedTasks,
    Indexes,
    IndexesWithEpochs,
    Tasks,
    indexes_of,
)
from pystream.protocol.coordinator_records import streams_group_current_member_assignment as current_assignment
from pystream.protocol.coordinator_records import streams_group_member_metadata as member_metadata
from pystream.protocol.coordinator_records import streams_group_metadata as group_metadata
from pystream.protocol.coordinator_records import streams_group_target_assignment_member as target_member
from pystream.protocol.coordinator_records import streams_group_target_assignment_metadata as target_metadata
from pystream.protocol.coordinator_records import streams_group_topology as topology_record

KINDS = RecordKinds(
    member=member_metadata.StreamsGroupMemberMetadataKey,
    group_epoch=group_metadata.StreamsGroupMetadataKey,
    target=target_member.StreamsGroupTargetAssignmentMemberKey,
    target_epoch=target_metadata.StreamsGroupTargetAssignmentMetadataKey,
    target_epoch_value=target_metadata.StreamsGroupTargetAssignmentMetadataValue,
    current_assignment=current_assignment.StreamsGroupCurrentMemberAssignmentKey,
)
STATE_NUMBERS = {
    MemberState.STABLE: 1,
    MemberState.UNREVOKED: 2,
    MemberState.UNRELEASED: 3,
    MemberState.UNKNOWN: 127,
}
STATES = {number: state for state, number in STATE_NUMBERS.items()}


def member(group_id: str, member: StreamsMember) -> KeyValue:
    endpoint = member.user_endpoint
    return (
        member_metadata.StreamsGroupMemberMetadataKey(group_id=group_id, member_id=member.member_id),
        member_metadata.StreamsGroupMemberMetadataValue(
            instance_id=member.instance_id,
            rack_id=member.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            topology_epoch=member.topology_epoch,
            process_id=member.process_id,
            user_endpoint=None
            if endpoint is None
            else member_metadata.Endpoint(host=endpoint.host, port=endpoint.port),
            client_tags=[member_metadata.KeyValue(key=key, value=value) for key, value in member.client_tags],
        ),
    )


def topology(group_id: str, value: topology_record.StreamsGroupTopologyValue) -> KeyValue:
    return topology_record.StreamsGroupTopologyKey(group_id=group_id), value


def no_topology(group_id: str) -> KeyValue:
    return topology_record.StreamsGroupTopologyKey(group_id=group_id), None


def group_epoch(
    group_id: str, epoch: int, *, metadata_hash: int, validated_topology_epoch: int, configs: Mapping[str, str]
) -> KeyValue:
    return (
        group_metadata.StreamsGroupMetadataKey(group_id=group_id),
        group_metadata.StreamsGroupMetadataValue(
            epoch=epoch,
            metadata_hash=metadata_hash,
            validated_topology_epoch=validated_topology_epoch,
            last_assignment_configs=[
                group_metadata.LastAssignmentConfig(key=key, value=value) for key, value in sorted(configs.items())
            ],
        ),
    )


def target(group_id: str, member_id: str, tasks: Tasks) -> KeyValue:
    def ids(indexes: Indexes) -> list[target_member.TaskIds]:
        return [target_member.TaskIds(subtopology_id=s, partitions=sorted(p)) for s, p in sorted(indexes.items())]

    return (
        target_member.StreamsGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id),
        target_member.StreamsGroupTargetAssignmentMemberValue(
            active_tasks=ids(tasks.active), standby_tasks=ids(tasks.standby), warmup_tasks=ids(tasks.warmup)
        ),
    )


def current_assignment_of(group_id: str, member: StreamsMember) -> KeyValue:
    assigned, pending = member.assigned, member.pending_revocation
    return (
        current_assignment.StreamsGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member.member_id),
        current_assignment.StreamsGroupCurrentMemberAssignmentValue(
            member_epoch=member.member_epoch,
            previous_member_epoch=member.previous_member_epoch,
            state=STATE_NUMBERS[member.state],
            active_tasks=_with_epochs(assigned.active),
            standby_tasks=_without_epochs(assigned.standby),
            warmup_tasks=_without_epochs(assigned.warmup),
            active_tasks_pending_revocation=_with_epochs(pending.active),
            standby_tasks_pending_revocation=_without_epochs(pending.standby),
            warmup_tasks_pending_revocation=_without_epochs(pending.warmup),
        ),
    )


# Reading


def with_metadata(before: StreamsMember, value: member_metadata.StreamsGroupMemberMetadataValue) -> StreamsMember:
    """The member as the record says it is; how far it has come stays."""
    endpoint = value.user_endpoint
    return replace(
        before,
        instance_id=value.instance_id,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        rebalance_timeout_ms=value.rebalance_timeout_ms,
        topology_epoch=value.topology_epoch,
        process_id=value.process_id,
        user_endpoint=None if endpoint is None else Endpoint(endpoint.host, endpoint.port),
        client_tags=tuple((tag.key, tag.value) for tag in value.client_tags),
    )


def with_current_assignment(
    before: StreamsMember, value: current_assignment.StreamsGroupCurrentMemberAssignmentValue | None
) -> StreamsMember:
    """The member with what the record says it has; nothing after a tombstone."""
    if value is None:
        return replace(
            before,
            member_epoch=LEAVING_EPOCH,
            previous_member_epoch=LEAVING_EPOCH,
            assigned=NOTHING_ASSIGNED,
            pending_revocation=NOTHING_ASSIGNED,
        )
    return replace(
        before,
        member_epoch=value.member_epoch,
        previous_member_epoch=value.previous_member_epoch,
        state=STATES.get(value.state, MemberState.UNKNOWN),
        assigned=AssignedTasks(
            _epochs_of(value.active_tasks, value.member_epoch),
            indexes_of(value.standby_tasks),
            indexes_of(value.warmup_tasks),
        ),
        pending_revocation=AssignedTasks(
            _epochs_of(value.active_tasks_pending_revocation, value.member_epoch),
            indexes_of(value.standby_tasks_pending_revocation),
            indexes_of(value.warmup_tasks_pending_revocation),
        ),
    )


def target_of(value: target_member.StreamsGroupTargetAssignmentMemberValue) -> Tasks:
    return Tasks(indexes_of(value.active_tasks), indexes_of(value.standby_tasks), indexes_of(value.warmup_tasks))


def _with_epochs(active: IndexesWithEpochs) -> list[current_assignment.TaskIds]:
    return [
        current_assignment.TaskIds(
            subtopology_id=name, partitions=sorted(found), assignment_epochs=[found[index] for index in sorted(found)]
        )
        for name, found in sorted(active.items())
    ]


def _without_epochs(indexes: Indexes) -> list[current_assignment.TaskIds]:
    return [
        current_assignment.TaskIds(subtopology_id=name, partitions=sorted(found), assignment_epochs=None)
        for name, found in sorted(indexes.items())
    ]


def _epochs_of(tasks: Sequence[current_assignment.TaskIds], member_epoch: int) -> dict[str, dict[int, int]]:
    """Tasks that were written without epochs have the member's."""
    found: dict[str, dict[int, int]] = {}
    for entry in tasks:
        known = dict(zip(entry.partitions, entry.assignment_epochs or (), strict=False))
        for index in entry.partitions:
            found.setdefault(entry.subtopology_id, {})[index] = known.get(index, member_epoch)
    return found
