# CRC-32C (Castagnoli) by the fastest way this processor has.  Source: RFC 3720 section 12.1, KIP-98.

from libc.stdint cimport uint32_t

# Continues `crc` (0 at the start) over `size` bytes; `data` may be NULL when size is 0. Thread-safe.
cdef uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size) noexcept nogil
