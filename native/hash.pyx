"""murmur2 as Kafka's partitioner computes it, xxHash64, and the short hashes of our own tables.

Source: MurmurHash2, 32 bit, with Kafka's seed 0x9747b28c (org.apache.kafka.common.utils.Utils); the xxHash
specification, XXH64; FNV-1a, 64 bit (draft-eastlake-fnv); Knuth's multiplicative hashing.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef extern from "bytes.h" nogil:
    uint32_t load_le32(const uint8_t *data)
    uint64_t load_le64(const uint8_t *data)

cdef enum:
    POSITIVE = 0x7FFFFFFF
    SMALLEST_RELEASE = 16384             # bytes; as in crc32c

cdef uint32_t MURMUR_SEED = 0x9747B28C
cdef uint32_t MURMUR_FACTOR = 0x5BD1E995

cdef uint64_t XX_1 = 0x9E3779B185EBCA87
cdef uint64_t XX_2 = 0xC2B2AE3D27D4EB4F
cdef uint64_t XX_3 = 0x165667B19E3779F9
cdef uint64_t XX_4 = 0x85EBCA77C2B2AE63
cdef uint64_t XX_5 = 0x27D4EB2F165667C5


cdef uint64_t fnv1a_of(const uint8_t *data, Py_ssize_t size, uint64_t seed) noexcept nogil:
    cdef uint64_t value = 14695981039346656037ULL ^ seed
    cdef Py_ssize_t i
    for i in range(size):
        value = (value ^ data[i]) * 1099511628211ULL
    return value ^ (value >> 32)


cdef uint32_t pointer_hash(const void *pointer) noexcept nogil:
    return <uint32_t>((<uint64_t>pointer >> 6) * 0x9E3779B97F4A7C15ULL >> 40)


cdef int32_t murmur2_of(const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef uint32_t hash = MURMUR_SEED ^ <uint32_t>size
    cdef uint32_t word
    cdef Py_ssize_t position, whole = size & ~<Py_ssize_t>3
    for position in range(0, whole, 4):
        word = load_le32(data + position) * MURMUR_FACTOR
        word = (word ^ (word >> 24)) * MURMUR_FACTOR
        hash = (hash * MURMUR_FACTOR) ^ word
    if size > whole:
        for position in range(size - 1, whole - 1, -1):
            hash ^= <uint32_t>data[position] << (8 * (position - whole))
        hash *= MURMUR_FACTOR
    hash = (hash ^ (hash >> 13)) * MURMUR_FACTOR
    return <int32_t>(hash ^ (hash >> 15))


cdef int32_t partition_of(const uint8_t *key, Py_ssize_t size, int32_t partitions) noexcept nogil:
    return (murmur2_of(key, size) & POSITIVE) % partitions


cdef inline uint64_t rotate(uint64_t value, int bits) noexcept nogil:
    return (value << bits) | (value >> (64 - bits))


cdef inline uint64_t xx_round(uint64_t lane, uint64_t input) noexcept nogil:
    return rotate(lane + input * XX_2, 31) * XX_1


cdef inline uint64_t xx_merge(uint64_t hash, uint64_t lane) noexcept nogil:
    return (hash ^ xx_round(0, lane)) * XX_1 + XX_4


cdef uint64_t xx_stripes(const uint8_t *data, Py_ssize_t whole, uint64_t seed) noexcept nogil:
    """Four lanes over stripes of 32 bytes."""
    cdef uint64_t first = seed + XX_1 + XX_2, second = seed + XX_2, third = seed, fourth = seed - XX_1
    cdef uint64_t hash
    cdef Py_ssize_t position
    for position in range(0, whole, 32):
        first = xx_round(first, load_le64(data + position))
        second = xx_round(second, load_le64(data + position + 8))
        third = xx_round(third, load_le64(data + position + 16))
        fourth = xx_round(fourth, load_le64(data + position + 24))
    hash = rotate(first, 1) + rotate(second, 7) + rotate(third, 12) + rotate(fourth, 18)
    return xx_merge(xx_merge(xx_merge(xx_merge(hash, first), second), third), fourth)


cdef uint64_t xxhash64_of(const uint8_t *data, Py_ssize_t size, uint64_t seed) noexcept nogil:
    cdef Py_ssize_t position = size & ~<Py_ssize_t>31
    cdef uint64_t hash = xx_stripes(data, position, seed) if size >= 32 else seed + XX_5
    hash += <uint64_t>size
    while size - position >= 8:
        hash = rotate(hash ^ xx_round(0, load_le64(data + position)), 27) * XX_1 + XX_4
        position += 8
    if size - position >= 4:
        hash = rotate(hash ^ (load_le32(data + position) * XX_1), 23) * XX_2 + XX_3
        position += 4
    while position < size:
        hash = rotate(hash ^ (data[position] * XX_5), 11) * XX_1
        position += 1
    hash = (hash ^ (hash >> 33)) * XX_2
    hash = (hash ^ (hash >> 29)) * XX_3
    return hash ^ (hash >> 32)


cdef const uint8_t *first_byte(const uint8_t[::1] data) noexcept:
    return &data[0] if data.shape[0] > 0 else NULL


def murmur2(const uint8_t[::1] data not None):
    """Kafka's 32-bit murmur2 of `data`, signed as in Java."""
    return murmur2_of(first_byte(data), data.shape[0])


def partition_for_key(const uint8_t[::1] key not None, int32_t partitions):
    """The partition that Kafka's default partitioner gives a record with this key.

    That is (murmur2(key) & 0x7FFFFFFF) % partitions.
    """
    if partitions <= 0:
        raise ValueError(f"a topic has at least one partition, not {partitions}")
    return partition_of(first_byte(key), key.shape[0], partitions)


def xxhash64(const uint8_t[::1] data not None, uint64_t seed=0):
    """XXH64 of `data`."""
    cdef Py_ssize_t size = data.shape[0]
    cdef const uint8_t *first = first_byte(data)
    cdef uint64_t hash
    if size < SMALLEST_RELEASE:
        return xxhash64_of(first, size, seed)
    with nogil:
        hash = xxhash64_of(first, size, seed)
    return hash
