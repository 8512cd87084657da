# murmur2 as Kafka's partitioner computes it, xxHash64, and the short hashes of our own tables.  `data` may be NULL when size is 0.

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef int32_t murmur2_of(const uint8_t *data, Py_ssize_t size) noexcept nogil
# toPositive(murmur2(key)) % partitions, as the default partitioner; partitions > 0.
cdef int32_t partition_of(const uint8_t *key, Py_ssize_t size, int32_t partitions) noexcept nogil
cdef uint64_t xxhash64_of(const uint8_t *data, Py_ssize_t size, uint64_t seed) noexcept nogil
# FNV-1a, 64 bit, begun with `seed` mixed in: for names, ids and addresses, which are short.
cdef uint64_t fnv1a_of(const uint8_t *data, Py_ssize_t size, uint64_t seed) noexcept nogil
# Of an address that malloc gave.
cdef uint32_t pointer_hash(const void *pointer) noexcept nogil
