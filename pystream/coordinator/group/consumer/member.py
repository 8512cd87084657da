"""A member of a consumer group; see modern/member.py for how it gets to its target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment
from pystream.coordinator.group.modern.member import MemberState, ReconcilingMember

LEAVING_STATIC_EPOCH: Final = -2  # a static member is away for a while, and will be back under its instance id


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
class ConsumerMember(ReconcilingMember):
    subscribed_topic_names: frozenset[str] = frozenset()
    subscribed_topic_regex: str = ""
    server_assignor: str | None = None
    assigned: Assignment = field(default_factory=lambda: NO_PARTITIONS)
    pending_revocation: Assignment = field(default_factory=lambda: NO_PARTITIONS)
    classic: ClassicMetadata | None = None

    @property
    def uses_classic_protocol(self) -> bool:
        return self.classic is not None

    @property
    def revocation_timeout_ms(self) -> int | None:
        """Members of the classic protocol have time-outs of joining and syncing instead."""
        owes = self.state is MemberState.UNREVOKED and self.classic is None
        return self.rebalance_timeout_ms if owes else None
