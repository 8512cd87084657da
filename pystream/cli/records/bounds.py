"""Where `consume` begins and ends: kcat's -o, which may be given twice.

    beginning | end        N   an offset        -N   that many before the end
    s@TIME   @TIME         from the first record at or after TIME      e@TIME   up to the last before it that is there

TIME is milliseconds, an age (-90s, -1h, -7d) or a moment (2026-11-22T10:00:00Z).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pystream.client.operations.handlers.positions import parse_position
from pystream.common.errors import InvalidRequest
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.consumer.record_batch import RecordBatch
    from pystream.client.sync.consumer import Consumer

BEGINNINGS: Final = ("beginning", "start", "earliest")
ENDS: Final = ("end", "latest")


@dataclass(frozen=True, slots=True)
class Bounds:
    """`start` is a text as above; times in ms. `to_end`: not beyond what is there now."""

    start: str = "beginning"
    start_ms: int | None = None
    end_ms: int | None = None
    to_end: bool = False

    @classmethod
    def parse(cls, texts: Sequence[str], *, to_end: bool) -> Bounds:
        """Raises InvalidRequest for what is no offset, and for two beginnings or two ends."""
        starts = [text for text in texts if not text.startswith("e@")]
        ends = [text for text in texts if text.startswith("e@")]
        if len(starts) > 1 or len(ends) > 1:
            raise InvalidRequest(f"-o {' -o '.join(texts)}: expected one beginning, and one end as e@TIME")
        start = starts[0] if starts else "beginning"
        end_ms = _time(ends[0][2:]) if ends else None
        if start.startswith(("s@", "@")):
            return cls(start, _time(start.partition("@")[2]), end_ms, to_end)
        if start not in (*BEGINNINGS, *ENDS) and not re.fullmatch(r"-?\d{1,18}", start):
            raise InvalidRequest(f"-o {start}: expected beginning, end, an offset, -N, s@TIME or e@TIME")
        return cls(start, None, end_ms, to_end)

    @property
    def is_bounded(self) -> bool:
        return self.to_end or self.end_ms is not None

    def reset_policy(self) -> str:
        """As auto.offset.reset has it, for groups. Raises InvalidRequest for what a group cannot begin with."""
        if self.start in BEGINNINGS:
            return "earliest"
        if self.start in ENDS:
            return "latest"
        raise InvalidRequest(
            f"-o {self.start}: a group goes on where it was, or at beginning or end; "
            "`pystream groups reset-offsets` moves it"
        )

    def seek(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Bring an assigned consumer to the beginning."""
        if self.start_ms is not None:
            consumer.seek_to_time(self.start_ms, partitions)
        elif self.start in BEGINNINGS:
            consumer.seek_to_beginning(partitions)
        elif self.start in ENDS:
            consumer.seek_to_end(partitions)
        elif self.start.startswith("-"):
            first, last = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
            for each in partitions:
                consumer.seek(each, max(last[each] + int(self.start), first[each]))
        else:
            first, last = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
            for each in partitions:
                consumer.seek(each, min(max(int(self.start), first[each]), last[each]))


class Ends:
    """The offsets up to which each partition is read."""

    def __init__(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._offsets = offsets
        self.open = set(offsets)

    @classmethod
    def of(cls, bounds: Bounds, consumer: Consumer, partitions: Sequence[TopicPartition]) -> Ends:
        """The end of the log, or the first record at or after e@TIME."""
        offsets = consumer.end_offsets(partitions)
        if bounds.end_ms is not None:
            for each, told in consumer.offsets_for_times(dict.fromkeys(partitions, bounds.end_ms)).items():
                if told is not None:
                    offsets[each] = min(offsets[each], told.offset)
        return cls(offsets)

    def rows(self, batch: RecordBatch) -> int:
        """How many rows of the batch lie before its partition's end."""
        end = self._offsets.get(TopicPartition(batch.topic, batch.partition))
        if end is None or batch.next_offset <= end:
            return len(batch)
        return bisect_left(batch.offsets, end)

    def reached(self, consumer: Consumer, among: Iterable[TopicPartition]) -> list[tuple[TopicPartition, int]]:
        """The partitions that have come to their end since the last call, and where that is."""
        found = []
        for each in list(among):
            if each in self.open and consumer.position(each) >= self._offsets[each]:
                self.open.discard(each)
                found.append((each, self._offsets[each]))
        return found


def _time(text: str) -> int:
    return parse_position(f"@{text}").value
