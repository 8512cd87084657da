"""What compaction knows of transactions and producers while it passes over the batches of a log in order (see the .pxd)."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memset

from pystream._native.batch cimport CONTROL_FLAG, NO_PRODUCER_ID, TRANSACTIONAL_FLAG
from pystream._native.offset_index cimport load_int32
from pystream._native.record_reader cimport RecordCursor, RecordView, close_batch, init_record_cursor, next_record, open_batch
from pystream._native.status cimport NOT_FOUND, OK, OUT_OF_MEMORY

cdef enum:
    NO_MARKER = -1                   # a marker batch that was emptied before
    ABORT = 0
    COMMIT = 1
    SMALLEST_MARKER_KEY = 4          # version int16, type int16


cdef int by_first_offset(const void *left, const void *right) noexcept nogil:
    cdef int64_t first = (<const AbortedTransaction *> left).first_offset
    cdef int64_t second = (<const AbortedTransaction *> right).first_offset
    return (first > second) - (first < second)


cdef int by_producer_id(const void *left, const void *right) noexcept nogil:
    cdef int64_t first = (<const LastBatch *> left).producer_id
    cdef int64_t second = (<const LastBatch *> right).producer_id
    return (first > second) - (first < second)


cdef void transactions_init(CleanTransactions *transactions) noexcept nogil:
    memset(transactions, 0, sizeof(CleanTransactions))


cdef void transactions_free(CleanTransactions *transactions) noexcept nogil:
    free(transactions.aborted)
    free(transactions.ongoing)
    transactions_init(transactions)


cdef Status transactions_add_aborted(CleanTransactions *transactions, const TxnIndex *index) noexcept nogil:
    cdef AbortedTransaction *larger
    cdef int32_t needed = transactions.aborted_count + index.count
    cdef int32_t slot
    if needed > transactions.aborted_capacity:
        larger = <AbortedTransaction *> realloc(transactions.aborted, 2 * needed * sizeof(AbortedTransaction))
        if larger == NULL:
            return OUT_OF_MEMORY
        transactions.aborted = larger
        transactions.aborted_capacity = 2 * needed
    for slot in range(index.count):
        transactions.aborted[transactions.aborted_count] = index.entries[slot]
        transactions.aborted_count += 1
    return OK


cdef void transactions_begin(CleanTransactions *transactions) noexcept nogil:
    if transactions.aborted_count > 1:
        qsort(transactions.aborted, transactions.aborted_count, sizeof(AbortedTransaction), by_first_offset)
    transactions.next_aborted = transactions.ongoing_count = 0


cdef Ongoing *find_ongoing(CleanTransactions *transactions, int64_t producer_id) noexcept nogil:
    cdef int32_t slot
    for slot in range(transactions.ongoing_count):
        if transactions.ongoing[slot].entry.producer_id == producer_id:
            return &transactions.ongoing[slot]
    return NULL


cdef Ongoing *add_ongoing(CleanTransactions *transactions, int64_t producer_id) noexcept nogil:
    """NULL: out of memory."""
    cdef Ongoing *larger
    cdef int32_t capacity
    if transactions.ongoing_count == transactions.ongoing_capacity:
        capacity = 16 if transactions.ongoing_capacity == 0 else 2 * transactions.ongoing_capacity
        larger = <Ongoing *> realloc(transactions.ongoing, capacity * sizeof(Ongoing))
        if larger == NULL:
            return NULL
        transactions.ongoing = larger
        transactions.ongoing_capacity = capacity
    larger = &transactions.ongoing[transactions.ongoing_count]
    memset(larger, 0, sizeof(Ongoing))
    larger.entry.producer_id = producer_id
    transactions.ongoing_count += 1
    return larger


cdef Status reach(CleanTransactions *transactions, const BatchHeader *header) noexcept nogil:
    """Aborted transactions that begin in or before the batch are under way, but for those whose marker was passed over: mapping may
    begin in the middle of the log.
    """
    cdef const AbortedTransaction *entry
    cdef Ongoing *found
    while transactions.next_aborted < transactions.aborted_count:
        entry = &transactions.aborted[transactions.next_aborted]
        if entry.first_offset > header.base_offset + header.last_offset_delta:
            break
        transactions.next_aborted += 1
        if entry.last_offset < header.base_offset:
            continue
        found = find_ongoing(transactions, entry.producer_id)
        if found == NULL:
            found = add_ongoing(transactions, entry.producer_id)
            if found == NULL:
                return OUT_OF_MEMORY
        if not found.aborted:
            found.aborted = True
            found.entry = entry[0]
    return OK


cdef Status transactions_pass_data(CleanTransactions *transactions, const BatchHeader *header, bint *discard) noexcept nogil:
    cdef Ongoing *found
    cdef Status status = reach(transactions, header)
    discard[0] = False
    if status != OK or not header.attributes & TRANSACTIONAL_FLAG or header.producer_id == NO_PRODUCER_ID:
        return status
    found = find_ongoing(transactions, header.producer_id)
    if found == NULL:
        found = add_ongoing(transactions, header.producer_id)
        if found == NULL:
            return OUT_OF_MEMORY
    found.has_data = True
    discard[0] = found.aborted
    return OK


cdef Status marker_type(const BatchHeader *header, const uint8_t *data, int *found) noexcept nogil:
    cdef RecordCursor cursor
    cdef RecordView record
    cdef Status status
    found[0] = NO_MARKER
    if header.record_count == 0:
        return OK
    init_record_cursor(&cursor)
    status = open_batch(&cursor, data, header.size, 0)
    if status == OK:
        status = next_record(&cursor, &record)
    if status == OK and record.key_size >= SMALLEST_MARKER_KEY:
        found[0] = load_int32(record.key) & 0xFFFF
    close_batch(&cursor)
    return OK if status == NOT_FOUND else status


cdef Status transactions_pass_marker(
        CleanTransactions *transactions, const BatchHeader *header, const uint8_t *data, bint *discard,
        AbortedTransaction *kept) noexcept nogil:
    cdef Ongoing *found
    cdef int marker = NO_MARKER
    cdef Status status = reach(transactions, header)
    kept.producer_id = NO_PRODUCER_ID
    discard[0] = False
    if status == OK:
        status = marker_type(header, data, &marker)
    if status != OK:
        return status
    if marker != ABORT and marker != COMMIT:
        discard[0] = marker == NO_MARKER                     # others (leader changes, snapshots) are not ours to judge
        return OK
    found = find_ongoing(transactions, header.producer_id)
    discard[0] = found == NULL or not found.has_data
    if found == NULL:
        return OK
    if marker == ABORT and found.aborted and found.has_data:
        kept[0] = found.entry
    transactions.ongoing_count -= 1
    found[0] = transactions.ongoing[transactions.ongoing_count]
    return OK


# ---------------------------------------------------------------------------------------------------------------------
# The last batch of every producer

cdef Status last_batches_of(LastBatches *batches, const ProducerState *producers) noexcept nogil:
    cdef LastBatch *entry
    cdef int32_t slot
    batches.count = 0
    batches.entries = <LastBatch *> malloc((producers.count + 1) * sizeof(LastBatch))
    if batches.entries == NULL:
        return OUT_OF_MEMORY
    for slot in range(producers.capacity):
        if producers.slots[slot].producer_id == NO_PRODUCER_ID or batches.count == producers.count:
            continue
        entry = &batches.entries[batches.count]
        entry.producer_id = producers.slots[slot].producer_id
        entry.producer_epoch = producers.slots[slot].producer_epoch
        entry.last_offset = -1
        if producers.slots[slot].batch_count > 0:
            entry.last_offset = producers.slots[slot].batches[producers.slots[slot].batch_count - 1].last_offset
        batches.count += 1
    if batches.count > 1:
        qsort(batches.entries, batches.count, sizeof(LastBatch), by_producer_id)
    return OK


cdef void last_batches_free(LastBatches *batches) noexcept nogil:
    free(batches.entries)
    batches.entries = NULL
    batches.count = 0


cdef bint is_last_batch(const LastBatches *batches, const BatchHeader *header) noexcept nogil:
    cdef int32_t low = 0
    cdef int32_t high = batches.count
    cdef int32_t middle
    cdef const LastBatch *entry
    if header.producer_id == NO_PRODUCER_ID:
        return False
    while low < high:
        middle = low + (high - low) // 2
        if batches.entries[middle].producer_id < header.producer_id:
            low = middle + 1
        else:
            high = middle
    if low == batches.count or batches.entries[low].producer_id != header.producer_id:
        return False
    entry = &batches.entries[low]
    if entry.last_offset >= 0:
        return header.base_offset + header.last_offset_delta == entry.last_offset
    return header.attributes & CONTROL_FLAG != 0 and header.producer_epoch == entry.producer_epoch
