# A partition's log: segments, indexes, producer state and leader epochs of one directory, behind one mutex.
#
# Cross-thread state
#   LogState.mutex        guards everything in LogState but the offsets below
#   *_offset fields       written under the mutex with __atomic release stores, read anywhere with log_*() acquire loads
#   SegmentFile.references  atomic; a FileRange holds one reference until segment_file_release()
# Memory: LogState is reference-counted (log_retain / log_release); the last release closes files and frees.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t
from pystream._native.status cimport Status
from pystream._native.batch cimport BatchHeader

cdef enum FlushPolicy:
    FLUSH_OS = 0            # acknowledged from the page cache; background flush
    FLUSH_INTERVAL = 1      # as FLUSH_OS, every flush.ms / flush.messages
    FLUSH_GROUP = 2         # acknowledged (acks=all) and visible once fsynced, by group commit
    FLUSH_WRITE = 3         # fsynced before append() returns

cdef struct SegmentFile     # opaque: int fd with a reference count
cdef struct LogState        # opaque: fields in native/local_log.pyx

cdef struct StagedBatch:
    uint8_t *data                # the whole batch, writable; owned by the caller until log_append() has returned
    BatchHeader header           # as validate_batch() filled it
    Status status                # out: OK, DUPLICATE_SEQUENCE, or why this batch was refused
    int64_t base_offset          # out: on OK and DUPLICATE_SEQUENCE
    int64_t append_time_ms       # out: LogAppendTime given, else NO_TIMESTAMP

cdef struct FileRange:
    SegmentFile *file            # one reference, given back with segment_file_release()
    int fd
    int64_t position
    int64_t size

cdef struct ReadResult:
    FileRange range              # size 0 and file NULL when there is nothing to read
    int64_t first_offset         # base offset of the first batch of the range
    int64_t next_offset          # offset after the last whole batch of the range

cdef struct TimestampOffset:
    int64_t timestamp_ms         # NO_TIMESTAMP when no record qualifies
    int64_t offset               # -1 when no record qualifies
    int32_t leader_epoch

# Appends staged batches in order with one pwritev per segment touched: sequence checks, offsets and leader epoch stamped, roll when needed,
# indexes, producer state. Refused batches get their status and do not disturb their neighbours. Returns OK when at least the log works;
# STORAGE_ERROR / NO_SPACE / LOG_OFFLINE when nothing of this call was appended (every batch then carries it). The new end is published after the write.
cdef Status log_append(LogState *log, StagedBatch *batches, Py_ssize_t count, int32_t leader_epoch, int64_t now_ms) noexcept nogil

# Range of whole batches that starts with the batch holding `offset`, ends at or before `limit_offset` and within max_bytes; when `at_least_one`,
# the first batch comes whole even above max_bytes. offset == log end gives an empty range. OFFSET_OUT_OF_RANGE outside [start, end].
# One segment at most. A small cache makes sequential readers find their place without the index.
cdef Status log_read(LogState *log, int64_t offset, int64_t limit_offset, int64_t max_bytes, bint at_least_one, ReadResult *result) noexcept nogil
cdef void segment_file_release(SegmentFile *file) noexcept nogil

# First record with timestamp >= timestamp_ms and offset < limit_offset; decompresses one batch when it must.  Source: KIP-79.
cdef Status log_offset_for_timestamp(LogState *log, int64_t timestamp_ms, int64_t limit_offset, TimestampOffset *result) noexcept nogil
# Record with the highest timestamp (KIP-734).
cdef Status log_offset_of_max_timestamp(LogState *log, int64_t limit_offset, TimestampOffset *result) noexcept nogil
# Largest epoch <= leader_epoch and its end offset (KIP-101, KIP-320); NOT_FOUND gives epoch -1, offset -1.
cdef Status log_end_offset_for_epoch(LogState *log, int32_t leader_epoch, int32_t *found_epoch, int64_t *end_offset) noexcept nogil
cdef int32_t log_epoch_of_offset(LogState *log, int64_t offset) noexcept nogil          # -1 when not known

cdef int64_t log_start_offset(LogState *log) noexcept nogil
cdef int64_t log_end_offset(LogState *log) noexcept nogil
cdef int64_t log_durable_offset(LogState *log) noexcept nogil      # everything below is fsynced
cdef int64_t log_first_undecided_offset(LogState *log) noexcept nogil   # first offset of the oldest open transaction, or INT64_MAX
cdef FlushPolicy log_flush_policy(LogState *log) noexcept nogil
cdef int32_t log_max_message_bytes(LogState *log) noexcept nogil
cdef bint log_is_offline(LogState *log) noexcept nogil
# fdatasync of what was appended so far; publishes the durable offset. Called on the flusher thread. A failure takes the log offline, for good.
cdef Status log_flush(LogState *log) noexcept nogil
cdef void log_retain(LogState *log) noexcept nogil
cdef void log_release(LogState *log) noexcept nogil

cdef class LocalLog:
    cdef LogState *state
