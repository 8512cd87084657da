"""ClassicGroups: the classic part of a shard: records, sessions, and how a rebalance goes from its start to its end.

A rebalance of a group that was empty waits for `group.initial.rebalance.delay.ms`, and as long again while new members
keep coming, up to the longest rebalance time-out among them. Any other ends as soon as all members have joined, or
after that time-out without those who have not; static members stay. Then all must send SyncGroup within that time.

Timers: ("classic-join", group id), ("classic-sync", group id), ("classic-session", group id, member id).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from pystream.common.error_codes import NONE, NOT_COORDINATOR, REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID
from pystream.common.logging import get_logger
from pystream.coordinator.group.classic.state import (
    NO_MEMBER_ID,
    ClassicGroup,
    ClassicMember,
    ClassicState,
)
from pystream.coordinator.group.config import ClassicGroupConfig
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.machine import NO_TICKET, Effects, Record
from pystream.protocol.coordinator_records.group_metadata import GroupMetadataKey, GroupMetadataValue
from pystream.protocol.messages.join_group import JoinGroupResponse, JoinGroupResponseMember
from pystream.protocol.messages.sync_group import SyncGroupResponse

logger = get_logger(__name__)

NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000  # a first JoinGroup that waits longer is given up: its client asks again


def random_member_suffix() -> str:
    return str(uuid.uuid4())


class ClassicGroups:
    """See the head of this module. `member_suffix` makes member ids unique; a test may count instead."""

    def __init__(
        self,
        shard: GroupShard,
        config: ClassicGroupConfig,
        *,
        member_suffix: Callable[[], str] = random_member_suffix,
    ) -> None:
        self.shard = shard
        self.config = config
        self.member_suffix = member_suffix

    # the shard's part

    def replays(self) -> Mapping[type, Replay]:
        return {GroupMetadataKey: self._replay_group}

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """Groups write nothing in transactions."""

    def loaded(self, now_ms: int, effects: Effects) -> None:
        for group in self._all():
            for member in group.members.values():
                self.expect_heartbeat(group, member, now_ms)
            if len(group.members) > self.config.max_size:
                self.prepare_rebalance(group, now_ms, effects, "the loaded group is over group.max.size")

    def unloaded(self, effects: Effects) -> None:
        for group in self._all():
            group.previous_state, group.state = group.state, ClassicState.DEAD
            for member in group.members.values():
                self.answer_join_error(group, member, NOT_COORDINATOR, effects, member_id=member.member_id)
                self.answer_sync_error(member, NOT_COORDINATOR, effects)

    def _all(self) -> list[ClassicGroup]:
        return [group for group in self.shard.groups.values() if isinstance(group, ClassicGroup)]

    def _replay_group(self, record: Record) -> None:
        group_id = record.key.group
        group = self.find(group_id)
        if record.value is None:
            if group is not None:
                self.forget(group)
            return
        if group is None:
            group = self.shard.groups[group_id] = ClassicGroup(group_id)
        for member_id in group.restore(record.value):
            self.shard.timers.cancel(("classic-session", group_id, member_id))

    # groups

    def find(self, group_id: str) -> ClassicGroup | None:
        """The classic group of this id; None when there is none, or one of another kind."""
        group = self.shard.groups.get(group_id)
        return group if isinstance(group, ClassicGroup) else None

    def create(self, group_id: str, now_ms: int, effects: Effects) -> ClassicGroup:
        """The classic group of this id, new when need be; an empty one of another kind gives way."""
        group = self.shard.groups.get(group_id)
        if isinstance(group, ClassicGroup):
            return group
        if group is not None:
            group.write_tombstones(effects)
            logger.info("empty group became classic", group=group_id, kind=group.kind)
        empty = GroupMetadataValue(protocol=None, leader=None, current_state_timestamp=now_ms)
        effects.write(GroupMetadataKey(group=group_id), empty)
        created = self.shard.groups[group_id]
        assert isinstance(created, ClassicGroup)
        return created

    def forget(self, group: ClassicGroup) -> None:
        """Take a group out of the shard, with what is planned for it. Nobody may wait in it."""
        del self.shard.groups[group.group_id]
        self.shard.timers.cancel(("classic-join", group.group_id))
        self.shard.timers.cancel(("classic-sync", group.group_id))
        for member_id in (*group.members, *group.pending_joins):
            self.shard.timers.cancel(("classic-session", group.group_id, member_id))
        group.state = ClassicState.DEAD

    # answers to those who wait

    def answer_join_error(
        self,
        group: ClassicGroup,
        member: ClassicMember,
        code: int,
        effects: Effects,
        *,
        member_id: str = NO_MEMBER_ID,
    ) -> None:
        """End the member's JoinGroup, if one waits."""
        ticket = group.set_awaiting_join(member, NO_TICKET)
        if ticket != NO_TICKET:
            effects.answer(ticket, JoinGroupResponse(error_code=code, member_id=member_id, protocol_name=None))

    def answer_sync_error(self, member: ClassicMember, code: int, effects: Effects) -> None:
        """End the member's SyncGroup, if one waits."""
        if member.awaiting_sync != NO_TICKET:
            effects.answer(member.awaiting_sync, SyncGroupResponse(error_code=code))
            member.awaiting_sync = NO_TICKET

    def joined(self, group: ClassicGroup, member: ClassicMember, *, skip_assignment: bool = False) -> JoinGroupResponse:
        """What a member of this generation is told; the leader learns who the others are."""
        members = []
        if group.is_leader(member.member_id):
            members = [
                JoinGroupResponseMember(
                    member_id=other.member_id,
                    group_instance_id=other.group_instance_id,
                    metadata=other.metadata(group.protocol_name),
                )
                for other in group.members.values()
            ]
        return JoinGroupResponse(
            error_code=NONE,
            generation_id=group.generation,
            protocol_type=group.protocol_type_name,
            protocol_name=group.protocol_name,
            leader=group.leader_id or "",
            skip_assignment=skip_assignment,
            member_id=member.member_id,
            members=members,
        )

    def propagate(self, group: ClassicGroup, now_ms: int, effects: Effects) -> None:
        """Tell everybody who waits in SyncGroup what is assigned."""
        for member in group.members.values():
            if member.awaiting_sync != NO_TICKET:
                effects.answer(member.awaiting_sync, self.assigned(group, member))
                member.awaiting_sync = NO_TICKET
                self.expect_heartbeat(group, member, now_ms)

    def assigned(self, group: ClassicGroup, member: ClassicMember) -> SyncGroupResponse:
        return SyncGroupResponse(
            error_code=NONE,
            protocol_type=group.protocol_type_name,
            protocol_name=group.protocol_name,
            assignment=member.assignment,
        )

    # sessions

    def expect_heartbeat(
        self, group: ClassicGroup, member: ClassicMember, now_ms: int, timeout_ms: int | None = None
    ) -> None:
        """The member has been heard of; it is removed unless it is again within its session time-out."""
        if member.on_expiry is None:
            group_id, member_id = group.group_id, member.member_id
            member.on_expiry = lambda later_ms, effects: self._session_expired(group_id, member_id, later_ms, effects)
        deadline_ms = now_ms + (member.session_timeout_ms if timeout_ms is None else timeout_ms)
        self.shard.timers.schedule(("classic-session", group.group_id, member.member_id), deadline_ms, member.on_expiry)

    def expect_join(self, group: ClassicGroup, member_id: str, session_timeout_ms: int, now_ms: int) -> None:
        """A member id has been given out; it is forgotten unless it joins within the session time-out."""
        group.pending_joins.add(member_id)
        group_id = group.group_id
        self.shard.timers.schedule(
            ("classic-session", group_id, member_id),
            now_ms + session_timeout_ms,
            lambda later_ms, effects: self._session_expired(group_id, member_id, later_ms, effects),
        )

    def _session_expired(self, group_id: str, member_id: str, now_ms: int, effects: Effects) -> None:
        group = self.find(group_id)
        if group is None:
            return
        if member_id in group.pending_joins:
            logger.info("group member never joined", group=group_id, member=member_id)
            group.remove(member_id)
            self.complete_if_all_joined(group, now_ms, effects)
            return
        member = group.members.get(member_id)
        if member is not None and not member.keeps_session():
            logger.info("group member expired", group=group_id, member=member_id)
            self.remove(group, member, effects)
            self.rebalance_without(group, now_ms, effects, f"member {member_id} expired")

    def remove(self, group: ClassicGroup, member: ClassicMember, effects: Effects) -> None:
        """Let a member go; what it waits for is answered with UNKNOWN_MEMBER_ID. The caller sees to the rebalance."""
        self.answer_join_error(group, member, UNKNOWN_MEMBER_ID, effects)
        self.answer_sync_error(member, UNKNOWN_MEMBER_ID, effects)
        self.shard.timers.cancel(("classic-session", group.group_id, member.member_id))
        group.remove(member.member_id)

    def rebalance_without(self, group: ClassicGroup, now_ms: int, effects: Effects, reason: str) -> None:
        """Members or ids have gone: the others share anew, or need not wait for them any longer."""
        if group.state in (ClassicState.STABLE, ClassicState.COMPLETING_REBALANCE):
            self.prepare_rebalance(group, now_ms, effects, reason)
        else:
            self.complete_if_all_joined(group, now_ms, effects)

    # rebalances

    def prepare_rebalance(self, group: ClassicGroup, now_ms: int, effects: Effects, reason: str) -> None:
        """Begin a rebalance: all members have to join again."""
        if group.state is ClassicState.COMPLETING_REBALANCE:
            for member in group.members.values():
                member.assignment = b""
                if member.awaiting_sync != NO_TICKET:
                    self.answer_sync_error(member, REBALANCE_IN_PROGRESS, effects)
                    self.expect_heartbeat(group, member, now_ms)
        group.pending_syncs.clear()
        self.shard.timers.cancel(("classic-sync", group.group_id))
        initial = group.state is ClassicState.EMPTY
        group.move_to(ClassicState.PREPARING_REBALANCE, now_ms)
        logger.info("group rebalance began", group=group.group_id, generation=group.generation, reason=reason)
        if initial:
            delay_ms = self.config.initial_rebalance_delay_ms
            self._await_more_members(group, delay_ms, max(group.rebalance_timeout_ms() - delay_ms, 0), now_ms)
        elif group.all_joined():
            self.complete_join(group, now_ms, effects)
        else:
            self._await_all_members(group, now_ms)

    def rebalance_or_complete_join(self, group: ClassicGroup, now_ms: int, effects: Effects, reason: str) -> None:
        if group.can_rebalance():
            self.prepare_rebalance(group, now_ms, effects, reason)
        else:
            self.complete_if_all_joined(group, now_ms, effects)

    def complete_if_all_joined(self, group: ClassicGroup, now_ms: int, effects: Effects) -> None:
        """End the time of joining when there is nobody left to wait for; the initial delay runs to its end."""
        if (
            group.state is ClassicState.PREPARING_REBALANCE
            and (group.previous_state is not ClassicState.EMPTY or not group.members)
            and group.all_joined()
        ):
            self.complete_join(group, now_ms, effects)

    def _await_all_members(self, group: ClassicGroup, now_ms: int) -> None:
        group_id = group.group_id

        def give_up(later_ms: int, effects: Effects) -> None:
            waiting = self.find(group_id)
            if waiting is not None:
                self.complete_join(waiting, later_ms, effects)

        self.shard.timers.schedule(("classic-join", group_id), now_ms + group.rebalance_timeout_ms(), give_up)

    def _await_more_members(self, group: ClassicGroup, delay_ms: int, remaining_ms: int, now_ms: int) -> None:
        group_id = group.group_id

        def look(later_ms: int, effects: Effects) -> None:
            waiting = self.find(group_id)
            if waiting is None:
                return
            if waiting.new_member_added and remaining_ms > 0:
                waiting.new_member_added = False
                more_ms = min(self.config.initial_rebalance_delay_ms, remaining_ms)
                self._await_more_members(waiting, more_ms, max(remaining_ms - delay_ms, 0), later_ms)
            else:
                self.complete_join(waiting, later_ms, effects)

        self.shard.timers.schedule(("classic-join", group_id), now_ms + delay_ms, look)

    def complete_join(self, group: ClassicGroup, now_ms: int, effects: Effects) -> None:
        """End the time of joining: the members who have joined, and the static ones, are the next generation."""
        self.shard.timers.cancel(("classic-join", group.group_id))
        group.new_member_added = False
        absent = [
            member
            for member in group.members.values()
            if member.awaiting_join == NO_TICKET and member.group_instance_id is None
        ]
        for member in absent:
            logger.info("group member did not join again", group=group.group_id, member=member.member_id)
            self.remove(group, member, effects)
        if group.members and not group.elect_joined_leader():
            logger.warning("group has static members only and none joined", group=group.group_id)
            self._await_all_members(group, now_ms)
            return
        group.next_generation(now_ms)
        if not group.members:
            logger.info("group is empty", group=group.group_id, generation=group.generation)
            effects.write(GroupMetadataKey(group=group.group_id), group.record({}))
            return
        logger.info("group generation", group=group.group_id, generation=group.generation, members=len(group.members))
        for member in group.members.values():
            ticket = group.set_awaiting_join(member, NO_TICKET)
            if ticket != NO_TICKET:
                effects.answer(ticket, self.joined(group, member))
            self.expect_heartbeat(group, member, now_ms)
            member.is_new = False
            group.pending_syncs.add(member.member_id)
        self._await_syncs(group, now_ms)

    def _await_syncs(self, group: ClassicGroup, now_ms: int) -> None:
        group_id, generation = group.group_id, group.generation

        def give_up(later_ms: int, effects: Effects) -> None:
            waiting = self.find(group_id)
            if waiting is None or waiting.generation != generation or not waiting.pending_syncs:
                return
            if waiting.state not in (ClassicState.COMPLETING_REBALANCE, ClassicState.STABLE):
                return
            late = [waiting.members[member_id] for member_id in waiting.pending_syncs]
            for member in late:
                logger.info("group member did not sync", group=group_id, member=member.member_id)
                self.remove(waiting, member, effects)
            self.prepare_rebalance(waiting, later_ms, effects, f"{len(late)} members did not sync")

        self.shard.timers.schedule(("classic-sync", group_id), now_ms + group.rebalance_timeout_ms(), give_up)


def classic_groups(shard: GroupShard) -> ClassicGroups:
    """The classic part of a shard."""
    return shard.part(ClassicGroups)
