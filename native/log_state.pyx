"""Fields of a log that several of its modules set or ask; they and their locks are in the .pxd."""

from libc.stdint cimport int32_t, int64_t

from pystream._native.atomics cimport atomic_add64, atomic_count64, atomic_load64, atomic_store32, atomic_store64


cdef int32_t log_segment_slot(const LogState *log, int64_t offset) noexcept nogil:
    cdef int32_t low = 0
    cdef int32_t high = log.segment_count
    cdef int32_t middle
    while low < high:
        middle = low + (high - low) // 2
        if log.segments[middle].base_offset <= offset:
            low = middle + 1
        else:
            high = middle
    return low - 1


cdef int64_t offline_changes


cdef void log_take_offline(LogState *log, Status status, int error) noexcept nogil:
    log.last_errno = error
    atomic_store32(&log.offline, <int32_t> status)
    atomic_add64(&offline_changes, 1)


cdef int64_t log_offline_changes() noexcept nogil:
    return atomic_load64(&offline_changes)


cdef void log_note_read_error(LogState *log, int error) noexcept nogil:
    log.last_errno = error
    atomic_count64(&log.read_errors, 1)


cdef void log_add_hint(LogState *log, int64_t base_offset, int64_t offset, int64_t position) noexcept nogil:
    cdef ReadHint *hint
    if log_hint(log, base_offset, offset) >= 0:
        return
    hint = &log.hints[log.next_hint]
    hint.base_offset = base_offset
    hint.offset = offset
    hint.position = position
    log.next_hint = (log.next_hint + 1) % HINT_COUNT


cdef int64_t log_hint(const LogState *log, int64_t base_offset, int64_t offset) noexcept nogil:
    cdef int number
    for number in range(HINT_COUNT):
        if log.hints[number].offset == offset and log.hints[number].base_offset == base_offset:
            return log.hints[number].position
    return -1


cdef void log_clear_hints(LogState *log) noexcept nogil:
    cdef int number
    for number in range(HINT_COUNT):
        log.hints[number].offset = -1


cdef void log_publish_undecided(LogState *log) noexcept nogil:
    atomic_store64(&log.first_undecided_offset, log.producers.first_undecided_offset)
