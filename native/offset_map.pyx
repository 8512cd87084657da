"""Newest offset of every key, for compaction: a hash table of bounded memory (see the .pxd).

Source: SipHash-2-4 with 128 bits of output (Aumasson and Bernstein; the reference code's `siphash.c`), Kafka's SkimpyOffsetMap.
"""

import os

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

from pystream._native.status cimport BUSY, LIMIT_EXCEEDED, OK, OUT_OF_MEMORY, raise_for_status

cdef extern from "bytes.h" nogil:
    uint64_t load_le64(const uint8_t *data)

cdef extern from *:
    """
    #include <sys/mman.h>
    static inline uint64_t pystream_scale(uint64_t hash, uint64_t size) {
        return (uint64_t)(((unsigned __int128)hash * size) >> 64);
    }
    /* A table this large is looked at all over: huge pages save a walk of the page tables per look. A wish only. */
    static inline void pystream_huge_pages(void *memory, size_t size) {
        uintptr_t begin = ((uintptr_t)memory + 4095) & ~(uintptr_t)4095, end = ((uintptr_t)memory + size) & ~(uintptr_t)4095;
        if (end > begin) { (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE); }
    }
    """
    uint64_t scale "pystream_scale"(uint64_t hash, uint64_t size) noexcept nogil
    void ask_huge_pages "pystream_huge_pages"(void *memory, size_t size) noexcept nogil

cdef enum:
    HUGE_FROM = 4 << 20

cdef struct Sip:
    uint64_t a
    uint64_t b
    uint64_t c
    uint64_t d


cdef inline uint64_t turn(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void mix(Sip *state) noexcept nogil:
    state.a += state.b
    state.b = turn(state.b, 13) ^ state.a
    state.a = turn(state.a, 32)
    state.c += state.d
    state.d = turn(state.d, 16) ^ state.c
    state.a += state.d
    state.d = turn(state.d, 21) ^ state.a
    state.c += state.b
    state.b = turn(state.b, 17) ^ state.c
    state.c = turn(state.c, 32)


cdef inline void take_word(Sip *state, uint64_t word) noexcept nogil:
    state.d ^= word
    mix(state)
    mix(state)
    state.a ^= word


cdef inline uint64_t finish(Sip *state) noexcept nogil:
    cdef int _round
    for _round in range(4):
        mix(state)
    return state.a ^ state.b ^ state.c ^ state.d


cdef void hash_key(const uint8_t *key, Py_ssize_t size, const uint64_t *secret, uint64_t *low, uint64_t *high) noexcept nogil:
    cdef Sip state
    cdef uint64_t last = <uint64_t> size << 56
    cdef Py_ssize_t position = 0
    cdef int shift = 0
    state.a = secret[0] ^ <uint64_t> 0x736F6D6570736575
    state.b = secret[1] ^ <uint64_t> 0x646F72616E646F6D ^ 0xEE
    state.c = secret[0] ^ <uint64_t> 0x6C7967656E657261
    state.d = secret[1] ^ <uint64_t> 0x7465646279746573
    while size - position >= 8:
        take_word(&state, load_le64(key + position))
        position += 8
    while position < size:
        last |= <uint64_t> key[position] << shift
        shift += 8
        position += 1
    take_word(&state, last)
    state.c ^= 0xEE
    low[0] = finish(&state)
    state.b ^= 0xDD
    high[0] = finish(&state)


cdef Status offset_map_init(
        OffsetMap *map, int64_t keys, int64_t memory_bytes, double load_factor, uint64_t first_secret,
        uint64_t second_secret) noexcept nogil:
    cdef int64_t capacity = memory_bytes // MAP_SLOT_SIZE
    cdef int64_t wanted = <int64_t> (keys / load_factor) + 2
    map.slots = NULL
    map.count = 0
    map.latest_offset = -1
    map.secret[0] = first_secret
    map.secret[1] = second_secret
    map.capacity = wanted if wanted < capacity else capacity
    map.most = <int64_t> (map.capacity * load_factor)
    if map.most >= map.capacity:
        map.most = map.capacity - 1                              # a search ends at a free slot
    if map.most < 1:
        return LIMIT_EXCEEDED
    map.slots = <MapSlot *> calloc(map.capacity, sizeof(MapSlot))
    if map.slots == NULL:
        return OUT_OF_MEMORY
    if map.capacity * MAP_SLOT_SIZE >= HUGE_FROM:
        ask_huge_pages(map.slots, map.capacity * sizeof(MapSlot))
    return OK


cdef void offset_map_free(OffsetMap *map) noexcept nogil:
    free(map.slots)
    map.slots = NULL
    map.capacity = map.most = map.count = 0


cdef inline MapSlot *slot_of(const OffsetMap *map, uint64_t low, uint64_t high) noexcept nogil:
    """The key's slot, or the free one where it belongs."""
    cdef MapSlot *slot = map.slots + scale(low, map.capacity)
    cdef MapSlot *end = map.slots + map.capacity
    while slot.next_offset != 0 and (slot.low != low or slot.high != high):
        slot += 1
        if slot == end:
            slot = map.slots
    return slot


cdef Status offset_map_put(OffsetMap *map, const uint8_t *key, Py_ssize_t size, int64_t offset) noexcept nogil:
    cdef uint64_t low = 0
    cdef uint64_t high = 0
    cdef MapSlot *slot
    hash_key(key, size, map.secret, &low, &high)
    slot = slot_of(map, low, high)
    if slot.next_offset == 0:
        if map.count >= map.most:
            return BUSY
        map.count += 1
        slot.low = low
        slot.high = high
    if slot.next_offset <= offset:
        slot.next_offset = offset + 1
    return OK


cdef int64_t offset_map_get(const OffsetMap *map, const uint8_t *key, Py_ssize_t size) noexcept nogil:
    cdef uint64_t low = 0
    cdef uint64_t high = 0
    if map.count == 0:
        return -1
    hash_key(key, size, map.secret, &low, &high)
    return slot_of(map, low, high).next_offset - 1


# ---------------------------------------------------------------------------------------------------------------------
# The face

cdef const uint8_t *first_byte(const uint8_t[::1] data) noexcept:
    return &data[0] if data.shape[0] > 0 else NULL


def siphash128(const uint8_t[::1] key not None, tuple secret not None):
    """SipHash-2-4 of 128 bits under a secret of two 64-bit words: the low and the high word."""
    cdef uint64_t words[2]
    cdef uint64_t low = 0
    cdef uint64_t high = 0
    words[0], words[1] = secret[0], secret[1]
    hash_key(first_byte(key), key.shape[0], words, &low, &high)
    return low, high


cdef class KeyOffsets:
    """The table by itself: room for `keys` keys, or for as many as `memory_bytes` and the load factor allow.

    Raises LimitExceeded when not one key fits.
    """

    cdef OffsetMap map

    def __cinit__(self, *, int64_t keys, int64_t memory_bytes, double load_factor=0.9, secret=None):
        first, second = secret or (int.from_bytes(os.urandom(8), "big"), int.from_bytes(os.urandom(8), "big"))
        if not 0 < load_factor <= 1:
            raise ValueError(f"a load factor lies above 0 and at most at 1, it is {load_factor}")
        raise_for_status(offset_map_init(&self.map, keys, memory_bytes, load_factor, first, second), 0, "map of keys")

    def __dealloc__(self):
        offset_map_free(&self.map)

    @property
    def capacity(self):
        """Slots."""
        return self.map.capacity

    @property
    def most_keys(self):
        """Keys that it takes."""
        return self.map.most

    def __len__(self):
        return self.map.count

    def put(self, const uint8_t[::1] key not None, int64_t offset):
        """Raises the key's offset to `offset`; False when the key is new and the map is full."""
        return offset_map_put(&self.map, first_byte(key), key.shape[0], offset) == OK

    def get(self, const uint8_t[::1] key not None):
        """The highest offset put under the key."""
        cdef int64_t offset = offset_map_get(&self.map, first_byte(key), key.shape[0])
        return None if offset < 0 else offset
