"""Leader epochs of a partition: which leader wrote which offsets, and Kafka's checkpoint file of them (see the .pxd)."""

from libc.errno cimport ENOMEM
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memmove

from pystream._native.io_table cimport io_replace_file
from pystream._native.status cimport MALFORMED, NOT_FOUND, OK, OUT_OF_MEMORY

cdef enum:
    LONGEST_LINE = 36            # an int32, a space, an int64, a newline and the closing zero
    MAX_ENTRIES = 1 << 20
    MAX_PATH = 1024


cdef int32_t leader_epochs_latest(const LeaderEpochs *epochs) noexcept nogil:
    return epochs.entries[epochs.count - 1].epoch if epochs.count > 0 else -1


cdef Status leader_epochs_reserve(LeaderEpochs *epochs) noexcept nogil:
    cdef EpochEntry *larger
    cdef int32_t capacity
    if epochs.count < epochs.capacity:
        return OK
    capacity = 2 if epochs.capacity == 0 else epochs.capacity * 2
    larger = <EpochEntry *> realloc(epochs.entries, capacity * sizeof(EpochEntry))
    if larger == NULL:
        return OUT_OF_MEMORY
    epochs.entries = larger
    epochs.capacity = capacity
    return OK


cdef Status append_entry(LeaderEpochs *epochs, int32_t epoch, int64_t start_offset) noexcept nogil:
    if leader_epochs_reserve(epochs) != OK:
        return OUT_OF_MEMORY
    epochs.entries[epochs.count].epoch = epoch
    epochs.entries[epochs.count].start_offset = start_offset
    epochs.count += 1
    return OK


cdef Status leader_epochs_assign(LeaderEpochs *epochs, int32_t epoch, int64_t start_offset) noexcept nogil:
    cdef EpochEntry *last
    if epoch < 0:
        return OK
    while epochs.count > 0:
        last = &epochs.entries[epochs.count - 1]
        if last.epoch == epoch and last.start_offset <= start_offset:
            return OK
        if last.epoch < epoch and last.start_offset < start_offset:
            break
        epochs.count -= 1                                   # nothing was written under it, or it was written over
    epochs.unsaved = True
    return append_entry(epochs, epoch, start_offset)


cdef bint leader_epochs_fit(
        const LeaderEpochs *epochs, int32_t epoch, int64_t offset, int64_t complete_below, int32_t newest) noexcept nogil:
    cdef int32_t slot = epochs.count - 1
    if epoch < 0 or epochs.count == 0:
        return -1 <= epoch <= newest
    while slot >= 0 and epochs.entries[slot].start_offset > offset:
        slot -= 1
    if slot < 0:
        return epoch <= epochs.entries[0].epoch             # entries below the log's start were dropped
    if epoch == epochs.entries[slot].epoch:
        return True
    return epochs.entries[slot].epoch < epoch <= newest and slot + 1 == epochs.count and offset >= complete_below


cdef int32_t leader_epochs_of_offset(const LeaderEpochs *epochs, int64_t offset) noexcept nogil:
    cdef int32_t slot = epochs.count - 1
    while slot >= 0:
        if epochs.entries[slot].start_offset <= offset:
            return epochs.entries[slot].epoch
        slot -= 1
    return -1


cdef Status leader_epochs_end_offset(
        const LeaderEpochs *epochs, int32_t epoch, int64_t log_end_offset, int32_t *found_epoch, int64_t *end_offset) noexcept nogil:
    cdef int32_t slot = epochs.count - 1
    found_epoch[0] = -1
    end_offset[0] = -1
    if slot < 0 or epoch < 0 or epoch > epochs.entries[slot].epoch:
        return NOT_FOUND                                    # a later epoch than any we know: the asker is ahead of us
    if epoch == epochs.entries[slot].epoch:
        found_epoch[0] = epoch
        end_offset[0] = log_end_offset
        return OK
    while slot >= 0 and epochs.entries[slot].epoch > epoch:
        slot -= 1
    # Below the first known epoch Kafka answers the asked epoch and the first known offset: nothing of it is left.
    found_epoch[0] = epochs.entries[slot].epoch if slot >= 0 else epoch
    end_offset[0] = epochs.entries[slot + 1].start_offset
    return OK


cdef void leader_epochs_truncate_end(LeaderEpochs *epochs, int64_t end_offset) noexcept nogil:
    while epochs.count > 0 and epochs.entries[epochs.count - 1].start_offset >= end_offset:
        epochs.count -= 1
        epochs.unsaved = True


cdef void leader_epochs_truncate_start(LeaderEpochs *epochs, int64_t start_offset) noexcept nogil:
    cdef int32_t dropped = 0
    while dropped + 1 < epochs.count and epochs.entries[dropped + 1].start_offset <= start_offset:
        dropped += 1
    if dropped > 0:
        memmove(epochs.entries, epochs.entries + dropped, (epochs.count - dropped) * sizeof(EpochEntry))
        epochs.count -= dropped
        epochs.unsaved = True
    if epochs.count > 0 and epochs.entries[0].start_offset < start_offset:
        epochs.entries[0].start_offset = start_offset
        epochs.unsaved = True


cdef Status leader_epochs_copy(LeaderEpochs *copy, const LeaderEpochs *epochs) noexcept nogil:
    copy.count = copy.capacity = epochs.count
    copy.unsaved = epochs.unsaved
    copy.entries = <EpochEntry *> malloc((epochs.count + 1) * sizeof(EpochEntry))
    if copy.entries == NULL:
        copy.count = copy.capacity = 0
        return OUT_OF_MEMORY
    if epochs.count > 0:
        memcpy(copy.entries, epochs.entries, epochs.count * sizeof(EpochEntry))
    return OK


cdef void leader_epochs_free(LeaderEpochs *epochs) noexcept nogil:
    free(epochs.entries)
    epochs.entries = NULL
    epochs.count = epochs.capacity = 0


cdef uint8_t *leader_epochs_encode(const LeaderEpochs *epochs, Py_ssize_t *size) noexcept nogil:
    cdef Py_ssize_t capacity = (epochs.count + 1) * LONGEST_LINE
    cdef char *text = <char *> malloc(capacity)
    cdef Py_ssize_t done
    cdef int32_t slot
    if text == NULL:
        return NULL
    done = snprintf(text, capacity, b"0\n%d\n", <int> epochs.count)
    for slot in range(epochs.count):
        done += snprintf(
            text + done, capacity - done, b"%d %lld\n",
            <int> epochs.entries[slot].epoch, <long long> epochs.entries[slot].start_offset)
    size[0] = done
    return <uint8_t *> text


cdef int leader_epochs_save(LeaderEpochs *epochs, const char *directory) noexcept nogil:
    cdef char path[MAX_PATH]
    cdef Py_ssize_t size = 0
    cdef uint8_t *data = leader_epochs_encode(epochs, &size)
    cdef int error
    if data == NULL:
        return ENOMEM
    snprintf(path, MAX_PATH, b"%s/leader-epoch-checkpoint", directory)
    error = io_replace_file(directory, path, data, size, True)
    free(data)
    if error == 0:
        epochs.unsaved = False
    return error


cdef Status take_number(const uint8_t *data, Py_ssize_t size, Py_ssize_t *position, uint8_t closing, int64_t *value) noexcept nogil:
    """Digits up to the `closing` byte, which is passed over."""
    cdef int64_t number = 0
    cdef Py_ssize_t at = position[0]
    cdef Py_ssize_t first = at
    while at < size and 48 <= data[at] <= 57 and at - first < 18:
        number = number * 10 + (data[at] - 48)
        at += 1
    if at == first or at >= size or data[at] != closing:
        return MALFORMED
    value[0] = number
    position[0] = at + 1
    return OK


cdef Status decode_entries(LeaderEpochs *epochs, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position = 0
    cdef int64_t version, count, epoch, start_offset, _number
    cdef Status status
    if take_number(data, size, &position, 10, &version) != OK or version != 0:
        return MALFORMED
    if take_number(data, size, &position, 10, &count) != OK or count > MAX_ENTRIES:
        return MALFORMED
    for _number in range(count):
        if take_number(data, size, &position, 32, &epoch) != OK or take_number(data, size, &position, 10, &start_offset) != OK:
            return MALFORMED
        if epoch > 0x7FFFFFFF or epoch <= leader_epochs_latest(epochs):
            return MALFORMED
        if epochs.count > 0 and start_offset < epochs.entries[epochs.count - 1].start_offset:
            return MALFORMED
        status = append_entry(epochs, <int32_t> epoch, start_offset)
        if status != OK:
            return status
    return OK if position == size else MALFORMED


cdef Status leader_epochs_decode(LeaderEpochs *epochs, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef Status status
    epochs.count = 0
    status = decode_entries(epochs, data, size)
    if status != OK:
        epochs.count = 0
    epochs.unsaved = status != OK
    return status


def decode_leader_epochs(data: bytes) -> list | None:
    """[(epoch, start offset), ...] of a whole leader-epoch-checkpoint file, or None when it must be rebuilt from the log."""
    cdef LeaderEpochs epochs
    cdef int32_t slot
    epochs.entries = NULL
    epochs.count = epochs.capacity = 0
    cdef Status status = leader_epochs_decode(&epochs, data, len(data))
    entries = [(epochs.entries[slot].epoch, epochs.entries[slot].start_offset) for slot in range(epochs.count)]
    leader_epochs_free(&epochs)
    return entries if status == OK else None
