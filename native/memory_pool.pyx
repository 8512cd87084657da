"""How much memory the batches of one producer take, and its bound (buffer.memory)."""

cimport cython
from libc.stdint cimport int64_t
from libc.stdlib cimport free

from pystream._native.atomics cimport (
    atomic_count64, atomic_relaxed64, atomic_reserve64, atomic_store32, atomic_swap32)
from pystream._native.posix cimport pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock

cdef enum:
    KINDS = 2
    SHARE_TO_TELL = 8                    # whoever waits is told once an eighth of the memory is free: not for each batch


cdef bint free_one(Pool *pool) noexcept nogil:
    """One of the kept buffers, of the larger ones first; False when there is none."""
    cdef void *kept
    cdef int kind
    for kind in range(KINDS - 1, -1, -1):
        kept = pool_take_buffer(pool, kind)
        if kept != NULL:
            free(kept)
            pool_release(pool, pool.buffer_bytes[kind])
            return True
    return False


cdef bint pool_try(Pool *pool, int64_t size) noexcept nogil:
    while not atomic_reserve64(&pool.used, size, pool.limit):
        if not free_one(pool):
            return atomic_reserve64(&pool.used, size, pool.limit)
    return True


cdef bint pool_reserve(Pool *pool, int64_t size) noexcept nogil:
    if pool_try(pool, size):
        return True
    # What came back between the two attempts had nobody to tell yet.
    atomic_store32(&pool.starved, 1)
    return pool_try(pool, size)


cdef int pool_kind_of(const Pool *pool, size_t capacity) noexcept nogil:
    if capacity == pool.buffer_bytes[COMMON_BUFFER]:
        return COMMON_BUFFER
    return BULK_BUFFER if capacity == pool.buffer_bytes[BULK_BUFFER] else NO_KIND


cdef void *pool_take_buffer(Pool *pool, int kind) noexcept nogil:
    cdef void *buffer
    if pool.kept[kind] == NULL:
        return NULL
    pthread_mutex_lock(&pool.lock)
    buffer = pool.kept[kind]
    if buffer != NULL:
        pool.kept[kind] = (<void **>buffer)[0]
        pool.kept_bytes -= pool.buffer_bytes[kind]
    pthread_mutex_unlock(&pool.lock)
    return buffer


cdef void pool_give_buffer(Pool *pool, void *buffer, int kind) noexcept nogil:
    cdef bint keeps
    pthread_mutex_lock(&pool.lock)
    keeps = pool.kept_bytes + <int64_t>pool.buffer_bytes[kind] <= pool.limit
    if keeps:
        (<void **>buffer)[0] = pool.kept[kind]
        pool.kept[kind] = buffer
        pool.kept_bytes += pool.buffer_bytes[kind]
    pthread_mutex_unlock(&pool.lock)
    if not keeps:
        free(buffer)
        pool_release(pool, pool.buffer_bytes[kind])


cdef void pool_force(Pool *pool, int64_t size) noexcept nogil:
    atomic_count64(&pool.used, size)


cdef void pool_release(Pool *pool, int64_t size) noexcept nogil:
    atomic_count64(&pool.used, -size)


@cython.final
cdef class MemoryPool:
    """A count of bytes with a limit; `on_memory` is called once an eighth is free after a request was refused."""

    def __cinit__(self, int64_t limit_bytes, on_memory=None):
        if limit_bytes < 0:
            raise ValueError(f"the limit must not be negative, it is {limit_bytes}")
        self.pool.limit = limit_bytes
        pthread_mutex_init(&self.pool.lock, NULL)
        self.on_memory = on_memory

    def __dealloc__(self):
        # Nobody else has it any more; in a child process the lock could be held for ever.
        cdef void *kept
        cdef void *following
        cdef int kind
        for kind in range(KINDS):
            kept = self.pool.kept[kind]
            while kept != NULL:
                following = (<void **>kept)[0]
                free(kept)
                kept = following

    @property
    def limit_bytes(self):
        """What the batches may take together."""
        return self.pool.limit

    @property
    def used_bytes(self):
        """What they take now; buffers that are kept for the next ones are left out."""
        return self.used_now()

    cdef int64_t used_now(self) noexcept:
        return atomic_relaxed64(&self.pool.used) - self.pool.kept_bytes

    cdef void tell(self) noexcept:
        if self.pool.starved == 0 or self.used_now() > self.pool.limit - self.pool.limit // SHARE_TO_TELL:
            return
        if atomic_swap32(&self.pool.starved, 0) != 0 and self.on_memory is not None:
            self.on_memory()
