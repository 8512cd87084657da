"""Byte-rate quotas: virtual scheduling (the continuous form of a token bucket), one atomic field per quota."""

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
