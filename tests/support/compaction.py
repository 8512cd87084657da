"""Logs to be compacted, and what a reader then finds in them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pystream._native.batch import Header, parse_headers
from pystream._native.local_log import LocalLog
from pystream._native.log_cleaner import LogCleaning
from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.record_reader import RecordReader

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000
ABORT, COMMIT = 0, 1


class Kept(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


def batch(
    records: Iterable[tuple[bytes | None, bytes | None]],
    *,
    codec: int = 0,
    timestamp: int = NOW_MS,
    producer_id: int = -1,
    sequence: int = -1,
    transactional: bool = False,
    append_time_ms: int | None = None,
) -> bytes:
    """A batch of (key, value) pairs, a millisecond apart."""
    builder = RecordBatchBuilder(
        codec=codec,
        producer_id=producer_id,
        producer_epoch=0 if producer_id >= 0 else -1,
        base_sequence=sequence,
        transactional=transactional,
        append_time_ms=append_time_ms,
    )
    for number, (key, value) in enumerate(records):
        builder.append(value, key=key, timestamp=timestamp + number)
    return builder.build()


def marker(producer_id: int, kind: int, *, timestamp: int = NOW_MS) -> bytes:
    builder = RecordBatchBuilder(producer_id=producer_id, producer_epoch=0, transactional=True, control=True)
    builder.append(struct.pack(">hi", 0, 0), key=struct.pack(">hh", 0, kind), timestamp=timestamp)
    return builder.build()


def append(log: LocalLog, *batches: bytes) -> list[int]:
    """Base offsets of batches that were all taken."""
    results = log.append(b"".join(batches))
    assert [status for status, _, _ in results] == [0] * len(batches)
    return [base for _, base, _ in results]


def stored(log: LocalLog) -> bytes:
    """Every batch of the log, as it lies there."""
    data = bytearray()
    offset = log.start_offset
    while offset < log.end_offset:
        _, size, _, following = log.read_range(offset=offset, max_bytes=1 << 30)
        data += log.read(offset=offset, max_bytes=1 << 30)
        assert following > offset
        assert size > 0
        offset = following
    return bytes(data)


def headers(log: LocalLog) -> list[Header]:
    return list(parse_headers(stored(log)))


def kept(log: LocalLog) -> list[Kept]:
    """Every data record, aborted ones too."""
    found = []
    for record in RecordReader(stored(log)):
        key = None if record.key is None else bytes(record.key)
        value = None if record.value is None else bytes(record.value)
        found.append(Kept(record.offset, key, value, record.timestamp))
    return found


def offsets(log: LocalLog) -> list[int]:
    return [record.offset for record in kept(log)]


class Round(NamedTuple):
    end_offset: int
    statistics: dict[str, int]
    replaced: list[int]


def clean(
    log: LocalLog,
    *,
    first_dirty_offset: int = 0,
    bound: int | None = None,
    now_ms: int = NOW_MS,
    delete_retention_ms: int = DAY_MS,
    map_bytes: int = 1 << 20,
    step_bytes: int = 1 << 20,
    buffer_bytes: int = 256 << 10,
) -> Round:
    """One whole round; by default everything but the active segment is dirty."""
    log.flush()
    cleaning = LogCleaning(
        log,
        first_dirty_offset=first_dirty_offset,
        bound=log.end_offset if bound is None else bound,
        map_bytes=map_bytes,
        now_ms=now_ms,
        delete_retention_ms=delete_retention_ms,
        buffer_bytes=buffer_bytes,
    )
    try:
        while not cleaning.map(step_bytes):
            pass
        while not cleaning.clean(step_bytes):
            pass
        return Round(cleaning.end_offset, cleaning.statistics, cleaning.take_replaced())
    finally:
        cleaning.close()


def filled(log: LocalLog, segments: Sequence[Sequence[bytes]]) -> None:
    """Appends the batches of each segment and rolls behind it."""
    for batches in segments:
        append(log, *batches)
        log.roll()
