"""Topics by name and by id, partitions by index: two open-addressing hash tables behind one reader-writer lock."""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memset

from pystream._native.hash cimport fnv1a_of
from pystream._native.partition cimport partition_release, topic_release
from pystream._native.posix cimport (
    PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP, pthread_rwlock_destroy, pthread_rwlock_init, pthread_rwlock_rdlock,
    pthread_rwlock_unlock, pthread_rwlock_wrlock, pthread_rwlockattr_destroy, pthread_rwlockattr_init, pthread_rwlockattr_setkind_np,
    pthread_rwlockattr_t,
)

cdef enum:
    FIRST_CAPACITY = 64
    MAXIMUM_PARTITIONS = 1 << 20


cdef bint table_init(PartitionTable *table) noexcept nogil:
    cdef pthread_rwlockattr_t attributes
    memset(table, 0, sizeof(PartitionTable))
    # Loops read-lock turn after turn: without this a writer could wait for ever.
    pthread_rwlockattr_init(&attributes)
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP)
    pthread_rwlock_init(&table.lock, &attributes)
    pthread_rwlockattr_destroy(&attributes)
    table.by_id.by_id = True
    table.by_name.slots = <Topic **>calloc(FIRST_CAPACITY, sizeof(void *))
    table.by_id.slots = <Topic **>calloc(FIRST_CAPACITY, sizeof(void *))
    table.by_name.capacity = FIRST_CAPACITY
    table.by_id.capacity = FIRST_CAPACITY
    return table.by_name.slots != NULL and table.by_id.slots != NULL


cdef void table_free(PartitionTable *table) noexcept nogil:
    cdef int32_t i
    cdef int32_t index
    cdef Topic *topic
    if table.by_name.slots != NULL:
        for i in range(table.by_name.capacity):
            topic = table.by_name.slots[i]
            if topic != NULL:
                for index in range(topic.partition_count):
                    if topic.partitions[index] != NULL:
                        partition_release(topic.partitions[index])
                topic_release(topic)
    free(table.by_name.slots)
    free(table.by_id.slots)
    pthread_rwlock_destroy(&table.lock)


cdef void table_read_lock(PartitionTable *table) noexcept nogil:
    pthread_rwlock_rdlock(&table.lock)


cdef void table_write_lock(PartitionTable *table) noexcept nogil:
    pthread_rwlock_wrlock(&table.lock)


cdef void table_unlock(PartitionTable *table) noexcept nogil:
    pthread_rwlock_unlock(&table.lock)


cdef inline uint32_t slot_of(const TopicSlots *slots, const Topic *topic) noexcept nogil:
    if slots.by_id:
        return <uint32_t>fnv1a_of(topic.id, 16, 0) & <uint32_t>(slots.capacity - 1)
    return <uint32_t>fnv1a_of(topic.name, topic.name_size, 0) & <uint32_t>(slots.capacity - 1)


cdef Topic *find_topic(const PartitionTable *table, const uint8_t *name, int32_t name_size) noexcept nogil:
    cdef uint32_t mask = <uint32_t>(table.by_name.capacity - 1)
    cdef uint32_t slot = <uint32_t>fnv1a_of(name, name_size, 0) & mask
    cdef Topic *topic = table.by_name.slots[slot]
    while topic != NULL:
        if topic.name_size == name_size and memcmp(topic.name, name, name_size) == 0:
            return topic
        slot = (slot + 1) & mask
        topic = table.by_name.slots[slot]
    return NULL


cdef Topic *find_topic_by_id(const PartitionTable *table, const uint8_t *topic_id) noexcept nogil:
    cdef uint32_t mask = <uint32_t>(table.by_id.capacity - 1)
    cdef uint32_t slot = <uint32_t>fnv1a_of(topic_id, 16, 0) & mask
    cdef Topic *topic = table.by_id.slots[slot]
    while topic != NULL:
        if memcmp(topic.id, topic_id, 16) == 0:
            return topic
        slot = (slot + 1) & mask
        topic = table.by_id.slots[slot]
    return NULL


cdef Partition *find_partition(const Topic *topic, int32_t index) noexcept nogil:
    if topic == NULL or index < 0 or index >= topic.partition_count:
        return NULL
    return topic.partitions[index]


cdef void place(TopicSlots *slots, Topic *topic) noexcept nogil:
    cdef uint32_t slot = slot_of(slots, topic)
    while slots.slots[slot] != NULL:
        slot = (slot + 1) & <uint32_t>(slots.capacity - 1)
    slots.slots[slot] = topic
    slots.used += 1


cdef bint make_room(TopicSlots *slots) noexcept nogil:
    """Doubles the slots when more than half are used."""
    cdef Topic **old = slots.slots
    cdef int32_t old_capacity = slots.capacity
    cdef Topic **grown
    cdef int32_t i
    if slots.used * 2 < slots.capacity:
        return True
    grown = <Topic **>calloc(old_capacity * 2, sizeof(void *))
    if grown == NULL:
        return False
    slots.slots = grown
    slots.capacity = old_capacity * 2
    slots.used = 0
    for i in range(old_capacity):
        if old[i] != NULL:
            place(slots, old[i])
    free(old)
    return True


cdef void take_out(TopicSlots *slots, Topic *topic) noexcept nogil:
    """Removes a topic and moves the ones behind it up, so that no probe meets a hole."""
    cdef uint32_t mask = <uint32_t>(slots.capacity - 1)
    cdef uint32_t hole = slot_of(slots, topic)
    cdef uint32_t slot
    cdef uint32_t home
    while slots.slots[hole] != topic:
        if slots.slots[hole] == NULL:
            return
        hole = (hole + 1) & mask
    slots.used -= 1
    slots.slots[hole] = NULL
    slot = (hole + 1) & mask
    while slots.slots[slot] != NULL:
        home = slot_of(slots, slots.slots[slot])
        # The hole lies between the entry's home and its slot (cyclically): the entry may move there.
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            slots.slots[hole] = slots.slots[slot]
            slots.slots[slot] = NULL
            hole = slot
        slot = (slot + 1) & mask


cdef bint table_add_topic(PartitionTable *table, Topic *topic) noexcept nogil:
    if find_topic(table, topic.name, topic.name_size) != NULL or find_topic_by_id(table, topic.id) != NULL:
        return False
    if not make_room(&table.by_name) or not make_room(&table.by_id):
        return False
    place(&table.by_name, topic)
    place(&table.by_id, topic)
    table.version += 1
    return True


cdef bint table_add_partition(PartitionTable *table, Topic *topic, Partition *partition) noexcept nogil:
    cdef Partition **grown
    cdef int32_t index = partition.index
    if index < 0 or index >= MAXIMUM_PARTITIONS or find_partition(topic, index) != NULL:
        return False
    if index >= topic.partition_count:
        grown = <Partition **>realloc(topic.partitions, (index + 1) * sizeof(void *))
        if grown == NULL:
            return False
        memset(grown + topic.partition_count, 0, (index + 1 - topic.partition_count) * sizeof(void *))
        topic.partitions = grown
        topic.partition_count = index + 1
    topic.partitions[index] = partition
    table.version += 1
    return True


cdef void table_exchange_partition(PartitionTable *table, Partition *partition) noexcept nogil:
    partition.topic.partitions[partition.index] = partition
    table.version += 1


cdef Partition *table_remove_partition(PartitionTable *table, Topic *topic, int32_t index) noexcept nogil:
    cdef Partition *partition = find_partition(topic, index)
    cdef int32_t i
    if partition == NULL:
        return NULL
    topic.partitions[index] = NULL
    table.version += 1
    for i in range(topic.partition_count):
        if topic.partitions[i] != NULL:
            return partition
    take_out(&table.by_name, topic)
    take_out(&table.by_id, topic)
    topic_release(topic)
    return partition
