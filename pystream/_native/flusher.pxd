# Group commit: a few threads per log directory that fsync the partitions with waiting acknowledgements.
#
# Lock: Flusher's own mutex guards its queue. on_durable is called on one of the flusher's threads, without locks and without the GIL;
# for one log never on two at once.

from libc.stdint cimport int64_t
from pystream._native.status cimport Status
from pystream._native.local_log cimport LogState

cdef struct FlusherState                     # opaque: fields in native/flusher.pyx

# `status` is OK when log_durable_offset(log) has moved, else the failure (the log is offline then).
ctypedef void (*durable_callback)(void *context, LogState *log, Status status) noexcept nogil

# Asks for a flush of `log` that begins after this call, then on_durable(context, log, status); twice before it begins is once.
# The flusher holds a reference to `log` while it is queued. The context must outlive flusher_forget().
cdef void flusher_request(FlusherState *flusher, LogState *log, durable_callback on_durable, void *context) noexcept nogil
# After it returns no callback for `log` runs or will run.
cdef void flusher_forget(FlusherState *flusher, LogState *log) noexcept nogil

cdef class Flusher:
    cdef FlusherState *state
