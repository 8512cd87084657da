"""All partition logs of a broker: opened and recovered, made and deleted, kept in bounds, checkpointed, closed.

Plain blocking functions, to be called on storage threads.  One lock guards the table of logs; a log's own work goes
on outside of it. Files of a log directory besides the partitions: see checkpoints.py and directories.py.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from pystream._native.flusher import Flusher
from pystream._native.io_table import sync_directory
from pystream._native.local_log import LocalLog, limit_open_files
from pystream.common.clock import Clock
from pystream.common.config import INT_MAX
from pystream.common.errors import (
    Closed,
    DataDirectoryError,
    InconsistentTopicId,
    KafkaError,
    KafkaStorageError,
    LogDirNotFound,
    UnknownTopicOrPartition,
)
from pystream.common.logging import get_logger
from pystream.common.model import ZERO_UUID, TopicPartition
from pystream.storage import interrupted_moves
from pystream.storage.checkpoints import (
    CLEANER_OFFSETS,
    HIGH_WATERMARKS,
    RECOVERY_POINTS,
    START_OFFSETS,
    read_offsets,
    read_topic_id,
    write_offsets,
    write_topic_id,
)
from pystream.storage.config import COMPACT, GROUP, WRITE, LogConfig, StorageConfig, native_options
from pystream.storage.directories import DELETED_SUFFIX, STRAY_SUFFIX, LogDirectory, renamed
from pystream.storage.disk import Disk, DiskState
from pystream.storage.partition_log import HostedDirectory, LogDirDescription, PartitionLog, described, jitter_of
from pystream.storage.recovery import Known, RecoveryReport

logger = get_logger(__name__)

DAMAGE_REASON = 34  # Status DAMAGED: this log alone, not its directory
STALLED_FLUSH_MS = 30_000
SYNC_THREADS = 16
MAX_WISHES = 10_000
TRANSACTIONAL_EXPIRATION_FACTOR = 7


class LogManager:
    """Made once by the broker: open(), then the rest, then close()."""

    def __init__(self, config: StorageConfig, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._lock = threading.Lock()
        self.exclusive = threading.RLock()  # held by who takes a log's directory away; taken before every other lock
        self._writing = threading.Lock()  # of checkpoints: what was read last is what the file holds in the end
        self._unsynced: set[str] = set()  # log directories with entries that are not yet fsynced
        self._logs: dict[TopicPartition, PartitionLog] = {}
        self._failed: dict[TopicPartition, str] = {}  # not recovered, and why: left alone until open()
        self._hosted: list[HostedDirectory] = []
        self._wishes: dict[TopicPartition, HostedDirectory] = {}  # where logs that are still to be made shall lie
        self._deleted: list[tuple[int, Path]] = []
        self._written: dict[Path, dict[TopicPartition, int]] = {}

    # -- start and stop

    def open(
        self,
        configs: Callable[[str], LogConfig] | None = None,
        leader_epochs: Callable[[TopicPartition, bytes], int | None] | None = None,
    ) -> RecoveryReport:
        """Lock the directories and recover what lies in them; `configs` gives a topic's settings where they are known
        already, `leader_epochs` the newest epoch that a partition (of this topic id) has been given, where that is.

        Raises DataDirectoryLocked, UnknownFormatVersion, DataDirectoryError or OSError; nothing stays locked then.  A
        partition that cannot be opened is left alone and named in the report.
        """
        limit_open_files(self.config.open_segment_files)
        report = RecoveryReport()
        try:
            for path in self.config.log_dirs:
                self._hosted.append(self._open_directory(Path(path)))
            found = Known(configs or (lambda topic: LogConfig()), leader_epochs or (lambda name, topic_id: None))
            self._refuse_volatile(found.configs(""))
            self._failed = interrupted_moves.settle([hosted.directory for hosted in self._hosted])
            report.failed.update(self._failed)
            for hosted in self._hosted:
                self._recover_directory(hosted, found, report)
        except BaseException:
            self.close(clean=False)
            raise
        if report.damaged or report.failed or report.alarms:
            logger.error(
                "recovery found damage",
                damaged=",".join(map(str, report.damaged)),
                failed=",".join(map(str, report.failed)),
                alarms=report.alarms,
                cut_bytes=report.cut_bytes,
            )
        logger.info(
            "logs opened", partitions=report.partitions, scanned_bytes=report.scanned_bytes, cut_bytes=report.cut_bytes
        )
        return report

    def close(self, *, clean: bool = True) -> None:
        """Make everything durable, write the checkpoints, mark the directories as clean, and give them back. Raises
        nothing.
        """
        failed = set()
        logs = self._snapshot()
        with ThreadPoolExecutor(self.config.recovery_threads, thread_name_prefix="close-log") as pool:
            for log, error in zip(logs, pool.map(lambda log: self._close_log(log, clean), logs), strict=True):
                if error is not None:
                    failed.add(log.hosted)
                    logger.error("log could not be closed", partition=log.name, error=str(error))
        for hosted in self._hosted:
            hosted.flusher.stop()
        if clean:
            self._checkpoint_or_note(failed)
        for hosted in self._hosted:
            try:
                hosted.directory.close(clean=clean and hosted not in failed)
            except OSError as error:
                logger.error("directory could not be marked as clean", path=str(hosted.path), error=str(error))
        self._hosted.clear()
        self._logs.clear()
        self._failed.clear()

    def update(self, *, recovery_threads: int, producer_id_expiration_ms: int) -> None:
        """Settings that may change at any time."""
        self.config = replace(
            self.config, recovery_threads=recovery_threads, producer_id_expiration_ms=producer_id_expiration_ms
        )

    def set_cluster_id(self, cluster_id: str) -> None:
        """Write it to meta.properties, or raise DataDirectoryError when a directory belongs to another cluster or
        broker.
        """
        for hosted in self._hosted:
            hosted.directory.set_cluster_id(cluster_id, self.config.node_id)

    @property
    def cluster_id(self) -> str | None:
        """The cluster that the directories belong to, where one of them says so."""
        return next(
            (hosted.directory.meta["cluster.id"] for hosted in self._hosted if "cluster.id" in hosted.directory.meta),
            None,
        )

    # -- partitions

    def create(self, topic: str, partition: int, topic_id: bytes, config: LogConfig) -> PartitionLog:
        """The partition's log, made in the directory with the fewest partitions when there is none.

        A new log's place in its log directory is durable after sync_directories(), which must come before anything
        written to the log is acknowledged: one fsync for any number of logs. Raises InconsistentTopicId when there is
        one of another topic of that name, KafkaStorageError when no directory works or open() could not recover it.
        """
        name = TopicPartition(topic, partition)
        with self._lock:
            if name in self._failed:
                raise KafkaStorageError(f"{name}: {self._failed[name]}")
            known = self._logs.get(name)
            if known is not None:
                if known.topic_id not in (topic_id, ZERO_UUID):
                    raise InconsistentTopicId(
                        f"{name}: the log here is of topic id {known.topic_id.hex()}, asked for {topic_id.hex()}"
                    )
                return known
            hosted = self._choose_directory(name)
            try:
                log = self._make_log(name, topic_id, config, hosted)
            except OSError as error:
                raise KafkaStorageError(f"{name}: {error}") from error
            self._logs[name] = log
            hosted.logs += 1
            return log

    def sync_directories(self) -> None:
        """Make durable which logs create() has made and delete() has taken away. Raises KafkaStorageError."""
        with self._lock:
            waiting, self._unsynced = self._unsynced, set()
        for path in waiting:
            try:
                sync_directory(path)
            except OSError as error:
                raise KafkaStorageError(f"{path}: {error}") from error

    def get(self, topic: str, partition: int) -> PartitionLog | None:
        return self._logs.get(TopicPartition(topic, partition))

    def online_paths(self) -> list[Path]:
        """The directories that can be written to."""
        return [hosted.path for hosted in self._online()]

    def partitions(self) -> list[PartitionLog]:
        """All logs, in no order."""
        return self._snapshot()

    def delete(self, topic: str, partition: int) -> None:
        """Take the log away; its files go after file.delete.delay.ms. Nothing happens when there is none. Durable after
        sync_directories(). Raises KafkaStorageError.
        """
        with self.exclusive:
            log = self._taken_out(topic, partition)
            if log is not None:
                self.delete_later(log, renamed(Path(log.directory), DELETED_SUFFIX))

    def set_aside(self, topic: str, partition: int) -> Path | None:
        """Take a log out of the way of another topic of its name. Its files are kept, for an operator to judge, in
        the directory that is returned; None when there is no log. Durable after sync_directories(). Raises
        KafkaStorageError.
        """
        with self.exclusive:
            log = self._taken_out(topic, partition)
            return None if log is None else renamed(Path(log.directory), STRAY_SUFFIX)

    def reconfigure(self, topic: str, partition: int, config: LogConfig) -> None:
        """Put new settings in force at once. Raises UnknownTopicOrPartition."""
        self._known(topic, partition).reconfigure(config)

    # -- for ReplicaMoves

    def directory_at(self, path: str) -> HostedDirectory:
        """The log directory at this absolute path. Raises LogDirNotFound."""
        for hosted in self._hosted:
            if str(hosted.path.absolute()) == path:
                return hosted
        raise LogDirNotFound(f"Log dir {path} is not found in the config.")

    def wish(self, name: TopicPartition, hosted: HostedDirectory) -> None:
        """Have a log that is not here made in this directory, once it is made. Forgotten with the process."""
        with self._lock:
            self._wishes.pop(name, None)
            self._wishes[name] = hosted
            while len(self._wishes) > MAX_WISHES:
                del self._wishes[next(iter(self._wishes))]

    def note_arrival(self, log: PartitionLog, hosted: HostedDirectory) -> None:
        """Checkpoint what a start must know of a log that is about to lie in this directory. Raises OSError."""
        with self._writing:
            logs = [*(each for each in self._snapshot() if each.hosted is hosted), log]
            self._write(hosted.path / START_OFFSETS, _moved_starts(logs))
            self._write(hosted.path / CLEANER_OFFSETS, _cleaned_ends(logs))

    def place(self, log: PartitionLog, native: LocalLog, hosted: HostedDirectory) -> None:
        """From here on the log is another one with the same records, in this directory."""
        with self._lock:
            log.hosted.logs -= 1
            hosted.logs += 1
            log.native, log.hosted = native, hosted
        log.reconfigure(log.config)  # it may have changed since `native` was opened

    def delete_later(self, log: PartitionLog, path: Path) -> None:
        """Remove a directory, which has the name of a deleted one, after the log's file.delete.delay.ms."""
        with self._lock:
            self._unsynced.add(str(path.parent))
            self._deleted.append((self._clock.now_ms() + log.config.file_delete_delay_ms, path))

    # -- periodic work

    def enforce_retention(self, now_ms: int) -> int:
        """Delete segments that have had their time, and files whose delay is over; how many segments.

        Where the new start offsets cannot be made durable, no segment goes; the next call tries again.
        """
        targets = []
        for log in self._snapshot():
            if log.hosted.directory.is_offline:
                continue  # its checkpoint is not written either
            try:
                target = log.retention_target(now_ms)
                if target > log.native.start_offset:
                    log.native.advance_start_offset(target)
                targets.append(log)
            except Closed:
                continue  # deleted meanwhile
            except (KafkaError, OSError) as error:
                logger.error("retention failed", partition=log.name, error=str(error))
        try:
            self._write_start_offsets()
        except OSError as error:
            logger.error("start offsets not written, no segment is deleted", error=str(error))
            return self._remove_deleted(now_ms)
        return sum(self._delete_segments(log, now_ms) for log in targets) + self._remove_deleted(now_ms)

    def delete_records(self, topic: str, partition: int, offset: int) -> int:
        """Move the start offset up to `offset`, durably; the new start offset. Raises OffsetOutOfRange,
        KafkaStorageError.
        """
        log = self._known(topic, partition)
        if log.hosted.directory.is_offline:
            raise KafkaStorageError(f"{log.name}: its log directory is offline")
        log.native.advance_start_offset(offset)
        try:
            self._write_start_offsets()
        except OSError as error:
            raise KafkaStorageError(f"{log.name}: {error}") from error
        return log.native.start_offset

    def flush_dirty(self, now_ms: int) -> None:
        """Ask for a flush of every log that wants one; look after disks, and after logs and directories that failed."""
        for log in self._snapshot():
            if log.wants_flush(now_ms) and not log.native.is_offline:
                log.flusher.request(log.native)
        for hosted in self._hosted:
            self._check_directory(hosted, now_ms)

    def make_room(self) -> bool:
        """Somebody has met a full disk: look now, before flush_dirty() does. Whether a reserve was given away.

        Called from any thread.
        """
        given = False
        for hosted in self._online():
            held = hosted.disk.holds_reserve
            self._check_directory(hosted, self._clock.now_ms())
            given = given or (held and not hosted.disk.holds_reserve)
        return given

    def checkpoint(self) -> None:
        """Write recovery points, start offsets, high watermarks that have changed. Raises the OSError met last."""
        failure = None
        with self._writing:
            for hosted in self._online():
                logs = [log for log in self._snapshot() if log.hosted is hosted]
                try:
                    self._write(hosted.path / RECOVERY_POINTS, {log.name: log.native.recovery_point for log in logs})
                    self._write(hosted.path / START_OFFSETS, _moved_starts(logs))
                    self._write(hosted.path / CLEANER_OFFSETS, _cleaned_ends(logs))
                    self._write(hosted.path / HIGH_WATERMARKS, {log.name: log.high_watermark() for log in logs})
                except OSError as error:
                    failure = error
        if failure is not None:
            raise failure

    def expire_producers(self, now_ms: int) -> None:
        """Forget producers that have not written for producer.id.expiration.ms and have no open transaction."""
        for log in self._snapshot():
            log.native.expire_producers(now_ms - self.config.producer_id_expiration_ms)

    def describe_dirs(self) -> list[LogDirDescription]:
        logs = self._snapshot()
        return [described(hosted, logs) for hosted in self._hosted]

    def disk_states(self) -> list[DiskState | None]:
        """Of each log directory; None of one that is offline."""
        return [None if hosted.directory.is_offline else hosted.disk.state for hosted in self._hosted]

    # -- within

    def _snapshot(self) -> list[PartitionLog]:
        with self._lock:
            return list(self._logs.values())

    def _online(self) -> list[HostedDirectory]:
        return [hosted for hosted in self._hosted if not hosted.directory.is_offline]

    def _known(self, topic: str, partition: int) -> PartitionLog:
        log = self.get(topic, partition)
        if log is None:
            raise UnknownTopicOrPartition(f"there is no log of {topic}-{partition} here")
        return log

    def _open_directory(self, path: Path) -> HostedDirectory:
        directory = LogDirectory.open(path, volatile_allowed=self.config.allow_volatile)
        flusher = Flusher(self.config.gather_ms)
        flusher.start()
        reserve_bytes = 0 if directory.is_volatile else self.config.reserve_bytes
        return HostedDirectory(directory, flusher, Disk(path, reserve_bytes=reserve_bytes))

    def _refuse_volatile(self, config: LogConfig) -> None:
        """An fsync makes nothing durable in memory: raises DataDirectoryError where `config` promises that it does."""
        if self.config.allow_volatile or config.flush_policy not in (GROUP, WRITE):
            return
        for hosted in self._hosted:
            if hosted.directory.is_volatile:
                raise DataDirectoryError(
                    f"{hosted.path} lies in memory and cannot keep what flush policy {config.flush_policy} promises: "
                    "use a disk, log.flush.policy=os, or log.dir.volatile.allow=true"
                )

    def _taken_out(self, topic: str, partition: int) -> PartitionLog | None:
        """The log, closed and in the table no more; None when there is none."""
        with self._lock:
            log = self._logs.pop(TopicPartition(topic, partition), None)
            if log is None:
                return None
            log.hosted.logs -= 1
            self._unsynced.add(str(log.hosted.path))
        log.native.close(clean=False)
        return log

    def _choose_directory(self, name: TopicPartition) -> HostedDirectory:
        wished = self._wishes.pop(name, None)
        if wished is not None and not wished.directory.is_offline:
            return wished
        usable = [hosted for hosted in self._online() if hosted.disk.state is not DiskState.FULL] or self._online()
        if not usable:
            raise LogDirNotFound("no log directory is usable")
        return min(usable, key=lambda hosted: hosted.logs)

    def _make_log(
        self, name: TopicPartition, topic_id: bytes, config: LogConfig, hosted: HostedDirectory
    ) -> PartitionLog:
        path = hosted.path / str(name)
        path.mkdir(exist_ok=True)
        write_topic_id(path, topic_id)
        self._unsynced.add(str(hosted.path))
        native = LocalLog.open(str(path), "", **native_options(config, jitter_ms=jitter_of(name, config)))
        native.refuse_appends(hosted.disk.state is DiskState.FULL)
        return PartitionLog(native, name.topic, name.partition, topic_id, config, hosted)

    def _recover_directory(self, hosted: HostedDirectory, known: Known, report: RecoveryReport) -> None:
        directory = hosted.directory
        report.clean_directories += directory.is_clean
        report.lossy_directories += directory.is_lossy
        for path in directory.deleted():
            shutil.rmtree(path, ignore_errors=True)
        points = read_offsets(hosted.path / RECOVERY_POINTS)
        starts = read_offsets(hosted.path / START_OFFSETS)
        cleaned = read_offsets(hosted.path / CLEANER_OFFSETS)

        def recover(name: TopicPartition) -> PartitionLog | Exception:
            path = hosted.path / str(name)
            topic_id = read_topic_id(path) or ZERO_UUID
            config = known.configs(name.topic)
            newest_epoch = known.leader_epochs(name, topic_id)
            options: dict[str, Any] = native_options(config, jitter_ms=jitter_of(name, config))
            options.update(
                defer_sync=True,
                clean=directory.is_clean,
                lossy=directory.is_lossy,
                trust_snapshots=not directory.is_foreign,
                recovery_point=points.get(name, 0),
                log_start_offset=starts.get(name, 0),
                compacted=COMPACT in config.cleanup_policy or name in cleaned or directory.is_foreign,
                newest_leader_epoch=INT_MAX if newest_epoch is None else newest_epoch,
            )
            try:
                native = LocalLog.open(str(path), **options)
            except (KafkaError, OSError) as error:
                return error
            return PartitionLog(native, *name, topic_id, config, hosted, cleaned_to=cleaned.get(name, 0))

        names = [name for name in directory.partitions() if name not in self._failed]
        with ThreadPoolExecutor(self.config.recovery_threads, thread_name_prefix="recover-log") as pool:
            for name, found in zip(names, pool.map(recover, names), strict=True):
                self._take_recovered(name, found, report)
        self._sync_recovered(hosted, report)

    def _sync_recovered(self, hosted: HostedDirectory, report: RecoveryReport) -> None:
        """What was checked becomes durable. The file system joins many fsyncs at once, so that they take little more
        time than a few.
        """
        waiting = [log for log in self._snapshot() if log.hosted is hosted and log.native.recovery["unsynced"]]

        def flush(log: PartitionLog) -> KafkaError | None:
            try:
                log.native.flush()
            except KafkaError as error:
                return error
            return None

        with ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync-log") as pool:
            for log, error in zip(waiting, pool.map(flush, waiting), strict=True):
                if error is not None:
                    report.failed[log.name] = str(error)
                    logger.error("log could not be made durable", partition=log.name, error=str(error))

    def _take_recovered(self, name: TopicPartition, found: PartitionLog | Exception, report: RecoveryReport) -> None:
        if isinstance(found, Exception):
            report.failed[name] = self._failed[name] = str(found)
            logger.error("log could not be opened", partition=name, error=str(found))
            return
        told = found.native.recovery
        report.partitions += 1
        report.scanned_bytes += told["scanned_bytes"]
        report.cut_bytes += told["cut_bytes"]
        report.alarms += told["alarms"]
        for base, position, offset, size, verdict in told["verdicts"]:
            logger.error(
                "bad batch found",
                partition=name,
                segment=base,
                position=position,
                offset=offset,
                file_bytes=size,
                verdict=verdict,
            )
        if told["damaged"]:
            report.damaged.append(name)
        self._logs[name] = found
        found.hosted.logs += 1

    def _close_log(self, log: PartitionLog, clean: bool) -> Exception | None:
        try:
            log.native.close(clean=clean)
        except KafkaError as error:
            return error
        return KafkaStorageError(f"{log.name} is offline") if log.native.is_offline else None

    def _checkpoint_or_note(self, failed: set[HostedDirectory]) -> None:
        try:
            self.checkpoint()
        except OSError as error:
            failed.update(self._hosted)
            logger.error("checkpoints could not be written", error=str(error))

    def _write(self, path: Path, offsets: dict[TopicPartition, int]) -> None:
        if self._written.get(path) != offsets:
            write_offsets(path, offsets)
            self._written[path] = offsets

    def _write_start_offsets(self) -> None:
        with self._writing:
            for hosted in self._online():
                logs = [log for log in self._snapshot() if log.hosted is hosted]
                self._write(hosted.path / START_OFFSETS, _moved_starts(logs))

    def _delete_segments(self, log: PartitionLog, now_ms: int) -> int:
        try:
            log.unlink_deleted(now_ms)
            count = log.delete_before_start(now_ms)
        except (KafkaError, OSError) as error:
            logger.error("segments could not be deleted", partition=log.name, error=str(error))
            return 0
        if count:
            logger.info("segments deleted", partition=log.name, count=count, start_offset=log.native.start_offset)
        log.unlink_deleted(now_ms)
        return count

    def _remove_deleted(self, now_ms: int) -> int:
        """Files of deleted partitions whose delay is over; counts no segment."""
        with self._lock:
            due = [path for when, path in self._deleted if when <= now_ms]
            self._deleted = [(when, path) for when, path in self._deleted if when > now_ms]
        for path in due:
            shutil.rmtree(path, ignore_errors=True)
        return 0

    def _check_directory(self, hosted: HostedDirectory, now_ms: int) -> None:
        if hosted.directory.is_offline:
            return
        logs = [log for log in self._snapshot() if log.hosted is hosted]
        stalled = hosted.flusher.statistics()["running_ms"] > STALLED_FLUSH_MS
        broken = [log for log in logs if log.native.offline_reason not in (0, DAMAGE_REASON)]
        before = hosted.disk.state
        try:
            state = hosted.disk.check()
        except OSError as error:
            self._take_offline(hosted, logs, str(error))
            return
        unreadable = hosted.read_errors.are_too_many(sum(log.native.take_read_errors() for log in logs), now_ms)
        if stalled or broken:
            self._take_offline(hosted, logs, "an fsync hangs" if stalled else f"errno {broken[0].native.last_errno}")
        elif unreadable:
            self._take_offline(hosted, logs, "reads fail")
        elif state is not before:
            self._disk_changed(hosted, logs, state, now_ms)

    def _take_offline(self, hosted: HostedDirectory, logs: Iterable[PartitionLog], reason: str) -> None:
        """A directory whose disk failed once is not trusted until the next start."""
        hosted.directory.is_offline = True
        for log in logs:
            log.native.take_offline()
        logger.error("log directory offline", path=str(hosted.path), reason=reason)

    def _disk_changed(
        self, hosted: HostedDirectory, logs: Iterable[PartitionLog], state: DiskState, now_ms: int
    ) -> None:
        total, free = hosted.disk.usage()
        level = logger.info if state is DiskState.OK else logger.error
        level("disk space changed", path=str(hosted.path), state=state.value, total_bytes=total, free_bytes=free)
        for log in logs:
            log.native.refuse_appends(state is DiskState.FULL)
        if state is not DiskState.OK:
            self.enforce_retention(now_ms)


def _moved_starts(logs: Iterable[PartitionLog]) -> dict[TopicPartition, int]:
    """Start offsets that lie inside a segment; the others follow from the files' names, as in Kafka."""
    return {log.name: log.native.start_offset for log in logs if log.native.start_offset > 0}


def _cleaned_ends(logs: Iterable[PartitionLog]) -> dict[TopicPartition, int]:
    """Also of topics that are compacted no more: recovery must know that offsets may be missing."""
    return {log.name: log.cleaned_to for log in logs if log.cleaned_to > 0}
