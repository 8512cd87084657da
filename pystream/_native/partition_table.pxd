# Which partitions this broker knows, by topic name and by topic id.
#
# Lock: event loops hold the read lock for a turn; the control plane takes the write lock to change the table. `version` rises with
# every change, so that fetch sessions can keep resolved pointers while it stands still.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from pystream._native.partition cimport Partition, Topic
from pystream._native.posix cimport pthread_rwlock_t

cdef struct TopicSlots:              # open addressing, linear probing; a power of two of slots
    Topic **slots
    int32_t capacity
    int32_t used                     # live topics
    bint by_id

cdef struct PartitionTable:
    pthread_rwlock_t lock
    int64_t version
    TopicSlots by_name
    TopicSlots by_id

cdef bint table_init(PartitionTable *table) noexcept nogil
cdef void table_free(PartitionTable *table) noexcept nogil
cdef void table_read_lock(PartitionTable *table) noexcept nogil
cdef void table_write_lock(PartitionTable *table) noexcept nogil
cdef void table_unlock(PartitionTable *table) noexcept nogil

# Under either lock; NULL when unknown.
cdef Topic *find_topic(const PartitionTable *table, const uint8_t *name, int32_t name_size) noexcept nogil
cdef Topic *find_topic_by_id(const PartitionTable *table, const uint8_t *topic_id) noexcept nogil
cdef Partition *find_partition(const Topic *topic, int32_t index) noexcept nogil          # topic may be NULL

# Under the write lock. Both take over the table's reference; False when out of memory or the place is taken.
cdef bint table_add_topic(PartitionTable *table, Topic *topic) noexcept nogil
cdef bint table_add_partition(PartitionTable *table, Topic *topic, Partition *partition) noexcept nogil
# Puts a partition of the same topic and index in the place of the one there; the caller has that one's reference then.
cdef void table_exchange_partition(PartitionTable *table, Partition *partition) noexcept nogil
# Takes the partition out and returns it with the table's reference; a topic without partitions leaves too.
cdef Partition *table_remove_partition(PartitionTable *table, Topic *topic, int32_t index) noexcept nogil
