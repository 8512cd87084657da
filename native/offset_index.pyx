"""Sparse offset and time index of one segment: append, look up, truncate, and Kafka's form on disk (see the .pxd)."""

from libc.stdlib cimport free, realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from pystream._native.status cimport MALFORMED, OK, OUT_OF_MEMORY

cdef extern from "bytes.h" nogil:
    uint32_t load_be32(const uint8_t *data)
    uint64_t load_be64(const uint8_t *data)
    void store_be32(uint8_t *data, uint32_t value)
    void store_be64(uint8_t *data, uint64_t value)


cdef int32_t load_int32(const uint8_t *data) noexcept nogil:
    return <int32_t> load_be32(data)


cdef int64_t load_int64(const uint8_t *data) noexcept nogil:
    return <int64_t> load_be64(data)


cdef void store_int32(uint8_t *data, int32_t value) noexcept nogil:
    store_be32(data, <uint32_t> value)


cdef void store_int64(uint8_t *data, int64_t value) noexcept nogil:
    store_be64(data, <uint64_t> value)


cdef int32_t larger_capacity(int32_t capacity) noexcept nogil:
    return 8 if capacity == 0 else capacity + capacity // 2 + 8


# ---------------------------------------------------------------------------------------------------------------------
# Offset index

cdef Status offset_index_append(OffsetIndex *index, int32_t relative_offset, int32_t position) noexcept nogil:
    cdef OffsetEntry *larger
    if index.count == index.capacity:
        larger = <OffsetEntry *> realloc(index.entries, larger_capacity(index.capacity) * sizeof(OffsetEntry))
        if larger == NULL:
            return OUT_OF_MEMORY
        index.entries = larger
        index.capacity = larger_capacity(index.capacity)
    index.entries[index.count].relative_offset = relative_offset
    index.entries[index.count].position = position
    index.count += 1
    return OK


cdef int32_t offset_index_slot(const OffsetIndex *index, int64_t relative_offset) noexcept nogil:
    cdef int32_t low = 0
    cdef int32_t high = index.count
    cdef int32_t middle
    while low < high:                       # the first entry above the one asked for
        middle = low + (high - low) // 2
        if index.entries[middle].relative_offset <= relative_offset:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef int32_t offset_index_slot_of_position(const OffsetIndex *index, int64_t position) noexcept nogil:
    cdef int32_t low = 0
    cdef int32_t high = index.count
    cdef int32_t middle
    while low < high:
        middle = low + (high - low) // 2
        if index.entries[middle].position <= position:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef void offset_index_truncate(OffsetIndex *index, int64_t relative_offset) noexcept nogil:
    index.count = offset_index_slot(index, relative_offset - 1) + 1


cdef void offset_index_free(OffsetIndex *index) noexcept nogil:
    free(index.entries)
    index.entries = NULL
    index.count = index.capacity = 0


cdef void offset_index_encode(const OffsetIndex *index, int32_t first, uint8_t *data) noexcept nogil:
    cdef int32_t slot
    for slot in range(first, index.count):
        store_int32(data, index.entries[slot].relative_offset)
        store_int32(data + 4, index.entries[slot].position)
        data += OFFSET_ENTRY_SIZE


cdef Status offset_index_decode(
        OffsetIndex *index, const uint8_t *data, Py_ssize_t size, int64_t log_size, int64_t last_relative_offset) noexcept nogil:
    cdef int64_t offset
    cdef int64_t position
    cdef int64_t offset_before = -1
    cdef int64_t position_before = -1
    cdef Py_ssize_t at
    cdef Status status = OK
    index.count = 0
    if size % OFFSET_ENTRY_SIZE != 0:
        return MALFORMED
    for at in range(0, size, 8):                  # a literal step keeps this a C loop
        offset = load_int32(data + at)
        position = load_int32(data + at + 4)
        if offset <= offset_before or position <= position_before or offset > last_relative_offset or position >= log_size:
            status = MALFORMED
            break
        status = offset_index_append(index, <int32_t> offset, <int32_t> position)
        if status != OK:
            break
        offset_before = offset
        position_before = position
    if status != OK:
        offset_index_free(index)
    return status


# ---------------------------------------------------------------------------------------------------------------------
# Time index

cdef Status time_index_append(TimeIndex *index, int64_t timestamp, int32_t relative_offset) noexcept nogil:
    cdef TimeEntry *larger
    if timestamp < 0 or (index.count > 0 and timestamp <= index.entries[index.count - 1].timestamp):
        return OK
    if index.count == index.capacity:
        larger = <TimeEntry *> realloc(index.entries, larger_capacity(index.capacity) * sizeof(TimeEntry))
        if larger == NULL:
            return OUT_OF_MEMORY
        index.entries = larger
        index.capacity = larger_capacity(index.capacity)
    index.entries[index.count].timestamp = timestamp
    index.entries[index.count].relative_offset = relative_offset
    index.count += 1
    return OK


cdef int32_t time_index_slot(const TimeIndex *index, int64_t timestamp) noexcept nogil:
    cdef int32_t low = 0
    cdef int32_t high = index.count
    cdef int32_t middle
    while low < high:
        middle = low + (high - low) // 2
        if index.entries[middle].timestamp <= timestamp:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef void time_index_truncate(TimeIndex *index, int64_t relative_offset) noexcept nogil:
    while index.count > 0 and index.entries[index.count - 1].relative_offset >= relative_offset:
        index.count -= 1


cdef void time_index_free(TimeIndex *index) noexcept nogil:
    free(index.entries)
    index.entries = NULL
    index.count = index.capacity = 0


cdef void time_index_encode(const TimeIndex *index, int32_t first, uint8_t *data) noexcept nogil:
    cdef int32_t slot
    for slot in range(first, index.count):
        store_int64(data, index.entries[slot].timestamp)
        store_int32(data + 8, index.entries[slot].relative_offset)
        data += TIME_ENTRY_SIZE


cdef Status time_index_decode(TimeIndex *index, const uint8_t *data, Py_ssize_t size, int64_t last_relative_offset) noexcept nogil:
    cdef int64_t timestamp
    cdef int64_t offset
    cdef int64_t timestamp_before = -1
    cdef int64_t offset_before = -1
    cdef Py_ssize_t at
    cdef Status status = OK
    index.count = 0
    if size % TIME_ENTRY_SIZE != 0:
        return MALFORMED
    for at in range(0, size, 12):
        timestamp = load_int64(data + at)
        offset = load_int32(data + at + 8)
        if timestamp <= timestamp_before or offset < offset_before or offset < 0 or offset > last_relative_offset:
            status = MALFORMED
            break
        status = time_index_append(index, timestamp, <int32_t> offset)
        if status != OK:
            break
        timestamp_before = timestamp
        offset_before = offset
    if status != OK:
        time_index_free(index)
    return status


# ---------------------------------------------------------------------------------------------------------------------
# Python faces: what a file's bytes say

def decode_offset_index(data: bytes, *, log_size: int, last_relative_offset: int) -> list | None:
    """[(relative offset, position), ...] of a whole .index file, or None when it must be rebuilt from the log."""
    cdef OffsetIndex index
    cdef int32_t slot
    index.entries = NULL
    index.count = index.capacity = 0
    if offset_index_decode(&index, data, len(data), log_size, last_relative_offset) != OK:
        return None
    entries = [(index.entries[slot].relative_offset, index.entries[slot].position) for slot in range(index.count)]
    offset_index_free(&index)
    return entries


def decode_time_index(data: bytes, *, last_relative_offset: int) -> list | None:
    """[(timestamp, relative offset), ...] of a whole .timeindex file, or None when it must be rebuilt from the log."""
    cdef TimeIndex index
    cdef int32_t slot
    index.entries = NULL
    index.count = index.capacity = 0
    if time_index_decode(&index, data, len(data), last_relative_offset) != OK:
        return None
    entries = [(index.entries[slot].timestamp, index.entries[slot].relative_offset) for slot in range(index.count)]
    time_index_free(&index)
    return entries
