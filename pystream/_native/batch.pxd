# Record batch v2: parse, validate and stamp the 61-byte header.  Source: KIP-98, Kafka's DefaultRecordBatch.
#
#  0 base_offset int64            | 8 batch_length int32 (bytes after this field)   | 12 partition_leader_epoch int32
# 16 magic int8 (2)               | 17 crc uint32 (CRC-32C of bytes 21..end)        | 21 attributes int16
# 23 last_offset_delta int32      | 27 base_timestamp int64                         | 35 max_timestamp int64
# 43 producer_id int64            | 51 producer_epoch int16                         | 53 base_sequence int32
# 57 record_count int32           | 61 records
# attributes: bits 0-2 codec (0 none 1 gzip 2 snappy 3 lz4 4 zstd), 3 log append time, 4 transactional, 5 control,
#             6 delete horizon

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t
from pystream._native.status cimport Status

cdef enum:
    BATCH_HEADER_SIZE = 61
    BATCH_LENGTH_OVERHEAD = 12           # base_offset and batch_length: size in bytes = batch_length + 12
    CODEC_MASK = 0x07
    LOG_APPEND_TIME_FLAG = 0x08
    TRANSACTIONAL_FLAG = 0x10
    CONTROL_FLAG = 0x20
    DELETE_HORIZON_FLAG = 0x40
    NO_PRODUCER_ID = -1
    NO_SEQUENCE = -1
    NO_TIMESTAMP = -1

cdef struct BatchHeader:
    int64_t base_offset
    int32_t size                         # whole batch in bytes, header included
    int32_t partition_leader_epoch
    int8_t magic
    uint32_t crc
    int16_t attributes
    int32_t last_offset_delta
    int64_t base_timestamp
    int64_t max_timestamp
    int64_t producer_id
    int16_t producer_epoch
    int32_t base_sequence
    int32_t record_count

# Reads the header of the batch at `data`; needs 61 bytes, checks batch_length >= 49 and nothing else. TRUNCATED when
# fewer bytes.
cdef Status parse_batch_header(const uint8_t *data, Py_ssize_t available, BatchHeader *header) noexcept nogil
# All that can be said of a batch without decompressing, in this order: the 61 bytes are there (TRUNCATED) and
# batch_length is possible (CORRUPT_BATCH); size <= maximum_size (BATCH_TOO_LARGE); whole within `available`
# (TRUNCATED); magic 2 (UNSUPPORTED_MAGIC); the CRC (CORRUPT_BATCH: only behind it can the rest be believed); known
# codec (UNSUPPORTED_COMPRESSION); known attributes, record_count == last_offset_delta + 1 >= 1 and room for so many
# records, producer fields consistent (all INVALID_RECORD, which no client retries); timestamps >= -1
# (INVALID_TIMESTAMP). Transaction markers pass: whether a client may send CONTROL_FLAG is for the caller to say.
cdef Status validate_batch(
    const uint8_t *data, Py_ssize_t available, int32_t maximum_size, BatchHeader *header) noexcept nogil
# CORRUPT_BATCH unless the CRC of the whole batch is the header's; for readers of what has been validated once
# (compaction makes gaps).
cdef Status check_batch_crc(const uint8_t *data, const BatchHeader *header) noexcept nogil
# Writes base offset and leader epoch (both outside the CRC) in place.
cdef void stamp_batch(uint8_t *data, int64_t base_offset, int32_t leader_epoch) noexcept nogil
# Sets LogAppendTime: attribute bit, max_timestamp, and the CRC anew.
cdef void stamp_log_append_time(uint8_t *data, const BatchHeader *header, int64_t timestamp_ms) noexcept nogil
# Sets CreateTime and max_timestamp, in the header too, and the CRC anew.
cdef void stamp_create_time(uint8_t *data, BatchHeader *header, int64_t max_timestamp) noexcept nogil
# Writes the producer's fields, which the CRC covers, and the CRC anew.
cdef void stamp_producer(
    uint8_t *data, int32_t size, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence) noexcept nogil
