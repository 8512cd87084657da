"""Which batches of a fetch answer belong to aborted transactions.

An aborted transaction reaches from its first offset to its producer's next abort marker.  Source: KIP-98.

control record: key = version int16, type int16 (0 abort, 1 commit)
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from pystream._native.batch cimport CONTROL_FLAG, NO_PRODUCER_ID, TRANSACTIONAL_FLAG, BatchHeader
from pystream._native.record_reader cimport (
    RecordCursor, RecordView, close_batch, init_record_cursor, next_record, open_batch)
from pystream._native.status cimport OK

cdef extern from "bytes.h" nogil:
    uint16_t load_be16(const uint8_t *data)

cdef enum:
    ABORT_MARKER = 0
    NO_MARKER = -1
    LARGEST_MARKER = 1 << 16             # uncompressed; a marker is some 20 bytes


cdef void begin_filter(Filter *filter) noexcept nogil:
    filter.begun = 0
    if filter.producers > 0:
        memset(filter.is_aborting, 0, filter.producers)


cdef Py_ssize_t place_of(const Filter *filter, int64_t producer_id) noexcept nogil:
    """Index of the producer; -1 without one."""
    cdef Py_ssize_t low = 0, high = filter.producers, middle
    while low < high:
        middle = (low + high) // 2
        if filter.producer_ids[middle] < producer_id:
            low = middle + 1
        else:
            high = middle
    return low if low < filter.producers and filter.producer_ids[low] == producer_id else -1


cdef int32_t marker_type(const uint8_t *batch, const BatchHeader *header) noexcept nogil:
    cdef RecordCursor cursor
    cdef RecordView record
    cdef int32_t found = NO_MARKER
    init_record_cursor(&cursor)
    if open_batch(&cursor, batch, header.size, LARGEST_MARKER) == OK and next_record(&cursor, &record) == OK and (
            record.key_size >= 4):
        found = load_be16(record.key + 2)
    close_batch(&cursor)
    return found


cdef bint is_aborted(Filter *filter, const uint8_t *batch, const BatchHeader *header) noexcept nogil:
    cdef int64_t last_offset = header.base_offset + header.last_offset_delta
    cdef Py_ssize_t place
    while filter.begun < filter.transactions and filter.first_offsets[filter.begun] <= last_offset:
        filter.is_aborting[filter.producer_of[filter.begun]] = True
        filter.begun += 1
    if header.producer_id == NO_PRODUCER_ID or not header.attributes & (TRANSACTIONAL_FLAG | CONTROL_FLAG):
        return False
    place = place_of(filter, header.producer_id)
    if place < 0 or not filter.is_aborting[place]:
        return False
    if header.attributes & CONTROL_FLAG:
        if marker_type(batch, header) == ABORT_MARKER:
            filter.is_aborting[place] = False
        return False
    return True


@cython.final
cdef class TxnFilter:
    """Over the (producer id, first offset) that a broker lists as aborted in a fetch answer."""

    def __cinit__(self, aborted):
        cdef Filter *filter = &self.filter
        cdef Py_ssize_t place
        cdef list transactions = sorted([(first_offset, producer_id) for producer_id, first_offset in aborted])
        cdef list producers = sorted({producer_id for _first_offset, producer_id in transactions})
        cdef dict places = {producer_id: place for place, producer_id in enumerate(producers)}
        filter.producer_ids = <int64_t *>malloc(max(len(producers), 1) * sizeof(int64_t))
        filter.is_aborting = <uint8_t *>malloc(max(len(producers), 1))
        filter.first_offsets = <int64_t *>malloc(max(len(transactions), 1) * sizeof(int64_t))
        filter.producer_of = <Py_ssize_t *>malloc(max(len(transactions), 1) * sizeof(Py_ssize_t))
        if filter.producer_ids == NULL or filter.is_aborting == NULL or filter.first_offsets == NULL or (
                filter.producer_of == NULL):
            raise MemoryError(f"no memory for {len(transactions)} aborted transactions")
        for place, producer_id in enumerate(producers):
            filter.producer_ids[place] = producer_id
        for place, (first_offset, producer_id) in enumerate(transactions):
            filter.first_offsets[place] = first_offset
            filter.producer_of[place] = places[producer_id]
        filter.producers = len(producers)
        filter.transactions = len(transactions)
        begin_filter(filter)

    def __dealloc__(self):
        free(self.filter.producer_ids)
        free(self.filter.is_aborting)
        free(self.filter.first_offsets)
        free(self.filter.producer_of)

    def __len__(self):
        return self.filter.transactions
