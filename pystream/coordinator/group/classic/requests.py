"""SyncGroup, Heartbeat and LeaveGroup of classic groups.

SyncGroup: the leader brings what everybody is assigned, the others wait for it. Heartbeat: a member lives, and learns
of rebalances. LeaveGroup: members go at once, without waiting for their sessions to end; an administrator names static
members by their instance ids alone.
"""

from __future__ import annotations

from pystream.common.error_codes import (
    COORDINATOR_NOT_AVAILABLE,
    ILLEGAL_GENERATION,
    INCONSISTENT_GROUP_PROTOCOL,
    NONE,
    REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID,
)
from pystream.common.errors import KafkaError
from pystream.common.logging import get_logger
from pystream.coordinator.group.classic.groups import ClassicGroups
from pystream.coordinator.group.classic.state import NO_MEMBER_ID, ClassicGroup, ClassicState
from pystream.coordinator.group.group import Caller, GroupKind
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.coordinator_records.group_metadata import GroupMetadataKey
from pystream.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from pystream.protocol.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from pystream.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

logger = get_logger(__name__)


def sync_group(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, caller: Caller, request: SyncGroupRequest
) -> None:
    """Answered at once when the assignment is known, or when the leader has brought it."""
    group = shard.groups.get(request.group_id)
    if not isinstance(group, ClassicGroup):
        bridge = None if group is None or group.is_empty() else shard.bridges.get(group.kind)
        if group is None or bridge is None:
            effects.answer(ticket, SyncGroupResponse(error_code=UNKNOWN_MEMBER_ID))
        else:
            bridge.sync_group(group, caller, request, ticket, now_ms, effects)
        return
    groups = shard.part(ClassicGroups)
    code = _sync_fault(group, request)
    if code != NONE:
        effects.answer(ticket, SyncGroupResponse(error_code=code))
        return
    member = group.members[request.member_id]
    group.pending_syncs.discard(member.member_id)
    if group.state is ClassicState.STABLE:
        effects.answer(ticket, groups.assigned(group, member))
        return
    groups.answer_sync_error(member, REBALANCE_IN_PROGRESS, effects)  # asked on another connection before
    member.awaiting_sync = ticket
    if group.is_leader(member.member_id):
        group.move_to(ClassicState.STABLE, now_ms)
        assignments = {assigned.member_id: assigned.assignment for assigned in request.assignments}
        effects.write(GroupMetadataKey(group=group.group_id), group.record(assignments))
        shard.metrics.rebalances[GroupKind.CLASSIC] += 1
        logger.info("group stable", group=group.group_id, generation=group.generation, leader=member.member_id)
        groups.propagate(group, now_ms, effects)


def _sync_fault(group: ClassicGroup, request: SyncGroupRequest) -> int:
    if group.state is ClassicState.EMPTY:
        return UNKNOWN_MEMBER_ID
    try:
        group.check_member(request.member_id, request.group_instance_id)
    except KafkaError as error:
        return error.code
    if request.generation_id != group.generation:
        return ILLEGAL_GENERATION
    if _differs(request.protocol_type, group.protocol_type_name) or _differs(
        request.protocol_name, group.protocol_name
    ):
        return INCONSISTENT_GROUP_PROTOCOL
    if group.state is ClassicState.PREPARING_REBALANCE:
        return REBALANCE_IN_PROGRESS
    return NONE


def _differs(asked: str | None, known: str | None) -> bool:
    return asked is not None and known is not None and asked != known


def heartbeat(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, caller: Caller, request: HeartbeatRequest
) -> None:
    group = shard.groups.get(request.group_id)
    if isinstance(group, ClassicGroup):
        code = _heartbeat(shard, group, now_ms, request)
        effects.answer(ticket, HeartbeatResponse(error_code=code), at_once=True)
        return
    bridge = None if group is None else shard.bridges.get(group.kind)
    if group is None or bridge is None:
        effects.answer(ticket, HeartbeatResponse(error_code=UNKNOWN_MEMBER_ID), at_once=True)
    else:
        bridge.heartbeat(group, caller, request, ticket, now_ms, effects)


def _heartbeat(shard: GroupShard, group: ClassicGroup, now_ms: int, request: HeartbeatRequest) -> int:
    if group.state is ClassicState.DEAD:
        return COORDINATOR_NOT_AVAILABLE
    try:
        group.check_member(request.member_id, request.group_instance_id)
    except KafkaError as error:
        return error.code
    if request.generation_id != group.generation:
        return ILLEGAL_GENERATION
    shard.part(ClassicGroups).expect_heartbeat(group, group.members[request.member_id], now_ms)
    return REBALANCE_IN_PROGRESS if group.state is ClassicState.PREPARING_REBALANCE else NONE


def leave_group(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, caller: Caller, request: LeaveGroupRequest
) -> None:
    """`request.members` names who leaves; versions below 3 are brought to that form by whoever calls."""
    group = shard.groups.get(request.group_id)
    if not isinstance(group, ClassicGroup):
        bridge = None if group is None else shard.bridges.get(group.kind)
        if group is None or bridge is None:
            effects.answer(ticket, LeaveGroupResponse(members=[_left(m, UNKNOWN_MEMBER_ID) for m in request.members]))
        else:
            bridge.leave_group(group, caller, request, ticket, now_ms, effects)
        return
    groups = shard.part(ClassicGroups)
    results = [_left(member, _leave(groups, group, member, effects)) for member in request.members]
    if any(result.error_code == NONE for result in results):
        groups.rebalance_without(group, now_ms, effects, "members left")
    effects.answer(ticket, LeaveGroupResponse(members=results))


def _leave(groups: ClassicGroups, group: ClassicGroup, member: MemberIdentity, effects: Effects) -> int:
    member_id = member.member_id
    if member_id == NO_MEMBER_ID:
        found = None if member.group_instance_id is None else group.static_members.get(member.group_instance_id)
        if found is None:
            return UNKNOWN_MEMBER_ID
        member_id = found
    elif member_id in group.pending_joins:
        groups.shard.timers.cancel(("classic-session", group.group_id, member_id))
        group.remove(member_id)
        return NONE
    else:
        try:
            group.check_member(member_id, member.group_instance_id)
        except KafkaError as error:
            return error.code
    logger.info("group member left", group=group.group_id, member=member_id, reason=member.reason)
    groups.remove(group, group.members[member_id], effects)
    return NONE


def _left(member: MemberIdentity, code: int) -> MemberResponse:
    return MemberResponse(member_id=member.member_id, group_instance_id=member.group_instance_id, error_code=code)
