"""What requests of every new protocol are refused for, in Kafka's words; and how many groups are described at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from pystream.common.errors import FencedMemberEpoch, InvalidRequest, KafkaError
from pystream.coordinator.group.group import GroupKind

D = TypeVar("D")  # the message DescribedGroup of a kind


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


def describe_each(group_ids: Iterable[str], describe: Callable[[str], D], described_group: Callable[..., D]) -> list[D]:
    """One result for each of `group_ids`, in their order; what is raised for one of them becomes its result."""
    results = []
    for group_id in group_ids:
        try:
            results.append(describe(group_id))
        except KafkaError as error:
            results.append(described_group(group_id=group_id, error_code=error.code, error_message=str(error)))
    return results
