"""Blind changes of bytes (see the .pxd); built only with PYSTREAM_SANITIZE=1."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from pystream._native.crc32c cimport crc32c_extend

cdef enum:
    LENGTH_AT = 8
    LENGTH_OVERHEAD = 12
    SMALLEST_BATCH = 61
    CRC_AT = 17
    CRC_FROM = 21


cdef uint64_t next_random(uint64_t *state) noexcept nogil:
    """xorshift64*"""
    state[0] ^= state[0] >> 12
    state[0] ^= state[0] << 25
    state[0] ^= state[0] >> 27
    return (state[0] * 0x2545F4914F6CDD1DULL) >> 16


cdef void change(uint64_t *state, uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at = next_random(state) % size
    cdef uint64_t choice = next_random(state)
    cdef int width = 1 << (choice >> 8) % 4
    cdef int i
    cdef uint8_t edge
    if choice % 4 == 0:
        data[at] ^= 1 << (choice >> 8) % 8
    elif choice % 4 == 1:
        data[at] = (choice >> 8) & 0xFF
    else:
        edge = (choice >> 16) % 4
        for i in range(width):
            if at + i < size:
                if edge == 0:
                    data[at + i] = 0x00
                elif edge == 1:
                    data[at + i] = 0xFF
                elif edge == 2:
                    data[at + i] = 0x7F if i == 0 else 0xFF
                else:
                    data[at + i] = 0x80 if i == 0 else 0x00


cdef uint8_t *changed_copy(
        uint64_t *state, const uint8_t *data, Py_ssize_t size, const uint8_t *other, Py_ssize_t other_size,
        Py_ssize_t *new_size) noexcept nogil:
    cdef uint64_t choice = next_random(state)
    cdef Py_ssize_t kept = size
    cdef Py_ssize_t added = 0
    cdef uint8_t *copy
    cdef int _i
    if size > 0 and choice % 8 <= 1:
        kept = next_random(state) % size
    if other_size > 0 and choice % 8 == 1:
        added = next_random(state) % other_size
    new_size[0] = kept + added
    copy = <uint8_t *>malloc(new_size[0])
    memcpy(copy, data, kept)
    memcpy(copy + kept, other + (other_size - added), added)
    if new_size[0] > 0:
        for _i in range(<int>((choice >> 8) % 5)):
            change(state, copy, new_size[0])
    return copy


cdef Py_ssize_t batch_size(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef int64_t length
    if size < SMALLEST_BATCH:
        return -1
    length = (
        <int64_t>data[LENGTH_AT] << 24 | data[LENGTH_AT + 1] << 16 | data[LENGTH_AT + 2] << 8 | data[LENGTH_AT + 3]
    ) + LENGTH_OVERHEAD
    return <Py_ssize_t>length if SMALLEST_BATCH <= length <= size else -1


cdef void mend_batch(uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef uint32_t crc = crc32c_extend(0, data + CRC_FROM, size - CRC_FROM)
    data[CRC_AT] = crc >> 24
    data[CRC_AT + 1] = (crc >> 16) & 0xFF
    data[CRC_AT + 2] = (crc >> 8) & 0xFF
    data[CRC_AT + 3] = crc & 0xFF
