# Rows that a producer sends, lying in one buffer or in a tuple of bytes.
#
# Owner of memory: a ColumnSource holds the buffers (or the tuple) that its FieldSource points into, a HeaderColumn what its
# HeaderSource does. Another thread may write into a buffer at any time, so each row is checked when it is read.
# field_at_row() and headers_at_row() need no GIL.

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t
from pystream._native.compression cimport codec_buffer
from pystream._native.status cimport Status

cdef enum FieldKind:
    NO_FIELD = 0                         # all null
    FIXED = 1
    OFFSETS_32 = 2
    OFFSETS_64 = 3
    OBJECTS = 4                          # bytes or None

cdef struct FieldSource:
    FieldKind kind
    const uint8_t *data
    Py_ssize_t data_size
    const void *offsets
    Py_ssize_t width
    bint strip
    const uint8_t *validity              # NULL: none is null
    PyObject *const *objects
    Py_ssize_t start                     # of row 0
    Py_ssize_t rows

# False when the row lies outside the data. NULL and -1 for null; the row must be in 0 .. rows - 1.
cdef bint field_at_row(
    const FieldSource *source, Py_ssize_t row, const uint8_t **field, Py_ssize_t *size) noexcept nogil

cdef struct ColumnViews:                 # hidden from the garbage collector, which would take them from under their owner
    Py_buffer data
    Py_buffer validity

cdef class ColumnSource:
    cdef FieldSource source
    cdef tuple held
    cdef ColumnViews views
    cdef object hold(self, Py_buffer *place, buffer)
    cdef object finish(self, validity, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t available)

cdef enum HeaderKind:
    NO_LISTS = 0
    LISTS_32 = 1
    LISTS_64 = 2

cdef struct HeaderSource:
    const uint8_t *encoded               # headers of all rows, as a record holds them
    Py_ssize_t encoded_size
    int32_t count
    HeaderKind kind                      # of those that each row has in front of them
    const void *offsets                  # row i has the names and values offsets[i] to before offsets[i + 1]
    const uint8_t *validity              # NULL: every row has a list; a row without one has no headers of its own
    Py_ssize_t start                     # of row 0
    Py_ssize_t rows
    FieldSource names
    FieldSource values

# The headers of a row as a record holds them: they lie in `scratch`, or in the source. MALFORMED when the row lies outside the
# columns, or a name is null; OUT_OF_MEMORY.
cdef Status headers_at_row(
    const HeaderSource *source, Py_ssize_t row, codec_buffer *scratch, const uint8_t **headers, Py_ssize_t *size,
    int32_t *count) noexcept nogil
# Writes (name, value) pairs behind what `buffer` has, as a record holds them, and gives their number.
cdef int32_t put_headers(codec_buffer *buffer, headers) except -1
cdef bytes bytes_from(value, str what)

cdef class HeaderColumn:
    cdef HeaderSource source
    cdef object held

# Over a list's bytes and Nones; TypeError for anything else.
cdef ColumnSource source_of_list(object values)
