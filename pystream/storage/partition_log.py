"""A partition's log with what belongs to it: its directory, its flusher, its topic id and its settings."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pystream._native.flusher import Flusher
from pystream._native.local_log import LocalLog
from pystream.common.model import TopicPartition
from pystream.storage.config import COMPACT, DELETE, GROUP, INTERVAL, WRITE, LogConfig, native_options
from pystream.storage.directories import LogDirectory
from pystream.storage.disk import Disk, ReadErrors
from pystream.storage.retention import SegmentFacts, retained_from


@dataclass(slots=True, eq=False)
class HostedDirectory:
    """One log directory with the thread that fsyncs for it and the disk below it."""

    directory: LogDirectory
    flusher: Flusher
    disk: Disk
    read_errors: ReadErrors = field(default_factory=ReadErrors)
    logs: int = 0  # how many lie here

    @property
    def path(self) -> Path:
        return self.directory.path


def jitter_of(name: TopicPartition, config: LogConfig) -> int:
    """This partition's part of segment.jitter.ms: the same at every start."""
    most = min(config.segment_jitter_ms, config.segment_ms)
    return random.Random(str(name)).randint(0, most) if most > 0 else 0


@dataclass(slots=True, eq=False)
class PartitionLog:
    """What LogManager hands out. `native` and `flusher` are what the data plane works with."""

    native: LocalLog
    topic: str
    partition: int
    topic_id: bytes
    config: LogConfig
    hosted: HostedDirectory
    cleaned_to: int = 0  # everything below it has been compacted; goes to cleaner-offset-checkpoint
    unlink_at_ms: list[tuple[int, int]] = field(
        default_factory=list
    )  # (when, base offset) of segments renamed to .deleted
    unlinking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def directory(self) -> str:
        return self.native.directory

    @property
    def flusher(self) -> Flusher:
        return self.hosted.flusher

    def reconfigure(self, config: LogConfig) -> None:
        self.config = config  # first: a replica that moves takes the settings from here, at the last moment
        self.native.update_config(**native_options(config, jitter_ms=jitter_of(self.name, config)))

    @property
    def compacts(self) -> bool:
        return COMPACT in self.config.cleanup_policy

    def wants_flush(self, now_ms: int) -> bool:
        """Whether the background flush has something to do: by flush.messages and flush.ms under `interval`, else
        whatever waits.
        """
        records, since_ms = self.native.unflushed
        if records == 0:
            return False
        if self.config.flush_policy != INTERVAL:
            return True
        return records >= self.config.flush_messages or now_ms - since_ms >= self.config.flush_ms

    def high_watermark(self) -> int:
        """What this node alone may call committed: the durable end under `group` and `write`, else the end."""
        is_durable = self.config.flush_policy in (GROUP, WRITE)
        return self.native.durable_offset if is_durable else self.native.end_offset

    def retention_target(self, now_ms: int) -> int:
        """The start offset that retention asks for. Rolls the active segment when that one has had its time too."""
        native = self.native
        target, segments = self._retained(now_ms)
        if target > native.start_offset and not native.confirm_times(target):
            target, segments = self._retained(now_ms)  # an index file told other times than the log
        if target == native.end_offset and segments[-1].size_bytes > 0 and not native.is_offline:
            native.roll()
        return target

    def _retained(self, now_ms: int) -> tuple[int, list[SegmentFacts]]:
        native = self.native
        undecided = native.first_undecided_offset
        bound = native.durable_offset if undecided is None else min(undecided, native.durable_offset)
        deletes = DELETE in self.config.cleanup_policy
        segments = [SegmentFacts(*found) for found in native.segments()]
        target = retained_from(
            segments,
            retention_ms=self.config.retention_ms if deletes else -1,
            retention_bytes=self.config.retention_bytes if deletes else -1,
            start_offset=native.start_offset,
            bound=bound,
            now_ms=now_ms,
        )
        return target, segments

    def delete_before_start(self, now_ms: int) -> int:
        """Take segments below the start offset, which is durable, out of the log; how many."""
        bases = self.native.delete_segments_before(self.native.start_offset)
        self.note_deleted(bases, now_ms)
        return len(bases)

    def note_deleted(self, base_offsets: Iterable[int], now_ms: int) -> None:
        """The files of these segments became *.deleted: they are to be removed after file.delete.delay.ms."""
        with self.unlinking:
            self.unlink_at_ms.extend((now_ms + self.config.file_delete_delay_ms, base) for base in base_offsets)

    def unlink_deleted(self, now_ms: int) -> None:
        """Remove the files of segments whose file.delete.delay.ms is over. Raises OSError."""
        with self.unlinking:
            while self.unlink_at_ms and self.unlink_at_ms[0][0] <= now_ms:
                _, base = self.unlink_at_ms.pop(0)
                for suffix in ("log", "index", "timeindex", "txnindex"):
                    (Path(self.directory) / f"{base:020d}.{suffix}.deleted").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class LogDirDescription:
    """For DescribeLogDirs. `partitions` maps to sizes in bytes; an offline directory has none."""

    path: str
    is_offline: bool
    total_bytes: int
    usable_bytes: int
    partitions: dict[TopicPartition, int]


def described(hosted: HostedDirectory, logs: Iterable[PartitionLog]) -> LogDirDescription:
    """One directory, with those of the logs that lie in it."""
    try:
        total, usable = hosted.disk.usage()
    except OSError:
        total = usable = -1
    offline = hosted.directory.is_offline
    sizes = {} if offline else {log.name: log.native.size_bytes for log in logs if log.hosted is hosted}
    return LogDirDescription(str(hosted.path.absolute()), offline, total, usable, sizes)
