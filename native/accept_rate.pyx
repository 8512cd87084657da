"""How fast connections may come: of one address, of one listener, of all (see the .pxd)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pystream._native.atomics cimport atomic_load32, atomic_store32, atomic_store64
from pystream._native.listener cimport hash_of_address
from pystream._native.posix cimport close, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.quota cimport quota_admit, quota_init, quota_return

cdef enum:
    FIRST_CAPACITY = 256
    MAXIMUM_ADDRESSES = 1 << 16


cdef bint accept_rates_init(AcceptRates *rates) noexcept nogil:
    memset(rates, 0, sizeof(AcceptRates))
    pthread_mutex_init(&rates.mutex, NULL)
    rates.used_capacity = FIRST_CAPACITY
    rates.used = <RatedAddress *>calloc(FIRST_CAPACITY, sizeof(RatedAddress))
    return rates.used != NULL


cdef void accept_rates_close_held(AcceptRates *rates) noexcept nogil:
    cdef int32_t i
    for i in range(rates.held_count):
        close(rates.held[i].fd)
    rates.held_count = 0


cdef void accept_rates_free(AcceptRates *rates) noexcept nogil:
    if rates.used == NULL:
        return
    accept_rates_close_held(rates)
    free(rates.rules)
    free(rates.used)
    rates.rules = NULL
    rates.used = NULL
    pthread_mutex_destroy(&rates.mutex)


# ---- what addresses have used

cdef RatedAddress *slot_for(RatedAddress *slots, int32_t capacity, uint64_t address_hash) noexcept nogil:
    cdef uint64_t mask = <uint64_t>(capacity - 1)
    cdef uint64_t slot = (address_hash >> 20) & mask
    while slots[slot].address_hash != 0 and slots[slot].address_hash != address_hash:
        slot = (slot + 1) & mask
    return &slots[slot]


cdef bint make_space(AcceptRates *rates, int64_t now_ms) noexcept nogil:
    """Rebuilds the table without the addresses that owe nothing any more, doubled while the others fill it."""
    cdef RatedAddress *old = rates.used
    cdef RatedAddress *made
    cdef int32_t capacity = rates.used_capacity
    cdef int32_t owing = 0
    cdef int32_t i
    for i in range(rates.used_capacity):
        owing += old[i].quota.spent_until_us > now_ms * 1000
    if owing >= MAXIMUM_ADDRESSES:
        owing = 0
    if owing * 4 > capacity:
        capacity *= 2
    made = <RatedAddress *>calloc(capacity, sizeof(RatedAddress))
    if made == NULL:
        return False
    for i in range(rates.used_capacity if owing > 0 else 0):
        if old[i].quota.spent_until_us > now_ms * 1000:
            slot_for(made, capacity, old[i].address_hash)[0] = old[i]
    free(old)
    rates.used = made
    rates.used_capacity = capacity
    rates.used_count = owing
    return True


cdef int64_t rate_of(const AcceptRates *rates, uint64_t address_hash) noexcept nogil:
    cdef const RatedAddress *rule
    if rates.rules != NULL:
        rule = slot_for(rates.rules, rates.rule_capacity, address_hash)
        if rule.address_hash != 0:
            return rule.quota.bytes_per_second
    return rates.default_rate


cdef int32_t charge_address(AcceptRates *rates, uint64_t address_hash, int64_t now_ms) noexcept nogil:
    cdef int64_t rate = rate_of(rates, address_hash)
    cdef RatedAddress *found
    if rate <= 0 or (rates.used_count * 2 >= rates.used_capacity and not make_space(rates, now_ms)):
        return 0
    found = slot_for(rates.used, rates.used_capacity, address_hash)
    if found.address_hash == 0:
        found.address_hash = address_hash
        rates.used_count += 1
    if found.quota.bytes_per_second != rate:
        quota_init(&found.quota, rate, rates.window_ms)      # what was owed at another rate is owed no more
    found.quota.window_ms = rates.window_ms
    return quota_admit(&found.quota, 1, now_ms)


cdef int32_t accept_rates_admit(AcceptRates *rates, uint64_t address_hash, int64_t now_ms) noexcept nogil:
    cdef int32_t wait_ms
    if not atomic_load32(&rates.active):
        return 0
    pthread_mutex_lock(&rates.mutex)
    wait_ms = <int32_t>min(<int64_t>charge_address(rates, address_hash, now_ms), rates.longest_wait_ms)
    pthread_mutex_unlock(&rates.mutex)
    return wait_ms


# ---- listeners

cdef int32_t accept_rates_enter(AcceptRates *rates, int32_t listener, int64_t now_ms) noexcept nogil:
    cdef int32_t wait_ms
    if not atomic_load32(&rates.active):
        return 0
    pthread_mutex_lock(&rates.mutex)
    wait_ms = quota_admit(&rates.broker, 1, now_ms)
    if wait_ms == 0:
        wait_ms = quota_admit(&rates.listeners[listener], 1, now_ms)
        if wait_ms > 0:
            quota_return(&rates.broker, 1)
    wait_ms = <int32_t>min(<int64_t>wait_ms, rates.longest_wait_ms)
    pthread_mutex_unlock(&rates.mutex)
    return wait_ms


cdef void accept_rates_leave(AcceptRates *rates, int32_t listener) noexcept nogil:
    if not atomic_load32(&rates.active):
        return
    pthread_mutex_lock(&rates.mutex)
    quota_return(&rates.broker, 1)
    quota_return(&rates.listeners[listener], 1)
    pthread_mutex_unlock(&rates.mutex)


# ---- loop 0: what waits

cdef void due_at(AcceptRates *rates, int64_t due_ms) noexcept nogil:
    if rates.next_due_ms == 0 or due_ms < rates.next_due_ms:
        rates.next_due_ms = due_ms


cdef void accept_rates_hold(AcceptRates *rates, int fd, int64_t close_ms) noexcept nogil:
    if rates.held_count == MAXIMUM_HELD:
        close(fd)
        return
    rates.held[rates.held_count].fd = fd
    rates.held[rates.held_count].close_ms = close_ms
    rates.held_count += 1
    due_at(rates, close_ms)


cdef void accept_rates_pause(AcceptRates *rates, int32_t listener, int64_t resume_ms) noexcept nogil:
    rates.resume_ms[listener] = resume_ms
    due_at(rates, resume_ms)


cdef uint64_t accept_rates_release(AcceptRates *rates, int64_t now_ms) noexcept nogil:
    cdef uint64_t resumed = 0
    cdef int32_t kept = 0
    cdef int32_t i
    if rates.next_due_ms == 0 or now_ms < rates.next_due_ms:
        return 0
    rates.next_due_ms = 0
    for i in range(rates.held_count):
        if rates.held[i].close_ms <= now_ms:
            close(rates.held[i].fd)
            continue
        rates.held[kept] = rates.held[i]
        kept += 1
        due_at(rates, rates.held[i].close_ms)
    rates.held_count = kept
    for i in range(MAXIMUM_LISTENERS):
        if rates.resume_ms[i] == 0:
            continue
        if rates.resume_ms[i] <= now_ms:
            rates.resume_ms[i] = 0
            resumed |= <uint64_t>1 << i
        else:
            due_at(rates, rates.resume_ms[i])
    return resumed


# ---------------------------------------------------------------------------------------------------------------------
# For the control plane

cdef object keep_active(AcceptRates *rates):
    cdef bint active = rates.broker.bytes_per_second > 0 or rates.default_rate > 0 or rates.rules != NULL
    cdef int32_t i
    for i in range(MAXIMUM_LISTENERS):
        active = active or rates.listeners[i].bytes_per_second > 0
    atomic_store32(&rates.active, active)
    return None


cdef void bound(Quota *quota, int64_t rate, int64_t window_ms) noexcept nogil:
    if quota.bytes_per_second != rate:
        atomic_store64(&quota.spent_until_us, 0)
    atomic_store64(&quota.bytes_per_second, rate)
    quota.window_ms = window_ms


cdef object accept_rates_bound_addresses(AcceptRates *rates, list named, int64_t default_rate, int64_t window_ms, int64_t longest_wait_ms):
    cdef RatedAddress *rules = NULL
    cdef RatedAddress *former
    cdef RatedAddress *slot
    cdef int32_t capacity = FIRST_CAPACITY
    cdef uint64_t address_hash
    cdef bytes address
    cdef const uint8_t *packed
    while capacity < 2 * len(named):
        capacity *= 2
    if named:
        rules = <RatedAddress *>calloc(capacity, sizeof(RatedAddress))
        if rules == NULL:
            raise MemoryError("no memory for the quotas of addresses")
    try:
        for address, rate in named:
            if len(address) not in (4, 16):
                raise ValueError(f"an address has 4 or 16 bytes, not {len(address)}")
            packed = address
            address_hash = hash_of_address(packed, <int32_t>len(address))
            slot = slot_for(rules, capacity, address_hash)
            slot.address_hash = address_hash
            slot.quota.bytes_per_second = rate
    except BaseException:
        free(rules)
        raise
    pthread_mutex_lock(&rates.mutex)
    former = rates.rules
    rates.rules = rules
    rates.rule_capacity = capacity
    rates.default_rate = default_rate
    rates.window_ms = window_ms
    rates.longest_wait_ms = longest_wait_ms
    keep_active(rates)
    pthread_mutex_unlock(&rates.mutex)
    free(former)
    return None


cdef object accept_rates_bound_listeners(
    AcceptRates *rates, int64_t broker_rate, list listener_rates, int64_t window_ms, int64_t longest_wait_ms,
):
    cdef int32_t i
    cdef int64_t rate
    pthread_mutex_lock(&rates.mutex)
    try:
        bound(&rates.broker, broker_rate, window_ms)
        for i in range(min(len(listener_rates), <int>MAXIMUM_LISTENERS)):
            rate = listener_rates[i]
            bound(&rates.listeners[i], rate, window_ms)
        rates.longest_wait_ms = longest_wait_ms
        keep_active(rates)
    finally:
        pthread_mutex_unlock(&rates.mutex)
    return None
