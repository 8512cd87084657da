"""Copying a partition's directory while its log goes on.

    round()    what is new since the last one: segments up to their whole batches, side files that have changed
    finish()   the same for a log that is frozen; what the log no longer has goes, and all of it is fsynced

A file is known by its inode: compaction puts other files under the same names, and these are copied anew. Side files
are copied as they are: the log that is opened from the copy checks them against its records, and builds anew what does
not fit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from pystream._native.io_table import sync_directory
from pystream.common.errors import PystreamError
from pystream.storage.checkpoints import PARTITION_METADATA
from pystream.storage.partition_log import PartitionLog
from pystream.storage.retention import SegmentFacts

CHUNK_BYTES = 1 << 20
LEADER_EPOCHS = "leader-epoch-checkpoint"
_SIDE_FILE = re.compile(r"\d{20}\.(index|timeindex|txnindex|snapshot)")

Identity = tuple[int, ...]


class CopyStopped(PystreamError):
    """The copy is not wanted any more."""


class ReplicaCopy:
    """Made by one thread, read by others: `size_bytes` and `next_offset` tell how far it is.

    `advance(bytes)` is called after each chunk: it may wait, to keep a pace, and raises CopyStopped to end the copy.
    """

    def __init__(self, log: PartitionLog, directory: Path, advance: Callable[[int], None]) -> None:
        self.directory = directory
        self.size_bytes = 0  # of record batches
        self.next_offset = 0  # everything below it is in whole copied segments
        self.is_last_round = False
        self._log = log
        self._source = Path(log.directory)
        self._advance = advance
        self._copied: dict[str, tuple[Identity, int]] = {}
        directory.mkdir()

    def round(self) -> int:
        """Copy and fsync what is new; how many bytes. Raises OSError, KafkaError, CopyStopped."""
        copied = 0
        segments = [SegmentFacts(*found) for found in self._log.native.segments()]
        for segment in segments:
            copied += self._copy_segment(segment)
        wanted = {_log_name(segment) for segment in segments if segment.size_bytes > 0}
        self.size_bytes = sum(size for name, (_, size) in self._copied.items() if name in wanted)
        for name in self._side_files():
            wanted.add(name)
            copied += self._copy_side_file(name)
        for name in set(self._copied) - wanted:
            (self.directory / name).unlink(missing_ok=True)
            del self._copied[name]
        return copied

    def finish(self) -> None:
        """The last round of a frozen log. Raises OSError, KafkaError, CopyStopped."""
        self.is_last_round = True
        self.round()
        sync_directory(str(self.directory))

    def _copy_segment(self, segment: SegmentFacts) -> int:
        name = _log_name(segment)
        if segment.size_bytes == 0:
            return 0
        try:
            source = os.open(self._source / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0  # retention or compaction took it since: the next round sees what is there then
        try:
            identity: Identity = (os.fstat(source).st_ino,)
            known, size = self._copied.get(name, (None, 0))
            if known != identity or size > segment.size_bytes:
                size = 0
            if size < segment.size_bytes:
                self._copy_range(source, name, size, segment.size_bytes)
            self._copied[name] = (identity, segment.size_bytes)
        finally:
            os.close(source)
        self.next_offset = segment.next_offset
        return segment.size_bytes - size

    def _side_files(self) -> list[str]:
        found = os.listdir(self._source)
        return [name for name in found if name in (LEADER_EPOCHS, PARTITION_METADATA) or _SIDE_FILE.fullmatch(name)]

    def _copy_side_file(self, name: str) -> int:
        try:
            source = os.open(self._source / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            status = os.fstat(source)
            identity = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._copied.get(name, (None, 0))[0] == identity:
                return 0
            self._copy_range(source, name, 0, status.st_size)
            self._copied[name] = (identity, status.st_size)
            return status.st_size
        finally:
            os.close(source)

    def _copy_range(self, source: int, name: str, start: int, end: int) -> None:
        """Bytes `start` to `end` of the file, fsynced; what lay behind `start` in the copy goes. Raises OSError."""
        target = os.open(self.directory / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(target, start)
            os.lseek(target, start, os.SEEK_SET)
            while start < end:
                sent = os.sendfile(target, source, start, min(end - start, CHUNK_BYTES))
                if sent == 0:
                    raise OSError(f"{self._source / name} ends at {start}, expected {end} bytes")
                start += sent
                self._advance(sent)
            os.fsync(target)
        finally:
            os.close(target)


def _log_name(segment: SegmentFacts) -> str:
    return f"{segment.base_offset:020d}.log"
