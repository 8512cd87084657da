"""What the coordinators' runtime keeps of each partition that it serves, and of the answers that wait there."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pystream.common.errors import KafkaError
from pystream.coordinator.machine import Effects, Encoded, Record, Shard, Ticket

S = TypeVar("S", bound=Shard)

FIRST_RELOAD_DELAY_MS = 100
RECENT_MS = 30_000  # what Kafka's figures of loading look back on
MOST_RECENT = 1_000


@dataclass(slots=True)
class LoadMetrics:
    """What loading has cost so far; `loading` and `active` are levels. `recent`: (when it ended, how long it took)."""

    loading: int = 0
    active: int = 0
    loaded: int = 0
    failed: int = 0
    records: int = 0
    unknown_records: int = 0
    last_ms: int = 0
    longest_ms: int = 0
    total_ms: int = 0
    recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MOST_RECENT))

    def note(self, now_ms: int, records: int, took_ms: int) -> None:
        """A partition has been read."""
        self.active += 1
        self.loaded += 1
        self.records += records
        self.last_ms = took_ms
        self.longest_ms = max(self.longest_ms, took_ms)
        self.total_ms += took_ms
        self.recent.append((now_ms, took_ms))

    def recent_ms(self, now_ms: int) -> list[int]:
        """How long those took that ended lately. To be asked from any thread."""
        return [took_ms for ended_ms, took_ms in list(self.recent) if now_ms - ended_ms < RECENT_MS]


@dataclass(slots=True)
class Held:
    """Answers that wait until everything below `end_offset` is committed."""

    end_offset: int
    deadline_ms: int
    answers: list[tuple[asyncio.Future[Any], Any]]


@dataclass(slots=True, eq=False)
class Partition(Generic[S]):
    """One partition of the topic that this broker leads. No shard: it is being loaded, or will be."""

    index: int
    shard: S | None = None
    effects: Effects | None = None
    tickets: dict[Ticket, asyncio.Future[Any]] = field(default_factory=dict)  # requests that wait in the shard
    unwritten: list[Record] = field(default_factory=list)  # of this turn, and patient ones
    encoded: list[Encoded] = field(default_factory=list)  # the bytes of `unwritten`, one for one
    dirty: bool = False  # they are written at the end of this turn
    producers: dict[int, int] = field(default_factory=dict)  # of this turn: the epochs that were found good
    parked_since_ms: int | None = None  # the log takes no writes for a moment: `unwritten` waits
    held: list[tuple[asyncio.Future[Any], Any]] = field(default_factory=list)  # answers of this turn
    waiting: deque[Held] = field(default_factory=deque)  # appended, not committed yet
    loading: asyncio.Task[None] | None = None
    reload_delay_ms: int = FIRST_RELOAD_DELAY_MS
    gone: bool = False


def fail(answers: list[tuple[asyncio.Future[Any], Any]], error: KafkaError) -> None:
    """Answer with an error whoever still waits."""
    for future, _ in answers:
        if not future.done():
            future.set_exception(error)
