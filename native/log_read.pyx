"""Reading from a log: which bytes of which file hold the asked offsets.

    find       a hint (where the last reader stopped, where the last flush ended), else index and a walk over batch headers
    end        the segment's end when limit and max_bytes allow, else the last whole batch below both, by index and walk
"""

from libc.errno cimport EIO
from libc.stdint cimport INT64_MAX, int32_t, int64_t

from pystream._native.batch cimport BatchHeader
from pystream._native.buffer cimport write_int64
from pystream._native.leader_epochs cimport leader_epochs_end_offset, leader_epochs_of_offset
from pystream._native.log_state cimport Segment, log_add_hint, log_hint, log_note_read_error, log_segment_slot
from pystream._native.offset_index cimport offset_index_slot, offset_index_slot_of_position
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.segment cimport (
    Walk, segment_file_release, segment_file_retain, segment_load_index, segment_open, walk_entry, walk_header, walk_over,
    walk_to_offset,
)
from pystream._native.status cimport CLOSED, DAMAGED, NOT_FOUND, OFFSET_OUT_OF_RANGE, OK, STORAGE_ERROR
from pystream._native.txn_index cimport AbortedTransaction, TxnIndex

cdef struct Search:
    SegmentFile *file            # one reference
    int64_t base_offset
    int64_t segment_next_offset
    int64_t segment_size
    int64_t readable             # bytes that recovery vouches for
    bint may_rebuild             # the index may be at fault when the walk fails
    bint before_damage           # behind `readable` lie records that are lost, not the next segment's
    int64_t start_position       # of the first batch, or where the walk to it begins
    bint start_known
    int64_t start_begins_by      # the highest offset at which the batch there may begin, by the index
    int64_t limit_position       # of limit_offset when a hint knows it, else -1
    int64_t truncations          # of the log, when the search began


cdef Status begin_search(LogState *log, int64_t offset, int64_t limit_offset, Search *search) noexcept nogil:
    """Finds the segment and the nearest known position.  Called under the mutex; NOT_FOUND when there is nothing at or after `offset`."""
    cdef int32_t slot
    cdef Segment *segment
    cdef Status status
    if log.closed:
        return CLOSED
    if offset < log.start_offset or offset > log.end_offset:
        return OFFSET_OUT_OF_RANGE
    if offset == log.end_offset or offset >= limit_offset:
        return NOT_FOUND
    slot = log_segment_slot(log, offset)
    if slot < 0:
        slot = 0
    while slot < log.segment_count and log.segments[slot].next_offset <= offset:
        slot += 1                                            # a gap that compaction left at the segment's end
    if slot == log.segment_count:
        return NOT_FOUND
    segment = log.segments[slot]
    if segment.base_offset >= limit_offset:
        return NOT_FOUND
    status = segment_open(log, segment)
    if status != OK:
        return status
    search.truncations = log.truncations
    search.base_offset = segment.base_offset
    search.segment_next_offset = segment.next_offset
    search.segment_size = segment.size
    search.readable = segment.size
    search.may_rebuild = segment.damaged_from < 0
    search.before_damage = segment.end_lost
    search.start_position = log_hint(log, segment.base_offset, offset)
    search.start_known = search.start_position >= 0
    search.start_begins_by = INT64_MAX
    search.limit_position = -1
    if limit_offset < segment.next_offset:
        search.limit_position = log_hint(log, segment.base_offset, limit_offset)
    if not search.start_known:
        status = segment_load_index(log, segment)
        if status != OK:
            return status
        slot = offset_index_slot(&segment.offsets, offset - segment.base_offset)
        search.start_position = 0
        if slot >= 0:
            search.start_position = segment.offsets.entries[slot].position
            search.start_begins_by = segment.base_offset + segment.offsets.entries[slot].relative_offset
    if segment.damaged_from >= 0:
        if segment.damaged_to >= 0 and offset >= segment.damaged_to_offset:
            if search.start_position < segment.damaged_to:
                search.start_position = segment.damaged_to
                search.start_begins_by = INT64_MAX
        else:
            search.readable = segment.damaged_from
            search.before_damage = True
    search.file = segment.file
    segment_file_retain(search.file)
    return OK


cdef Segment *searched_segment(LogState *log, const Search *search) noexcept nogil:
    """The segment that is searched, NULL when compaction has put another file in its place.  Under the mutex."""
    cdef int32_t slot = log_segment_slot(log, search.base_offset)
    if slot < 0 or log.segments[slot].base_offset != search.base_offset or log.segments[slot].file != search.file:
        return NULL
    return log.segments[slot]


cdef void suspect_index(LogState *log, int64_t base_offset) noexcept nogil:
    """The index led to bytes that are no batch: it is built anew before its next use."""
    cdef int32_t slot
    pthread_mutex_lock(&log.mutex)
    slot = log_segment_slot(log, base_offset)
    if slot >= 0 and log.segments[slot].base_offset == base_offset:
        log.segments[slot].index_suspect = True
    pthread_mutex_unlock(&log.mutex)


cdef int64_t known_position_below(
        LogState *log, const Search *search, int64_t position, int64_t limit_offset, int64_t *begins_by) noexcept nogil:
    """Position of an indexed batch at or below `position` that ends below `limit_offset`; 0 when none is known."""
    cdef int32_t slot
    cdef int32_t by_offset
    cdef int64_t found = 0
    cdef Segment *segment
    pthread_mutex_lock(&log.mutex)
    segment = searched_segment(log, search)
    if segment != NULL and segment_load_index(log, segment) == OK:
        slot = offset_index_slot_of_position(&segment.offsets, position)
        by_offset = offset_index_slot(&segment.offsets, limit_offset - 1 - segment.base_offset)
        if by_offset < slot:
            slot = by_offset
        if slot >= 0:
            found = segment.offsets.entries[slot].position
            begins_by[0] = segment.base_offset + segment.offsets.entries[slot].relative_offset
    pthread_mutex_unlock(&log.mutex)
    return found


cdef Status walk_to_end(
        Walk *walk, const Search *search, int64_t from_position, int64_t begins_by, int64_t limit_offset, int64_t max_bytes,
        bint at_least_one, ReadResult *result) noexcept nogil:
    """Whole batches from `from_position` on, up to limit and max_bytes.  DAMAGED: no batch begins there, or one behind `begins_by`."""
    cdef BatchHeader header
    cdef int64_t position = from_position
    cdef int64_t next_offset
    cdef bint indexed = position > search.start_position
    cdef Status status = walk_entry(walk, position, begins_by, &header) if indexed else walk_header(walk, position, &header)
    if indexed:
        if status != OK:
            return status
        result.next_offset = header.base_offset              # when this batch does not fit any more, the range ends before it
    while status == OK:
        next_offset = header.base_offset + header.last_offset_delta + 1
        if next_offset > limit_offset:
            break
        if position + header.size - search.start_position > max_bytes and not (at_least_one and position == search.start_position):
            break
        position += header.size
        result.next_offset = next_offset
        status = walk_header(walk, position, &header)
    result.range.size = position - search.start_position
    return OK if status == NOT_FOUND or result.range.size > 0 else status


cdef Status find_end(
        LogState *log, Walk *walk, const Search *search, int64_t limit_offset, int64_t max_bytes, bint at_least_one,
        ReadResult *result) noexcept nogil:
    cdef int64_t from_position
    cdef int64_t begins_by = INT64_MAX
    cdef Status status
    cdef int64_t last_position = search.readable - 1
    cdef int64_t rest = search.readable - search.start_position
    if search.readable == search.segment_size and limit_offset >= search.segment_next_offset and rest <= max_bytes:
        result.range.size = rest
        result.next_offset = search.segment_next_offset
        return OK
    if search.limit_position > search.start_position and search.limit_position - search.start_position <= max_bytes:
        result.range.size = search.limit_position - search.start_position
        result.next_offset = limit_offset
        return OK
    if max_bytes < rest:
        last_position = search.start_position + max_bytes
    from_position = known_position_below(log, search, last_position, limit_offset, &begins_by)
    if from_position > search.start_position:
        status = walk_to_end(walk, search, from_position, begins_by, limit_offset, max_bytes, at_least_one, result)
        if status != DAMAGED:
            return status
        if search.may_rebuild:                               # the index has led to what is no batch, or a later one
            suspect_index(log, search.base_offset)
    return walk_to_end(walk, search, search.start_position, INT64_MAX, limit_offset, max_bytes, at_least_one, result)


cdef Status find_range(
        LogState *log, Search *search, int64_t offset, int64_t limit_offset, int64_t max_bytes, bint at_least_one,
        ReadResult *result) noexcept nogil:
    """NOT_FOUND when compaction left nothing at or after `offset` in this segment."""
    cdef Walk walk
    cdef BatchHeader header
    cdef Status status
    if search.start_known and search.start_position >= search.readable:
        return DAMAGED
    walk_over(&walk, search.file.fd, search.readable)
    if not search.start_known:
        status = walk_to_offset(
            &walk, search.start_position, search.start_begins_by, offset, &search.start_position, &header)
        if status == NOT_FOUND and search.before_damage:
            return DAMAGED
        if status != OK:
            return status
        if header.base_offset < search.base_offset or header.base_offset >= search.segment_next_offset:
            return DAMAGED
        result.first_offset = header.base_offset
    result.range.position = search.start_position
    return find_end(log, &walk, search, limit_offset, max_bytes, at_least_one, result)


cdef Status read_once(
        LogState *log, int64_t *offset, int64_t limit_offset, int64_t max_bytes, bint at_least_one,
        ReadResult *result, bint *again) noexcept nogil:
    """`again` asks for another look: at the next segment (offset has moved there), or through an index built anew."""
    cdef Search search
    cdef Status status
    again[0] = False
    result.first_offset = result.next_offset = offset[0]
    result.range.size = 0
    pthread_mutex_lock(&log.mutex)
    status = begin_search(log, offset[0], limit_offset, &search)
    pthread_mutex_unlock(&log.mutex)
    if status != OK:
        return OK if status == NOT_FOUND else status
    status = find_range(log, &search, offset[0], limit_offset, max_bytes, at_least_one, result)
    if status == STORAGE_ERROR:
        log_note_read_error(log, EIO)
    if status == OK and result.range.size > 0:
        result.range.file = search.file
        result.range.fd = search.file.fd
        pthread_mutex_lock(&log.mutex)
        # Else another batch may begin there by now, or another file stand in its place.
        if log.truncations == search.truncations and searched_segment(log, &search) != NULL:
            log_add_hint(log, search.base_offset, result.next_offset, result.range.position + result.range.size)
        pthread_mutex_unlock(&log.mutex)
        return OK
    segment_file_release(search.file)
    result.range.size = 0
    result.next_offset = offset[0]
    if status == DAMAGED and search.may_rebuild and not search.start_known:
        suspect_index(log, search.base_offset)
        again[0] = True
    elif status == NOT_FOUND:
        offset[0] = search.segment_next_offset
        again[0] = True
    return status


cdef Status log_read(
        LogState *log, int64_t offset, int64_t limit_offset, int64_t max_bytes, bint at_least_one, ReadResult *result) noexcept nogil:
    cdef bint again = True
    cdef int rebuilds = 0
    cdef Status status = OK
    result.range.file = NULL
    result.range.fd = -1
    result.range.position = result.range.size = 0
    while again and rebuilds < 2:
        status = read_once(log, &offset, limit_offset, max_bytes, at_least_one, result, &again)
        if status == DAMAGED:
            rebuilds += 1
    return status


cdef int32_t first_aborted(const TxnIndex *index, int64_t offset) noexcept nogil:
    """The first entry whose marker is at or after `offset`: entries are in the order of their markers."""
    cdef int32_t low = 0
    cdef int32_t high = index.count
    cdef int32_t middle
    while low < high:
        middle = low + (high - low) // 2
        if index.entries[middle].last_offset < offset:
            low = middle + 1
        else:
            high = middle
    return low


cdef int32_t log_collect_aborted(LogState *log, int64_t offset, int64_t limit_offset, Output *output) noexcept nogil:
    cdef const TxnIndex *index
    cdef const AbortedTransaction *entry
    cdef int32_t found = 0
    cdef int32_t slot
    cdef int32_t number
    cdef bint complete = False
    pthread_mutex_lock(&log.mutex)
    slot = max(log_segment_slot(log, offset), 0)
    while slot < log.segment_count and not complete:
        index = &log.segments[slot].aborted
        for number in range(first_aborted(index, offset), index.count):
            entry = &index.entries[number]
            if entry.first_offset < limit_offset:
                write_int64(output, entry.producer_id)
                write_int64(output, entry.first_offset)
                found += 1
            if entry.last_stable_offset >= limit_offset:
                complete = True                              # all that begins below the limit was decided before this marker
                break
        slot += 1
    pthread_mutex_unlock(&log.mutex)
    return found


cdef Status log_end_offset_for_epoch(LogState *log, int32_t leader_epoch, int32_t *found_epoch, int64_t *end_offset) noexcept nogil:
    cdef Status status
    pthread_mutex_lock(&log.mutex)
    status = leader_epochs_end_offset(&log.epochs, leader_epoch, log.end_offset, found_epoch, end_offset)
    pthread_mutex_unlock(&log.mutex)
    return status


cdef int32_t log_epoch_of_offset(LogState *log, int64_t offset) noexcept nogil:
    cdef int32_t epoch
    pthread_mutex_lock(&log.mutex)
    epoch = leader_epochs_of_offset(&log.epochs, offset)
    pthread_mutex_unlock(&log.mutex)
    return epoch
