"""Record batch v2: parse, validate and stamp the 61-byte header; the layout is drawn in pystream/_native/batch.pxd.

Source: KIP-98 (format), KIP-101 (leader epoch), KIP-32 (log append time); rules of validation as Kafka's LogValidator
has them.
"""

from typing import NamedTuple

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, INT32_MAX
from pystream._native.crc32c cimport crc32c_extend
from pystream._native.status cimport (
    BATCH_TOO_LARGE, CORRUPT_BATCH, INVALID_RECORD, INVALID_TIMESTAMP, OK, TRUNCATED, UNSUPPORTED_COMPRESSION,
    UNSUPPORTED_MAGIC, Status, raise_for_status)

cdef extern from "bytes.h" nogil:
    uint16_t load_be16(const uint8_t *data)
    uint32_t load_be32(const uint8_t *data)
    uint64_t load_be64(const uint8_t *data)
    void store_be16(uint8_t *data, uint16_t value)
    void store_be32(uint8_t *data, uint32_t value)
    void store_be64(uint8_t *data, uint64_t value)

cdef enum:
    CRC_POSITION = 17
    CHECKED_FROM = 21                    # the CRC covers everything from the attributes on
    ATTRIBUTES_POSITION = 21
    MAX_TIMESTAMP_POSITION = 35
    PRODUCER_ID_POSITION = 43
    CURRENT_MAGIC = 2
    HIGHEST_CODEC = 4
    KNOWN_ATTRIBUTES = 0x7F
    SMALLEST_RECORD = 7                  # length, attributes, two deltas, two lengths, header count: a byte each


cdef Status parse_batch_header(const uint8_t *data, Py_ssize_t available, BatchHeader *header) noexcept nogil:
    cdef int32_t batch_length
    if available < BATCH_HEADER_SIZE:
        return TRUNCATED
    batch_length = <int32_t>load_be32(data + 8)
    if batch_length < BATCH_HEADER_SIZE - BATCH_LENGTH_OVERHEAD or batch_length > INT32_MAX - BATCH_LENGTH_OVERHEAD:
        return CORRUPT_BATCH
    header.base_offset = <int64_t>load_be64(data)
    header.size = batch_length + BATCH_LENGTH_OVERHEAD
    header.partition_leader_epoch = <int32_t>load_be32(data + 12)
    header.magic = <int8_t>data[16]
    header.crc = load_be32(data + CRC_POSITION)
    header.attributes = <int16_t>load_be16(data + ATTRIBUTES_POSITION)
    header.last_offset_delta = <int32_t>load_be32(data + 23)
    header.base_timestamp = <int64_t>load_be64(data + 27)
    header.max_timestamp = <int64_t>load_be64(data + MAX_TIMESTAMP_POSITION)
    header.producer_id = <int64_t>load_be64(data + 43)
    header.producer_epoch = <int16_t>load_be16(data + 51)
    header.base_sequence = <int32_t>load_be32(data + 53)
    header.record_count = <int32_t>load_be32(data + 57)
    return OK


cdef Status check_producer_fields(const BatchHeader *header) noexcept nogil:
    """A producer id has an epoch and, but in transaction markers, a sequence; a transaction has a producer id.

    What a coordinator writes into a transaction, offsets, has no sequence; produce.pyx refuses that of a client.
    Without a producer id the epoch and the sequence are not looked at: some clients leave zeros there.
    """
    if header.producer_id < NO_PRODUCER_ID:
        return INVALID_RECORD
    if header.producer_id == NO_PRODUCER_ID:
        return INVALID_RECORD if header.attributes & TRANSACTIONAL_FLAG else OK
    if header.producer_epoch < 0:
        return INVALID_RECORD
    if header.base_sequence < 0 and not header.attributes & (CONTROL_FLAG | TRANSACTIONAL_FLAG):
        return INVALID_RECORD
    return OK if header.base_sequence >= NO_SEQUENCE else INVALID_RECORD


cdef Status check_contents(const BatchHeader *header) noexcept nogil:
    cdef int64_t records_size = header.size - BATCH_HEADER_SIZE
    cdef int codec = header.attributes & CODEC_MASK
    if header.attributes & ~KNOWN_ATTRIBUTES:
        return INVALID_RECORD
    if codec > HIGHEST_CODEC:
        return UNSUPPORTED_COMPRESSION
    if header.record_count < 1 or header.record_count != <int64_t>header.last_offset_delta + 1:
        return INVALID_RECORD
    if records_size == 0 or (codec == 0 and header.record_count > records_size // SMALLEST_RECORD):
        return INVALID_RECORD
    if header.base_timestamp < NO_TIMESTAMP or header.max_timestamp < NO_TIMESTAMP:
        return INVALID_TIMESTAMP
    return check_producer_fields(header)


cdef Status validate_batch(
        const uint8_t *data, Py_ssize_t available, int32_t maximum_size, BatchHeader *header) noexcept nogil:
    cdef Status status = parse_batch_header(data, available, header)
    if status != OK:
        return status
    if header.size > maximum_size:
        return BATCH_TOO_LARGE
    if header.size > available:
        return TRUNCATED
    if header.magic != CURRENT_MAGIC:
        return UNSUPPORTED_MAGIC
    status = check_batch_crc(data, header)
    return check_contents(header) if status == OK else status


cdef Status check_batch_crc(const uint8_t *data, const BatchHeader *header) noexcept nogil:
    if crc32c_extend(0, data + CHECKED_FROM, header.size - CHECKED_FROM) != header.crc:
        return CORRUPT_BATCH
    return OK


cdef void stamp_batch(uint8_t *data, int64_t base_offset, int32_t leader_epoch) noexcept nogil:
    store_be64(data, <uint64_t>base_offset)
    store_be32(data + 12, <uint32_t>leader_epoch)


cdef void stamp_log_append_time(uint8_t *data, const BatchHeader *header, int64_t timestamp_ms) noexcept nogil:
    store_be16(data + ATTRIBUTES_POSITION, <uint16_t>(header.attributes | LOG_APPEND_TIME_FLAG))
    store_be64(data + MAX_TIMESTAMP_POSITION, <uint64_t>timestamp_ms)
    store_be32(data + CRC_POSITION, crc32c_extend(0, data + CHECKED_FROM, header.size - CHECKED_FROM))


cdef void stamp_create_time(uint8_t *data, BatchHeader *header, int64_t max_timestamp) noexcept nogil:
    header.attributes = header.attributes & ~LOG_APPEND_TIME_FLAG
    header.max_timestamp = max_timestamp
    store_be16(data + ATTRIBUTES_POSITION, <uint16_t>header.attributes)
    store_be64(data + MAX_TIMESTAMP_POSITION, <uint64_t>max_timestamp)
    header.crc = crc32c_extend(0, data + CHECKED_FROM, header.size - CHECKED_FROM)
    store_be32(data + CRC_POSITION, header.crc)


cdef void stamp_producer(
        uint8_t *data, int32_t size, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence) noexcept nogil:
    store_be64(data + PRODUCER_ID_POSITION, <uint64_t>producer_id)
    store_be16(data + PRODUCER_ID_POSITION + 8, <uint16_t>producer_epoch)
    store_be32(data + PRODUCER_ID_POSITION + 10, <uint32_t>base_sequence)
    store_be32(data + CRC_POSITION, crc32c_extend(0, data + CHECKED_FROM, size - CHECKED_FROM))


class Header(NamedTuple):
    """The fields of a batch header.  `size` is the whole batch in bytes, header included."""

    base_offset: int
    size: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def codec(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & CODEC_MASK

    @property
    def is_log_append_time(self) -> bool:
        return bool(self.attributes & LOG_APPEND_TIME_FLAG)

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_FLAG)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL_FLAG)

    @property
    def next_offset(self) -> int:
        """The offset after the last record of the batch."""
        return self.base_offset + self.last_offset_delta + 1


cdef object header_tuple(const BatchHeader *header):
    return Header(
        header.base_offset, header.size, header.partition_leader_epoch, header.magic, header.crc, header.attributes,
        header.last_offset_delta, header.base_timestamp, header.max_timestamp, header.producer_id,
        header.producer_epoch, header.base_sequence, header.record_count)


cdef const uint8_t *first_byte(const uint8_t[::1] data) noexcept:
    return &data[0] if data.shape[0] > 0 else NULL


def parse_header(const uint8_t[::1] data not None):
    """The header of the batch `data` starts with; checked is only that it is there and its length possible."""
    cdef BatchHeader header
    raise_for_status(parse_batch_header(first_byte(data), data.shape[0], &header), 0, "record batch header")
    return header_tuple(&header)


def parse_headers(const uint8_t[::1] data not None):
    """Headers of the batches that lie one after the other in `data`; the last one must be whole."""
    cdef BatchHeader header
    cdef Py_ssize_t position = 0, available
    headers = []
    while position < data.shape[0]:
        available = data.shape[0] - position
        raise_for_status(parse_batch_header(&data[position], available, &header), position, "record batch header")
        if header.size > available:
            raise_for_status(TRUNCATED, position, "record batch")
        headers.append(header_tuple(&header))
        position += header.size
    return headers


def validate(const uint8_t[::1] data not None, int32_t maximum_size=INT32_MAX):
    """The header of the batch at the start of `data`, after all checks that need no decompression.

    More bytes may follow the batch.
    """
    cdef BatchHeader header
    cdef Status status
    cdef const uint8_t *first = first_byte(data)
    with nogil:
        status = validate_batch(first, data.shape[0], maximum_size, &header)
    raise_for_status(status, 0, "record batch")
    return header_tuple(&header)


def stamp(uint8_t[::1] data not None, int64_t base_offset, int32_t leader_epoch):
    """Write base offset and partition leader epoch, which the CRC does not cover, into the batch in place."""
    cdef BatchHeader header
    raise_for_status(parse_batch_header(first_byte(data), data.shape[0], &header), 0, "record batch header")
    stamp_batch(&data[0], base_offset, leader_epoch)


def stamp_append_time(uint8_t[::1] data not None, int64_t timestamp_ms):
    """Turn the whole batch at the start of `data` to LogAppendTime: attribute bit, max timestamp, and the CRC anew."""
    cdef BatchHeader header
    raise_for_status(parse_batch_header(first_byte(data), data.shape[0], &header), 0, "record batch header")
    if header.size > data.shape[0]:
        raise_for_status(TRUNCATED, 0, "record batch")
    stamp_log_append_time(&data[0], &header, timestamp_ms)
