# Fetch 4-18: which partitions, what of them can be read now, wait or answer; the answer itself is written by `fetch_answer`.
#
# Threads: a FetchContext belongs to one event loop. Memory: a FetchRequest belongs to its call and is given back by fetch_end().
# Source: Kafka's FetchRequest.json / FetchResponse.json; KIP-98 (v4), KIP-227 (v7),
# KIP-320 (v9, v12), KIP-392 (v11), KIP-516 (v13), KIP-951 (v16).

from libc.stdint cimport int32_t, int64_t
from pystream._native.buffer cimport Cursor
from pystream._native.connection cimport Call
from pystream._native.counters cimport LoopCounters
from pystream._native.fetch_session cimport FetchSession, FetchSet, SessionCache
from pystream._native.partition_table cimport PartitionTable
from pystream._native.purgatory cimport Purgatory
from pystream._native.status cimport Status

cdef enum:
    FETCH_MINIMUM_VERSION = 4
    FETCH_MAXIMUM_VERSION = 18
    FETCH_FIRST_FLEXIBLE = 12
    FIRST_LOG_START_VERSION = 5
    FIRST_SESSION_VERSION = 7
    FIRST_RACK_VERSION = 11
    READ_COMMITTED = 1

cdef struct FetchRequest:
    FetchRequest *next               # in the free list
    FetchSession *session            # one reference; NULL: sessionless, `own` is the set
    FetchSet own
    FetchSet forgotten
    int32_t replica_id
    int32_t max_wait_ms
    int32_t min_bytes
    int32_t max_bytes
    int32_t session_id
    int32_t session_epoch
    int32_t rotation
    bint incremental
    bint throttled                   # its answer carries no partition
    Status status                    # of the whole request
    int64_t gathered                 # bytes of records found by the last evaluation
    int64_t available                # and those that were there but did not fit: what min_bytes is compared with

cdef struct FetchContext:
    SessionCache sessions
    FetchRequest *free_requests
    int32_t free_count
    int32_t maximum_bytes            # fetch.max.bytes of the broker

cdef inline FetchSet *set_of(FetchRequest *request) noexcept nogil:
    return &request.session.set if request.session != NULL else &request.own

cdef bint fetch_context_init(
    FetchContext *context, int32_t session_limit, int64_t session_bytes, int64_t session_eviction_ms, int32_t maximum_bytes, int64_t seed,
) noexcept nogil
cdef void fetch_context_free(FetchContext *context) noexcept nogil
# Parses, finds or opens the session. Anything but OK means a malformed frame.
cdef Status fetch_begin(FetchContext *context, LoopCounters *counters, Call *call, Cursor *body, int64_t now_ms) noexcept nogil
# Reads what there is. True: answer now. False: parked in the purgatory until data, a change of leadership, or the deadline.
cdef bint fetch_evaluate(
    const PartitionTable *table, Purgatory *purgatory, LoopCounters *counters, Call *call, int64_t now_ms,
) noexcept nogil
# For a client with a quota, before the evaluation: no more than `most` bytes, which is what it could ever be let have at once.
cdef void fetch_bound(Call *call, int32_t most) noexcept nogil
# The answer will carry no partition, and a session that this request would have opened there is not.  Source: KIP-219.
cdef void fetch_throttle(FetchContext *context, LoopCounters *counters, Call *call) noexcept nogil
# Gives the request and whatever it holds back; also for calls that are dropped.
cdef void fetch_end(FetchContext *context, Call *call) noexcept nogil
