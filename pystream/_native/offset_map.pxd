# Newest offset of every key, for compaction: an open hash table of bounded memory.  Source: Kafka's SkimpyOffsetMap.
#
# slot, 24 bytes:  SipHash-2-4-128 of the key, low and high 8 bytes | offset + 1 (0: free)
# The keys themselves are not kept: two keys with one hash would lose records. The hash has a secret of its own per map, so that nobody
# can look for such keys, and 2^-128 per pair is below what disks do.
# Memory: `slots` is owned until offset_map_free(). No locks: one thread at a time.

from libc.stdint cimport int64_t, uint8_t, uint64_t
from pystream._native.status cimport Status

cdef enum:
    MAP_SLOT_SIZE = 24

cdef struct MapSlot:
    uint64_t low
    uint64_t high
    int64_t next_offset              # the offset + 1; 0: free

cdef struct OffsetMap:
    MapSlot *slots
    int64_t capacity                 # slots
    int64_t most                     # keys it takes: the load factor's part of the slots
    int64_t count                    # keys in it
    int64_t latest_offset            # every record up to here was put in; -1: none
    uint64_t secret[2]

# Room for `keys` keys, or for as many as `memory_bytes` and the load factor allow. OUT_OF_MEMORY; LIMIT_EXCEEDED when not one fits.
cdef Status offset_map_init(
    OffsetMap *map, int64_t keys, int64_t memory_bytes, double load_factor, uint64_t first_secret, uint64_t second_secret) noexcept nogil
cdef void offset_map_free(OffsetMap *map) noexcept nogil
# Raises the key's offset. BUSY when the key is new and the map is full.
cdef Status offset_map_put(OffsetMap *map, const uint8_t *key, Py_ssize_t size, int64_t offset) noexcept nogil
# The key's offset, or -1.
cdef int64_t offset_map_get(const OffsetMap *map, const uint8_t *key, Py_ssize_t size) noexcept nogil
