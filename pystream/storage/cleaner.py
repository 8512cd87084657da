"""Compaction's scheduler: which log is due, on threads of its own.

    log    [ clean ........ | dirty ................ | not yet: min.compaction.lag.ms, undecided, active segment ]
                            ^ cleaner-offset-checkpoint, which LogManager writes

A log is due when more than min.cleanable.dirty.ratio of clean + dirty bytes are dirty, or when a dirty record has
waited for max.compaction.lag.ms; the dirtiest comes first. The work itself is native (log_cleaner), done in steps:
between two of them the threads slow down to log.cleaner.io.max.bytes.per.second and look whether they are to stop.
A log that cannot be cleaned, because it is damaged, is counted and left alone until what was damaged has gone
(retention, DeleteRecords, a replica in its place); every hour it is tried all the same: it may be whole again. What is
checkpointed stays so when a topic is no longer compacted: recovery must know that offsets may be missing.
Source: Kafka's LogCleanerManager; KIP-58 (minimum lag), KIP-354 (maximum lag).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pystream._native.batch import parse_header
from pystream._native.local_log import LocalLog
from pystream._native.log_cleaner import LogCleaning
from pystream.common.clock import HOUR_MS, SECOND_MS, Clock
from pystream.common.config import LONG_MAX
from pystream.common.errors import Busy, Closed, KafkaError, KafkaStorageError, LogOffline, NoSpace, PystreamError
from pystream.common.logging import get_logger
from pystream.common.metrics import COUNTER, GAUGE, Family, Sample
from pystream.common.model import TopicPartition
from pystream.storage.config import CleanerConfig
from pystream.storage.partition_log import PartitionLog
from pystream.storage.retention import SegmentFacts

logger = get_logger(__name__)

STEP_BYTES = 4 << 20
BYTES_PER_KEY = 24
TRY_DAMAGED_MS = HOUR_MS
PREFIX = "kafka_log_logcleaner"


class Due(NamedTuple):
    """What there is to clean in one log."""

    log: PartitionLog
    first_dirty_offset: int
    bound: int
    clean_bytes: int
    dirty_bytes: int
    is_overdue: bool

    @property
    def dirty_ratio(self) -> float:
        total = self.clean_bytes + self.dirty_bytes
        return self.dirty_bytes / total if total else 0.0

    @property
    def is_worth_it(self) -> bool:
        if self.dirty_bytes == 0:
            return False
        return self.is_overdue or self.dirty_ratio > self.log.config.min_cleanable_dirty_ratio


def first_dirty(checkpointed: int, *, start_offset: int, end_offset: int) -> int:
    """Where the dirty part begins. A checkpoint that the log has outgrown or never reached says nothing."""
    return checkpointed if start_offset <= checkpointed <= end_offset else start_offset


def cleanable_bound(
    segments: Iterable[SegmentFacts],
    *,
    first_dirty_offset: int,
    high_watermark: int,
    undecided: int | None,
    min_lag_ms: int,
    now_ms: int,
) -> int:
    """The offset up to which compaction may look: nothing of the active segment, nothing that is not committed and
    decided, nothing from the first segment on that holds a record younger than min.compaction.lag.ms.
    """
    *closed, active = segments
    bound = min(active.base_offset, high_watermark)
    if undecided is not None:
        bound = min(bound, undecided)
    for segment in closed if min_lag_ms > 0 else ():
        if segment.next_offset > first_dirty_offset and segment.max_timestamp_ms > now_ms - min_lag_ms:
            bound = min(bound, segment.base_offset)
    return bound


def examine(log: PartitionLog, now_ms: int) -> Due:
    """What there is to clean. Raises KafkaError for a log that cannot be read."""
    native = log.native
    segments = [SegmentFacts(*found) for found in native.segments()]
    dirty_from = first_dirty(log.cleaned_to, start_offset=native.start_offset, end_offset=native.end_offset)
    bound = cleanable_bound(
        segments,
        first_dirty_offset=dirty_from,
        high_watermark=log.high_watermark(),
        undecided=native.first_undecided_offset,
        min_lag_ms=log.config.min_compaction_lag_ms,
        now_ms=now_ms,
    )
    clean = [segment for segment in segments if segment.next_offset <= dirty_from]
    dirty = [segment for segment in segments if segment.next_offset > dirty_from and segment.base_offset < bound]
    dirty_bytes = sum(segment.size_bytes for segment in dirty) if bound > dirty_from else 0
    overdue = dirty_bytes > 0 and any(_waited(log, segment, now_ms) for segment in dirty)
    return Due(log, dirty_from, bound, sum(segment.size_bytes for segment in clean), dirty_bytes, overdue)


def _waited(log: PartitionLog, segment: SegmentFacts, now_ms: int) -> bool:
    """Whether the segment's first batch is older than max.compaction.lag.ms."""
    most_ms = log.config.max_compaction_lag_ms
    if most_ms == LONG_MAX:
        return False
    data = log.native.read(offset=max(segment.base_offset, log.native.start_offset), max_bytes=1)
    first_ms = parse_header(data).max_timestamp if data else -1
    return 0 <= first_ms <= now_ms - most_ms


@dataclass(slots=True)
class LastRound:
    """What the last round of a thread did, for the metrics."""

    recopy_percent: float = 0.0
    buffer_percent: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A log that could not be compacted, as it was then."""

    reason: str
    native: LocalLog
    start_offset: int
    closed: tuple[tuple[int, int], ...]  # base offset and size of each closed segment
    again_ms: int

    @classmethod
    def of(cls, log: PartitionLog, reason: str, again_ms: int) -> Mark:
        native = log.native
        return cls(reason, native, native.start_offset, _closed_segments(native), again_ms)

    def stands(self, log: PartitionLog, now_ms: int) -> bool:
        """Whether it is the same log, with all that it held then, and not yet time to try."""
        native = log.native
        if native is not self.native or native.start_offset != self.start_offset or now_ms >= self.again_ms:
            return False
        return set(self.closed) <= set(_closed_segments(native))


def _closed_segments(native: LocalLog) -> tuple[tuple[int, int], ...]:
    """None of a log that is closed or cannot be read."""
    try:
        return tuple((base_offset, size) for base_offset, _, size, _ in native.segments()[:-1])
    except KafkaError:
        return ()


class LogCleaner:
    """start(), then on its own threads until stop(). `clean_dirtiest` is one round, for a test to call."""

    def __init__(self, config: CleanerConfig, logs: Callable[[], list[PartitionLog]], clock: Clock) -> None:
        self.config = config
        self.uncleanable: dict[TopicPartition, Mark] = {}
        self._logs = logs
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: set[TopicPartition] = set()
        self._postponed: dict[TopicPartition, int] = {}  # until when, after a failure that may pass
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self._last: dict[str, LastRound] = {}
        self._last_examined_ms = clock.monotonic_ms()
        self._most_dirty_percent = 0.0
        self._totals = {"bytes_read": 0, "bytes_written": 0, "records_read": 0, "records_kept": 0, "rounds": 0}

    # -- threads

    def start(self) -> None:
        if not self.config.enable:
            return
        self._stopped = threading.Event()
        for number in range(self.config.threads):
            thread = threading.Thread(
                target=self._run, args=(self._stopped,), name=f"log-cleaner-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Returns once no thread works any more; what is half cleaned is given up, and nothing is lost by that."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def reconfigure(self, config: CleanerConfig) -> None:
        """Put new settings in force; rounds under way are begun again. May wait for a step to end."""
        if config == self.config:
            return
        was_running = bool(self._threads) or self.config.threads == 0
        self.stop()
        self.config = config
        logger.info("cleaner reconfigured", threads=config.threads, dedupe_buffer_bytes=config.dedupe_buffer_size)
        if was_running:
            self.start()

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                worked = self.clean_dirtiest(stopped)
            except (PystreamError, OSError, MemoryError) as error:
                logger.limited("compaction failed", error=error)
                worked = False
            if not worked:
                self.remove_old_files()
                stopped.wait(max(self.config.backoff_ms, 1) / SECOND_MS)

    # -- one round

    def clean_dirtiest(self, stopped: threading.Event | None = None) -> bool:
        """Clean the log that needs it most; False when none is due."""
        due = self._choose(self._clock.now_ms())
        if due is None:
            return False
        try:
            self._clean(due, stopped or threading.Event())
        finally:
            with self._lock:
                self._busy.discard(due.log.name)
        return True

    def remove_old_files(self) -> None:
        """Files of replaced segments whose file.delete.delay.ms is over."""
        now_ms = self._clock.now_ms()
        for log in self._logs():
            if log.unlink_at_ms:
                try:
                    log.unlink_deleted(now_ms)
                except OSError as error:
                    logger.limited("old segments not removed", partition=log.name, error=error)

    def _choose(self, now_ms: int) -> Due | None:
        with self._lock:
            logs = self._logs()
            for gone in self.uncleanable.keys() - {log.name for log in logs}:
                del self.uncleanable[gone]
            found = [due for log in logs if (due := self._examined(log, now_ms)) is not None]
            self._last_examined_ms = self._clock.monotonic_ms()
            self._most_dirty_percent = max((100 * due.dirty_ratio for due in found), default=0.0)
            worth_it = [due for due in found if due.is_worth_it and due.log.name not in self._busy]
            if not worth_it:
                return None
            due = max(worth_it, key=lambda each: each.dirty_ratio)
            self._busy.add(due.log.name)
            return due

    def _examined(self, log: PartitionLog, now_ms: int) -> Due | None:
        if not log.compacts or log.native.is_offline or self._is_uncleanable(log, now_ms):
            return None
        if self._postponed.get(log.name, 0) > now_ms:
            return None
        try:
            return examine(log, now_ms)
        except Closed:
            return None
        except KafkaError as error:
            self._mark(log, error)
            return None

    def _is_uncleanable(self, log: PartitionLog, now_ms: int) -> bool:
        mark = self.uncleanable.get(log.name)
        if mark is None or mark.stands(log, now_ms):
            return mark is not None
        del self.uncleanable[log.name]
        logger.info("log to be compacted is tried again", partition=log.name, reason=mark.reason)
        return False

    def _clean(self, due: Due, stopped: threading.Event) -> None:
        log, config = due.log, self.config
        threads = max(config.threads, 1)
        began_ms = self._clock.monotonic_ms()
        cleaning = None
        try:
            cleaning = LogCleaning(
                log.native,
                first_dirty_offset=due.first_dirty_offset,
                bound=due.bound,
                map_bytes=config.dedupe_buffer_size // threads,
                now_ms=self._clock.now_ms(),
                delete_retention_ms=log.config.delete_retention_ms,
                load_factor=config.io_buffer_load_factor,
                buffer_bytes=max(config.io_buffer_size // threads // 2, 1),
            )
            if self._work(cleaning, log, stopped):
                log.cleaned_to = cleaning.end_offset
                self._note(due, cleaning, self._clock.monotonic_ms() - began_ms)
        except (Busy, Closed, LogOffline) as error:
            logger.info("compaction given up", partition=log.name, reason=str(error))
        except (KafkaStorageError, NoSpace, OSError, MemoryError) as error:
            self._postponed[log.name] = self._clock.now_ms() + config.backoff_ms
            logger.error("compaction failed, to be tried again", partition=log.name, error=str(error))
        except PystreamError as error:
            self._mark(log, error)
        finally:
            if cleaning is not None:
                cleaning.close()

    def _work(self, cleaning: LogCleaning, log: PartitionLog, stopped: threading.Event) -> bool:
        """False when it was stopped in between."""
        pace = _Pace(self.config.io_max_bytes_per_second / max(self.config.threads, 1), self._clock, stopped)
        for step in (cleaning.map, cleaning.clean):
            finished = False
            while not finished and not stopped.is_set():
                try:
                    finished = step(STEP_BYTES)
                finally:
                    log.note_deleted(cleaning.take_replaced(), self._clock.now_ms())
                done = cleaning.statistics
                pace.keep(done["bytes_mapped"] + done["bytes_read"] + done["bytes_written"])
        return not stopped.is_set()

    def _mark(self, log: PartitionLog, error: Exception) -> None:
        self.uncleanable[log.name] = Mark.of(log, str(error), self._clock.now_ms() + TRY_DAMAGED_MS)
        logger.error("log cannot be compacted, it is left alone", partition=log.name, error=str(error))

    def _note(self, due: Due, cleaning: LogCleaning, took_ms: int) -> None:
        done = cleaning.statistics
        read = max(done["bytes_read"], 1)
        map_bytes = self.config.dedupe_buffer_size // max(self.config.threads, 1)
        last = LastRound(
            recopy_percent=100 * done["bytes_written"] / read,
            buffer_percent=100 * done["keys"] * BYTES_PER_KEY / map_bytes,
            seconds=took_ms / SECOND_MS,
        )
        with self._lock:
            self._last[threading.current_thread().name] = last
            for name in ("bytes_read", "bytes_written", "records_read", "records_kept"):
                self._totals[name] += done[name]
            self._totals["rounds"] += 1
        logger.info(
            "log compacted",
            partition=due.log.name,
            from_offset=due.first_dirty_offset,
            to_offset=cleaning.end_offset,
            bytes_read=done["bytes_read"],
            bytes_written=done["bytes_written"],
            records_read=done["records_read"],
            records_kept=done["records_kept"],
            keyless=done["keyless"],
            took_ms=took_ms,
        )

    # -- metrics

    def families(self) -> Iterator[Family]:
        """For the process's registry; names as the JMX exporter's usual rules give Kafka's."""
        with self._lock:
            last, totals = list(self._last.values()), dict(self._totals)
        recopy = max((each.recopy_percent for each in last), default=0.0)
        fullest = max((each.buffer_percent for each in last), default=0.0)
        longest = max((each.seconds for each in last), default=0.0)
        idle_ms = self._clock.monotonic_ms() - self._last_examined_ms
        dead = 0 if self._stopped.is_set() else sum(not thread.is_alive() for thread in self._threads)
        for name, help, value in (
            ("cleaner_recopy_percent", "Bytes written of those read, in the last round.", recopy),
            ("max_buffer_utilization_percent", "Memory for keys in use, in the last round.", fullest),
            ("max_clean_time_secs", "Seconds that the last round took.", longest),
            ("deadthreadcount", "Cleaner threads that ended by a failure.", dead),
        ):
            yield Family(f"{PREFIX}_{name}", GAUGE, help, [Sample((), value)])
        manager = f"{PREFIX}manager"
        dirtiest = [Sample((), self._most_dirty_percent)]
        yield Family(f"{manager}_max_dirty_percent", GAUGE, "Dirty part of the dirtiest log.", dirtiest)
        since = [Sample((), idle_ms)]
        yield Family(f"{manager}_time_since_last_run_ms", GAUGE, "Since logs were last looked over.", since)
        yield from self._uncleanable_families(manager)
        for name, value in totals.items():
            help = f"Of compaction: {name.replace('_', ' ')}."
            yield Family(f"pystream_log_cleaner_{name}_total", COUNTER, help, [Sample((), value)])

    def _uncleanable_families(self, manager: str) -> Iterator[Family]:
        counts: dict[str, list[int]] = {}
        for log in self._logs():
            here = counts.setdefault(str(log.hosted.path), [0, 0])
            if log.name in self.uncleanable:
                here[0] += 1
                here[1] += log.native.size_bytes
        for position, (name, help) in enumerate(
            (
                ("uncleanable_partitions_count", "Partitions that cannot be compacted."),
                ("uncleanable_bytes", "Bytes of those partitions."),
            )
        ):
            samples = [Sample((("logDirectory", path),), found[position]) for path, found in sorted(counts.items())]
            yield Family(f"{manager}_{name}", GAUGE, help, samples)


class _Pace:
    """Keeps one round to so many bytes per second, by waiting behind steps that went too fast."""

    def __init__(self, bytes_per_second: float, clock: Clock, stopped: threading.Event) -> None:
        self._bytes_per_ms = bytes_per_second / SECOND_MS
        self._clock = clock
        self._stopped = stopped
        self._began_ms = clock.monotonic_ms()

    def keep(self, done_bytes: int) -> None:
        """Return when `done_bytes` since the beginning are within the pace, or the round is to stop."""
        if self._bytes_per_ms <= 0:
            return
        ahead_ms = done_bytes / self._bytes_per_ms - (self._clock.monotonic_ms() - self._began_ms)
        if ahead_ms >= 1:
            self._stopped.wait(ahead_ms / SECOND_MS)
