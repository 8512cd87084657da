"""The records of a share partition that are in flight, as runs of offsets that share their fate.

    start                                   next
    [10..14 acquired A][15..19 available, 2][20..40 acknowledged][41..49 acquired B]
    runs follow one another without a gap, from the start offset to the first offset that was never given out

A run is cut in two where only a part of it changes, and joined with its neighbours where they became equal, so that
what is kept grows with what differs, not with the number of records.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from enum import IntEnum

NO_MEMBER = ""
NO_DEADLINE = 0


class RecordState(IntEnum):
    """By the numbers that Kafka stores. Acquired is never stored: after a restart such a record is available."""

    AVAILABLE = 0
    ACQUIRED = 1
    ACKNOWLEDGED = 2
    ARCHIVED = 4


DELIVERED = frozenset({RecordState.ACKNOWLEDGED, RecordState.ARCHIVED})


class Run:
    """Records [first..last] of one fate. `target`: the state that is being written, under number `transition`."""

    __slots__ = ("deadline_ms", "delivery_count", "first", "last", "member_id", "state", "target", "transition")

    def __init__(self, first: int, last: int, state: RecordState, delivery_count: int = 0) -> None:
        self.first = first
        self.last = last
        self.state = state
        self.delivery_count = delivery_count
        self.member_id = NO_MEMBER
        self.deadline_ms = NO_DEADLINE
        self.target: RecordState | None = None
        self.transition = 0

    def __repr__(self) -> str:
        whose = f" {self.member_id} until {self.deadline_ms}" if self.member_id else ""
        becomes = f" -> {self.target.name}" if self.target is not None else ""
        return f"[{self.first}..{self.last} {self.state.name} {self.delivery_count}{whose}{becomes}]"

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    @property
    def is_available(self) -> bool:
        """Whether it may be acquired now."""
        return self.state is RecordState.AVAILABLE and self.target is None

    @property
    def is_delivered(self) -> bool:
        """Whether nobody will get it any more."""
        return self.state in DELIVERED

    def put(self, state: RecordState) -> None:
        """Settle in a state that no member holds."""
        self.state = state
        self.target = None
        self.member_id = NO_MEMBER
        self.deadline_ms = NO_DEADLINE

    def equals(self, other: Run) -> bool:
        """Whether both can be one run: delivered records need not tell how often they were delivered."""
        return (
            self.state is other.state
            and self.target is other.target
            and self.transition == other.transition
            and self.member_id == other.member_id
            and self.deadline_ms == other.deadline_ms
            and (self.delivery_count == other.delivery_count or (self.is_delivered and self.target is None))
        )


class Runs:
    """Runs in the order of their offsets, without gaps. The caller changes runs and then calls `join`."""

    __slots__ = ("_firsts", "_runs")

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._firsts: list[int] = []

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def append(self, run: Run) -> None:
        """Add a run behind the last one."""
        self._runs.append(run)
        self._firsts.append(run.first)

    def drop_before(self, offset: int) -> None:
        """Forget what lies below `offset`."""
        index = self._cut(offset)
        del self._runs[:index]
        del self._firsts[:index]

    def within(self, first: int, last: int) -> list[Run]:
        """The runs of [first..last], cut so that none reaches out of it."""
        if last < first:
            return []
        begin = self._cut(first)
        return self._runs[begin : self._cut(last + 1)]

    def overlapping(self, first: int, last: int) -> list[Run]:
        """The runs that have a part in [first..last], uncut: to be looked at."""
        begin = max(bisect_right(self._firsts, first) - 1, 0)
        end = bisect_right(self._firsts, last)
        return [run for run in self._runs[begin:end] if run.last >= first]

    def join(self, first: int, last: int) -> None:
        """Make one of equal neighbours from the run before `first` to the one behind `last`."""
        begin = max(bisect_right(self._firsts, first) - 2, 0)
        end = min(bisect_right(self._firsts, last) + 1, len(self._runs))
        joined: list[Run] = []
        for run in self._runs[begin:end]:
            if joined and joined[-1].equals(run):
                joined[-1].last = run.last
            else:
                joined.append(run)
        if len(joined) < end - begin:
            self._runs[begin:end] = joined
            self._firsts[begin:end] = [run.first for run in joined]

    def _cut(self, offset: int) -> int:
        """The index of the run that begins at `offset`, which is cut off what lies before it."""
        index = bisect_right(self._firsts, offset) - 1
        if index < 0 or self._runs[index].last < offset:
            return index + 1
        run = self._runs[index]
        if run.first == offset:
            return index
        rest = Run(offset, run.last, run.state, run.delivery_count)
        rest.member_id, rest.deadline_ms = run.member_id, run.deadline_ms
        rest.target, rest.transition = run.target, run.transition
        run.last = offset - 1
        self._runs.insert(index + 1, rest)
        self._firsts.insert(index + 1, offset)
        return index + 1
