# What an event loop does with one connection in a turn: receive, cut and dispatch frames, and send the answers that are due.
#
# Threads: called on the loop's thread under the partition table's read lock.

from libc.stdint cimport int32_t, uint64_t
from pystream._native.connection cimport Call, Connection
from pystream._native.loop_state cimport Loop

cdef void touch(Loop *loop, Connection *connection) noexcept nogil            # on the list of this turn
cdef void queue_connection(Loop *loop, Connection *connection) noexcept nogil # on the list of the next turn
cdef void defer_connection(Loop *loop, Connection *connection) noexcept nogil # after a short wait

# Whether a further frame of the connection may be cut and worked on now.
cdef bint may_dispatch(const Loop *loop, const Connection *connection) noexcept nogil
# Phase 1: one recv at most, then every whole frame that may be worked on: produce batches are staged,
# everything else is noted for after the appends.
cdef void receive_and_dispatch(Loop *loop, Connection *connection) noexcept nogil
# Phase 3: fetches and offset look-ups that must see the appends of this turn; cold requests leave for the control plane.
cdef void work_after_append(Loop *loop) noexcept nogil
# Phase 4: parked calls that were woken or have timed out.
cdef void work_ready(Loop *loop) noexcept nogil
# Phase 5: encodes and sends what is ready, in order, and prepares the connection for the next turn. False: it is to be closed.
cdef bint answer(Loop *loop, Connection *connection) noexcept nogil
# Takes the last call back: its frame is still in the receive buffer.
cdef void forget_last_call(Loop *loop, Connection *connection) noexcept nogil
cdef void drop_calls(Loop *loop, Connection *connection) noexcept nogil
