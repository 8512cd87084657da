"""Byte-rate quotas: virtual scheduling (the continuous form of a token bucket), one atomic field per quota."""

from libc.stdint cimport INT32_MAX

from pystream._native.atomics cimport atomic_add64, atomic_load64, atomic_raise64

cdef enum:
    MAXIMUM_THROTTLE_MS = 30_000


cdef void quota_init(Quota *quota, int64_t bytes_per_second, int64_t window_ms) noexcept nogil:
    quota.bytes_per_second = bytes_per_second
    quota.window_ms = window_ms
    quota.spent_until_us = 0


cdef int32_t quota_charge(Quota *quota, int64_t size, int64_t now_ms) noexcept nogil:
    cdef int64_t now_us = now_ms * 1000
    cdef int64_t debt_ms
    if quota == NULL or atomic_load64(&quota.bytes_per_second) <= 0:
        return 0
    atomic_raise64(&quota.spent_until_us, now_us)
    debt_ms = (atomic_add64(&quota.spent_until_us, size * 1_000_000 // quota.bytes_per_second) - now_us) // 1000
    if debt_ms <= quota.window_ms:
        return 0
    debt_ms -= quota.window_ms
    return <int32_t>min(debt_ms, <int64_t>MAXIMUM_THROTTLE_MS)


cdef int32_t quota_admit(Quota *quota, int64_t size, int64_t now_ms) noexcept nogil:
    cdef int64_t now_us = now_ms * 1000
    cdef int64_t rate
    cdef int64_t cost_us
    cdef int64_t owed_us
    cdef int64_t excess_us
    if quota == NULL:
        return 0
    rate = atomic_load64(&quota.bytes_per_second)
    if rate <= 0:
        return 0
    cost_us = size * 1_000_000 // rate
    atomic_raise64(&quota.spent_until_us, now_us)
    owed_us = atomic_add64(&quota.spent_until_us, cost_us) - cost_us - now_us
    excess_us = owed_us + cost_us - quota.window_ms * 1000
    if owed_us <= 0 or excess_us <= 0:
        return 0
    atomic_add64(&quota.spent_until_us, -cost_us)
    return <int32_t>min(min(owed_us, excess_us) // 1000 + 1, <int64_t>MAXIMUM_THROTTLE_MS)


cdef void quota_return(Quota *quota, int64_t size) noexcept nogil:
    cdef int64_t rate = atomic_load64(&quota.bytes_per_second) if quota != NULL else 0
    if rate > 0:
        atomic_add64(&quota.spent_until_us, -(size * 1_000_000 // rate))


cdef int32_t quota_burst(const Quota *quota) noexcept nogil:
    cdef int64_t rate = atomic_load64(&quota.bytes_per_second) if quota != NULL else 0
    if rate <= 0 or rate > INT32_MAX:
        return INT32_MAX
    if quota.window_ms > 0 and rate > <int64_t>INT32_MAX * 1000 // quota.window_ms:
        return INT32_MAX
    return <int32_t>(rate * quota.window_ms // 1000)


cdef class ByteQuota:
    """A byte-rate quota, `bytes_per_second` over a free burst of `window_ms`.

    Owns its memory; connections that carry it hold a reference through the data plane.  0 bytes per second is unlimited.
    """

    def __cinit__(self, *, bytes_per_second: int, window_ms: int = 1000):
        if bytes_per_second < 0 or window_ms < 0:
            raise ValueError(f"a quota is never negative: {bytes_per_second} bytes per second, window {window_ms} ms")
        quota_init(&self.quota, bytes_per_second, window_ms)

    def charge(self, size: int, now_ms: int) -> int:
        """Charge `size` bytes at `now_ms`; the throttle time in milliseconds, at most 30,000."""
        return quota_charge(&self.quota, size, now_ms)

    def admit(self, size: int, now_ms: int) -> int:
        """Charge `size` bytes if they are within the quota; else how many milliseconds to wait, and nothing is charged."""
        return quota_admit(&self.quota, size, now_ms)
