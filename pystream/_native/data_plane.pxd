# The Python face of the data plane: it owns Plane, loops and threads, and is how the control plane installs its tables.

from libc.stdint cimport int32_t, int64_t
from pystream._native.control_queue cimport ControlQueue
from pystream._native.loop_state cimport Plane
from pystream._native.partition cimport Inbox, Partition

cdef class DataPlane:
    cdef Plane plane
    cdef readonly ControlQueue control
    cdef int32_t node_id
    cdef int32_t backlog
    cdef int32_t started_threads
    cdef bint running
    cdef bint stopped
    cdef int32_t sessions            # of fetches, of all loops together
    cdef int64_t session_bytes       # of memory, likewise
    cdef dict logs                   # (topic, partition) -> (LocalLog, Flusher): kept alive while installed
    cdef Inbox *control_inbox        # CONTROL_INBOX: what watch() asked for
    cdef Partition **moved           # swapped with the inbox's array
    cdef int32_t moved_capacity
    cdef object make_loops(self, int32_t count)
    cdef bint run_loop(self, int32_t number)
    cdef void join(self, int64_t drain_ms)
    cdef Partition *partition(self, str topic, int32_t index) except NULL
