"""ClassicGroup: who is a member of a classic group, in which state it is, and what of it survives a restart.

              join                    all joined                leader's sync
    Empty ──────────► PreparingRebalance ──────► CompletingRebalance ──────► Stable
      ▲                  │        ▲                      │                     │
      └── nobody joined ─┘        └── join, leave, time-out, changed protocols ┘

A GroupMetadata record holds a generation whose assignment is known, or that has no members: `restore` makes the group
be what it says, on start and when it is written. Who has joined since, who waits, and which protocols a member could
speak besides the chosen one is not recorded: a start comes up with the last stable generation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pystream.common.errors import (
    CoordinatorNotAvailable,
    FencedInstanceId,
    GroupIdNotFound,
    IllegalGeneration,
    MalformedInput,
    NonEmptyGroup,
    RebalanceInProgress,
    UnknownMemberId,
)
from pystream.common.logging import get_logger
from pystream.common.model import NO_TIMESTAMP
from pystream.coordinator.group.group import GroupKind, PartitionCheck
from pystream.coordinator.machine import NO_TICKET, Effects, Ticket, TimedOperation
from pystream.protocol.consumer_protocol import PROTOCOL_TYPE, subscribed_topics
from pystream.protocol.coordinator_records.group_metadata import GroupMetadataKey, GroupMetadataValue, MemberMetadata

logger = get_logger(__name__)

NO_MEMBER_ID = ""  # of a member that joins for the first time, and of a simple consumer that commits
Protocols = tuple[tuple[str, bytes], ...]  # (name, metadata), the dearest first


class ClassicState(StrEnum):
    """States by the names that are listed and described."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


@dataclass(slots=True, eq=False, kw_only=True)
class ClassicMember:
    """A member. `awaiting_join`, `awaiting_sync`: its requests that wait for an answer, NO_TICKET: none."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocol_type: str
    protocols: Protocols
    assignment: bytes = b""
    awaiting_join: Ticket = NO_TICKET
    awaiting_sync: Ticket = NO_TICKET
    is_new: bool = False  # it waits in its first JoinGroup: it does not know its id and cannot send heartbeats
    on_expiry: TimedOperation | None = None

    def metadata(self, protocol_name: str | None) -> bytes:
        """What it says under a protocol that all members speak."""
        for name, metadata in self.protocols:
            if name == protocol_name:
                return metadata
        return b""

    def keeps_session(self) -> bool:
        """Whether it needs no heartbeat now, since a request of it waits with the coordinator."""
        return not self.is_new and (self.awaiting_join != NO_TICKET or self.awaiting_sync != NO_TICKET)


class ClassicGroup:
    """One classic group; also a `simple` one, whose offsets are committed by consumers that never join."""

    kind = GroupKind.CLASSIC

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.state = ClassicState.EMPTY
        self.previous_state = ClassicState.DEAD
        self.state_timestamp_ms: int | None = None
        self.protocol_type_name: str | None = None
        self.protocol_name: str | None = None
        self.generation = 0
        self.leader_id: str | None = None
        self.members: dict[str, ClassicMember] = {}
        self.static_members: dict[str, str] = {}  # group instance id -> member id
        self.pending_joins: set[str] = set()  # ids given out with MEMBER_ID_REQUIRED, not yet used
        self.pending_syncs: set[str] = set()  # members of this generation that have not asked for their assignment
        self.awaiting_joins = 0
        self.new_member_added = False
        self.subscribed_topics: frozenset[str] | None = None
        self._support: Counter[str] = Counter()  # protocol name -> members that speak it

    # what everybody may ask

    def state_name(self, now_ms: int) -> str:
        return self.state.value

    def protocol_type(self) -> str:
        return self.protocol_type_name or ""

    def is_empty(self) -> bool:
        return self.state is ClassicState.EMPTY

    def is_subscribed_to(self, topic: str) -> bool:
        if self.subscribed_topics is None:
            return self.of_consumers()  # they subscribe to something that nobody here can read
        return topic in self.subscribed_topics

    def check_offset_commit(
        self,
        member_id: str,
        group_instance_id: str | None,
        generation_or_epoch: int,
        *,
        transactional: bool,
        api_version: int,
    ) -> PartitionCheck | None:
        if self.state is ClassicState.DEAD:
            raise CoordinatorNotAvailable()
        if generation_or_epoch < 0 and self.state is ClassicState.EMPTY:
            return None
        if generation_or_epoch >= 0 or member_id != NO_MEMBER_ID or group_instance_id is not None:
            self.check_member(member_id, group_instance_id)
            if generation_or_epoch != self.generation:
                raise IllegalGeneration()
        elif not transactional and self.state is not ClassicState.EMPTY:
            raise UnknownMemberId()
        if not transactional and self.state is ClassicState.COMPLETING_REBALANCE:
            raise RebalanceInProgress()
        return None

    def check_offset_fetch(self, member_id: str | None, member_epoch: int, now_ms: int) -> None:
        if self.state is ClassicState.DEAD:
            raise GroupIdNotFound(f"Group {self.group_id} is in dead state.")

    def check_offset_delete(self) -> None:
        if self.state is ClassicState.DEAD:
            raise GroupIdNotFound(f"Group {self.group_id} is in dead state.")
        if self.state is not ClassicState.EMPTY and not self.of_consumers():
            raise NonEmptyGroup()

    def check_delete(self) -> None:
        if self.state is ClassicState.DEAD:
            raise GroupIdNotFound(f"Group {self.group_id} is in dead state.")
        if self.state is not ClassicState.EMPTY:
            raise NonEmptyGroup()

    def expires(self) -> bool:
        return True

    def retention_base_ms(self, commit_timestamp_ms: int) -> int | None:
        if self.protocol_type_name is None:
            return commit_timestamp_ms
        if self.state is ClassicState.EMPTY:
            return commit_timestamp_ms if self.state_timestamp_ms is None else self.state_timestamp_ms
        if self.of_consumers() and self.subscribed_topics is not None and self.state is ClassicState.STABLE:
            return commit_timestamp_ms
        return None

    def write_tombstones(self, effects: Effects) -> None:
        effects.write(GroupMetadataKey(group=self.group_id), None)

    # members

    def is_simple(self) -> bool:
        """Whether nobody has ever joined: it holds offsets of consumers that do not, and any kind may take its id."""
        return self.protocol_type_name is None and self.state is ClassicState.EMPTY and not self.pending_joins

    def of_consumers(self) -> bool:
        return self.protocol_type_name == PROTOCOL_TYPE

    def is_leader(self, member_id: str) -> bool:
        return self.leader_id == member_id

    def check_member(self, member_id: str, group_instance_id: str | None) -> None:
        """Raises FencedInstanceId when somebody else has taken this static member's place, else UnknownMemberId."""
        if group_instance_id is not None:
            existing = self.static_members.get(group_instance_id)
            if existing is None:
                raise UnknownMemberId()
            if existing != member_id:
                raise FencedInstanceId()
        if member_id not in self.members:
            raise UnknownMemberId()

    def supports(self, protocol_type: str, names: Iterable[str]) -> bool:
        """Whether a member that speaks these may join: one of them all others speak too."""
        if self.state is ClassicState.EMPTY:
            return bool(protocol_type) and any(True for _ in names)
        return protocol_type == self.protocol_type_name and any(
            self._support[name] == len(self.members) for name in names
        )

    def add(self, member: ClassicMember) -> None:
        """Take a member in; the first of all leads."""
        if not self.members:
            self.protocol_type_name = member.protocol_type
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.members[member.member_id] = member
        if member.group_instance_id is not None:
            self.static_members[member.group_instance_id] = member.member_id
        self._support.update(name for name, _ in member.protocols)
        self.awaiting_joins += member.awaiting_join != NO_TICKET
        self.pending_joins.discard(member.member_id)

    def remove(self, member_id: str) -> None:
        """Let a member, or an id that was given out, go; another member leads in its place."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._support.subtract(name for name, _ in member.protocols)
            self.awaiting_joins -= member.awaiting_join != NO_TICKET
            if member.group_instance_id is not None:
                self.static_members.pop(member.group_instance_id, None)
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_joins.discard(member_id)
        self.pending_syncs.discard(member_id)

    def set_protocols(self, member: ClassicMember, protocols: Protocols) -> None:
        self._support.subtract(name for name, _ in member.protocols)
        member.protocols = protocols
        self._support.update(name for name, _ in protocols)

    def set_awaiting_join(self, member: ClassicMember, ticket: Ticket) -> Ticket:
        """Note which JoinGroup of the member waits; the one that waited before is given back."""
        before, member.awaiting_join = member.awaiting_join, ticket
        self.awaiting_joins += (ticket != NO_TICKET) - (before != NO_TICKET)
        return before

    def rename_static_member(self, member: ClassicMember, member_id: str) -> None:
        """Give the place of a static member to a new member id; the leader stays leader."""
        was_leader = self.is_leader(member.member_id)
        del self.members[member.member_id]
        self.pending_syncs.discard(member.member_id)
        member.member_id = member_id
        member.on_expiry = None
        self.members[member_id] = member
        if member.group_instance_id is not None:
            self.static_members[member.group_instance_id] = member_id
        if was_leader:
            self.leader_id = member_id

    # rebalances

    def can_rebalance(self) -> bool:
        return self.state in (ClassicState.EMPTY, ClassicState.COMPLETING_REBALANCE, ClassicState.STABLE)

    def all_joined(self) -> bool:
        return self.awaiting_joins == len(self.members) and not self.pending_joins

    def rebalance_timeout_ms(self) -> int:
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def elect_joined_leader(self) -> bool:
        """Whether the leader has joined, or a member that has can lead in its place."""
        if self.leader_id is None:
            return False
        if self.members[self.leader_id].awaiting_join != NO_TICKET:
            return True
        joined = next((member for member in self.members.values() if member.awaiting_join != NO_TICKET), None)
        if joined is None:
            return False
        logger.info("group leader replaced", group=self.group_id, absent=self.leader_id, leader=joined.member_id)
        self.leader_id = joined.member_id
        return True

    def select_protocol(self) -> str:
        """What most members like best of what all speak; of equals what the member before the others likes."""
        common = {name for name, count in self._support.items() if count == len(self.members)}
        votes: Counter[str] = Counter()
        for member in self.members.values():
            votes.update([next(name for name, _ in member.protocols if name in common)])
        return votes.most_common(1)[0][0]

    def next_generation(self, now_ms: int) -> None:
        """Begin the generation of the members as they are."""
        self.generation += 1
        self.protocol_name = self.select_protocol() if self.members else None
        self.subscribed_topics = self._parse_subscriptions()
        self.pending_syncs.clear()
        self.move_to(ClassicState.COMPLETING_REBALANCE if self.members else ClassicState.EMPTY, now_ms)

    def move_to(self, state: ClassicState, now_ms: int) -> None:
        self.previous_state, self.state, self.state_timestamp_ms = self.state, state, now_ms

    # what is recorded

    def record(self, assignments: dict[str, bytes]) -> GroupMetadataValue:
        """This generation with what each member is assigned, as it is recorded."""
        return GroupMetadataValue(
            protocol_type=self.protocol_type_name or "",
            generation=self.generation,
            protocol=self.protocol_name,
            leader=self.leader_id,
            current_state_timestamp=NO_TIMESTAMP if self.state_timestamp_ms is None else self.state_timestamp_ms,
            members=[
                MemberMetadata(
                    member_id=member.member_id,
                    group_instance_id=member.group_instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout=member.rebalance_timeout_ms,
                    session_timeout=member.session_timeout_ms,
                    subscription=member.metadata(self.protocol_name),
                    assignment=assignments.get(member.member_id, b""),
                )
                for member in self.members.values()
            ],
        )

    def restore(self, value: GroupMetadataValue) -> list[str]:
        """Be what a record says; members that it names and that are here already go on waiting. Who is gone is given.

        A record on a running group is always of its present generation, so nobody who waits is ever gone.
        """
        gone = [member_id for member_id in self.members if member_id not in {m.member_id for m in value.members}]
        for member_id in gone:
            self.remove(member_id)
        self.protocol_type_name = value.protocol_type or None
        self.protocol_name = value.protocol
        self.generation = value.generation
        for recorded in value.members:
            self._restore_member(recorded, value)
        self.leader_id = value.leader
        if self.leader_id not in self.members:
            self.leader_id = next(iter(self.members), None)
        state = ClassicState.STABLE if self.members else ClassicState.EMPTY
        if state is not self.state:
            self.previous_state, self.state = self.state, state
        timestamp = value.current_state_timestamp
        self.state_timestamp_ms = None if timestamp == NO_TIMESTAMP else timestamp
        self.subscribed_topics = self._parse_subscriptions()
        return gone

    def _restore_member(self, recorded: MemberMetadata, value: GroupMetadataValue) -> None:
        protocols: Protocols = ((value.protocol or "", recorded.subscription),)
        timeout = recorded.session_timeout if recorded.rebalance_timeout < 0 else recorded.rebalance_timeout
        member = self.members.get(recorded.member_id)
        if member is None:
            member = ClassicMember(
                member_id=recorded.member_id,
                group_instance_id=recorded.group_instance_id,
                client_id=recorded.client_id,
                client_host=recorded.client_host,
                rebalance_timeout_ms=timeout,
                session_timeout_ms=recorded.session_timeout,
                protocol_type=value.protocol_type,
                protocols=protocols,
            )
            self.add(member)
        elif member.metadata(value.protocol) != recorded.subscription:
            self.set_protocols(member, protocols)
        member.client_id, member.client_host = recorded.client_id, recorded.client_host
        member.session_timeout_ms, member.rebalance_timeout_ms = recorded.session_timeout, timeout
        member.assignment = recorded.assignment

    def _parse_subscriptions(self) -> frozenset[str] | None:
        if not self.of_consumers():
            return None
        if self.members and self.protocol_name is None:
            return None
        try:
            topics: Sequence[frozenset[str]] = [
                subscribed_topics(member.metadata(self.protocol_name)) for member in self.members.values()
            ]
        except MalformedInput as error:
            logger.limited("subscription does not parse", group=self.group_id, protocol=self.protocol_name, error=error)
            return None
        return frozenset().union(*topics)
