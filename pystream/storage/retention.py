"""Which segments of a log have had their time: plain functions of what the segments say.

A segment goes whole or not at all, oldest first, and the first one that stays ends it.  Nothing at or above `bound`
goes: that is what is not yet durable, or the first record of an open transaction.  Segments without timestamps are
not deleted by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

UNLIMITED = -1


class SegmentFacts(NamedTuple):
    """What LocalLog.segments() says of one segment."""

    base_offset: int
    next_offset: int
    size_bytes: int
    max_timestamp_ms: int


def expired(segment: SegmentFacts, *, retention_ms: int, now_ms: int) -> bool:
    return retention_ms >= 0 and segment.max_timestamp_ms >= 0 and now_ms - segment.max_timestamp_ms > retention_ms


def retained_from(
    segments: Sequence[SegmentFacts],
    *,
    retention_ms: int,
    retention_bytes: int,
    start_offset: int,
    bound: int,
    now_ms: int,
) -> int:
    """The log start offset that retention asks for: `start_offset`, or the end of the last segment that has had its
    time.

    The active segment counts like the others: who deletes it rolls first.  By size the oldest go while what remains
    is still at least `retention_bytes`. Source: Kafka's UnifiedLog.deleteOldSegments.
    """
    surplus = sum(segment.size_bytes for segment in segments) - retention_bytes if retention_bytes >= 0 else 0
    found = start_offset
    for segment in segments:
        if segment.next_offset > bound or segment.size_bytes == 0:
            break
        by_size = retention_bytes >= 0 and surplus >= segment.size_bytes
        by_start = segment.next_offset <= start_offset
        if not (by_size or by_start or expired(segment, retention_ms=retention_ms, now_ms=now_ms)):
            break
        surplus -= segment.size_bytes
        found = max(found, segment.next_offset)
    return found
