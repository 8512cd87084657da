"""A member of a share group: what it reads together with others."""

from __future__ import annotations

from dataclasses import dataclass, field

from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment
from pystream.coordinator.group.modern.member import ModernMember


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareMember(ModernMember):
    """It takes over its target at once, since partitions are shared and nobody has to give them up first."""

    subscribed: tuple[str, ...] = ()
    assigned: Assignment = field(default_factory=lambda: NO_PARTITIONS)
