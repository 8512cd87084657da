"""Making a log shorter: truncation at the end, deletion at the start (see the .pxd)."""

from libc.errno cimport ENOENT
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free

from pystream._native.atomics cimport atomic_load32, atomic_store64
from pystream._native.batch cimport BatchHeader
from pystream._native.io_table cimport (
    io_read_file, io_rename, io_status, io_sync, io_sync_directory, io_truncate, io_unlink,
)
from pystream._native.leader_epochs cimport leader_epochs_save, leader_epochs_truncate_end, leader_epochs_truncate_start
from pystream._native.log_memory cimport log_drop_segments
from pystream._native.log_replay cimport replay_segment
from pystream._native.log_state cimport (
    KEPT_SNAPSHOTS, MAX_PATH_SIZE, Segment, log_clear_hints, log_publish_undecided, log_segment_slot, log_take_offline,
)
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.producer_state cimport producers_clear, producers_decode
from pystream._native.segment cimport (
    Walk, segment_cut, segment_cut_aborted, segment_find_position, segment_open, segment_path, walk_over, walk_to_offset,
)
from pystream._native.status cimport LOG_OFFLINE, NOT_FOUND, NOT_LEADER, OFFSET_OUT_OF_RANGE, OK, STORAGE_ERROR

cdef enum:
    MAX_SNAPSHOT = 1 << 28


cdef int unlink_side_file(const LogState *log, int64_t offset, const char *suffix) noexcept nogil:
    cdef char path[MAX_PATH_SIZE]
    segment_path(log, offset, suffix, path)
    return io_unlink(path)


cdef int unlink_segment(const LogState *log, int64_t base_offset) noexcept nogil:
    """The indexes first: a .log without them is whole, they without it are nothing."""
    cdef int error = unlink_side_file(log, base_offset, b".index")
    if error == 0:
        error = unlink_side_file(log, base_offset, b".timeindex")
    if error == 0:
        error = unlink_side_file(log, base_offset, b".txnindex")
    return error if error != 0 else unlink_side_file(log, base_offset, b".log")


# ---------------------------------------------------------------------------------------------------------------------
# Truncation

cdef Status find_cut(LogState *log, Segment *segment, int64_t offset, int64_t *size, int64_t *next_offset) noexcept nogil:
    """Where the first batch that ends after `offset - 1` begins."""
    cdef Walk walk
    cdef BatchHeader header
    cdef int64_t position = 0
    cdef Status status
    if offset >= segment.next_offset:
        size[0] = segment.size
        next_offset[0] = segment.next_offset
        return OK
    status = segment_find_position(log, segment, offset, &position)
    if status != OK:
        return status
    walk_over(&walk, segment.file.fd, segment.size)
    status = walk_to_offset(&walk, position, INT64_MAX, offset, &position, &header)
    if status == OK:
        size[0] = position
        next_offset[0] = header.base_offset if header.base_offset < offset else offset
    elif status == NOT_FOUND:                                # compaction left nothing at or after it
        size[0] = segment.size
        next_offset[0] = offset
        status = OK
    return status


cdef int drop_snapshots(LogState *log, int64_t end_offset) noexcept nogil:
    cdef int number
    cdef int error = 0
    for number in range(KEPT_SNAPSHOTS):
        if log.snapshots[number] > end_offset:
            error = unlink_side_file(log, log.snapshots[number], b".snapshot")
            if error != 0:
                return error
            log.snapshots[number] = -1
    if log.snapshots[KEPT_SNAPSHOTS - 1] < 0:                # the one that is left stands last
        log.snapshots[KEPT_SNAPSHOTS - 1] = log.snapshots[0]
        log.snapshots[0] = -1
    return 0


cdef Status reload_producers(LogState *log) noexcept nogil:
    """Producer state as of the new end: the newest snapshot left, then the batches behind it."""
    cdef char path[MAX_PATH_SIZE]
    cdef uint8_t *data = NULL
    cdef Py_ssize_t size = 0
    cdef int64_t from_offset = log.segments[0].base_offset
    cdef int64_t snapshot = log.snapshots[KEPT_SNAPSHOTS - 1]
    cdef int32_t slot
    cdef Status status = OK
    producers_clear(&log.producers)
    if snapshot >= 0:
        segment_path(log, snapshot, b".snapshot", path)
        if io_read_file(path, MAX_SNAPSHOT, &data, &size) == 0:
            if producers_decode(&log.producers, data, size) == OK:
                from_offset = snapshot
            free(data)
    slot = log_segment_slot(log, from_offset)
    for slot in range(slot if slot > 0 else 0, log.segment_count):
        segment_cut_aborted(log.segments[slot], from_offset)
        if status == OK:
            status = replay_segment(log, log.segments[slot], from_offset, True, False, False)
    log_publish_undecided(log)
    return status


cdef int cut_files(LogState *log, int32_t slot, int64_t size, int64_t next_offset) noexcept nogil:
    cdef Segment *segment = log.segments[slot]
    cdef int32_t later
    cdef int error = 0
    for later in range(log.segment_count - 1, slot, -1):
        if log.segments[later].exists:
            error = unlink_segment(log, log.segments[later].base_offset)
            if error != 0:
                return error
    log_drop_segments(log, slot + 1, log.segment_count - slot - 1)
    error = unlink_side_file(log, segment.base_offset, b".index")
    if error == 0:
        error = unlink_side_file(log, segment.base_offset, b".timeindex")
    if error == 0 and segment.exists:
        error = io_truncate(segment.file.fd, size)
        if error == 0:
            error = io_sync(segment.file.fd)
    if error == 0:
        error = io_sync_directory(log.directory)
    if error == 0:
        segment_cut(segment, next_offset, size)
        segment.sealed = False
        free(segment.snapshot)
        segment.snapshot = NULL
    return error


cdef int save_cut_epochs(LogState *log) noexcept nogil:
    """A file that tells of epochs above the cut would contradict what is written there next: rather none, until the next flush."""
    cdef char path[MAX_PATH_SIZE]
    cdef int error = leader_epochs_save(&log.epochs, log.directory)
    if error != 0:
        snprintf(path, MAX_PATH_SIZE, b"%s/leader-epoch-checkpoint", log.directory)
        io_unlink(path)
    return error


cdef Status truncate_locked(LogState *log, int64_t offset) noexcept nogil:
    cdef int64_t size = 0
    cdef int64_t next_offset = 0
    cdef int32_t slot
    cdef Status status
    cdef int error
    if atomic_load32(&log.offline) != OK or log.closed:
        return LOG_OFFLINE
    if log.frozen:
        return NOT_LEADER
    if offset >= log.end_offset:
        return OK
    if offset < log.start_offset:
        return OFFSET_OUT_OF_RANGE
    slot = log_segment_slot(log, offset)
    while slot > 0 and log.segments[slot].base_offset == offset:
        slot -= 1                                            # it would be empty: the one before becomes active again
    status = segment_open(log, log.segments[slot]) if log.segments[slot].exists else OK
    if status == OK:
        status = find_cut(log, log.segments[slot], offset, &size, &next_offset)
    if status != OK:
        return status
    log.truncations += 1
    error = cut_files(log, slot, size, next_offset)
    if error != 0:
        log_take_offline(log, STORAGE_ERROR, error)          # half cut: only recovery can tell what is there
        return io_status(error)
    log_clear_hints(log)
    if next_offset < log.start_offset:                       # a whole batch went of which only the end could be read
        atomic_store64(&log.start_offset, next_offset)
    atomic_store64(&log.end_offset, next_offset)
    if log.durable_offset > next_offset:
        atomic_store64(&log.durable_offset, next_offset)
    if log.recovery_point > next_offset:
        atomic_store64(&log.recovery_point, next_offset)
    leader_epochs_truncate_end(&log.epochs, next_offset)
    error = drop_snapshots(log, next_offset)
    error = save_cut_epochs(log) or error
    if error != 0:
        log.last_errno = error
    status = reload_producers(log)
    if status != OK:
        log_take_offline(log, status, log.last_errno)        # its producers are not known any more: recovery will tell
    return status


cdef Status log_truncate_to(LogState *log, int64_t offset) noexcept nogil:
    cdef Status status
    pthread_mutex_lock(&log.flush_mutex)
    pthread_mutex_lock(&log.mutex)
    status = truncate_locked(log, offset)
    pthread_mutex_unlock(&log.mutex)
    pthread_mutex_unlock(&log.flush_mutex)
    return status


# ---------------------------------------------------------------------------------------------------------------------
# Deletion

cdef Status log_advance_start_offset(LogState *log, int64_t offset) noexcept nogil:
    cdef Status status = OK
    pthread_mutex_lock(&log.mutex)
    if log.frozen:
        status = NOT_LEADER
    elif offset > log.end_offset or offset < 0:
        status = OFFSET_OUT_OF_RANGE
    elif offset > log.start_offset:
        atomic_store64(&log.start_offset, offset)
        leader_epochs_truncate_start(&log.epochs, offset)
    pthread_mutex_unlock(&log.mutex)
    return status


cdef int rename_deleted(const LogState *log, int64_t base_offset, const char *suffix) noexcept nogil:
    cdef char path[MAX_PATH_SIZE]
    cdef char renamed[MAX_PATH_SIZE]
    cdef int error
    segment_path(log, base_offset, suffix, path)
    if snprintf(renamed, MAX_PATH_SIZE, b"%s.deleted", path) >= MAX_PATH_SIZE:
        return STORAGE_ERROR
    error = io_rename(path, renamed)
    return 0 if error == ENOENT else error


cdef int rename_segment(const LogState *log, int64_t base_offset) noexcept nogil:
    cdef int error = rename_deleted(log, base_offset, b".log")
    if error == 0:
        error = rename_deleted(log, base_offset, b".index")
    if error == 0:
        error = rename_deleted(log, base_offset, b".timeindex")
    return error if error != 0 else rename_deleted(log, base_offset, b".txnindex")


cdef Status log_delete_segments(LogState *log, int64_t offset, int32_t maximum, int64_t *base_offsets, int32_t *count) noexcept nogil:
    cdef Status status = OK
    cdef int error = 0
    count[0] = 0
    pthread_mutex_lock(&log.flush_mutex)
    pthread_mutex_lock(&log.mutex)
    if log.closed:
        status = LOG_OFFLINE
    elif log.frozen:
        status = NOT_LEADER
    while status == OK and count[0] < maximum and log.segment_count > 1 and log.segments[0].next_offset <= offset:
        error = rename_segment(log, log.segments[0].base_offset)
        if error != 0:
            log.last_errno = error
            status = io_status(error)
            break
        base_offsets[count[0]] = log.segments[0].base_offset
        count[0] += 1
        log_drop_segments(log, 0, 1)
        if log.start_offset < log.segments[0].base_offset:
            atomic_store64(&log.start_offset, log.segments[0].base_offset)
            leader_epochs_truncate_start(&log.epochs, log.start_offset)
    pthread_mutex_unlock(&log.mutex)
    pthread_mutex_unlock(&log.flush_mutex)
    return status if count[0] == 0 else OK
