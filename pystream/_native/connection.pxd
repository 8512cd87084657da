# A client connection: received bytes cut into frames, calls in flight in the order of their requests, and answers on their way out.
#
# Threads: everything here belongs to the one event loop that the connection is pinned to. Only MemoryPool.used is shared (atomic).
# Memory: a frame points into the connection's receive buffer and is valid until connection_end_turn(), which alone moves or grows it.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from pystream._native.buffer cimport Output
from pystream._native.local_log cimport FileRange, SegmentFile
from pystream._native.partition cimport Message, Partition
from pystream._native.quota_table cimport ClientEntry
from pystream._native.status cimport Status

cdef enum:
    BASE_BUFFER_SIZE = 262144        # one recv; small requests of a whole turn fit
    FRAME_LENGTH_SIZE = 4
    MAXIMUM_PARTS = 262144           # partitions in one request: bounds what a frame of tiny entries can make us allocate
    MAXIMUM_TOPICS = 262144          # likewise: a topic without partitions is 3 bytes

cdef enum CallKind:
    CALL_PRODUCE = 1
    CALL_FETCH = 2
    CALL_LIST_OFFSETS = 3
    CALL_COLD = 4                    # answered by the control plane
    CALL_PAUSE = 5                   # no request: what follows waits until the quota is paid for

cdef enum CallState:
    CALL_OPEN = 0                    # being worked on in this turn
    CALL_PARKED = 1                  # waits in the purgatory, or for the control plane
    CALL_READY = 2                   # has its answer
    CALL_SILENT = 3                  # done, and nothing is to be sent (acks=0)

cdef struct CallTopic:
    int32_t name_position            # in the names beside it
    int32_t name_size
    int32_t part_count
    uint8_t id[16]

cdef struct CallPart:                # one partition of a Produce or ListOffsets
    int32_t index
    Status status
    int32_t leader_epoch             # request: current leader epoch; answer: leader epoch
    int32_t leader_id
    int64_t offset                   # base offset, or the offset looked up
    int64_t timestamp_ms             # asked for, then answered; Produce: LogAppendTime
    int64_t log_start_offset
    int32_t errors_position          # Produce: in the call's names, an int32 for each record refused by itself
    int32_t errors_count
    int16_t error_code               # Produce: what the transaction coordinator said, in place of the status; 0: nothing

cdef struct Watch:                   # a parked call on one partition; see purgatory
    Watch *next_in_partition
    Watch **link
    Watch *next_in_call
    Call *call
    Partition *partition             # one reference
    int32_t part
    int64_t required_offset

cdef struct Call:
    Call *next                       # in the connection's order, or in the free list
    Connection *connection
    CallKind kind
    CallState state
    int16_t version
    int16_t acks
    int16_t error_code               # of the whole answer
    bint flexible
    bint from_admin                  # the client id is Kafka's own for tools that may write to internal topics
    int8_t isolation_level
    int32_t correlation_id
    int32_t throttle_ms
    int64_t spent_ns                 # working on it, where the client's request time is bounded
    int32_t timeout_ms
    int32_t waiting                  # parts that are not yet answered
    CallTopic *topics
    int32_t topic_count
    int32_t topic_capacity
    CallPart *parts
    int32_t part_count
    int32_t part_capacity
    Output names
    void *fetch                      # FetchRequest of the fetch module, or NULL
    const uint8_t *frame             # until the end of the turn: body of a request that is worked on after the appends
    Py_ssize_t frame_size
    Message *answer                  # CALL_COLD: owned
    Watch *watches
    Call *next_ready                 # purgatory's list of calls to look at again
    bint in_ready
    int64_t deadline_ms              # timer: 0 when not set
    Call *timer_next
    Call **timer_link

ctypedef void (*PartWriter)(const Call *call, const CallPart *part, Output *output) noexcept nogil

cdef struct OutChunk:
    SegmentFile *file                # NULL: bytes of the queue; else one reference
    Partition *partition             # of a file: who is told of reads that fail; one reference, or NULL
    int fd
    int64_t position
    int64_t size

cdef struct OutQueue:
    Output bytes
    OutChunk *chunks
    int32_t count
    int32_t capacity
    int32_t head
    Py_ssize_t marked                # bytes that already belong to a chunk
    Py_ssize_t sent                  # bytes that have left

cdef struct MemoryPool:              # shared by all loops
    int64_t used                     # never above the limit: charged before memory is taken
    int64_t limit
    int64_t refused_ms               # when somebody was last refused (monotonic), 0: never

cdef struct BufferPool:              # of one loop: base buffers, last in first out
    uint8_t **buffers
    int32_t count
    int32_t capacity
    Call *free_calls
    int32_t free_call_count
    MemoryPool *memory

cdef struct Connection:
    int fd
    uint32_t slot
    uint32_t generation
    int32_t listener
    uint64_t handle
    bint closing                     # destroyed at the end of the turn
    bint watched                     # the control plane is told of its end
    bint muted                       # a cold request, a fetch or a pause is in flight: no further frame is cut
    bint ending                      # epoll told of the end of the stream: read on until recv says so too
    bint readable                    # an event, or a full last recv, says that the socket may hold more
    bint starved                     # the memory pool had nothing left for it; it tries again after a short wait
    bint in_turn                     # on the list of connections touched in this turn
    bint verified                    # the next Produce has been to the transaction coordinator already
    int16_t refusal                  # its error code for partitions that still have no permit
    bint queued                      # on the list of connections to look at in the next turn without an event
    bint deferred                    # on the list of connections to look at after a short wait: a shared resource was exhausted
    Connection *next_in_turn
    Connection *next_queued
    uint8_t *buffer
    Py_ssize_t capacity
    Py_ssize_t accounted             # bytes of the shared pool that this connection is charged with
    Py_ssize_t start
    Py_ssize_t end
    int64_t frame_started_ms         # 0 when no frame is half received
    int64_t active_ms
    Call *first_call
    Call *last_call
    int32_t call_count
    OutQueue *pending                # what the socket did not take yet
    uint32_t access_id
    ClientEntry *client              # quotas of the client id last named, one reference; NULL: none was looked up
    uint64_t address_hash            # of the peer's address, for connection limits

cdef bint buffer_pool_init(BufferPool *pool, MemoryPool *memory) noexcept nogil
cdef void buffer_pool_free(BufferPool *pool) noexcept nogil

cdef Call *call_new(BufferPool *pool, Connection *connection, CallKind kind, int16_t version, int32_t correlation_id) noexcept nogil
cdef void call_free(BufferPool *pool, Call *call) noexcept nogil
# Adds to an array of topics whose names stand in `names`; NULL without memory.
cdef CallTopic *add_topic(
    CallTopic **topics, int32_t *count, int32_t *capacity, Output *names, const uint8_t *name, int32_t name_size, const uint8_t *topic_id,
) noexcept nogil
cdef CallTopic *call_add_topic(Call *call, const uint8_t *name, int32_t name_size, const uint8_t *topic_id) noexcept nogil
cdef CallPart *call_add_part(Call *call, int32_t index) noexcept nogil
# Writes the topics of an answer in the order of the request: each by its id or by its name, its parts by `write_part`.
cdef void call_write_topics(const Call *call, bint by_id, PartWriter write_part, Output *output) noexcept nogil
cdef void connection_add_call(Connection *connection, Call *call) noexcept nogil
cdef Call *connection_take_call(Connection *connection) noexcept nogil

# One recv. OK: bytes arrived; BUSY: none, no room in the buffer, or no memory for one in the shared pool (the connection is then
# starved and its socket is not read); CLOSED: the peer is gone; OUT_OF_MEMORY.
cdef Status connection_receive(Connection *connection, BufferPool *pool, int64_t now_ms) noexcept nogil
# The next whole frame, without its length. TRUNCATED: not whole yet; LIMIT_EXCEEDED or MALFORMED: a length that is not accepted.
cdef Status connection_next_frame(Connection *connection, int32_t maximum_size, const uint8_t **frame, int32_t *size) noexcept nogil
# After the appends of the turn: gives the buffer back, keeps a partial frame, grows for a large one.
cdef void connection_end_turn(Connection *connection, BufferPool *pool, int64_t now_ms) noexcept nogil
# Gives a large empty buffer back (idle connections).
cdef void connection_shrink(Connection *connection, BufferPool *pool) noexcept nogil
# Frees buffers and answers; calls must have been taken before.
cdef void connection_free(Connection *connection, BufferPool *pool) noexcept nogil

cdef OutQueue *out_new() noexcept nogil
cdef void out_free(OutQueue *queue) noexcept nogil
# Drops everything in it, a failure of its bytes too.
cdef void out_reset(OutQueue *queue) noexcept nogil
cdef bint out_is_empty(const OutQueue *queue) noexcept nogil
# Appends a range of a file; its reference goes over to the queue. Small ranges are read into the bytes at once: STORAGE_ERROR when
# that fails, the queue is as before then. Reads that the disk fails are counted on the log of `partition` (NULL: not at all).
cdef Status out_add_file(OutQueue *queue, FileRange *range, Partition *partition) noexcept nogil
# Sends as much as the socket takes. OK: all left; BUSY: the socket is full; CLOSED: broken, or a file was shorter than promised.
cdef Status out_flush(OutQueue *queue, int fd, int64_t *sent) noexcept nogil
