"""Builds record batches v2 from single records or from columns, with codec, producer fields and CRC.

Source: KIP-98 (format), KIP-32 (timestamps); the layouts are drawn in batch.pxd and record_reader.pxd.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport INT32_MAX, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset

from pystream._native.batch cimport (
    BATCH_HEADER_SIZE, BATCH_LENGTH_OVERHEAD, CODEC_MASK, CONTROL_FLAG, LOG_APPEND_TIME_FLAG, NO_PRODUCER_ID,
    NO_SEQUENCE, NO_TIMESTAMP, TRANSACTIONAL_FLAG, BatchHeader, validate_batch)
from pystream._native.compression cimport (
    NO_CODEC, codec_buffer, compress_into, decompress_into, decompression_limit, level_of, release_buffer)
from pystream._native.crc32c cimport crc32c_extend
from pystream._native.status cimport (
    BATCH_TOO_LARGE, INVALID_TIMESTAMP, MALFORMED, OK, OUT_OF_MEMORY, Status, raise_for_status)

cdef extern from "bytes.h" nogil:
    void store_be16(uint8_t *data, uint16_t value)
    void store_be32(uint8_t *data, uint32_t value)
    void store_be64(uint8_t *data, uint64_t value)

cdef enum:
    NO_PRODUCER_EPOCH = -1
    NO_LEADER_EPOCH = -1
    LARGEST_VARINTS = 48                 # of one record: length, two deltas, two sizes, header count; rounded up
    CRC_POSITION = 17
    CHECKED_FROM = 21
    CURRENT_MAGIC = 2


# ---- varints, inlined here as in record_reader

cdef inline uint64_t zigzag(int64_t value) noexcept nogil:
    return (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)


cdef inline int varint_size(int64_t value) noexcept nogil:
    cdef uint64_t left = zigzag(value)
    cdef int size = 1
    while left >= 0x80:
        left >>= 7
        size += 1
    return size


cdef inline uint8_t *put_varint(uint8_t *to, int64_t value) noexcept nogil:
    """Writes at most 10 bytes, gives the place behind them; the caller has reserved them."""
    cdef uint64_t left = zigzag(value)
    while left >= 0x80:
        to[0] = <uint8_t>(left | 0x80)
        to += 1
        left >>= 7
    to[0] = <uint8_t>left
    return to + 1


cdef inline uint8_t *put_field(uint8_t *to, const uint8_t *field, Py_ssize_t size) noexcept nogil:
    to = put_varint(to, size)
    if size > 0:
        memcpy(to, field, size)
        to += size
    return to


# ---- the builder

cdef void init_builder(BatchBuilder *builder, Py_ssize_t limit) noexcept nogil:
    memset(builder, 0, sizeof(BatchBuilder))
    builder.limit = limit if 0 < limit < INT32_MAX else INT32_MAX
    clear_builder(builder)


cdef void free_builder(BatchBuilder *builder) noexcept nogil:
    release_buffer(&builder.records)
    release_buffer(&builder.compressed)
    release_buffer(&builder.finished)


cdef void clear_builder(BatchBuilder *builder) noexcept nogil:
    builder.records.size = BATCH_HEADER_SIZE
    builder.count = 0
    builder.last_offset_delta = -1
    builder.base_timestamp = NO_TIMESTAMP
    builder.max_timestamp = NO_TIMESTAMP


cdef Status reserve(codec_buffer *buffer, size_t size) noexcept nogil:
    """Room for at least `size` bytes in all; keeps what is there."""
    cdef size_t capacity
    cdef void *data
    if size <= buffer.capacity:
        return OK
    capacity = max(size, max(buffer.capacity * 2, <size_t>4096))
    data = realloc(buffer.data, capacity)
    if data == NULL:
        return OUT_OF_MEMORY
    buffer.data = <uint8_t *>data
    buffer.capacity = capacity
    return OK


cdef Py_ssize_t record_room(Py_ssize_t key_size, Py_ssize_t value_size, Py_ssize_t headers_size) noexcept nogil:
    return max(key_size, 0) + max(value_size, 0) + headers_size + 2 * LARGEST_VARINTS


cdef Status put_header(
        codec_buffer *headers, const uint8_t *key, Py_ssize_t key_size, const uint8_t *value,
        Py_ssize_t value_size) noexcept nogil:
    cdef uint8_t *to
    cdef Status status = reserve(headers, headers.size + key_size + max(value_size, 0) + LARGEST_VARINTS)
    if status != OK:
        return status
    to = put_field(headers.data + headers.size, key, key_size)
    to = put_field(to, value, value_size)
    headers.size = to - headers.data
    return OK


cdef inline Status check_record(
        const BatchBuilder *builder, int64_t offset_delta, int64_t timestamp, Py_ssize_t key_size,
        Py_ssize_t value_size, Py_ssize_t headers_size) noexcept nogil:
    cdef Py_ssize_t left = builder.limit - <Py_ssize_t>builder.records.size
    if timestamp < NO_TIMESTAMP:
        return INVALID_TIMESTAMP
    if offset_delta <= builder.last_offset_delta or offset_delta > INT32_MAX:
        return MALFORMED
    if key_size < -1 or value_size < -1 or headers_size < 0:
        return MALFORMED
    if key_size > left or value_size > left or headers_size > left:
        return BATCH_TOO_LARGE                               # so that their sum cannot overflow
    return OK


cdef Status add_record(
        BatchBuilder *builder, int64_t offset_delta, int64_t timestamp, const uint8_t *key, Py_ssize_t key_size,
        const uint8_t *value, Py_ssize_t value_size, const uint8_t *headers, Py_ssize_t headers_size,
        int32_t header_count) noexcept nogil:
    cdef Py_ssize_t body
    cdef int64_t timestamp_delta = timestamp - builder.base_timestamp if builder.count > 0 else 0
    cdef uint8_t *to
    cdef Status status = check_record(builder, offset_delta, timestamp, key_size, value_size, headers_size)
    if status != OK:
        return status
    body = 1 + varint_size(timestamp_delta) + varint_size(offset_delta) + varint_size(key_size)
    body += varint_size(value_size) + varint_size(header_count) + headers_size
    body += (key_size if key_size > 0 else 0) + (value_size if value_size > 0 else 0)
    if body + varint_size(body) > builder.limit - <Py_ssize_t>builder.records.size:
        return BATCH_TOO_LARGE
    status = reserve(&builder.records, builder.records.size + body + LARGEST_VARINTS)
    if status != OK:
        return status
    to = put_varint(builder.records.data + builder.records.size, body)
    to[0] = 0                                                # attributes, of which no bit is in use
    to = put_varint(to + 1, timestamp_delta)
    to = put_varint(to, offset_delta)
    to = put_field(to, key, key_size)
    to = put_field(to, value, value_size)
    to = put_varint(to, header_count)
    if headers_size > 0:
        memcpy(to, headers, headers_size)
        to += headers_size
    builder.records.size = to - builder.records.data
    note_record(builder, <int32_t>offset_delta, timestamp)
    return OK


cdef inline void note_record(BatchBuilder *builder, int32_t offset_delta, int64_t timestamp) noexcept nogil:
    if builder.count == 0:
        builder.base_timestamp = timestamp
    if timestamp > builder.max_timestamp:
        builder.max_timestamp = timestamp
    builder.count += 1
    builder.last_offset_delta = offset_delta


cdef Status finish_batch(
        BatchBuilder *builder, const BatchFields *fields, const uint8_t **batch, Py_ssize_t *size) noexcept nogil:
    cdef codec_buffer *result = &builder.records
    cdef int codec = fields.attributes & CODEC_MASK
    cdef Status status
    if builder.count == 0:
        return MALFORMED
    if codec != NO_CODEC:
        status = compress_into(
            codec, fields.level, builder.records.data + BATCH_HEADER_SIZE, builder.records.size - BATCH_HEADER_SIZE,
            &builder.compressed)
        if status != OK:
            return status
        result = &builder.finished
        result.size = 0
        status = reserve(result, BATCH_HEADER_SIZE + builder.compressed.size)
        if status != OK:
            return status
        result.size = BATCH_HEADER_SIZE + builder.compressed.size
        memcpy(result.data + BATCH_HEADER_SIZE, builder.compressed.data, builder.compressed.size)
    if result.size > INT32_MAX:
        return BATCH_TOO_LARGE
    write_header(builder, fields, result.data, <int32_t>result.size)
    batch[0] = result.data
    size[0] = result.size
    return OK


cdef Status pack_batch(BatchBuilder *builder, const BatchFields *fields, codec_buffer *scratch) noexcept nogil:
    cdef BatchFields changed = fields[0]
    cdef int codec = fields.attributes & CODEC_MASK
    cdef size_t plain_size = builder.records.size - BATCH_HEADER_SIZE
    cdef Status status
    if builder.count == 0:
        return MALFORMED
    if codec != NO_CODEC:
        status = compress_into(codec, fields.level, builder.records.data + BATCH_HEADER_SIZE, plain_size, scratch)
        if status != OK:
            return status
        if scratch.size < plain_size:
            memcpy(builder.records.data + BATCH_HEADER_SIZE, scratch.data, scratch.size)
            builder.records.size = BATCH_HEADER_SIZE + scratch.size
        else:
            changed.attributes &= ~CODEC_MASK
    write_header(builder, &changed, builder.records.data, <int32_t>builder.records.size)
    return OK


cdef void write_header(
        const BatchBuilder *builder, const BatchFields *fields, uint8_t *data, int32_t size) noexcept nogil:
    cdef bint by_append_time = fields.attributes & LOG_APPEND_TIME_FLAG
    store_be64(data, <uint64_t>fields.base_offset)
    store_be32(data + 8, <uint32_t>(size - BATCH_LENGTH_OVERHEAD))
    store_be32(data + 12, <uint32_t>fields.partition_leader_epoch)
    data[16] = CURRENT_MAGIC
    store_be16(data + 21, <uint16_t>fields.attributes)
    store_be32(data + 23, <uint32_t>builder.last_offset_delta)
    store_be64(data + 27, <uint64_t>builder.base_timestamp)
    store_be64(data + 35, <uint64_t>(fields.append_time_ms if by_append_time else builder.max_timestamp))
    store_be64(data + 43, <uint64_t>fields.producer_id)
    store_be16(data + 51, <uint16_t>fields.producer_epoch)
    store_be32(data + 53, <uint32_t>fields.base_sequence)
    store_be32(data + 57, <uint32_t>builder.count)
    store_be32(data + CRC_POSITION, crc32c_extend(0, data + CHECKED_FROM, size - CHECKED_FROM))


# ---- another codec

cdef void free_recoder(Recoder *recoder) noexcept nogil:
    release_buffer(&recoder.plain)
    release_buffer(&recoder.packed)
    release_buffer(&recoder.batch)


cdef Status recode_batch(
        Recoder *recoder, const uint8_t *data, const BatchHeader *header, int codec, int32_t level,
        Py_ssize_t limit) noexcept nogil:
    cdef const uint8_t *records = data + BATCH_HEADER_SIZE
    cdef Py_ssize_t size = header.size - BATCH_HEADER_SIZE
    cdef Status status
    if header.attributes & CODEC_MASK != NO_CODEC:
        status = decompress_into(
            header.attributes & CODEC_MASK, records, size, limit if limit > 0 else decompression_limit(size, 0),
            &recoder.plain)
        if status != OK:
            return status
        records = recoder.plain.data
        size = recoder.plain.size
    if codec != NO_CODEC:
        status = compress_into(codec, level, records, size, &recoder.packed)
        if status != OK:
            return status
        records = recoder.packed.data
        size = recoder.packed.size
    if size > INT32_MAX - BATCH_HEADER_SIZE:
        return BATCH_TOO_LARGE
    recoder.batch.size = 0
    status = reserve(&recoder.batch, BATCH_HEADER_SIZE + size)
    if status != OK:
        return status
    recoder.batch.size = BATCH_HEADER_SIZE + size
    memcpy(recoder.batch.data, data, BATCH_HEADER_SIZE)
    memcpy(recoder.batch.data + BATCH_HEADER_SIZE, records, size)
    data = recoder.batch.data
    store_be32(recoder.batch.data + 8, <uint32_t>(recoder.batch.size - BATCH_LENGTH_OVERHEAD))
    store_be16(recoder.batch.data + CHECKED_FROM, <uint16_t>(header.attributes & ~CODEC_MASK | codec))
    store_be32(
        recoder.batch.data + CRC_POSITION, crc32c_extend(0, data + CHECKED_FROM, recoder.batch.size - CHECKED_FROM))
    return OK


# ---- faces

@cython.final
cdef class RecordBatchBuilder:
    """Collects records and gives one finished batch; then it is empty and can be used again, with the same fields.

    `limit` bounds the uncompressed batch in bytes.  With `append_time_ms` the batch is of LogAppendTime.  The leader
    epoch and the base offset are outside the CRC: the broker stamps them.
    """

    cdef BatchBuilder builder
    cdef BatchFields fields
    cdef codec_buffer headers

    def __cinit__(
            self, *, int codec=NO_CODEC, level=None, Py_ssize_t limit=0, int64_t base_offset=0,
            int32_t partition_leader_epoch=NO_LEADER_EPOCH, int64_t producer_id=NO_PRODUCER_ID,
            int16_t producer_epoch=NO_PRODUCER_EPOCH, int32_t base_sequence=NO_SEQUENCE, bint transactional=False,
            bint control=False, append_time_ms=None):
        init_builder(&self.builder, limit)
        memset(&self.headers, 0, sizeof(codec_buffer))
        if codec & ~CODEC_MASK:
            raise ValueError(f"codec {codec} is outside 0 to {CODEC_MASK}")
        self.fields.attributes = codec
        if transactional:
            self.fields.attributes |= TRANSACTIONAL_FLAG
        if control:
            self.fields.attributes |= CONTROL_FLAG
        if append_time_ms is not None:
            self.fields.attributes |= LOG_APPEND_TIME_FLAG
            self.fields.append_time_ms = append_time_ms
        self.fields.level = level_of(codec, level)
        self.fields.base_offset = base_offset
        self.fields.partition_leader_epoch = partition_leader_epoch
        self.fields.producer_id = producer_id
        self.fields.producer_epoch = producer_epoch
        self.fields.base_sequence = base_sequence

    def __dealloc__(self):
        free_builder(&self.builder)
        release_buffer(&self.headers)

    def __len__(self):
        return self.builder.count

    @property
    def size_bytes(self):
        """Of the batch so far, before compression."""
        return self.builder.records.size

    cdef int32_t put_headers(self, headers) except -1:
        """Writes the headers into self.headers and gives their number."""
        cdef bytes key_bytes, value_bytes
        cdef Py_ssize_t key_size, value_size
        cdef int32_t count = 0
        self.headers.size = 0
        for key, value in headers:
            key_bytes = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else bytes(key)
            value_bytes = b"" if value is None else bytes(value)
            key_size = len(key_bytes)
            value_size = -1 if value is None else len(value_bytes)
            if max(key_size, value_size) > self.builder.limit:
                raise_for_status(BATCH_TOO_LARGE, count, "record header")
            raise_for_status(
                put_header(
                    &self.headers, <const uint8_t *>PyBytes_AS_STRING(key_bytes), key_size,
                    <const uint8_t *>PyBytes_AS_STRING(value_bytes), value_size),
                count, "record header")
            count += 1
        return count

    cdef int64_t next_delta(self, offset) except? -1:
        return self.builder.last_offset_delta + 1 if offset is None else offset - self.fields.base_offset

    def append(self, value, *, int64_t timestamp, key=None, headers=(), offset=None):
        """Add one record; key and value are bytes-like or None.  Returns its offset: `offset`, or the next one.

        Raises MessageTooLarge when the batch would pass the limit (nothing is added then), InvalidTimestamp below -1,
        and MalformedInput when `offset` is not above the last one.
        """
        cdef const uint8_t[::1] key_view, value_view
        cdef const uint8_t *key_data = NULL
        cdef const uint8_t *value_data = NULL
        cdef Py_ssize_t key_size = -1, value_size = -1
        cdef int32_t header_count = 0
        cdef int64_t delta = self.next_delta(offset)
        self.headers.size = 0
        if headers:
            header_count = self.put_headers(headers)
        if key is not None:
            key_view = key
            key_size = key_view.shape[0]
            key_data = &key_view[0] if key_size > 0 else NULL
        if value is not None:
            value_view = value
            value_size = value_view.shape[0]
            value_data = &value_view[0] if value_size > 0 else NULL
        raise_for_status(
            add_record(
                &self.builder, delta, timestamp, key_data, key_size, value_data, value_size, self.headers.data,
                self.headers.size, header_count),
            self.builder.records.size, "record")
        return self.fields.base_offset + delta

    def extend(self, list values not None, *, timestamps, list keys=None):
        """Add one record for each of `values` (bytes or None).

        `timestamps` is one for all, or int64s by the buffer protocol.  Returns how many fitted the limit.
        """
        cdef const int64_t[::1] times = None if isinstance(timestamps, int) else timestamps
        cdef int64_t timestamp = timestamps if isinstance(timestamps, int) else 0
        cdef Py_ssize_t row, count = len(values)
        cdef const uint8_t *key_data
        cdef const uint8_t *value_data
        cdef Py_ssize_t key_size, value_size
        cdef Status status = OK
        if keys is not None and len(keys) != count:
            raise ValueError(f"{len(keys)} keys for {count} values")
        if times is not None and times.shape[0] != count:
            raise ValueError(f"{times.shape[0]} timestamps for {count} values")
        for row in range(count):
            key_data = field_of(keys[row] if keys is not None else None, &key_size)
            value_data = field_of(values[row], &value_size)
            if times is not None:
                timestamp = times[row]
            status = add_record(
                &self.builder, <int64_t>self.builder.last_offset_delta + 1, timestamp, key_data, key_size, value_data,
                value_size, NULL, 0, 0)
            if status != OK:
                break
        else:
            return count
        if status != BATCH_TOO_LARGE:
            raise_for_status(status, row, "record")
        return row

    def extend_columns(
            self, const uint8_t[::1] data not None, const int32_t[::1] value_starts not None,
            const int32_t[::1] value_sizes not None, const int64_t[::1] timestamps not None, *,
            const int32_t[::1] key_starts=None, const int32_t[::1] key_sizes=None):
        """Add one record per row of columns as RecordColumns has them; size -1 is null.

        Returns how many fitted the limit.  Raises ValueError when columns differ in length or a row lies outside
        `data`.
        """
        cdef Slices keys, values
        cdef Py_ssize_t count = timestamps.shape[0], added = 0
        cdef Status status = OK
        slices_over(&values, data, value_starts, value_sizes, count, "value")
        if key_starts is None or key_sizes is None:
            keys.starts = NULL
        else:
            slices_over(&keys, data, key_starts, key_sizes, count, "key")
        if count > 0:
            with nogil:
                status = add_rows(&self.builder, &keys, &values, &timestamps[0], count, &added)
        if status == MALFORMED:
            raise ValueError(f"row {added} lies outside the {data.shape[0]} bytes of data")
        if status != BATCH_TOO_LARGE:
            raise_for_status(status, added, "record")
        return added

    def build(self):
        """The finished batch; the builder is empty then.  Raises ValueError without records."""
        cdef const uint8_t *batch = NULL
        cdef Py_ssize_t size = 0
        cdef Status status
        if self.builder.count == 0:
            raise ValueError("a batch has at least one record")
        with nogil:
            status = finish_batch(&self.builder, &self.fields, &batch, &size)
        raise_for_status(status, 0, "record batch")
        result = <bytes>batch[:size]
        clear_builder(&self.builder)
        return result


def recompress(const uint8_t[::1] batch not None, int codec, *, level=None, Py_ssize_t limit=0):
    """The batch at the start of `batch` with its records in another codec, everything else as it was.

    The batch is validated first; `limit` bounds what its records may become (0: compression.limit_for() their size).
    Raises what validate(), decompress() and compress() raise.
    """
    cdef Recoder recoder
    cdef BatchHeader header
    cdef Status status
    cdef const uint8_t *first = &batch[0] if batch.shape[0] > 0 else NULL
    cdef int32_t wanted = level_of(codec, level)
    if codec & ~CODEC_MASK:
        raise ValueError(f"codec {codec} is outside 0 to {CODEC_MASK}")
    memset(&recoder, 0, sizeof(Recoder))
    with nogil:
        status = validate_batch(first, batch.shape[0], INT32_MAX, &header)
        if status == OK:
            status = recode_batch(&recoder, first, &header, codec, wanted, limit)
    try:
        raise_for_status(status, 0, "record batch")
        return <bytes>recoder.batch.data[:recoder.batch.size]
    finally:
        free_recoder(&recoder)


cdef inline const uint8_t *field_of(object field, Py_ssize_t *size) except? NULL:
    """A bytes object's memory, valid as long as the object; NULL and -1 for None."""
    if field is None:
        size[0] = -1
        return NULL
    if not PyBytes_CheckExact(field):
        raise TypeError(f"bytes or None expected, found {type(field).__name__}")
    size[0] = PyBytes_GET_SIZE(field)
    return <const uint8_t *>PyBytes_AS_STRING(field)


cdef struct Slices:
    const uint8_t *data
    Py_ssize_t data_size
    const int32_t *starts                # NULL: all null
    const int32_t *sizes


cdef int slices_over(
        Slices *slices, const uint8_t[::1] data, const int32_t[::1] starts, const int32_t[::1] sizes, Py_ssize_t count,
        str what) except -1:
    if starts.shape[0] != count or sizes.shape[0] != count:
        raise ValueError(f"{starts.shape[0]} {what} starts and {sizes.shape[0]} sizes for {count} timestamps")
    slices.data_size = data.shape[0]
    slices.data = &data[0] if slices.data_size > 0 else NULL
    slices.starts = &starts[0] if count > 0 else NULL
    slices.sizes = &sizes[0] if count > 0 else NULL
    return 0


cdef inline bint slice_at(
        const Slices *slices, Py_ssize_t row, const uint8_t **field, Py_ssize_t *size) noexcept nogil:
    """False when the row lies outside the data."""
    field[0] = NULL
    size[0] = -1
    if slices.starts == NULL or slices.sizes[row] == -1:
        return True
    if slices.sizes[row] < 0 or slices.starts[row] < 0:
        return False
    if slices.starts[row] > slices.data_size or slices.sizes[row] > slices.data_size - slices.starts[row]:
        return False
    field[0] = slices.data + slices.starts[row]
    size[0] = slices.sizes[row]
    return True


cdef Status add_rows(
        BatchBuilder *builder, const Slices *keys, const Slices *values, const int64_t *timestamps, Py_ssize_t count,
        Py_ssize_t *added) noexcept nogil:
    cdef const uint8_t *key
    cdef const uint8_t *value
    cdef Py_ssize_t row, key_size, value_size
    cdef Status status
    for row in range(count):
        added[0] = row
        if not slice_at(keys, row, &key, &key_size) or not slice_at(values, row, &value, &value_size):
            return MALFORMED
        status = add_record(
            builder, <int64_t>builder.last_offset_delta + 1, timestamps[row], key, key_size, value, value_size,
            NULL, 0, 0)
        if status != OK:
            return status
    added[0] = count
    return OK
