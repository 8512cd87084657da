"""A partition as the event loops see it, and the inboxes through which threads tell a loop that it moved."""

from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from pystream._native.access cimport access_row_free, access_row_init
from pystream._native.atomics cimport (
    atomic_add32, atomic_bits, atomic_clear_bits, atomic_load64, atomic_raise64, atomic_set_bits, atomic_swap32,
)
from pystream._native.flusher cimport flusher_request
from pystream._native.local_log cimport (
    FLUSH_GROUP, FLUSH_WRITE, FlushPolicy, log_durable_offset, log_end_offset, log_first_undecided_offset, log_flush_policy,
    log_release, log_retain,
)
from pystream._native.posix cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, close, eventfd, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, write,
)
from pystream._native.status cimport FENCED_LEADER_EPOCH, NOT_LEADER, OK, UNKNOWN_LEADER_EPOCH, UNKNOWN_TOPIC_OR_PARTITION


cdef extern from * nogil:
    int lowest_bit "__builtin_ctzll"(unsigned long long bits)      # of bits that are not all 0


cdef bint is_internal(const uint8_t *name, int32_t size) noexcept nogil:
    """As common.model.INTERNAL_TOPICS has them."""
    return (
        (size == 18 and memcmp(name, b"__consumer_offsets", 18) == 0)
        or (size == 19 and memcmp(name, b"__transaction_state", 19) == 0)
        or (size == 19 and memcmp(name, b"__share_group_state", 19) == 0)
    )


cdef Topic *topic_new(const uint8_t *name, int32_t name_size, const uint8_t *topic_id) noexcept nogil:
    cdef Topic *topic
    if name_size < 1 or name_size > 249:
        return NULL
    topic = <Topic *>calloc(1, sizeof(Topic))
    if topic == NULL:
        return NULL
    topic.references = 1
    topic.internal = is_internal(name, name_size)
    topic.name_size = <int16_t>name_size
    memcpy(topic.name, name, name_size)
    memcpy(topic.id, topic_id, 16)
    access_row_init(&topic.access)
    return topic


cdef void topic_release(Topic *topic) noexcept nogil:
    if atomic_add32(&topic.references, -1) == 0:
        access_row_free(&topic.access)
        free(topic.partitions)
        free(topic)


cdef Partition *partition_new(
    Topic *topic, int32_t index, LogState *log, FlusherState *flusher, Inbox *inboxes,
) noexcept nogil:
    cdef Partition *partition = <Partition *>calloc(1, sizeof(Partition))
    if partition == NULL:
        return NULL
    partition.references = 1
    partition.index = index
    partition.topic = topic
    atomic_add32(&topic.references, 1)
    log_retain(log)
    partition.log = log
    partition.flusher = flusher
    partition.inboxes = inboxes
    partition.leader_id = -1
    partition.leader_epoch = -1
    partition.enough_replicas = True
    # What recovery left in the log is fsynced or survived the crash: all of it may be seen.
    partition.high_watermark = log_end_offset(log)
    return partition


cdef void partition_retain(Partition *partition) noexcept nogil:
    atomic_add32(&partition.references, 1)


cdef void partition_release(Partition *partition) noexcept nogil:
    if atomic_add32(&partition.references, -1) == 0:
        log_release(partition.log)
        topic_release(partition.topic)
        free(partition)


cdef void notify_loops(Partition *partition, uint64_t loops) noexcept nogil:
    cdef int32_t loop
    cdef uint64_t bit
    while loops != 0:
        loop = lowest_bit(loops)
        bit = <uint64_t>1 << loop
        loops &= ~bit
        if not atomic_set_bits(&partition.noticed_loops, bit) & bit:
            inbox_add_moved(&partition.inboxes[loop], partition, bit)


cdef bint policy_waits_for_disk(FlushPolicy policy) noexcept nogil:
    # FLUSH_WRITE too: another loop's append may have moved the end and not be synced yet.
    return policy == FLUSH_GROUP or policy == FLUSH_WRITE


cdef bint partition_publish(Partition *partition, int32_t own_loop, FlushPolicy policy) noexcept nogil:
    cdef int64_t visible
    cdef uint64_t waiting
    cdef uint64_t own_bit = 0
    if policy_waits_for_disk(policy):
        visible = log_durable_offset(partition.log)
    else:
        visible = log_end_offset(partition.log)
    atomic_raise64(&partition.high_watermark, visible)
    waiting = atomic_bits(&partition.waiting_loops)
    if waiting == 0:
        return False
    if own_loop != NO_LOOP:
        own_bit = <uint64_t>1 << own_loop
    notify_loops(partition, waiting & ~own_bit)
    return (waiting & own_bit) != 0


cdef void on_durable(void *context, LogState *log, Status status) noexcept nogil:
    cdef Partition *partition = <Partition *>context
    if status == OK:
        partition_publish(partition, NO_LOOP, log_flush_policy(log))
    else:
        partition_wake(partition)


cdef void partition_request_flush(Partition *partition) noexcept nogil:
    flusher_request(partition.flusher, partition.log, on_durable, partition)


cdef void partition_wake(Partition *partition) noexcept nogil:
    notify_loops(partition, atomic_bits(&partition.waiting_loops))


cdef int64_t partition_last_stable_offset(Partition *partition) noexcept nogil:
    # The watermark first: a transaction that begins below it has then told so already.
    cdef int64_t high_watermark = atomic_load64(&partition.high_watermark)
    cdef int64_t undecided = log_first_undecided_offset(partition.log)
    return undecided if undecided < high_watermark else high_watermark


cdef Status partition_check_leader(Partition *partition, int32_t current_leader_epoch) noexcept nogil:
    if partition.removed:
        return UNKNOWN_TOPIC_OR_PARTITION
    if current_leader_epoch >= 0:
        if current_leader_epoch < partition.leader_epoch:
            return FENCED_LEADER_EPOCH
        if current_leader_epoch > partition.leader_epoch:
            return UNKNOWN_LEADER_EPOCH
    return OK if partition.leader else NOT_LEADER


cdef bint inbox_init(Inbox *inbox) noexcept nogil:
    memset(inbox, 0, sizeof(Inbox))
    pthread_mutex_init(&inbox.mutex, NULL)
    inbox.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    return inbox.event_fd >= 0


cdef void inbox_free(Inbox *inbox) noexcept nogil:
    cdef Message *message = inbox.head
    cdef Message *following
    cdef int32_t i
    while message != NULL:
        following = message.next
        if message.kind == MESSAGE_CONNECTION:
            close(message.fd)
        free(message)
        message = following
    for i in range(inbox.moved_count):
        partition_release(inbox.moved[i])
    free(inbox.moved)
    if inbox.event_fd >= 0:
        close(inbox.event_fd)
    pthread_mutex_destroy(&inbox.mutex)


cdef void inbox_signal(Inbox *inbox) noexcept nogil:
    cdef uint64_t one = 1
    # A full counter (EAGAIN) means that the loop is signaled already: nothing to do about a failed write.
    if atomic_swap32(&inbox.signaled, 1) == 0:
        write(inbox.event_fd, &one, sizeof(one))


cdef Message *message_new(MessageKind kind, uint64_t handle, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef Message *message = <Message *>malloc(sizeof(Message) + size)
    if message == NULL:
        return NULL
    memset(message, 0, sizeof(Message))
    message.kind = kind
    message.handle = handle
    message.size = size
    message.data = <uint8_t *>message + sizeof(Message)
    if size > 0:
        memcpy(message.data, data, size)
    return message


cdef void inbox_post(Inbox *inbox, Message *message) noexcept nogil:
    pthread_mutex_lock(&inbox.mutex)
    if inbox.tail == NULL:
        inbox.head = message
    else:
        inbox.tail.next = message
    inbox.tail = message
    pthread_mutex_unlock(&inbox.mutex)
    inbox_signal(inbox)


cdef void inbox_add_moved(Inbox *inbox, Partition *partition, uint64_t bit) noexcept nogil:
    """Names a partition in the inbox; without memory for that the loop looks at all who wait."""
    cdef Partition **grown
    cdef int32_t capacity
    cdef bint added = True
    pthread_mutex_lock(&inbox.mutex)
    if inbox.moved_count == inbox.moved_capacity:
        capacity = inbox.moved_capacity * 2 if inbox.moved_capacity > 0 else 64
        grown = <Partition **>realloc(inbox.moved, capacity * sizeof(void *))
        if grown == NULL:
            added = False
        else:
            inbox.moved = grown
            inbox.moved_capacity = capacity
    if added:
        partition_retain(partition)
        inbox.moved[inbox.moved_count] = partition
        inbox.moved_count += 1
    else:
        inbox.look_at_all = True
        atomic_clear_bits(&partition.noticed_loops, bit)
    pthread_mutex_unlock(&inbox.mutex)
    inbox_signal(inbox)


cdef Message *inbox_take(
    Inbox *inbox, Partition ***moved, int32_t *moved_count, int32_t *moved_capacity, bint *look_at_all,
) noexcept nogil:
    cdef Message *messages
    cdef Partition **array = moved[0]
    cdef int32_t capacity = moved_capacity[0]
    pthread_mutex_lock(&inbox.mutex)
    messages = inbox.head
    inbox.head = NULL
    inbox.tail = NULL
    moved[0] = inbox.moved
    moved_count[0] = inbox.moved_count
    moved_capacity[0] = inbox.moved_capacity
    inbox.moved = array
    inbox.moved_capacity = capacity
    inbox.moved_count = 0
    look_at_all[0] = inbox.look_at_all
    inbox.look_at_all = False
    pthread_mutex_unlock(&inbox.mutex)
    return messages
