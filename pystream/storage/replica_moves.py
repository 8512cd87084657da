"""Replicas that move from one log directory of this broker to another while they are written and read.

    copying     closed segments, then what has come since, round by round, into <topic>-<n>.<uuid>-future
    frozen      appends are refused, retriably, for a moment: the log is flushed, the rest is copied and fsynced
    in place    the copy gets the partition's name and is opened; the data plane serves it; the old directory is deleted

The names of files at each step, and what a start makes of them after a crash: interrupted_moves.py.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pystream._native.flusher import Flusher
from pystream._native.io_table import sync_directory
from pystream._native.local_log import LocalLog
from pystream.common.clock import SECOND_MS, Clock
from pystream.common.config import LONG_MAX
from pystream.common.errors import (
    InvalidTopic,
    KafkaStorageError,
    PystreamError,
    ReplicaNotAvailable,
    UnknownTopicOrPartition,
)
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition
from pystream.common.tasks import contained_now
from pystream.storage.config import native_options
from pystream.storage.directories import DELETED_SUFFIX, renamed
from pystream.storage.disk import DiskState
from pystream.storage.interrupted_moves import future_name, remove_mark, write_mark
from pystream.storage.log_manager import LogManager
from pystream.storage.partition_log import HostedDirectory, PartitionLog, jitter_of
from pystream.storage.replica_copy import CopyStopped, ReplicaCopy

logger = get_logger(__name__)

SMALL_ROUND_BYTES = 4 << 20  # so little may be left when the log is frozen
MAX_ROUNDS = 100  # then it is frozen whatever is left: producers must not be able to outrun a move for ever
LONGEST_NAME = 255


class PartitionServer(Protocol):
    """Who serves clients from the logs: the data plane."""

    def published(self, topic: str, partition: int) -> None: ...

    def replace_log(self, topic: str, partition: int, log: LocalLog, flusher: Flusher) -> None: ...


@dataclass(frozen=True, slots=True)
class FutureReplica:
    """A copy in the making. `offset_lag`: records that are not in whole copied segments."""

    path: str
    name: TopicPartition
    size_bytes: int
    offset_lag: int


def _not_moved(error: Exception) -> bool:
    return False


class Pace:
    """What all moves together may copy in a second; it may change at any time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._bytes_per_second = LONG_MAX
        self._changes = 0
        self._paid_at_ms = 0.0  # when what was copied so far is within the limit

    def limit(self, bytes_per_second: int) -> None:
        """In force at once, also for who waits."""
        with self._changed:
            if bytes_per_second != self._bytes_per_second:
                self._bytes_per_second, self._paid_at_ms = bytes_per_second, 0.0
                self._changes += 1
                self._changed.notify_all()

    def look_again(self) -> None:
        """Have who waits ask whether it is still wanted."""
        with self._changed:
            self._changed.notify_all()

    def keep(self, copied_bytes: int, is_wanted: Callable[[], bool]) -> None:
        """Return once `copied_bytes` more are within the limit, or are not wanted any more."""
        with self._changed:
            if self._bytes_per_second == LONG_MAX:
                return
            changes = self._changes
            took_ms = copied_bytes * SECOND_MS / max(self._bytes_per_second, 1)
            self._paid_at_ms = due_ms = max(self._paid_at_ms, self._clock.monotonic_ms()) + took_ms
            while is_wanted() and changes == self._changes:
                left_ms = due_ms - self._clock.monotonic_ms()
                if left_ms <= 0:
                    return
                self._changed.wait(left_ms / SECOND_MS)


class ReplicaMoves:
    """Made once by the broker; stop() comes before the logs are closed."""

    def __init__(self, logs: LogManager, server: PartitionServer, clock: Clock, *, threads: int) -> None:
        self.pace = Pace(clock)
        self._logs = logs
        self._server = server
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="move-replica")
        self._lock = threading.Lock()
        self._wanted: dict[TopicPartition, HostedDirectory] = {}  # where each replica that moves is to lie
        self._busy: dict[TopicPartition, Future[None]] = {}
        self._copies: dict[TopicPartition, tuple[HostedDirectory, ReplicaCopy]] = {}
        self._stopped = False

    def request(self, topic: str, partition: int, path: str, *, is_known: bool) -> Future[None] | None:
        """Have the replica moved to the log directory `path`, soon; to where it is: stop moving it.

        What is given is done when the replica is there, or cannot be moved; None when there is nothing to do.
        A replica that is not here yet will be made there, and ReplicaNotAvailable is raised; UnknownTopicOrPartition
        when nobody knows of it. Raises InvalidTopic, LogDirNotFound, KafkaStorageError.
        """
        name = TopicPartition(topic, partition)
        if len(future_name(name)) > LONGEST_NAME:
            raise InvalidTopic("The topic name is too long.")
        target = self._logs.directory_at(path)
        if target.directory.is_offline:
            raise KafkaStorageError(f"Log directory {path} is offline")
        log = self._logs.get(topic, partition)
        if log is None:
            self._logs.wish(name, target)
            raise ReplicaNotAvailable() if is_known else UnknownTopicOrPartition()
        if log.native.is_offline:
            raise KafkaStorageError(f"Partition {name} is offline")
        with self._lock:
            if self._stopped:
                raise KafkaStorageError("the broker is stopping")
            if name not in self._busy and log.hosted is target:
                return None
            self._wanted[name] = target
            if name not in self._busy:
                self._busy[name] = self._pool.submit(self._work, name)
            moving = self._busy[name]
        self.pace.look_again()
        return moving

    def futures(self) -> list[FutureReplica]:
        """The copies in the making."""
        with self._lock:
            copies = list(self._copies.items())
        found = []
        for name, (target, copy) in copies:
            log = self._logs.get(*name)
            if log is not None:
                lag = max(log.native.end_offset - copy.next_offset, 0)
                found.append(FutureReplica(str(target.path.absolute()), name, copy.size_bytes, lag))
        return found

    def stop(self) -> None:
        """Give up what is copied; returns once no thread works any more."""
        with self._lock:
            self._stopped = True
            self._wanted.clear()
        self.pace.look_again()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # -- on a thread of the pool

    def _work(self, name: TopicPartition) -> None:
        """Until the replica lies where it is wanted, or cannot be moved there."""
        while True:
            log = self._logs.get(*name)
            with self._lock:
                target = self._wanted.get(name)
                if target is None or log is None or log.hosted is target:
                    self._wanted.pop(name, None)
                    del self._busy[name]
                    return
            fields = {"partition": name, "path": str(target.path)}
            if not contained_now("move of a replica failed", partial(self._tried, log, target), _not_moved, **fields):
                self._forget(name, target)

    def _tried(self, log: PartitionLog, target: HostedDirectory) -> bool:
        """False when the replica cannot be moved there; when it was given up, another place may be wanted."""
        try:
            self._move(log, target)
        except CopyStopped:
            logger.info("move of a replica given up", partition=log.name, path=str(target.path))
        except (PystreamError, OSError, KeyError) as error:
            logger.error("replica not moved", partition=log.name, path=str(target.path), error=str(error))
            return False
        return True

    def _forget(self, name: TopicPartition, target: HostedDirectory) -> None:
        with self._lock:
            if self._wanted.get(name) is target:
                del self._wanted[name]

    def _move(self, log: PartitionLog, target: HostedDirectory) -> None:
        directory = target.path / future_name(log.name)

        def is_wanted() -> bool:
            return self._wanted.get(log.name) is target

        def advance(copied_bytes: int) -> None:
            if not copy.is_last_round:
                self.pace.keep(copied_bytes, is_wanted)
            if not is_wanted():
                raise CopyStopped()

        copy = ReplicaCopy(log, directory, advance)
        with self._lock:
            self._copies[log.name] = (target, copy)
        try:
            for _ in range(MAX_ROUNDS):
                if copy.round() <= SMALL_ROUND_BYTES:
                    break
            self._switch(log, target, copy)
        finally:
            with self._lock:
                del self._copies[log.name]
            shutil.rmtree(directory, ignore_errors=True)  # it has another name where all went well

    def _switch(self, log: PartitionLog, target: HostedDirectory, copy: ReplicaCopy) -> None:
        """The last part of the move: nobody appends, and nobody deletes the log meanwhile."""
        with self._logs.exclusive:
            if self._logs.get(*log.name) is not log:
                raise UnknownTopicOrPartition(f"{log.name} was deleted")
            if target.directory.is_offline:
                raise KafkaStorageError(f"Log directory {target.path} is offline")
            before, source = log.native, Path(log.directory)
            before.freeze()
            try:
                before.roll()
                before.flush()
                self._server.published(*log.name)
                copy.finish()
                self._logs.note_arrival(log, target)
                moved = self._put_in_place(log, target, copy.directory)
            except BaseException:
                before.thaw()
                raise
            self._logs.place(log, moved, target)
            before.close(clean=False)
            self._leave(log, source)
        logger.info("replica moved", partition=log.name, path=str(target.path), size_bytes=copy.size_bytes)

    def _put_in_place(self, log: PartitionLog, target: HostedDirectory, copy: Path) -> LocalLog:
        """The copy under the partition's name, opened and served."""
        path = target.path / str(log.name)
        write_mark(copy)
        if path.exists():
            raise KafkaStorageError(f"{path} is in the way")
        copy.rename(path)
        try:
            sync_directory(str(target.path))
            moved = self._opened(log, target, path)
            try:
                self._server.replace_log(*log.name, moved, target.flusher)
            except BaseException:
                moved.close(clean=False)
                raise
        except BaseException:
            self._undo(log, path)
            raise
        return moved

    def _opened(self, log: PartitionLog, target: HostedDirectory, path: Path) -> LocalLog:
        """Raises KafkaStorageError where the copy is not what the log is."""
        before = log.native
        options: dict[str, Any] = native_options(log.config, jitter_ms=jitter_of(log.name, log.config))
        options.update(clean=True, recovery_point=before.end_offset, log_start_offset=before.start_offset)
        moved = LocalLog.open(str(path), **options)
        found = (moved.start_offset, moved.end_offset)
        if found != (before.start_offset, before.end_offset) or moved.is_offline:
            moved.close(clean=False)
            raise KafkaStorageError(
                f"the copy holds offsets {found}, expected {(before.start_offset, before.end_offset)}"
            )
        moved.refuse_appends(target.disk.state is DiskState.FULL)
        return moved

    def _undo(self, log: PartitionLog, path: Path) -> None:
        """The copy must not count at the next start: the log goes on where it is."""
        try:
            self._logs.delete_later(log, renamed(path, DELETED_SUFFIX))
            sync_directory(str(path.parent))
        except (KafkaStorageError, OSError) as error:
            # Records that the log took from now on would be missing from the copy, and the copy would be opened.
            log.native.take_offline()
            logger.error("log offline: its copy cannot be taken away", partition=log.name, error=str(error))

    def _leave(self, log: PartitionLog, source: Path) -> None:
        """The old files go after file.delete.delay.ms; from here on, or from the next start, the mark is not needed."""
        try:
            self._logs.delete_later(log, renamed(source, DELETED_SUFFIX))
            sync_directory(str(source.parent))
            remove_mark(Path(log.directory))
            self._logs.checkpoint()
        except (PystreamError, OSError) as error:
            logger.error("old place of a replica not cleared", partition=log.name, error=str(error))
