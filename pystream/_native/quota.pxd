# Byte-rate quotas as token buckets that may go into debt: a charge always succeeds and tells how long the client must pause.
#
# Owner: the control plane allocates a Quota and installs it on connections; threads charge it without a lock (atomic debt).
# Source: Kafka's ClientQuotaManager (throttle time = time until the rate is back under the bound).

from libc.stdint cimport int32_t, int64_t

cdef struct Quota:
    int64_t bytes_per_second         # 0: unlimited
    int64_t window_ms                # burst that is free: bytes_per_second * window_ms / 1000
    int64_t spent_until_us           # the moment at which everything charged so far is paid for

cdef void quota_init(Quota *quota, int64_t bytes_per_second, int64_t window_ms) noexcept nogil
# Charges `size` bytes at `now_ms`; returns the throttle time in milliseconds, 0 when within the quota. NULL is unlimited.
cdef int32_t quota_charge(Quota *quota, int64_t size, int64_t now_ms) noexcept nogil
# As quota_charge(), but nothing is charged unless it returns 0. What is larger than the whole burst passes when nothing is owed:
# it would never pass otherwise.
cdef int32_t quota_admit(Quota *quota, int64_t size, int64_t now_ms) noexcept nogil
# Takes a charge back.
cdef void quota_return(Quota *quota, int64_t size) noexcept nogil
# The burst in bytes, at most INT32_MAX; NULL is unlimited.
cdef int32_t quota_burst(const Quota *quota) noexcept nogil

cdef class ByteQuota:
    cdef Quota quota
