"""Aborted transactions of one segment and their file, `.txnindex` (see the .pxd)."""

from libc.stdlib cimport free, malloc, realloc
from libc.stdint cimport int32_t, int64_t, uint8_t

from pystream._native.offset_index cimport load_int64, store_int64
from pystream._native.status cimport MALFORMED, OK, OUT_OF_MEMORY


cdef Status txn_index_reserve(TxnIndex *index, int32_t more) noexcept nogil:
    cdef AbortedTransaction *larger
    cdef int32_t capacity = max(index.capacity, 4)
    while capacity - index.count < more:
        capacity *= 2
    if capacity > index.capacity and more > 0:
        larger = <AbortedTransaction *> realloc(index.entries, capacity * sizeof(AbortedTransaction))
        if larger == NULL:
            return OUT_OF_MEMORY
        index.entries = larger
        index.capacity = capacity
    return OK


cdef Status txn_index_append(TxnIndex *index, const AbortedTransaction *entry) noexcept nogil:
    if txn_index_reserve(index, 1) != OK:
        return OUT_OF_MEMORY
    index.entries[index.count] = entry[0]
    index.count += 1
    return OK


cdef void txn_index_truncate(TxnIndex *index, int64_t offset) noexcept nogil:
    while index.count > 0 and index.entries[index.count - 1].last_offset >= offset:
        index.count -= 1


cdef void txn_index_free(TxnIndex *index) noexcept nogil:
    free(index.entries)
    index.entries = NULL
    index.count = index.capacity = 0


cdef uint8_t *txn_index_encode(const TxnIndex *index, Py_ssize_t *size) noexcept nogil:
    cdef uint8_t *data = <uint8_t *> malloc(index.count * ABORTED_ENTRY_SIZE + 1)
    cdef uint8_t *at = data
    cdef int32_t slot
    if data == NULL:
        return NULL
    for slot in range(index.count):
        at[0] = at[1] = 0
        store_int64(at + 2, index.entries[slot].producer_id)
        store_int64(at + 10, index.entries[slot].first_offset)
        store_int64(at + 18, index.entries[slot].last_offset)
        store_int64(at + 26, index.entries[slot].last_stable_offset)
        at += ABORTED_ENTRY_SIZE
    size[0] = at - data
    return data


cdef Status txn_index_decode(TxnIndex *index, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef AbortedTransaction entry
    cdef int64_t last_before = -1
    cdef Py_ssize_t at
    cdef Status status = OK if size % ABORTED_ENTRY_SIZE == 0 else MALFORMED
    index.count = 0
    for at in range(0, size, 34):                            # a literal step keeps this a C loop
        if status != OK:
            break
        entry.producer_id = load_int64(data + at + 2)
        entry.first_offset = load_int64(data + at + 10)
        entry.last_offset = load_int64(data + at + 18)
        entry.last_stable_offset = load_int64(data + at + 26)
        if (
            data[at] != 0 or data[at + 1] != 0
            or entry.first_offset < 0 or entry.last_offset < entry.first_offset or entry.last_offset <= last_before
        ):
            status = MALFORMED
        else:
            status = txn_index_append(index, &entry)
        last_before = entry.last_offset
    if status != OK:
        txn_index_free(index)
    return status


cdef tuple entry_as_tuple(const AbortedTransaction *entry):
    return entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset


def decode_txn_index(data: bytes) -> list | None:
    """[(producer id, first offset, last offset, last stable offset), ...] of a whole .txnindex file, or None when it must be rebuilt."""
    cdef TxnIndex index
    cdef int32_t slot
    index.entries = NULL
    index.count = index.capacity = 0
    if txn_index_decode(&index, data, len(data)) != OK:
        return None
    entries = [entry_as_tuple(&index.entries[slot]) for slot in range(index.count)]
    txn_index_free(&index)
    return entries
