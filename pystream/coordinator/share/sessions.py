"""Share sessions: which partitions a member fetches from, so that requests name only what changes.

A session has an epoch: 0 begins one, each request after that carries the next, -1 ends it. A member has one session; it
goes with its connection. Source: KIP-932, after the fetch sessions of KIP-227.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pystream.common.errors import InvalidShareSessionEpoch, ShareSessionLimitReached, ShareSessionNotFound
from pystream.common.model import TopicIdPartition

INITIAL_EPOCH: Final = 0
FINAL_EPOCH: Final = -1
LARGEST_EPOCH: Final = 2**31 - 1


class SessionKey(NamedTuple):
    """A member of a share group."""

    group_id: str
    member_id: str


@dataclass(slots=True)
class ShareSession:
    """`epoch` is the one that the next request must carry. `connection`: which it came in by, and dies with."""

    key: SessionKey
    connection: int
    epoch: int = INITIAL_EPOCH + 1
    partitions: dict[TopicIdPartition, None] = field(default_factory=dict)
    is_open: bool = True
    closing: Callable[[], None] | None = None  # called when it ends: a fetch waits

    def update(self, added: Iterable[TopicIdPartition], forgotten: Iterable[TopicIdPartition]) -> None:
        """Take partitions in and drop others."""
        self.partitions.update(dict.fromkeys(added))
        for partition in forgotten:
            self.partitions.pop(partition, None)

    def rotated(self) -> list[TopicIdPartition]:
        """The partitions, from another one on at each epoch, so that each comes first in its turn."""
        partitions = list(self.partitions)
        turn = self.epoch % len(partitions) if partitions else 0
        return partitions[turn:] + partitions[:turn]


class ShareSessions:
    """The sessions of this broker, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sessions: dict[SessionKey, ShareSession] = {}
        self._by_connection: dict[int, set[SessionKey]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def members(self) -> list[SessionKey]:
        """Whose sessions there are."""
        return list(self._sessions)

    def open(self, key: SessionKey, connection: int) -> ShareSession:
        """A new session in place of the one that the member had. Raises ShareSessionLimitReached."""
        self.close(key)
        if len(self._sessions) >= self._limit:
            raise ShareSessionLimitReached(f"this broker keeps {self._limit} share sessions")
        session = self._sessions[key] = ShareSession(key, connection)
        self._by_connection.setdefault(connection, set()).add(key)
        return session

    def take(self, key: SessionKey, epoch: int) -> ShareSession:
        """The session of a request that carries `epoch`, which is then used up; the final one fits always.

        Raises ShareSessionNotFound and InvalidShareSessionEpoch.
        """
        session = self._sessions.get(key)
        if session is None:
            raise ShareSessionNotFound(f"member {key.member_id} of {key.group_id} has no share session")
        if epoch != FINAL_EPOCH:
            if epoch != session.epoch:
                raise InvalidShareSessionEpoch(f"share session epoch {epoch}, expected {session.epoch}")
            session.epoch = INITIAL_EPOCH + 1 if epoch == LARGEST_EPOCH else epoch + 1
        return session

    def close(self, key: SessionKey) -> ShareSession | None:
        """The session that ends; None when there was none."""
        session = self._sessions.pop(key, None)
        if session is not None:
            session.is_open = False
            if session.closing is not None:
                session.closing()
            keys = self._by_connection[session.connection]
            keys.discard(key)
            if not keys:
                del self._by_connection[session.connection]
        return session

    def of_connection(self, connection: int) -> list[SessionKey]:
        """Whose sessions came in by a connection."""
        return list(self._by_connection.get(connection, ()))
