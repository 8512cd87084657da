"""A member of a streams group: one thread of a process of the application."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from pystream.coordinator.group.streams.tasks import NOTHING_ASSIGNED, AssignedTasks

JOINING_EPOCH: Final = 0
LEAVING_EPOCH: Final = -1
NO_TIMEOUT: Final = -1
NO_TOPOLOGY_EPOCH: Final = -1


class MemberState(IntEnum):
    """How far a member has come, by the numbers that are written down; see consumer/member.py."""

    STABLE = 1
    UNREVOKED_TASKS = 2  # it must give tasks up first
    UNRELEASED_TASKS = 3  # it has the target epoch; some of its tasks are still somebody else's
    UNKNOWN = 127  # a later release has written something else: the member starts anew

    @classmethod
    def _missing_(cls, value: object) -> MemberState:
        return cls.UNKNOWN


class Endpoint(NamedTuple):
    """Where a process answers interactive queries."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsMember:
    """Never changed in place: a record makes a new one."""

    member_id: str
    member_epoch: int = JOINING_EPOCH
    previous_member_epoch: int = JOINING_EPOCH
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = NO_TIMEOUT
    client_id: str = ""
    client_host: str = ""
    topology_epoch: int = NO_TOPOLOGY_EPOCH
    process_id: str = ""
    user_endpoint: Endpoint | None = None
    client_tags: tuple[tuple[str, str], ...] = ()
    state: MemberState = MemberState.STABLE
    assigned: AssignedTasks = NOTHING_ASSIGNED
    pending_revocation: AssignedTasks = NOTHING_ASSIGNED

    def is_reconciled_to(self, epoch: int) -> bool:
        """Whether it has all of the target assignment of `epoch` and nothing else."""
        return self.state is MemberState.STABLE and self.member_epoch == epoch
