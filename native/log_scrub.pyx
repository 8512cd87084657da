"""Checking closed segments in small steps (see the .pxd): magic, length, CRC, order of offsets and epochs of every batch.

    under the mutex      find the segment, take a reference to its file
    without it           read and check; at a bad batch, find out where valid ones begin again
    under the mutex      note the damage, unless the segment was cut or replaced meanwhile

Every epoch must be the one that the log knows for its offset.  Where two batches side by side have others, and nothing else is wrong,
the log was opened with a wrong epochs file: that is for recovery to mend, and no damage.

Gaps are no damage here: compaction makes them.  A base offset lies outside the checksum, but not in order it fails its neighbour's check.
"""

from libc.stdint cimport INT32_MAX, INT64_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc

from pystream._native.atomics cimport atomic_load32
from pystream._native.leader_epochs cimport LeaderEpochs, leader_epochs_copy, leader_epochs_free
from pystream._native.log_recovery cimport log_mark_damage
from pystream._native.log_scan cimport SCAN_BUFFER_SIZE, Scan, scan_file
from pystream._native.log_state cimport Segment, SegmentFile, log_clear_hints, log_segment_slot, log_take_offline
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.segment cimport segment_file_release, segment_file_retain, segment_open
from pystream._native.status cimport DAMAGED, NOT_FOUND, OK, OUT_OF_MEMORY

cdef struct Closed:
    SegmentFile *file            # one reference
    int64_t size
    int64_t next_offset
    int64_t truncations          # of the log, when the segment was looked at
    LeaderEpochs epochs          # the log's, copied


cdef Segment *closed_segment(const LogState *log, int64_t base_offset) noexcept nogil:
    """NULL when it is gone, or is not closed any more.  Under the mutex."""
    cdef int32_t slot = log_segment_slot(log, base_offset)
    if slot < 0 or slot == log.segment_count - 1 or log.segments[slot].base_offset != base_offset:
        return NULL
    return log.segments[slot]


cdef Status take_closed(LogState *log, int64_t base_offset, Closed *closed) noexcept nogil:
    """NOT_FOUND when there is nothing to check, or its damage is known.  Under the mutex."""
    cdef Segment *segment = closed_segment(log, base_offset)
    cdef Status status
    if log.closed or segment == NULL or segment.size == 0 or segment.damaged_from >= 0:
        return NOT_FOUND
    status = segment_open(log, segment)
    if status != OK:
        return status
    if leader_epochs_copy(&closed.epochs, &log.epochs) != OK:
        return OUT_OF_MEMORY
    closed.file = segment.file
    segment_file_retain(closed.file)
    closed.size = segment.size
    closed.next_offset = segment.next_offset
    closed.truncations = log.truncations
    return OK


cdef Status check_batches(LogState *log, const Closed *closed, int64_t base_offset, int64_t max_bytes, Scrub *scrub) noexcept nogil:
    cdef Scan scan
    cdef Status status
    cdef bint only_epochs = True
    cdef bint side_by_side = False
    scan.fd = closed.file.fd
    scan.file_size = closed.size
    scan.position = scrub.position
    scan.pause_position = scrub.position + max_bytes
    scan.next_offset = scrub.next_offset
    scan.leader_epoch = -1
    scan.epochs = &closed.epochs
    scan.epochs_complete_below = INT64_MAX
    scan.newest_epoch = INT32_MAX
    scan.wrong_epoch = scan.rose_earlier = False
    scan.risen_offset = scan.risen_position = -1
    scan.max_batch_size = INT32_MAX
    scan.limit_offset = min(closed.next_offset, base_offset + INT32_MAX + 1)
    scan.compacted = True
    scan.note = False
    scan.reason = OK
    scan.ends_inside = False
    scan.valid_position = scan.valid_offset = -1
    scan.capacity = min(SCAN_BUFFER_SIZE, closed.size)
    scan.buffer = <uint8_t *> malloc(scan.capacity)
    scan.buffer_position = scan.buffer_size = 0
    if scan.buffer == NULL:
        return OUT_OF_MEMORY
    status = scan_file(log, NULL, &scan)
    if status == OK and scan.reason != OK:
        scrub.damaged_from = scan.position
    while status == OK and scan.reason != OK:
        only_epochs = only_epochs and scan.wrong_epoch
        side_by_side = side_by_side or scan.position == scrub.damaged_to
        if scan.valid_position < 0:
            break
        scrub.damaged_to = scan.position = scan.valid_position
        scrub.damaged_to_offset = scan.next_offset = scan.valid_offset
        scan.pause_position = closed.size
        scan.leader_epoch = -1
        scan.wrong_epoch = False
        scan.reason = OK
        status = scan_file(log, NULL, &scan)
    free(scan.buffer)
    scrub.position = scan.position
    scrub.next_offset = scan.next_offset
    scrub.done = scrub.damaged_from >= 0 or scan.position >= closed.size
    if only_epochs and side_by_side:
        scrub.damaged_from = scrub.damaged_to = scrub.damaged_to_offset = -1
    return status


cdef void note_damage(LogState *log, int64_t base_offset, const Closed *closed, Scrub *scrub) noexcept nogil:
    """Under the mutex.  What was cut, compacted or deleted meanwhile is nobody's damage."""
    cdef Segment *segment = closed_segment(log, base_offset)
    if segment == NULL or log.truncations != closed.truncations or segment.size != closed.size or segment.next_offset != closed.next_offset:
        scrub.damaged_from = -1
        return
    segment.damaged_from = scrub.damaged_from
    segment.damaged_to = scrub.damaged_to
    segment.damaged_to_offset = scrub.damaged_to_offset
    segment.index_suspect = False
    log_clear_hints(log)                                     # one may lead past the damage, and one into it
    if atomic_load32(&log.offline) == OK:
        log_take_offline(log, DAMAGED, 0)


cdef Status log_scrub(LogState *log, int64_t base_offset, int64_t max_bytes, Scrub *scrub) noexcept nogil:
    cdef Closed closed
    cdef Status status
    scrub.damaged_from = scrub.damaged_to = scrub.damaged_to_offset = -1
    scrub.done = True
    pthread_mutex_lock(&log.mutex)
    status = take_closed(log, base_offset, &closed)
    pthread_mutex_unlock(&log.mutex)
    if status != OK:
        return OK if status == NOT_FOUND else status
    if scrub.position < closed.size:
        status = check_batches(log, &closed, base_offset, max_bytes, scrub)
    if status == OK and scrub.damaged_from >= 0:
        pthread_mutex_lock(&log.mutex)
        note_damage(log, base_offset, &closed, scrub)
        pthread_mutex_unlock(&log.mutex)
        if scrub.damaged_from >= 0:
            log.last_errno = log_mark_damage(log, base_offset)
    segment_file_release(closed.file)
    leader_epochs_free(&closed.epochs)
    return status
