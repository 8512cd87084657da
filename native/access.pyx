"""Access bits of connections on topics: installed by the control plane, tested by the data plane."""

from libc.stdlib cimport free, realloc
from libc.string cimport memset

cdef enum:
    MAXIMUM_ACCESS_IDS = 1 << 20


cdef void access_row_init(AccessRow *row) noexcept nogil:
    row.bits = NULL
    row.count = 0


cdef void access_row_free(AccessRow *row) noexcept nogil:
    free(row.bits)
    access_row_init(row)


cdef bint access_row_set(AccessRow *row, uint32_t access_id, uint8_t bits) noexcept nogil:
    cdef uint8_t *grown
    if access_id >= MAXIMUM_ACCESS_IDS:
        return False
    if <int32_t>access_id >= row.count:
        grown = <uint8_t *>realloc(row.bits, access_id + 1)
        if grown == NULL:
            return False
        memset(grown + row.count, 0, access_id + 1 - row.count)
        row.bits = grown
        row.count = <int32_t>access_id + 1
    row.bits[access_id] = bits
    return True


cdef bint is_allowed(const AccessRow *row, uint32_t access_id, uint8_t bits) noexcept nogil:
    if access_id == UNRESTRICTED_ACCESS:
        return True
    if <int32_t>access_id >= row.count:
        return False
    return (row.bits[access_id] & bits) == bits
