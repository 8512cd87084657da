# The quotas of clients, by client id: what each is bounded by, and what it has used.  Source: KIP-13, KIP-124, KIP-257.
#
# The control plane compiles Kafka's precedence of users and client ids into rules by client id and one for all others (rule 0); a rule
# bounds bytes produced, bytes fetched and request time, each per client id or for all client ids together (`shared`).
# A connection holds one reference to the entry of the client id it last named.
#
# Cross-thread state
#   mutex                  guards entries, their references and the rules; taken when a connection names another client id
#   ClientEntry.in_force   written under the mutex, read anywhere: a pointer that stays good while its entry is held
#   active                 atomic; 0 while there are no rules: nothing is looked up then
# Memory: at most MAXIMUM_CLIENTS entries; then those that nobody holds go, and when all are held the newcomers share one.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from pystream._native.posix cimport pthread_mutex_t
from pystream._native.quota cimport Quota
from pystream._native.status cimport Status

cdef enum:
    PRODUCE_QUOTA = 0                # bytes per second
    FETCH_QUOTA = 1
    REQUEST_QUOTA = 2                # microseconds per second
    QUOTA_KINDS = 3

cdef struct ClientEntry:
    ClientEntry *next                # in its bucket
    uint64_t hash
    int32_t references
    int32_t id_size
    uint8_t *id                      # behind the entry
    Quota own[QUOTA_KINDS]
    Quota *in_force[QUOTA_KINDS]     # NULL: unlimited

cdef struct ClientRule:
    uint8_t *id                      # owned
    int32_t id_size
    int64_t rates[QUOTA_KINDS]       # 0: unlimited
    bint shared[QUOTA_KINDS]

cdef struct QuotaTable:
    pthread_mutex_t mutex
    int32_t active
    ClientEntry **buckets
    int32_t count
    ClientRule *rules
    int32_t rule_count
    Quota shared[QUOTA_KINDS]
    int64_t window_ms
    int64_t longest_time_wait_ms     # of a throttle for request time

cdef bint quota_table_init(QuotaTable *table) noexcept nogil
cdef void quota_table_free(QuotaTable *table) noexcept nogil
# Takes over `rules` and what they own; entries follow at once and keep what they have used.
cdef void quota_table_set(
    QuotaTable *table, ClientRule *rules, int32_t count, int64_t window_ms, int64_t longest_time_wait_ms) noexcept nogil
# Charges request time; the throttle time in milliseconds, bounded as Kafka's (ClientRequestQuotaManager): who waits may be a
# member of a group, and has to show itself in time.
cdef int32_t quota_table_charge_time(QuotaTable *table, ClientEntry *entry, int64_t microseconds, int64_t now_ms) noexcept nogil
cdef void quota_rules_free(ClientRule *rules, int32_t count) noexcept nogil
cdef uint64_t quota_client_hash(const uint8_t *id, int32_t size) noexcept nogil
# For the control plane, with the GIL: rules as DataPlane.set_client_quotas() takes them; request time it spent itself.
cdef object quota_table_replace(QuotaTable *table, list rules, int64_t window_ms, int64_t longest_time_wait_ms)
cdef object quota_table_charge(QuotaTable *table, bytes client_id, int64_t microseconds, int64_t now_ms)
# The entry of a client id (size -1: none), with a reference. NULL: no memory.
cdef ClientEntry *quota_table_enter(QuotaTable *table, const uint8_t *id, int32_t size) noexcept nogil
cdef void quota_table_leave(QuotaTable *table, ClientEntry *entry) noexcept nogil
