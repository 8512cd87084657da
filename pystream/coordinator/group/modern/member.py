"""A member of a group of a new protocol: who it is and how far it has come.

Where partitions or tasks have one owner, it gets to its target step by step:

                       target epoch moves                    it no longer reports what it must give up
    STABLE ──────────────────────────────> UNREVOKED ──────────────────────────────────┐
      ^  └────────────> nothing to give up ────────────────────────────────────────────┤
      │                                                                                v
      └──── everything is there ───── UNRELEASED <── somebody else still has some ── target epoch

It takes something only once nobody has it any more, so nothing ever has two owners. Source: KIP-848.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

JOINING_EPOCH: Final = 0
LEAVING_EPOCH: Final = -1  # it leaves; also of a member whose current assignment is gone
NO_TIMEOUT: Final = -1


class MemberState(Enum):
    """How far a member has come; each kind writes it down by numbers of its own."""

    STABLE = "it has all of its target"
    UNREVOKED = "it must give something up first"
    UNRELEASED = "it has the target epoch; some of its target is still somebody else's"
    UNKNOWN = "a later release has written something else: the member starts anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModernMember:
    """Never changed in place: a record makes a new one."""

    member_id: str
    member_epoch: int = JOINING_EPOCH
    previous_member_epoch: int = -1
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""

    @property
    def revocation_timeout_ms(self) -> int | None:
        """How long it has to give up what it must; None when there is nothing."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilingMember(ModernMember):
    """A member of a kind whose partitions or tasks have one owner."""

    instance_id: str | None = None
    rebalance_timeout_ms: int = NO_TIMEOUT
    state: MemberState = MemberState.STABLE

    @property
    def revocation_timeout_ms(self) -> int | None:
        return self.rebalance_timeout_ms if self.state is MemberState.UNREVOKED else None

    def is_reconciled_to(self, epoch: int) -> bool:
        """Whether it has all of the target assignment of `epoch` and nothing else."""
        return self.state is MemberState.STABLE and self.member_epoch == epoch
