"""Compaction of a log of which anything may be wrong.  Input: one byte of options, then the bytes of a closed segment.

bit 0 CRCs are made right where a header can be read   1 the first half is clean already   2 a map of four keys
3 a buffer of 61 bytes   4 in steps of one byte   5 delete.retention.ms is over at once

A round either ends with an error, and the segment's bytes are as they were, or leaves whole batches in order that a
second round and a start can read; records are those that were there.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from pathlib import Path

from pystream._native.batch import parse_headers
from pystream._native.local_log import LocalLog
from pystream._native.log_cleaner import LogCleaning
from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.record_reader import RecordReader
from pystream.common.errors import PystreamError
from tests.fuzz.target_log_recovery import mended

_memory = "/dev/shm"
_scratch = Path(tempfile.mkdtemp(prefix="fuzz-cleaner-", dir=_memory if os.access(_memory, os.W_OK) else None))
END_OFFSET = 40  # of the closed segment: where the active one begins
NOW_MS = 1_700_000_000_000


def build(base: int, *pairs: tuple[bytes, bytes | None], codec: int = 0, **rest: int | bool) -> bytes:
    builder = RecordBatchBuilder(base_offset=base, partition_leader_epoch=0, codec=codec, **rest)
    for number, (key, value) in enumerate(pairs):
        builder.append(value, key=key, timestamp=1_000 + number, headers=[("h", b"1")] if number % 2 else ())
    return builder.build()


def seeds() -> list[bytes]:
    producer = {"producer_id": 5, "producer_epoch": 0}
    marker = RecordBatchBuilder(base_offset=6, partition_leader_epoch=0, **producer, transactional=True, control=True)
    marker.append(struct.pack(">hi", 0, 0), key=struct.pack(">hh", 0, 1), timestamp=1_000)
    plain = build(0, (b"a", b"1"), (b"b", b"2"), (b"a", None)) + build(3, (b"a", b"4"), (b"c", b"5"))
    transaction = build(5, (b"b", b"6"), **producer, base_sequence=0, transactional=True) + marker.build()
    packed = b"".join(build(7 + 2 * codec, (b"a", b"x" * 50), (b"d", None), codec=codec) for codec in range(1, 5))
    return [
        bytes([options]) + data for options in (0, 2, 5, 8, 0x10, 0x21) for data in (plain, plain + transaction, packed)
    ]


def check(data: bytes) -> None:
    if not data:
        return
    options, content = data[0], data[1:]
    content = mended(content) if options & 1 else content
    folder = _scratch / "t-0"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    file = folder / f"{0:020d}.log"
    file.write_bytes(content)
    (folder / f"{END_OFFSET:020d}.log").write_bytes(build(END_OFFSET, (b"z", b"9")))
    log = LocalLog.open(str(folder), clean=True, compacted=True, recovery_point=END_OFFSET)
    try:
        for round_number in range(2):
            before = file.read_bytes()
            if not cleaned(log, options, NOW_MS + round_number):
                assert file.read_bytes() == before
                break
            check_left(before, file.read_bytes())
        assert not list(folder.glob("*.cleaned"))
        assert not list(folder.glob("*.swap"))
    finally:
        log.close(clean=False)
    LocalLog.open(str(folder), clean=True, compacted=True, recovery_point=END_OFFSET).close(clean=False)


def cleaned(log: LocalLog, options: int, now_ms: int) -> bool:
    step_bytes = 1 if options & 0x10 else 1 << 20
    cleaning = LogCleaning(
        log,
        first_dirty_offset=3 if options & 2 else 0,
        bound=log.end_offset,
        map_bytes=24 * 5 if options & 4 else 1 << 16,
        now_ms=now_ms,
        delete_retention_ms=0 if options & 0x20 else 1_000,
        load_factor=1.0,
        buffer_bytes=61 if options & 8 else 1 << 16,
    )
    try:
        while not cleaning.map(step_bytes):
            pass
        while not cleaning.clean(step_bytes):
            pass
    except (PystreamError, MemoryError):
        return False
    finally:
        cleaning.close()
    return True


def check_left(before: bytes, after: bytes) -> None:
    """What is left was there before; batches are whole, in order, and as large as their headers say."""
    offset = 0
    for header in parse_headers(after):
        assert header.base_offset >= offset
        offset = header.next_offset
    had = {(record.offset, record.key, record.value) for record in RecordReader(before, include_control=True)}
    assert {(record.offset, record.key, record.value) for record in RecordReader(after, include_control=True)} <= had
