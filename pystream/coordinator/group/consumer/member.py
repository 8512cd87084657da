"""A member of a consumer group: what it wants, what it has, how far it has come.

                       target epoch moves                    it no longer reports what it must give up
    STABLE ──────────────────────────────> UNREVOKED ──────────────────────────────────┐
      ^  └────────────> nothing to give up ────────────────────────────────────────────┤
      │                                                                                v
      └──── everything is there ───── UNRELEASED <── somebody else still has some ── target epoch

A member takes a partition only once nobody has it any more, so none ever has two owners. Source: KIP-848.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment

JOINING_EPOCH: Final = 0
LEAVING_EPOCH: Final = -1  # it leaves; also of a member whose current assignment is gone
LEAVING_STATIC_EPOCH: Final = -2  # a static member is away for a while, and will be back under its instance id
NO_TIMEOUT: Final = -1


class MemberState(IntEnum):
    """How far a member has come, by the numbers that are written down."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1  # it must give partitions up first
    UNRELEASED_PARTITIONS = 2  # it has the target epoch; some of its partitions are still somebody else's
    UNKNOWN = 127  # a later release has written something else: the member starts anew

    @classmethod
    def _missing_(cls, value: object) -> MemberState:
        return cls.UNKNOWN


class ClassicProtocol(NamedTuple):
    """One of the protocols that a member of the classic kind offers: a client-side assignor and its subscription."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True)
class ClassicMetadata:
    """What there is of a member that speaks the classic protocol in a consumer group."""

    session_timeout_ms: int
    protocols: tuple[ClassicProtocol, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerMember:
    """Never changed in place: a record makes a new one."""

    member_id: str
    member_epoch: int = JOINING_EPOCH
    previous_member_epoch: int = -1
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = NO_TIMEOUT
    client_id: str = ""
    client_host: str = ""
    subscribed_topic_names: frozenset[str] = frozenset()
    subscribed_topic_regex: str = ""
    server_assignor: str | None = None
    state: MemberState = MemberState.STABLE
    assigned: Assignment = field(default_factory=lambda: NO_PARTITIONS)
    pending_revocation: Assignment = field(default_factory=lambda: NO_PARTITIONS)
    classic: ClassicMetadata | None = None

    @property
    def uses_classic_protocol(self) -> bool:
        return self.classic is not None

    def is_reconciled_to(self, epoch: int) -> bool:
        """Whether it has all of the target assignment of `epoch` and nothing else."""
        return self.state is MemberState.STABLE and self.member_epoch == epoch
