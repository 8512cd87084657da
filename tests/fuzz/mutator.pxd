# Blind changes of bytes, for the loops of tests/fuzz that make millions of inputs without Python in between.
# `state` is a random generator's; any number but 0 starts it.

from libc.stdint cimport uint8_t, uint64_t

cdef uint64_t next_random(uint64_t *state) noexcept nogil
# One change in place: a bit, a byte, or a whole number at the edge of its range. `size` > 0.
cdef void change(uint64_t *state, uint8_t *data, Py_ssize_t size) noexcept nogil
# A changed copy of `data` in fresh memory (libc free) of exactly its size: cut, grown by the end of `other`, changed in a few places.
cdef uint8_t *changed_copy(
    uint64_t *state, const uint8_t *data, Py_ssize_t size, const uint8_t *other, Py_ssize_t other_size, Py_ssize_t *new_size
) noexcept nogil
# Size of the batch that the length at `data` tells of, or -1 when no whole one can begin there.
cdef Py_ssize_t batch_size(const uint8_t *data, Py_ssize_t size) noexcept nogil
# Makes the CRC of the batch of `size` bytes right.
cdef void mend_batch(uint8_t *data, Py_ssize_t size) noexcept nogil
