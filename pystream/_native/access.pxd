# What a connection may do with a topic, as bits that the control plane installs; the data plane only tests them.
#
# Threads: `bits` of a Grant set is replaced under the partition table's write lock; loops read it under the read lock.

from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef enum AccessBit:
    MAY_READ = 1
    MAY_WRITE = 2
    MAY_DESCRIBE = 4

cdef enum:
    UNRESTRICTED_ACCESS = 0          # the access id of every connection while no authorizer is installed

# A topic's row of the table: one byte per access id. An id beyond the row has no rights; UNRESTRICTED_ACCESS has all.
cdef struct AccessRow:
    uint8_t *bits                    # owned
    int32_t count

cdef void access_row_init(AccessRow *row) noexcept nogil
cdef void access_row_free(AccessRow *row) noexcept nogil
cdef bint access_row_set(AccessRow *row, uint32_t access_id, uint8_t bits) noexcept nogil      # False: out of memory
cdef bint is_allowed(const AccessRow *row, uint32_t access_id, uint8_t bits) noexcept nogil
