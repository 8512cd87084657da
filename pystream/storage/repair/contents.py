"""What lies in the files of a log, one by one and as it stands: nothing is changed, and nothing need be right.

<offset>.log        record batches                            batches(), all_batches()
<offset>.index      relative offset int32 | position int32    offset_entries()
<offset>.timeindex  timestamp int64 | relative offset int32   time_entries()
<offset>.txnindex   version int16 | producer id int64 | first, last, last stable offset int64     aborted()
<offset>.snapshot   producers                                 producers()

Indexes are made at their full size and filled from the front: zeros behind the last entry are no entries. `dump` words
what is read here for `pystream logs dump`; `kafka-dump-log` reads the same.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pystream._native.batch import Header, parse_header
from pystream._native.crc32c import crc32c
from pystream._native.producer_state import decode_producer_snapshot
from pystream._native.record_reader import Record, RecordReader
from pystream.common.errors import CorruptRecordBatch, MalformedInput, PystreamError, TruncatedInput

MAGIC_AT: Final = 16
CRC_FROM: Final = 21
MAGIC: Final = 2
SMALLEST: Final = 61
DELETE_HORIZON: Final = 0x40  # bit of the attributes: the base timestamp is when markers may go
CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
OFFSET_ENTRY: Final = struct.Struct(">ii")
TIME_ENTRY: Final = struct.Struct(">qi")
ABORTED_ENTRY: Final = struct.Struct(">hqqqq")


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch with its place in the file."""

    position: int
    header: Header
    data: memoryview

    @property
    def is_valid(self) -> bool:
        """Whether the CRC is right."""
        return crc32c(self.data[CRC_FROM:]) == self.header.crc

    @property
    def codec(self) -> str:
        """The compression's name; a number for none that Kafka has."""
        return CODECS[self.header.codec] if self.header.codec < len(CODECS) else str(self.header.codec)

    @property
    def delete_horizon_ms(self) -> int | None:
        """When markers and tombstones in it may be cleaned away."""
        return self.header.base_timestamp if self.header.attributes & DELETE_HORIZON else None

    def records(self) -> Iterator[Record]:
        """Its records, markers too. Raises CorruptRecordBatch, MalformedInput and the like."""
        return iter(RecordReader(self.data, include_control=True))


def mapped(path: Path) -> memoryview:
    """The bytes of a file without reading it: segments may be as large as memory."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def batches(data: bytes | memoryview) -> Iterator[StoredBatch]:
    """The batches of a segment, up to the first that cannot be one, as Kafka's DumpLogSegments stops there.

    Raises MalformedInput for formats before 0.11.
    """
    found = all_batches(data)
    while True:
        try:
            batch = next(found)
        except (StopIteration, CorruptRecordBatch):
            return
        yield batch


def all_batches(data: bytes | memoryview) -> Iterator[StoredBatch]:
    """The batches of a segment. Raises CorruptRecordBatch where one should begin and none does, MalformedInput likewise
    for formats before 0.11.
    """
    view = memoryview(data)
    position = 0
    while position < len(view):
        left = len(view) - position
        if left > MAGIC_AT and view[position + MAGIC_AT] < MAGIC and left >= SMALLEST:
            magic = view[position + MAGIC_AT]
            raise MalformedInput(f"format {magic} of Kafka before 0.11, at position {position}: only 2 is read here")
        try:
            header = parse_header(view[position:])
        except (TruncatedInput, MalformedInput, CorruptRecordBatch) as error:
            raise CorruptRecordBatch(f"at position {position}: {error}") from None
        if header.magic != MAGIC or header.size > left:
            raise CorruptRecordBatch(f"at position {position}: a batch of {header.size} bytes, and {left} are left")
        yield StoredBatch(position, header, view[position : position + header.size])
        position += header.size


class IndexEntry(NamedTuple):
    """An offset, and where its batch begins."""

    offset: int
    position: int


def offset_entries(data: bytes | memoryview, base_offset: int) -> list[IndexEntry]:
    """The entries of an offset index, without the zeros of a file made ahead."""
    found: list[IndexEntry] = []
    for relative, position in OFFSET_ENTRY.iter_unpack(data[: len(data) // OFFSET_ENTRY.size * OFFSET_ENTRY.size]):
        if relative == 0 and found:
            break
        found.append(IndexEntry(base_offset + relative, position))
    return found


class TimeEntry(NamedTuple):
    """The highest timestamp so far, and its offset."""

    timestamp: int
    offset: int


def time_entries(data: bytes | memoryview, base_offset: int) -> list[TimeEntry]:
    """The entries of a time index, without the zeros of a file made ahead."""
    found: list[TimeEntry] = []
    for timestamp, relative in TIME_ENTRY.iter_unpack(data[: len(data) // TIME_ENTRY.size * TIME_ENTRY.size]):
        if relative == 0 and found:
            break
        found.append(TimeEntry(timestamp, base_offset + relative))
    return found


class Aborted(NamedTuple):
    """An aborted transaction."""

    version: int
    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


def aborted(data: bytes | memoryview) -> list[Aborted]:
    """The entries of a transaction index. Raises MalformedInput for one that is cut off within an entry."""
    if len(data) % ABORTED_ENTRY.size:
        raise MalformedInput(f"{len(data)} bytes are no whole number of entries of {ABORTED_ENTRY.size}")
    return [Aborted(*entry) for entry in ABORTED_ENTRY.iter_unpack(data)]


class StoredProducer(NamedTuple):
    """A producer that a snapshot remembers; `first_offset_of_transaction` is -1 for none."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int
    coordinator_epoch: int
    first_offset_of_transaction: int


def producers(path: Path) -> list[StoredProducer]:
    """The rows of a producer snapshot. Raises MalformedInput for a file that is damaged."""
    try:
        found = decode_producer_snapshot(path.read_bytes())
    except PystreamError as error:
        raise MalformedInput(f"{path}: {error}") from None
    if found is None:
        raise MalformedInput(f"Snapshot file '{path}' is corrupted (CRC is no longer valid).")
    return [StoredProducer(*row) for row in found]
