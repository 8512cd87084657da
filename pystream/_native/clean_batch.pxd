# What compaction leaves of one batch: all of it, some of its records, an empty header, or nothing.
# Source: KIP-98, KIP-534 (delete horizon); Kafka's LogCleaner and MemoryRecords.filterTo.
#
# A record stays when it is its key's newest (offset >= the map's) and has a value, or has none (a tombstone) and the batch's delete
# horizon is not over; records behind the map's latest offset all stay. A batch that keeps a tombstone, or a marker whose transaction is
# gone, gets the horizon now + delete.retention.ms when it has none: attribute bit 6, and the horizon in base_timestamp, against which
# the records' timestamp deltas count from then on.
# Base offset, last offset delta, sequence and codec stay: records keep their offsets and bytes. max_timestamp is that of what is left.
# Memory: a BatchCleaner owns its buffers until batch_cleaner_free(); what clean_batch() gives lies in them or in the input.

from libc.stdint cimport int64_t, uint8_t
from pystream._native.batch cimport BatchHeader
from pystream._native.buffer cimport Output
from pystream._native.compression cimport codec_buffer
from pystream._native.offset_map cimport OffsetMap
from pystream._native.record_reader cimport RecordCursor
from pystream._native.status cimport Status

cdef struct BatchCleaner:
    const OffsetMap *map
    int64_t now_ms
    int64_t delete_retention_ms
    RecordCursor cursor
    Output kept                          # records that stay, as they stand in the batch
    Output shifted                       # the same with other timestamp deltas
    Output batch
    codec_buffer packed
    int64_t records_read
    int64_t records_kept
    int64_t keyless                      # dropped for want of a key

cdef struct BatchVerdict:
    bint discard                         # its transaction was aborted; of a marker: its transaction is gone
    bint keep_header                     # when no record is left an empty batch is

cdef void batch_cleaner_init(BatchCleaner *cleaner, const OffsetMap *map, int64_t now_ms, int64_t delete_retention_ms) noexcept nogil
cdef void batch_cleaner_free(BatchCleaner *cleaner) noexcept nogil
# What is left of the whole, checked batch at `data`: size 0 when nothing is; `result` == data when it stays as it is.
# MALFORMED or TRUNCATED when its records are not what the header promises, errors of decompress_into() and compress_into().
cdef Status clean_batch(
    BatchCleaner *cleaner, const uint8_t *data, const BatchHeader *header, const BatchVerdict *verdict,
    const uint8_t **result, Py_ssize_t *size) noexcept nogil
# Puts the keys of the batch's records from `from_offset` on into the map. BUSY when it is full; errors as above.
cdef Status map_batch(
    OffsetMap *map, RecordCursor *cursor, const uint8_t *data, const BatchHeader *header, int64_t from_offset) noexcept nogil
