"""What a recovery takes from batches that need no check any more: producers and leader epochs; and the epochs file (see the .pxd).

A batch's leader epoch lies outside its checksum.  The epochs file is written before the recovery point moves: below it it knows all
epochs, above it it may lag.  A batch that alone contradicts the file is damaged.  Where two do, or an entry begins inside a batch, and the
log's own epochs never fall, the file is wrong and is built anew.
"""

import os

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc

from pystream._native.batch cimport CONTROL_FLAG, NO_PRODUCER_ID, NO_TIMESTAMP, BatchHeader
from pystream._native.io_table cimport io_read_at, io_read_file
from pystream._native.leader_epochs cimport (
    leader_epochs_assign, leader_epochs_decode, leader_epochs_fit, leader_epochs_of_offset, leader_epochs_truncate_end,
)
from pystream._native.log_state cimport LogState, Segment
from pystream._native.producer_state cimport producers_apply, producers_begin, producers_keep
from pystream._native.segment cimport Walk, segment_find_position, segment_note_damage, segment_open, walk_header, walk_over
from pystream._native.status cimport DAMAGED, NOT_FOUND, OK, OUT_OF_MEMORY, STORAGE_ERROR, Status, raise_for_status
from pystream._native.txn_index cimport AbortedTransaction, txn_index_append

cdef enum:
    MAX_EPOCHS_FILE = 1 << 28


cdef Status replay_batch(LogState *log, Segment *segment, int fd, int64_t position, const BatchHeader *header) noexcept nogil:
    """Control batches are read whole, of the others the header is enough."""
    cdef AbortedTransaction aborted
    cdef uint8_t *data = NULL
    cdef Status status = OK
    if header.producer_id == NO_PRODUCER_ID:
        return OK
    if header.attributes & CONTROL_FLAG:
        data = <uint8_t *> malloc(header.size)
        if data == NULL:
            return OUT_OF_MEMORY
        if io_read_at(fd, data, header.size, position) != header.size:
            free(data)
            return STORAGE_ERROR
    producers_begin(&log.producers)
    status = producers_apply(&log.producers, header, data, header.base_offset, NO_TIMESTAMP, &aborted)
    producers_keep(&log.producers)
    free(data)
    if status == OK and aborted.producer_id != NO_PRODUCER_ID:
        status = txn_index_append(&segment.aborted, &aborted)
    return status


cdef bint note_wrong_epoch(Segment *segment, const BatchHeader *header, int64_t position) noexcept nogil:
    """The batch there has an epoch that its neighbours contradict.  False when damage is noted already."""
    if segment.damaged_from >= 0:
        return False
    segment.damaged_from = position
    if position + header.size < segment.size:
        segment.damaged_to = position + header.size
        segment.damaged_to_offset = header.base_offset + header.last_offset_delta + 1
    return True


cdef Status replay_segment(
        LogState *log, Segment *segment, int64_t from_offset, bint producers, bint epochs, bint judge_epochs) noexcept nogil:
    cdef Walk walk
    cdef BatchHeader header
    cdef int64_t position = 0
    cdef bint epochs_fall = False
    cdef Status status = segment_open(log, segment)
    if status != OK:
        return status
    if from_offset > segment.base_offset:
        status = segment_find_position(log, segment, from_offset, &position)
        if status != OK:
            return status
    walk_over(&walk, segment.file.fd, segment.size if segment.damaged_from < 0 or epochs else segment.damaged_from)
    while status == OK:
        if position == segment.damaged_from:
            if segment.damaged_to <= position:
                break
            position = segment.damaged_to
        status = walk_header(&walk, position, &header)
        if status != OK:
            break
        if header.base_offset >= from_offset:
            if epochs:
                if judge_epochs and not leader_epochs_fit(&log.epochs, header.partition_leader_epoch, header.base_offset, 0, INT32_MAX):
                    epochs_fall = note_wrong_epoch(segment, &header, position) or epochs_fall
                status = leader_epochs_assign(&log.epochs, header.partition_leader_epoch, header.base_offset)
            if producers and status == OK:
                status = replay_batch(log, segment, walk.fd, position, &header)
        position += header.size
    if status == DAMAGED:
        segment_note_damage(segment, position)
        return DAMAGED
    if status == NOT_FOUND:
        return DAMAGED if epochs_fall else OK
    return status


# ---------------------------------------------------------------------------------------------------------------------
# The epochs file

cdef bint load_epochs(LogState *log, str directory) except *:
    """False when the file is missing or cannot be trusted."""
    cdef uint8_t *data = NULL
    cdef Py_ssize_t size = 0
    cdef Status status
    path = os.path.join(directory, "leader-epoch-checkpoint").encode()
    if io_read_file(path, MAX_EPOCHS_FILE, &data, &size) != 0:
        return False
    status = leader_epochs_decode(&log.epochs, data, size)
    free(data)
    return status == OK and log.epochs.count > 0


cdef void forget_epochs(LogState *log) noexcept nogil:
    leader_epochs_truncate_end(&log.epochs, 0)


cdef bint epochs_refuted(LogState *log, int32_t scanned, int64_t file_size, int64_t complete_below, int32_t newest) except -1:
    """The log's headers are enough: whether they fall, and how many contradict the file or the newest epoch there is said to be."""
    cdef Walk walk
    cdef BatchHeader header
    cdef int32_t highest = -1
    cdef int32_t at_first
    cdef int64_t contradictions = 0
    cdef int64_t position
    cdef int32_t slot
    cdef Status status
    for slot in range(log.segment_count):
        status = segment_open(log, log.segments[slot])
        if status != OK:
            raise_for_status(status, 0, "segment")
        walk_over(&walk, log.segments[slot].file.fd, file_size if slot == scanned else log.segments[slot].size)
        position = 0
        while walk_header(&walk, position, &header) == OK:
            if header.partition_leader_epoch < highest:
                return False
            highest = header.partition_leader_epoch
            at_first = leader_epochs_of_offset(&log.epochs, header.base_offset)
            if not leader_epochs_fit(&log.epochs, header.partition_leader_epoch, header.base_offset, complete_below, newest):
                contradictions += 1
            if at_first >= 0 and leader_epochs_of_offset(&log.epochs, header.base_offset + header.last_offset_delta) != at_first:
                contradictions += 2
            position += header.size
    return contradictions > 1
