"""Fetch sessions: after the first whole request only what changed is sent to a broker. Source: KIP-227.

whole request      session id 0, epoch 0       the broker may answer with a session id
changes            that id, epoch 1, 2, …      partitions that are new or moved on; those to forget
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

NO_SESSION: Final = 0
FIRST_EPOCH: Final = 0
LARGEST_EPOCH: Final = 0x7FFFFFFF


class PartitionWanted(NamedTuple):
    """What is asked of one partition."""

    topic_id: bytes
    offset: int
    max_bytes: int
    current_leader_epoch: int
    last_fetched_epoch: int


Place = tuple[str, int]  # topic, partition


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What to send: all of `wanted` in a whole request, else what changed."""

    session_id: int
    epoch: int
    wanted: Mapping[Place, PartitionWanted]
    forgotten: Mapping[Place, bytes] = field(default_factory=dict)  # -> topic id


class FetchSession:
    """What one broker remembers of our partitions. One request at a time."""

    def __init__(self) -> None:
        self._id = NO_SESSION
        self._epoch = FIRST_EPOCH
        self._known: dict[Place, PartitionWanted] = {}

    @property
    def is_open(self) -> bool:
        return self._id != NO_SESSION

    def next_request(self, wanted: Mapping[Place, PartitionWanted]) -> SessionRequest:
        """The request that has exactly `wanted` fetched; a topic made anew under its name is forgotten and added."""
        known, self._known = self._known, dict(wanted)
        if self._epoch == FIRST_EPOCH:
            return SessionRequest(self._id, FIRST_EPOCH, wanted)
        changed = {place: entry for place, entry in wanted.items() if known.get(place) != entry}
        forgotten = {
            place: entry.topic_id
            for place, entry in known.items()
            if place not in wanted or wanted[place].topic_id != entry.topic_id
        }
        return SessionRequest(self._id, self._epoch, changed, forgotten)

    def answered(self, session_id: int) -> None:
        """The broker answered without an error; id 0 means that it keeps no session for us."""
        if session_id == NO_SESSION:
            self.reset()
            self._id = NO_SESSION
            return
        if session_id != self._id:
            self._id, self._epoch = session_id, FIRST_EPOCH
        self._epoch = 1 if self._epoch == LARGEST_EPOCH else self._epoch + 1

    def reset(self) -> None:
        """Begin anew with the next request: the answer was lost, or the broker forgot.

        The old id goes with it, so that the broker lets go of a session that it still has.
        """
        self._epoch = FIRST_EPOCH
        self._known = {}
