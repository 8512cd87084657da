# Reading from a log: offset to file range, timestamp to offset, leader epoch to end offset.

from libc.stdint cimport int32_t, int64_t
from pystream._native.buffer cimport Output
from pystream._native.log_state cimport LogState, SegmentFile
from pystream._native.status cimport Status

cdef struct FileRange:
    SegmentFile *file            # one reference, given back with segment_file_release()
    int fd
    int64_t position
    int64_t size

cdef struct ReadResult:
    FileRange range              # size 0 and file NULL when there is nothing to read
    int64_t first_offset         # base offset of the first batch of the range
    int64_t next_offset          # offset after the last whole batch of the range

# Range of whole batches that starts with the batch holding `offset`, ends at or before `limit_offset` and within max_bytes; when
# `at_least_one`,
# the first batch comes whole even above max_bytes. offset == log end gives an empty range. OFFSET_OUT_OF_RANGE outside [start, end].
# One segment at most. A small cache makes sequential readers find their place without the index; disk reads happen without the mutex.
# DAMAGED where recovery or the walk found bytes that are no batch.
cdef Status log_read(
    LogState *log, int64_t offset, int64_t limit_offset, int64_t max_bytes, bint at_least_one, ReadResult *result) noexcept nogil
# Appends what a read_committed reader of [offset, limit_offset) must skip, 16 bytes each: producer id and first offset, big endian, in the
# order of the markers; their number. What makes `output` run out of memory stays in its status.
cdef int32_t log_collect_aborted(LogState *log, int64_t offset, int64_t limit_offset, Output *output) noexcept nogil
# Largest epoch <= leader_epoch and its end offset (KIP-101, KIP-320); NOT_FOUND gives epoch -1, offset -1.
cdef Status log_end_offset_for_epoch(LogState *log, int32_t leader_epoch, int32_t *found_epoch, int64_t *end_offset) noexcept nogil
cdef int32_t log_epoch_of_offset(LogState *log, int64_t offset) noexcept nogil          # -1 when not known
