# What an event loop holds, and what all loops share. Declarations only: `event_loop` and `turn` both work on it.
#
# Cross-thread state
#   Plane.table          its own reader-writer lock: read-locked for a turn, write-locked by the control plane
#   Plane.quotas, accept_rates     their own mutexes
#   Plane.loop_count, active_loops  atomic; loops are added, never taken away, and those past active_loops get no new connections
#   Plane.memory, connection_count, accepting, draining    atomic
#   Loop                 belongs to its thread; counters are read from anywhere; its inbox is the door for everybody else
# Memory: the DataPlane object owns Plane and Loops and joins the threads before it frees them.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from pystream._native.accept_rate cimport AcceptRates
from pystream._native.connection cimport BufferPool, Call, Connection, MemoryPool, OutQueue
from pystream._native.control_queue cimport ControlState
from pystream._native.counters cimport LoopCounters
from pystream._native.fetch cimport FetchContext
from pystream._native.listener cimport AddressCounts, Listener, MAXIMUM_LISTENERS
from pystream._native.partition cimport Inbox, Partition
from pystream._native.partition_table cimport PartitionTable
from pystream._native.posix cimport pthread_t
from pystream._native.produce cimport ProduceStage
from pystream._native.purgatory cimport Purgatory
from pystream._native.quota_table cimport QuotaTable

cdef struct Limits:
    int32_t frame_bytes              # socket.request.max.bytes
    int32_t in_flight                # calls of one connection that are not yet answered
    int32_t connections              # max.connections
    int32_t connections_per_address  # max.connections.per.ip
    int64_t idle_ms                  # connections.max.idle.ms
    int64_t frame_ms                 # a started frame is whole by then, or has come at frame_bytes_per_second
    int64_t frame_bytes_per_second
    int64_t memory_bytes             # queued.max.request.bytes: receive buffers of all connections
    int64_t control_bytes            # cold frames that wait for the control plane
    int32_t fetch_bytes              # fetch.max.bytes
    int32_t fetch_sessions           # max.incremental.fetch.session.cache.slots
    int64_t fetch_session_bytes      # of memory that they may hold, on each loop
    int64_t fetch_session_eviction_ms
    int32_t receive_buffer_bytes     # socket.receive.buffer.bytes, -1: the system's
    int32_t send_buffer_bytes        # socket.send.buffer.bytes

cdef struct Plane:
    int32_t loop_count
    int32_t active_loops
    Loop *loops
    Inbox *inboxes
    PartitionTable table
    MemoryPool memory
    AddressCounts addresses
    AcceptRates accept_rates
    QuotaTable quotas
    ControlState *control
    Listener listeners[MAXIMUM_LISTENERS]
    int32_t listener_count
    Limits limits
    int64_t connection_count
    int32_t accepting
    int32_t draining
    int64_t drain_deadline_ms

cdef struct Loop:
    Plane *plane
    int32_t index
    pthread_t thread
    int epoll_fd
    Inbox *inbox
    Connection **connections         # by slot
    uint32_t *generations            # by slot
    uint32_t slot_count
    uint32_t first_free              # chain of free slots through `next_free`
    uint32_t *next_free
    int32_t open_count
    Connection *turn                 # connections touched in this turn
    Connection **turn_tail
    Connection *queued               # to be looked at in the next turn
    Connection *deferred             # to be looked at when `deferred_until_ms` has come
    int64_t deferred_until_ms
    Call *after_append               # calls of this turn that must see its appends
    Call **after_append_tail
    OutQueue *scratch
    BufferPool buffers
    ProduceStage stage
    Purgatory purgatory
    FetchContext fetches
    LoopCounters counters
    Partition **moved
    int32_t moved_capacity
    int64_t now_ms
    int64_t wall_clock_ms
    int64_t swept_ms
    int64_t offline_changes          # of logs, as the last sweep saw them: whoever waits for one that failed is told
    bint listening                   # loop 0: the listeners are in the epoll set
    int32_t next_loop                # loop 0: who gets the next connection
    bint drain_begun
