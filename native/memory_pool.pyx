"""How much memory the batches of one producer take, and its bound (buffer.memory)."""

cimport cython
from libc.stdint cimport int64_t

from pystream._native.atomics cimport (
    atomic_count64, atomic_relaxed64, atomic_reserve64, atomic_store32, atomic_swap32)


cdef bint pool_reserve(Pool *pool, int64_t size) noexcept nogil:
    if atomic_reserve64(&pool.used, size, pool.limit):
        return True
    # What came back between the two attempts had nobody to tell yet.
    atomic_store32(&pool.starved, 1)
    return atomic_reserve64(&pool.used, size, pool.limit)


cdef void pool_force(Pool *pool, int64_t size) noexcept nogil:
    atomic_count64(&pool.used, size)


cdef void pool_release(Pool *pool, int64_t size) noexcept nogil:
    atomic_count64(&pool.used, -size)


@cython.final
cdef class MemoryPool:
    """A count of bytes with a limit; `on_memory` is called when some came back after a request was refused."""

    def __cinit__(self, int64_t limit_bytes, on_memory=None):
        if limit_bytes < 0:
            raise ValueError(f"the limit must not be negative, it is {limit_bytes}")
        self.pool.limit = limit_bytes
        self.on_memory = on_memory

    @property
    def limit_bytes(self):
        """What the batches may take together."""
        return self.pool.limit

    @property
    def used_bytes(self):
        """What they take now."""
        return atomic_relaxed64(&self.pool.used)

    cdef void tell(self) noexcept:
        if self.pool.starved == 0 or atomic_swap32(&self.pool.starved, 0) == 0 or self.on_memory is None:
            return
        self.on_memory()
