# The event loops of the data plane: epoll and the order of a turn. Their state, and which lock guards what: loop_state.pxd.

from libc.stdint cimport int32_t, int64_t
from pystream._native.loop_state cimport Loop, Plane

cdef bint loop_init(Loop *loop, Plane *plane, int32_t index, int64_t seed) noexcept nogil
cdef void loop_free(Loop *loop) noexcept nogil
# The thread's function; `argument` is the Loop.
cdef void *loop_main(void *argument) noexcept nogil
