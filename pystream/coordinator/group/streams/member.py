"""A member of a streams group: one thread of a process of the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from pystream.coordinator.group.modern.member import JOINING_EPOCH, ReconcilingMember
from pystream.coordinator.group.streams.tasks import NOTHING_ASSIGNED, AssignedTasks

NO_TOPOLOGY_EPOCH: Final = -1


class Endpoint(NamedTuple):
    """Where a process answers interactive queries."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsMember(ReconcilingMember):
    previous_member_epoch: int = JOINING_EPOCH
    topology_epoch: int = NO_TOPOLOGY_EPOCH
    process_id: str = ""
    user_endpoint: Endpoint | None = None
    client_tags: tuple[tuple[str, str], ...] = ()
    assigned: AssignedTasks = NOTHING_ASSIGNED
    pending_revocation: AssignedTasks = NOTHING_ASSIGNED
