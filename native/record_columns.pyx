"""Decodes record batches v2 to columns: one array per field, over one buffer; numpy takes them without a copy.

One Python object per record costs several times the whole decode; who can work on columns should.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from pystream._native.batch cimport (
    BATCH_HEADER_SIZE, CODEC_MASK, CONTROL_FLAG, LOG_APPEND_TIME_FLAG, BatchHeader, check_batch_crc, parse_batch_header)
from pystream._native.compression cimport NO_CODEC, codec_buffer, decompression_limit, release_buffer
from pystream._native.kept_memory cimport Block, block_of, give_block, take_block
from pystream._native.record_reader cimport (
    RecordCursor, RecordView, bytes_of, check_readable, close_batch, headers_of, init_record_cursor, next_record,
    open_batch)
from pystream._native.status cimport LIMIT_EXCEEDED, NOT_FOUND, OK, OUT_OF_MEMORY, Status, raise_for_status

cdef enum:
    OFFSETS = 0
    TIMESTAMPS
    KEY_STARTS
    KEY_SIZES
    VALUE_STARTS
    VALUE_SIZES
    HEADERS_STARTS
    HEADERS_SIZES
    COLUMN_COUNT

cdef enum:
    ROW_BYTES = 2 * 8 + 6 * 4
    SMALLEST_RECORD = 7
    SMALLEST_BODY = 6                    # attributes, two deltas, key size, value size, header count: a byte each

cdef int64_t LARGEST_TIME = 1 << 62      # to which no delta of two bytes can be added too much

cdef void free_columns(Columns *columns) noexcept nogil:
    give_block(columns.block, columns.block_capacity)
    release_buffer(&columns.joined)


cdef void lay_out(Columns *columns, uint8_t *block, Py_ssize_t capacity) noexcept nogil:
    """The arrays one behind the other, those of wider items first."""
    cdef int column
    columns.offsets = <int64_t *>block
    columns.timestamps = columns.offsets + capacity
    columns.narrow[KEY_STARTS] = <int32_t *>(columns.timestamps + capacity)
    for column in range(KEY_SIZES, COLUMN_COUNT):
        columns.narrow[column] = columns.narrow[column - 1] + capacity
    columns.capacity = capacity


cdef Status reserve_rows(Columns *columns, Py_ssize_t more) noexcept nogil:
    cdef Py_ssize_t capacity = columns.count + more
    cdef Columns before = columns[0]
    cdef size_t block_capacity = 0
    cdef uint8_t *block
    cdef int column
    if capacity <= columns.capacity:
        return OK
    capacity = max(capacity, columns.capacity * 2)
    block = <uint8_t *>take_block(capacity * ROW_BYTES, &block_capacity)
    if block == NULL:
        return OUT_OF_MEMORY
    lay_out(columns, block, capacity)
    columns.block = block
    columns.block_capacity = block_capacity
    if before.count > 0:
        memcpy(columns.offsets, before.offsets, before.count * sizeof(int64_t))
        memcpy(columns.timestamps, before.timestamps, before.count * sizeof(int64_t))
        for column in range(KEY_STARTS, COLUMN_COUNT):
            memcpy(columns.narrow[column], before.narrow[column], before.count * sizeof(int32_t))
    give_block(before.block, before.block_capacity)
    return OK


cdef Status reserve_for(const uint8_t *data, Py_ssize_t size, Columns *columns) noexcept nogil:
    """Room for what the whole batches of `data` say they hold, as far as that can be: so the arrays seldom grow."""
    cdef BatchHeader header
    cdef Py_ssize_t position = 0, rows = 0
    while parse_batch_header(data + position, size - position, &header) == OK and header.size <= size - position:
        rows += min(max(header.record_count, 0), header.size // SMALLEST_RECORD)
        position += header.size
    return reserve_rows(columns, rows) if rows > 0 else OK


cdef Status grow_array(void **array, Py_ssize_t size) noexcept nogil:
    cdef void *grown = realloc(array[0], size)
    if grown == NULL:
        return OUT_OF_MEMORY
    array[0] = grown
    return OK


cdef inline const uint8_t *take_small(const uint8_t *at, const uint8_t *end, int32_t *value) noexcept nogil:
    """Behind a zig-zag varint of one or two bytes; NULL for any other, and for one in the last byte."""
    cdef uint32_t raw
    if end - at < 2:
        return NULL
    raw = at[0]
    if raw < 0x80:
        at += 1
    elif at[1] < 0x80:
        raw = (raw & 0x7F) | <uint32_t>at[1] << 7
        at += 2
    else:
        return NULL
    value[0] = <int32_t>(raw >> 1) ^ -<int32_t>(raw & 1)
    return at


cdef inline const uint8_t *take_place(
        const uint8_t *at, const uint8_t *end, const uint8_t *origin, int32_t *start, int32_t *size) noexcept nogil:
    """Behind a key or value, which lies at `start`, 0 when it is null; NULL where that is not for here."""
    at = take_small(at, end, size)
    if at == NULL or size[0] < 0:
        start[0] = 0
        return NULL if at == NULL or size[0] < -1 else at
    start[0] = <int32_t>(at - origin)
    return at + size[0] if size[0] <= end - at else NULL


cdef void read_plain_rows(
        RecordCursor *cursor, Columns *columns, int64_t from_offset, const uint8_t *origin) noexcept nogil:
    """What read_rows() does, of records that are short and without headers, up to the first that is not or is at fault."""
    cdef const uint8_t *at
    cdef const uint8_t *next = cursor.records.data + cursor.records.position
    cdef const uint8_t *last = cursor.records.data + cursor.records.end
    cdef const uint8_t *end
    cdef int64_t *offsets = columns.offsets
    cdef int64_t *timestamps = columns.timestamps
    cdef int32_t *narrow = columns.narrow[KEY_STARTS]
    cdef Py_ssize_t apart = columns.capacity                 # the narrow columns lie one behind the other
    cdef int64_t base_offset = cursor.header.base_offset, timestamp = cursor.header.base_timestamp
    cdef int32_t by_delta = 0 if cursor.header.attributes & LOG_APPEND_TIME_FLAG else 1
    cdef int32_t size = 0, time_delta = 0, offset_delta = 0, key_start = 0, key_size = 0, start = 0
    cdef int32_t remaining = cursor.remaining, last_offset_delta = cursor.header.last_offset_delta
    cdef Py_ssize_t row = columns.count
    if not -LARGEST_TIME < timestamp < LARGEST_TIME:
        return
    if not by_delta:
        timestamp = cursor.header.max_timestamp
    while remaining > 0:
        at = take_small(next, last, &size)
        if at == NULL or size < SMALLEST_BODY or size > last - at:
            break
        end = at + size
        at = take_small(at + 1, end, &time_delta)            # behind the attributes, of which no bit is in use
        if at == NULL:
            break
        at = take_small(at, end, &offset_delta)
        if at == NULL or offset_delta < 0 or offset_delta > last_offset_delta:
            break
        at = take_place(at, end, origin, &key_start, &key_size)
        if at == NULL:
            break
        at = take_place(at, end, origin, &start, &size)
        if at == NULL or at != end - 1 or at[0] != 0:
            break                                            # there are headers
        next = end
        remaining -= 1
        if base_offset + offset_delta < from_offset:
            continue
        offsets[row] = base_offset + offset_delta
        timestamps[row] = timestamp + time_delta * by_delta
        narrow[row] = key_start
        narrow[apart + row] = key_size
        narrow[apart * 2 + row] = start
        narrow[apart * 3 + row] = size
        narrow[apart * 4 + row] = <int32_t>(end - origin)
        narrow[apart * 5 + row] = 0
        row += 1
    columns.count = row
    cursor.records.position = next - cursor.records.data
    cursor.remaining = remaining


cdef Status read_rows(
        RecordCursor *cursor, Columns *columns, int64_t from_offset, const uint8_t *origin) noexcept nogil:
    """Appends the records of the open batch; starts are counted from `origin`."""
    cdef RecordView record
    cdef Py_ssize_t row
    cdef Status status = reserve_rows(columns, cursor.remaining)
    while status == OK:
        read_plain_rows(cursor, columns, from_offset, origin)
        status = next_record(cursor, &record)
        if status != OK or record.offset < from_offset:
            continue
        row = columns.count
        columns.offsets[row] = record.offset
        columns.timestamps[row] = record.timestamp
        columns.narrow[KEY_STARTS][row] = <int32_t>(record.key - origin) if record.key != NULL else 0
        columns.narrow[KEY_SIZES][row] = record.key_size
        columns.narrow[VALUE_STARTS][row] = <int32_t>(record.value - origin) if record.value != NULL else 0
        columns.narrow[VALUE_SIZES][row] = record.value_size
        columns.narrow[HEADERS_STARTS][row] = <int32_t>(record.headers - origin)
        columns.narrow[HEADERS_SIZES][row] = record.headers_size
        columns.count += 1
    return OK if status == NOT_FOUND else status


cdef Status join_records(RecordCursor *cursor, codec_buffer *joined) noexcept nogil:
    """Copies the open batch's records behind those already joined, and lets the cursor read the copy."""
    cdef size_t size = cursor.records.end
    cdef size_t capacity
    if size > INT32_MAX - joined.size:
        return LIMIT_EXCEEDED
    if joined.size + size > joined.capacity:
        capacity = max(joined.size + size, min(joined.capacity * 2, <size_t>INT32_MAX))
        if grow_array(<void **>&joined.data, capacity) != OK:
            return OUT_OF_MEMORY
        joined.capacity = capacity
    if size > 0:
        memcpy(joined.data + joined.size, cursor.records.data, size)
    cursor.records.data = joined.data + joined.size
    joined.size += size
    return OK


cdef Status decode_batch(
        RecordCursor *cursor, const uint8_t *data, const uint8_t *batch, const BatchHeader *header, int64_t from_offset,
        Py_ssize_t limit, bint join, Columns *columns) noexcept nogil:
    """Appends the rows of one whole batch; `limit` holds for what all batches so far become."""
    cdef Py_ssize_t left = limit - <Py_ssize_t>columns.joined.size
    cdef const uint8_t *origin = data
    cdef Status status
    if header.last_offset_delta < from_offset - header.base_offset:
        return OK                                            # it ends before the first record that is asked for
    if left <= 0:
        return LIMIT_EXCEEDED
    status = open_batch(cursor, batch, header.size, decompression_limit(header.size, left))
    if status == OK and join:
        status = join_records(cursor, &columns.joined)
        origin = columns.joined.data
    if status == OK:
        status = read_rows(cursor, columns, from_offset, origin)
    return status


cdef Status decode_batches(
        const uint8_t *data, Py_ssize_t size, int64_t from_offset, Py_ssize_t limit, bint check_crc,
        bint include_control, Columns *columns) noexcept nogil:
    """All whole batches of `data`; what follows the last whole one is left alone."""
    cdef RecordCursor cursor
    cdef BatchHeader header
    cdef bint join = any_compressed(data, size)
    cdef Status status = reserve_for(data, size, columns)
    init_record_cursor(&cursor)
    while status == OK and size - columns.consumed >= BATCH_HEADER_SIZE:
        status = parse_batch_header(data + columns.consumed, size - columns.consumed, &header)
        if status != OK or header.size > size - columns.consumed:
            break
        status = check_readable(&header, header.size)
        if status == OK and check_crc:
            status = check_batch_crc(data + columns.consumed, &header)
        if status == OK and (include_control or not header.attributes & CONTROL_FLAG):
            status = decode_batch(
                &cursor, data, data + columns.consumed, &header, from_offset, limit, join, columns)
        if status == OK:
            columns.next_offset = header.base_offset + header.last_offset_delta + 1
            columns.consumed += header.size
    close_batch(&cursor)
    return status


cdef bint any_compressed(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef BatchHeader header
    cdef Py_ssize_t position = 0
    while parse_batch_header(data + position, size - position, &header) == OK and header.size <= size - position:
        if header.attributes & CODEC_MASK != NO_CODEC:
            return True
        position += header.size
    return False


cdef const uint8_t *first_byte(const uint8_t[::1] data) noexcept:
    return &data[0] if data.shape[0] > 0 else NULL


@cython.final
cdef class Column:
    """An array of int32, int64 or bytes that shows itself by the buffer protocol; numpy.asarray() takes it without a copy."""

    def __dealloc__(self):
        if self.owner is None:
            free(self.items)

    def __len__(self):
        return self.count

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("columns are read-only")
        buffer.buf = self.items
        buffer.obj = self
        buffer.len = self.count * self.item_size
        buffer.readonly = 1
        buffer.itemsize = self.item_size
        buffer.format = NULL
        if flags & PyBUF_FORMAT:
            buffer.format = b"q" if self.item_size == 8 else b"i" if self.item_size == 4 else b"B"
        buffer.ndim = 1
        buffer.shape = &self.count if flags & PyBUF_ND else NULL
        buffer.strides = &self.item_size if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL


cdef Column column_of(void **items, Py_ssize_t count, Py_ssize_t item_size):
    """Takes the array over."""
    cdef Column column = Column.__new__(Column)
    column.items = items[0]
    column.count = count
    column.item_size = item_size
    items[0] = NULL
    return column


cdef Column column_in(Block owner, void *items, Py_ssize_t count, Py_ssize_t item_size):
    """An array in the memory of `owner`, which it holds."""
    cdef Column column = Column.__new__(Column)
    column.owner = owner
    column.items = items
    column.count = count
    column.item_size = item_size
    return column


@cython.final
cdef class RecordColumns:
    """Records as columns over one buffer: value i is data[value_starts[i]:][:value_sizes[i]]; size -1 is null.

    The columns show themselves by the buffer protocol: numpy.asarray(columns.offsets) copies nothing.  `data` is what
    was decoded, or the uncompressed records where a batch was compressed.
    """

    def __len__(self):
        return self.offsets.count

    cdef list slices(self, Column starts, Column sizes):
        cdef const int32_t *start = <const int32_t *>starts.items
        cdef const int32_t *size = <const int32_t *>sizes.items
        cdef const uint8_t *data = first_byte(self.view)
        return [bytes_of(data + start[row], size[row]) for row in range(starts.count)]

    def keys(self):
        """The keys, each a bytes object or None."""
        return self.slices(self.key_starts, self.key_sizes)

    def values(self):
        """The values, each a bytes object or None."""
        return self.slices(self.value_starts, self.value_sizes)

    def headers(self, Py_ssize_t row):
        """(key, value) of each header of one row."""
        cdef const int32_t *starts = <const int32_t *>self.headers_starts.items
        cdef const int32_t *sizes = <const int32_t *>self.headers_sizes.items
        if not 0 <= row < self.offsets.count:
            raise IndexError(f"row {row} of {self.offsets.count}")
        return headers_of(first_byte(self.view) + starts[row], sizes[row])


cdef RecordColumns columns_of(Columns *columns, object data):
    """Takes the arrays over."""
    cdef RecordColumns result = RecordColumns.__new__(RecordColumns)
    cdef Py_ssize_t count = columns.count
    cdef Block block
    result.data = data
    if columns.joined.data != NULL:
        result.data = column_of(<void **>&columns.joined.data, columns.joined.size, 1)
    result.view = result.data
    block = block_of(columns.block, columns.block_capacity, columns.block_capacity)
    columns.block = NULL
    result.offsets = column_in(block, columns.offsets, count, sizeof(int64_t))
    result.timestamps = column_in(block, columns.timestamps, count, sizeof(int64_t))
    result.key_starts = column_in(block, columns.narrow[KEY_STARTS], count, sizeof(int32_t))
    result.key_sizes = column_in(block, columns.narrow[KEY_SIZES], count, sizeof(int32_t))
    result.value_starts = column_in(block, columns.narrow[VALUE_STARTS], count, sizeof(int32_t))
    result.value_sizes = column_in(block, columns.narrow[VALUE_SIZES], count, sizeof(int32_t))
    result.headers_starts = column_in(block, columns.narrow[HEADERS_STARTS], count, sizeof(int32_t))
    result.headers_sizes = column_in(block, columns.narrow[HEADERS_SIZES], count, sizeof(int32_t))
    result.next_offset = columns.next_offset
    result.consumed = columns.consumed
    return result


def decode_columns(
        const uint8_t[::1] data not None, *, int64_t from_offset=0, Py_ssize_t limit=256 << 20, bint check_crc=True,
        bint include_control=False):
    """The records of all whole batches in `data` from `from_offset` on, as columns.

    `limit` bounds what all compressed batches together may become.  `next_offset` is the offset behind the last whole
    batch (-1 without one), `consumed` its end in `data`.  Raises what RecordReader raises; more than 2 GiB of data is a
    ValueError.
    """
    cdef Columns columns
    cdef Status status
    cdef Py_ssize_t size = data.shape[0]
    cdef const uint8_t *first = first_byte(data)
    if size > INT32_MAX:
        raise ValueError(f"columns hold at most {INT32_MAX} bytes, there are {size}")
    memset(&columns, 0, sizeof(Columns))
    columns.next_offset = -1
    with nogil:
        status = decode_batches(first, size, from_offset, limit, check_crc, include_control, &columns)
    try:
        raise_for_status(status, columns.consumed, "record batch")
        return columns_of(&columns, data.base)
    finally:
        free_columns(&columns)
