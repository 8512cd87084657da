"""Finding records by time: the time index narrows it to a stretch of batches, their headers to one batch, the batch to one record."""

from libc.errno cimport EIO
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc

from pystream._native.atomics cimport atomic_load64
from pystream._native.batch cimport NO_TIMESTAMP, BatchHeader
from pystream._native.io_table cimport io_read_at
from pystream._native.log_state cimport Segment, SegmentFile, log_note_read_error, log_segment_slot
from pystream._native.offset_index cimport time_index_slot
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.record_reader cimport first_record_at_or_after, record_of_max_timestamp
from pystream._native.segment cimport (
    Walk, segment_closing_entry, segment_file_release, segment_file_retain, segment_find_position, segment_load_index,
    segment_load_time_range, segment_open, walk_header, walk_over, walk_to_offset,
)
from pystream._native.status cimport CLOSED, DAMAGED, NOT_FOUND, OK, OUT_OF_MEMORY, STORAGE_ERROR

cdef struct Stretch:
    SegmentFile *file            # one reference
    int64_t position             # of the first batch to look at
    int64_t end                  # bytes that can be read
    int64_t next_offset          # of the segment
    int64_t max_timestamp
    int64_t max_timestamp_offset


cdef Status take_stretch(LogState *log, int64_t from_offset, int64_t timestamp_ms, Stretch *stretch) noexcept nogil:
    """The first segment at or after `from_offset` that may hold a timestamp >= timestamp_ms; NOT_FOUND when none may.  Under the mutex."""
    cdef Segment *segment
    cdef int64_t relative
    cdef int32_t slot = log_segment_slot(log, from_offset)
    cdef Status status
    slot = 0 if slot < 0 else slot
    while slot < log.segment_count:
        segment = log.segments[slot]
        slot += 1
        if segment.size == 0 or segment.next_offset <= from_offset:
            continue
        status = segment_load_time_range(log, segment)
        if status != OK:
            return status
        if segment.max_timestamp < timestamp_ms:
            continue
        status = segment_open(log, segment)                  # first: only what has an open file counts as loaded
        if status == OK:
            status = segment_load_index(log, segment)
        if status != OK:
            return status
        # All before the last time index entry below the timestamp is older, and so is the batch that entry names.
        relative = from_offset - segment.base_offset
        slot = time_index_slot(&segment.times, timestamp_ms - 1)
        if slot >= 0 and segment.times.entries[slot].relative_offset > relative:
            relative = segment.times.entries[slot].relative_offset
        status = segment_find_position(log, segment, segment.base_offset + relative, &stretch.position)
        if status != OK:
            return status
        stretch.end = segment.size if segment.damaged_from < 0 else segment.damaged_from
        stretch.next_offset = segment.next_offset
        stretch.max_timestamp = segment.max_timestamp
        stretch.max_timestamp_offset = segment.max_timestamp_offset
        stretch.file = segment.file
        segment_file_retain(stretch.file)
        return OK
    return NOT_FOUND


cdef uint8_t *read_batch(int fd, int64_t position, const BatchHeader *header, Status *status) noexcept nogil:
    cdef uint8_t *data = <uint8_t *> malloc(header.size)
    if data == NULL:
        status[0] = OUT_OF_MEMORY
        return NULL
    if io_read_at(fd, data, header.size, position) != header.size:
        free(data)
        status[0] = STORAGE_ERROR
        return NULL
    return data


cdef Status guess_from_header(
        const BatchHeader *header, int64_t timestamp_ms, int64_t from_offset, int64_t limit_offset,
        TimestampOffset *result) noexcept nogil:
    """A producer may have sent a batch whose CRC is right and whose compressed records are not: nobody can search it for others."""
    cdef bint first = timestamp_ms <= header.base_timestamp
    result.timestamp_ms = header.base_timestamp if first else header.max_timestamp
    result.offset = header.base_offset if first else header.base_offset + header.last_offset_delta
    if result.offset < from_offset:
        result.offset = from_offset
    return OK if result.offset < limit_offset else NOT_FOUND


cdef Status look_in_batch(
        int fd, int64_t position, const BatchHeader *header, int64_t timestamp_ms, int64_t from_offset,
        int64_t limit_offset, TimestampOffset *result) noexcept nogil:
    """timestamp_ms == INT64_MAX asks for the record with the highest timestamp."""
    cdef Status status = OK
    cdef uint8_t *data = read_batch(fd, position, header, &status)
    if data == NULL:
        return status
    if timestamp_ms == INT64_MAX:
        status = record_of_max_timestamp(data, header.size, from_offset, limit_offset, NULL, &result.timestamp_ms, &result.offset)
    else:
        status = first_record_at_or_after(
            data, header.size, timestamp_ms, from_offset, limit_offset, NULL, &result.timestamp_ms, &result.offset)
    free(data)
    if status != OK and status != NOT_FOUND:
        status = guess_from_header(header, timestamp_ms, from_offset, limit_offset, result)
    if status == OK:
        result.leader_epoch = header.partition_leader_epoch
    else:
        result.timestamp_ms = NO_TIMESTAMP
        result.offset = -1
    return status


cdef Status look_in_stretch(
        const Stretch *stretch, int64_t timestamp_ms, int64_t from_offset, int64_t limit_offset,
        TimestampOffset *result) noexcept nogil:
    cdef Walk walk
    cdef BatchHeader header
    cdef int64_t position = stretch.position
    cdef Status status
    walk_over(&walk, stretch.file.fd, stretch.end)
    status = walk_header(&walk, position, &header)
    while status == OK:
        if header.base_offset >= limit_offset:
            return NOT_FOUND
        if header.max_timestamp >= timestamp_ms and header.base_offset + header.last_offset_delta >= from_offset:
            status = look_in_batch(walk.fd, position, &header, timestamp_ms, from_offset, limit_offset, result)
            if status != NOT_FOUND:
                return status
        position += header.size
        status = walk_header(&walk, position, &header)
    return status


cdef Status log_offset_for_timestamp(LogState *log, int64_t timestamp_ms, int64_t limit_offset, TimestampOffset *result) noexcept nogil:
    cdef Stretch stretch
    cdef int64_t start_offset = atomic_load64(&log.start_offset)
    cdef int64_t from_offset = start_offset
    cdef Status status
    result.timestamp_ms = NO_TIMESTAMP
    result.offset = -1
    result.leader_epoch = -1
    while from_offset < limit_offset:
        pthread_mutex_lock(&log.mutex)
        status = take_stretch(log, from_offset, timestamp_ms, &stretch)
        pthread_mutex_unlock(&log.mutex)
        if status != OK:
            return OK if status == NOT_FOUND else status
        status = look_in_stretch(&stretch, timestamp_ms, start_offset, limit_offset, result)
        segment_file_release(stretch.file)
        if status != NOT_FOUND and status != DAMAGED:
            return status
        from_offset = stretch.next_offset
    return OK


cdef Status highest_batch(
        const Stretch *stretch, int64_t from_offset, int64_t limit_offset, int64_t *best, int64_t *position,
        BatchHeader *found) noexcept nogil:
    """Raises `best` and notes the batch when the stretch has a higher timestamp below the limit."""
    cdef Walk walk
    cdef BatchHeader header
    cdef int64_t at = stretch.position
    cdef Status status
    walk_over(&walk, stretch.file.fd, stretch.end)
    status = walk_header(&walk, at, &header)
    while status == OK and header.base_offset < limit_offset:
        if header.max_timestamp > best[0] and header.base_offset + header.last_offset_delta >= from_offset:
            best[0] = header.max_timestamp
            position[0] = at
            found[0] = header
        at += header.size
        status = walk_header(&walk, at, &header)
    return OK if status == NOT_FOUND else status


cdef Status log_offset_of_max_timestamp(LogState *log, int64_t limit_offset, TimestampOffset *result) noexcept nogil:
    cdef Stretch stretch
    cdef BatchHeader header
    cdef SegmentFile *best_file = NULL
    cdef int64_t start_offset = atomic_load64(&log.start_offset)
    cdef int64_t from_offset = start_offset
    cdef int64_t best = NO_TIMESTAMP
    cdef int64_t before
    cdef int64_t position = 0
    cdef Status status = OK
    result.timestamp_ms = NO_TIMESTAMP
    result.offset = -1
    result.leader_epoch = -1
    while from_offset < limit_offset and status == OK and best < INT64_MAX:
        before = best
        pthread_mutex_lock(&log.mutex)
        status = take_stretch(log, from_offset, best + 1, &stretch)
        pthread_mutex_unlock(&log.mutex)
        if status != OK:
            break
        status = highest_batch(&stretch, start_offset, limit_offset, &best, &position, &header)
        if status == DAMAGED:
            status = OK
        from_offset = stretch.next_offset
        if best > before:
            if best_file != NULL:
                segment_file_release(best_file)
            best_file = stretch.file
        else:
            segment_file_release(stretch.file)
    if status == NOT_FOUND:
        status = OK
    if best_file != NULL:
        if status == OK:
            status = look_in_batch(best_file.fd, position, &header, INT64_MAX, start_offset, limit_offset, result)
        segment_file_release(best_file)
    return OK if status == NOT_FOUND else status


# ---------------------------------------------------------------------------------------------------------------------
# Time ranges of whole segments

cdef struct TimeRange:
    SegmentFile *file            # one reference
    int64_t base_offset
    int64_t next_offset
    int64_t size
    int64_t truncations          # of the log, when the segment was looked at
    bint closed                  # its .timeindex may end with the closing entry
    int64_t position             # where a walk to max_timestamp_offset may begin
    int64_t first_timestamp
    int64_t max_timestamp
    int64_t max_timestamp_offset


cdef Status next_unknown_range(LogState *log, TimeRange *found) noexcept nogil:
    """The first segment whose time range is not known; NOT_FOUND when there is none.  Under the mutex."""
    cdef Segment *segment
    cdef int32_t slot = 0
    cdef Status status
    while slot < log.segment_count and log.segments[slot].time_range_known:
        slot += 1
    if slot == log.segment_count:
        return NOT_FOUND
    if log.closed:
        return CLOSED
    segment = log.segments[slot]
    status = segment_open(log, segment)
    if status != OK:
        return status
    found.file = segment.file
    segment_file_retain(found.file)
    found.base_offset = segment.base_offset
    found.next_offset = segment.next_offset
    found.size = segment.size
    found.truncations = log.truncations
    found.closed = segment.sealed and not segment.index_loaded
    found.first_timestamp = found.max_timestamp = found.max_timestamp_offset = NO_TIMESTAMP
    return OK


cdef Status walk_time_range(TimeRange *found) noexcept nogil:
    """By the headers of all batches, up to damage."""
    cdef Walk walk
    cdef BatchHeader header
    cdef int64_t position = 0
    cdef Status status
    walk_over(&walk, found.file.fd, found.size)
    status = walk_header(&walk, position, &header)
    while status == OK:
        if position == 0:
            found.first_timestamp = header.max_timestamp
        if header.max_timestamp > found.max_timestamp:
            found.max_timestamp = header.max_timestamp
            found.max_timestamp_offset = header.base_offset + header.last_offset_delta
        position += header.size
        status = walk_header(&walk, position, &header)
    return OK if status == NOT_FOUND or status == DAMAGED else status


cdef void keep_time_range(LogState *log, const TimeRange *found) noexcept nogil:
    """Unless the segment was cut or has learnt it by other means.  Under the mutex."""
    cdef Segment *segment
    cdef int32_t slot = log_segment_slot(log, found.base_offset)
    if slot < 0 or log.truncations != found.truncations:
        return
    segment = log.segments[slot]
    if segment.base_offset != found.base_offset or segment.time_range_known:
        return
    if segment.first_timestamp == NO_TIMESTAMP:
        segment.first_timestamp = found.first_timestamp
    segment.max_timestamp = found.max_timestamp
    segment.max_timestamp_offset = found.max_timestamp_offset
    segment.time_range_known = True


cdef Status log_load_time_ranges(LogState *log) noexcept nogil:
    cdef TimeRange found
    cdef Status status = OK
    while status == OK:
        pthread_mutex_lock(&log.mutex)
        status = next_unknown_range(log, &found)
        pthread_mutex_unlock(&log.mutex)
        if status != OK:
            break
        if not found.closed or not segment_closing_entry(
                log, found.base_offset, found.next_offset, &found.max_timestamp, &found.max_timestamp_offset):
            found.max_timestamp = found.max_timestamp_offset = NO_TIMESTAMP
            status = walk_time_range(&found)
        segment_file_release(found.file)
        if status == OK:
            pthread_mutex_lock(&log.mutex)
            keep_time_range(log, &found)
            pthread_mutex_unlock(&log.mutex)
    return OK if status == NOT_FOUND else status


cdef Status next_told_range(LogState *log, int64_t from_offset, int64_t before_offset, TimeRange *told) noexcept nogil:
    """The first segment within the offsets that tells a time and can be asked; NOT_FOUND when there is none.  Under the mutex."""
    cdef Segment *segment
    cdef int32_t slot
    cdef Status status
    if log.closed:
        return CLOSED
    for slot in range(max(log_segment_slot(log, from_offset), 0), log.segment_count):
        segment = log.segments[slot]
        if segment.next_offset > before_offset:
            break
        if segment.base_offset < from_offset or not segment.time_range_known or segment.max_timestamp < 0 or segment.damaged_from >= 0:
            continue
        status = segment_open(log, segment)
        if status != OK:
            return status
        told.base_offset = segment.base_offset
        told.next_offset = segment.next_offset
        told.size = segment.size
        told.truncations = log.truncations
        told.max_timestamp = segment.max_timestamp
        told.max_timestamp_offset = segment.max_timestamp_offset
        status = segment_find_position(log, segment, told.max_timestamp_offset, &told.position)
        if status == STORAGE_ERROR:
            log_note_read_error(log, EIO)
            continue
        if status != OK:
            return status
        told.file = segment.file
        segment_file_retain(told.file)
        return OK
    return NOT_FOUND


cdef bint is_refuted(LogState *log, const TimeRange *told) noexcept nogil:
    """Whether the batch that is said to have the highest timestamp has another, or is none.  What cannot be read refutes nothing."""
    cdef Walk walk
    cdef BatchHeader header
    cdef int64_t position
    cdef Status status
    walk_over(&walk, told.file.fd, told.size)
    status = walk_to_offset(&walk, told.position, INT64_MAX, told.max_timestamp_offset, &position, &header)
    if status == STORAGE_ERROR:
        log_note_read_error(log, EIO)
        return False
    return status != OK or header.max_timestamp != told.max_timestamp or header.base_offset > told.max_timestamp_offset


cdef Status forget_told_range(LogState *log, const TimeRange *told) noexcept nogil:
    """Builds the segment's index anew, unless the segment was cut or has learnt its times by other means.  Under the mutex."""
    cdef Segment *segment
    cdef int32_t slot = log_segment_slot(log, told.base_offset)
    if slot < 0 or log.truncations != told.truncations:
        return OK
    segment = log.segments[slot]
    if segment.base_offset != told.base_offset or segment.max_timestamp != told.max_timestamp:
        return OK
    segment.index_suspect = True
    return segment_load_index(log, segment)


cdef Status log_confirm_time_ranges(LogState *log, int64_t before_offset, bint *wrong) noexcept nogil:
    cdef TimeRange told
    cdef int64_t from_offset = 0
    cdef bint refuted
    cdef Status status = OK
    wrong[0] = False
    while status == OK:
        pthread_mutex_lock(&log.mutex)
        status = next_told_range(log, from_offset, before_offset, &told)
        pthread_mutex_unlock(&log.mutex)
        if status != OK:
            break
        from_offset = told.next_offset
        refuted = is_refuted(log, &told)
        segment_file_release(told.file)
        if refuted:
            wrong[0] = True
            pthread_mutex_lock(&log.mutex)
            status = forget_told_range(log, &told)
            pthread_mutex_unlock(&log.mutex)
    return OK if status == NOT_FOUND else status
