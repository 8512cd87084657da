# Python faces of Cursor and Output: Reader and Writer, which the generated codecs are written over.

from libc.stdint cimport int32_t, int64_t
from pystream._native.buffer cimport Cursor, Output

# A Reader holds the memoryview that its cursor looks into, so that the pointer cannot outlive the bytes.
cdef class Reader:
    cdef Cursor cursor
    cdef object memory           # memoryview of bytes (format B, contiguous)
    cdef int64_t elements_left   # array elements that this input may still announce
    cdef text(self, bint compact, bint nullable)
    cdef copied(self, bint compact, bint nullable)
    cdef viewed(self, bint compact, bint nullable)
    cdef null_of(self, str what, bint nullable)
    cdef int32_t count(self, bint compact, bint nullable, Py_ssize_t smallest_element_size) except? -2
    cdef integers(self, Py_ssize_t size, bint compact, bint nullable)

# A Writer owns its output.
cdef class Writer:
    cdef Output output
    cdef int text(self, str value, bint compact) except -1
    cdef int buffer(self, value, bint sized, bint compact) except -1
    cdef bint begin_array(self, values, bint compact) except -1
