"""What the control plane does to the partition table of a data plane (see the .pxd)."""

from libc.stdint cimport int32_t, uint8_t, uint64_t

from pystream._native.atomics cimport atomic_bits, atomic_load64
from pystream._native.flusher cimport flusher_forget
from pystream._native.local_log cimport FlushPolicy, log_append, log_end_offset, log_flush_policy
from pystream._native.partition cimport (
    CONTROL_INBOX, Topic, partition_check_leader, partition_new, partition_publish, partition_release, partition_request_flush,
    partition_retain, partition_wake, policy_waits_for_disk, topic_new, topic_release,
)
from pystream._native.partition_table cimport (
    find_partition, find_topic, table_add_partition, table_add_topic, table_exchange_partition, table_read_lock, table_remove_partition,
    table_unlock, table_write_lock,
)
from pystream._native.posix cimport wall_clock_ms
from pystream._native.status cimport OK


cdef void set_leader(Partition *partition, const Leadership *leadership) noexcept nogil:
    partition.leader = leadership.leader
    partition.leader_id = leadership.leader_id
    partition.leader_epoch = leadership.leader_epoch
    partition.enough_replicas = leadership.enough_replicas


cdef bint plane_install(
    Plane *plane, const uint8_t *name, int32_t size, const uint8_t *topic_id, int32_t index, LogState *log, FlusherState *flusher,
    const Leadership *leadership,
) noexcept nogil:
    cdef Topic *topic
    cdef Partition *added = NULL
    cdef bint placed = False
    table_write_lock(&plane.table)
    topic = find_topic(&plane.table, name, size)
    if topic == NULL:
        topic = topic_new(name, size, topic_id)
        if topic != NULL and not table_add_topic(&plane.table, topic):
            topic_release(topic)
            topic = NULL
    if topic != NULL:
        added = partition_new(topic, index, log, flusher, plane.inboxes)
    if added != NULL:
        set_leader(added, leadership)
        placed = table_add_partition(&plane.table, topic, added)
        if not placed:
            partition_release(added)
    table_unlock(&plane.table)
    return placed


cdef Partition *plane_uninstall(Plane *plane, const uint8_t *name, int32_t size, int32_t index) noexcept nogil:
    cdef Topic *topic
    cdef Partition *removed = NULL
    table_write_lock(&plane.table)
    topic = find_topic(&plane.table, name, size)
    if topic != NULL:
        removed = table_remove_partition(&plane.table, topic, index)
    if removed != NULL:
        removed.removed = True
        removed.leader = False
        partition_wake(removed)
    table_unlock(&plane.table)
    return removed


cdef Partition *plane_exchange(
    Plane *plane, const uint8_t *name, int32_t size, int32_t index, LogState *log, FlusherState *flusher,
) noexcept nogil:
    cdef Partition *before
    cdef Partition *after = NULL
    table_write_lock(&plane.table)
    before = find_partition(find_topic(&plane.table, name, size), index)
    if before != NULL:
        after = partition_new(before.topic, index, log, flusher, plane.inboxes)
    if after == NULL:
        table_unlock(&plane.table)
        return NULL
    after.leader = before.leader
    after.leader_id = before.leader_id
    after.leader_epoch = before.leader_epoch
    after.enough_replicas = before.enough_replicas
    # Who watches for the control plane goes on; the loops' calls look again, and find the new one.
    after.waiting_loops = atomic_bits(&before.waiting_loops) & (<uint64_t>1 << CONTROL_INBOX)
    table_exchange_partition(&plane.table, after)
    before.removed = True
    partition_wake(before)
    table_unlock(&plane.table)
    return before


cdef void plane_forget_partitions(PartitionTable *table) noexcept nogil:
    cdef Topic *topic
    cdef int32_t slot
    cdef int32_t index
    table_read_lock(table)
    for slot in range(table.by_name.capacity):
        topic = table.by_name.slots[slot]
        if topic == NULL:
            continue
        for index in range(topic.partition_count):
            if topic.partitions[index] != NULL:
                flusher_forget(topic.partitions[index].flusher, topic.partitions[index].log)
    table_unlock(table)


cdef Status plane_append(Plane *plane, Partition *partition, StagedBatch *staged, Py_ssize_t count) noexcept nogil:
    cdef FlushPolicy policy
    cdef Py_ssize_t number
    cdef Status status
    table_read_lock(&plane.table)
    status = partition_check_leader(partition, -1)
    if status == OK:
        status = log_append(partition.log, staged, count, partition.leader_epoch, wall_clock_ms())
    if status == OK:
        policy = log_flush_policy(partition.log)
        # The caller looks at the high watermark when this returns: its own inbox is not told.
        partition_publish(partition, CONTROL_INBOX, policy)
        if policy_waits_for_disk(policy) and atomic_load64(&partition.high_watermark) < log_end_offset(partition.log):
            partition_request_flush(partition)
        for number in range(count):
            if status == OK:
                status = staged[number].status
    table_unlock(&plane.table)
    return status


cdef void plane_set_leader(Plane *plane, Partition *partition, const Leadership *leadership) noexcept nogil:
    cdef Partition *replaced
    table_write_lock(&plane.table)
    if partition.removed:                                    # plane_exchange() was faster
        replaced = partition
        partition = find_partition(replaced.topic, replaced.index)
        if partition == NULL:
            partition = replaced
        else:
            partition_retain(partition)
            partition_release(replaced)
    set_leader(partition, leadership)
    table_unlock(&plane.table)
    partition_wake(partition)
    partition_release(partition)
