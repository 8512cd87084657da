"""Large blocks of memory that come back are kept for the next ones: fresh memory costs a page fault every 4 KiB."""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memmove, memset

from pystream._native.posix cimport pthread_mutex_init, pthread_mutex_t, pthread_mutex_trylock, pthread_mutex_unlock

cdef enum:
    SMALLEST_KEPT = 1 << 16              # below, malloc() is as good
    LARGEST_KEPT = 8 << 20
    MOST_KEPT = 24                       # blocks
    MOST_KEPT_BYTES = 16 << 20           # of the whole process

KEPT_LIMIT = MOST_KEPT_BYTES

cdef struct Kept:
    void *block
    size_t capacity

cdef struct Shelf:
    pthread_mutex_t lock
    Kept kept[MOST_KEPT]
    int count
    size_t size                          # of all that is kept

cdef Shelf shelf
memset(&shelf, 0, sizeof(Shelf))
pthread_mutex_init(&shelf.lock, NULL)


cdef size_t rounded(size_t size) noexcept nogil:
    """To one of four sizes between two powers of two, so that a block fits what is a little larger or smaller."""
    cdef size_t step = SMALLEST_KEPT // 4
    if size < SMALLEST_KEPT:
        return size
    while step * 8 <= size:
        step *= 2
    return (size + step - 1) // step * step


cdef void *take_off(int place) noexcept nogil:
    cdef void *block = shelf.kept[place].block
    shelf.size -= shelf.kept[place].capacity
    shelf.count -= 1
    memmove(&shelf.kept[place], &shelf.kept[place + 1], (shelf.count - place) * sizeof(Kept))
    return block


cdef void *take_block(size_t size, size_t *capacity) noexcept nogil:
    cdef size_t wanted = rounded(size)
    cdef void *block = NULL
    cdef int place
    capacity[0] = wanted
    if wanted >= SMALLEST_KEPT and pthread_mutex_trylock(&shelf.lock) == 0:
        for place in range(shelf.count - 1, -1, -1):         # the last that came back may still be in the caches
            if shelf.kept[place].capacity == wanted:
                block = take_off(place)
                break
        pthread_mutex_unlock(&shelf.lock)
    return malloc(max(wanted, <size_t>1)) if block == NULL else block


cdef void give_block(void *block, size_t capacity) noexcept nogil:
    cdef bint is_kept = SMALLEST_KEPT <= capacity <= LARGEST_KEPT and capacity == rounded(capacity) and block != NULL
    if not is_kept or pthread_mutex_trylock(&shelf.lock) != 0:
        free(block)
        return
    while shelf.count == MOST_KEPT or shelf.size + capacity > MOST_KEPT_BYTES:
        free(take_off(0))                                    # of a size that is not asked for any more, perhaps
    shelf.kept[shelf.count].block = block
    shelf.kept[shelf.count].capacity = capacity
    shelf.count += 1
    shelf.size += capacity
    pthread_mutex_unlock(&shelf.lock)


@cython.final
cdef class Block:
    """Writable memory of a fixed size; what it holds at first is not said."""

    def __cinit__(self, Py_ssize_t size):
        if size < 0:
            raise ValueError(f"a block has no {size} bytes")
        self.items = <uint8_t *>take_block(size, &self.capacity)
        if self.items == NULL:
            raise MemoryError(f"no memory for {size} bytes")
        self.size = size

    def __dealloc__(self):
        give_block(self.items, self.capacity)

    def __len__(self):
        return self.size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        buffer.buf = self.items
        buffer.obj = self
        buffer.len = self.size
        buffer.readonly = 0
        buffer.itemsize = 1
        buffer.format = NULL
        if flags & PyBUF_FORMAT:
            buffer.format = b"B"
        buffer.ndim = 1
        buffer.shape = &self.size if flags & PyBUF_ND else NULL
        buffer.strides = &buffer.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL


cdef Block block_of(void *items, Py_ssize_t size, size_t capacity):
    """Takes the memory over."""
    cdef Block block = Block.__new__(Block, 0)
    give_block(block.items, block.capacity)
    block.items = <uint8_t *>items
    block.size = size
    block.capacity = capacity
    return block


def kept_bytes():
    """What is kept now."""
    return shelf.size
