# Making a log shorter: truncation at the end, deletion at the start.

from libc.stdint cimport int32_t, int64_t
from pystream._native.log_state cimport LogState
from pystream._native.status cimport Status

# Drops every batch that ends after `offset`; the log then ends at or before it. OFFSET_OUT_OF_RANGE below the start offset. The order is
# crash-safe: indexes, later segments, the file (fsynced), snapshots, epochs. Source: KIP-101.
cdef Status log_truncate_to(LogState *log, int64_t offset) noexcept nogil
# The start offset moves up in memory; the caller makes it durable before it deletes anything. OFFSET_OUT_OF_RANGE past the end.
cdef Status log_advance_start_offset(LogState *log, int64_t offset) noexcept nogil
# Takes up to `maximum` oldest segments that end at or before `offset` out of the log, never the active one, and renames their files to
# *.deleted: readers that have them open go on. Gives their base offsets; unlink them later.
cdef Status log_delete_segments(LogState *log, int64_t offset, int32_t maximum, int64_t *base_offsets, int32_t *count) noexcept nogil
