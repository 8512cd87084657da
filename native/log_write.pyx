"""Appending to a log.

One call takes the mutex once.  It goes in runs: the batches that fit the active segment are checked, stamped, staged and written with
one pwritev; only then do the in-memory end, the indexes and the producer state move.  A failed or short write is cut back.

Rolling makes no system call but the opening of the new file: the old segment stays open and unsynced until the next flush, which
fsyncs it, writes its indexes and the producer snapshot, fsyncs the directory, and only then lets the durable offset and the recovery
point pass it.  So an event loop never waits for the disk, and recovery still knows what is certain: all below the recovery point.
"""

from libc.errno cimport EIO
from libc.stdint cimport INT32_MAX, int32_t, int64_t
from libc.stdlib cimport free

from pystream._native.atomics cimport atomic_load32, atomic_store64
from pystream._native.batch cimport NO_PRODUCER_ID, NO_TIMESTAMP, stamp_batch, stamp_log_append_time
from pystream._native.io_table cimport MAX_IOVEC, io_status, io_truncate, io_write_at, iovec
from pystream._native.leader_epochs cimport leader_epochs_assign, leader_epochs_latest, leader_epochs_reserve
from pystream._native.log_flush cimport log_flush
from pystream._native.log_memory cimport log_add_segment
from pystream._native.log_state cimport FLUSH_WRITE, Segment, log_publish_undecided, log_take_offline
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.producer_state cimport (
    producers_apply, producers_begin, producers_check, producers_encode, producers_keep, producers_undo,
)
from pystream._native.segment cimport segment_free, segment_new, segment_note_batch, segment_prepare_append
from pystream._native.status cimport (
    FENCED_LEADER_EPOCH, LOG_OFFLINE, NO_SPACE, NOT_LEADER, OK, OUT_OF_MEMORY, STORAGE_ERROR,
)
from pystream._native.txn_index cimport AbortedTransaction, txn_index_append, txn_index_reserve

cdef enum:
    MAX_MARKERS = 16             # aborted transactions in one run

cdef struct Run:
    Py_ssize_t first             # of the batches
    Py_ssize_t end
    int64_t next_offset
    int64_t size                 # bytes staged
    int32_t parts
    int32_t aborted_count
    bint roll                    # the next batch belongs in a new segment
    iovec vector[MAX_IOVEC]
    AbortedTransaction aborted[MAX_MARKERS]


cdef bint waited_long_enough(const LogState *log, const Segment *segment, const StagedBatch *batch, int64_t now_ms) noexcept nogil:
    cdef int64_t limit = log.limits.segment_ms - log.limits.segment_jitter_ms
    if segment.size == 0:
        return False
    if segment.first_timestamp >= 0 and batch.header.max_timestamp >= 0:
        return batch.header.max_timestamp - segment.first_timestamp > limit
    return segment.created_ms >= 0 and now_ms - segment.created_ms > limit


cdef bint needs_new_segment(
        const LogState *log, const Segment *segment, const Run *run, const StagedBatch *batch, int64_t now_ms) noexcept nogil:
    """Kafka's rules: size, time (by the timestamps of first and new batch), full index, offsets that no longer fit 32 bits."""
    cdef int64_t size = segment.size + run.size
    if size == 0:
        return False
    return (
        size + batch.header.size > log.limits.segment_bytes
        or waited_long_enough(log, segment, batch, now_ms)
        or segment.offsets.count >= log.limits.max_offset_entries
        or segment.times.count >= log.limits.max_time_entries - 1
        or run.next_offset + batch.header.last_offset_delta - segment.base_offset > INT32_MAX
    )


cdef void add_part(Run *run, StagedBatch *batch) noexcept nogil:
    """Batches that lie one behind the other in memory share a part."""
    cdef iovec *last
    if run.parts > 0:
        last = &run.vector[run.parts - 1]
        if <char *> last.iov_base + last.iov_len == <char *> batch.data:
            last.iov_len += batch.header.size
            return
    run.vector[run.parts].iov_base = batch.data
    run.vector[run.parts].iov_len = batch.header.size
    run.parts += 1


cdef Status stage(LogState *log, Run *run, StagedBatch *batch, int32_t leader_epoch, int64_t now_ms) noexcept nogil:
    cdef AbortedTransaction *aborted = &run.aborted[run.aborted_count]
    if log.limits.log_append_time:
        stamp_log_append_time(batch.data, &batch.header, now_ms)
        batch.header.max_timestamp = now_ms
        batch.append_time_ms = now_ms
    if batch.header.producer_id != NO_PRODUCER_ID:
        if producers_apply(&log.producers, &batch.header, batch.data, run.next_offset, now_ms, aborted) != OK:
            return OUT_OF_MEMORY
        if aborted.producer_id != NO_PRODUCER_ID:
            run.aborted_count += 1
    stamp_batch(batch.data, run.next_offset, leader_epoch)
    batch.base_offset = run.next_offset
    batch.status = OK
    add_part(run, batch)
    run.size += batch.header.size
    run.next_offset += batch.header.last_offset_delta + 1
    return OK


cdef Status stage_run(
        LogState *log, Segment *segment, Run *run, StagedBatch *batches, Py_ssize_t count, int32_t leader_epoch,
        int64_t now_ms) noexcept nogil:
    """Stages batches from run.first on, as many as go into one write; run.end is the first one that does not."""
    cdef StagedBatch *batch
    cdef Status status
    run.end = run.first
    run.next_offset = log.end_offset
    run.size = 0
    run.parts = run.aborted_count = 0
    run.roll = False
    producers_begin(&log.producers)
    while run.end < count and run.parts < MAX_IOVEC and run.aborted_count < MAX_MARKERS:
        batch = &batches[run.end]
        batch.append_time_ms = NO_TIMESTAMP
        batch.base_offset = -1
        batch.status = producers_check(
            &log.producers, &batch.header, batch.data, batch.from_client, batch.transaction_version, &batch.base_offset)
        if batch.status == OK:
            if needs_new_segment(log, segment, run, batch, now_ms):
                run.roll = True
                return OK
            status = stage(log, run, batch, leader_epoch, now_ms)
            if status != OK:
                return status
        run.end += 1
    return OK


cdef void keep_run(LogState *log, Segment *segment, Run *run, StagedBatch *batches, int32_t leader_epoch, int64_t now_ms) noexcept nogil:
    """The bytes are in the file: now memory follows, and the new end is published last."""
    cdef StagedBatch *batch
    cdef Py_ssize_t number
    if run.parts == 0:
        producers_keep(&log.producers)
        return
    # The offset and time indexes only speed up: an entry that finds no memory is left out.
    for number in range(run.first, run.end):
        batch = &batches[number]
        if batch.status == OK:
            segment_note_batch(segment, &batch.header, batch.base_offset, segment.size, log.limits.index_interval_bytes)
            log.appended_since_flush += batch.header.last_offset_delta + 1
    for number in range(run.aborted_count):
        txn_index_append(&segment.aborted, &run.aborted[number])        # there is room: append_runs() has seen to it
    if segment.created_ms < 0:
        segment.created_ms = now_ms
    if log.oldest_unflushed_ms < 0:
        log.oldest_unflushed_ms = now_ms
    leader_epochs_assign(&log.epochs, leader_epoch, log.end_offset)     # there is room, too
    producers_keep(&log.producers)
    log_publish_undecided(log)
    atomic_store64(&log.end_offset, run.next_offset)


cdef Status write_run(LogState *log, Segment *segment, Run *run) noexcept nogil:
    cdef int error
    if run.parts == 0:
        return OK
    segment.unsynced = True
    error = io_write_at(segment.file.fd, run.vector, run.parts, segment.size)
    if error == 0:
        return OK
    log.last_errno = error
    # What a failed write has left behind must not be taken for batches later on.
    if io_truncate(segment.file.fd, segment.size) != 0 or error == EIO:
        log_take_offline(log, STORAGE_ERROR, error)
    return io_status(error)


cdef void refuse_all(StagedBatch *batches, Py_ssize_t first, Py_ssize_t count, Status status) noexcept nogil:
    cdef Py_ssize_t number
    for number in range(first, count):
        batches[number].status = status
        batches[number].base_offset = -1
        batches[number].append_time_ms = NO_TIMESTAMP


cdef Status append_runs(
        LogState *log, StagedBatch *batches, Py_ssize_t count, int32_t leader_epoch, int64_t now_ms, Py_ssize_t *done) noexcept nogil:
    cdef Run run
    cdef Segment *segment
    cdef Status status = OK
    run.first = 0
    while run.first < count:
        segment = log.segments[log.segment_count - 1]
        status = segment_prepare_append(log, segment)
        if status == OK:
            status = stage_run(log, segment, &run, batches, count, leader_epoch, now_ms)
            if status == OK:
                # Readers of committed records go by this index: what finds no memory there must not be written.
                status = txn_index_reserve(&segment.aborted, run.aborted_count)
            if status == OK:
                status = leader_epochs_reserve(&log.epochs)             # recovery holds the log against them
            if status == OK:
                status = write_run(log, segment, &run)
            if status != OK:
                producers_undo(&log.producers)
        if status != OK:
            return status
        keep_run(log, segment, &run, batches, leader_epoch, now_ms)
        run.first = run.end
        done[0] = run.end
        if run.roll:
            status = log_roll_locked(log)
            if status != OK:
                return status
    return OK


cdef Status append_locked(LogState *log, StagedBatch *batches, Py_ssize_t count, int32_t leader_epoch, int64_t now_ms) noexcept nogil:
    cdef Py_ssize_t done = 0
    cdef Status status = OK
    if atomic_load32(&log.offline) != OK or log.closed:
        status = LOG_OFFLINE
    elif log.frozen:
        status = NOT_LEADER
    elif atomic_load32(&log.refusing):
        status = NO_SPACE
    elif leader_epoch < leader_epochs_latest(&log.epochs):
        status = FENCED_LEADER_EPOCH
    else:
        status = append_runs(log, batches, count, leader_epoch, now_ms, &done)
    if status != OK:
        refuse_all(batches, done, count, status)
    return status if done == 0 else OK


cdef Status log_append(LogState *log, StagedBatch *batches, Py_ssize_t count, int32_t leader_epoch, int64_t now_ms) noexcept nogil:
    cdef Status status
    if count == 0:
        return OK
    pthread_mutex_lock(&log.mutex)
    status = append_locked(log, batches, count, leader_epoch, now_ms)
    pthread_mutex_unlock(&log.mutex)
    if status == OK and log.limits.flush_policy == FLUSH_WRITE:
        status = log_flush(log)
        if status != OK:
            refuse_all(batches, 0, count, status)
    return status


cdef Status log_roll_locked(LogState *log) noexcept nogil:
    cdef Segment *active = log.segments[log.segment_count - 1]
    cdef Segment *fresh
    cdef Status status
    if active.size == 0:
        return OK
    fresh = segment_new(log.end_offset)
    if fresh == NULL:
        return OUT_OF_MEMORY
    fresh.append_ready = True
    status = log_add_segment(log, fresh)
    if status != OK:
        segment_free(fresh)
        return status
    active.sealed = True
    free(active.snapshot)
    active.snapshot = producers_encode(&log.producers, &active.snapshot_size)
    return OK


cdef Status log_roll(LogState *log) noexcept nogil:
    cdef Status status = LOG_OFFLINE
    pthread_mutex_lock(&log.mutex)
    if atomic_load32(&log.offline) == OK and not log.closed:
        status = log_roll_locked(log)
    pthread_mutex_unlock(&log.mutex)
    return status
