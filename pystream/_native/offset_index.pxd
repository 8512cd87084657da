# Sparse indexes of one segment, kept in memory and stored in Kafka's own form (big endian, no header).
#
#   .index      relative offset int32 | position int32              8 bytes; offset is the LAST offset of the batch at `position`
#   .timeindex  timestamp int64 | relative offset int32            12 bytes; the highest timestamp so far, and its batch's last offset
#
# An entry is due when more than index.interval.bytes were appended since the last one.  Both columns only grow; the time index takes
# an entry only when its timestamp is above the last one.  Source: Kafka's OffsetIndex and TimeIndex.
# Memory: `entries` is owned (malloc) until *_free().

from libc.stdint cimport int32_t, int64_t, uint8_t
from pystream._native.status cimport Status

cdef enum:
    OFFSET_ENTRY_SIZE = 8
    TIME_ENTRY_SIZE = 12

cdef struct OffsetEntry:
    int32_t relative_offset
    int32_t position

cdef struct TimeEntry:
    int64_t timestamp
    int32_t relative_offset

cdef struct OffsetIndex:
    OffsetEntry *entries
    int32_t count
    int32_t capacity

cdef struct TimeIndex:
    TimeEntry *entries
    int32_t count
    int32_t capacity

cdef Status offset_index_append(OffsetIndex *index, int32_t relative_offset, int32_t position) noexcept nogil
# Slot of the last entry whose offset (or position) is <= the one asked for, or -1.
cdef int32_t offset_index_slot(const OffsetIndex *index, int64_t relative_offset) noexcept nogil
cdef int32_t offset_index_slot_of_position(const OffsetIndex *index, int64_t position) noexcept nogil
cdef void offset_index_truncate(OffsetIndex *index, int64_t relative_offset) noexcept nogil       # drops entries >= relative_offset
cdef void offset_index_free(OffsetIndex *index) noexcept nogil
cdef void offset_index_encode(const OffsetIndex *index, int32_t first, uint8_t *data) noexcept nogil
# MALFORMED unless a whole number of entries, both columns strictly growing, every entry inside the log (size and last offset).
cdef Status offset_index_decode(
    OffsetIndex *index, const uint8_t *data, Py_ssize_t size, int64_t log_size, int64_t last_relative_offset) noexcept nogil

# Takes the entry only when its timestamp is above the last one.
cdef Status time_index_append(TimeIndex *index, int64_t timestamp, int32_t relative_offset) noexcept nogil
cdef int32_t time_index_slot(const TimeIndex *index, int64_t timestamp) noexcept nogil            # last entry below or at, or -1
cdef void time_index_truncate(TimeIndex *index, int64_t relative_offset) noexcept nogil
cdef void time_index_free(TimeIndex *index) noexcept nogil
cdef void time_index_encode(const TimeIndex *index, int32_t first, uint8_t *data) noexcept nogil
cdef Status time_index_decode(TimeIndex *index, const uint8_t *data, Py_ssize_t size, int64_t last_relative_offset) noexcept nogil

# Big-endian fields of the small files of a log.
cdef int32_t load_int32(const uint8_t *data) noexcept nogil
cdef int64_t load_int64(const uint8_t *data) noexcept nogil
cdef void store_int32(uint8_t *data, int32_t value) noexcept nogil
cdef void store_int64(uint8_t *data, int64_t value) noexcept nogil
