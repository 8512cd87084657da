"""Records that a broker has given this member for a while, and what is said about them. Plain state.

    acquired 10..19, delivery count 1  ──▶  Delivery (rows of a MessageBatch)  ──▶  buffer  ──▶  user
                                                                                    │
    Said: ranges of offsets with their types, of one partition  ◀── withdraw ◀──────┘

Offsets that were acquired but hold no record (compacted, or of an aborted transaction) are told as gaps beside the
records around them. Source: KIP-932, KIP-1222 (renewal).
"""

from __future__ import annotations

import asyncio
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

from pystream._native.message_batch import Message, MessageBatch
from pystream.common.errors import CorruptRecordBatch, PystreamError
from pystream.common.model import NO_OFFSET, TopicIdPartition, TopicPartition

if TYPE_CHECKING:
    from typing_extensions import Buffer

GAP: Final = 0  # on the wire: an offset without a record
UNSAID: Final = 0  # in `Delivery._kinds`
TOLD: Final = 0xFF  # in `Delivery._kinds`: said, and on its way to the broker
SMALLEST_BATCH: Final = 61
LAST_OFFSET_DELTA_AT: Final = 23
_BATCH_START: Final = struct.Struct(">qi")
_LAST_OFFSET_DELTA: Final = struct.Struct(">i")
PACKED_SPAN: Final = 8  # so many offsets for each run: one byte each takes less room than the runs do


class AcknowledgeType(IntEnum):
    """What became of a record."""

    ACCEPT = 1  # processed
    RELEASE = 2  # not processed: give it to somebody again
    REJECT = 3  # cannot be processed: give it to nobody
    RENEW = 4  # still being processed: keep it locked for us (KIP-1222)


class Session(Protocol):
    """Who gave the records."""

    node_id: int
    generation: int  # rises when the session is lost, and with it all that it gave

    def tell(self, said: Said) -> None:
        """Send this soon."""
        ...

    def supports_renewal(self) -> bool:
        """Whether the broker knows RENEW."""
        ...


Run = tuple[int, int, int]  # first offset, last offset, type


class Range:
    """What goes over the wire: a type for all offsets from `first` to `last`, or one for each."""

    __slots__ = ("first", "kinds", "last")

    def __init__(self, first: int, last: int, kinds: Sequence[int]) -> None:
        self.first = first
        self.last = last
        self.kinds = kinds

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Range):
            return NotImplemented
        return (self.first, self.last, list(self.kinds)) == (other.first, other.last, list(other.kinds))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Range({self.first}, {self.last}, {list(self.kinds)})"


@dataclass(slots=True, eq=False)
class Said:
    """Acknowledgements of one partition on their way. `result` is done when the broker has answered, or never will."""

    key: TopicPartition
    place: TopicIdPartition
    session: Session
    generation: int  # of the session; a later one knows nothing of these records
    runs: list[Run]
    result: asyncio.Future[PystreamError | None] | None = None
    renewed: list[Delivery] = field(default_factory=list)  # comes back to the user when the broker has renewed it
    deadline_ms: int = 0

    @property
    def renews(self) -> bool:
        return bool(self.renewed)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """First and last offset of what was acknowledged, in order; without gaps, neighbours together."""
        found: list[tuple[int, int]] = []
        for first, last, kind in self.runs:
            if kind == GAP:
                continue
            if found and found[-1][1] + 1 == first:
                found[-1] = (found[-1][0], last)
            else:
                found.append((first, last))
        return found


class Delivery:
    """Rows `start` to before `stop` of what was fetched: acquired with one delivery count, offsets `first` to `last`.

    Handed from the loop to the user's task or thread as a whole; used by one of them at a time.
    """

    __slots__ = (
        "_kinds",
        "_left",
        "batch",
        "expires_at_ms",
        "first",
        "generation",
        "key",
        "last",
        "place",
        "session",
        "start",
        "stop",
    )

    def __init__(
        self,
        session: Session,
        key: TopicPartition,
        place: TopicIdPartition,
        batch: MessageBatch,
        *,
        start: int,
        stop: int,
        first: int,
        last: int,
        expires_at_ms: int,
    ) -> None:
        self.session = session
        self.generation = session.generation
        self.key = key
        self.place = place
        self.batch = batch
        self.start = start
        self.stop = stop
        self.first = first
        self.last = last
        self.expires_at_ms = expires_at_ms  # by then the broker has given the records to somebody else
        self._kinds: bytearray | None = None  # a byte a row, once something was said
        self._left = stop - start  # rows of which nothing was said

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def is_current(self) -> bool:
        """Whether the session that it was acquired in still is."""
        return self.generation == self.session.generation

    @property
    def unsaid(self) -> int:
        """Rows of which nothing was said."""
        return self._left

    @property
    def size_bytes(self) -> int:
        """About what its records take: their share of what was fetched."""
        return memoryview(self.batch.data).nbytes * len(self) // max(len(self.batch), 1)

    def messages(self) -> list[Message]:
        return self.batch.messages(self.start, self.stop)

    def split(self, rows: int) -> Delivery:
        """Keep the first `rows` (1 and above), and give the others, of which nothing was said."""
        cut = self.start + rows
        rest = self._part(cut, self.stop, memoryview(self.batch.offsets)[cut - 1] + 1, self.last)
        self.last = rest.first - 1
        self.stop = cut
        self._left -= len(rest)
        if self._kinds is not None:
            del self._kinds[rows:]
        return rest

    def _part(self, start: int, stop: int, first: int, last: int) -> Delivery:
        part = Delivery(
            self.session,
            self.key,
            self.place,
            self.batch,
            start=start,
            stop=stop,
            first=first,
            last=last,
            expires_at_ms=self.expires_at_ms,
        )
        part.generation = self.generation
        return part

    def find(self, offset: int) -> int | None:
        """The row of an offset."""
        if not self.first <= offset <= self.last:
            return None
        offsets = memoryview(self.batch.offsets)
        row = bisect_left(offsets, offset, self.start, self.stop)
        return row if row < self.stop and offsets[row] == offset else None

    def say(self, row: int, kind: int) -> bool:
        """Note what became of a row; what was said before and is not on its way is replaced. False: it is."""
        kinds = self._kinds
        if kinds is None:
            kinds = self._kinds = bytearray(len(self))
        before = kinds[row - self.start]
        if before == TOLD:
            return False
        self._left -= before == UNSAID
        kinds[row - self.start] = kind
        return True

    def say_all(self, kind: int) -> None:
        """Note what became of all rows that nothing is said of."""
        if self._kinds is None and self._left == len(self):
            self._kinds = bytearray((kind,)) * len(self)
        elif self._kinds is not None and self._left:
            self._kinds = bytearray(kind if before == UNSAID else before for before in self._kinds)
        self._left = 0

    def withdraw(self) -> tuple[list[Run], list[Delivery]]:
        """What was said since the last time, gaps included, and the rows to be renewed."""
        kinds = self._kinds
        if kinds is None:
            return [], []
        if len(kinds) == self.last - self.first + 1 and kinds.count(kinds[0]) == len(kinds):  # the common case
            runs = [] if kinds[0] in (UNSAID, TOLD) else [(self.first, self.last, kinds[0])]
        else:
            runs = list(_merged(self._runs(kinds)))
        renewed = self._renewals(kinds) if AcknowledgeType.RENEW in kinds else []
        self._kinds = bytearray(UNSAID if kind == UNSAID else TOLD for kind in kinds)
        return runs, renewed

    def _runs(self, kinds: bytearray) -> Iterator[Run]:
        """A run a row; the gap before a row goes with it, that behind the last row with the last."""
        expected = self.first
        for row, offset in enumerate(memoryview(self.batch.offsets)[self.start : self.stop]):
            kind = kinds[row]
            if kind not in (UNSAID, TOLD):
                if offset > expected:
                    yield expected, offset - 1, GAP
                yield offset, offset, kind
            expected = offset + 1
        if expected <= self.last and kinds[-1] not in (UNSAID, TOLD):
            yield expected, self.last, GAP

    def _renewals(self, kinds: bytearray) -> list[Delivery]:
        offsets = memoryview(self.batch.offsets)
        found: list[Delivery] = []
        for row, kind in enumerate(kinds, self.start):
            if kind != AcknowledgeType.RENEW:
                continue
            if found and found[-1].stop == row and found[-1].last + 1 == offsets[row]:
                found[-1].stop, found[-1].last, found[-1]._left = row + 1, offsets[row], found[-1]._left + 1
            else:
                found.append(self._part(row, row + 1, offsets[row], offsets[row]))
        return found


def deliveries_of(
    session: Session,
    key: TopicPartition,
    place: TopicIdPartition,
    batch: MessageBatch,
    records: Buffer,
    acquired: Iterable[tuple[int, int, int]],
    *,
    expires_at_ms: int,
) -> tuple[list[Delivery], list[Run]]:
    """What can be handed out, and what cannot: gaps, and what stands behind the last whole batch.

    What could not be read is released, so that somebody who can gets it; a damaged batch is rejected, for nobody can.
    """
    offsets = memoryview(batch.offsets)
    damaged_to = damaged_batch_end(batch, records)
    found: list[Delivery] = []
    useless: list[Run] = []
    for first, acquired_to, _ in acquired:
        last = min(acquired_to, batch.next_offset - 1)
        unread = max(first, last + 1)
        rejected_to = min(damaged_to, acquired_to)
        if unread <= rejected_to:
            useless.append((unread, rejected_to, AcknowledgeType.REJECT))
            unread = rejected_to + 1
        if unread <= acquired_to:
            useless.append((unread, acquired_to, AcknowledgeType.RELEASE))
        if last < first:
            continue
        start = bisect_left(offsets, first)
        stop = bisect_left(offsets, last + 1, start)
        if start == stop:
            useless.append((first, last, GAP))
        else:
            found.append(
                Delivery(
                    session,
                    key,
                    place,
                    batch,
                    start=start,
                    stop=stop,
                    first=first,
                    last=last,
                    expires_at_ms=expires_at_ms,
                )
            )
    return found, useless


def damaged_batch_end(batch: MessageBatch, records: Buffer) -> int:
    """The last offset of the batch whose damage ends `batch`, as its header says; NO_OFFSET without damage.

    batch header:  base offset int64 | length int32 | ... | at 23: last offset delta int32
    """
    if not isinstance(batch.error, CorruptRecordBatch):
        return NO_OFFSET
    position = 0
    while position + SMALLEST_BATCH <= memoryview(records).nbytes:
        base, length = _BATCH_START.unpack_from(records, position)
        (delta,) = _LAST_OFFSET_DELTA.unpack_from(records, position + LAST_OFFSET_DELTA_AT)
        if base + delta >= batch.next_offset or length <= 0:
            return int(base + delta)
        position += _BATCH_START.size + int(length)
    return NO_OFFSET


def gather(deliveries: Iterable[Delivery]) -> list[Said]:
    """What was said about them since the last time: at most one for each partition and session."""
    found: dict[tuple[Session, int, TopicIdPartition], Said] = {}
    for delivery in deliveries:
        runs, renewed = delivery.withdraw()
        if not runs:
            continue
        name = (delivery.session, delivery.generation, delivery.place)
        said = found.get(name)
        if said is None:
            said = found[name] = Said(delivery.key, delivery.place, delivery.session, delivery.generation, [])
        said.runs += runs
        said.renewed += renewed
    for said in found.values():
        said.runs = list(_merged(sorted(said.runs)))
    return list(found.values())


def ranges_of(runs: Iterable[Run]) -> list[Range]:
    """As they go over the wire: many short runs side by side become a list of types."""
    found: list[Range] = []
    beside: list[Run] = []

    def put() -> None:
        if not beside:
            return
        span = beside[-1][1] - beside[0][0] + 1
        if len(beside) > 1 and span <= PACKED_SPAN * len(beside):
            kinds = [kind for first, last, kind in beside for _ in range(first, last + 1)]
            found.append(Range(beside[0][0], beside[-1][1], kinds))
        else:
            found.extend(Range(first, last, (kind,)) for first, last, kind in beside)
        beside.clear()

    for run in runs:
        if beside and run[0] != beside[-1][1] + 1:
            put()
        beside.append(run)
    put()
    return found


def _merged(runs: Iterable[Run]) -> Iterator[Run]:
    """Neighbours of one type together."""
    current: Run | None = None
    for run in runs:
        if current is not None and current[2] == run[2] and current[1] + 1 == run[0]:
            current = (current[0], run[1], run[2])
            continue
        if current is not None:
            yield current
        current = run
    if current is not None:
        yield current
