"""SharePartition: which records of one partition a share group has given out, to whom, and what became of them.

    AVAILABLE ──acquire──▶ ACQUIRED ──accept──▶ ACKNOWLEDGED      the start offset passes over what is acknowledged
        ▲                     │ ├──reject, gap──▶ ARCHIVED          or archived, and never runs back
        └──release, time-out──┘ └──release or time-out of the last delivery──▶ ARCHIVED

What leaves ACQUIRED is written down before it counts: an operation gives a `Transition`, whose records nobody can touch
until `settle` tells whether it was written. If it was not, they are acquired again by whom they were, until the lock's
time is over. Source: KIP-932, KIP-1206 (exact number of records), KIP-1222 (renewal), KIP-1226 (lag).

No clock, no log: the caller reads the log and says what it found.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from pystream.common.errors import InvalidRecordState, InvalidRequest
from pystream.coordinator.share.runs import DELIVERED, RecordState, Run, Runs

NO_START_OFFSET = -1  # in a write: the start offset has not moved
LEAST_THROTTLED_DELIVERIES = 2


class AcknowledgeType(IntEnum):
    """What a member says of a record. A gap is an offset at which it found no record."""

    GAP = 0
    ACCEPT = 1
    RELEASE = 2
    REJECT = 3
    RENEW = 4


class Span(NamedTuple):
    """Offsets from `first` to `last`, both included."""

    first: int
    last: int


class Acquired(NamedTuple):
    """Records that a member has from now on."""

    first: int
    last: int
    delivery_count: int


class Acknowledgement(NamedTuple):
    """`types`: one for all offsets from `first` to `last`, or one for each."""

    first: int
    last: int
    types: Sequence[int]


class StateBatch(NamedTuple):
    """Records of one stored state."""

    first: int
    last: int
    state: RecordState
    delivery_count: int


@dataclass(frozen=True, slots=True)
class Transition:
    """What is to be written before the records change their state. `start_offset`: NO_START_OFFSET when it stays."""

    number: int
    start_offset: int
    delivery_complete_count: int
    batches: tuple[StateBatch, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_record_locks`: records in flight at most, overrun by the rest of one batch (KIP-932)."""

    max_record_locks: int
    delivery_count: int

    @property
    def throttled_deliveries(self) -> int:
        """After so many, a record comes with fewer and fewer of its like, at last alone: it may be poison."""
        return max(LEAST_THROTTLED_DELIVERIES, -(-self.delivery_count // 2))


@dataclass(slots=True)
class Wanted:
    """What one member asks for. `exact`: not one record more than `max_records` (KIP-1206)."""

    member_id: str
    max_records: int
    batch_size: int
    exact: bool
    deadline_ms: int  # when the locks end
    acquired: list[Acquired] = field(default_factory=list)
    count: int = 0

    @property
    def left(self) -> int:
        return self.max_records - self.count


class SharePartition:
    """See the head of this module. In flight is [start_offset..next_offset); from there on nothing was given out."""

    def __init__(
        self, limits: Limits, *, start_offset: int, is_stored: bool = True, batches: Iterable[StateBatch] = ()
    ) -> None:
        """From what was stored. Records between the stored ones were given out, and nothing is known of them.

        `is_stored`: whether the start offset is written down, too; it is told with the first write if not.
        """
        self._limits = limits
        self._runs = Runs()
        self._transitions = 0
        self._unsettled: set[int] = set()
        self.start_offset = start_offset
        self.next_offset = start_offset
        self._written_start = start_offset if is_stored else NO_START_OFFSET
        for batch in batches:
            first = max(batch.first, self.next_offset)
            if first <= batch.last:
                self._add(self.next_offset, first - 1, RecordState.AVAILABLE)
                self._add(first, batch.last, batch.state, batch.delivery_count)
        self._runs.join(start_offset, self.next_offset)
        self._advance()

    @property
    def in_flight(self) -> int:
        """Records that somebody has or may yet get again."""
        return sum(run.size for run in self._runs if not run.is_delivered)

    @property
    def runs(self) -> list[Run]:
        return list(self._runs)

    def next_fetch_offset(self) -> int:
        """Where to read on: the first available record, else the first that was never given out."""
        return next((run.first for run in self._runs if run.is_available), self.next_offset)

    def fetch_limit(self) -> int | None:
        """Where reading must end: None for nowhere, `next_offset` while as many as may be are in flight."""
        return None if self.in_flight < self._limits.max_record_locks else self.next_offset

    def next_deadline_ms(self) -> int | None:
        """When the next lock ends."""
        locked = (r.deadline_ms for r in self._runs if r.state is RecordState.ACQUIRED and r.target is None)
        return min(locked, default=None)

    def acquire(self, wanted: Wanted, *, fetch_offset: int, read_to: int, spans: Sequence[Span]) -> list[Acquired]:
        """Give out records, from those that were read from `fetch_offset` up to before `read_to`.

        `spans` are the batches in there whose records may be given out, in their order. Offsets in none of them hold
        no record that anybody may have (compacted, aborted, control): they are archived.
        """
        first = max(fetch_offset, self.start_offset)
        if read_to <= first:
            return []
        spans = [span for span in spans if span.last >= first]
        self._archive_missing(first, min(read_to, self.next_offset), spans)
        if self._acquire_again(wanted, first, min(read_to, self.next_offset), spans) and read_to > self.next_offset:
            self._acquire_new(wanted, read_to, spans)
        self._advance()
        return _together(wanted.acquired, wanted.batch_size)

    def acknowledge(
        self, member_id: str, acknowledgements: Iterable[Acknowledgement], *, renew_until_ms: int
    ) -> Transition | None:
        """Do with the member's records what it says; all of it or nothing. None: there is nothing to write.

        Below the start offset anything goes: those records are gone. Raises InvalidRequest for offsets that were never
        given out, InvalidRecordState for records that the member does not have, and while nothing is given out at all.
        """
        pieces = [piece for found in checked(acknowledgements) for piece in self._pieces(member_id, found)]
        changes = []
        for span, kind in pieces:
            for run in self._runs.within(*span):
                if kind is AcknowledgeType.RENEW:
                    run.deadline_ms = renew_until_ms
                else:
                    changes.append((run, self._target(run, kind)))
        return self._begin(changes)

    def release(self, member_id: str) -> Transition | None:
        """The member has gone: its records are available again. None: it had none."""
        return self._begin([(run, self._target(run)) for run in self._acquired() if run.member_id == member_id])

    def expire(self, now_ms: int) -> Transition | None:
        """Locks whose time is over end. None: there are none."""
        return self._begin([(run, self._target(run)) for run in self._acquired() if run.deadline_ms <= now_ms])

    def settle(self, transition: Transition, *, written: bool, retry_ms: int = 0) -> None:
        """What was to be written is written, or could not be: locks that have ended by then end at `retry_ms`."""
        self._unsettled.discard(transition.number)
        for batch in transition.batches:
            for run in self._runs.overlapping(batch.first, batch.last):
                if run.transition != transition.number or run.target is None:
                    continue
                if written:
                    run.put(run.target)
                else:
                    run.target = None
                    run.deadline_ms = max(run.deadline_ms, retry_ms)
                run.transition = 0
            self._runs.join(batch.first, batch.last)
        if not written:
            self._written_start = NO_START_OFFSET
        self._advance()

    def overdue(self) -> Transition | None:
        """The start offset that has moved without being written: told when nothing else is about to tell it."""
        if self._unsettled or self.start_offset <= self._written_start:
            return None
        return self._write(())

    def advance_log_start(self, log_start_offset: int) -> bool:
        """The log begins later now: what lay before is gone, whoever had it. Whether anything changed."""
        if log_start_offset <= self.start_offset:
            return False
        self._runs.drop_before(log_start_offset)
        self.start_offset = log_start_offset
        self.next_offset = max(self.next_offset, log_start_offset)
        self._advance()
        return True

    def _add(self, first: int, last: int, state: RecordState, delivery_count: int = 0) -> Run | None:
        if last < first:
            return None
        run = Run(first, last, state, delivery_count)
        self._runs.append(run)
        self.next_offset = last + 1
        return run

    def _acquired(self) -> list[Run]:
        return [run for run in self._runs if run.state is RecordState.ACQUIRED and run.target is None]

    def _target(self, run: Run, kind: AcknowledgeType = AcknowledgeType.RELEASE) -> RecordState:
        if kind is AcknowledgeType.ACCEPT:
            return RecordState.ACKNOWLEDGED
        if kind is AcknowledgeType.RELEASE and run.delivery_count < self._limits.delivery_count:
            return RecordState.AVAILABLE
        return RecordState.ARCHIVED

    # ---- giving out

    def _archive_missing(self, first: int, end: int, spans: Sequence[Span]) -> None:
        """Available records of [first..end) that are in no span do not exist."""
        for gap in _gaps(first, end, spans):
            for run in self._runs.within(*gap):
                if run.is_available:
                    run.put(RecordState.ARCHIVED)
            self._runs.join(*gap)

    def _acquire_again(self, wanted: Wanted, first: int, end: int, spans: Sequence[Span]) -> bool:
        """Give out available records of [first..end). Whether there is room for more."""
        for run in self._runs.overlapping(first, end - 1):
            if wanted.left <= 0:
                return False
            if not run.is_available:
                continue
            begin, most, alone = max(run.first, first), wanted.left, False
            if run.delivery_count >= self._limits.throttled_deliveries:
                if wanted.count:
                    return False
                alone = True
                is_last = run.delivery_count + 1 >= self._limits.delivery_count
                most = min(most, 1 if is_last else max(run.size // 2, 1))  # half of what was half at the time before
            last = self._cut_off(Span(begin, min(run.last, end - 1)), most, spans, exact=wanted.exact or alone)
            for part in self._runs.within(begin, last):
                self._take(wanted, part, spans)
            self._runs.join(begin, last)
            if alone:
                return False
        return wanted.left > 0

    def _acquire_new(self, wanted: Wanted, read_to: int, spans: Sequence[Span]) -> None:
        """Give out records from `next_offset` on, as far as they were read and may be in flight."""
        begin = self.next_offset
        room = self._limits.max_record_locks - self.in_flight
        for span in spans:
            if span.last < self.next_offset:
                continue
            most = min(wanted.left, room)
            if most <= 0:
                break
            new = Span(max(span.first, self.next_offset), span.last)
            last = self._cut_off(new, most, spans, exact=wanted.exact)
            self._add(self.next_offset, new.first - 1, RecordState.ARCHIVED)
            run = self._add(new.first, last, RecordState.AVAILABLE)
            assert run is not None, "a span holds at least one offset"
            self._take(wanted, run, spans)
            room -= run.size
            if last < span.last:
                break
        else:
            self._add(self.next_offset, read_to - 1, RecordState.ARCHIVED)
        self._runs.join(begin, self.next_offset)

    def _cut_off(self, span: Span, most: int, spans: Sequence[Span], *, exact: bool) -> int:
        """The last offset of `span` to give out, so that it is `most` records, or ends with a batch."""
        last = span.first + most - 1
        if last >= span.last:
            return span.last
        if exact:
            return last
        batch = spans[bisect_left(spans, last, key=lambda known: known.last)]
        return min(batch.last, span.last)

    def _take(self, wanted: Wanted, run: Run, spans: Sequence[Span]) -> None:
        run.state = RecordState.ACQUIRED
        run.delivery_count += 1
        run.member_id = wanted.member_id
        run.deadline_ms = wanted.deadline_ms
        wanted.count += run.size
        ranges = _aligned(Span(run.first, run.last), spans, wanted.batch_size)
        wanted.acquired.extend(Acquired(first, last, run.delivery_count) for first, last in ranges)

    # ---- what members say

    def _pieces(self, member_id: str, said: Acknowledgement) -> Iterator[tuple[Span, AcknowledgeType]]:
        """What is said of the member's records, by runs of equal types."""
        if said.last < self.start_offset:
            return
        first = max(said.first, self.start_offset)
        if not len(self._runs):
            raise InvalidRecordState("Batch record not found. The request batch offsets are not found in the cache.")
        if first >= self.next_offset:
            raise InvalidRequest("Batch record not found. The first offset in request is past acquired records.")
        if said.last >= self.next_offset:
            raise InvalidRequest("Batch record not found. The last offset in request is past acquired records.")
        for run in self._runs.overlapping(first, said.last):
            if run.state is not RecordState.ACQUIRED or run.target is not None:
                raise InvalidRecordState("The batch cannot be acknowledged. The batch is not in the acquired state.")
            if run.member_id != member_id:
                raise InvalidRecordState("Member is not the owner of batch record")
        if len(said.types) == 1:
            yield Span(first, said.last), AcknowledgeType(said.types[0])
            return
        begin = first
        for offset in range(first, said.last + 1):
            kind = said.types[offset - said.first]
            if offset == said.last or said.types[offset + 1 - said.first] != kind:
                yield Span(begin, offset), AcknowledgeType(kind)
                begin = offset + 1

    def _begin(self, changes: list[tuple[Run, RecordState]]) -> Transition | None:
        if not changes:
            return None
        self._transitions += 1
        for run, target in changes:
            run.target = target
            run.transition = self._transitions
        return self._write(tuple(StateBatch(r.first, r.last, target, r.delivery_count) for r, target in changes))

    def _write(self, batches: tuple[StateBatch, ...]) -> Transition:
        """What to write once `batches` are marked as the latest transition; none of them: only the start offset."""
        if not batches:
            self._transitions += 1
        number = self._transitions
        start_offset = self.start_offset
        for run in self._runs:
            if not (run.is_delivered or (run.transition == number and run.target in DELIVERED)):
                break
            start_offset = run.last + 1
        moved = start_offset > self._written_start
        self._written_start = max(self._written_start, start_offset)
        complete = sum(
            run.last - max(run.first, self._written_start) + 1
            for run in self._runs
            if run.last >= self._written_start and (run.is_delivered or run.target in DELIVERED)
        )
        self._unsettled.add(number)
        return Transition(number, start_offset if moved else NO_START_OFFSET, complete, batches)

    def _advance(self) -> None:
        """Move the start offset over what is delivered."""
        start_offset = self.start_offset
        for run in self._runs:
            if not run.is_delivered or run.target is not None:
                break
            start_offset = run.last + 1
        if start_offset > self.start_offset:
            self._runs.drop_before(start_offset)
            self.start_offset = start_offset


def checked(acknowledgements: Iterable[Acknowledgement]) -> Iterator[Acknowledgement]:
    """The acknowledgements, in rising order and well formed. Raises InvalidRequest."""
    end = -1
    for said in acknowledgements:
        if not end < said.first <= said.last:
            raise InvalidRequest(f"acknowledged offsets {said.first} to {said.last} are out of order")
        if len(said.types) != 1 and len(said.types) != said.last - said.first + 1:
            raise InvalidRequest(f"{len(said.types)} types for offsets {said.first} to {said.last}")
        if not all(AcknowledgeType.GAP <= kind <= AcknowledgeType.RENEW for kind in said.types):
            raise InvalidRequest(f"unknown type of acknowledgement for offsets {said.first} to {said.last}")
        end = said.last
        yield said


def _gaps(first: int, end: int, spans: Sequence[Span]) -> Iterator[Span]:
    """What of [first..end) is in no span."""
    for span in spans:
        if first >= end:
            return
        if span.first > first:
            yield Span(first, min(span.first, end) - 1)
        first = max(first, span.last + 1)
    if first < end:
        yield Span(first, end - 1)


def _aligned(run: Span, spans: Sequence[Span], batch_size: int) -> Iterator[Span]:
    """The run in pieces that end with a batch and hold at least `batch_size` records, but for the last."""
    first = run.first
    for span in spans[bisect_left(spans, first, key=lambda known: known.last) :]:
        if span.last >= run.last:
            break
        if span.last - first + 1 >= batch_size:
            yield Span(first, span.last)
            first = span.last + 1
    yield Span(first, run.last)


def _together(acquired: list[Acquired], batch_size: int) -> list[Acquired]:
    """Neighbours of one delivery count as one, as long as they hold fewer records than `batch_size`."""
    joined: list[Acquired] = []
    for found in acquired:
        before = joined[-1] if joined else None
        if (
            before is not None
            and before.last + 1 == found.first
            and before.delivery_count == found.delivery_count
            and found.last - before.first + 1 <= batch_size
        ):
            joined[-1] = before._replace(last=found.last)
        else:
            joined.append(found)
    return joined
