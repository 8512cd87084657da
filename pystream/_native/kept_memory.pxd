# Large blocks of memory that come back are kept for the next ones, as fresh memory costs a page fault every 4 KiB.
#
# The process keeps at most 24 blocks and 16 MiB; the oldest goes first. Below 64 KiB it is malloc() and free().
# Cross-thread: the shelf has a lock that is only tried, so that nobody waits for it, nor hangs in a child of fork().

from libc.stdint cimport uint8_t

# `capacity` is what it holds, and what give_block() wants to be told; NULL when there is no memory. Both work with malloc():
# a block may be freed, and memory of malloc() be given.
cdef void *take_block(size_t size, size_t *capacity) noexcept nogil
cdef void give_block(void *block, size_t capacity) noexcept nogil

cdef class Block:
    cdef uint8_t *items
    cdef Py_ssize_t size
    cdef size_t capacity

# Takes memory of take_block() over.
cdef Block block_of(void *items, Py_ssize_t size, size_t capacity)
