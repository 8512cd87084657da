# Builds record batches v2 from records, with codec, producer fields and CRC.  Source: KIP-98; the layouts are in
# batch.pxd and record_reader.pxd.
#
# Memory: a BatchBuilder owns its buffers from init_builder() to free_builder(). What finish_batch() gives lies in them:
# it is valid until the next call on the builder. Not thread-safe.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from pystream._native.batch cimport BatchHeader
from pystream._native.compression cimport codec_buffer
from pystream._native.status cimport Status

cdef struct BatchBuilder:
    codec_buffer records                 # room for the header, then the records
    codec_buffer compressed
    codec_buffer finished
    Py_ssize_t limit                     # of the uncompressed batch in bytes
    int32_t count
    int32_t last_offset_delta            # -1 while empty
    int64_t base_timestamp               # of the first record
    int64_t max_timestamp

cdef struct BatchFields:                 # what stands in the header and does not come from the records
    int64_t base_offset
    int32_t partition_leader_epoch
    int16_t attributes                   # flags and codec
    int32_t level                        # of the codec; DEFAULT_LEVEL
    int64_t producer_id
    int16_t producer_epoch
    int32_t base_sequence
    int64_t append_time_ms               # the max timestamp with LOG_APPEND_TIME_FLAG

cdef void init_builder(BatchBuilder *builder, Py_ssize_t limit) noexcept nogil
cdef void free_builder(BatchBuilder *builder) noexcept nogil
# Forgets the records, keeps the memory.
cdef void clear_builder(BatchBuilder *builder) noexcept nogil
# Adds a record; size -1 is null. `headers` are header_count headers as a record holds them, without their count.
# BATCH_TOO_LARGE when the batch would pass the limit: nothing was added then. INVALID_TIMESTAMP below -1, MALFORMED
# unless offset_delta is above the last one and no more than INT32_MAX.
cdef Status add_record(
    BatchBuilder *builder, int64_t offset_delta, int64_t timestamp, const uint8_t *key, Py_ssize_t key_size,
    const uint8_t *value, Py_ssize_t value_size, const uint8_t *headers, Py_ssize_t headers_size,
    int32_t header_count) noexcept nogil
# The finished batch. MALFORMED without records; UNSUPPORTED_COMPRESSION, OUT_OF_MEMORY.
cdef Status finish_batch(
    BatchBuilder *builder, const BatchFields *fields, const uint8_t **batch, Py_ssize_t *size) noexcept nogil

# The same in the builder's own memory, for a batch that is kept: compressed by way of `scratch`, which is the caller's. Records
# that the codec does not make smaller stay as they are and the batch says so: it never grows. On failure the records are
# untouched. The batch is builder.records from then on; the builder takes no more records before clear_builder().
cdef Status pack_batch(BatchBuilder *builder, const BatchFields *fields, codec_buffer *scratch) noexcept nogil
# Makes room for `size` bytes in all, so that add_record() need not: what it takes is known before it is taken. At least
# record_room(...) behind what is there is what add_record() looks for.
cdef Status reserve(codec_buffer *buffer, size_t size) noexcept nogil
cdef Py_ssize_t record_room(Py_ssize_t key_size, Py_ssize_t value_size, Py_ssize_t headers_size) noexcept nogil
# One header as a record holds it, behind those in `headers`; value_size -1 is null.
cdef Status put_header(
    codec_buffer *headers, const uint8_t *key, Py_ssize_t key_size, const uint8_t *value,
    Py_ssize_t value_size) noexcept nogil

cdef struct Recoder:                     # zero it; its memory is used again and again until free_recoder()
    codec_buffer plain
    codec_buffer packed
    codec_buffer batch

cdef void free_recoder(Recoder *recoder) noexcept nogil
# The validated batch at `data` with its records in another codec (a topic's compression.type), length and CRC to match and
# everything else as it was, in recoder.batch until the next call. `limit` as for open_batch(); errors as decompress_into()
# and compress_into() have them, BATCH_TOO_LARGE where the result passes 2 GiB.
cdef Status recode_batch(
    Recoder *recoder, const uint8_t *data, const BatchHeader *header, int codec, int32_t level,
    Py_ssize_t limit) noexcept nogil
