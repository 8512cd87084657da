# Which partitions a Fetch asks for: the set of one request, and the sets that incremental fetch sessions keep between requests.
#
# Threads: sets and sessions belong to one event loop. A client that comes back on another loop is told FETCH_SESSION_ID_NOT_FOUND
# and starts anew, as after a restart of the broker.
# Memory: a session is reference-counted (its cache holds one, a parked fetch one). FetchPart.partition is valid only under the
# partition table's read lock while FetchSet.resolved_version equals the table's version.
# Source: KIP-227; Kafka's FetchSession.scala.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from pystream._native.buffer cimport Output
from pystream._native.connection cimport CallTopic
from pystream._native.counters cimport LoopCounters
from pystream._native.local_log cimport FileRange
from pystream._native.partition cimport Partition
from pystream._native.partition_table cimport PartitionTable
from pystream._native.status cimport Status

cdef enum:
    FULL_FETCH_EPOCH = 0             # a full fetch that may open a session
    FINAL_FETCH_EPOCH = -1           # a full fetch without a session
    NO_SESSION_ID = 0

cdef struct FetchPart:
    int32_t topic                    # in FetchSet.topics
    int32_t index
    int32_t current_leader_epoch
    int32_t last_fetched_epoch
    int32_t max_bytes
    bint removed
    bint included                    # in the answer being built
    Status status
    int64_t fetch_offset
    int64_t told_high_watermark      # what the session's client knows; -1: nothing, so that the next answer names the partition
    int64_t told_log_start_offset
    int64_t high_watermark           # result of the last evaluation
    int64_t last_stable_offset
    int64_t log_start_offset
    int32_t diverging_epoch          # -1: none
    int64_t diverging_offset
    Partition *partition             # NULL: unknown
    FileRange range
    int32_t aborted_position         # in FetchSet.aborted: what a read_committed reader of the range skips, 16 bytes each
    int32_t aborted_count

cdef struct FetchSet:
    CallTopic *topics                # names in `names`; without part counts
    int32_t topic_count
    int32_t topic_capacity
    FetchPart *parts
    int32_t count
    int32_t capacity
    int32_t removed_count
    Output names
    Output aborted                   # of the last evaluation
    bint by_id
    int64_t resolved_version         # -1: not resolved yet
    int32_t *slots                   # index over parts, built for sessions only: part + 1, 0 free
    int32_t slot_count

cdef struct FetchSession:
    FetchSession *next               # in the cache's bucket
    int32_t references
    int32_t id
    int32_t epoch                    # the next one expected
    int32_t rotation                 # part to begin with, so that no partition starves
    int64_t used_ms
    int64_t bytes                    # of memory, as counted last
    FetchSet set

cdef struct SessionCache:
    FetchSession **buckets
    int32_t bucket_count
    int32_t count
    int32_t limit                    # atomic: the control plane changes it while the loop runs
    int64_t bytes                    # of memory that the sessions hold
    int64_t limit_bytes              # atomic, as is `limit`
    int64_t eviction_ms              # a session idle for so long may go for another
    uint64_t random

cdef void fetch_set_init(FetchSet *set, bint by_id) noexcept nogil
cdef void fetch_set_free(FetchSet *set) noexcept nogil
cdef void fetch_set_clear(FetchSet *set, bint by_id) noexcept nogil
cdef bint fetch_set_add_topic(FetchSet *set, const uint8_t *name, int32_t name_size, const uint8_t *topic_id) noexcept nogil
cdef FetchPart *fetch_set_add_part(FetchSet *set, int32_t index) noexcept nogil       # of the topic added last
cdef void fetch_set_resolve(FetchSet *set, const PartitionTable *table) noexcept nogil
cdef void fetch_set_release_ranges(FetchSet *set) noexcept nogil

cdef bint session_cache_init(
    SessionCache *cache, int32_t limit, int64_t limit_bytes, int64_t eviction_ms, uint64_t seed,
) noexcept nogil
cdef void session_cache_free(SessionCache *cache) noexcept nogil
cdef FetchSession *find_session(SessionCache *cache, int32_t session_id) noexcept nogil
# Opens a session that takes over the parts of `set`; a full cache evicts those least recently used, if they are idle for eviction_ms.
# NULL when there is no room: the client then goes on with full fetches.
cdef FetchSession *session_open(SessionCache *cache, FetchSet *set, LoopCounters *counters, int64_t now_ms) noexcept nogil
# Counts anew what memory the session holds; where it has grown too much for idle ones to make room, False: it is to be closed.
cdef bint session_weigh(SessionCache *cache, FetchSession *session, LoopCounters *counters, int64_t now_ms) noexcept nogil
cdef void session_close(SessionCache *cache, FetchSession *session, LoopCounters *counters) noexcept nogil
cdef void session_release(FetchSession *session) noexcept nogil
# Applies an incremental request: parts named in `changes` are added or updated, those in `forgotten` removed.
cdef Status session_update(FetchSession *session, const FetchSet *changes, const FetchSet *forgotten) noexcept nogil
