"""The quotas of clients, by client id (see the .pxd)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from pystream._native.atomics cimport atomic_load32, atomic_load64, atomic_store32, atomic_store64
from pystream._native.hash cimport fnv1a_of
from pystream._native.posix cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.quota cimport quota_charge, quota_init

cdef enum:
    BUCKETS = 1 << 12
    MAXIMUM_CLIENTS = 1 << 16

cdef const uint8_t *NO_ID = b""


cdef bint quota_table_init(QuotaTable *table) noexcept nogil:
    memset(table, 0, sizeof(QuotaTable))
    pthread_mutex_init(&table.mutex, NULL)
    table.buckets = <ClientEntry **>calloc(BUCKETS, sizeof(ClientEntry *))
    return table.buckets != NULL


cdef void quota_rules_free(ClientRule *rules, int32_t count) noexcept nogil:
    cdef int32_t i
    for i in range(count):
        free(rules[i].id)
    free(rules)


cdef void quota_table_free(QuotaTable *table) noexcept nogil:
    cdef ClientEntry *entry
    cdef ClientEntry *following
    cdef int32_t bucket
    if table.buckets == NULL:
        return
    for bucket in range(BUCKETS):
        entry = table.buckets[bucket]
        while entry != NULL:
            following = entry.next
            free(entry)
            entry = following
    free(table.buckets)
    table.buckets = NULL
    quota_rules_free(table.rules, table.rule_count)
    pthread_mutex_destroy(&table.mutex)


cdef const ClientRule *rule_of(const QuotaTable *table, const ClientEntry *entry) noexcept nogil:
    """NULL: there are no rules."""
    cdef int32_t i
    for i in range(1, table.rule_count):
        if table.rules[i].id_size == entry.id_size and memcmp(table.rules[i].id, entry.id, entry.id_size) == 0:
            return &table.rules[i]
    return &table.rules[0] if table.rule_count > 0 else NULL


cdef void put_in_force(QuotaTable *table, ClientEntry *entry) noexcept nogil:
    cdef const ClientRule *rule = rule_of(table, entry)
    cdef int kind
    for kind in range(QUOTA_KINDS):
        if rule == NULL or rule.rates[kind] == 0:
            entry.in_force[kind] = NULL
        elif rule.shared[kind]:
            entry.in_force[kind] = &table.shared[kind]
        else:
            if atomic_load64(&entry.own[kind].bytes_per_second) != rule.rates[kind]:
                atomic_store64(&entry.own[kind].spent_until_us, 0)        # a debt of another rate is none of this one
            atomic_store64(&entry.own[kind].bytes_per_second, rule.rates[kind])
            entry.own[kind].window_ms = table.window_ms
            entry.in_force[kind] = &entry.own[kind]


cdef void quota_table_set(
    QuotaTable *table, ClientRule *rules, int32_t count, int64_t window_ms, int64_t longest_time_wait_ms,
) noexcept nogil:
    cdef ClientEntry *entry
    cdef int32_t i
    cdef int kind
    pthread_mutex_lock(&table.mutex)
    quota_rules_free(table.rules, table.rule_count)
    table.rules = rules
    table.rule_count = count
    table.window_ms = window_ms
    table.longest_time_wait_ms = longest_time_wait_ms
    for i in range(count):
        for kind in range(QUOTA_KINDS):
            if rules[i].shared[kind] and rules[i].rates[kind] != 0:
                if atomic_load64(&table.shared[kind].bytes_per_second) != rules[i].rates[kind]:
                    atomic_store64(&table.shared[kind].spent_until_us, 0)
                atomic_store64(&table.shared[kind].bytes_per_second, rules[i].rates[kind])
                table.shared[kind].window_ms = window_ms
    for i in range(BUCKETS):
        entry = table.buckets[i]
        while entry != NULL:
            put_in_force(table, entry)
            entry = entry.next
    pthread_mutex_unlock(&table.mutex)
    atomic_store32(&table.active, count > 0)


cdef uint64_t quota_client_hash(const uint8_t *id, int32_t size) noexcept nogil:
    return fnv1a_of(id, size, 0) | 1 if size > 0 else 1


cdef ClientEntry *find(const QuotaTable *table, uint64_t hash, const uint8_t *id, int32_t size) noexcept nogil:
    cdef ClientEntry *entry = table.buckets[hash % BUCKETS]
    while entry != NULL and (entry.hash != hash or entry.id_size != size or memcmp(entry.id, id, size) != 0):
        entry = entry.next
    return entry


cdef void drop_unheld(QuotaTable *table) noexcept nogil:
    cdef ClientEntry **link
    cdef ClientEntry *entry
    cdef int32_t bucket
    for bucket in range(BUCKETS):
        link = &table.buckets[bucket]
        while link[0] != NULL:
            entry = link[0]
            if entry.references == 0:
                link[0] = entry.next
                table.count -= 1
                free(entry)
            else:
                link = &entry.next


cdef ClientEntry *add(QuotaTable *table, uint64_t hash, const uint8_t *id, int32_t size) noexcept nogil:
    cdef ClientEntry *entry = <ClientEntry *>calloc(1, sizeof(ClientEntry) + size + 1)
    cdef int kind
    if entry == NULL:
        return NULL
    entry.hash = hash
    entry.id_size = size
    entry.id = <uint8_t *>(entry + 1)
    memcpy(entry.id, id, size)
    for kind in range(QUOTA_KINDS):
        quota_init(&entry.own[kind], 0, table.window_ms)
    put_in_force(table, entry)
    entry.next = table.buckets[hash % BUCKETS]
    table.buckets[hash % BUCKETS] = entry
    table.count += 1
    return entry


cdef ClientEntry *quota_table_enter(QuotaTable *table, const uint8_t *id, int32_t size) noexcept nogil:
    cdef ClientEntry *entry
    cdef uint64_t hash
    if size <= 0:
        id = NO_ID
        size = 0
    hash = quota_client_hash(id, size)
    pthread_mutex_lock(&table.mutex)
    entry = find(table, hash, id, size)
    if entry == NULL and table.count >= MAXIMUM_CLIENTS:
        drop_unheld(table)
        if table.count >= MAXIMUM_CLIENTS:
            hash = quota_client_hash(NO_ID, 0)
            size = 0
            entry = find(table, hash, NO_ID, 0)
    if entry == NULL:
        entry = add(table, hash, id, size)
    if entry != NULL:
        entry.references += 1
    pthread_mutex_unlock(&table.mutex)
    return entry


cdef void quota_table_leave(QuotaTable *table, ClientEntry *entry) noexcept nogil:
    if entry == NULL:
        return
    pthread_mutex_lock(&table.mutex)
    entry.references -= 1
    pthread_mutex_unlock(&table.mutex)


# ---------------------------------------------------------------------------------------------------------------------
# For the control plane

cdef object fill_rule(ClientRule *rule, bytes client_id, tuple rates, tuple shared):
    cdef const uint8_t *text = client_id
    cdef int kind
    rule.id_size = <int32_t>len(client_id)
    rule.id = <uint8_t *>malloc(rule.id_size + 1)
    if rule.id == NULL:
        raise MemoryError("no memory for quotas")
    memcpy(rule.id, text, rule.id_size)
    for kind in range(QUOTA_KINDS):
        rule.rates[kind] = rates[kind]
        rule.shared[kind] = shared[kind]
    return None


cdef int32_t quota_table_charge_time(QuotaTable *table, ClientEntry *entry, int64_t microseconds, int64_t now_ms) noexcept nogil:
    return <int32_t>min(<int64_t>quota_charge(entry.in_force[REQUEST_QUOTA], microseconds, now_ms), table.longest_time_wait_ms)


cdef object quota_table_replace(QuotaTable *table, list rules, int64_t window_ms, int64_t longest_time_wait_ms):
    cdef int32_t count = <int32_t>len(rules)
    cdef int32_t i
    cdef ClientRule *made
    if rules and (rules[0][0] is not None or any([rule[0] is None for rule in rules[1:]])):
        raise ValueError("the rule for clients that are not named comes first, once")
    made = <ClientRule *>calloc(count + 1, sizeof(ClientRule))
    if made == NULL:
        raise MemoryError("no memory for quotas")
    try:
        for i in range(count):
            client_id, rates, shared = rules[i]
            fill_rule(&made[i], (client_id or "").encode(), rates, shared)
    except BaseException:
        quota_rules_free(made, count)
        raise
    quota_table_set(table, made, count, window_ms, longest_time_wait_ms)
    return None


cdef object quota_table_charge(QuotaTable *table, bytes client_id, int64_t microseconds, int64_t now_ms):
    cdef const uint8_t *text = client_id
    cdef ClientEntry *entry
    cdef int32_t throttle_ms
    if not atomic_load32(&table.active):
        return 0
    entry = quota_table_enter(table, text, <int32_t>len(client_id))
    if entry == NULL:
        return 0
    throttle_ms = quota_table_charge_time(table, entry, microseconds, now_ms)
    quota_table_leave(table, entry)
    return throttle_ms
