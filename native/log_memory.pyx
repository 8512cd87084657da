"""Making, sharing and freeing a log and its list of segments."""

from libc.stdint cimport INT64_MAX, int32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, strdup

from pystream._native.atomics cimport atomic_add32
from pystream._native.leader_epochs cimport leader_epochs_free
from pystream._native.log_state cimport log_clear_hints, log_segment_slot
from pystream._native.posix cimport pthread_mutex_destroy, pthread_mutex_init
from pystream._native.producer_state cimport producers_free, producers_init
from pystream._native.segment cimport segment_free
from pystream._native.status cimport OK, OUT_OF_MEMORY


cdef LogState *log_create(const char *directory) noexcept nogil:
    cdef LogState *log = <LogState *> calloc(1, sizeof(LogState))
    if log == NULL:
        return NULL
    log.directory = strdup(directory)
    if log.directory == NULL:
        free(log)
        return NULL
    pthread_mutex_init(&log.mutex, NULL)
    pthread_mutex_init(&log.flush_mutex, NULL)
    log.references = 1
    log.first_undecided_offset = INT64_MAX
    producers_init(&log.producers)
    log_clear_hints(log)
    return log


cdef void log_retain(LogState *log) noexcept nogil:
    atomic_add32(&log.references, 1)


cdef void log_release(LogState *log) noexcept nogil:
    if atomic_add32(&log.references, -1) > 0:
        return
    log_drop_segments(log, 0, log.segment_count)
    free(log.segments)
    producers_free(&log.producers)
    leader_epochs_free(&log.epochs)
    pthread_mutex_destroy(&log.mutex)
    pthread_mutex_destroy(&log.flush_mutex)
    free(log.directory)
    free(log)


cdef Status log_add_segment(LogState *log, Segment *segment) noexcept nogil:
    cdef Segment **larger
    cdef int32_t capacity
    cdef int32_t slot
    if log.segment_count == log.segment_capacity:
        capacity = 1 if log.segment_capacity == 0 else log.segment_capacity * 2
        larger = <Segment **> realloc(log.segments, capacity * sizeof(Segment *))
        if larger == NULL:
            return OUT_OF_MEMORY
        log.segments = larger
        log.segment_capacity = capacity
    slot = log_segment_slot(log, segment.base_offset) + 1
    memmove(&log.segments[slot + 1], &log.segments[slot], (log.segment_count - slot) * sizeof(Segment *))
    log.segments[slot] = segment
    log.segment_count += 1
    return OK


cdef void log_drop_segments(LogState *log, int32_t first, int32_t count) noexcept nogil:
    cdef int32_t slot
    for slot in range(first, first + count):
        segment_free(log.segments[slot])
    if count > 0:
        memmove(&log.segments[first], &log.segments[first + count], (log.segment_count - first - count) * sizeof(Segment *))
        log.segment_count -= count
    log_clear_hints(log)
