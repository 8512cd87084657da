# A partition as the event loops see it: leadership, high watermark, and who waits for it to move.
#
# Cross-thread state
#   leader, leader_id, leader_epoch, enough_replicas, removed   written under the partition table's write lock, read under its read lock
#   high_watermark                                              atomic, only rises
#   waiting_loops                                               atomic bit per event loop that has parked requests on this partition
#   Inbox                                                       its mutex; `signaled` is atomic
# Memory: Partition is reference-counted (the table holds one, every watch and every pending notice one);
# the last release frees it and lets its log go.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from pystream._native.access cimport AccessRow
from pystream._native.flusher cimport FlusherState
from pystream._native.local_log cimport FlushPolicy, LogState
from pystream._native.posix cimport pthread_mutex_t
from pystream._native.status cimport Status

cdef enum:
    MAXIMUM_LOOPS = 63
    CONTROL_INBOX = 63           # behind those of the loops
    NO_LOOP = -1

cdef enum MessageKind:
    MESSAGE_CONNECTION = 1       # a socket accepted for this loop
    MESSAGE_ANSWER = 2           # the control plane's answer to a cold request
    MESSAGE_NO_ANSWER = 3        # a cold request that has none
    MESSAGE_CLOSE = 4            # close the connection of `handle`
    MESSAGE_RESUME = 5           # the coordinator has been asked: look at the Produce again; data: int16 error code for what it refused
    MESSAGE_WATCH = 6            # tell the control plane when the connection of `handle` ends

cdef struct Message:
    Message *next
    MessageKind kind
    uint64_t handle
    int32_t fd
    int32_t listener
    int32_t throttle_ms          # of an answer: what follows on the connection waits so long
    Py_ssize_t size              # bytes that follow this struct
    uint8_t *data

# What other threads hand to an event loop: messages, and partitions whose high watermark moved.
cdef struct Inbox:
    pthread_mutex_t mutex
    int event_fd
    int32_t signaled
    Message *head
    Message *tail
    Partition **moved
    int32_t moved_count
    int32_t moved_capacity
    bint look_at_all             # a partition moved that there was no memory to name

cdef struct TopicCounters:       # relaxed atomics, read without a lock
    int64_t bytes_in
    int64_t bytes_out
    int64_t messages_in
    int64_t produce_requests
    int64_t fetch_requests
    int64_t failed_produce_requests
    int64_t failed_fetch_requests

cdef struct Topic:
    int32_t references
    int32_t partition_count      # slots in `partitions`; a slot may be NULL
    Partition **partitions       # owned
    uint8_t id[16]
    int16_t name_size
    uint8_t name[250]
    bint internal                # the cluster's own: clients do not write to it
    AccessRow access
    TopicCounters counters

cdef struct Partition:
    int32_t references
    int32_t index
    Topic *topic                 # one reference
    LogState *log                # one reference
    FlusherState *flusher        # kept alive by the data plane
    Inbox *inboxes               # by bit of `waiting_loops`: one per loop and the control plane's; owned by the data plane
    int32_t leader_id
    int32_t leader_epoch
    bint leader
    bint enough_replicas         # min.insync.replicas is met
    bint removed
    int64_t high_watermark
    uint64_t waiting_loops
    uint64_t noticed_loops       # loops whose inbox already names this partition

cdef Topic *topic_new(const uint8_t *name, int32_t name_size, const uint8_t *topic_id) noexcept nogil
cdef void topic_release(Topic *topic) noexcept nogil
cdef Partition *partition_new(
    Topic *topic, int32_t index, LogState *log, FlusherState *flusher, Inbox *inboxes,
) noexcept nogil
cdef void partition_retain(Partition *partition) noexcept nogil
cdef void partition_release(Partition *partition) noexcept nogil

cdef bint policy_waits_for_disk(FlushPolicy policy) noexcept nogil
# Publishes what the flush policy lets consumers see after an append or a flush. Wakes the loops that wait, except `own_loop`;
# returns True when own_loop itself has requests waiting for this partition.
cdef bint partition_publish(Partition *partition, int32_t own_loop, FlushPolicy policy) noexcept nogil
# After an append that is not durable yet: asks the flusher for the next round.
cdef void partition_request_flush(Partition *partition) noexcept nogil
# Wakes every waiting loop without moving the watermark (removal, lost leadership, failed log).
cdef void partition_wake(Partition *partition) noexcept nogil
cdef int64_t partition_last_stable_offset(Partition *partition) noexcept nogil
# OK when this broker leads it and `current_leader_epoch` (-1: not given) is ours.  Source: KIP-320.
cdef Status partition_check_leader(Partition *partition, int32_t current_leader_epoch) noexcept nogil

cdef bint inbox_init(Inbox *inbox) noexcept nogil
cdef void inbox_free(Inbox *inbox) noexcept nogil
cdef void inbox_signal(Inbox *inbox) noexcept nogil
cdef Message *message_new(MessageKind kind, uint64_t handle, const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef void inbox_post(Inbox *inbox, Message *message) noexcept nogil           # takes the message over
# Takes everything: the chain of messages, and the moved partitions into `moved` (swapped with the caller's array).
cdef Message *inbox_take(
    Inbox *inbox, Partition ***moved, int32_t *moved_count, int32_t *moved_capacity, bint *look_at_all,
) noexcept nogil
