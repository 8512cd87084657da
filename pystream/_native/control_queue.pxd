# Cold frames on their way to the control plane and its answers on their way back.
#
# Threads: event loops push, Python receives; `mutex` guards the queue and what has been said of it, `waiting_bytes` is atomic so that
# loops can stop reading when the control plane does not keep up. Answers go through the inbox of the connection's loop.
# Memory: a ColdFrame belongs to the queue until it has been received.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from pystream._native.partition cimport Inbox, MessageKind
from pystream._native.posix cimport pthread_mutex_t, sockaddr_storage, socklen_t
from pystream._native.status cimport Status

cdef enum:
    TRANSACTION_QUESTION_LISTENER = -1
    CONNECTION_ENDED_LISTENER = -2

cdef struct ColdFrame:
    ColdFrame *next
    uint64_t handle
    int32_t listener
    sockaddr_storage peer            # who has sent it
    socklen_t peer_size              # 0: not known, the connection was gone
    Py_ssize_t size
    uint8_t *data

cdef struct ControlState:
    pthread_mutex_t mutex
    int event_fd
    int timer_fd
    bint told                        # event_fd is written, or about to be, for what waits here
    bint timed                       # timer_fd is set, and has not been read since
    ColdFrame *head
    ColdFrame *tail
    int64_t waiting_bytes
    int64_t limit_bytes
    Inbox *inboxes                   # owned by the data plane
    int32_t loop_count

# A handle names a connection for ever: loop, slot and generation. An answer to a closed connection finds a newer generation and is dropped.
cdef uint64_t make_handle(int32_t loop, uint32_t slot, uint32_t generation) noexcept nogil
cdef int32_t handle_loop(uint64_t handle) noexcept nogil
cdef uint32_t handle_slot(uint64_t handle) noexcept nogil
cdef uint32_t handle_generation(uint64_t handle) noexcept nogil

# Copies the frame; `fd` is its connection, asked who the peer is. BUSY when the queue holds limit_bytes already: the connection waits.
cdef Status control_push(
    ControlState *control, uint64_t handle, int32_t listener, int fd, const uint8_t *frame, Py_ssize_t size,
) noexcept nogil

# A watched connection has ended. Without memory nobody is told.
cdef void control_push_ended(ControlState *control, uint64_t handle) noexcept nogil

cdef class ControlQueue:
    cdef ControlState state
    cdef object owner                # the data plane: keeps the inboxes alive
    cdef object post(self, uint64_t handle, MessageKind kind, const uint8_t *data, Py_ssize_t size, int32_t throttle_ms=*)
