"""StreamsGroupHeartbeat: a member joins with its topology, learns its tasks, gives tasks up and leaves.

Everything that can be refused is refused before the first record is written. Then, in this order: the group is made,
the member and the topology are written, the group epoch moves, the target follows, the member takes its next step. The
answer names internal topics that are missing; whoever answers creates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pystream.common.errors import (
    GroupIdNotFound,
    GroupMaxSizeReached,
    InvalidRequest,
    KafkaError,
    StreamsInvalidTopology,
)
from pystream.common.logging import get_logger
from pystream.coordinator.group.classic.state import ClassicGroup
from pystream.coordinator.group.group import Caller, GroupKind
from pystream.coordinator.group.modern.member import JOINING_EPOCH, LEAVING_EPOCH, NO_TIMEOUT
from pystream.coordinator.group.modern.requests import fenced, refuse_blank
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.group.streams import records
from pystream.coordinator.group.streams.endpoints import partitions_by_endpoint
from pystream.coordinator.group.streams.group import StreamsGroup
from pystream.coordinator.group.streams.groups import StreamsGroups, streams_groups
from pystream.coordinator.group.streams.member import Endpoint, StreamsMember
from pystream.coordinator.group.streams.tasks import Tasks, owned_tasks
from pystream.coordinator.group.streams.topology import (
    ConfiguredSubtopology,
    InternalTopic,
    Status,
    as_record,
    configure,
)
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.coordinator_records.streams_group_topology import StreamsGroupTopologyValue
from pystream.protocol.messages import streams_group_heartbeat as messages

logger = get_logger(__name__)


class Reply(NamedTuple):
    """The answer, and the internal topics that are to be created."""

    response: messages.StreamsGroupHeartbeatResponse
    to_create: tuple[InternalTopic, ...] = ()


def check_heartbeat(request: messages.StreamsGroupHeartbeatRequest) -> None:
    """What is wrong with a request whatever the group. Raises InvalidRequest or StreamsInvalidTopology."""
    _refuse_what_kafka_has_not_yet(request)
    refuse_blank(request.member_id, "MemberId")
    refuse_blank(request.group_id, "GroupId")
    refuse_blank(request.rack_id, "RackId")
    owned = {
        "ActiveTasks": request.active_tasks,
        "StandbyTasks": request.standby_tasks,
        "WarmupTasks": request.warmup_tasks,
    }
    if request.member_epoch == JOINING_EPOCH:
        if request.rebalance_timeout_ms == NO_TIMEOUT:
            raise InvalidRequest("RebalanceTimeoutMs must be provided in first request.")
        for name, tasks in owned.items():
            if tasks is None or tasks:
                raise InvalidRequest(f"{name} must be empty when (re-)joining.")
        if request.topology is None:
            raise InvalidRequest("Topology must be non-null when (re-)joining.")
        _check_changelogs(request.topology)
        return
    if request.member_epoch < LEAVING_EPOCH:
        raise InvalidRequest(f"MemberEpoch is {request.member_epoch}, but must be greater than or equal to -1.")
    if len({tasks is None for tasks in owned.values()}) > 1:
        raise InvalidRequest("If one task-type is non-null, all must be non-null.")
    if request.topology is not None:
        raise InvalidRequest("Topology can only be provided when (re-)joining.")


def _refuse_what_kafka_has_not_yet(request: messages.StreamsGroupHeartbeatRequest) -> None:
    """Parts of KIP-1071 that Apache Kafka 4.2 answers in the same way."""
    if request.instance_id is not None:
        raise InvalidRequest("Static membership is not yet supported.")
    if request.task_offsets is not None:
        raise InvalidRequest("TaskOffsets are not supported yet.")
    if request.task_end_offsets is not None:
        raise InvalidRequest("TaskEndOffsets are not supported yet.")
    if request.warmup_tasks:
        raise InvalidRequest("WarmupTasks are not supported yet.")
    if request.topology is not None and any(s.source_topic_regex for s in request.topology.subtopologies):
        raise InvalidRequest("Regular expressions for source topics are not supported yet.")


def _check_changelogs(topology: messages.Topology) -> None:
    for subtopology in topology.subtopologies:
        for info in subtopology.state_changelog_topics:
            if info.partitions:
                raise StreamsInvalidTopology(
                    f"Changelog topic {info.name} must have an undefined partition count, "
                    f"but it is set to {info.partitions}."
                )
        for group in subtopology.copartition_groups:
            for indexes, names in (
                (group.source_topics, subtopology.source_topics),
                (group.repartition_source_topics, subtopology.repartition_source_topics),
            ):
                if any(not 0 <= index < len(names) for index in indexes):
                    raise StreamsInvalidTopology(
                        f"A copartition group of subtopology {subtopology.subtopology_id} names a topic "
                        "that the subtopology does not have."
                    )


def heartbeat(
    shard: GroupShard,
    ticket: Ticket,
    now_ms: int,
    effects: Effects,
    caller: Caller,
    request: messages.StreamsGroupHeartbeatRequest,
) -> None:
    """Answer at once, with a `Reply`."""
    groups = streams_groups(shard)
    try:
        check_heartbeat(request)
        if request.member_epoch == LEAVING_EPOCH:
            reply = Reply(_leave(groups, request, now_ms, effects))
        else:
            reply = _Heartbeat(groups, caller, request, now_ms, effects).run()
    except KafkaError as error:
        reply = Reply(failed(error.code, str(error)))
    effects.answer(ticket, reply)


def failed(code: int, message: str) -> messages.StreamsGroupHeartbeatResponse:
    return messages.StreamsGroupHeartbeatResponse(
        error_code=code,
        error_message=message,
        status=[],
        active_tasks=None,
        standby_tasks=None,
        warmup_tasks=None,
        partitions_by_user_endpoint=None,
    )


def _leave(
    groups: StreamsGroups, request: messages.StreamsGroupHeartbeatRequest, now_ms: int, effects: Effects
) -> messages.StreamsGroupHeartbeatResponse:
    group = groups.find(request.group_id)
    member = group.member(request.member_id)
    if request.shutdown_application and group.shutdown_asked_by is None:
        group.shutdown_asked_by = member.member_id
    logger.info("streams group member left", group=group.group_id, member=member.member_id)
    groups.fence(group, [member], now_ms, effects)
    return messages.StreamsGroupHeartbeatResponse(
        member_id=member.member_id,
        member_epoch=request.member_epoch,
        status=[],
        active_tasks=None,
        standby_tasks=None,
        warmup_tasks=None,
        partitions_by_user_endpoint=None,
    )


class _Heartbeat:
    """One heartbeat that does not leave."""

    __slots__ = ("_caller", "_effects", "_groups", "_now_ms", "_owned", "_request", "_status")

    def __init__(
        self,
        groups: StreamsGroups,
        caller: Caller,
        request: messages.StreamsGroupHeartbeatRequest,
        now_ms: int,
        effects: Effects,
    ) -> None:
        self._groups = groups
        self._caller = caller
        self._request = request
        self._now_ms = now_ms
        self._effects = effects
        self._owned = owned_tasks(request.active_tasks, request.standby_tasks, request.warmup_tasks)
        self._status: list[messages.Status] = []

    def run(self) -> Reply:
        groups, request, effects, now_ms = self._groups, self._request, self._effects, self._now_ms
        group = self._group()
        before = self._member(group)
        topology = self._topology(group)
        configured = configure(topology, groups.catalog) if group.topology is None else groups.configured(group)
        if configured.is_ready():
            _check_owned(self._owned, configured.subtopologies)
        # Nothing is refused from here on.
        found = groups.shard.groups.get(request.group_id)
        if isinstance(found, ClassicGroup):
            found.write_tombstones(effects)
        was_empty = not group.members
        wanted = self._wanted(before)
        changed = wanted is not before or request.member_id not in group.members
        if changed:
            effects.write(*records.member(request.group_id, wanted))
            group = groups.written(request.group_id)
            if before.member_epoch == JOINING_EPOCH:
                logger.info("streams group member joined", group=group.group_id, member=request.member_id)
        if group.topology is None:
            effects.write(*records.topology(request.group_id, topology))
        self._tell_of_stale_topology(wanted, topology)
        groups.advance_group_epoch(group, effects, changed=changed)
        if was_empty:
            groups.delay_first_assignment(group, now_ms)
        delayed = group.group_epoch > group.target_epoch and groups.is_delayed(group)
        if delayed:
            self._tell(Status.ASSIGNMENT_DELAYED, "Assignment delayed due to the configured initial rebalance delay.")
        else:
            groups.advance_target(group, effects)
        after = groups.advance_member(group, wanted, self._owned, now_ms, effects, delayed=delayed)
        groups.expect_heartbeat(group, after, now_ms)
        if request.shutdown_application and group.shutdown_asked_by is None:
            group.shutdown_asked_by = request.member_id
        return self._reply(group, before, after)

    def _group(self) -> StreamsGroup:
        """The group as it is, or will be once it is made. Raises GroupIdNotFound or GroupMaxSizeReached."""
        group_id = self._request.group_id
        found = self._groups.shard.groups.get(group_id)
        joining = self._request.member_epoch == JOINING_EPOCH
        if isinstance(found, StreamsGroup):
            limit = self._groups.config.max_size
            if joining and self._request.member_id not in found.members and len(found.members) >= limit:
                raise GroupMaxSizeReached(f"The streams group has reached its maximum capacity of {limit} members.")
            return found
        if found is None and not joining:
            raise GroupIdNotFound(f"Streams group {group_id} not found.")
        if found is not None and not (joining and isinstance(found, ClassicGroup) and found.is_empty()):
            raise GroupIdNotFound(f"Group {group_id} is not a streams group.")
        return StreamsGroup(group_id)

    def _member(self, group: StreamsGroup) -> StreamsMember:
        """Raises UnknownMemberId or FencedMemberEpoch."""
        received = self._request.member_epoch
        if received == JOINING_EPOCH:
            return group.members.get(self._request.member_id) or StreamsMember(member_id=self._request.member_id)
        member = group.member(self._request.member_id)
        if received == member.member_epoch:
            return member
        may_have_missed_an_answer = received == member.previous_member_epoch
        if not may_have_missed_an_answer or self._owned is None or not member.assigned.holds_all_of(self._owned):
            raise fenced(GroupKind.STREAMS, received=received, known=member.member_epoch)
        return member

    def _topology(self, group: StreamsGroup) -> StreamsGroupTopologyValue:
        """The group's topology: the first one that a member brings. Raises InvalidRequest for another one."""
        brought = None if self._request.topology is None else as_record(self._request.topology)
        if group.topology is None:
            if brought is None:
                raise StreamsInvalidTopology(f"The streams group {group.group_id} has no topology.")
            return brought
        if brought is not None and brought.epoch >= group.topology.epoch and brought != group.topology:
            raise InvalidRequest("Topology updates are not supported yet.")
        return group.topology

    def _wanted(self, before: StreamsMember) -> StreamsMember:
        """The member with what the request says; `before` itself when it says nothing new."""
        request, endpoint = self._request, self._request.user_endpoint
        tags = request.client_tags
        says: dict[str, Any] = {
            "rack_id": request.rack_id,
            "rebalance_timeout_ms": None
            if request.rebalance_timeout_ms == NO_TIMEOUT
            else request.rebalance_timeout_ms,
            "topology_epoch": None if request.topology is None else request.topology.epoch,
            "client_id": self._caller.client_id,
            "client_host": self._caller.client_host,
            "process_id": request.process_id,
            "client_tags": None if tags is None else tuple(sorted((tag.key, tag.value) for tag in tags)),
            "user_endpoint": None if endpoint is None else Endpoint(endpoint.host, endpoint.port),
        }
        new = {name: value for name, value in says.items() if value is not None and value != getattr(before, name)}
        return replace(before, **new) if new else before

    def _tell(self, status: Status, detail: str) -> None:
        self._status.append(messages.Status(status_code=status, status_detail=detail))

    def _tell_of_stale_topology(self, member: StreamsMember, topology: StreamsGroupTopologyValue) -> None:
        if member.topology_epoch < topology.epoch:
            self._tell(
                Status.STALE_TOPOLOGY,
                f"The member's topology epoch {member.topology_epoch} is behind the group's topology epoch "
                f"{topology.epoch}.",
            )

    def _reply(self, group: StreamsGroup, before: StreamsMember, after: StreamsMember) -> Reply:
        """Tasks are told to a member that may not know them: it joins, they have changed, or it says other ones.

        The last is not Kafka's: a member whose answer was lost learns of its tasks without joining anew.
        """
        says_others = self._owned is not None and not after.assigned.is_exactly(self._owned)
        joins = self._request.member_epoch == JOINING_EPOCH
        tell = joins or before.assigned != after.assigned or says_others
        if tell and after.user_endpoint is not None:
            group.endpoint_epoch += 1
        assert group.configured is not None, "worked out with the group epoch"
        trouble = group.configured.trouble
        if trouble is not None:
            self._tell(trouble.status, trouble.detail)
        if group.shutdown_asked_by is not None:
            self._tell(
                Status.SHUTDOWN_APPLICATION,
                f"Streams group member {group.shutdown_asked_by} encountered a fatal error and requested a shutdown "
                "for the entire application.",
            )
        knows_endpoints = group.endpoint_epoch == self._request.endpoint_information_epoch
        response = messages.StreamsGroupHeartbeatResponse(
            member_id=after.member_id,
            member_epoch=after.member_epoch,
            heartbeat_interval_ms=self._groups.settings_of(group.group_id).streams_heartbeat_interval_ms,
            status=self._status,
            active_tasks=_task_ids(after.assigned.active) if tell else None,
            standby_tasks=_task_ids(after.assigned.standby) if tell else None,
            warmup_tasks=_task_ids(after.assigned.warmup) if tell else None,
            endpoint_information_epoch=group.endpoint_epoch,
            partitions_by_user_endpoint=(
                None if knows_endpoints else partitions_by_endpoint(group, self._groups.catalog)
            ),
        )
        return Reply(response, group.configured.to_create)


def _check_owned(owned: Tasks | None, subtopologies: Mapping[str, ConfiguredSubtopology]) -> None:
    """Raises InvalidRequest for tasks that the topology does not have."""
    for indexes in owned or ():
        for name, found in indexes.items():
            subtopology = subtopologies.get(name)
            if subtopology is None:
                raise InvalidRequest(f"Subtopology {name} does not exist in the topology.")
            for index in found:
                if not 0 <= index < subtopology.tasks:
                    raise InvalidRequest(
                        f"Task {index} for subtopology {name} is invalid. "
                        f"Number of tasks for this subtopology: {subtopology.tasks}"
                    )


def _task_ids(tasks: Mapping[str, Any]) -> list[messages.StreamsGroupHeartbeatResponseTaskIds]:
    return [
        messages.StreamsGroupHeartbeatResponseTaskIds(subtopology_id=name, partitions=sorted(found))
        for name, found in sorted(tasks.items())
    ]
