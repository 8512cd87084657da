# Reads the records of a record batch v2, one by one or by time.  Source: KIP-98 (format), KIP-32 (timestamps).
#
# record: length varint | attributes int8 | timestamp delta varlong | offset delta varint
#         | key size varint (-1: null) | key | value size varint (-1: null) | value | header count varint | headers
# header: key size varint | key | value size varint (-1: null) | value
#
# Every length is checked against the record it lies in, every record against the (decompressed) batch.
# A decompressed batch lies in the cursor's own buffer; give it back with close_batch(). A cursor may be opened again
# without closing: its buffer is used again.

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t
from pystream._native.batch cimport BatchHeader
from pystream._native.buffer cimport Cursor
from pystream._native.compression cimport codec_buffer
from pystream._native.status cimport Status

# Pointers into the batch, or into the cursor's buffer: valid until the cursor is opened again or closed.
cdef struct RecordView:
    int64_t offset
    int64_t timestamp
    const uint8_t *key               # NULL when null
    const uint8_t *value
    const uint8_t *headers           # header_count headers, for read_record_header()
    int32_t key_size                 # -1 when null
    int32_t value_size
    int32_t headers_size
    int32_t header_count

cdef struct RecordHeaderView:
    const uint8_t *key
    const uint8_t *value             # NULL when null
    int32_t key_size
    int32_t value_size               # -1 when null

cdef struct RecordCursor:
    BatchHeader header
    Cursor records                   # over the uncompressed records
    int32_t remaining                # records not yet read
    codec_buffer buffer

# What the reader itself relies on, of a parsed header: whole, magic 2, known codec, counts and offsets in bounds.
cdef Status check_readable(const BatchHeader *header, Py_ssize_t available) noexcept nogil
# Makes a cursor that open_batch() can be called on; it owns no memory yet.
cdef void init_record_cursor(RecordCursor *cursor) noexcept nogil
# Starts on the batch at `data`, which must be whole and of magic 2; decompresses it up to `limit` bytes (0: as
# decompression_limit() says).
# The CRC is not looked at: validate_batch() does that.
cdef Status open_batch(RecordCursor *cursor, const uint8_t *data, Py_ssize_t available, Py_ssize_t limit) noexcept nogil
# The next record; NOT_FOUND after the last. MALFORMED / TRUNCATED when the bytes are not the records that the header
# promises.
cdef Status next_record(RecordCursor *cursor, RecordView *record) noexcept nogil
cdef void close_batch(RecordCursor *cursor) noexcept nogil
# Reads the header at the start of `headers`, which then looks behind it; begin with cursor_over(headers, view.headers,
# view.headers_size).
cdef Status read_record_header(Cursor *headers, RecordHeaderView *header) noexcept nogil

# First record of the whole batch at `data` with timestamp >= timestamp_ms and from_offset <= offset < limit_offset;
# NOT_FOUND when there is none. `scratch` is a codec_buffer of the caller's to use again and again, or NULL.
cdef Status first_record_at_or_after(
    const uint8_t *data, Py_ssize_t available, int64_t timestamp_ms, int64_t from_offset, int64_t limit_offset,
    codec_buffer *scratch, int64_t *found_timestamp, int64_t *found_offset) noexcept nogil
# The first of the records with the highest timestamp, within the same bounds; NOT_FOUND when there is none.
cdef Status record_of_max_timestamp(
    const uint8_t *data, Py_ssize_t available, int64_t from_offset, int64_t limit_offset,
    codec_buffer *scratch, int64_t *found_timestamp, int64_t *found_offset) noexcept nogil
# Reads every record of a batch that a producer sent: OK, what next_record() says, or INVALID_RECORD where offset deltas
# are not 0, 1, 2 … and, with `require_keys` (compacted topics), where a key is null. `failed_record` (may be NULL) is
# then the index of the first record at fault, for the answer's record errors (KIP-467); -1 where the batch cannot be read.
# `max_timestamp` (may be NULL) is the highest of the records that were read, NO_TIMESTAMP without one.
cdef Status check_records(
    const uint8_t *data, Py_ssize_t available, Py_ssize_t limit, bint require_keys, codec_buffer *scratch,
    int32_t *failed_record, int64_t *max_timestamp) noexcept nogil

# For faces: bytes, or None for size -1; and ((key, value), ...) of checked headers that fill `size` bytes.
cdef object bytes_of(const uint8_t *field, int32_t size)
cdef tuple headers_of(const uint8_t *data, Py_ssize_t size)
