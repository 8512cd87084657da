"""`pystream logs repair --salvage`: a damaged partition is written anew from what is valid in it.

    damaged segment        lost+found/<partition>/<base>.whole-<n>.log
    valid batches          stay, at their offsets
    offsets that are lost  an empty batch spans them, as compaction leaves it: readers pass over, offsets go on

        [10..19] ####### [30..34]      ->      [10..19] [20..29 empty] [30..34]

Base offset and leader epoch lie outside a batch's checksum. Where a batch is whole but for them, and its neighbours
tell what they were, it is kept and stamped anew. Segments without damage are not touched.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pystream._native.batch import Header, parse_header, stamp
from pystream._native.crc32c import crc32c
from pystream._native.io_table import sync_directory
from pystream._native.record_builder import RecordBatchBuilder
from pystream.common.errors import PystreamError
from pystream.common.model import NO_LEADER_EPOCH, TopicPartition
from pystream.storage.checkpoints import RECOVERY_POINTS, read_offsets, write_offsets
from pystream.storage.directories import LogDirectory
from pystream.storage.repair.epochs import KnownEpochs
from pystream.storage.repair.verification import (
    CRC_FROM,
    FARTHEST_OFFSET,
    LOST_AND_FOUND,
    MAGIC,
    MAGIC_AT,
    SIDE_FILES,
    PartitionReport,
    copy_tail,
    segments_of,
    verify_partition,
)

LENGTH_OVERHEAD = 12
RECORD_COUNT_AT, LAST_OFFSET_DELTA_AT, CRC_AT = 57, 23, 17
HEADER_SIZE = 61


@dataclass(slots=True)
class Salvaged:
    """What became of a partition."""

    report: PartitionReport  # from before
    segments: int = 0  # written anew
    dropped_bytes: int = 0  # that are in lost+found/ only
    lost_offsets: int = 0  # spanned by empty batches
    stamped: int = 0  # batches whose offset or leader epoch was put right


@dataclass(frozen=True, slots=True)
class _Piece:
    """A batch that is kept: its bytes, and the offset and leader epoch that it gets."""

    position: int
    header: Header
    base_offset: int
    leader_epoch: int

    @property
    def is_stamped(self) -> bool:
        found = (self.header.base_offset, self.header.partition_leader_epoch)
        return found != (self.base_offset, self.leader_epoch)

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.header.last_offset_delta + 1


def salvage(data_dir: Path, name: TopicPartition, *, compacted: bool = False) -> Salvaged:
    """Write the damaged segments of a partition anew; nothing is touched when none is damaged.

    An interruption leaves each segment old or new, whole, and the rest to do again. The directory counts as not
    stopped cleanly afterwards: the next start checks what was written and builds its indexes. Raises
    DataDirectoryLocked while a broker has the directory open, NotFound, OSError.
    """
    directory = LogDirectory.open(data_dir)
    try:
        result = Salvaged(verify_partition(data_dir, name, compacted=compacted))
        if result.report.is_damaged:
            _Salvage(data_dir, name, result, compacted=compacted).run()
        return result
    finally:
        directory.close(clean=False)


class _Salvage:
    def __init__(self, data_dir: Path, name: TopicPartition, result: Salvaged, *, compacted: bool) -> None:
        self._data_dir = data_dir
        self._name = name
        self._partition = data_dir / str(name)
        self._result = result
        self._compacted = compacted
        self._epoch = NO_LEADER_EPOCH  # of the last batch kept
        self._known_epochs = KnownEpochs([], 0)

    def run(self) -> None:
        bases = segments_of(self._partition)
        damaged = self._damaged(bases)
        points = read_offsets(self._data_dir / RECOVERY_POINTS)
        if not self._result.report.epochs_file_is_wrong:
            self._known_epochs = KnownEpochs.read(self._partition, points.get(self._name, 0))
        point = min(points.get(self._name, 0), min(damaged))
        write_offsets(self._data_dir / RECOVERY_POINTS, {**points, self._name: point})
        for base, following in zip(bases, [*bases[1:], None], strict=True):
            if base in damaged:
                self._rewrite(base, following)
            else:
                self._epoch = max(self._epoch, self._last_epoch(base))
        sync_directory(str(self._partition))

    def _damaged(self, bases: list[int]) -> set[int]:
        """Segments with a fault. One that ends too early shows as a fault at the beginning of the next."""
        damaged = set()
        for fault in self._result.report.faults:
            damaged.add(fault.segment)
            if fault.position == 0 and fault.segment != bases[0]:
                damaged.add(bases[bases.index(fault.segment) - 1])
        return damaged

    def _last_epoch(self, base: int) -> int:
        with _mapped(self._partition / f"{base:020d}.log") as (_, view):
            position, epoch = 0, -1
            while position < len(view):
                header = parse_header(view[position : position + HEADER_SIZE])
                position, epoch = position + header.size, header.partition_leader_epoch
            return epoch

    def _rewrite(self, base: int, following: int | None) -> None:
        """Keep the old file, write the new one beside it, put it in its place."""
        path = self._partition / f"{base:020d}.log"
        self._keep(path, base)
        temporary = path.with_suffix(".log.tmp")  # which the next start removes when this is interrupted
        with _mapped(path) as (data, view), temporary.open("wb") as output:
            size = len(view)
            copied = self._write_pieces(data, view, output, base, following)
            output.flush()
            os.fsync(output.fileno())
        for suffix in SIDE_FILES:
            path.with_suffix(f".{suffix}").unlink(missing_ok=True)
        temporary.replace(path)
        self._result.segments += 1
        self._result.dropped_bytes += size - copied

    def _keep(self, path: Path, base: int) -> None:
        """A whole copy in lost+found/, under a name that no earlier repair has taken."""
        kept = self._data_dir / LOST_AND_FOUND / str(self._name)
        kept.mkdir(parents=True, exist_ok=True)
        names = (kept / f"{base:020d}.whole-{number}.log" for number in itertools.count(1))
        copy_tail(path, 0, next(name for name in names if not name.exists()))
        sync_directory(str(kept))

    def _write_pieces(
        self, data: mmap.mmap | bytes, view: memoryview, output: BinaryIO, base: int, following: int | None
    ) -> int:
        """The segment anew; how many bytes of the old one are in it."""
        expected, copied = base, 0
        for piece in self._pieces(data, view, base, following):
            self._fill(output, expected, piece.base_offset)
            whole = bytearray(view[piece.position : piece.position + piece.header.size])
            if piece.is_stamped:
                stamp(whole, piece.base_offset, piece.leader_epoch)
                self._result.stamped += 1
            output.write(whole)
            copied += len(whole)
            expected, self._epoch = piece.next_offset, piece.leader_epoch
        if following is not None:
            self._fill(output, expected, following)
        return copied

    def _fill(self, output: BinaryIO, first: int, end: int) -> None:
        if first < end and not self._compacted:
            output.write(empty_batch(first, end - 1, max(self._epoch, 0)))
            self._result.lost_offsets += end - first

    def _pieces(self, data: mmap.mmap | bytes, view: memoryview, base: int, following: int | None) -> Iterator[_Piece]:
        position, expected, is_adjacent = 0, base, True
        while position < len(view):
            piece = self._piece_at(view, position, expected, following, is_adjacent=is_adjacent)
            if piece is not None:
                yield piece
                position, expected, is_adjacent = position + piece.header.size, piece.next_offset, True
                continue
            is_adjacent = False
            magic = data.find(MAGIC, position + 1 + MAGIC_AT)
            position = magic - MAGIC_AT if magic >= 0 else len(view)

    def _piece_at(
        self, view: memoryview, position: int, expected: int, following: int | None, *, is_adjacent: bool
    ) -> _Piece | None:
        """A batch whose checksum is right and whose offsets fit in between, or can be told from its neighbours."""
        header = _whole_batch(view, position)
        if header is None:
            return None
        limit = expected + FARTHEST_OFFSET if following is None else following
        offset = header.base_offset
        after = _whole_batch(view, position + header.size)
        if offset != expected and is_adjacent and not self._compacted:
            ends = expected + header.last_offset_delta + 1
            if ends == (after.base_offset if after is not None else following):
                offset = expected
        if not expected <= offset <= limit - header.last_offset_delta - 1:
            return None
        return _Piece(position, header, offset, self._told_epoch(header, offset, after))

    def _told_epoch(self, header: Header, offset: int, after: Header | None) -> int:
        """By the epochs file; else no lower than the batch before, and not above both neighbours."""
        known, epoch = self._known_epochs.at(offset), header.partition_leader_epoch
        if known is not None:
            return max(known, self._epoch)
        if after is not None and self._epoch <= after.partition_leader_epoch < epoch:
            return after.partition_leader_epoch if self._epoch == NO_LEADER_EPOCH else self._epoch
        return max(epoch, self._epoch)


def empty_batch(first_offset: int, last_offset: int, leader_epoch: int) -> bytes:
    """A batch without records that spans these offsets."""
    builder = RecordBatchBuilder(base_offset=first_offset, partition_leader_epoch=leader_epoch)
    builder.append(b"", timestamp=-1)
    batch = bytearray(builder.build()[:HEADER_SIZE])
    batch[8:12] = (HEADER_SIZE - LENGTH_OVERHEAD).to_bytes(4, "big")
    batch[LAST_OFFSET_DELTA_AT : LAST_OFFSET_DELTA_AT + 4] = (last_offset - first_offset).to_bytes(4, "big")
    batch[RECORD_COUNT_AT : RECORD_COUNT_AT + 4] = bytes(4)
    batch[CRC_AT : CRC_AT + 4] = crc32c(bytes(batch[CRC_FROM:])).to_bytes(4, "big")
    return bytes(batch)


def _whole_batch(view: memoryview, position: int) -> Header | None:
    """The header of a batch of magic 2 with a right checksum; None when there is none at `position`."""
    try:
        header = parse_header(view[position : position + HEADER_SIZE])
    except PystreamError:
        return None
    if header.magic != MAGIC[0] or header.size > len(view) - position or header.last_offset_delta < 0:
        return None
    if not 0 <= header.record_count <= header.last_offset_delta + 1:
        return None
    return header if crc32c(view[position + CRC_FROM : position + header.size]) == header.crc else None


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[tuple[mmap.mmap | bytes, memoryview]]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            yield b"", memoryview(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            yield data, view
