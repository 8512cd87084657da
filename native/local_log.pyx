"""A partition's log, for Python: every method that touches the disk releases the GIL for its whole work."""

import os

from libc.stdint cimport INT32_MAX, INT64_MAX, INT64_MIN, int16_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from pystream._native.atomics cimport atomic_count64, atomic_load32, atomic_load64, atomic_store32
from pystream._native.batch cimport BatchHeader, parse_batch_header, validate_batch
from pystream._native.compression cimport GZIP, LZ4, NO_CODEC, SNAPPY, ZSTD, level_of
from pystream._native.io_table cimport io_read_at
from pystream._native.leader_epochs cimport leader_epochs_latest
from pystream._native.log_flush cimport log_flush_all
from pystream._native.log_maintain cimport log_advance_start_offset, log_delete_segments, log_truncate_to
from pystream._native.log_recovery cimport load_log
from pystream._native.log_scrub cimport Scrub, log_scrub
from pystream._native.log_state cimport LogLimits, Segment, log_take_offline
from pystream._native.log_time cimport log_confirm_time_ranges, log_load_time_ranges
from pystream._native.log_write cimport log_roll
from pystream._native.offset_index cimport OFFSET_ENTRY_SIZE, TIME_ENTRY_SIZE
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.producer_state cimport (
    producers_as_list, producers_epoch, producers_expire, producers_may_write, producers_permit,
)
from pystream._native.segment cimport loaded_index_bytes, open_file_count, segment_close, set_open_file_limit
from pystream._native.status cimport OK, STORAGE_ERROR, raise_for_status

cdef enum:
    MAX_DELETED_AT_ONCE = 64

FLUSH_POLICIES = {"os": FLUSH_OS, "interval": FLUSH_INTERVAL, "group": FLUSH_GROUP, "write": FLUSH_WRITE}
CODECS = {"producer": AS_SENT, "uncompressed": NO_CODEC, "gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}
DEFAULTS = {
    "segment_bytes": 1 << 30,
    "segment_ms": 7 * 24 * 3600 * 1000,
    "segment_jitter_ms": 0,
    "index_interval_bytes": 4096,
    "segment_index_bytes": 10 << 20,
    "max_message_bytes": 1048588,
    "log_append_time": False,
    "require_keys": False,
    "codec": "producer",
    "codec_level": None,
    "timestamp_before_max_ms": INT64_MAX,
    "timestamp_after_max_ms": INT64_MAX,
    "preallocate": False,
    "flush_policy": "group",
}
RECOVERY_DEFAULTS = {
    "clean": False,
    "lossy": False,
    "recovery_point": 0,
    "log_start_offset": 0,
    "compacted": False,
    "trust_snapshots": True,
    "defer_sync": False,
    "newest_leader_epoch": INT32_MAX,
}


cdef bint log_may_write_transaction(LogState *log, int64_t producer_id, int16_t producer_epoch) noexcept nogil:
    cdef bint allowed
    pthread_mutex_lock(&log.mutex)
    allowed = producers_may_write(&log.producers, producer_id, producer_epoch)
    pthread_mutex_unlock(&log.mutex)
    return allowed


cdef Status log_permit_transaction(LogState *log, int64_t producer_id, int16_t producer_epoch) noexcept nogil:
    cdef Status status
    pthread_mutex_lock(&log.mutex)
    status = producers_permit(&log.producers, producer_id, producer_epoch)
    pthread_mutex_unlock(&log.mutex)
    return status


# ---------------------------------------------------------------------------------------------------------------------
# What other threads may read at any time

cdef int64_t log_start_offset(LogState *log) noexcept nogil:
    return atomic_load64(&log.start_offset)


cdef int64_t log_end_offset(LogState *log) noexcept nogil:
    return atomic_load64(&log.end_offset)


cdef int64_t log_durable_offset(LogState *log) noexcept nogil:
    return atomic_load64(&log.durable_offset)


cdef int64_t log_first_undecided_offset(LogState *log) noexcept nogil:
    return atomic_load64(&log.first_undecided_offset)


cdef FlushPolicy log_flush_policy(LogState *log) noexcept nogil:
    return <FlushPolicy> atomic_load32(<const int32_t *> &log.limits.flush_policy)


cdef int32_t log_max_message_bytes(LogState *log) noexcept nogil:
    return atomic_load32(&log.limits.max_message_bytes)


cdef bint log_requires_keys(LogState *log) noexcept nogil:
    return atomic_load32(<const int32_t *> &log.limits.require_keys) != 0


cdef int log_codec(LogState *log, int32_t *level) noexcept nogil:
    level[0] = atomic_load32(&log.limits.codec_level)
    return atomic_load32(&log.limits.codec)


cdef void log_timestamp_bounds(LogState *log, int64_t now_ms, int64_t *lowest, int64_t *highest) noexcept nogil:
    cdef int64_t before_ms = atomic_load64(&log.limits.timestamp_before_max_ms)
    cdef int64_t after_ms = atomic_load64(&log.limits.timestamp_after_max_ms)
    cdef bint given = not log_stamps_append_time(log)
    lowest[0] = now_ms - before_ms if given and before_ms != INT64_MAX else INT64_MIN
    highest[0] = now_ms + after_ms if given and after_ms < INT64_MAX - now_ms else INT64_MAX


cdef bint log_stamps_append_time(LogState *log) noexcept nogil:
    return atomic_load32(<const int32_t *> &log.limits.log_append_time) != 0


cdef int64_t log_segment_bytes(LogState *log) noexcept nogil:
    return atomic_load64(&log.limits.segment_bytes)


cdef bint log_is_offline(LogState *log) noexcept nogil:
    return atomic_load32(&log.offline) != OK


# ---------------------------------------------------------------------------------------------------------------------
# The face

cdef LogLimits make_limits(dict options) except *:
    cdef LogLimits limits
    limits.segment_bytes = options["segment_bytes"]
    limits.segment_ms = options["segment_ms"]
    limits.segment_jitter_ms = options["segment_jitter_ms"]
    limits.index_interval_bytes = options["index_interval_bytes"]
    limits.max_offset_entries = max(options["segment_index_bytes"] // OFFSET_ENTRY_SIZE, 1)
    limits.max_time_entries = max(options["segment_index_bytes"] // TIME_ENTRY_SIZE, 2)
    limits.max_message_bytes = options["max_message_bytes"]
    limits.log_append_time = options["log_append_time"]
    limits.require_keys = options["require_keys"]
    limits.codec = CODECS[options["codec"]]
    limits.codec_level = level_of(max(limits.codec, NO_CODEC), options["codec_level"])
    limits.timestamp_before_max_ms = options["timestamp_before_max_ms"]
    limits.timestamp_after_max_ms = options["timestamp_after_max_ms"]
    limits.preallocate = options["preallocate"]
    limits.flush_policy = FLUSH_POLICIES[options["flush_policy"]]
    if limits.segment_bytes < 1 or limits.segment_bytes > INT32_MAX or limits.index_interval_bytes < 0:
        raise ValueError(f"segment_bytes {limits.segment_bytes} and index_interval_bytes {limits.index_interval_bytes} are out of bounds")
    return limits


cdef dict take_options(dict given, dict known):
    """Moves the known options out of `given`; what it lacks has its default."""
    return {name: given.pop(name, default) for name, default in known.items()}


cdef Py_ssize_t count_batches(const uint8_t *data, Py_ssize_t size, int32_t maximum_size) except -1:
    cdef BatchHeader header
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t count = 0
    while position < size:
        raise_for_status(validate_batch(data + position, size - position, maximum_size, &header), position, "record batch")
        position += header.size
        count += 1
    return count


cdef class LocalLog:
    """One partition's log.  Opened by LocalLog.open(), never made directly; safe to use from several threads.

    `recovery` says what opening it found: scanned_bytes, cut_bytes, alarms, verdicts [(base offset, position, offset, file size,
    verdict)], damaged [(base offset, from position, to position or -1, offset there or -1)], clean, clean_refuted, recovery_point,
    snapshot_offset, ends_below_recovery_point.
    """

    def __dealloc__(self) -> None:
        if self.state != NULL:
            log_release(self.state)

    @staticmethod
    def open(directory: str, name: str = "", **options) -> LocalLog:
        """Opens `directory` (or directory/name), makes it when it is missing, and recovers what is in it.

        Settings: segment_bytes, segment_ms, segment_jitter_ms, index_interval_bytes, segment_index_bytes, max_message_bytes,
        log_append_time, preallocate, flush_policy (os, interval, group, write), require_keys, codec, codec_level,
        timestamp_before_max_ms, timestamp_after_max_ms.  Recovery: clean (the last stop was clean), lossy
        (a power loss may have come between), recovery_point and log_start_offset (checkpointed), compacted, trust_snapshots (False
        for a directory that somebody else wrote), newest_leader_epoch (that the controller has given to the partition: a batch of a
        later one, which no other batch and no file knows of, is damaged), defer_sync (what was checked is made durable by the
        caller's flush(), where recovery["unsynced"] says so, before anybody is told of it).  Raises TypeError for an unknown
        setting, OSError, KafkaError.
        """
        cdef LogLimits limits
        cdef LocalLog log = LocalLog.__new__(LocalLog)
        log.directory = os.path.join(directory, name) if name else directory
        limits = make_limits(take_options(options, DEFAULTS))
        chosen = take_options(options, RECOVERY_DEFAULTS)
        if options:
            raise TypeError(f"unknown settings of a log: {', '.join(sorted(options))}")
        os.makedirs(log.directory, exist_ok=True)
        log.recovery = {}
        log.state = load_log(log.directory, &limits, chosen, log.recovery)
        return log

    @property
    def start_offset(self) -> int:
        """First offset that can be read."""
        return log_start_offset(self.state)

    @property
    def end_offset(self) -> int:
        """Offset of the next record."""
        return log_end_offset(self.state)

    @property
    def durable_offset(self) -> int:
        """Every record below it is fsynced."""
        return log_durable_offset(self.state)

    @property
    def recovery_point(self) -> int:
        """Every record below it is fsynced, and so are the side files of rolled segments."""
        return atomic_load64(&self.state.recovery_point)

    @property
    def first_undecided_offset(self) -> int | None:
        """First offset of the oldest open transaction; None when there is none."""
        cdef int64_t offset = log_first_undecided_offset(self.state)
        return None if offset == INT64_MAX else offset

    @property
    def latest_leader_epoch(self) -> int:
        """Highest leader epoch in the log, -1 in an empty one; appends below it are refused."""
        cdef int32_t epoch
        pthread_mutex_lock(&self.state.mutex)
        epoch = leader_epochs_latest(&self.state.epochs)
        pthread_mutex_unlock(&self.state.mutex)
        return epoch

    @property
    def leader_epochs(self) -> list:
        """[(epoch, start offset), ...], oldest first."""
        pthread_mutex_lock(&self.state.mutex)
        entries = [
            (self.state.epochs.entries[slot].epoch, self.state.epochs.entries[slot].start_offset)
            for slot in range(self.state.epochs.count)
        ]
        pthread_mutex_unlock(&self.state.mutex)
        return entries

    @property
    def is_offline(self) -> bool:
        """True once the log refuses writes: an fsync failed, or recovery found damage."""
        return log_is_offline(self.state)

    @property
    def offline_reason(self) -> int:
        """Status that took the log offline (native/status.pyx): 31 a failed system call, 34 damage; 0 while it takes writes."""
        return atomic_load32(&self.state.offline)

    @property
    def segment_count(self) -> int:
        """Segments, the active one included."""
        return self.state.segment_count

    @property
    def last_errno(self) -> int:
        """Of the last system call that failed on this log; 0 when none did."""
        return self.state.last_errno

    def take_read_errors(self) -> int:
        """How many reads the disk has failed since this was last asked."""
        cdef int64_t count = atomic_load64(&self.state.read_errors)
        atomic_count64(&self.state.read_errors, -count)
        return count

    @property
    def size_bytes(self) -> int:
        """Bytes of record batches in all segments."""
        cdef int64_t total = 0
        cdef int32_t slot
        pthread_mutex_lock(&self.state.mutex)
        for slot in range(self.state.segment_count):
            total += self.state.segments[slot].size
        pthread_mutex_unlock(&self.state.mutex)
        return total

    @property
    def unflushed(self) -> tuple:
        """(records appended since the last flush, when the first of them was appended or -1): what flush.messages and flush.ms ask."""
        return self.state.appended_since_flush, self.state.oldest_unflushed_ms

    @property
    def has_unsynced_files(self) -> bool:
        """True while a flush has something to do."""
        return self.state.recovery_point < self.state.end_offset

    def append(
        self, batches: bytes, *, leader_epoch: int = 0, now_ms: int = -1, from_client: bool = False, transaction_version: int = 0,
    ) -> list:
        """Appends whole record batches, one behind the other; their base offsets and epochs are stamped on a copy.

        from_client: transactional batches need an open transaction or a permit.  transaction_version: of the control batches' coordinator.

        Gives per batch (status, base offset, LogAppendTime or -1): status 0 is OK, 20 a duplicate answered with its old offset, others as
        native/status.pyx lists them.  Raises when the bytes are not valid batches, and when the log takes nothing at all.
        """
        cdef Py_ssize_t size = len(batches)
        cdef const uint8_t *given = batches
        cdef Py_ssize_t count = count_batches(given, size, log_max_message_bytes(self.state))
        cdef uint8_t *data = <uint8_t *> malloc(size + 1)
        cdef StagedBatch *staged = <StagedBatch *> malloc((count + 1) * sizeof(StagedBatch))
        cdef Py_ssize_t position = 0
        cdef Py_ssize_t number
        cdef int32_t epoch = leader_epoch
        cdef int64_t now = now_ms
        cdef Status status
        try:
            if data == NULL or staged == NULL:
                raise MemoryError
            memcpy(data, given, size)
            for number in range(count):
                staged[number].data = data + position
                staged[number].from_client = from_client
                staged[number].transaction_version = transaction_version
                parse_batch_header(data + position, size - position, &staged[number].header)
                position += staged[number].header.size
            with nogil:
                status = log_append(self.state, staged, count, epoch, now)
            raise_for_status(status, 0, self.directory)
            return [(<int> staged[number].status, staged[number].base_offset, staged[number].append_time_ms) for number in range(count)]
        finally:
            free(data)
            free(staged)

    def read(self, *, offset: int, max_bytes: int = 1 << 20, at_least_one: bool = True, limit_offset: int = INT64_MAX) -> bytes:
        """Whole batches from the one that holds `offset` on, of one segment; b"" at the end.  Raises OffsetOutOfRange outside."""
        cdef ReadResult result
        cdef int64_t from_offset = offset
        cdef int64_t limit = limit_offset
        cdef int64_t most = max_bytes
        cdef bint first = at_least_one
        cdef Status status
        cdef Py_ssize_t got = 0
        with nogil:
            status = log_read(self.state, from_offset, limit, most, first, &result)
        raise_for_status(status, 0, f"{self.directory}: offset {offset}")
        if result.range.file == NULL:
            return b""
        data = bytearray(result.range.size)
        cdef uint8_t[::1] view = data
        with nogil:
            got = io_read_at(result.range.fd, &view[0], result.range.size, result.range.position)
            segment_file_release(result.range.file)
        if got != result.range.size:
            raise_for_status(STORAGE_ERROR, 0, f"{self.directory}: offset {offset}")
        return bytes(data)

    def read_range(self, *, offset: int, max_bytes: int = 1 << 20, at_least_one: bool = True, limit_offset: int = INT64_MAX) -> tuple:
        """(position, size, first offset, next offset) of what read() would give; position counts in the segment's file."""
        cdef ReadResult result
        cdef int64_t from_offset = offset
        cdef int64_t limit = limit_offset
        cdef int64_t most = max_bytes
        cdef bint first = at_least_one
        cdef Status status
        with nogil:
            status = log_read(self.state, from_offset, limit, most, first, &result)
        raise_for_status(status, 0, f"{self.directory}: offset {offset}")
        if result.range.file != NULL:
            segment_file_release(result.range.file)
        return result.range.position, result.range.size, result.first_offset, result.next_offset

    def offset_for_timestamp(self, timestamp_ms: int, *, limit_offset: int = INT64_MAX) -> tuple | None:
        """(timestamp, offset, leader epoch) of the first record at or after `timestamp_ms`; None when there is none."""
        cdef TimestampOffset found
        cdef int64_t wanted = timestamp_ms
        cdef int64_t limit = limit_offset
        cdef Status status
        with nogil:
            status = log_offset_for_timestamp(self.state, wanted, limit, &found)
        raise_for_status(status, 0, self.directory)
        return None if found.offset < 0 else (found.timestamp_ms, found.offset, found.leader_epoch)

    def offset_of_max_timestamp(self, *, limit_offset: int = INT64_MAX) -> tuple | None:
        """(timestamp, offset, leader epoch) of the first record with the highest timestamp; None in an empty log."""
        cdef TimestampOffset found
        cdef int64_t limit = limit_offset
        cdef Status status
        with nogil:
            status = log_offset_of_max_timestamp(self.state, limit, &found)
        raise_for_status(status, 0, self.directory)
        return None if found.offset < 0 else (found.timestamp_ms, found.offset, found.leader_epoch)

    def end_offset_for_epoch(self, leader_epoch: int) -> tuple:
        """(largest epoch <= leader_epoch, its end offset), or (-1, -1) when the log knows of none (KIP-101, KIP-320)."""
        cdef int32_t found = -1
        cdef int64_t end_offset = -1
        log_end_offset_for_epoch(self.state, leader_epoch, &found, &end_offset)
        return found, end_offset

    def epoch_of_offset(self, offset: int) -> int:
        """Leader epoch that `offset` was written under; -1 when it is not known."""
        return log_epoch_of_offset(self.state, offset)

    def segments(self) -> list:
        """[(base offset, next offset, size in bytes, max timestamp or -1), ...], oldest first; the last one is active."""
        cdef Segment *segment
        cdef int32_t slot
        cdef Status status
        cdef list found = []
        with nogil:
            status = log_load_time_ranges(self.state)
        raise_for_status(status, 0, self.directory)
        pthread_mutex_lock(&self.state.mutex)
        for slot in range(self.state.segment_count):
            segment = self.state.segments[slot]
            found.append((segment.base_offset, segment.next_offset, segment.size, segment.max_timestamp))
        pthread_mutex_unlock(&self.state.mutex)
        return found

    def confirm_times(self, before_offset: int) -> bool:
        """Holds max timestamps of segments that end at or before the offset against the log; False when segments() has told wrong ones.

        They are right from then on.  It reads little, unless one is wrong: before a segment is deleted for its age.
        """
        cdef int64_t before = before_offset
        cdef bint wrong = False
        cdef Status status
        with nogil:
            status = log_confirm_time_ranges(self.state, before, &wrong)
        raise_for_status(status, 0, self.directory)
        return not wrong

    def aborted_transactions(self, *, offset: int, limit_offset: int) -> list:
        """[(producer id, first offset)] of aborted transactions that a reader of [offset, limit_offset) must know."""
        cdef Segment *segment
        cdef int32_t slot
        cdef int32_t number
        cdef int64_t from_offset = offset
        cdef int64_t limit = limit_offset
        cdef list found = []
        pthread_mutex_lock(&self.state.mutex)
        for slot in range(self.state.segment_count):
            segment = self.state.segments[slot]
            for number in range(segment.aborted.count):
                if segment.aborted.entries[number].last_offset >= from_offset and segment.aborted.entries[number].first_offset < limit:
                    found.append((segment.aborted.entries[number].producer_id, segment.aborted.entries[number].first_offset))
        pthread_mutex_unlock(&self.state.mutex)
        return found

    def producers(self) -> list:
        """What the log remembers of its producers: tuples as decode_producer_snapshot() gives them."""
        pthread_mutex_lock(&self.state.mutex)
        found = producers_as_list(&self.state.producers)
        pthread_mutex_unlock(&self.state.mutex)
        return found

    def producer_epoch(self, producer_id: int) -> int:
        """The epoch below which the producer is fenced; -1 when the log does not know it."""
        cdef int64_t producer = producer_id
        cdef int16_t found
        with nogil:
            pthread_mutex_lock(&self.state.mutex)
            found = producers_epoch(&self.state.producers, producer)
            pthread_mutex_unlock(&self.state.mutex)
        return found

    def permit_transaction(self, producer_id: int, producer_epoch: int) -> None:
        """Lets a client's batch of this producer and epoch open a transaction, unless a marker of the producer comes first."""
        cdef int64_t producer = producer_id
        cdef int16_t epoch = producer_epoch
        cdef Status status
        with nogil:
            status = log_permit_transaction(self.state, producer, epoch)
        raise_for_status(status, 0, self.directory)

    def expire_producers(self, oldest_timestamp_ms: int) -> None:
        """Forgets producers that wrote nothing since then and have no open transaction."""
        cdef int64_t oldest = oldest_timestamp_ms
        with nogil:
            pthread_mutex_lock(&self.state.mutex)
            producers_expire(&self.state.producers, oldest)
            pthread_mutex_unlock(&self.state.mutex)

    def roll(self) -> None:
        """Begins a new segment at the log end, unless the active one is empty."""
        cdef Status status
        with nogil:
            status = log_roll(self.state)
        raise_for_status(status, 0, self.directory)

    def flush(self) -> None:
        """Fsyncs what was appended.  Raises KafkaStorageError when that fails; the log is offline from then on."""
        cdef Status status
        with nogil:
            status = log_flush(self.state)
        raise_for_status(status, 0, self.directory)

    def truncate_to(self, offset: int) -> None:
        """Drops every batch that ends after `offset`; the log then ends at or before it.

            [10..19][20..34][35..40]  truncate_to(35) -> [10..19][20..34]
                                      truncate_to(30) -> [10..19]            a batch is never cut in two

        The start offset comes down with the end where it lies inside a batch that goes: its checkpoint must follow before the next append.
        Raises OffsetOutOfRange below the start offset.  Crash-safe: indexes are cut before the log.  Source: KIP-101.
        """
        cdef int64_t to_offset = offset
        cdef Status status
        with nogil:
            status = log_truncate_to(self.state, to_offset)
        raise_for_status(status, 0, f"{self.directory}: offset {offset}")

    def advance_start_offset(self, offset: int) -> None:
        """Moves the start offset up, in memory.  Raises OffsetOutOfRange past the end."""
        raise_for_status(log_advance_start_offset(self.state, offset), 0, f"{self.directory}: offset {offset}")

    def delete_segments_before(self, offset: int) -> list:
        """Takes segments that end at or before `offset` out of the log, never the active one; gives their base offsets.

        Their files are renamed to *.deleted; unlink_deleted() removes them.
        """
        cdef int64_t bases[MAX_DELETED_AT_ONCE]
        cdef int32_t count = MAX_DELETED_AT_ONCE
        cdef int64_t limit = offset
        cdef Status status = OK
        cdef list deleted = []
        while count == MAX_DELETED_AT_ONCE:
            with nogil:
                status = log_delete_segments(self.state, limit, MAX_DELETED_AT_ONCE, bases, &count)
            raise_for_status(status, 0, self.directory)
            deleted.extend([bases[number] for number in range(count)])
        return deleted

    def update_config(self, **options) -> None:
        """Puts new settings in force at once: names and defaults as in open()."""
        cdef LogLimits limits = make_limits(take_options(options, DEFAULTS))
        if options:
            raise TypeError(f"unknown settings of a log: {', '.join(sorted(options))}")
        pthread_mutex_lock(&self.state.mutex)
        self.state.limits = limits
        pthread_mutex_unlock(&self.state.mutex)

    def refuse_appends(self, refuse: bool) -> None:
        """Answers appends with NO_SPACE while the disk is too full; everything else goes on."""
        atomic_store32(&self.state.refusing, refuse)

    def scrub(self, base_offset: int, *, position: int, next_offset: int, max_bytes: int) -> tuple:
        """Checks about `max_bytes` of the closed segment `base_offset`: (next position, next offset, done, damage or None).

        Begin with position 0 and next_offset = base_offset.  Damage is (from position, to position or -1, offset there or -1); the log has
        gone offline with it, as when recovery finds some.  Raises KafkaStorageError when the file cannot be read.
        """
        cdef Scrub scrub
        cdef int64_t base = base_offset
        cdef int64_t most = max_bytes
        cdef Status status
        scrub.position = position
        scrub.next_offset = next_offset
        with nogil:
            status = log_scrub(self.state, base, most, &scrub)
        raise_for_status(status, 0, f"{self.directory}: segment {base_offset}")
        damage = None if scrub.damaged_from < 0 else (scrub.damaged_from, scrub.damaged_to, scrub.damaged_to_offset)
        return scrub.position, scrub.next_offset, bool(scrub.done), damage

    def freeze(self) -> None:
        """Refuses appends, truncation and deletion from now on, so that a copy of the files stays true; reads and flushes go on.

        None of them is under way when it returns.  Raises NotLeaderOrFollower where one is tried.
        """
        self.set_frozen(True)

    def thaw(self) -> None:
        """Takes freeze() back: the copy is not wanted."""
        self.set_frozen(False)

    cdef void set_frozen(self, bint frozen) noexcept:
        with nogil:
            pthread_mutex_lock(&self.state.flush_mutex)      # held by who renames segments
            pthread_mutex_lock(&self.state.mutex)
            self.state.frozen = frozen
            pthread_mutex_unlock(&self.state.mutex)
            pthread_mutex_unlock(&self.state.flush_mutex)

    def take_offline(self) -> None:
        """Refuses writes from now on: the disk below is lost."""
        log_take_offline(self.state, STORAGE_ERROR, 0)

    def close(self, clean: bool = True) -> None:
        """Ends all writing.  `clean` first makes everything durable, with indexes and a producer snapshot at the log end.

        A reader that still sends from a file keeps it open.  Raises KafkaStorageError when the flush fails; the log is closed all the same.
        """
        cdef Status status = OK
        cdef bint flush = clean
        cdef int32_t slot
        with nogil:
            if flush and atomic_load32(&self.state.offline) == OK and not self.state.closed:
                status = log_flush_all(self.state)
            pthread_mutex_lock(&self.state.flush_mutex)
            pthread_mutex_lock(&self.state.mutex)
            self.state.closed = True
            for slot in range(self.state.segment_count):
                segment_close(self.state.segments[slot])
            pthread_mutex_unlock(&self.state.mutex)
            pthread_mutex_unlock(&self.state.flush_mutex)
        raise_for_status(status, 0, self.directory)


def limit_open_files(limit: int) -> None:
    """How many segment files the process keeps open; those with unsynced bytes stay open beyond it."""
    set_open_file_limit(limit)


def open_files() -> int:
    """Segment files that are open now."""
    return open_file_count()


def index_bytes() -> int:
    """Memory that the indexes of sealed segments take now; where it is too much, files are closed and theirs go."""
    return loaded_index_bytes()
