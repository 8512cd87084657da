"""What heartbeats of every new protocol are refused for, in Kafka's words."""

from __future__ import annotations

from pystream.common.errors import FencedMemberEpoch, InvalidRequest
from pystream.coordinator.group.group import GroupKind


def refuse_blank(text: str | None, name: str) -> None:
    """Raises InvalidRequest for a text that is there, and blank."""
    if text is not None and not text.strip():
        raise InvalidRequest(f"{name} can't be empty.")


def fenced(kind: GroupKind, *, received: int, known: int) -> FencedMemberEpoch:
    """Of a member that is at another epoch than it says, and cannot just have missed an answer."""
    side = "greater" if received > known else "smaller"
    return FencedMemberEpoch(
        f"The {kind} group member has a {side} member epoch ({received}) than the one known by the group coordinator "
        f"({known}). The member must abandon all its partitions and rejoin."
    )
