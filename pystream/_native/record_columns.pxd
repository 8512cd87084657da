# Decodes record batches v2 to columns: rows of several batches over one buffer.
#
# Owner of memory: Columns owns its block until free_columns(), or until columns_of() takes it over; zero it first. A Column
# holds the block that its array lies in.

from libc.stdint cimport int32_t, int64_t, uint8_t
from pystream._native.batch cimport BatchHeader
from pystream._native.compression cimport codec_buffer
from pystream._native.kept_memory cimport Block
from pystream._native.record_reader cimport RecordCursor
from pystream._native.status cimport Status

cdef struct Columns:                     # one array per column, `count` long; and the bytes that the starts count from
    uint8_t *block                       # of take_block(): all arrays lie in it
    size_t block_capacity
    int64_t *offsets
    int64_t *timestamps
    int32_t *narrow[8]                   # from KEY_STARTS on
    Py_ssize_t count
    Py_ssize_t capacity
    int64_t next_offset                  # behind the last whole batch; -1 when there was none
    Py_ssize_t consumed                  # bytes of whole batches
    codec_buffer joined                  # uncompressed records of all batches, when at least one was compressed

cdef void free_columns(Columns *columns) noexcept nogil
# Whether a batch among the whole ones in `data` is compressed: all must be joined then.
cdef bint any_compressed(const uint8_t *data, Py_ssize_t size) noexcept nogil
# Appends the rows of the whole batch at `batch`, which lies in `data`, from `from_offset` on; it has passed check_readable().
# `limit` holds for what all batches so far become, where they are joined. On failure some of its rows may be there.
cdef Status decode_batch(
    RecordCursor *cursor, const uint8_t *data, const uint8_t *batch, const BatchHeader *header, int64_t from_offset,
    Py_ssize_t limit, bint join, Columns *columns) noexcept nogil

# Room for the rows that the whole batches of `data` say they have.
cdef Status reserve_for(const uint8_t *data, Py_ssize_t size, Columns *columns) noexcept nogil

cdef class Column:
    cdef Block owner                     # None: the array is its own
    cdef void *items
    cdef Py_ssize_t count
    cdef Py_ssize_t item_size

# Takes the array over.
cdef Column column_of(void **items, Py_ssize_t count, Py_ssize_t item_size)
cdef Column column_in(Block owner, void *items, Py_ssize_t count, Py_ssize_t item_size)

cdef class RecordColumns:
    cdef readonly object data
    cdef readonly Column offsets
    cdef readonly Column timestamps
    cdef readonly Column key_starts
    cdef readonly Column key_sizes
    cdef readonly Column value_starts
    cdef readonly Column value_sizes
    cdef readonly Column headers_starts
    cdef readonly Column headers_sizes
    cdef readonly int64_t next_offset
    cdef readonly Py_ssize_t consumed
    cdef const uint8_t[::1] view
    cdef list slices(self, Column starts, Column sizes)

# Takes the arrays over; `data` is what was decoded.
cdef RecordColumns columns_of(Columns *columns, object data)
