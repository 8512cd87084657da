"""What the files of a partition say, entry by entry, as Kafka's DumpLogSegments tells it. Nothing is changed or held.

    *.log            batches of 61 bytes of header and their records
    *.index          int32 offset less the segment's base, int32 position in the segment
    *.timeindex      int64 largest timestamp so far, int32 offset less the base
    *.txnindex       int16 version, int64 producer id, first offset, last offset, last stable offset
    *.snapshot       int16 version, uint32 CRC of what follows, int32 count; then 46 bytes for each producer:
                     int64 id, int16 epoch, int32 sequence, int64 offset, int32 delta, int64 timestamp,
                     int32 coordinator epoch, int64 first offset of an open transaction or -1

Indexes are made at their full size and filled from the front: zeros behind the last entry are no entries.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Any, Final

from pystream._native.batch import Header, parse_header
from pystream._native.crc32c import crc32c
from pystream._native.record_reader import Record, RecordReader
from pystream.common.errors import CorruptRecordBatch, MalformedInput, PystreamError

OFFSET_ENTRY: Final = Struct(">ii")
TIME_ENTRY: Final = Struct(">qi")
TXN_ENTRY: Final = Struct(">hqqqq")
SNAPSHOT_HEADER: Final = Struct(">hIi")
SNAPSHOT_ENTRY: Final = Struct(">qhiqiqiq")
CRC_FROM: Final = 21
CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
MARKERS: Final = {0: "abort", 1: "commit"}
CONTROL_KEY: Final = Struct(">hh")
KINDS: Final = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
LONGEST_INDEX_BYTES: Final = 1 << 28

Entry = dict[str, Any]


def entries(path: Path, *, records: bool = False) -> Iterator[Entry]:
    """The entries of one file, by its name. Raises MalformedInput for a name that is none, OSError."""
    if path.suffix == ".log":
        yield from _batches(path, records)
        return
    if path.suffix not in KINDS:
        raise MalformedInput(f"{path}: what it holds is told by its name: expected one of {', '.join(KINDS)}")
    if path.stat().st_size > LONGEST_INDEX_BYTES:
        raise MalformedInput(f"{path}: of {path.stat().st_size} bytes, which is no {path.suffix}")
    data = path.read_bytes()
    if path.suffix == ".index":
        yield from _offset_index(data, _base(path))
    elif path.suffix == ".timeindex":
        yield from _time_index(data, _base(path))
    elif path.suffix == ".txnindex":
        yield from _txn_index(path, data)
    else:
        yield from _snapshot(path, data)


def _base(path: Path) -> int:
    if not path.stem.isdecimal():
        raise MalformedInput(f"{path}: its name should be the first offset, as 00000000000000000000{path.suffix}")
    return int(path.stem)


def _batches(path: Path, records: bool) -> Iterator[Entry]:
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        with memoryview(data) as view:
            yield from _walk(path, view, records)


def _walk(path: Path, view: memoryview, records: bool) -> Iterator[Entry]:
    position = 0
    while position < len(view):
        try:
            with view[position:] as rest:
                header = parse_header(rest)
            if header.size > len(view) - position:
                raise CorruptRecordBatch(f"a batch of {header.size} bytes, and {len(view) - position} are left")
        except PystreamError as error:
            raise CorruptRecordBatch(f"{path}: at position {position}: {error}") from None
        batch = bytes(view[position : position + header.size])
        yield _batch(header, position, crc32c(batch[CRC_FROM:]) == header.crc)
        if records:
            yield from _records(path, header, position, batch)
        position += header.size


def _batch(header: Header, position: int, is_valid: bool) -> Entry:
    return {
        "base_offset": header.base_offset,
        "last_offset": header.next_offset - 1,
        "count": header.record_count,
        "position": position,
        "size": header.size,
        "create_time" if not header.is_log_append_time else "log_append_time": header.max_timestamp,
        "codec": CODECS[header.codec] if header.codec < len(CODECS) else str(header.codec),
        "leader_epoch": header.partition_leader_epoch,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "transactional": header.is_transactional,
        "control": header.is_control,
        "magic": header.magic,
        "crc": header.crc,
        "crc_is_valid": is_valid,
    }


def _records(path: Path, header: Header, position: int, batch: bytes) -> Iterator[Entry]:
    try:
        for record in RecordReader(batch, include_control=True):
            yield _marker(record) if header.is_control else _record(record)
    except PystreamError as error:
        raise CorruptRecordBatch(f"{path}: records of the batch at position {position}: {error}") from None


def _record(record: Record) -> Entry:
    return {
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key,
        "value": record.value,
        "headers": dict(record.headers),
    }


def _marker(record: Record) -> Entry:
    """The end of a transaction: its key is a version and a type."""
    kind = CONTROL_KEY.unpack_from(record.key)[1] if record.key and len(record.key) >= CONTROL_KEY.size else None
    return {"offset": record.offset, "timestamp": record.timestamp, "marker": MARKERS.get(kind or 0, str(kind))}


def _offset_index(data: bytes, base: int) -> Iterator[Entry]:
    last = -1
    for relative, position in OFFSET_ENTRY.iter_unpack(data[: len(data) // OFFSET_ENTRY.size * OFFSET_ENTRY.size]):
        if relative <= last:
            return
        last = relative
        yield {"offset": base + relative, "position": position}


def _time_index(data: bytes, base: int) -> Iterator[Entry]:
    last = -1
    for timestamp, relative in TIME_ENTRY.iter_unpack(data[: len(data) // TIME_ENTRY.size * TIME_ENTRY.size]):
        if timestamp <= 0 or relative < last:
            return
        last = relative
        yield {"timestamp": timestamp, "offset": base + relative}


def _txn_index(path: Path, data: bytes) -> Iterator[Entry]:
    if len(data) % TXN_ENTRY.size:
        raise MalformedInput(f"{path}: {len(data)} bytes are no whole number of entries of {TXN_ENTRY.size}")
    names = ("version", "producer_id", "first_offset", "last_offset", "last_stable_offset")
    for entry in TXN_ENTRY.iter_unpack(data):
        yield dict(zip(names, entry, strict=True))


def _snapshot(path: Path, data: bytes) -> Iterator[Entry]:
    if len(data) < SNAPSHOT_HEADER.size:
        raise MalformedInput(f"{path}: {len(data)} bytes are no snapshot")
    version, crc, count = SNAPSHOT_HEADER.unpack_from(data)
    if len(data) != SNAPSHOT_HEADER.size + count * SNAPSHOT_ENTRY.size:
        raise MalformedInput(f"{path}: {len(data)} bytes, and {count} producers of version {version}")
    if crc32c(data[6:]) != crc:
        raise CorruptRecordBatch(f"{path}: CRC {crc32c(data[6:]):#010x}, header says {crc:#010x}")
    names = (
        *("producer_id", "producer_epoch", "last_sequence", "last_offset", "offset_delta", "timestamp"),
        *("coordinator_epoch", "first_offset_of_transaction"),
    )
    for entry in SNAPSHOT_ENTRY.iter_unpack(data[SNAPSHOT_HEADER.size :]):
        yield dict(zip(names, entry, strict=True))
