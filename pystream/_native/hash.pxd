# murmur2 as Kafka's partitioner computes it, and xxHash64.  `data` may be NULL when size is 0.

from libc.stdint cimport int32_t, uint8_t, uint64_t

cdef int32_t murmur2_of(const uint8_t *data, Py_ssize_t size) noexcept nogil
# toPositive(murmur2(key)) % partitions, as the default partitioner; partitions > 0.
cdef int32_t partition_of(const uint8_t *key, Py_ssize_t size, int32_t partitions) noexcept nogil
cdef uint64_t xxhash64_of(const uint8_t *data, Py_ssize_t size, uint64_t seed) noexcept nogil
