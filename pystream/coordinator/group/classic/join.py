"""JoinGroup: a member comes, comes back, or takes the place of a static member that had its instance id.

A first JoinGroup has no member id. From version 4 on it is answered with MEMBER_ID_REQUIRED and an id, so that clients
that give up and ask again leave nobody behind; older ones, and static members, join at once. The answer comes when the
rebalance is through, or at once when nothing changes for the group.
"""

from __future__ import annotations

from pystream.common.error_codes import (
    FENCED_INSTANCE_ID,
    GROUP_MAX_SIZE_REACHED,
    INCONSISTENT_GROUP_PROTOCOL,
    INVALID_SESSION_TIMEOUT,
    MEMBER_ID_REQUIRED,
    REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID,
)
from pystream.common.errors import KafkaError
from pystream.common.logging import get_logger
from pystream.coordinator.group.classic.groups import NEW_MEMBER_JOIN_TIMEOUT_MS, ClassicGroups
from pystream.coordinator.group.classic.state import (
    NO_MEMBER_ID,
    ClassicGroup,
    ClassicMember,
    ClassicState,
    Protocols,
)
from pystream.coordinator.group.group import Caller, GroupKind
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.machine import NO_TICKET, Effects, Ticket
from pystream.protocol.coordinator_records.group_metadata import GroupMetadataKey
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse

logger = get_logger(__name__)

LONGEST_ID_STEM_BYTES = 32_000  # with what makes it unique an id still fits into a record's string
MEMBER_ID_REQUIRED_VERSION = 4
SKIP_ASSIGNMENT_VERSION = 9


def join_group(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, caller: Caller, request: JoinGroupRequest
) -> None:
    """Answer at once or when the rebalance is through."""
    groups = shard.part(ClassicGroups)
    if not groups.config.min_session_timeout_ms <= request.session_timeout_ms <= groups.config.max_session_timeout_ms:
        effects.answer(ticket, refused(INVALID_SESSION_TIMEOUT, request.member_id), at_once=True)
        return
    group = shard.groups.get(request.group_id)
    if group is not None and group.kind is not GroupKind.CLASSIC and not _gives_way(group.kind, group.is_empty()):
        bridge = shard.bridges.get(group.kind)
        if bridge is None or group.is_empty():
            effects.answer(ticket, refused(INCONSISTENT_GROUP_PROTOCOL, NO_MEMBER_ID))
        else:
            bridge.join_group(group, caller, request, ticket, now_ms, effects)
        return
    if group is None or group.kind is not GroupKind.CLASSIC:
        if request.member_id != NO_MEMBER_ID:
            effects.answer(ticket, refused(UNKNOWN_MEMBER_ID, request.member_id))
            return
        if not request.protocol_type or not request.protocols:
            effects.answer(ticket, refused(INCONSISTENT_GROUP_PROTOCOL, NO_MEMBER_ID))
            return
    Join(groups, groups.create(request.group_id, now_ms, effects), ticket, now_ms, effects, caller, request).run()


def _gives_way(kind: GroupKind, empty: bool) -> bool:
    """Whether a group of another kind becomes a classic one by a JoinGroup."""
    return empty and kind in (GroupKind.CONSUMER, GroupKind.STREAMS)


def refused(code: int, member_id: str) -> JoinGroupResponse:
    return JoinGroupResponse(error_code=code, member_id=member_id, protocol_name=None)


class Join:
    """One JoinGroup to a classic group, with all that its answer depends on."""

    def __init__(
        self,
        groups: ClassicGroups,
        group: ClassicGroup,
        ticket: Ticket,
        now_ms: int,
        effects: Effects,
        caller: Caller,
        request: JoinGroupRequest,
    ) -> None:
        self.groups = groups
        self.group = group
        self.ticket = ticket
        self.now_ms = now_ms
        self.effects = effects
        self.caller = caller
        self.request = request
        protocols: dict[str, bytes] = {}
        for protocol in request.protocols:
            protocols.setdefault(protocol.name, protocol.metadata)
        self.protocols: Protocols = tuple(protocols.items())
        rebalance_timeout_ms = request.rebalance_timeout_ms
        self.rebalance_timeout_ms = request.session_timeout_ms if rebalance_timeout_ms < 0 else rebalance_timeout_ms
        self.reason = request.reason or "not provided"

    def run(self) -> None:
        group, request = self.group, self.request
        if not self._has_room():
            group.remove(request.member_id)
            self.groups.shard.timers.cancel(("classic-session", group.group_id, request.member_id))
            self._refuse(GROUP_MAX_SIZE_REACHED, NO_MEMBER_ID)
            self.groups.complete_if_all_joined(group, self.now_ms, self.effects)
        elif not group.supports(request.protocol_type, [name for name, _ in self.protocols]):
            self._refuse(INCONSISTENT_GROUP_PROTOCOL, request.member_id)
        elif request.member_id == NO_MEMBER_ID:
            self._new_member()
        elif request.member_id in group.pending_joins:
            if request.group_instance_id is not None:  # ids are given out to dynamic members only
                self._refuse(UNKNOWN_MEMBER_ID, request.member_id)
            else:
                self._add(request.member_id)
        else:
            self._known_member()

    def _has_room(self) -> bool:
        """Whether group.max.size lets this member in; whoever is in stays, but the last to join again may not."""
        group, max_size = self.group, self.groups.config.max_size
        member = group.members.get(self.request.member_id)
        if group.state is ClassicState.EMPTY:
            return True
        if group.state is ClassicState.PREPARING_REBALANCE:
            return (member is not None and member.awaiting_join != NO_TICKET) or group.awaiting_joins < max_size
        return member is not None or len(group.members) < max_size

    def _refuse(self, code: int, member_id: str) -> None:
        self.effects.answer(self.ticket, refused(code, member_id))

    def _answer_now(self, member: ClassicMember) -> None:
        self.effects.answer(self.ticket, self.groups.joined(self.group, member))

    # who joins for the first time

    def _new_member(self) -> None:
        group, instance_id = self.group, self.request.group_instance_id
        if instance_id is not None:
            member_id = self._new_id(instance_id)
            existing = group.static_members.get(instance_id)
            if existing is None:
                self._add(member_id)
            else:
                self._replace_static(group.members[existing], member_id)
            return
        member_id = self._new_id(self.caller.client_id)
        if self.caller.api_version >= MEMBER_ID_REQUIRED_VERSION:
            self.groups.expect_join(group, member_id, self.request.session_timeout_ms, self.now_ms)
            self._refuse(MEMBER_ID_REQUIRED, member_id)
        else:
            self._add(member_id)

    def _new_id(self, stem: str) -> str:
        """A member id that shows whose it is."""
        if len(stem) * 4 > LONGEST_ID_STEM_BYTES:
            stem = stem.encode()[:LONGEST_ID_STEM_BYTES].decode(errors="ignore")
        return f"{stem}-{self.groups.member_suffix()}"

    def _add(self, member_id: str) -> None:
        group, request = self.group, self.request
        member = ClassicMember(
            member_id=member_id,
            group_instance_id=request.group_instance_id,
            client_id=self.caller.client_id,
            client_host=self.caller.client_host,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            session_timeout_ms=request.session_timeout_ms,
            protocol_type=request.protocol_type,
            protocols=self.protocols,
            awaiting_join=self.ticket,
            is_new=True,
        )
        if group.state is ClassicState.PREPARING_REBALANCE and group.previous_state is ClassicState.EMPTY:
            group.new_member_added = True
        group.add(member)
        self.groups.expect_heartbeat(group, member, self.now_ms, NEW_MEMBER_JOIN_TIMEOUT_MS)
        self._rebalance(f"member {member_id} joined; client reason: {self.reason}")

    # who is a member already

    def _known_member(self) -> None:
        group, request = self.group, self.request
        try:
            group.check_member(request.member_id, request.group_instance_id)
        except KafkaError as error:
            self._refuse(error.code, request.member_id)
            return
        member = group.members[request.member_id]
        same = member.protocols == self.protocols
        if group.state is ClassicState.COMPLETING_REBALANCE and same:
            self._answer_now(member)  # it may have missed the answer to its first request
        elif group.state is ClassicState.STABLE and same and not group.is_leader(member.member_id):
            self._answer_now(member)  # it goes on to SyncGroup
        else:  # a leader joins again to have everything assigned anew
            self._update(member)
            self._rebalance(f"member {member.member_id} joined again; client reason: {self.reason}")

    def _update(self, member: ClassicMember) -> None:
        """Take over what the member says now, and let it wait."""
        self.group.set_protocols(member, self.protocols)
        member.rebalance_timeout_ms = self.rebalance_timeout_ms
        member.session_timeout_ms = self.request.session_timeout_ms
        before = self.group.set_awaiting_join(member, self.ticket)
        if before != NO_TICKET:  # the same member on another connection: only the last request is served
            self.effects.answer(before, refused(REBALANCE_IN_PROGRESS, member.member_id))

    def _rebalance(self, reason: str) -> None:
        self.groups.rebalance_or_complete_join(self.group, self.now_ms, self.effects, reason)

    # who takes the place of a static member

    def _replace_static(self, member: ClassicMember, member_id: str) -> None:
        group, groups, effects = self.group, self.groups, self.effects
        old_member_id, old_leader = member.member_id, group.leader_id or ""
        logger.info("static member replaced", group=group.group_id, member=old_member_id, by=member_id)
        groups.answer_join_error(group, member, FENCED_INSTANCE_ID, effects, member_id=old_member_id)
        groups.answer_sync_error(member, FENCED_INSTANCE_ID, effects)
        groups.shard.timers.cancel(("classic-session", group.group_id, old_member_id))
        group.rename_static_member(member, member_id)
        member.client_id, member.client_host = self.caller.client_id, self.caller.client_host
        self._update(member)
        groups.expect_heartbeat(group, member, self.now_ms)
        reason = f"static member {member_id} joined; client reason: {self.reason}"
        if group.state is ClassicState.STABLE and group.select_protocol() == group.protocol_name:
            self._replace_quietly(member, old_leader)
        elif group.can_rebalance():
            # Also before the leader's SyncGroup: what it assigns may still be for the old member id.
            groups.prepare_rebalance(group, self.now_ms, effects, reason)
        else:
            groups.complete_if_all_joined(group, self.now_ms, effects)

    def _replace_quietly(self, member: ClassicMember, old_leader: str) -> None:
        """Nothing changes for the others: the member takes over what its predecessor was assigned."""
        group, groups = self.group, self.groups
        assignments = {other.member_id: other.assignment for other in group.members.values()}
        self.effects.write(GroupMetadataKey(group=group.group_id), group.record(assignments))
        group.set_awaiting_join(member, NO_TICKET)
        if self.caller.api_version >= SKIP_ASSIGNMENT_VERSION:
            response = groups.joined(group, member, skip_assignment=group.is_leader(member.member_id))
        else:  # told of the old leader it does not try to assign
            response = groups.joined(group, member)
            response.leader, response.members = old_leader, ()
        self.effects.answer(self.ticket, response)
