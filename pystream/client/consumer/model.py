"""What a consumer's users handle beside messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple

from pystream.client.given import as_partition, check_committable
from pystream.common.errors import PystreamError
from pystream.common.model import NO_LEADER_EPOCH, TopicPartition

__all__ = [
    "BEGINNING",
    "END",
    "CommitCallback",
    "GroupMetadata",
    "OffsetAndMetadata",
    "OffsetAndTimestamp",
    "RebalanceCallback",
    "RebalanceKind",
    "TopicPartition",
]

BEGINNING: Final = -2  # as a position: the first offset there is
END: Final = -1  # as a position: behind the last offset


class OffsetAndMetadata(NamedTuple):
    """What a group commits: the offset of the next record to read, and a text of the user's."""

    offset: int
    metadata: str = ""
    leader_epoch: int = NO_LEADER_EPOCH


class GroupMetadata(NamedTuple):
    """A member of a group: by it `send_offsets_to_transaction` refuses one that lost its partitions (KIP-447)."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None = None


class OffsetAndTimestamp(NamedTuple):
    """The first record at or after a time."""

    offset: int
    timestamp: int
    leader_epoch: int = NO_LEADER_EPOCH


class RebalanceKind:
    """What a rebalance callback is called for."""

    ASSIGNED: Final = "assigned"
    REVOKED: Final = "revoked"  # still ours: a commit made now counts
    LOST: Final = "lost"  # others may have them already: nothing can be committed


CommitCallback = Callable[[dict[TopicPartition, OffsetAndMetadata], PystreamError | None], object]
FinishedCommit = tuple[int, Mapping[TopicPartition, OffsetAndMetadata], PystreamError | None]
RebalanceCallback = Callable[[list[TopicPartition]], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class RebalanceCallbacks:
    """What the user wants to be told; in the asyncio consumer they may be coroutine functions."""

    on_assigned: RebalanceCallback | None = None
    on_revoked: RebalanceCallback | None = None
    on_lost: RebalanceCallback | None = None

    def of(self, kind: str) -> RebalanceCallback | None:
        """The callback for one kind; who does not care for losses is told of a revocation, as in Kafka."""
        if kind == RebalanceKind.ASSIGNED:
            return self.on_assigned
        if kind == RebalanceKind.REVOKED:
            return self.on_revoked
        return self.on_lost or self.on_revoked


class CommitCallbacks:
    """Of commits that are under way, held for the user by the consumer, not by what works for it in the loop."""

    def __init__(self) -> None:
        self._by_ticket: dict[int, CommitCallback] = {}
        self._tickets = count()

    def keep(self, callback: CommitCallback | None) -> int | None:
        """The ticket that a finished commit has for its callback."""
        if callback is None:
            return None
        ticket = next(self._tickets)
        self._by_ticket[ticket] = callback
        return ticket

    def tell(self, finished: deque[FinishedCommit]) -> None:
        """Call back for what is finished."""
        while finished:
            ticket, offsets, failure = finished.popleft()
            callback = self._by_ticket.pop(ticket)
            callback({key: OffsetAndMetadata(*entry) for key, entry in offsets.items()}, failure)


def as_commit(
    offsets: Mapping[TopicPartition | tuple[str, int], int | OffsetAndMetadata] | None,
) -> dict[TopicPartition, OffsetAndMetadata] | None:
    """Offsets as users write them; None is kept. Raises ValueError, TypeError for what is no offset."""
    if offsets is None:
        return None
    wanted: dict[TopicPartition, OffsetAndMetadata] = {}
    for given, entry in offsets.items():
        key = as_partition(given)
        found = OffsetAndMetadata(*entry) if isinstance(entry, tuple | list) else OffsetAndMetadata(entry)
        check_committable(key, found.offset)
        wanted[key] = found
    return wanted
