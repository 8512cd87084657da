# The partitions of a producer: queues of batches, those in flight, the partitioner.  Source: KIP-480, KIP-794 (sticky),
# KIP-98, KIP-360 (sequences and epochs).
#
#     lane = one partition      first ─► … ─► last (open)      what waits, in order; retries are in front
#                               flying ─► …                    drained and not answered yet, in order
#
# Cross-thread: everything here is guarded by `lock`, and each function wants it held. It is held briefly, never while
# Python is called, so that it may be taken with and without the GIL; whoever holds it without the GIL does not wait for the GIL.
# References: a queue holds one to the face of each batch that it has. What a function takes off it hands to its caller.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t
from pystream._native.compression cimport codec_buffer
from pystream._native.delivery cimport Pending
from pystream._native.memory_pool cimport Pool
from pystream._native.posix cimport pthread_mutex_t
from pystream._native.status cimport Status

cdef enum:
    ANY_PARTITION = -1
    NO_SPAN = -1

cdef int64_t NEVER

cdef enum Placed:
    PLACED = 0
    NEEDS_BATCH = 1                      # give a spare one and ask again
    NEEDS_HOLD = 2                       # of append_many(): keep `where` alive and ask again
    NO_MEMORY = 3
    TOO_LARGE = 4                        # above max_request_bytes, or above the whole memory
    UNKNOWN_PARTITION = 5
    REFUSED = 6                          # `status` says why; a batch is not begun for it

cdef struct Lane:
    Pending *first
    Pending *last
    Pending *flying
    int32_t queued                       # batches
    int32_t in_flight
    int32_t topic
    int32_t partition
    bint is_muted
    bint is_available
    bint is_listed
    bint rewrites                        # what waits takes its sequences from the next producer epoch
    int64_t records                      # ever placed: ordinals of batches
    int64_t producer_id
    int16_t producer_epoch
    int32_t next_sequence

cdef struct LaneTable:                   # of one topic
    Lane **lanes
    int32_t count
    int32_t sticky                       # -1: none chosen
    int64_t sticky_bytes
    double ratio                         # of compression, as batches have shown it: at most 1

cdef struct SendQueue:
    pthread_mutex_t lock
    Pool *pool                           # of the accumulator's MemoryPool
    LaneTable *topics
    int32_t topic_count
    Lane **listed                        # lanes with anything queued or in flight
    Py_ssize_t listed_count
    Py_ssize_t listed_capacity
    codec_buffer scratch
    Py_ssize_t batch_bytes
    Py_ssize_t bulk_bytes                # of a batch that a call with many rows begins
    Py_ssize_t max_request_bytes
    int64_t linger_ms
    int64_t delivery_timeout_ms
    bint ignore_keys
    bint is_adaptive
    bint is_compressing
    bint is_closed
    int32_t flushing
    bint is_told                         # on_ready was called since ready()
    int64_t asleep_until                 # NEVER: until told
    int64_t ready_ms                     # the time that ready() was last asked for
    int64_t producer_id
    int16_t producer_epoch
    int64_t queued_records
    int64_t in_flight_batches
    int64_t calls
    int64_t codec_ns                     # CPU time of compression and of checksums of what is compressed
    Py_ssize_t turn                      # which lane ready() begins with
    uint64_t random

cdef struct Row:
    const uint8_t *key
    Py_ssize_t key_size                  # -1 is null
    const uint8_t *value
    Py_ssize_t value_size
    const uint8_t *headers               # header_count headers as a record holds them
    Py_ssize_t headers_size
    int32_t header_count
    int64_t timestamp_ms

cdef struct Placing:                     # one call's errand
    int32_t topic
    int32_t partition                    # ANY_PARTITION: the partitioner chooses
    int64_t call                         # 0: of append(), which holds the GIL and needs no hold
    int64_t now_ms                       # monotonic
    Py_ssize_t batch_bytes               # of a batch that is begun
    Py_ssize_t expected_bytes            # that the call still has for it; 0: nobody knows
    Pending *spare                       # linked by `next`, each with a reference that becomes the queue's when it is used
    Pending *where                       # the batch it went into, at `index`
    Lane *lane                           # of NEEDS_HOLD
    Py_ssize_t record_bytes              # of TOO_LARGE: key, value and headers
    int32_t index
    Status status
    bint tell                            # call on_ready once unlocked

cdef void init_queue(SendQueue *queue) noexcept nogil
# Frees the tables; the batches must have been taken off.
cdef void free_queue(SendQueue *queue) noexcept nogil
cdef Status add_lanes(SendQueue *queue, int32_t topic, int32_t count) noexcept nogil
cdef Lane *lane_at(const SendQueue *queue, int32_t topic, int32_t partition) noexcept nogil    # NULL: unknown
cdef Placed place_row(SendQueue *queue, Placing *placing, const Row *row) noexcept nogil

# Whether the lane's first batch can be drained now; if not, `next_ms` is lowered to the time that it may be.
cdef bint lane_is_ready(const SendQueue *queue, const Lane *lane, int64_t now_ms, int64_t *next_ms) noexcept nogil
# The first batch, in flight and with its sequence; NULL when it is not ready or above `max_bytes`. The queue keeps its
# reference. `stamp`: its producer fields are to be written.
cdef Pending *take_first(
    SendQueue *queue, Lane *lane, int64_t now_ms, Py_ssize_t max_bytes, bint *stamp) noexcept nogil
# Takes a batch off the flying or the queued ones; False when it is not there. Its reference is the caller's then.
cdef bint take_off(SendQueue *queue, Pending *batch) noexcept nogil
# Queues a batch, whose reference becomes the queue's, where its order is.
cdef Status put_back(SendQueue *queue, Pending *batch) noexcept nogil
# The first queued or flying batch that is older than delivery_timeout_ms, taken off; NULL without one.
cdef Pending *take_expired(SendQueue *queue, int64_t now_ms) noexcept nogil
cdef Pending *take_queued(SendQueue *queue) noexcept nogil
# Sequences behind `batch`, which the broker did not append, move up.
cdef void close_sequence_gap(SendQueue *queue, const Pending *batch) noexcept nogil
# After ready_ms: what was due then, ready() has told.
cdef int64_t next_deadline_of(SendQueue *queue) noexcept nogil
cdef void forget_idle_lanes(SendQueue *queue) noexcept nogil
cdef void note_ratio(SendQueue *queue, int32_t topic, Py_ssize_t plain_size, Py_ssize_t packed_size) noexcept nogil
# Gives back what the buffer of a batch has more than it needs.
cdef void trim_batch(SendQueue *queue, Pending *batch) noexcept nogil
