"""What the files of a partition say, entry by entry and field by field; `contents` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Any, Final

from pystream._native.record_reader import Record
from pystream.common.errors import CorruptRecordBatch, MalformedInput, PystreamError
from pystream.storage.repair.contents import (
    StoredBatch,
    aborted,
    all_batches,
    mapped,
    offset_entries,
    producers,
    time_entries,
)

MARKERS: Final = {0: "abort", 1: "commit"}
CONTROL_KEY: Final = Struct(">hh")
KINDS: Final = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
LONGEST_INDEX_BYTES: Final = 1 << 28

Entry = dict[str, Any]


def entries(path: Path, *, records: bool = False) -> Iterator[Entry]:
    """The entries of one file, by its name.

    Raises MalformedInput for a name that is none, CorruptRecordBatch and MalformedInput at what is damaged, OSError.
    """
    if path.suffix == ".log":
        yield from _batches(path, records)
        return
    if path.suffix not in KINDS:
        raise MalformedInput(f"{path}: what it holds is told by its name: expected one of {', '.join(KINDS)}")
    if path.stat().st_size > LONGEST_INDEX_BYTES:
        raise MalformedInput(f"{path}: of {path.stat().st_size} bytes, which is no {path.suffix}")
    if path.suffix == ".snapshot":
        yield from (producer._asdict() for producer in producers(path))
        return
    data = path.read_bytes()
    try:
        if path.suffix == ".index":
            yield from (entry._asdict() for entry in offset_entries(data, _base(path)))
        elif path.suffix == ".timeindex":
            yield from (entry._asdict() for entry in time_entries(data, _base(path)))
        else:
            yield from (entry._asdict() for entry in aborted(data))
    except MalformedInput as error:
        raise MalformedInput(f"{path}: {error}") from None


def _base(path: Path) -> int:
    if not path.stem.isdecimal():
        raise MalformedInput(f"its name should be the first offset, as 00000000000000000000{path.suffix}")
    return int(path.stem)


def _batches(path: Path, records: bool) -> Iterator[Entry]:
    found = all_batches(mapped(path))
    while True:
        try:
            batch = next(found)
        except StopIteration:
            return
        except PystreamError as error:
            raise CorruptRecordBatch(f"{path}: {error}") from None
        yield _batch(batch)
        if records:
            yield from _records(path, batch)


def _batch(batch: StoredBatch) -> Entry:
    header = batch.header
    return {
        "base_offset": header.base_offset,
        "last_offset": header.next_offset - 1,
        "count": header.record_count,
        "position": batch.position,
        "size": header.size,
        "create_time" if not header.is_log_append_time else "log_append_time": header.max_timestamp,
        "codec": batch.codec,
        "leader_epoch": header.partition_leader_epoch,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "transactional": header.is_transactional,
        "control": header.is_control,
        "magic": header.magic,
        "crc": header.crc,
        "crc_is_valid": batch.is_valid,
    }


def _records(path: Path, batch: StoredBatch) -> Iterator[Entry]:
    try:
        for record in batch.records():
            yield _marker(record) if batch.header.is_control else _record(record)
    except PystreamError as error:
        raise CorruptRecordBatch(f"{path}: records of the batch at position {batch.position}: {error}") from None


def _record(record: Record) -> Entry:
    return {
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key,
        "value": record.value,
        "headers": list(record.headers),  # a name may come twice
    }


def _marker(record: Record) -> Entry:
    """The end of a transaction: its key is a version and a type."""
    kind = CONTROL_KEY.unpack_from(record.key)[1] if record.key and len(record.key) >= CONTROL_KEY.size else None
    return {"offset": record.offset, "timestamp": record.timestamp, "marker": MARKERS.get(kind or 0, str(kind))}
