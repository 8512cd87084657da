# Making, sharing and freeing a log and its list of segments.

from libc.stdint cimport int32_t
from pystream._native.log_state cimport LogState, Segment
from pystream._native.status cimport Status

cdef LogState *log_create(const char *directory) noexcept nogil                          # one reference, no segments; NULL: out of memory
cdef void log_retain(LogState *log) noexcept nogil
cdef void log_release(LogState *log) noexcept nogil
cdef Status log_add_segment(LogState *log, Segment *segment) noexcept nogil              # takes it over, at its place by base offset
cdef void log_drop_segments(LogState *log, int32_t first, int32_t count) noexcept nogil  # frees them; the files stay
