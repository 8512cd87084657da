"""CRC-32C (Castagnoli), the checksum of record batches; the kernels are in native/c/crc32c.c.

Source: RFC 3720 section 12.1 (polynomial and test values); KIP-98 (what a batch covers).
"""

from libc.stdint cimport uint8_t, uint32_t

cdef extern from "crc32c.h" nogil:
    ctypedef uint32_t (*crc32c_function)(uint32_t crc, const void *data, size_t size) noexcept nogil
    crc32c_function pystream_crc32c
    void crc32c_prepare()
    int crc32c_implementation_count()
    const char *crc32c_implementation_name(int index)
    crc32c_function crc32c_implementation(int index)

cdef enum:
    SMALLEST_RELEASE = 16384             # bytes; below, giving the interpreter lock away costs more than the run

crc32c_prepare()


cdef uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size) noexcept nogil:
    return pystream_crc32c(crc, data, size)


cdef uint32_t checksum(crc32c_function function, const uint8_t[::1] data, uint32_t value):
    cdef size_t size = data.shape[0]
    cdef const uint8_t *first = NULL
    if size == 0:
        return value
    first = &data[0]
    if size < SMALLEST_RELEASE:
        return function(value, first, size)
    with nogil:
        value = function(value, first, size)
    return value


def crc32c(const uint8_t[::1] data not None, uint32_t value=0):
    """CRC-32C of `data`, continued from `value`: crc32c(b, crc32c(a)) == crc32c(a + b)."""
    return checksum(pystream_crc32c, data, value)


def implementations():
    """Names of the implementations that this processor can run; the first is the one in use."""
    return tuple(crc32c_implementation_name(index).decode() for index in range(crc32c_implementation_count()))


def crc32c_with(str implementation not None, const uint8_t[::1] data not None, uint32_t value=0):
    """As crc32c(), by the named implementation: for tests and benchmarks.

    Raises LookupError for a name that is not in implementations().
    """
    names = implementations()
    if implementation not in names:
        raise LookupError(f"no CRC-32C implementation {implementation!r} here; there are {', '.join(names)}")
    return checksum(crc32c_implementation(names.index(implementation)), data, value)
