# How much memory the batches of one producer take, and its bound (buffer.memory).
#
# Cross-thread: `used` and `starved` are atomic; nothing here has a lock. tell() needs the GIL and no lock of the caller.

from libc.stdint cimport int32_t, int64_t

cdef struct Pool:
    int64_t limit
    int64_t used
    int32_t starved                      # somebody was refused since tell() last told

# False, and `starved` set, when it would pass the limit.
cdef bint pool_reserve(Pool *pool, int64_t size) noexcept nogil
# For what must be had to get on; may pass the limit.
cdef void pool_force(Pool *pool, int64_t size) noexcept nogil
cdef void pool_release(Pool *pool, int64_t size) noexcept nogil

cdef class MemoryPool:
    cdef Pool pool
    cdef object on_memory
    # Calls on_memory when somebody was refused: call it behind each release.
    cdef void tell(self) noexcept
