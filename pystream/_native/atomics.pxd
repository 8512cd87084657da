# Atomic loads, stores and exchanges of the compiler's __atomic builtins, for the cross-thread fields that the faces list.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline int64_t pystream_load64(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void pystream_store64(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
    static inline int64_t pystream_add64(int64_t *p, int64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }
    static inline void pystream_count64(int64_t *p, int64_t v) { __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
    static inline int64_t pystream_relaxed64(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline int32_t pystream_load32(const int32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void pystream_store32(int32_t *p, int32_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
    static inline int32_t pystream_add32(int32_t *p, int32_t v) { return __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL); }
    static inline int32_t pystream_swap32(int32_t *p, int32_t v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
    static inline uint64_t pystream_set_bits(uint64_t *p, uint64_t v) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); }
    static inline uint64_t pystream_clear_bits(uint64_t *p, uint64_t v) { return __atomic_fetch_and(p, ~v, __ATOMIC_SEQ_CST); }
    static inline uint64_t pystream_bits(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void pystream_raise64(int64_t *p, int64_t v) {
        int64_t seen = __atomic_load_n(p, __ATOMIC_RELAXED);
        while (seen < v && !__atomic_compare_exchange_n(p, &seen, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) { }
    }
    static inline int pystream_reserve64(int64_t *p, int64_t v, int64_t limit) {
        int64_t seen = __atomic_load_n(p, __ATOMIC_RELAXED);
        do {
            if (seen > limit - v) return 0;
        } while (!__atomic_compare_exchange_n(p, &seen, seen + v, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
        return 1;
    }
    """
    int64_t atomic_load64 "pystream_load64"(const int64_t *place) noexcept nogil
    void atomic_store64 "pystream_store64"(int64_t *place, int64_t value) noexcept nogil
    int64_t atomic_add64 "pystream_add64"(int64_t *place, int64_t value) noexcept nogil          # the new value
    void atomic_count64 "pystream_count64"(int64_t *place, int64_t value) noexcept nogil         # relaxed: for counters
    int64_t atomic_relaxed64 "pystream_relaxed64"(const int64_t *place) noexcept nogil
    int32_t atomic_load32 "pystream_load32"(const int32_t *place) noexcept nogil
    void atomic_store32 "pystream_store32"(int32_t *place, int32_t value) noexcept nogil
    int32_t atomic_add32 "pystream_add32"(int32_t *place, int32_t value) noexcept nogil          # the new value
    int32_t atomic_swap32 "pystream_swap32"(int32_t *place, int32_t value) noexcept nogil        # the old value
    uint64_t atomic_set_bits "pystream_set_bits"(uint64_t *place, uint64_t bits) noexcept nogil  # the old value
    uint64_t atomic_clear_bits "pystream_clear_bits"(uint64_t *place, uint64_t bits) noexcept nogil
    uint64_t atomic_bits "pystream_bits"(const uint64_t *place) noexcept nogil
    void atomic_raise64 "pystream_raise64"(int64_t *place, int64_t value) noexcept nogil         # place = max(place, value)
    # place += value and True, unless the sum would be above `limit`: then nothing changes. Relaxed; neither may be negative.
    bint atomic_reserve64 "pystream_reserve64"(int64_t *place, int64_t value, int64_t limit) noexcept nogil
