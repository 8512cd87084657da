"""A group of a new protocol: its members, and where they are to get to. Changed by replay alone.

Three epochs follow one another:

    group epoch    counts what the members want and which topics there are
    target epoch   the group epoch that the target assignment was made for
    member epoch   of each member: the target epoch that it has heard of, and taken up as far as it could
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Generic, TypeVar

from pystream.common.errors import NonEmptyGroup, StaleMemberEpoch, UnknownMemberId, UnsupportedVersion
from pystream.coordinator.group.group import GroupKind, PartitionCheck
from pystream.coordinator.group.modern.member import ModernMember, ReconcilingMember
from pystream.coordinator.group.modern.records import RecordKinds
from pystream.coordinator.machine import Effects

M = TypeVar("M", bound=ModernMember)
R = TypeVar("R", bound=ReconcilingMember)
A = TypeVar("A")  # an assignment: partitions or tasks

FIRST_OFFSET_COMMIT_WITH_EPOCHS: Final = 9


@dataclass(slots=True, eq=False)
class ModernGroup(Generic[M, A]):
    """`topics_checked`: the version of the topics by which the group epoch was last checked; a restart forgets it."""

    KINDS: ClassVar[RecordKinds]
    kind: ClassVar[GroupKind]

    group_id: str
    group_epoch: int = 0
    target_epoch: int = 0
    metadata_hash: int = 0
    members: dict[str, M] = field(default_factory=dict)
    targets: dict[str, A] = field(default_factory=dict)
    topics_checked: int | None = None

    def is_empty(self) -> bool:
        return not self.members

    def member(self, member_id: str) -> M:
        """Raises UnknownMemberId."""
        member = self.members.get(member_id)
        if member is None:
            raise UnknownMemberId(f"Member {member_id} is not a member of group {self.group_id}.")
        return member

    def check_delete(self) -> None:
        if self.members:
            raise NonEmptyGroup()

    def write_tombstones(self, effects: Effects) -> None:
        """The group's own record comes last, so that no tombstone makes a group of what is left."""
        for member_id in list(self.members):
            effects.write(*self.KINDS.no_current_assignment(self.group_id, member_id))
        for member_id in list(self.targets):
            effects.write(*self.KINDS.no_target(self.group_id, member_id))
        effects.write(*self.KINDS.no_target_epoch(self.group_id))
        for member_id in list(self.members):
            effects.write(*self.KINDS.no_member(self.group_id, member_id))
        self.write_own_tombstones(effects)
        effects.write(*self.KINDS.no_group_epoch(self.group_id))

    def write_own_tombstones(self, effects: Effects) -> None:
        """Of records that only this kind of groups has."""

    # Replay: what one record changes

    def put_member(self, member: M) -> None:
        self.members[member.member_id] = member

    def drop_member(self, member_id: str) -> None:
        self.members.pop(member_id, None)


@dataclass(slots=True, eq=False)
class ReconcilingGroup(ModernGroup[R, A]):
    """A group of a kind whose partitions or tasks have one owner, and that commits offsets.

    Assigning     the target assignment is not made yet
    Reconciling   members are on their way to it      Stable   they have got there      Empty   nobody is in
    """

    def state_name(self, now_ms: int) -> str:
        if not self.members:
            return "Empty"
        if not self.is_ready():
            return "NotReady"
        if self.group_epoch > self.target_epoch:
            return "Assigning"
        # A copy: the metrics ask from another thread.
        if all(member.is_reconciled_to(self.target_epoch) for member in list(self.members.values())):
            return "Stable"
        return "Reconciling"

    def is_ready(self) -> bool:
        """Whether there is what members can work on."""
        return True

    def check_offset_commit(
        self,
        member_id: str,
        group_instance_id: str | None,
        generation_or_epoch: int,
        *,
        transactional: bool,
        api_version: int,
    ) -> PartitionCheck | None:
        if generation_or_epoch < 0 and not self.members:
            return None
        if transactional and generation_or_epoch < 0 and not member_id and group_instance_id is None:
            return None
        member = self.member(member_id)
        if not transactional and api_version < FIRST_OFFSET_COMMIT_WITH_EPOCHS:
            self.check_old_commit(member)
        return self.check_commit(member, generation_or_epoch)

    def check_old_commit(self, member: R) -> None:
        """Raises UnsupportedVersion: requests of before version 9 know no member epochs."""
        protocol = "modern" if self.kind is GroupKind.CONSUMER else self.kind
        raise UnsupportedVersion(
            f"OffsetCommit version {FIRST_OFFSET_COMMIT_WITH_EPOCHS} or above must be used "
            f"by members using the {protocol} group protocol"
        )

    def check_commit(self, member: R, received: int) -> PartitionCheck | None:
        """Whether the member may commit offsets in the epoch `received`."""
        self.check_epoch(member, received)
        return None

    def check_epoch(self, member: R, received: int) -> None:
        """Raises StaleMemberEpoch unless the member is at the epoch `received`."""
        if received != member.member_epoch:
            raise StaleMemberEpoch(
                f"The received member epoch {received} does not match the expected member epoch {member.member_epoch}."
            )

    def check_offset_fetch(self, member_id: str | None, member_epoch: int, now_ms: int) -> None:
        if member_id is None and member_epoch < 0:
            return
        self.check_epoch(self.member(member_id or ""), member_epoch)

    def check_offset_delete(self) -> None:
        """Offsets of topics that nobody reads may always be deleted."""

    def expires(self) -> bool:
        return True

    def retention_base_ms(self, commit_timestamp_ms: int) -> int | None:
        return commit_timestamp_ms
