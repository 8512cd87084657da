# Finding records by time.

from libc.stdint cimport int32_t, int64_t
from pystream._native.log_state cimport LogState
from pystream._native.status cimport Status

cdef struct TimestampOffset:
    int64_t timestamp_ms         # NO_TIMESTAMP when no record qualifies
    int64_t offset               # -1 when no record qualifies
    int32_t leader_epoch

# First record with timestamp >= timestamp_ms and offset < limit_offset; decompresses one batch when it must.  Source: KIP-79.
cdef Status log_offset_for_timestamp(LogState *log, int64_t timestamp_ms, int64_t limit_offset, TimestampOffset *result) noexcept nogil
# Record with the highest timestamp (KIP-734); of several the first one.
cdef Status log_offset_of_max_timestamp(LogState *log, int64_t limit_offset, TimestampOffset *result) noexcept nogil
# Makes every segment know its highest timestamp; the files are read without the log's mutex. Cheap once it is done.
cdef Status log_load_time_ranges(LogState *log) noexcept nogil
# Holds the highest timestamps of segments that end at or before the offset against the batches that are said to have them; where one is
# wrong the index is built anew. The mutex is given back between segments; one that cannot be read is left as it is.
cdef Status log_confirm_time_ranges(LogState *log, int64_t before_offset, bint *wrong) noexcept nogil
