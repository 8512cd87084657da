"""Sequence checks, epoch fencing and open transactions of a partition's producers (see the .pxd).

A batch is a duplicate when one of its producer's last five batches has the same epoch, first and last sequence.  Otherwise

    epoch below the known one        INVALID_PRODUCER_EPOCH
    epoch above the known one        the sequence must begin at 0, else OUT_OF_ORDER_SEQUENCE
    same epoch                       the sequence must follow the last one (after 2^31-1 comes 0), else OUT_OF_ORDER_SEQUENCE
    producer not known               any sequence: what it wrote before may have been deleted (KIP-360)

A plain batch inside an open transaction is INVALID_TXN_STATE.  Control batches end transactions and have no sequence.

A client's transactional batch is let in when its transaction is open here in its epoch, or when the coordinator has given a permit;
else it is UNVERIFIED_TRANSACTION, and whoever asked goes to the coordinator.  The permit ends with the batch that opens the transaction,
or with the marker, so that a batch which comes late finds none and can open nothing that nobody would end (KIP-890); one that nobody
uses ends in time.

A marker of transactions of version 2 carries an epoch above that of its transaction: with the same epoch it can only be one that came
late, and ends nothing that is open.  Source: KAFKA-19446, Kafka's ProducerAppendInfo.
"""

from libc.stdint cimport INT32_MAX, INT64_MAX, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from pystream._native.batch cimport BATCH_HEADER_SIZE, CONTROL_FLAG, NO_PRODUCER_ID, NO_SEQUENCE, TRANSACTIONAL_FLAG
from pystream._native.buffer cimport Cursor, cursor_over, read_int8, read_int16, read_int32, read_varint, read_varlong
from pystream._native.crc32c cimport crc32c_extend
from pystream._native.offset_index cimport load_int32, load_int64, store_int32, store_int64
from pystream._native.status cimport (
    COORDINATOR_FENCED, DUPLICATE_SEQUENCE, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, MALFORMED, OK, OUT_OF_MEMORY,
    OUT_OF_ORDER_SEQUENCE, UNVERIFIED_TRANSACTION,
)

cdef enum:
    SNAPSHOT_VERSION = 1
    SNAPSHOT_HEADER_SIZE = 10
    SNAPSHOT_CHECKED_FROM = 6
    SNAPSHOT_ENTRY_SIZE = 46
    MARKER_ABORT = 0
    MARKER_COMMIT = 1
    MAX_PERMITS = 1 << 16
    FIRST_BUMPING_VERSION = 2        # of transactions: every end raises the epoch (KIP-890)


# ---------------------------------------------------------------------------------------------------------------------
# The table

cdef void producers_init(ProducerState *state) noexcept nogil:
    state.slots = NULL
    state.capacity = state.count = state.open_transactions = 0
    state.first_undecided_offset = INT64_MAX
    state.undo = NULL
    state.undo_count = state.undo_capacity = 0
    state.permits = NULL
    state.permit_count = state.permit_capacity = 0


cdef void producers_clear(ProducerState *state) noexcept nogil:
    free(state.slots)
    state.slots = NULL
    state.capacity = state.count = state.open_transactions = 0
    state.first_undecided_offset = INT64_MAX
    state.undo_count = 0


cdef void producers_free(ProducerState *state) noexcept nogil:
    producers_clear(state)
    free(state.undo)
    state.undo = NULL
    state.undo_capacity = 0
    clear_permits(state)


cdef int32_t home_slot(int64_t producer_id, int32_t capacity) noexcept nogil:
    return <int32_t> ((<uint64_t> producer_id * <uint64_t> 0x9E3779B97F4A7C15) >> 32) & (capacity - 1)


cdef ProducerEntry *find(const ProducerState *state, int64_t producer_id) noexcept nogil:
    cdef int32_t slot
    if state.count == 0:
        return NULL
    slot = home_slot(producer_id, state.capacity)
    while state.slots[slot].producer_id != NO_PRODUCER_ID:
        if state.slots[slot].producer_id == producer_id:
            return &state.slots[slot]
        slot = (slot + 1) & (state.capacity - 1)
    return NULL


cdef ProducerEntry *place(ProducerEntry *slots, int32_t capacity, int64_t producer_id) noexcept nogil:
    cdef int32_t slot = home_slot(producer_id, capacity)
    while slots[slot].producer_id != NO_PRODUCER_ID:
        slot = (slot + 1) & (capacity - 1)
    return &slots[slot]


cdef Status grow(ProducerState *state) noexcept nogil:
    cdef int32_t capacity = 4 if state.capacity == 0 else state.capacity * 2
    cdef ProducerEntry *larger = <ProducerEntry *> malloc(capacity * sizeof(ProducerEntry))
    cdef int32_t slot
    if larger == NULL:
        return OUT_OF_MEMORY
    for slot in range(capacity):
        larger[slot].producer_id = NO_PRODUCER_ID
    for slot in range(state.capacity):
        if state.slots[slot].producer_id != NO_PRODUCER_ID:
            place(larger, capacity, state.slots[slot].producer_id)[0] = state.slots[slot]
    free(state.slots)
    state.slots = larger
    state.capacity = capacity
    return OK


cdef ProducerEntry *find_or_add(ProducerState *state, int64_t producer_id) noexcept nogil:
    """The producer's entry, a fresh one when it is not known; NULL when memory is out."""
    cdef ProducerEntry *entry = find(state, producer_id)
    if entry != NULL:
        return entry
    if (state.count + 1) * 4 > state.capacity * 3 and grow(state) != OK:
        return NULL
    entry = place(state.slots, state.capacity, producer_id)
    entry.producer_id = producer_id
    entry.transaction_first_offset = -1
    entry.last_timestamp = -1
    entry.coordinator_epoch = -1
    entry.producer_epoch = NO_EPOCH
    entry.batch_count = 0
    state.count += 1
    return entry


cdef void remove(ProducerState *state, int64_t producer_id) noexcept nogil:
    """Frees the slot and closes the gap, so that every other producer is still found from its home slot."""
    cdef ProducerEntry *entry = find(state, producer_id)
    cdef int32_t mask = state.capacity - 1
    cdef int32_t gap, slot, home
    if entry == NULL:
        return
    gap = <int32_t> (entry - state.slots)
    slot = gap
    while True:
        slot = (slot + 1) & mask
        if state.slots[slot].producer_id == NO_PRODUCER_ID:
            break
        home = home_slot(state.slots[slot].producer_id, state.capacity)
        if ((slot - home) & mask) >= ((slot - gap) & mask):
            state.slots[gap] = state.slots[slot]
            gap = slot
    state.slots[gap].producer_id = NO_PRODUCER_ID
    state.count -= 1


cdef void count_transactions(ProducerState *state) noexcept nogil:
    cdef int32_t slot
    state.open_transactions = 0
    state.first_undecided_offset = INT64_MAX
    for slot in range(state.capacity):
        if state.slots[slot].producer_id != NO_PRODUCER_ID and state.slots[slot].transaction_first_offset >= 0:
            state.open_transactions += 1
            if state.slots[slot].transaction_first_offset < state.first_undecided_offset:
                state.first_undecided_offset = state.slots[slot].transaction_first_offset


# ---------------------------------------------------------------------------------------------------------------------
# Staged changes

cdef void producers_begin(ProducerState *state) noexcept nogil:
    state.undo_count = 0


cdef void producers_keep(ProducerState *state) noexcept nogil:
    state.undo_count = 0
    if state.undo_capacity > 64:                       # one burst of many producers need not be paid for ever
        free(state.undo)
        state.undo = NULL
        state.undo_capacity = 0


cdef void producers_undo(ProducerState *state) noexcept nogil:
    cdef UndoEntry *change
    cdef ProducerEntry *entry
    while state.undo_count > 0:
        state.undo_count -= 1
        change = &state.undo[state.undo_count]
        entry = find(state, change.producer_id)
        if entry == NULL:
            continue
        if change.existed:
            entry[0] = change.before
        else:
            remove(state, change.producer_id)
    count_transactions(state)


cdef Status remember(ProducerState *state, int64_t producer_id) noexcept nogil:
    """Keeps the producer's entry as it is now, so that producers_undo() can bring it back.  A second change may be kept too."""
    cdef UndoEntry *larger
    cdef ProducerEntry *entry = find(state, producer_id)
    cdef int32_t capacity
    if state.undo_count == state.undo_capacity:
        capacity = 4 if state.undo_capacity == 0 else state.undo_capacity * 2
        larger = <UndoEntry *> realloc(state.undo, capacity * sizeof(UndoEntry))
        if larger == NULL:
            return OUT_OF_MEMORY
        state.undo = larger
        state.undo_capacity = capacity
    state.undo[state.undo_count].producer_id = producer_id
    state.undo[state.undo_count].existed = entry != NULL
    if entry != NULL:
        state.undo[state.undo_count].before = entry[0]
    state.undo_count += 1
    return OK


# ---------------------------------------------------------------------------------------------------------------------
# Rules

cdef int32_t last_sequence_of(const BatchHeader *header) noexcept nogil:
    """Sequences wrap from 2^31-1 to 0; what a coordinator writes for a producer has none."""
    cdef int64_t last = <int64_t> header.base_sequence + header.last_offset_delta
    if header.base_sequence == NO_SEQUENCE:
        return NO_SEQUENCE
    return <int32_t> (last - INT32_MAX - 1 if last > INT32_MAX else last)


cdef int32_t first_sequence_of(const ProducerBatch *batch) noexcept nogil:
    cdef int64_t first = <int64_t> batch.last_sequence - batch.offset_delta
    return <int32_t> (first + INT32_MAX + 1 if first < 0 else first)


cdef Status read_marker(const uint8_t *data, const BatchHeader *header, int16_t *kind, int32_t *coordinator_epoch) noexcept nogil:
    """The single record of a control batch: key = version int16, type int16; value = version int16, coordinator epoch int32."""
    cdef Cursor cursor
    cdef int32_t length = 0
    cdef int64_t timestamp_delta = 0
    cdef int32_t offset_delta = 0
    cdef int16_t version = 0
    cdef signed char attributes = 0
    cursor_over(&cursor, data + BATCH_HEADER_SIZE, header.size - BATCH_HEADER_SIZE)
    if (
        read_varint(&cursor, &length) != OK or read_int8(&cursor, &attributes) != OK
        or read_varlong(&cursor, &timestamp_delta) != OK or read_varint(&cursor, &offset_delta) != OK
        or read_varint(&cursor, &length) != OK or length < 4
        or read_int16(&cursor, &version) != OK or read_int16(&cursor, kind) != OK
    ):
        return MALFORMED
    if kind[0] != MARKER_ABORT and kind[0] != MARKER_COMMIT:
        return OK                                       # leader change, snapshot marks and their like: no transaction ends
    cursor.position += length - 4
    if cursor.position > cursor.end or read_varint(&cursor, &length) != OK or length < 6:
        return MALFORMED
    if read_int16(&cursor, &version) != OK or read_int32(&cursor, coordinator_epoch) != OK:
        return MALFORMED
    return OK


cdef Permit *permit_slot(Permit *permits, int32_t capacity, int64_t producer_id) noexcept nogil:
    """Where the producer's permit is, or would be put."""
    cdef int32_t slot = home_slot(producer_id, capacity)
    while permits[slot].producer_id != NO_PRODUCER_ID and permits[slot].producer_id != producer_id:
        slot = (slot + 1) & (capacity - 1)
    return &permits[slot]


cdef Permit *find_permit(const ProducerState *state, int64_t producer_id) noexcept nogil:
    cdef Permit *permit
    if state.permit_count == 0:
        return NULL
    permit = permit_slot(state.permits, state.permit_capacity, producer_id)
    return permit if permit.producer_id == producer_id else NULL


cdef void clear_permits(ProducerState *state) noexcept nogil:
    free(state.permits)
    state.permits = NULL
    state.permit_count = state.permit_capacity = 0


cdef Status grow_permits(ProducerState *state) noexcept nogil:
    cdef int32_t capacity = 4 if state.permit_capacity == 0 else state.permit_capacity * 2
    cdef Permit *larger = <Permit *> malloc(capacity * sizeof(Permit))
    cdef int32_t slot
    if larger == NULL:
        return OUT_OF_MEMORY
    for slot in range(capacity):
        larger[slot].producer_id = NO_PRODUCER_ID
    for slot in range(state.permit_capacity):
        if state.permits[slot].producer_id != NO_PRODUCER_ID:
            permit_slot(larger, capacity, state.permits[slot].producer_id)[0] = state.permits[slot]
    free(state.permits)
    state.permits = larger
    state.permit_capacity = capacity
    return OK


cdef Status producers_permit(ProducerState *state, int64_t producer_id, int16_t producer_epoch) noexcept nogil:
    cdef Permit *permit = find_permit(state, producer_id)
    if permit == NULL:
        if state.permit_count == MAX_PERMITS:
            clear_permits(state)                        # whoever held one asks again
        if (state.permit_count + 1) * 4 > state.permit_capacity * 3 and grow_permits(state) != OK:
            return OUT_OF_MEMORY
        permit = permit_slot(state.permits, state.permit_capacity, producer_id)
        permit.producer_id = producer_id
        state.permit_count += 1
    permit.producer_epoch = producer_epoch
    permit.is_old = False
    return OK


cdef void end_permit(ProducerState *state, int64_t producer_id) noexcept nogil:
    """Frees the slot and closes the gap, as remove() does."""
    cdef Permit *permit = find_permit(state, producer_id)
    cdef int32_t mask = state.permit_capacity - 1
    cdef int32_t gap, slot, home
    if permit == NULL:
        return
    gap = <int32_t> (permit - state.permits)
    slot = gap
    while True:
        slot = (slot + 1) & mask
        if state.permits[slot].producer_id == NO_PRODUCER_ID:
            break
        home = home_slot(state.permits[slot].producer_id, state.permit_capacity)
        if ((slot - home) & mask) >= ((slot - gap) & mask):
            state.permits[gap] = state.permits[slot]
            gap = slot
    state.permits[gap].producer_id = NO_PRODUCER_ID
    state.permit_count -= 1


cdef void age_permits(ProducerState *state) noexcept nogil:
    """Those that nobody has used since the last time end."""
    cdef int32_t slot = 0
    while slot < state.permit_capacity:
        if state.permits[slot].producer_id != NO_PRODUCER_ID and state.permits[slot].is_old:
            end_permit(state, state.permits[slot].producer_id)     # may move another one into this slot: look at it again
        else:
            state.permits[slot].is_old = True
            slot += 1
    if state.permit_count == 0:
        clear_permits(state)


cdef int16_t producers_epoch(const ProducerState *state, int64_t producer_id) noexcept nogil:
    cdef const ProducerEntry *entry = find(state, producer_id)
    return NO_EPOCH if entry == NULL else entry.producer_epoch


cdef bint producers_may_write(const ProducerState *state, int64_t producer_id, int16_t producer_epoch) noexcept nogil:
    cdef const ProducerEntry *entry = find(state, producer_id)
    cdef const Permit *permit
    if entry != NULL and entry.transaction_first_offset >= 0 and entry.producer_epoch == producer_epoch:
        return True
    permit = find_permit(state, producer_id)
    return permit != NULL and permit.producer_epoch == producer_epoch


cdef Status check_marker(
        const ProducerEntry *entry, const BatchHeader *header, const uint8_t *data, int16_t transaction_version) noexcept nogil:
    cdef int16_t kind = -1
    cdef int32_t coordinator_epoch = -1
    if read_marker(data, header, &kind, &coordinator_epoch) != OK:
        return MALFORMED
    if entry == NULL or (kind != MARKER_ABORT and kind != MARKER_COMMIT):
        return OK
    if header.producer_epoch < entry.producer_epoch:
        return INVALID_PRODUCER_EPOCH
    if (
        transaction_version >= FIRST_BUMPING_VERSION and header.producer_epoch == entry.producer_epoch
        and entry.transaction_first_offset >= 0
    ):
        return INVALID_PRODUCER_EPOCH
    return COORDINATOR_FENCED if coordinator_epoch < entry.coordinator_epoch else OK


cdef Status check_data(const ProducerEntry *entry, const BatchHeader *header, int64_t *old_base_offset) noexcept nogil:
    cdef const ProducerBatch *batch
    cdef int32_t last_sequence
    cdef int number
    if header.producer_epoch < entry.producer_epoch:
        return INVALID_PRODUCER_EPOCH
    if header.base_sequence == NO_SEQUENCE:
        pass
    elif header.producer_epoch > entry.producer_epoch:
        if header.base_sequence != 0:
            return OUT_OF_ORDER_SEQUENCE
    else:
        last_sequence = last_sequence_of(header)
        for number in range(entry.batch_count):
            batch = &entry.batches[number]
            if batch.last_sequence == last_sequence and first_sequence_of(batch) == header.base_sequence:
                old_base_offset[0] = batch.last_offset - batch.offset_delta
                return DUPLICATE_SEQUENCE
        last_sequence = entry.batches[entry.batch_count - 1].last_sequence if entry.batch_count > 0 else NO_SEQUENCE
        if header.base_sequence != (0 if last_sequence == INT32_MAX else last_sequence + 1):
            return OUT_OF_ORDER_SEQUENCE
    if entry.transaction_first_offset >= 0 and not header.attributes & TRANSACTIONAL_FLAG:
        return INVALID_TXN_STATE
    return OK


cdef Status producers_check(
        const ProducerState *state, const BatchHeader *header, const uint8_t *data, bint from_client, int16_t transaction_version,
        int64_t *old_base_offset) noexcept nogil:
    cdef const ProducerEntry *entry
    cdef Status status = OK
    old_base_offset[0] = -1
    if header.producer_id == NO_PRODUCER_ID:
        return OK
    entry = find(state, header.producer_id)
    if header.attributes & CONTROL_FLAG:
        return check_marker(entry, header, data, transaction_version)
    if entry != NULL and entry.producer_epoch != NO_EPOCH:
        status = check_data(entry, header, old_base_offset)
    if (
        from_client and header.attributes & TRANSACTIONAL_FLAG and status != DUPLICATE_SEQUENCE and status != INVALID_PRODUCER_EPOCH
        and not producers_may_write(state, header.producer_id, header.producer_epoch)
    ):
        return UNVERIFIED_TRANSACTION
    return status


cdef void take_epoch(ProducerEntry *entry, int16_t producer_epoch) noexcept nogil:
    if entry.producer_epoch != producer_epoch:
        entry.producer_epoch = producer_epoch
        entry.batch_count = 0


cdef void end_transaction(
        ProducerState *state, ProducerEntry *entry, bint commit, int64_t offset, AbortedTransaction *aborted) noexcept nogil:
    cdef int64_t first_offset = entry.transaction_first_offset
    if first_offset < 0:
        return
    if not commit:
        aborted.producer_id = entry.producer_id
        aborted.first_offset = entry.transaction_first_offset
        aborted.last_offset = offset
    entry.transaction_first_offset = -1
    state.open_transactions -= 1
    if state.open_transactions == 0:
        state.first_undecided_offset = INT64_MAX
    elif first_offset == state.first_undecided_offset:
        count_transactions(state)                   # a look at every producer, only when the oldest of several has ended
    # What a reader may see once this transaction is decided: up to the next one still open.
    aborted.last_stable_offset = state.first_undecided_offset if state.open_transactions > 0 else offset + 1


cdef void take_data(ProducerState *state, ProducerEntry *entry, const BatchHeader *header, int64_t base_offset) noexcept nogil:
    cdef ProducerBatch *batch
    if entry.batch_count == REMEMBERED_BATCHES:
        memmove(&entry.batches[0], &entry.batches[1], (REMEMBERED_BATCHES - 1) * sizeof(ProducerBatch))
        entry.batch_count -= 1
    batch = &entry.batches[entry.batch_count]
    entry.batch_count += 1
    batch.last_sequence = last_sequence_of(header)
    batch.last_offset = base_offset + header.last_offset_delta
    batch.offset_delta = header.last_offset_delta
    batch.timestamp = header.max_timestamp
    if header.attributes & TRANSACTIONAL_FLAG and entry.transaction_first_offset < 0:
        entry.transaction_first_offset = base_offset
        state.open_transactions += 1
        if base_offset < state.first_undecided_offset:
            state.first_undecided_offset = base_offset


cdef Status producers_apply(
        ProducerState *state, const BatchHeader *header, const uint8_t *data, int64_t base_offset, int64_t now_ms,
        AbortedTransaction *aborted) noexcept nogil:
    cdef ProducerEntry *entry
    cdef int16_t kind = -1
    cdef int32_t coordinator_epoch = -1
    aborted.producer_id = NO_PRODUCER_ID
    if header.producer_id == NO_PRODUCER_ID:
        return OK
    if header.attributes & CONTROL_FLAG:
        if read_marker(data, header, &kind, &coordinator_epoch) != OK or (kind != MARKER_ABORT and kind != MARKER_COMMIT):
            return OK
    if remember(state, header.producer_id) != OK:
        return OUT_OF_MEMORY
    entry = find_or_add(state, header.producer_id)
    if entry == NULL:
        state.undo_count -= 1
        return OUT_OF_MEMORY
    take_epoch(entry, header.producer_epoch)
    entry.last_timestamp = max(header.max_timestamp, now_ms)
    if header.attributes & CONTROL_FLAG:
        entry.coordinator_epoch = coordinator_epoch
        end_permit(state, header.producer_id)
        end_transaction(state, entry, kind == MARKER_COMMIT, base_offset, aborted)
    else:
        if header.attributes & TRANSACTIONAL_FLAG:
            end_permit(state, header.producer_id)       # from here on the open transaction lets the producer in
        take_data(state, entry, header, base_offset)
    return OK


cdef void producers_expire(ProducerState *state, int64_t oldest_timestamp) noexcept nogil:
    cdef int32_t slot = 0
    while slot < state.capacity:
        if (
            state.slots[slot].producer_id != NO_PRODUCER_ID and state.slots[slot].transaction_first_offset < 0
            and state.slots[slot].last_timestamp < oldest_timestamp
        ):
            remove(state, state.slots[slot].producer_id)       # may move another one into this slot: look at it again
        else:
            slot += 1
    if state.count == 0:
        producers_clear(state)
    age_permits(state)


# ---------------------------------------------------------------------------------------------------------------------
# Snapshot

cdef void store_int16(uint8_t *data, int16_t value) noexcept nogil:
    data[0] = <uint8_t> ((value >> 8) & 0xFF)
    data[1] = <uint8_t> (value & 0xFF)


cdef int16_t load_int16(const uint8_t *data) noexcept nogil:
    return <int16_t> ((<uint32_t> data[0] << 8) | data[1])


cdef uint8_t *producers_encode(const ProducerState *state, Py_ssize_t *size) noexcept nogil:
    cdef uint8_t *data
    cdef uint8_t *at
    cdef ProducerEntry *entry
    cdef ProducerBatch *batch
    cdef int32_t slot
    size[0] = SNAPSHOT_HEADER_SIZE + <Py_ssize_t> state.count * SNAPSHOT_ENTRY_SIZE
    data = <uint8_t *> malloc(size[0])
    if data == NULL:
        return NULL
    store_int16(data, SNAPSHOT_VERSION)
    store_int32(data + SNAPSHOT_CHECKED_FROM, state.count)
    at = data + SNAPSHOT_HEADER_SIZE
    for slot in range(state.capacity):
        entry = &state.slots[slot]
        if entry.producer_id == NO_PRODUCER_ID:
            continue
        batch = &entry.batches[entry.batch_count - 1] if entry.batch_count > 0 else NULL
        store_int64(at, entry.producer_id)
        store_int16(at + 8, entry.producer_epoch)
        store_int32(at + 10, batch.last_sequence if batch != NULL else NO_SEQUENCE)
        store_int64(at + 14, batch.last_offset if batch != NULL else -1)
        store_int32(at + 22, batch.offset_delta if batch != NULL else 0)
        store_int64(at + 26, entry.last_timestamp)
        store_int32(at + 34, entry.coordinator_epoch)
        store_int64(at + 38, entry.transaction_first_offset)
        at += SNAPSHOT_ENTRY_SIZE
    store_int32(data + 2, <int32_t> crc32c_extend(0, data + SNAPSHOT_CHECKED_FROM, size[0] - SNAPSHOT_CHECKED_FROM))
    return data


cdef Status decode_entry(ProducerState *state, const uint8_t *data) noexcept nogil:
    cdef ProducerEntry *entry
    cdef ProducerBatch *batch
    if load_int64(data) < 0 or find(state, load_int64(data)) != NULL:
        return MALFORMED
    entry = find_or_add(state, load_int64(data))
    if entry == NULL:
        return OUT_OF_MEMORY
    entry.producer_epoch = load_int16(data + 8)
    entry.last_timestamp = load_int64(data + 26)
    entry.coordinator_epoch = load_int32(data + 34)
    entry.transaction_first_offset = load_int64(data + 38)
    if entry.transaction_first_offset < 0:
        entry.transaction_first_offset = -1
    if load_int64(data + 14) >= 0:
        batch = &entry.batches[0]
        entry.batch_count = 1
        batch.last_sequence = load_int32(data + 10)
        batch.last_offset = load_int64(data + 14)
        batch.offset_delta = load_int32(data + 22)
        batch.timestamp = entry.last_timestamp
        if batch.offset_delta < 0 or batch.last_sequence < -1:
            return MALFORMED
    return OK


cdef Status producers_decode(ProducerState *state, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef int32_t count
    cdef int32_t number
    cdef Status status = OK
    producers_clear(state)
    if size < SNAPSHOT_HEADER_SIZE or load_int16(data) != SNAPSHOT_VERSION:
        return MALFORMED
    if <uint32_t> load_int32(data + 2) != crc32c_extend(0, data + SNAPSHOT_CHECKED_FROM, size - SNAPSHOT_CHECKED_FROM):
        return MALFORMED
    count = load_int32(data + SNAPSHOT_CHECKED_FROM)
    if count < 0 or size != SNAPSHOT_HEADER_SIZE + <Py_ssize_t> count * SNAPSHOT_ENTRY_SIZE:
        return MALFORMED
    for number in range(count):
        status = decode_entry(state, data + SNAPSHOT_HEADER_SIZE + <Py_ssize_t> number * SNAPSHOT_ENTRY_SIZE)
        if status != OK:
            producers_clear(state)
            return status
    count_transactions(state)
    return OK


cdef list producers_as_list(const ProducerState *state):
    cdef int32_t slot
    cdef list found = []
    for slot in range(state.capacity):
        if state.slots[slot].producer_id != NO_PRODUCER_ID:
            found.append(entry_as_tuple(&state.slots[slot]))
    return sorted(found)


cdef tuple entry_as_tuple(ProducerEntry *entry):
    cdef ProducerBatch *batch = &entry.batches[entry.batch_count - 1] if entry.batch_count > 0 else NULL
    return (
        entry.producer_id, entry.producer_epoch, batch.last_sequence if batch != NULL else NO_SEQUENCE,
        batch.last_offset if batch != NULL else -1, batch.offset_delta if batch != NULL else 0,
        entry.last_timestamp, entry.coordinator_epoch, entry.transaction_first_offset,
    )


def decode_producer_snapshot(data: bytes) -> list | None:
    """[(producer id, epoch, last sequence, last offset, offset delta, timestamp, coordinator epoch, transaction first offset), ...].

    None means that the file is no snapshot of version 1 or its CRC differs: an older snapshot, or the log itself, must serve.
    """
    cdef ProducerState state
    producers_init(&state)
    cdef Status status = producers_decode(&state, data, len(data))
    entries = producers_as_list(&state) if status == OK else None
    producers_free(&state)
    return entries
