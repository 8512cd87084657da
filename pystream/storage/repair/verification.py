"""Reading logs from end to end without changing them, and the repair that ends a log before its first damage.

For operators, while no broker has the directory open. A broker never cuts damage by itself: what looks like the end of
a log may be a flipped bit with years of records behind it.

    fault         a batch that is not what it should be
    torn          one above the recovery point with nothing valid behind it, inside which the last file ends or turns to
                  zeros: the next start cuts it off, nothing was promised
    damaged       any other
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pystream._native.batch import Header, parse_header, validate
from pystream._native.crc32c import crc32c
from pystream._native.io_table import sync_directory
from pystream._native.record_reader import RecordReader, check
from pystream.common.errors import CorruptRecordBatch, DataDirectoryLocked, NotFound, PystreamError, TruncatedInput
from pystream.common.model import NO_LEADER_EPOCH, TopicPartition
from pystream.storage.checkpoints import RECOVERY_POINTS, START_OFFSETS, read_offsets, write_offsets
from pystream.storage.directories import LogDirectory, partition_of
from pystream.storage.repair.epochs import KnownEpochs

LOST_AND_FOUND = "lost+found"
MAGIC_AT = 16
CRC_FROM = 21
MAGIC = b"\x02"
ZEROS = 64  # bytes at the end of a file by which a tail of zeros is known
FARTHEST_OFFSET = 2**31 - 1  # from the one expected: beyond it, bytes only look like a batch
SIDE_FILES = ("index", "timeindex", "txnindex")
_SEGMENT = re.compile(r"([0-9]{20})\.log")
_SNAPSHOT = re.compile(r"([0-9]{20})\.snapshot")


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a segment stops being right, and what stands there."""

    segment: int
    position: int
    offset: int
    file_bytes: int
    reason: str
    is_torn: bool
    valid_again_at: int | None


@dataclass(slots=True)
class PartitionReport:
    """What reading a whole partition found, from its first byte on.

    `start_offset` is the first that can be read: DeleteRecords may have moved it into the middle of a segment. `gaps`
    counts offsets that no batch holds, in a log that was compacted.
    """

    name: TopicPartition
    segments: int = 0
    batches: int = 0
    records: int = 0
    size_bytes: int = 0
    gaps: int = 0
    start_offset: int = 0
    end_offset: int = 0
    faults: list[Fault] = field(default_factory=list)
    epochs_file_is_wrong: bool = False  # the next start builds it anew

    @property
    def is_damaged(self) -> bool:
        return any(not fault.is_torn for fault in self.faults)


def partitions_of(data_dir: Path) -> list[TopicPartition]:
    """The partitions that lie in a log directory, in order. Raises NotFound when it is none."""
    if not data_dir.is_dir():
        raise NotFound(f"{data_dir} is no directory")
    found = (partition_of(entry.name) for entry in os.scandir(data_dir) if entry.is_dir())
    return sorted(name for name in found if name is not None)


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Keep brokers away from the directory, without a trace. Raises DataDirectoryLocked while one has it open.

    One of ours holds an flock; Apache Kafka (Java) holds a POSIX lock, which flock does not see.
    """
    try:
        descriptor = os.open(data_dir / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise DataDirectoryLocked(f"{data_dir} is in use by another process") from None
        yield
    finally:
        os.close(descriptor)


def verify_partition(
    data_dir: Path, name: TopicPartition, *, records: bool = False, compacted: bool = False
) -> PartitionReport:
    """Read every batch: magic, length, CRC, order of offsets and epochs; with `records` every record inside too.

    Epochs are held against leader-epoch-checkpoint too, as long as the log does not refute it.
    `compacted`: offsets may be missing. Otherwise that is a fault: a flipped bit in an offset lies outside every CRC.
    """
    durable = read_offsets(data_dir / RECOVERY_POINTS).get(name, 0)
    epochs = _Epochs(KnownEpochs.read(data_dir / str(name), durable))
    report = _read_all(data_dir, name, durable, epochs, records=records, compacted=compacted)
    if epochs.file_is_wrong:
        report = _read_all(data_dir, name, durable, _Epochs(KnownEpochs([], 0)), records=records, compacted=compacted)
        report.epochs_file_is_wrong = True
    return report


def _read_all(
    data_dir: Path, name: TopicPartition, durable: int, epochs: _Epochs, *, records: bool, compacted: bool
) -> PartitionReport:
    report = PartitionReport(name)
    bases = segments_of(data_dir / str(name))
    report.segments = len(bases)
    expected = report.start_offset = report.end_offset = bases[0] if bases else 0
    for base in bases:
        path = data_dir / str(name) / f"{base:020d}.log"
        tail_from = durable if base == bases[-1] else None
        start = max(expected, base) if compacted or report.batches == 0 else expected
        walk = _Walk(path, base, start, epochs, tail_from=tail_from, records=records, compacted=compacted)
        walk.run(report)
        expected = walk.expected
    report.end_offset = expected
    moved = read_offsets(data_dir / START_OFFSETS).get(name, 0)
    report.start_offset = min(max(report.start_offset, moved), expected)
    return report


def segments_of(directory: Path) -> list[int]:
    """Base offsets of a partition's segments, in order. Raises NotFound when there is no such partition."""
    if not directory.is_dir():
        raise NotFound(f"there is no partition {directory}")
    matches = (_SEGMENT.fullmatch(entry.name) for entry in os.scandir(directory))
    return sorted(int(match[1]) for match in matches if match is not None)


class _Epochs:
    """Leader epochs of batches as they come: they must not fall, and must be what the epochs file knows.

    Where two batches contradict the file, or it has an epoch begin inside one, and no epoch falls, the file is wrong.
    """

    def __init__(self, known: KnownEpochs) -> None:
        self._known = known
        self._contradictions = 0
        self._expected_from = -1  # of the last batch that was right
        self._last = -1
        self._fall = False
        self._begin_inside = False

    @property
    def file_is_wrong(self) -> bool:
        return not self._fall and (self._contradictions > 1 or self._begin_inside)

    def take(self, header: Header) -> None:
        """Raises CorruptRecordBatch."""
        epoch, known = header.partition_leader_epoch, self._known.at(header.base_offset)
        self._fall |= epoch < self._last
        self._last = epoch
        self._begin_inside |= self._known.begin_inside(header.base_offset, header.next_offset - 1)
        if known is not None and epoch not in (known, NO_LEADER_EPOCH):
            self._contradictions += 1
            raise CorruptRecordBatch(f"leader epoch {epoch}, leader-epoch-checkpoint says {known}")
        if epoch < self._expected_from:
            raise CorruptRecordBatch(f"leader epoch {epoch} after {self._expected_from}")
        self._expected_from = epoch

    def begin_again(self, header: Header) -> None:
        """Behind a fault an epoch may be lower than the last."""
        self._expected_from = min(self._expected_from, header.partition_leader_epoch)


class _Walk:
    """Over one segment. After a fault it goes on at the next valid batch, to tell what lies behind.

    `tail_from`: the offset from which the last segment may end in a torn batch; None for the others.
    """

    def __init__(
        self,
        path: Path,
        base: int,
        expected: int,
        epochs: _Epochs,
        *,
        tail_from: int | None,
        records: bool,
        compacted: bool,
    ) -> None:
        self.expected = expected
        self._epochs = epochs
        self._path = path
        self._base = base
        self._tail_from = tail_from
        self._records = records
        self._compacted = compacted

    def run(self, report: PartitionReport) -> None:
        size = self._path.stat().st_size
        report.size_bytes += size
        if size == 0:
            return
        with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            with memoryview(data) as view:
                self._walk(data, view, report)

    def _walk(self, data: mmap.mmap, view: memoryview, report: PartitionReport) -> None:
        position = 0
        while position < len(view):
            try:
                position += self._take(view, position, report)
            except PystreamError as error:
                again = self._next_valid(data, view, position)
                torn = again is None and self._is_torn(view, error)
                report.faults.append(Fault(self._base, position, self.expected, len(view), str(error), torn, again))
                position = len(view) if again is None else self._resumed_at(view, again)

    def _resumed_at(self, view: memoryview, position: int) -> int:
        """Go on at a valid batch behind a fault: what lies between is the fault's, not a gap."""
        with view[position:] as rest:
            header = parse_header(rest)
        self.expected = header.base_offset
        self._epochs.begin_again(header)
        return position

    def _take(self, view: memoryview, position: int, report: PartitionReport) -> int:
        """The size of the batch at `position`, counted. Raises PystreamError for what is wrong with it."""
        with view[position:] as rest:
            header = self._checked(rest)
            gap = header.base_offset - self.expected
            if not 0 <= gap <= (FARTHEST_OFFSET if self._compacted else 0):
                raise CorruptRecordBatch(f"base offset {header.base_offset}, expected {self.expected}")
            self._epochs.take(header)
            if self._records:
                with rest[: header.size] as batch:
                    _check_records(batch, header)
        report.gaps += gap
        report.batches += 1
        report.records += header.record_count
        self.expected = header.next_offset
        return header.size

    def _checked(self, rest: memoryview) -> Header:
        """Compaction leaves batches that span more offsets than they have records; a salvaged log has empty ones."""
        header = parse_header(rest)
        if not 0 <= header.record_count <= (header.last_offset_delta if self._compacted else 0):
            return validate(rest)
        if header.size > len(rest):
            raise TruncatedInput(f"a batch of {header.size} bytes, and {len(rest)} are left")
        if header.magic != MAGIC[0] or header.last_offset_delta < 0:
            raise CorruptRecordBatch(f"magic {header.magic}, last offset delta {header.last_offset_delta}")
        with rest[CRC_FROM : header.size] as checked:
            found = crc32c(checked)
        if found != header.crc:
            raise CorruptRecordBatch(f"CRC {found:#010x}, header says {header.crc:#010x}")
        return header

    def _is_torn(self, view: memoryview, error: PystreamError) -> bool:
        """Whether the file ends inside the batch, or in zeros, and nobody was promised what is lost."""
        if self._tail_from is None or self.expected < self._tail_from:
            return False
        return isinstance(error, TruncatedInput) or not any(view[-ZEROS:])

    def _next_valid(self, data: mmap.mmap, view: memoryview, position: int) -> int | None:
        """Where the next whole batch with a right checksum and a later offset begins; None when there is none."""
        magic = data.find(MAGIC, position + 1 + MAGIC_AT)
        while magic >= 0:
            if self._is_batch(view, magic - MAGIC_AT):
                return magic - MAGIC_AT
            magic = data.find(MAGIC, magic + 1)
        return None

    def _is_batch(self, view: memoryview, position: int) -> bool:
        """The cheap checks come first: most bytes that look like a magic are none."""
        try:
            with view[position:] as rest:
                header = parse_header(rest)
                if header.size > len(rest) or not 0 <= header.base_offset - self.expected <= FARTHEST_OFFSET:
                    return False
                validate(rest)
        except PystreamError:
            return False
        return True


def _check_records(batch: memoryview, header: Header) -> None:
    """Raises PystreamError for records that cannot be read, or do not lie where the header says."""
    if header.record_count == header.last_offset_delta + 1:
        check(batch)
        return
    for record in RecordReader(batch, include_control=True):
        if not header.base_offset <= record.offset < header.next_offset:
            raise CorruptRecordBatch(f"a record at offset {record.offset} in a batch from {header.base_offset} on")


def cut_at_damage(data_dir: Path, name: TopicPartition, *, compacted: bool = False) -> tuple[PartitionReport, int]:
    """End the partition before its first damaged batch. What is cut goes to lost+found/ first, in files of its own.

    Gives the report from before and the bytes cut: 0 when nothing is damaged, and nothing is touched then. The
    directory counts as not stopped cleanly afterwards, so that the next start checks it and builds its indexes anew.
    Raises DataDirectoryLocked while a broker has the directory open, NotFound, OSError.
    """
    directory = LogDirectory.open(data_dir)
    try:
        report = verify_partition(data_dir, name, compacted=compacted)
        damage = next((fault for fault in report.faults if not fault.is_torn), None)
        return report, 0 if damage is None else _cut(data_dir, name, damage)
    finally:
        directory.close(clean=False)


def _cut(data_dir: Path, name: TopicPartition, damage: Fault) -> int:
    """Copy, then lower the recovery point, then cut: an interruption leaves nothing lost and everything to do again."""
    partition = data_dir / str(name)
    kept = data_dir / LOST_AND_FOUND / str(name)
    kept.mkdir(parents=True, exist_ok=True)
    later = [base for base in segments_of(partition) if base > damage.segment]
    damaged = partition / f"{damage.segment:020d}.log"
    copy_tail(damaged, damage.position, kept / f"{damage.segment:020d}.{damage.position}.log")
    for base in later:
        copy_tail(partition / f"{base:020d}.log", 0, kept / f"{base:020d}.0.log")
    sync_directory(str(kept))
    points = read_offsets(data_dir / RECOVERY_POINTS)
    write_offsets(data_dir / RECOVERY_POINTS, {**points, name: min(points.get(name, 0), damage.segment)})
    cut_bytes = damage.file_bytes - damage.position
    for base in reversed(later):
        cut_bytes += (partition / f"{base:020d}.log").stat().st_size
        (partition / f"{base:020d}.log").unlink()
    with damaged.open("r+b") as file:
        file.truncate(damage.position)
        os.fsync(file.fileno())
    _drop_side_files(partition, damage, later)
    sync_directory(str(partition))
    return cut_bytes


def copy_tail(source: Path, position: int, target: Path) -> None:
    """The bytes from `position` on, durable when this returns but for the name."""
    with source.open("rb") as reading, target.open("wb") as writing:
        reading.seek(position)
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())


def _drop_side_files(partition: Path, damage: Fault, later: list[int]) -> None:
    """Indexes of what was cut, and producer snapshots that know of more than the log: the next start makes new ones."""
    for base in (damage.segment, *later):
        for suffix in SIDE_FILES:
            (partition / f"{base:020d}.{suffix}").unlink(missing_ok=True)
    for entry in list(os.scandir(partition)):
        match = _SNAPSHOT.fullmatch(entry.name)
        if match is not None and int(match[1]) > damage.segment:
            Path(entry.path).unlink()
