# How fast connections may come: of one address, of one listener, of all.  Source: KIP-402, KIP-612; Kafka's ConnectionQuotas.
#
#   all, a listener   above its rate nothing is accepted there until the wait is over; who connects meanwhile waits in the backlog
#   an address        above its rate the connection is accepted, held without being read, and closed when the wait is over:
#                     a client that is refused at once would only try again at once
#
# A rate is connections per second over a free burst of `window_ms`; no wait is longer than `longest_wait_ms`.
#
# Cross-thread state
#   mutex    guards the rules and what addresses have used; taken for each connection that comes while `active`
#   active   atomic; 0 while nothing is bounded: a connection costs one load then
#   resume_ms, held, next_due_ms   belong to loop 0, which accepts
# Memory: rules belong to the table; at most MAXIMUM_ADDRESSES are remembered: those that owe nothing go first, then all.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from pystream._native.listener cimport MAXIMUM_LISTENERS
from pystream._native.posix cimport pthread_mutex_t
from pystream._native.quota cimport Quota

cdef enum:
    MAXIMUM_HELD = 256

cdef struct RatedAddress:
    uint64_t address_hash            # 0: free
    Quota quota

cdef struct HeldSocket:
    int fd
    int64_t close_ms

cdef struct AcceptRates:
    pthread_mutex_t mutex
    int32_t active
    Quota broker                     # bytes_per_second: connections; 0: unlimited
    Quota listeners[MAXIMUM_LISTENERS]
    int64_t default_rate             # of an address that no rule names; 0: unlimited
    RatedAddress *rules              # by hash, open addressing; the rates that are named
    int32_t rule_capacity
    RatedAddress *used               # what addresses have used, open addressing
    int32_t used_capacity
    int32_t used_count
    int64_t window_ms
    int64_t longest_wait_ms
    int64_t resume_ms[MAXIMUM_LISTENERS]   # 0: accepting
    HeldSocket held[MAXIMUM_HELD]
    int32_t held_count
    int64_t next_due_ms              # 0: nothing is held and nobody waits

cdef bint accept_rates_init(AcceptRates *rates) noexcept nogil
# Closes what is held.
cdef void accept_rates_free(AcceptRates *rates) noexcept nogil
# Milliseconds until the listener may accept again; 0: it may, and one connection is charged.
cdef int32_t accept_rates_enter(AcceptRates *rates, int32_t listener, int64_t now_ms) noexcept nogil
# Takes that charge back: there was no connection, or its address was not let in.
cdef void accept_rates_leave(AcceptRates *rates, int32_t listener) noexcept nogil
# Milliseconds for which a connection of this address is held before it is closed; 0: it is let in, and charged.
cdef int32_t accept_rates_admit(AcceptRates *rates, uint64_t address_hash, int64_t now_ms) noexcept nogil
# Keeps the socket until `close_ms`; where too many are kept already it is closed at once.
cdef void accept_rates_hold(AcceptRates *rates, int fd, int64_t close_ms) noexcept nogil
# The listener does not accept until `resume_ms`.
cdef void accept_rates_pause(AcceptRates *rates, int32_t listener, int64_t resume_ms) noexcept nogil
# Closes what is due. A bit for each listener that accepts again.
cdef uint64_t accept_rates_release(AcceptRates *rates, int64_t now_ms) noexcept nogil
cdef void accept_rates_close_held(AcceptRates *rates) noexcept nogil

# For the control plane, with the GIL.
cdef object accept_rates_bound_addresses(AcceptRates *rates, list named, int64_t default_rate, int64_t window_ms, int64_t longest_wait_ms)
cdef object accept_rates_bound_listeners(
    AcceptRates *rates, int64_t broker_rate, list listener_rates, int64_t window_ms, int64_t longest_wait_ms)
