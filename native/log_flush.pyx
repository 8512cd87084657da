"""Making a log durable (see the .pxd).

    under the mutex      note the end; take references to files with unsynced bytes; copy what side files lack
    without it           fdatasync the segments, oldest first; fsync the directory when files are new; write and fsync the side files
    under the mutex      publish the durable offset, unless a truncation came in between: then begin again
"""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc

from pystream._native.atomics cimport atomic_load32, atomic_store64
from pystream._native.io_table cimport io_replace_file, io_sync_data, io_sync_directory, io_unlink
from pystream._native.leader_epochs cimport leader_epochs_encode
from pystream._native.log_state cimport (
    KEPT_SNAPSHOTS, MAX_PATH_SIZE, Segment, SegmentFile, log_add_hint, log_take_offline,
)
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.producer_state cimport producers_encode
from pystream._native.segment cimport (
    IndexImage, index_image_free, index_image_write, index_image_written, segment_file_release, segment_file_retain,
    segment_image_index, segment_path, segment_trim_open_files,
)
from pystream._native.status cimport LOG_OFFLINE, OK, OUT_OF_MEMORY, STORAGE_ERROR

cdef enum:
    INDEX_BACKLOG = 4096         # index entries of the active segment that may wait in memory only
    UNINDEXED_BYTES = 2 << 20    # and bytes of it that they stand for

cdef struct FlushItem:
    SegmentFile *file            # one reference, or NULL: nothing to sync
    int64_t base_offset
    bint has_image
    IndexImage image
    uint8_t *snapshot            # owned
    Py_ssize_t snapshot_size
    int64_t snapshot_offset

cdef struct FlushPlan:
    FlushItem *items
    int32_t count
    int64_t end_offset
    int64_t end_position         # of end_offset in the active segment
    int64_t active_base_offset
    int64_t truncations
    int64_t records
    bint directory
    uint8_t *epochs              # owned
    Py_ssize_t epochs_size


cdef bint index_is_due(const Segment *segment, bint all_indexes) noexcept nogil:
    """A start after a crash reads again what no stored index entry leads past: the active segment's index must not wait for its end."""
    cdef int32_t waiting
    cdef int64_t stored_to = 0
    if segment.sealed or all_indexes:
        return segment.exists and segment.index_loaded and not segment.index_final
    waiting = segment.offsets.count - segment.offsets_stored
    if waiting > 0 and segment.offsets_stored > 0:
        stored_to = segment.offsets.entries[segment.offsets_stored - 1].position
    return waiting >= INDEX_BACKLOG or (waiting > 0 and segment.size - stored_to >= UNINDEXED_BYTES)


cdef bint needs_flush(const Segment *segment, bint all_indexes) noexcept nogil:
    return segment.unsynced or segment.snapshot != NULL or index_is_due(segment, all_indexes)


cdef Status plan_item(LogState *log, Segment *segment, FlushItem *item, bint all_indexes) noexcept nogil:
    cdef bint final = segment.sealed or all_indexes
    item.base_offset = segment.base_offset
    item.file = NULL
    item.has_image = False
    if index_is_due(segment, all_indexes):
        if segment_image_index(segment, final, &item.image) != OK:
            return OUT_OF_MEMORY
        item.has_image = True
        if not segment.sealed and segment.snapshot == NULL:
            segment.snapshot = producers_encode(&log.producers, &segment.snapshot_size)
    item.snapshot = segment.snapshot
    item.snapshot_size = segment.snapshot_size
    item.snapshot_offset = segment.next_offset
    segment.snapshot = NULL
    if segment.unsynced and segment.file != NULL:
        item.file = segment.file
        segment_file_retain(item.file)
        segment.unsynced = False
    return OK


cdef Status make_plan(LogState *log, FlushPlan *plan, bint all_indexes) noexcept nogil:
    """Called under the mutex.  What the plan holds is freed by free_plan(), also after a failure."""
    cdef Segment *active = log.segments[log.segment_count - 1]
    cdef int32_t needed = 0
    cdef int32_t slot
    cdef Status status
    plan.items = NULL
    plan.count = 0
    plan.epochs = NULL
    plan.end_offset = log.end_offset
    plan.end_position = active.size
    plan.active_base_offset = active.base_offset
    plan.truncations = log.truncations
    plan.records = log.appended_since_flush
    plan.directory = log.directory_unsynced
    log.directory_unsynced = False
    for slot in range(log.segment_count):
        if needs_flush(log.segments[slot], all_indexes):
            needed += 1
    if needed > 0:
        plan.items = <FlushItem *> malloc(needed * sizeof(FlushItem))
        if plan.items == NULL:
            return OUT_OF_MEMORY
    for slot in range(log.segment_count):
        if needs_flush(log.segments[slot], all_indexes):
            status = plan_item(log, log.segments[slot], &plan.items[plan.count], all_indexes)
            if status != OK:
                return status
            plan.count += 1
    if log.epochs.unsaved:
        plan.epochs = leader_epochs_encode(&log.epochs, &plan.epochs_size)
        if plan.epochs == NULL:
            return OUT_OF_MEMORY
        log.epochs.unsaved = False
    return OK


cdef void free_plan(FlushPlan *plan) noexcept nogil:
    cdef FlushItem *item
    cdef int32_t number
    for number in range(plan.count):
        item = &plan.items[number]
        if item.file != NULL:
            segment_file_release(item.file)
        if item.has_image:
            index_image_free(&item.image)
        free(item.snapshot)
    free(plan.items)
    free(plan.epochs)


cdef int sync_data(LogState *log, FlushPlan *plan) noexcept nogil:
    """0 or the errno of the sync that failed.  Never tried twice."""
    cdef int32_t number
    cdef int error = 0
    for number in range(plan.count):
        if plan.items[number].file != NULL:
            error = io_sync_data(plan.items[number].file.fd)
            if error != 0:
                return error
    return io_sync_directory(log.directory) if plan.directory else 0


cdef int write_side_files(LogState *log, FlushPlan *plan) noexcept nogil:
    """0 or the last errno; one failure does not keep the others from being written.

    Snapshots come last: one that exists tells recovery that all below its offset, log and side files, is durable.
    """
    cdef char path[MAX_PATH_SIZE]
    cdef FlushItem *item
    cdef int32_t number
    cdef int failed = 0
    cdef int error
    for number in range(plan.count):
        item = &plan.items[number]
        if item.has_image:
            error = index_image_write(log, &item.image, item.image.final)
            if error != 0:
                failed = error
                item.image.base_offset = -1                      # not written
    if plan.epochs != NULL:
        snprintf(path, MAX_PATH_SIZE, b"%s/leader-epoch-checkpoint", log.directory)
        error = io_replace_file(log.directory, path, plan.epochs, plan.epochs_size, True)
        if error != 0:
            failed = error
    for number in range(plan.count):
        item = &plan.items[number]
        if item.snapshot != NULL and failed == 0:
            segment_path(log, item.snapshot_offset, b".snapshot", path)
            # One in the middle of a segment may be lost again: without its fsyncs acknowledgements wait less.
            failed = io_replace_file(log.directory, path, item.snapshot, item.snapshot_size, not item.has_image or item.image.final)
            if failed == 0:
                note_snapshot(log, item.snapshot_offset)
    return failed


cdef void note_snapshot(LogState *log, int64_t offset) noexcept nogil:
    """The newest snapshots stay, the one they push out goes.  Guarded by the flush mutex."""
    cdef char path[MAX_PATH_SIZE]
    cdef int number
    for number in range(KEPT_SNAPSHOTS):
        if log.snapshots[number] == offset:
            return
    if log.snapshots[0] >= 0:
        segment_path(log, log.snapshots[0], b".snapshot", path)
        io_unlink(path)
    for number in range(KEPT_SNAPSHOTS - 1):
        log.snapshots[number] = log.snapshots[number + 1]
    log.snapshots[KEPT_SNAPSHOTS - 1] = offset


cdef Segment *segment_at(LogState *log, int64_t base_offset) noexcept nogil:
    cdef int32_t slot
    for slot in range(log.segment_count - 1, -1, -1):
        if log.segments[slot].base_offset == base_offset:
            return log.segments[slot]
    return NULL


cdef bint publish(LogState *log, FlushPlan *plan, bint side_files_written) noexcept nogil:
    """False when a truncation came in between.  Called under the mutex."""
    cdef Segment *segment
    cdef int32_t number
    if log.truncations != plan.truncations:
        return False
    for number in range(plan.count):
        if plan.items[number].has_image and plan.items[number].image.base_offset >= 0:
            segment = segment_at(log, plan.items[number].base_offset)
            if segment != NULL:
                index_image_written(segment, &plan.items[number].image)
    if plan.end_offset > log.durable_offset:
        atomic_store64(&log.durable_offset, plan.end_offset)
        log_add_hint(log, plan.active_base_offset, plan.end_offset, plan.end_position)
    if side_files_written:
        atomic_store64(&log.recovery_point, log.durable_offset)
    log.appended_since_flush -= plan.records
    if log.appended_since_flush <= 0:
        log.appended_since_flush = 0
        log.oldest_unflushed_ms = -1
    return True


cdef Status flush_once(LogState *log, bint all_indexes, bint *again) noexcept nogil:
    cdef FlushPlan plan
    cdef int error
    cdef int side_error
    cdef Status status
    again[0] = False
    pthread_mutex_lock(&log.mutex)
    if atomic_load32(&log.offline) != OK or log.closed:
        pthread_mutex_unlock(&log.mutex)
        return LOG_OFFLINE
    status = make_plan(log, &plan, all_indexes)
    pthread_mutex_unlock(&log.mutex)
    if status != OK:
        # Some segments may be marked as synced by now: nothing that follows can be trusted to be durable.
        log_take_offline(log, status, 0)
        free_plan(&plan)
        return status
    error = sync_data(log, &plan)
    side_error = write_side_files(log, &plan) if error == 0 else 0
    pthread_mutex_lock(&log.mutex)
    if error != 0:
        log_take_offline(log, STORAGE_ERROR, error)
    else:
        if side_error != 0:
            log.last_errno = side_error
            log.epochs.unsaved = log.epochs.unsaved or plan.epochs != NULL
        again[0] = not publish(log, &plan, side_error == 0)
        segment_trim_open_files(log)
    pthread_mutex_unlock(&log.mutex)
    free_plan(&plan)
    return STORAGE_ERROR if error != 0 else OK


cdef Status flush_until_published(LogState *log, bint all_indexes) noexcept nogil:
    cdef bint again = True
    cdef Status status = OK
    pthread_mutex_lock(&log.flush_mutex)
    while again and status == OK:
        status = flush_once(log, all_indexes, &again)
    pthread_mutex_unlock(&log.flush_mutex)
    return status


cdef Status log_flush(LogState *log) noexcept nogil:
    return flush_until_published(log, False)


cdef Status log_flush_all(LogState *log) noexcept nogil:
    cdef Segment *active
    pthread_mutex_lock(&log.mutex)
    active = log.segments[log.segment_count - 1]
    if log.end_offset > log.start_offset and log.snapshots[KEPT_SNAPSHOTS - 1] != log.end_offset and active.size > 0:
        free(active.snapshot)
        active.snapshot = producers_encode(&log.producers, &active.snapshot_size)
    pthread_mutex_unlock(&log.mutex)
    return flush_until_published(log, True)
