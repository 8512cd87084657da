"""One round of compaction of one log, in steps that a scheduler can count, slow down and stop (see the .pxd)."""

import os

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memmove, memset
from posix.fcntl cimport O_CREAT, O_RDWR, O_TRUNC

from pystream._native.atomics cimport atomic_load32
from pystream._native.batch cimport BATCH_HEADER_SIZE, CONTROL_FLAG, NO_PRODUCER_ID, BatchHeader, check_batch_crc, parse_batch_header
from pystream._native.buffer cimport output_clear, output_free, output_init, write_raw
from pystream._native.clean_batch cimport BatchVerdict, batch_cleaner_free, batch_cleaner_init, clean_batch, map_batch
from pystream._native.clean_transactions cimport (
    is_last_batch, last_batches_free, last_batches_of, transactions_add_aborted, transactions_begin, transactions_free,
    transactions_init, transactions_pass_data, transactions_pass_marker,
)
from pystream._native.io_table cimport io_open, io_read_at, io_status, io_sync, io_sync_data, io_unlink, io_write_at, iovec
from pystream._native.local_log cimport log_release, log_retain
from pystream._native.log_state cimport MAX_PATH_SIZE, log_segment_slot
from pystream._native.log_swap cimport log_swap_segments
from pystream._native.offset_map cimport offset_map_free, offset_map_init
from pystream._native.posix cimport close, pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.segment cimport (
    segment_file_release, segment_file_retain, segment_find_position, segment_free, segment_new, segment_note_batch,
    segment_open, segment_path,
)
from pystream._native.status cimport (
    BUSY, CLOSED, CORRUPT_BATCH, DAMAGED, LIMIT_EXCEEDED, LOG_OFFLINE, NOT_FOUND, OK, OUT_OF_MEMORY, STORAGE_ERROR,
    UNSUPPORTED_MAGIC, raise_for_status,
)
from pystream._native.txn_index cimport AbortedTransaction, txn_index_append

cdef enum:
    CURRENT_MAGIC = 2
    LARGEST_GROUP = 64               # segments: the renames of a swap are counted in hundreds, not in thousands
    SYNC_EVERY = 32 << 20            # bytes: written back little by little, no flush of the log waits for a gigabyte
    STEP_BYTES = 4 << 20
    BUFFER_BYTES = 256 << 10


# ---------------------------------------------------------------------------------------------------------------------
# Reading

cdef void source_close(Source *source) noexcept nogil:
    if source.file != NULL:
        segment_file_release(source.file)
        source.file = NULL


cdef Status source_open(LogState *log, Source *source, const SegmentRef *ref, int64_t from_offset) noexcept nogil:
    """Holds the segment's file and stands at, or not far before, the batch of `from_offset`.  BUSY: it is not there any more."""
    cdef Segment *segment
    cdef int32_t slot
    cdef Status status
    source_close(source)
    pthread_mutex_lock(&log.mutex)
    slot = log_segment_slot(log, ref.base_offset)
    segment = log.segments[slot] if slot >= 0 else NULL
    if log.closed:
        status = CLOSED
    elif segment == NULL or segment.base_offset != ref.base_offset or segment.size != ref.size:
        status = BUSY
    elif segment.damaged_from >= 0:
        status = DAMAGED
    else:
        status = segment_open(log, segment)
    source.position = 0
    if status == OK and from_offset > ref.base_offset:
        status = segment_find_position(log, segment, from_offset, &source.position)
    if status == OK:
        source.file = segment.file
        segment_file_retain(source.file)
    pthread_mutex_unlock(&log.mutex)
    source.segment = ref[0]
    source.next_offset = ref.base_offset
    source.buffer_position = source.buffer_size = 0
    return status


cdef Status source_fill(LogState *log, Source *source, Py_ssize_t size) noexcept nogil:
    """Makes `size` bytes at the position lie in the buffer."""
    cdef Py_ssize_t kept = <Py_ssize_t> (source.buffer_position + source.buffer_size - source.position)
    cdef int64_t left
    cdef Py_ssize_t got
    cdef uint8_t *larger
    if source.position < source.buffer_position or kept < 0:
        kept = 0
    if kept >= size:
        return OK
    if source.position + size > source.segment.size:
        return DAMAGED
    if kept > 0:
        memmove(source.buffer, source.buffer + (source.position - source.buffer_position), kept)
    source.buffer_position = source.position
    source.buffer_size = kept
    if size > source.capacity:
        larger = <uint8_t *> realloc(source.buffer, size)
        if larger == NULL:
            return OUT_OF_MEMORY
        source.buffer = larger
        source.capacity = size
    left = source.segment.size - source.position - kept
    if left > source.capacity - kept:
        left = source.capacity - kept
    got = io_read_at(source.file.fd, source.buffer + kept, <Py_ssize_t> left, source.position + kept)
    if got < 0:
        log.last_errno = <int> -got
        return STORAGE_ERROR
    source.buffer_size = kept + got
    return OK if source.buffer_size >= size else DAMAGED


cdef Status source_next(LogState *log, Source *source, const uint8_t **data, BatchHeader *header) noexcept nogil:
    """The next batch, whole and checked; NOT_FOUND at the segment's end."""
    cdef Status status
    if source.position == source.segment.size:
        return NOT_FOUND
    status = source_fill(log, source, BATCH_HEADER_SIZE)
    if status != OK:
        return status
    status = parse_batch_header(source.buffer + (source.position - source.buffer_position), BATCH_HEADER_SIZE, header)
    if status != OK:
        return status
    if header.magic != CURRENT_MAGIC:
        return UNSUPPORTED_MAGIC
    if header.base_offset < source.next_offset or header.last_offset_delta < 0 or header.record_count < 0:
        return CORRUPT_BATCH
    if header.base_offset > source.segment.next_offset - header.last_offset_delta - 1:
        return CORRUPT_BATCH
    if header.record_count == 0 and header.size > BATCH_HEADER_SIZE:
        return CORRUPT_BATCH                                 # compaction leaves nothing behind an empty header
    status = source_fill(log, source, header.size)
    if status != OK:
        return status
    data[0] = source.buffer + (source.position - source.buffer_position)
    status = check_batch_crc(data[0], header)
    if status == OK:
        source.position += header.size
        source.next_offset = header.base_offset + header.last_offset_delta + 1
    return status


# ---------------------------------------------------------------------------------------------------------------------
# Writing

cdef Status target_write_out(LogState *log, Target *target) noexcept nogil:
    cdef iovec part
    cdef int error
    if target.waiting.size == 0:
        return OK
    part.iov_base = target.waiting.data
    part.iov_len = target.waiting.size
    error = io_write_at(target.fd, &part, 1, target.written)
    target.written += target.waiting.size
    target.unsynced += target.waiting.size
    output_clear(&target.waiting)
    if error == 0 and target.unsynced >= SYNC_EVERY:
        error = io_sync_data(target.fd)
        target.unsynced = 0
    if error != 0:
        log.last_errno = error
    return io_status(error)


cdef Status target_add(LogState *log, Target *target, const uint8_t *batch, Py_ssize_t size, Py_ssize_t buffer_bytes) noexcept nogil:
    cdef BatchHeader header
    cdef int64_t position = target.written + target.waiting.size
    cdef Status status = parse_batch_header(batch, size, &header)
    if status == OK and position + size > INT32_MAX:
        status = LIMIT_EXCEEDED                              # compressing once more made it larger than a segment may be
    if status == OK:
        status = segment_note_batch(target.segment, &header, header.base_offset, position, log.limits.index_interval_bytes)
    if status == OK:
        write_raw(&target.waiting, batch, size)
        status = target.waiting.status
    if status == OK and target.waiting.size >= buffer_bytes:
        status = target_write_out(log, target)
    return status


cdef int by_last_offset(const void *left, const void *right) noexcept nogil:
    cdef int64_t first = (<const AbortedTransaction *> left).last_offset
    cdef int64_t second = (<const AbortedTransaction *> right).last_offset
    return (first > second) - (first < second)


# ---------------------------------------------------------------------------------------------------------------------
# The round

cdef class LogCleaning:
    """One round: map() until it is True, then clean() until it is True, then close(), which is also due after a failure.

    Both raise CorruptRecordBatch, MalformedInput, LogDamaged and others of KafkaError for a log that cannot be cleaned,
    Busy when the log was truncated or deleted from meanwhile, Closed, LogOffline, NoSpace, KafkaStorageError. What was
    swapped in before stays; the rest of the log is as it was.
    """

    def __cinit__(
            self, LocalLog log not None, *, int64_t first_dirty_offset, int64_t bound, int64_t map_bytes, int64_t now_ms,
            int64_t delete_retention_ms=24 * 3600 * 1000, double load_factor=0.9, Py_ssize_t buffer_bytes=BUFFER_BYTES):
        """`bound`: nothing at or above it is looked at; it lies at or below the last stable offset."""
        cdef uint64_t first_secret = int.from_bytes(os.urandom(8), "big")
        cdef uint64_t second_secret = int.from_bytes(os.urandom(8), "big")
        cdef int64_t keys = max(bound - first_dirty_offset, 1)
        cdef Status status
        if not 0 < load_factor <= 1 or buffer_bytes < 1:
            raise ValueError(f"load factor {load_factor} or buffer of {buffer_bytes} bytes out of bounds")
        self.owner = log
        self.log = log.state
        log_retain(self.log)
        self.target.fd = -1
        self.first_dirty_offset = first_dirty_offset
        self.bound = bound
        self.buffer_bytes = max(buffer_bytes, <Py_ssize_t> BATCH_HEADER_SIZE)
        output_init(&self.target.waiting, 0)
        transactions_init(&self.transactions)
        batch_cleaner_init(&self.cleaner, &self.offsets, now_ms, delete_retention_ms)
        with nogil:
            status = offset_map_init(&self.offsets, keys, map_bytes, load_factor, first_secret, second_secret)
            if status == OK:
                status = self.take_segments()
        self.source.capacity = self.buffer_bytes
        self.source.buffer = <uint8_t *> malloc(self.source.capacity)
        if status == OK and self.source.buffer == NULL:
            status = OUT_OF_MEMORY
        raise_for_status(status, 0, log.directory)

    def __dealloc__(self):
        self.close()
        if self.log != NULL:
            log_release(self.log)
            self.log = NULL
        free(self.segments)
        free(self.replaced)

    cdef Status take_segments(self) noexcept nogil:
        """What the log is now: its sealed segments, aborted transactions and producers."""
        cdef LogState *log = self.log
        cdef Segment *segment
        cdef int32_t slot
        cdef Status status = OK
        pthread_mutex_lock(&log.mutex)
        self.truncations = log.truncations
        self.segments = <SegmentRef *> malloc((log.segment_count + 1) * sizeof(SegmentRef))
        self.replaced = <uint8_t *> calloc(log.segment_count + 1, 1)
        if self.segments == NULL or self.replaced == NULL:
            status = OUT_OF_MEMORY
        for slot in range(log.segment_count):
            segment = log.segments[slot]
            if status == OK and segment.sealed and not segment.unsynced and segment.base_offset < self.bound:
                self.segments[self.segment_count].base_offset = segment.base_offset
                self.segments[self.segment_count].next_offset = segment.next_offset
                self.segments[self.segment_count].size = segment.size
                self.segment_count += 1
            elif slot < log.segment_count and self.bound > segment.base_offset:
                self.bound = segment.base_offset
            if status == OK:
                status = transactions_add_aborted(&self.transactions, &segment.aborted)
        if status == OK:
            status = last_batches_of(&self.last_batches, &log.producers)
        pthread_mutex_unlock(&log.mutex)
        transactions_begin(&self.transactions)
        self.offsets.latest_offset = self.first_dirty_offset - 1
        while self.next_segment < self.segment_count and self.segments[self.next_segment].next_offset <= self.first_dirty_offset:
            self.next_segment += 1
        return status

    cdef object fail(self, Status status):
        """End the round, and say where it was."""
        position = self.source.position
        self.close()
        raise_for_status(status, position, f"{self.owner.directory}: segment {self.source.segment.base_offset}")

    def map(self, int64_t most_bytes=STEP_BYTES):
        """Reads about `most_bytes` of the dirty part; True when it is mapped, or the map is full."""
        cdef Status status
        if self.stage == ENDED:
            raise_for_status(CLOSED, 0, self.owner.directory)
        if self.stage != MAPPING:
            return True
        with nogil:
            status = self.map_step(most_bytes)
        if status == OK:
            return False
        if status != NOT_FOUND:
            self.fail(status)
        source_close(&self.source)
        transactions_begin(&self.transactions)
        self.next_segment = self.group_first = self.group_end = 0
        while self.segment_count > 0 and self.segments[self.segment_count - 1].base_offset >= self.end_offset:
            self.segment_count -= 1
        if self.end_offset <= self.first_dirty_offset and self.map_full:
            self.close()
            what = f"{self.owner.directory}: one batch has more keys than log.cleaner.dedupe.buffer.size has room for"
            raise_for_status(LIMIT_EXCEEDED, 0, what)
        self.stage = CLEANING if self.end_offset > self.first_dirty_offset else CLEANED
        return True

    cdef Status map_step(self, int64_t most_bytes) noexcept nogil:
        """OK: there is more to do; NOT_FOUND: the map is as full as it will be."""
        cdef const uint8_t *data = NULL
        cdef BatchHeader header
        cdef AbortedTransaction kept
        cdef bint discard = False
        cdef int64_t limit = self.bytes_mapped + most_bytes
        cdef Status status = OK
        while status == OK and self.bytes_mapped < limit:
            if self.source.file == NULL:
                if self.next_segment == self.segment_count:
                    return NOT_FOUND
                status = source_open(self.log, &self.source, &self.segments[self.next_segment], self.first_dirty_offset)
                if status != OK:
                    return status
                self.next_segment += 1
            status = source_next(self.log, &self.source, &data, &header)
            if status == NOT_FOUND:
                self.offsets.latest_offset = self.source.segment.next_offset - 1
                source_close(&self.source)
                status = OK
                continue
            if status != OK:
                return status
            self.bytes_mapped += header.size
            if header.base_offset + header.last_offset_delta >= self.bound:
                return NOT_FOUND
            if header.base_offset + header.last_offset_delta < self.first_dirty_offset:
                continue
            if header.attributes & CONTROL_FLAG:
                status = transactions_pass_marker(&self.transactions, &header, data, &discard, &kept)
            else:
                status = transactions_pass_data(&self.transactions, &header, &discard)
                if status == OK and not discard:
                    status = map_batch(&self.offsets, &self.cleaner.cursor, data, &header, self.first_dirty_offset)
            if status == BUSY:
                self.map_full = True
                return NOT_FOUND
            if status == OK:
                self.offsets.latest_offset = header.base_offset + header.last_offset_delta
        return status

    def clean(self, int64_t most_bytes=STEP_BYTES):
        """Cleans about `most_bytes` and swaps what is ready; True when all is done."""
        cdef Status status
        if self.stage == ENDED or self.stage == MAPPING:
            raise_for_status(CLOSED, 0, self.owner.directory)
        if self.stage == CLEANED:
            return True
        with nogil:
            status = self.clean_step(most_bytes)
        if status == OK:
            return False
        if status != NOT_FOUND:
            self.fail(status)
        self.stage = CLEANED
        return True

    cdef Status clean_step(self, int64_t most_bytes) noexcept nogil:
        """OK: there is more to do; NOT_FOUND: all groups are done."""
        cdef int64_t limit = self.bytes_read + most_bytes
        cdef Status status = OK
        while status == OK and self.bytes_read < limit:
            if self.target.fd < 0:
                if self.group_end == self.segment_count:
                    return NOT_FOUND
                status = self.begin_group()
            elif self.source.file == NULL and self.next_segment == self.group_end:
                status = self.finish_group()
            elif self.source.file == NULL:
                status = source_open(self.log, &self.source, &self.segments[self.next_segment], 0)
                if status == OK:
                    self.next_segment += 1
            else:
                status = self.clean_one()
                if status == NOT_FOUND:
                    source_close(&self.source)
                    status = OK
        return status

    cdef Status begin_group(self) noexcept nogil:
        """As many segments as fit into one, one at least.  Kafka counts their sizes before they are cleaned, and so do we."""
        cdef char path[MAX_PATH_SIZE]
        cdef int64_t size
        cdef int32_t last
        self.group_first = self.next_segment = self.group_end
        size = self.segments[self.group_first].size
        self.group_end += 1
        while self.group_end < self.segment_count and self.group_end - self.group_first < LARGEST_GROUP:
            last = self.group_end
            size += self.segments[last].size
            if size > self.log.limits.segment_bytes:
                break
            if self.segments[last].next_offset - self.segments[self.group_first].base_offset > INT32_MAX:
                break
            self.group_end += 1
        self.target.segment = segment_new(self.segments[self.group_first].base_offset)
        if self.target.segment == NULL:
            return OUT_OF_MEMORY
        self.target.changed = self.group_end - self.group_first > 1
        self.target.written = self.target.unsynced = 0
        output_clear(&self.target.waiting)
        segment_path(self.log, self.target.segment.base_offset, b".log.cleaned", path)
        self.target.fd = io_open(path, O_RDWR | O_CREAT | O_TRUNC)
        if self.target.fd < 0:
            self.log.last_errno = -self.target.fd
            return io_status(-self.target.fd)
        return OK

    cdef Status clean_one(self) noexcept nogil:
        """Passes one batch; NOT_FOUND at the end of its segment."""
        cdef const uint8_t *data = NULL
        cdef const uint8_t *result = NULL
        cdef Py_ssize_t size = 0
        cdef BatchHeader header
        cdef BatchVerdict verdict
        cdef AbortedTransaction kept
        cdef Status status = source_next(self.log, &self.source, &data, &header)
        if status != OK:
            return status
        self.bytes_read += header.size
        if header.base_offset > self.offsets.latest_offset:
            return target_add(self.log, &self.target, data, header.size, self.buffer_bytes)
        if header.attributes & CONTROL_FLAG:
            status = transactions_pass_marker(&self.transactions, &header, data, &verdict.discard, &kept)
            if status == OK and kept.producer_id != NO_PRODUCER_ID:
                status = txn_index_append(&self.target.segment.aborted, &kept)
        else:
            status = transactions_pass_data(&self.transactions, &header, &verdict.discard)
        # The group's last batch stays too, so that its file tells up to where it stands for those it replaces.
        verdict.keep_header = is_last_batch(&self.last_batches, &header) or (
            self.next_segment == self.group_end and self.source.position == self.source.segment.size)
        if status == OK:
            status = clean_batch(&self.cleaner, data, &header, &verdict, &result, &size)
        if status != OK:
            return status
        self.target.changed = self.target.changed or result != data or size == 0
        return target_add(self.log, &self.target, result, size, self.buffer_bytes) if size > 0 else OK

    cdef Status finish_group(self) noexcept nogil:
        """Makes the file durable and swaps it in, unless it is what was there."""
        cdef Segment *segment = self.target.segment
        cdef int64_t end_offset = self.segments[self.group_end - 1].next_offset
        cdef int32_t count = self.group_end - self.group_first
        cdef int32_t slot
        cdef int error
        cdef Status status = OK
        if not self.target.changed:
            self.drop_target()
            return OK
        status = target_write_out(self.log, &self.target)
        for slot in range(self.transactions.aborted_count):
            if status == OK and self.offsets.latest_offset < self.transactions.aborted[slot].last_offset < end_offset:
                if self.transactions.aborted[slot].last_offset >= segment.base_offset:
                    status = txn_index_append(&segment.aborted, &self.transactions.aborted[slot])
        if segment.aborted.count > 1:
            qsort(segment.aborted.entries, segment.aborted.count, sizeof(AbortedTransaction), by_last_offset)
        segment.aborted_stored = segment.aborted.count
        if status != OK:
            return status
        error = io_sync(self.target.fd)
        if error != 0:
            self.log.last_errno = error
            return io_status(error)
        segment.next_offset = end_offset
        segment.exists = segment.sealed = True
        status = log_swap_segments(
            self.log, segment, self.target.fd, &self.segments[self.group_first], count, self.truncations)
        if status != OK:
            return status
        self.target.segment = NULL                           # the log's now
        self.target.fd = -1
        self.bytes_written += self.target.written
        self.segments_replaced += count
        self.segments_made += 1
        memset(self.replaced + self.group_first, 1, count)
        return OK if atomic_load32(&self.log.offline) == OK else LOG_OFFLINE

    cdef void drop_target(self) noexcept nogil:
        cdef char path[MAX_PATH_SIZE]
        if self.target.fd >= 0:
            close(self.target.fd)
            segment_path(self.log, self.target.segment.base_offset, b".log.cleaned", path)
            io_unlink(path)
        self.target.fd = -1
        if self.target.segment != NULL:
            segment_free(self.target.segment)
            self.target.segment = NULL

    @property
    def end_offset(self):
        """Everything below it is clean once the round is done; the next one begins here."""
        return self.offsets.latest_offset + 1

    @property
    def statistics(self):
        """What the round has read, kept and made so far."""
        return {
            "bytes_mapped": self.bytes_mapped,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "records_read": self.cleaner.records_read,
            "records_kept": self.cleaner.records_kept,
            "keyless": self.cleaner.keyless,
            "keys": self.offsets.count,
            "map_slots": self.offsets.capacity,
            "map_full": self.map_full,
            "segments_replaced": self.segments_replaced,
            "segments_made": self.segments_made,
            "buffer_bytes": self.source.capacity + self.target.waiting.capacity,
        }

    def take_replaced(self):
        """Base offsets of segments whose files became *.deleted since the last call."""
        cdef int32_t slot
        cdef list taken = []
        for slot in range(self.group_end):
            if self.replaced[slot]:
                self.replaced[slot] = 0
                taken.append(self.segments[slot].base_offset)
        return taken

    def close(self):
        """Gives memory and files back; what is half written is removed."""
        if self.log == NULL:
            return
        self.stage = ENDED
        source_close(&self.source)
        self.drop_target()
        free(self.source.buffer)
        self.source.buffer = NULL
        self.source.capacity = 0
        output_free(&self.target.waiting)
        offset_map_free(&self.offsets)
        transactions_free(&self.transactions)
        last_batches_free(&self.last_batches)
        batch_cleaner_free(&self.cleaner)
