"""Rows of columns as records of a batch: a face for Cython only.

write_rows() is add_record() for rows that follow one another: what is alike for all of them is worked out once, and
nothing is called for a row but memcpy().  It leaves to its caller, by way of row_at() and add_record(), whatever is not
plain: rows that do not fit, timestamps that are refused.
"""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from pystream._native.column_source cimport (
    FIXED, NO_FIELD, NO_LISTS, OFFSETS_32, OFFSETS_64, FieldSource, field_at_row, headers_at_row)
from pystream._native.compression cimport release_buffer
from pystream._native.record_builder cimport BatchBuilder
from pystream._native.send_queue cimport Row
from pystream._native.status cimport MALFORMED, OK, Status

cdef enum:
    RECORD_OVERHEAD = 8                  # of a record with two short fields: its lengths and deltas
    NO_TIMESTAMP = -1
    NULL_SIZE = 1                        # -1 in zigzag


cdef void free_rows(RowSource *source) noexcept nogil:
    release_buffer(&source.scratch)


# ---- varints, here so that the C compiler can inline them

cdef inline uint64_t zigzag(int64_t value) noexcept nogil:
    return (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)


cdef inline int zigzag_size(uint64_t value) noexcept nogil:
    cdef int size = 3
    if value < 0x80:
        return 1
    if value < 0x4000:
        return 2
    value >>= 21
    while value > 0:
        value >>= 7
        size += 1
    return size


cdef inline uint8_t *put_zigzag(uint8_t *to, uint64_t value) noexcept nogil:
    if value < 0x80:
        to[0] = <uint8_t>value
        return to + 1
    if value < 0x4000:
        to[0] = <uint8_t>(value | 0x80)
        to[1] = <uint8_t>(value >> 7)
        return to + 2
    while value >= 0x80:
        to[0] = <uint8_t>(value | 0x80)
        to += 1
        value >>= 7
    to[0] = <uint8_t>value
    return to + 1


# ---- fields

cdef inline bint field_of_row(
        const FieldSource *source, Py_ssize_t number, const uint8_t **field, Py_ssize_t *size) noexcept nogil:
    """field_at_row(), with what is usual done in place."""
    cdef int64_t begin, end
    cdef Py_ssize_t row = source.start + number
    if source.validity != NULL:
        return field_at_row(source, number, field, size)
    if source.kind == OFFSETS_32:
        begin = (<const int32_t *>source.offsets)[row]
        end = (<const int32_t *>source.offsets)[row + 1]
    elif source.kind == OFFSETS_64:
        begin = (<const int64_t *>source.offsets)[row]
        end = (<const int64_t *>source.offsets)[row + 1]
    elif source.kind == FIXED and not source.strip:
        begin = row * source.width
        end = begin + source.width
    else:
        return field_at_row(source, number, field, size)
    if begin < 0 or end < begin or end > source.data_size:
        return False
    field[0] = source.data + begin
    size[0] = end - begin
    return True


cdef Status row_at(RowSource *source, Py_ssize_t number, Row *row) noexcept nogil:
    if not field_at_row(&source.values, number, &row.value, &row.value_size) or (
            not field_at_row(&source.keys, number, &row.key, &row.key_size)):
        return MALFORMED
    row.timestamp_ms = source.timestamps[number] if source.timestamps != NULL else source.timestamp_ms
    return headers_at_row(
        &source.headers, number, &source.scratch, &row.headers, &row.headers_size, &row.header_count)


# ---- runs

cdef struct Record:
    const uint8_t *key
    Py_ssize_t key_size
    const uint8_t *value
    Py_ssize_t value_size
    const uint8_t *headers
    Py_ssize_t headers_size
    int32_t header_count
    int64_t timestamp_ms


cdef inline bint take_row(RowSource *source, Py_ssize_t number, Record *record) noexcept nogil:
    if not field_of_row(&source.values, number, &record.value, &record.value_size):
        return False
    if source.keys.kind != NO_FIELD and not field_of_row(&source.keys, number, &record.key, &record.key_size):
        return False
    if source.timestamps != NULL:
        record.timestamp_ms = source.timestamps[number]
        if record.timestamp_ms < NO_TIMESTAMP:
            return False
    if source.headers.kind == NO_LISTS:
        return True
    return headers_at_row(
        &source.headers, number, &source.scratch, &record.headers, &record.headers_size, &record.header_count) == OK


cdef inline uint8_t *put_bytes(uint8_t *to, const uint8_t *field, Py_ssize_t size) noexcept nogil:
    if size < 0:
        to[0] = NULL_SIZE
        return to + 1
    to = put_zigzag(to, <uint64_t>size << 1)
    if size > 0:
        memcpy(to, field, size)
    return to + size


cdef inline uint8_t *put_record(
        uint8_t *to, const Record *record, uint64_t timestamp_delta, uint64_t offset_delta) noexcept nogil:
    """Deltas in zigzag. The caller has made room."""
    cdef Py_ssize_t key_size = max(record.key_size, 0), value_size = max(record.value_size, 0)
    cdef Py_ssize_t body = 1 + key_size + value_size + record.headers_size
    body += zigzag_size(timestamp_delta) + zigzag_size(offset_delta) + zigzag_size(<uint64_t>key_size << 1)
    body += zigzag_size(<uint64_t>value_size << 1) + zigzag_size(<uint64_t>record.header_count << 1)
    to = put_zigzag(to, <uint64_t>body << 1)
    to[0] = 0                                                # attributes, of which no bit is in use
    to = put_zigzag(to + 1, timestamp_delta)
    to = put_zigzag(to, offset_delta)
    to = put_bytes(to, record.key, record.key_size)
    to = put_bytes(to, record.value, record.value_size)
    to = put_zigzag(to, <uint64_t>record.header_count << 1)
    if record.headers_size > 0:
        memcpy(to, record.headers, record.headers_size)
        to += record.headers_size
    return to


cdef Py_ssize_t write_values(
        BatchBuilder *builder, const FieldSource *values, uint64_t timestamp_delta, Py_ssize_t number, Py_ssize_t last,
        Py_ssize_t most) noexcept nogil:
    """Rows of nothing but a value, all at one time: most of what is sent in bulk."""
    cdef uint8_t *to = builder.records.data + builder.records.size
    cdef const uint8_t *end = builder.records.data + most
    cdef const uint8_t *value = NULL
    cdef Py_ssize_t size = -1, field, body
    cdef Py_ssize_t bare = 3 + zigzag_size(timestamp_delta)  # attributes, no key, no headers
    cdef uint64_t offset_delta = <uint64_t>(<int64_t>builder.last_offset_delta + 1) << 1
    while number < last and field_of_row(values, number, &value, &size):
        field = max(size, 0)
        if field >= end - to:
            break
        body = bare + zigzag_size(offset_delta) + zigzag_size(<uint64_t>field << 1) + field
        to = put_zigzag(to, <uint64_t>body << 1)
        to[0] = 0
        to = put_zigzag(to + 1, timestamp_delta)
        to = put_zigzag(to, offset_delta)
        to[0] = NULL_SIZE
        to = put_bytes(to + 1, value, size)
        to[0] = 0
        to += 1
        offset_delta += 2
        number += 1
    builder.records.size = to - builder.records.data
    return number


cdef Py_ssize_t write_records(
        BatchBuilder *builder, RowSource *source, Py_ssize_t number, Py_ssize_t last, Py_ssize_t most) noexcept nogil:
    """Rows of any kind."""
    cdef uint8_t *to = builder.records.data + builder.records.size
    cdef const uint8_t *end = builder.records.data + most
    cdef uint64_t timestamp_delta = zigzag(source.timestamp_ms - builder.base_timestamp)
    cdef uint64_t offset_delta = <uint64_t>(<int64_t>builder.last_offset_delta + 1) << 1
    cdef Record record
    record.key = NULL
    record.key_size = -1
    record.headers = source.headers.encoded
    record.headers_size = source.headers.encoded_size
    record.header_count = source.headers.count
    while number < last and take_row(source, number, &record):
        if max(record.key_size, 0) + max(record.value_size, 0) + record.headers_size >= end - to:
            break
        if source.timestamps != NULL:
            timestamp_delta = zigzag(record.timestamp_ms - builder.base_timestamp)
            builder.max_timestamp = max(builder.max_timestamp, record.timestamp_ms)
        to = put_record(to, &record, timestamp_delta, offset_delta)
        offset_delta += 2
        number += 1
    builder.records.size = to - builder.records.data
    return number


cdef Py_ssize_t write_rows(
        BatchBuilder *builder, RowSource *source, Py_ssize_t number, Py_ssize_t last, Py_ssize_t most) noexcept nogil:
    cdef Py_ssize_t first = number
    if source.timestamp_ms < NO_TIMESTAMP or builder.count == 0 or builder.count > INT32_MAX - (last - number):
        return number
    if source.keys.kind == NO_FIELD and source.timestamps == NULL and (
            source.headers.kind == NO_LISTS and source.headers.count == 0):
        number = write_values(
            builder, &source.values, zigzag(source.timestamp_ms - builder.base_timestamp), number, last, most)
    else:
        number = write_records(builder, source, number, last, most)
    if source.timestamps == NULL and number > first:
        builder.max_timestamp = max(builder.max_timestamp, source.timestamp_ms)
    builder.count += <int32_t>(number - first)
    builder.last_offset_delta += <int32_t>(number - first)
    return number


cdef inline Py_ssize_t bytes_of_field(const FieldSource *source) noexcept nogil:
    if source.kind == FIXED:
        return source.width + RECORD_OVERHEAD
    if source.kind == OFFSETS_32 or source.kind == OFFSETS_64:
        return source.data_size // max(source.start + source.rows, 1) + RECORD_OVERHEAD
    return 0


cdef Py_ssize_t bytes_of_row(const RowSource *source) noexcept nogil:
    return bytes_of_field(&source.values) + bytes_of_field(&source.keys) + source.headers.encoded_size
