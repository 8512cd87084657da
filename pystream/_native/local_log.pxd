# A partition's log: segments, indexes, producer state and leader epochs of one directory, behind one mutex.
#
# What the rest of the compiled core may use. The work is done in log_write (append, roll), log_read, log_time, log_flush, log_maintain and
# log_recovery; fields and locks are listed in log_state.pxd. LogState and SegmentFile are opaque to all others.
#
# Cross-thread state
#   LogState.mutex        guards everything in LogState but the offsets below
#   *_offset fields       written under the mutex with __atomic release stores, read anywhere with log_*() acquire loads
#   SegmentFile.references  atomic; a FileRange holds one reference until segment_file_release()
# Memory: LogState is reference-counted (log_retain / log_release); the last release closes files and frees.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from pystream._native.log_flush cimport log_flush
from pystream._native.log_read cimport (
    FileRange, ReadResult, log_collect_aborted, log_end_offset_for_epoch, log_epoch_of_offset, log_read,
)
from pystream._native.log_memory cimport log_release, log_retain
from pystream._native.log_state cimport (
    FLUSH_GROUP, FLUSH_INTERVAL, FLUSH_OS, FLUSH_WRITE, FlushPolicy, LogState, SegmentFile,
)
from pystream._native.log_time cimport TimestampOffset, log_offset_for_timestamp, log_offset_of_max_timestamp
from pystream._native.log_write cimport StagedBatch, log_append
from pystream._native.segment cimport segment_file_release
from pystream._native.status cimport Status

cdef enum:
    AS_SENT = -1                     # compression.type=producer

cdef int64_t log_start_offset(LogState *log) noexcept nogil
cdef int64_t log_end_offset(LogState *log) noexcept nogil
cdef int64_t log_durable_offset(LogState *log) noexcept nogil      # everything below is fsynced
cdef int64_t log_first_undecided_offset(LogState *log) noexcept nogil   # first offset of the oldest open transaction, or INT64_MAX
cdef FlushPolicy log_flush_policy(LogState *log) noexcept nogil
cdef int32_t log_max_message_bytes(LogState *log) noexcept nogil
cdef bint log_requires_keys(LogState *log) noexcept nogil          # compacted: records without a key are refused
# What records are to be compressed with, or AS_SENT; and the level for compress_into().
cdef int log_codec(LogState *log, int32_t *level) noexcept nogil
# Within which a producer's timestamps must lie; the ends of int64 where nothing bounds them (LogAppendTime, Long.MAX_VALUE).
cdef void log_timestamp_bounds(LogState *log, int64_t now_ms, int64_t *lowest, int64_t *highest) noexcept nogil
cdef bint log_stamps_append_time(LogState *log) noexcept nogil     # LogAppendTime: the producer's times are overwritten
cdef int64_t log_segment_bytes(LogState *log) noexcept nogil       # the size at which a segment rolls
cdef bint log_is_offline(LogState *log) noexcept nogil
# Whether a client's transactional batch of (producer, epoch) may be appended: its transaction is open here, or permitted.
cdef bint log_may_write_transaction(LogState *log, int64_t producer_id, int16_t producer_epoch) noexcept nogil
cdef Status log_permit_transaction(LogState *log, int64_t producer_id, int16_t producer_epoch) noexcept nogil

# Whole, valid batches that lie one behind the other; raises for the first one that is not.
cdef Py_ssize_t count_batches(const uint8_t *data, Py_ssize_t size, int32_t maximum_size) except -1

cdef class LocalLog:
    cdef LogState *state
    cdef readonly str directory
    cdef readonly dict recovery
    cdef void set_frozen(self, bint frozen) noexcept
