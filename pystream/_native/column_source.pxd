# Rows that a producer sends, lying in one buffer or in a tuple of bytes.
#
# Owner of memory: a ColumnSource holds the buffers (or the tuple) that its FieldSource points into. Another thread may write
# into a buffer at any time, so each row is checked when it is read. field_at_row() needs no GIL.

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

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

cdef class ColumnSource:
    cdef FieldSource source
    cdef tuple held
    cdef Py_buffer data
    cdef Py_buffer validity
    cdef object hold(self, Py_buffer *place, buffer)
    cdef object finish(self, validity, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t available)

# Over a list's bytes and Nones; TypeError for anything else.
cdef ColumnSource source_of_list(object values)
