# How much memory the batches of one producer take, and its bound (buffer.memory).
#
# Full buffers that come back are kept for the next batches, as fresh memory costs a page fault every 4 KiB: up to a quarter
# of the limit. They count, and are given up when anything else wants the memory.
#
# Cross-thread: `used` and `starved` are atomic, `lock` guards the kept buffers and is held for a few instructions. tell()
# needs the GIL and no lock of the caller.

from libc.stdint cimport int32_t, int64_t
from pystream._native.posix cimport pthread_mutex_t

cdef struct Pool:
    int64_t limit
    int64_t used                         # kept ones too
    int32_t starved                      # somebody was refused since tell() last told
    pthread_mutex_t lock
    void *kept                           # linked by their first bytes
    int64_t kept_bytes
    size_t buffer_bytes                  # of each kept one; 0: none is kept

# False when it would pass the limit.
cdef bint pool_try(Pool *pool, int64_t size) noexcept nogil
# Likewise, and `starved` is set.
cdef bint pool_reserve(Pool *pool, int64_t size) noexcept nogil
# For what must be had to get on; may pass the limit.
cdef void pool_force(Pool *pool, int64_t size) noexcept nogil
cdef void pool_release(Pool *pool, int64_t size) noexcept nogil
# A buffer of buffer_bytes, reserved already; NULL when none is kept.
cdef void *pool_take_buffer(Pool *pool) noexcept nogil
# Keeps a reserved buffer of buffer_bytes, or frees and releases it.
cdef void pool_give_buffer(Pool *pool, void *buffer) noexcept nogil

cdef class MemoryPool:
    cdef Pool pool
    cdef object on_memory
    # Calls on_memory when somebody was refused: call it behind each release.
    cdef void tell(self) noexcept
