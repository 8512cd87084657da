"""What compaction leaves of one batch (see the .pxd).

    [header][k1][k2][k3][k1]     k2 is newer elsewhere     ->  [header][k1'][k3][k1]   in fact without k1', which the last k1 supersedes

Runs of records that stay are copied as they are; only a batch whose horizon is set now has its timestamp deltas written anew.
"""

from libc.stdint cimport INT32_MAX, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from pystream._native.batch cimport (
    BATCH_HEADER_SIZE, BATCH_LENGTH_OVERHEAD, CODEC_MASK, CONTROL_FLAG, DELETE_HORIZON_FLAG, LOG_APPEND_TIME_FLAG,
    NO_TIMESTAMP,
)
from pystream._native.buffer cimport (
    Cursor, cursor_over, encode_varlong, output_clear, output_free, output_init, output_reserve, read_int8,
    read_varint, read_varlong, take, write_int8, write_raw, write_varint, write_varlong,
)
from pystream._native.compression cimport DEFAULT_LEVEL, NO_CODEC, compress_into, release_buffer
from pystream._native.crc32c cimport crc32c_extend
from pystream._native.offset_map cimport offset_map_get, offset_map_put
from pystream._native.record_reader cimport RecordView, close_batch, init_record_cursor, next_record, open_batch
from pystream._native.status cimport BATCH_TOO_LARGE, MALFORMED, NOT_FOUND, OK

cdef extern from "bytes.h" nogil:
    void store_be16(uint8_t *data, uint16_t value)
    void store_be32(uint8_t *data, uint32_t value)
    void store_be64(uint8_t *data, uint64_t value)

cdef enum:
    CRC_POSITION = 17
    CHECKED_FROM = 21

cdef int64_t FARTHEST_SHIFT = <int64_t> 1 << 62

cdef struct Kept:
    int32_t records
    bint tombstones
    int64_t max_timestamp


cdef void batch_cleaner_init(BatchCleaner *cleaner, const OffsetMap *map, int64_t now_ms, int64_t delete_retention_ms) noexcept nogil:
    memset(cleaner, 0, sizeof(BatchCleaner))
    cleaner.map = map
    cleaner.now_ms = now_ms
    cleaner.delete_retention_ms = delete_retention_ms
    init_record_cursor(&cleaner.cursor)
    output_init(&cleaner.kept, 0)
    output_init(&cleaner.shifted, 0)
    output_init(&cleaner.batch, 0)


cdef void batch_cleaner_free(BatchCleaner *cleaner) noexcept nogil:
    close_batch(&cleaner.cursor)
    output_free(&cleaner.kept)
    output_free(&cleaner.shifted)
    output_free(&cleaner.batch)
    release_buffer(&cleaner.packed)


# ---------------------------------------------------------------------------------------------------------------------
# Which records stay

cdef inline bint stays(BatchCleaner *cleaner, const RecordView *record, bint horizon_over) noexcept nogil:
    if record.offset > cleaner.map.latest_offset:
        return True
    if record.key == NULL:
        cleaner.keyless += 1
        return False
    if record.value == NULL and horizon_over:
        return False
    return record.offset >= offset_map_get(cleaner.map, record.key, record.key_size)


cdef Status pick_records(BatchCleaner *cleaner, const BatchHeader *header, bint keep_all, Kept *kept) noexcept nogil:
    """Fills cleaner.kept, unless all records stay: it is empty then, and they lie in the cursor.  The batch is open."""
    cdef RecordCursor *cursor = &cleaner.cursor
    cdef RecordView record
    cdef Py_ssize_t run_start = 0
    cdef Py_ssize_t begins
    cdef bint horizon_over = header.attributes & DELETE_HORIZON_FLAG != 0 and header.base_timestamp <= cleaner.now_ms
    cdef Status status = OK
    output_clear(&cleaner.kept)
    kept.records = 0
    kept.tombstones = False
    kept.max_timestamp = NO_TIMESTAMP
    while status == OK:
        begins = cursor.records.position
        status = next_record(cursor, &record)
        if status != OK:
            break
        cleaner.records_read += 1
        if keep_all or stays(cleaner, &record, horizon_over):
            kept.records += 1
            kept.tombstones = kept.tombstones or record.value == NULL
            if record.timestamp > kept.max_timestamp:
                kept.max_timestamp = record.timestamp
        else:
            write_raw(&cleaner.kept, cursor.records.data + run_start, begins - run_start)
            run_start = cursor.records.position
    if status == NOT_FOUND:
        status = cleaner.kept.status
    if status == OK and kept.records < header.record_count:
        write_raw(&cleaner.kept, cursor.records.data + run_start, cursor.records.end - run_start)
        status = cleaner.kept.status
    if status == OK:
        cleaner.records_kept += kept.records
    return status


cdef Status map_batch(
        OffsetMap *map, RecordCursor *cursor, const uint8_t *data, const BatchHeader *header, int64_t from_offset) noexcept nogil:
    cdef RecordView record
    cdef Status status = open_batch(cursor, data, header.size, 0)
    while status == OK:
        status = next_record(cursor, &record)
        if status == OK and record.key != NULL and record.offset >= from_offset:
            status = offset_map_put(map, record.key, record.key_size, record.offset)
    return OK if status == NOT_FOUND else status


# ---------------------------------------------------------------------------------------------------------------------
# The batch that is left

cdef Status shift_record(Cursor *records, int64_t shift, Output *output) noexcept nogil:
    """Copies the record at the cursor with `shift` taken from its timestamp delta."""
    cdef Cursor body
    cdef const uint8_t *field = NULL
    cdef uint8_t scratch[10]
    cdef int32_t size = 0
    cdef int64_t delta = 0
    cdef int8_t attributes = 0
    cdef Status status = read_varint(records, &size)
    if status == OK:
        status = take(records, size, &field)
    if status != OK:
        return status
    cursor_over(&body, field, size)
    status = read_int8(&body, &attributes)
    if status == OK:
        status = read_varlong(&body, &delta)
    if status != OK:
        return status
    if delta < -FARTHEST_SHIFT or delta > FARTHEST_SHIFT:
        return MALFORMED
    delta -= shift
    size = <int32_t> (1 + encode_varlong(scratch, (<uint64_t> delta << 1) ^ <uint64_t> (delta >> 63)) + body.end - body.position)
    write_varint(output, size)
    write_int8(output, attributes)
    write_varlong(output, delta)
    write_raw(output, body.data + body.position, body.end - body.position)
    return output.status


cdef Status shift_timestamps(BatchCleaner *cleaner, const uint8_t **records, Py_ssize_t *size, int64_t shift) noexcept nogil:
    cdef Cursor cursor
    cdef Status status = OK
    cursor_over(&cursor, records[0], size[0])
    output_clear(&cleaner.shifted)
    while status == OK and cursor.position < cursor.end:
        status = shift_record(&cursor, shift, &cleaner.shifted)
    records[0] = cleaner.shifted.data
    size[0] = cleaner.shifted.size
    return status


cdef Status write_batch(
        BatchCleaner *cleaner, const uint8_t *original, int16_t attributes, int64_t base_timestamp, int64_t max_timestamp,
        int32_t record_count, const uint8_t *records, Py_ssize_t records_size) noexcept nogil:
    """The header of `original` with what has changed, then the records; length and CRC to match."""
    cdef uint8_t *batch
    if records_size > INT32_MAX - BATCH_HEADER_SIZE:
        return BATCH_TOO_LARGE
    output_clear(&cleaner.batch)
    batch = output_reserve(&cleaner.batch, BATCH_HEADER_SIZE + records_size)
    if batch == NULL:
        return cleaner.batch.status
    memcpy(batch, original, BATCH_HEADER_SIZE)
    if records_size > 0:
        memcpy(batch + BATCH_HEADER_SIZE, records, records_size)
    store_be32(batch + 8, <uint32_t> (BATCH_HEADER_SIZE + records_size - BATCH_LENGTH_OVERHEAD))
    store_be16(batch + 21, <uint16_t> attributes)
    store_be64(batch + 27, <uint64_t> base_timestamp)
    store_be64(batch + 35, <uint64_t> max_timestamp)
    store_be32(batch + 57, <uint32_t> record_count)
    store_be32(batch + CRC_POSITION, crc32c_extend(0, batch + CHECKED_FROM, BATCH_HEADER_SIZE + records_size - CHECKED_FROM))
    return OK


cdef Status write_empty(BatchCleaner *cleaner, const uint8_t *original, const BatchHeader *header) noexcept nogil:
    cdef int16_t attributes = header.attributes & ~(CODEC_MASK | DELETE_HORIZON_FLAG)
    return write_batch(cleaner, original, attributes, NO_TIMESTAMP, header.max_timestamp, 0, NULL, 0)


cdef Status write_left(
        BatchCleaner *cleaner, const uint8_t *original, const BatchHeader *header, const Kept *kept, bint set_horizon) noexcept nogil:
    cdef const uint8_t *records = cleaner.kept.data
    cdef Py_ssize_t size = cleaner.kept.size
    cdef int16_t attributes = header.attributes
    cdef int64_t base_timestamp = header.base_timestamp
    cdef bint append_time = header.attributes & LOG_APPEND_TIME_FLAG != 0
    cdef Status status = OK
    if kept.records == header.record_count:
        records = cleaner.cursor.records.data
        size = cleaner.cursor.records.end
    if set_horizon:
        attributes |= DELETE_HORIZON_FLAG
        base_timestamp = cleaner.now_ms + cleaner.delete_retention_ms
        if not append_time:                                  # nobody looks at the deltas there
            status = shift_timestamps(cleaner, &records, &size, base_timestamp - header.base_timestamp)
    if status == OK and attributes & CODEC_MASK != NO_CODEC:
        status = compress_into(attributes & CODEC_MASK, DEFAULT_LEVEL, records, size, &cleaner.packed)
        records = cleaner.packed.data
        size = cleaner.packed.size
    if status != OK:
        return status
    return write_batch(
        cleaner, original, attributes, base_timestamp, header.max_timestamp if append_time else kept.max_timestamp,
        kept.records, records, size)


cdef bint can_set_horizon(const BatchCleaner *cleaner, const BatchHeader *header) noexcept nogil:
    """Timestamps so far off that the deltas would not fit keep their tombstones for ever."""
    cdef int64_t bound = FARTHEST_SHIFT // 2
    return (
        not header.attributes & DELETE_HORIZON_FLAG and cleaner.delete_retention_ms < bound - cleaner.now_ms
        and -bound < header.base_timestamp < bound)


cdef Status clean_batch(
        BatchCleaner *cleaner, const uint8_t *data, const BatchHeader *header, const BatchVerdict *verdict,
        const uint8_t **result, Py_ssize_t *size) noexcept nogil:
    cdef bint control = header.attributes & CONTROL_FLAG != 0
    cdef bint discard = verdict.discard
    cdef bint set_horizon = False
    cdef Kept kept
    cdef Status status = OK
    kept.records = 0
    result[0] = data
    size[0] = header.size
    if control:
        discard = discard and header.attributes & DELETE_HORIZON_FLAG != 0 and header.base_timestamp <= cleaner.now_ms
    if discard:
        cleaner.records_read += header.record_count
    elif header.record_count > 0:
        status = open_batch(&cleaner.cursor, data, header.size, 0)
        if status == OK:
            status = pick_records(cleaner, header, control, &kept)
        if status != OK:
            return status
        set_horizon = (verdict.discard if control else kept.tombstones) and can_set_horizon(cleaner, header)
        if kept.records == header.record_count and not set_horizon:
            return OK
    if kept.records > 0:
        status = write_left(cleaner, data, header, &kept, set_horizon)
    elif not verdict.keep_header:
        size[0] = 0
        return OK
    elif header.record_count == 0:
        return OK                                            # it was emptied before
    else:
        status = write_empty(cleaner, data, header)
    result[0] = cleaner.batch.data
    size[0] = cleaner.batch.size
    return status
