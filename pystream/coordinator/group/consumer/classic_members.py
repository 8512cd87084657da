"""Members that speak the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

    JoinGroup   says what the member wants and has; it takes one step; the answer's generation is its epoch
    SyncGroup   gives what it has been assigned, which the server has worked out: nobody leads
    Heartbeat   REBALANCE_IN_PROGRESS when it is to join again: for a new epoch, to give up, or to take what is free now

It has its rebalance time-out to join, and again to sync. Source: KIP-848, "supporting online consumer group upgrade".
"""

from __future__ import annotations

from dataclasses import replace

from pystream.common.error_codes import MEMBER_ID_REQUIRED, NONE, REBALANCE_IN_PROGRESS
from pystream.common.errors import (
    IllegalGeneration,
    InconsistentGroupProtocol,
    KafkaError,
    MalformedInput,
    RebalanceInProgress,
    UnknownMemberId,
)
from pystream.common.logging import get_logger
from pystream.coordinator.group.consumer import records
from pystream.coordinator.group.consumer.group import PROTOCOL_TYPE, ConsumerGroup
from pystream.coordinator.group.consumer.groups import JOIN, SYNC, ConsumerGroups
from pystream.coordinator.group.consumer.heartbeat import (
    check_not_full,
    known_static_member,
    replace_static_member,
)
from pystream.coordinator.group.consumer.member import ClassicMetadata, ClassicProtocol, ConsumerMember
from pystream.coordinator.group.consumer.migration import by_id, by_name, downgrade, may_downgrade
from pystream.coordinator.group.group import Caller, Group
from pystream.coordinator.group.modern.member import MemberState
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.consumer_protocol import read_subscription, subscription_version, write_assignment
from pystream.protocol.messages.consumer_protocol_subscription import ConsumerProtocolSubscription
from pystream.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from pystream.protocol.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from pystream.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

logger = get_logger(__name__)

NO_MEMBER_ID = ""
FIRST_JOIN_WITH_KNOWN_IDS = 4  # KIP-394: a dynamic member joins a second time, with the id that it was given


class ClassicMembers:
    """The shard's bridge from classic requests to consumer groups."""

    def __init__(self, groups: ConsumerGroups) -> None:
        self._groups = groups

    def join_group(
        self,
        group: Group,
        caller: Caller,
        request: JoinGroupRequest,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
    ) -> None:
        assert isinstance(group, ConsumerGroup)
        try:
            response = self._join(group, caller, request, now_ms, effects)
        except KafkaError as error:
            response = JoinGroupResponse(error_code=error.code, member_id=request.member_id, protocol_name=None)
        effects.answer(ticket, response)

    def sync_group(
        self,
        group: Group,
        caller: Caller,
        request: SyncGroupRequest,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
    ) -> None:
        assert isinstance(group, ConsumerGroup)
        try:
            response = self._sync(group, request, now_ms)
        except KafkaError as error:
            response = SyncGroupResponse(error_code=error.code)
        effects.answer(ticket, response)

    def heartbeat(
        self,
        group: Group,
        caller: Caller,
        request: HeartbeatRequest,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
    ) -> None:
        assert isinstance(group, ConsumerGroup)
        try:
            code = self._heartbeat(group, request, now_ms)
        except KafkaError as error:
            code = error.code
        effects.answer(ticket, HeartbeatResponse(error_code=code))

    def leave_group(
        self,
        group: Group,
        caller: Caller,
        request: LeaveGroupRequest,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
    ) -> None:
        """One result for each member that is named; those who are in leave together."""
        assert isinstance(group, ConsumerGroup)
        leaving: dict[str, ConsumerMember] = {}
        answers = []
        for named in request.members:
            code = NONE
            try:
                member = self._leaving(group, named)
                leaving[member.member_id] = member
            except KafkaError as error:
                code = error.code
            answers.append(
                MemberResponse(member_id=named.member_id, group_instance_id=named.group_instance_id, error_code=code)
            )
        self._groups.fence(group, leaving.values(), now_ms, effects)
        effects.answer(ticket, LeaveGroupResponse(members=answers))

    # JoinGroup

    def _join(
        self, group: ConsumerGroup, caller: Caller, request: JoinGroupRequest, now_ms: int, effects: Effects
    ) -> JoinGroupResponse:
        groups, instance_id = self._groups, request.group_instance_id
        is_new = request.member_id == NO_MEMBER_ID
        member_id = groups.new_member_id() if is_new else request.member_id
        check_not_full(group, groups.config, member_id)
        names = [protocol.name for protocol in request.protocols]
        if not group.supports_classic_protocols(request.protocol_type, names):
            raise InconsistentGroupProtocol(f"Member {member_id}'s protocols are not supported.")
        if is_new and instance_id is None and caller.api_version >= FIRST_JOIN_WITH_KNOWN_IDS:
            return JoinGroupResponse(error_code=MEMBER_ID_REQUIRED, member_id=member_id, protocol_name=None)
        replaced = None
        if instance_id is None:
            before = group.members.get(member_id) or ConsumerMember(member_id=member_id)
        elif is_new:
            replaced = group.static_member(instance_id)
            before = replaced or ConsumerMember(member_id=member_id)
        else:
            before = known_static_member(group, instance_id, member_id)
        subscription = _subscription(request)
        # Nothing is refused from here on.
        if replaced is not None:
            before = replace_static_member(groups, group, replaced, member_id, effects)
        member = self._wanted(before, caller, request, subscription)
        if member != before or member_id not in group.members:
            effects.write(*records.member(group.group_id, member))
        changed = (
            member.subscribed_topic_names != before.subscribed_topic_names
            or member.subscribed_topic_regex != before.subscribed_topic_regex
        )
        if group.regexes:
            groups.refresh_regexes(group, now_ms, effects)
        groups.advance_group_epoch(group, effects, changed=changed)
        downgrades = replaced is not None and may_downgrade(groups, group, list(group.members.values()))
        if not downgrades:
            groups.advance_target(group, effects)
        if not (downgrades and changed):
            owned = by_id(subscription.owned_partitions, groups.catalog)
            member = groups.advance_member(group, member, owned, now_ms, effects, subscription_changed=changed)
        if downgrades:
            downgrade(groups, group, now_ms, effects, rebalance=changed)
        else:
            self._expect_sync(group, member, now_ms)
        return JoinGroupResponse(
            member_id=member_id,
            generation_id=member.member_epoch,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=names[0],
        )

    def _expect_sync(self, group: ConsumerGroup, member: ConsumerMember, now_ms: int) -> None:
        groups = self._groups
        groups.shard.timers.cancel((JOIN, group.group_id, member.member_id))
        groups.expect_heartbeat(group, member, now_ms)
        deadline_ms = now_ms + member.rebalance_timeout_ms
        groups.fence_after(SYNC, group, member, deadline_ms, "it did not sync in time")

    def _wanted(
        self,
        before: ConsumerMember,
        caller: Caller,
        request: JoinGroupRequest,
        subscription: ConsumerProtocolSubscription,
    ) -> ConsumerMember:
        timeout_ms = request.rebalance_timeout_ms
        if timeout_ms < 0:
            timeout_ms = before.rebalance_timeout_ms if before.rebalance_timeout_ms >= 0 else request.session_timeout_ms
        return replace(
            before,
            instance_id=request.group_instance_id or before.instance_id,
            rack_id=subscription.rack_id or before.rack_id,
            rebalance_timeout_ms=timeout_ms,
            subscribed_topic_names=frozenset(subscription.topics),
            subscribed_topic_regex="",
            client_id=caller.client_id,
            client_host=caller.client_host,
            classic=ClassicMetadata(
                request.session_timeout_ms,
                tuple(ClassicProtocol(protocol.name, bytes(protocol.metadata)) for protocol in request.protocols),
            ),
        )

    # The others

    def _sync(self, group: ConsumerGroup, request: SyncGroupRequest, now_ms: int) -> SyncGroupResponse:
        member, classic = _classic_member(group, request.member_id, request.group_instance_id)
        _check_generation(member, request.generation_id)
        protocol = classic.protocols[0]
        if request.protocol_type not in (None, PROTOCOL_TYPE):
            raise InconsistentGroupProtocol(
                f"The protocol type {request.protocol_type} from member {member.member_id} request is not equal to the "
                f"group protocol type {PROTOCOL_TYPE}."
            )
        if request.protocol_name not in (None, protocol.name):
            raise InconsistentGroupProtocol(
                f"The protocol name {request.protocol_name} from member {member.member_id} request is not equal to the "
                f"protocol name {protocol.name} returned in the join response."
            )
        if group.group_epoch > member.member_epoch and member.state is not MemberState.UNREVOKED:
            self._expect_join(group, member, now_ms)
            raise RebalanceInProgress(
                f"A new rebalance is triggered in group {group.group_id} and member {member.member_id} should rejoin "
                "to catch up."
            )
        self._groups.shard.timers.cancel((SYNC, group.group_id, member.member_id))
        self._groups.expect_heartbeat(group, member, now_ms)
        assignment = by_name(member.assigned, self._groups.catalog)
        return SyncGroupResponse(
            protocol_type=request.protocol_type,
            protocol_name=request.protocol_name,
            assignment=write_assignment(assignment, subscription_version(protocol.metadata)),
        )

    def _heartbeat(self, group: ConsumerGroup, request: HeartbeatRequest, now_ms: int) -> int:
        member, _ = _classic_member(group, request.member_id, request.group_instance_id)
        _check_generation(member, request.generation_id)
        self._groups.expect_heartbeat(group, member, now_ms)
        must_join = (
            member.member_epoch < group.group_epoch
            or member.state is MemberState.UNREVOKED
            or (member.state is MemberState.UNRELEASED and not group.waits_for_others(member))
        )
        if not must_join:
            return NONE
        self._expect_join(group, member, now_ms)
        return REBALANCE_IN_PROGRESS

    def _expect_join(self, group: ConsumerGroup, member: ConsumerMember, now_ms: int) -> None:
        """Counted from the first time that it is told to join."""
        if self._groups.shard.timers.deadline_of((JOIN, group.group_id, member.member_id)) is None:
            deadline_ms = now_ms + member.rebalance_timeout_ms
            self._groups.fence_after(JOIN, group, member, deadline_ms, "it did not join again in time")

    def _leaving(self, group: ConsumerGroup, named: MemberIdentity) -> ConsumerMember:
        """The member that is named; an administrator names static ones by their instance id alone."""
        if named.group_instance_id is None:
            return group.member(named.member_id)
        existing = group.static_member(named.group_instance_id)
        if existing is not None and named.member_id == NO_MEMBER_ID:
            return existing
        return known_static_member(group, named.group_instance_id, named.member_id)


def _subscription(request: JoinGroupRequest) -> ConsumerProtocolSubscription:
    """What the member likes best. Raises InconsistentGroupProtocol where it does not parse."""
    try:
        return read_subscription(bytes(request.protocols[0].metadata))
    except MalformedInput as error:
        raise InconsistentGroupProtocol(
            f"Malformed embedded consumer protocol in the subscription of protocol {request.protocols[0].name}."
        ) from error


def _classic_member(
    group: ConsumerGroup, member_id: str, instance_id: str | None
) -> tuple[ConsumerMember, ClassicMetadata]:
    if instance_id is None:
        member = group.member(member_id)
    else:
        member = known_static_member(group, instance_id, member_id)
    if member.classic is None:
        raise UnknownMemberId(f"Member {member_id} does not use the classic protocol.")
    return member, member.classic


def _check_generation(member: ConsumerMember, generation: int) -> None:
    if member.member_epoch != generation:
        raise IllegalGeneration(
            f"The request generation id {generation} is not equal to the member epoch {member.member_epoch} of member "
            f"{member.member_id}."
        )
