# How much memory the batches of one producer take, and its bound (buffer.memory).
#
# Full buffers that come back are kept for the next batches, as fresh memory costs a page fault every 4 KiB. They count, and
# are given up when anything else wants the memory. There are two sizes of them: batch.size, and that of what a call with
# many rows begins.
#
# Whoever was refused is told when an eighth of the memory is free, so that it is not woken for each batch; who must have
# some sooner looks again by itself after a while.
#
# Cross-thread: `used` and `starved` are atomic, `lock` guards the kept buffers and is held for a few instructions. tell()
# needs the GIL and no lock of the caller.

from libc.stdint cimport int32_t, int64_t
from pystream._native.posix cimport pthread_mutex_t

cdef enum:
    NO_KIND = -1
    COMMON_BUFFER = 0
    BULK_BUFFER = 1

cdef struct Pool:
    int64_t limit
    int64_t used                         # kept ones too
    int32_t starved                      # somebody was refused since tell() last told
    pthread_mutex_t lock
    void *kept[2]                        # linked by their first bytes
    int64_t kept_bytes
    size_t buffer_bytes[2]               # of each kept one; 0: none is kept

# False when it would pass the limit.
cdef bint pool_try(Pool *pool, int64_t size) noexcept nogil
# Likewise, and `starved` is set.
cdef bint pool_reserve(Pool *pool, int64_t size) noexcept nogil
# For what must be had to get on; may pass the limit.
cdef void pool_force(Pool *pool, int64_t size) noexcept nogil
cdef void pool_release(Pool *pool, int64_t size) noexcept nogil
# Which of the sizes `capacity` is; NO_KIND for another.
cdef int pool_kind_of(const Pool *pool, size_t capacity) noexcept nogil
# A buffer of buffer_bytes[kind], reserved already; NULL when none is kept.
cdef void *pool_take_buffer(Pool *pool, int kind) noexcept nogil
# Keeps a reserved buffer of buffer_bytes[kind], or frees and releases it.
cdef void pool_give_buffer(Pool *pool, void *buffer, int kind) noexcept nogil

cdef class MemoryPool:
    cdef Pool pool
    cdef object on_memory
    # Calls on_memory when somebody was refused: call it behind each release.
    cdef void tell(self) noexcept
    cdef int64_t used_now(self) noexcept
