"""Reads the records of record batches v2, one by one or by time; the layout is drawn in record_reader.pxd.

Source: KIP-98 (format), KIP-32 (timestamps), KIP-79 and KIP-734 (offsets by timestamp).
"""

cimport cython
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from pystream._native.batch cimport (
    BATCH_HEADER_SIZE, CODEC_MASK, CONTROL_FLAG, LOG_APPEND_TIME_FLAG, NO_TIMESTAMP, BatchHeader, check_batch_crc,
    parse_batch_header)
from pystream._native.buffer cimport Cursor
from pystream._native.compression cimport (
    NO_CODEC, ZSTD, codec_buffer, decompress_into, decompression_limit, release_buffer)
from pystream._native.status cimport (
    INVALID_RECORD, MALFORMED, NOT_FOUND, OK, TRUNCATED, UNSUPPORTED_COMPRESSION,
    UNSUPPORTED_MAGIC, Status, raise_for_status)

cdef enum:
    CURRENT_MAGIC = 2
    SMALLEST_BODY = 6                # attributes, two deltas, key size, value size, header count: a byte each
    SMALLEST_RECORD = 7              # and its length
    SMALLEST_HEADER = 2              # key size, value size


# ---- varints.  The same as in native/buffer.pyx, here so that the C compiler can inline them: a record has seven.

cdef inline Py_ssize_t take_short(Cursor *cursor, uint32_t *value) noexcept nogil:
    """The unsigned value of a varint of one or two bytes, nearly all there are; 0, and nothing taken, for any other."""
    cdef const uint8_t *next = cursor.data + cursor.position
    if cursor.end - cursor.position < 2:
        return 0
    if next[0] < 0x80:
        value[0] = next[0]
        cursor.position += 1
        return 1
    if next[1] < 0x80:
        value[0] = (next[0] & 0x7F) | <uint32_t>next[1] << 7
        cursor.position += 2
        return 2
    return 0


cdef Py_ssize_t long_varint(
        const uint8_t *data, Py_ssize_t size, int highest_shift, uint8_t highest_byte, uint64_t *value) noexcept nogil:
    """How many of `size` bytes a varint takes, whose byte at `highest_shift` may not pass `highest_byte`.

    0 when it goes on behind them, -1 when it is too long.  Cursors stay outside, so that the compiler can keep them in
    registers around the call.
    """
    cdef Py_ssize_t position = 0
    cdef uint64_t result = 0, byte
    cdef int shift = 0
    while position < size:
        byte = data[position]
        position += 1
        if shift == highest_shift and byte > highest_byte:
            return -1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            value[0] = result
            return position
        shift += 7
    return 0


cdef inline Status take_unsigned(Cursor *cursor, int highest_shift, uint8_t highest_byte, uint64_t *value) noexcept nogil:
    cdef Py_ssize_t taken
    cdef uint32_t short_value = 0
    cdef uint64_t long_value = 0
    if take_short(cursor, &short_value):
        value[0] = short_value
        return OK
    taken = long_varint(
        cursor.data + cursor.position, cursor.end - cursor.position, highest_shift, highest_byte, &long_value)
    if taken <= 0:
        return TRUNCATED if taken == 0 else MALFORMED
    cursor.position += taken
    value[0] = long_value
    return OK


cdef inline Status take_varlong(Cursor *cursor, int64_t *value) noexcept nogil:
    """Zig-zag, at most 10 bytes and 64 bits."""
    cdef uint64_t unsigned = 0
    cdef Status status = take_unsigned(cursor, 63, 1, &unsigned)
    value[0] = <int64_t>(unsigned >> 1) ^ -<int64_t>(unsigned & 1)
    return status


cdef inline Status take_varint(Cursor *cursor, int32_t *value) noexcept nogil:
    """Zig-zag, at most 5 bytes and 32 bits."""
    cdef uint64_t unsigned = 0
    cdef Status status = take_unsigned(cursor, 28, 0x0F, &unsigned)
    value[0] = <int32_t>(<uint32_t>unsigned >> 1) ^ -<int32_t>(unsigned & 1)
    return status


cdef inline Status field_at(
        const uint8_t *next, Py_ssize_t left, int32_t size, const uint8_t **field) noexcept nogil:
    """The field of `size` bytes that starts at `next`; NULL for -1, which is null."""
    field[0] = next if size >= 0 else NULL
    if size < -1:
        return MALFORMED
    return OK if size <= left else TRUNCATED


cdef Status take_field(Cursor *cursor, const uint8_t **field, int32_t *size) noexcept nogil:
    """Size and bytes; -1 is null, with a NULL field."""
    cdef Status status = take_varint(cursor, size)
    if status == OK:
        status = field_at(cursor.data + cursor.position, cursor.end - cursor.position, size[0], field)
    if status == OK and size[0] > 0:
        cursor.position += size[0]
    return status


# ---- one batch, record by record

cdef void init_record_cursor(RecordCursor *cursor) noexcept nogil:
    memset(cursor, 0, sizeof(RecordCursor))


cdef void close_batch(RecordCursor *cursor) noexcept nogil:
    release_buffer(&cursor.buffer)
    cursor.remaining = 0


cdef Status check_readable(const BatchHeader *header, Py_ssize_t available) noexcept nogil:
    """What the reader itself relies on; it also reads batches that validate_batch() has not seen."""
    if header.size > available:
        return TRUNCATED
    if header.magic != CURRENT_MAGIC:
        return UNSUPPORTED_MAGIC
    if header.attributes & CODEC_MASK > ZSTD:
        return UNSUPPORTED_COMPRESSION
    if header.record_count < 0 or header.last_offset_delta < 0 or header.base_offset < 0:
        return MALFORMED
    if header.base_offset > INT64_MAX - header.last_offset_delta - 1:
        return MALFORMED
    return OK


cdef Status open_batch(
        RecordCursor *cursor, const uint8_t *data, Py_ssize_t available, Py_ssize_t limit) noexcept nogil:
    cdef Py_ssize_t size
    cdef Status status = parse_batch_header(data, available, &cursor.header)
    cursor.remaining = 0
    if status == OK:
        status = check_readable(&cursor.header, available)
    if status != OK:
        return status
    size = cursor.header.size - BATCH_HEADER_SIZE
    cursor.records.data = data + BATCH_HEADER_SIZE
    cursor.records.position = 0
    cursor.records.end = size
    if cursor.header.attributes & CODEC_MASK != NO_CODEC and size > 0:
        status = decompress_into(
            cursor.header.attributes & CODEC_MASK, data + BATCH_HEADER_SIZE, size,
            limit if limit > 0 else decompression_limit(size, 0), &cursor.buffer)
        if status != OK:
            return status
        cursor.records.data = cursor.buffer.data
        cursor.records.end = cursor.buffer.size
    if cursor.header.record_count > cursor.records.end // SMALLEST_RECORD:
        return TRUNCATED
    cursor.remaining = cursor.header.record_count
    return OK


cdef Status read_record_header(Cursor *headers, RecordHeaderView *header) noexcept nogil:
    cdef Status status = take_field(headers, &header.key, &header.key_size)
    if status != OK:
        return status
    if header.key_size < 0:
        return MALFORMED
    return take_field(headers, &header.value, &header.value_size)


cdef Status check_headers(const RecordView *record) noexcept nogil:
    """Exactly header_count headers, and nothing behind them."""
    cdef Cursor headers
    cdef RecordHeaderView header
    cdef Status status
    cdef int32_t _index
    if record.header_count < 0 or record.header_count > record.headers_size // SMALLEST_HEADER:
        return MALFORMED if record.header_count < 0 else TRUNCATED
    headers.data = record.headers
    headers.position = 0
    headers.end = record.headers_size
    for _index in range(record.header_count):
        status = read_record_header(&headers, &header)
        if status != OK:
            return status
    return OK if headers.position == headers.end else MALFORMED


cdef inline Status resolve_deltas(
        const BatchHeader *header, int64_t timestamp_delta, int32_t offset_delta, RecordView *record) noexcept nogil:
    if offset_delta < 0 or offset_delta > header.last_offset_delta:
        return MALFORMED
    record.offset = header.base_offset + offset_delta
    if header.attributes & LOG_APPEND_TIME_FLAG:
        record.timestamp = header.max_timestamp
        return OK
    if timestamp_delta > 0 and header.base_timestamp > INT64_MAX - timestamp_delta:
        return MALFORMED
    if timestamp_delta < 0 and header.base_timestamp < INT64_MIN - timestamp_delta:
        return MALFORMED
    record.timestamp = header.base_timestamp + timestamp_delta
    return OK


cdef inline Status take_record(RecordCursor *cursor, RecordView *record) noexcept nogil:
    cdef Cursor body
    cdef int32_t size = 0, offset_delta = 0, field_size = 0
    cdef int64_t timestamp_delta = 0
    cdef Status status
    if cursor.remaining == 0:
        return NOT_FOUND if cursor.records.position == cursor.records.end else MALFORMED
    status = take_varint(&cursor.records, &size)
    if status != OK:
        return status
    if size < SMALLEST_BODY:
        return MALFORMED
    if size > cursor.records.end - cursor.records.position:
        return TRUNCATED
    body.data = cursor.records.data
    body.position = cursor.records.position + 1              # behind the attributes, of which no bit is in use
    body.end = cursor.records.position + size
    status = take_varlong(&body, &timestamp_delta)
    if status == OK:
        status = take_varint(&body, &offset_delta)
    if status == OK:
        status = take_varint(&body, &field_size)
    if status == OK:
        status = field_at(body.data + body.position, body.end - body.position, field_size, &record.key)
    if status != OK:
        return status
    record.key_size = field_size
    body.position += max(field_size, 0)
    status = take_varint(&body, &field_size)
    if status == OK:
        status = field_at(body.data + body.position, body.end - body.position, field_size, &record.value)
    if status != OK:
        return status
    record.value_size = field_size
    body.position += max(field_size, 0)
    status = take_varint(&body, &record.header_count)
    if status != OK:
        return status
    record.headers = body.data + body.position
    record.headers_size = <int32_t>(body.end - body.position)
    if record.header_count != 0 or record.headers_size != 0:
        status = check_headers(record)
        if status != OK:
            return status
    status = resolve_deltas(&cursor.header, timestamp_delta, offset_delta, record)
    if status == OK:
        cursor.records.position = body.end
        cursor.remaining -= 1
    return status


cdef Status next_record(RecordCursor *cursor, RecordView *record) noexcept nogil:
    return take_record(cursor, record)


# ---- by time.  `scratch` moves into the cursor and back, so that its memory is used again.

cdef Status open_with(
        RecordCursor *cursor, codec_buffer *scratch, const uint8_t *data, Py_ssize_t available,
        Py_ssize_t limit) noexcept nogil:
    init_record_cursor(cursor)
    if scratch != NULL:
        cursor.buffer = scratch[0]
    return open_batch(cursor, data, available, limit)


cdef void close_with(RecordCursor *cursor, codec_buffer *scratch) noexcept nogil:
    if scratch != NULL:
        scratch[0] = cursor.buffer
    else:
        close_batch(cursor)


cdef Status first_record_at_or_after(
        const uint8_t *data, Py_ssize_t available, int64_t timestamp_ms, int64_t from_offset, int64_t limit_offset,
        codec_buffer *scratch, int64_t *found_timestamp, int64_t *found_offset) noexcept nogil:
    cdef RecordCursor cursor
    cdef RecordView record
    cdef Status status = open_with(&cursor, scratch, data, available, 0)
    while status == OK:
        status = take_record(&cursor, &record)
        if status == OK and record.timestamp >= timestamp_ms and from_offset <= record.offset < limit_offset:
            found_timestamp[0] = record.timestamp
            found_offset[0] = record.offset
            break
    close_with(&cursor, scratch)
    return status


cdef Status record_of_max_timestamp(
        const uint8_t *data, Py_ssize_t available, int64_t from_offset, int64_t limit_offset,
        codec_buffer *scratch, int64_t *found_timestamp, int64_t *found_offset) noexcept nogil:
    cdef RecordCursor cursor
    cdef RecordView record
    cdef bint found = False
    cdef Status status = open_with(&cursor, scratch, data, available, 0)
    while status == OK:
        status = take_record(&cursor, &record)
        if status != OK or not from_offset <= record.offset < limit_offset:
            continue
        if not found or record.timestamp > found_timestamp[0]:
            found = True
            found_timestamp[0] = record.timestamp
            found_offset[0] = record.offset
    close_with(&cursor, scratch)
    return OK if status == NOT_FOUND and found else status


cdef Status check_records(
        const uint8_t *data, Py_ssize_t available, Py_ssize_t limit, bint require_keys, codec_buffer *scratch,
        int32_t *failed_record, int64_t *max_timestamp) noexcept nogil:
    cdef RecordCursor cursor
    cdef RecordView record
    cdef int64_t newest = NO_TIMESTAMP
    cdef int32_t index = -1
    cdef Status status = open_with(&cursor, scratch, data, available, limit)
    while status == OK:
        index += 1
        status = take_record(&cursor, &record)
        if status == OK and record.timestamp > newest:
            newest = record.timestamp
        if status == OK and record.offset - cursor.header.base_offset != index:
            status = INVALID_RECORD
        if status == OK and require_keys and record.key == NULL:
            status = INVALID_RECORD
    if failed_record != NULL:
        failed_record[0] = index
    if max_timestamp != NULL:
        max_timestamp[0] = newest
    close_with(&cursor, scratch)
    return OK if status == NOT_FOUND else status


# ---- faces

cdef const uint8_t *first_byte(const uint8_t[::1] data) noexcept:
    return &data[0] if data.shape[0] > 0 else NULL


cdef object bytes_of(const uint8_t *field, int32_t size):
    return None if size < 0 else <bytes>field[:size]


cdef tuple headers_of(const uint8_t *data, Py_ssize_t size):
    """(key, value) of each of the headers that fill `size` bytes, which have been checked."""
    cdef Cursor headers
    cdef RecordHeaderView header
    cdef list found = []
    headers.data = data
    headers.position = 0
    headers.end = size
    while headers.position < headers.end:
        raise_for_status(read_record_header(&headers, &header), headers.position, "record header")
        key = <bytes>header.key[:header.key_size]
        found.append((key.decode("utf-8", "surrogateescape"), bytes_of(header.value, header.value_size)))
    return tuple(found)


@cython.final
@cython.freelist(64)
cdef class Record:
    """One record: what the producer sent, with the offset and the timestamp that its batch gives it."""

    cdef readonly int64_t offset
    cdef readonly int64_t timestamp
    cdef readonly object key
    cdef readonly object value
    cdef readonly tuple headers

    def __init__(self, int64_t offset, int64_t timestamp, key, value, headers=()):
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers = tuple(headers)

    def _fields(self):
        return self.offset, self.timestamp, self.key, self.value, self.headers

    def __eq__(self, other):
        return self._fields() == (<Record>other)._fields() if isinstance(other, Record) else NotImplemented

    def __hash__(self):
        return hash(self._fields())

    def __repr__(self):
        return (f"Record(offset={self.offset}, timestamp={self.timestamp}, key={self.key!r}, value={self.value!r}, "
                f"headers={self.headers!r})")


cdef Record record_of(const RecordView *view):
    cdef Record record = Record.__new__(Record)
    record.offset = view.offset
    record.timestamp = view.timestamp
    record.key = bytes_of(view.key, view.key_size)
    record.value = bytes_of(view.value, view.value_size)
    record.headers = headers_of(view.headers, view.headers_size) if view.header_count > 0 else ()
    return record


@cython.final
cdef class RecordReader:
    """Iterates over the records of all whole batches in `data`, control batches left out unless asked for.

    The CRC of each batch is checked first.  `limit` bounds what one batch may become (0: compression.limit_for() its
    size).  Raises CorruptRecordBatch, MalformedInput, LimitExceeded or UnsupportedCompressionType where a batch is at
    fault; what follows the last whole batch is left alone, as a fetch answer may end in the middle of one.
    """

    cdef const uint8_t[::1] data             # holds the buffer that the cursor points into
    cdef Py_ssize_t position
    cdef Py_ssize_t limit
    cdef bint include_control
    cdef RecordCursor cursor

    def __cinit__(self, const uint8_t[::1] data not None, *, Py_ssize_t limit=0, bint include_control=False):
        init_record_cursor(&self.cursor)
        self.data = data
        self.position = 0
        self.limit = limit
        self.include_control = include_control

    def __dealloc__(self):
        close_batch(&self.cursor)

    def __iter__(self):
        return self

    def __next__(self):
        cdef RecordView view
        cdef Status status
        while True:
            status = take_record(&self.cursor, &view)
            if status == OK:
                return record_of(&view)
            if status != NOT_FOUND:
                self.cursor.remaining = 0
                self.cursor.records.position = self.cursor.records.end
                raise_for_status(status, self.position - self.cursor.header.size, "records of a batch")
            if not self.open_next():
                raise StopIteration

    cdef bint open_next(self) except -1:
        cdef BatchHeader header
        cdef Py_ssize_t start = self.position, available = self.data.shape[0] - start
        cdef Status status
        if available < BATCH_HEADER_SIZE:
            return False
        raise_for_status(parse_batch_header(&self.data[start], available, &header), start, "record batch header")
        if header.size > available:
            return False
        self.position += header.size
        if header.attributes & CONTROL_FLAG and not self.include_control:
            return True
        with nogil:
            status = check_readable(&header, available)
            if status == OK:
                status = check_batch_crc(&self.data[start], &header)
            if status == OK:
                status = open_batch(&self.cursor, &self.data[start], available, self.limit)
        raise_for_status(status, start, "record batch")
        return True


def find_timestamp(
        const uint8_t[::1] batch not None, int64_t timestamp_ms, *, int64_t from_offset=0,
        int64_t limit_offset=INT64_MAX):
    """(timestamp, offset) of the first record at or after `timestamp_ms` within the offsets; None without one."""
    cdef int64_t timestamp = 0, offset = 0
    cdef Status status
    cdef const uint8_t *first = first_byte(batch)
    with nogil:
        status = first_record_at_or_after(
            first, batch.shape[0], timestamp_ms, from_offset, limit_offset, NULL, &timestamp, &offset)
    if status == NOT_FOUND:
        return None
    raise_for_status(status, 0, "record batch")
    return timestamp, offset


def find_max_timestamp(const uint8_t[::1] batch not None, *, int64_t from_offset=0, int64_t limit_offset=INT64_MAX):
    """(timestamp, offset) of the first record with the highest timestamp within the offsets; None without one."""
    cdef int64_t timestamp = 0, offset = 0
    cdef Status status
    cdef const uint8_t *first = first_byte(batch)
    with nogil:
        status = record_of_max_timestamp(
            first, batch.shape[0], from_offset, limit_offset, NULL, &timestamp, &offset)
    if status == NOT_FOUND:
        return None
    raise_for_status(status, 0, "record batch")
    return timestamp, offset


def check(const uint8_t[::1] batch not None, *, Py_ssize_t limit=0, bint require_keys=False):
    """Read every record of a batch; raise unless all are well formed, numbered without gaps and, if asked, keyed."""
    cdef Status status
    cdef codec_buffer scratch
    cdef int32_t index = -1
    cdef const uint8_t *first = first_byte(batch)
    memset(&scratch, 0, sizeof(codec_buffer))
    with nogil:
        status = check_records(first, batch.shape[0], limit, require_keys, &scratch, &index, NULL)
        release_buffer(&scratch)
    raise_for_status(status, 0, f"record {index} of a batch" if index >= 0 else "record batch")
