# What the control plane does to the partition table of a data plane: partitions come, go, get other leaders and logs, and are written to.
#
# Lock: every function takes the table's lock and gives it back, and is called without the GIL: a thread that waited for the lock with the
# GIL would stop the one that holds the lock and waits for the GIL, and every event loop with it.

from libc.stdint cimport int32_t, uint8_t
from pystream._native.flusher cimport FlusherState
from pystream._native.local_log cimport StagedBatch
from pystream._native.log_state cimport LogState
from pystream._native.loop_state cimport Plane
from pystream._native.partition cimport Partition
from pystream._native.partition_table cimport PartitionTable
from pystream._native.status cimport Status

cdef struct Leadership:
    bint leader
    bint enough_replicas
    int32_t leader_id
    int32_t leader_epoch

# False when the partition is there already, or its topic's name or id cannot be taken.
cdef bint plane_install(
    Plane *plane, const uint8_t *name, int32_t size, const uint8_t *topic_id, int32_t index, LogState *log, FlusherState *flusher,
    const Leadership *leadership,
) noexcept nogil
# The partition with the table's reference, or NULL.
cdef Partition *plane_uninstall(Plane *plane, const uint8_t *name, int32_t size, int32_t index) noexcept nogil
# Puts a partition with another log in the place of one, and gives that one with the table's reference; NULL: it is not there.
cdef Partition *plane_exchange(
    Plane *plane, const uint8_t *name, int32_t size, int32_t index, LogState *log, FlusherState *flusher,
) noexcept nogil
# Takes the caller's reference over, and wakes who waits for the partition.
cdef void plane_set_leader(Plane *plane, Partition *partition, const Leadership *leadership) noexcept nogil
# No flusher calls back any more: the partitions and inboxes that it would call go with the data plane.
cdef void plane_forget_partitions(PartitionTable *table) noexcept nogil
# Under the read lock, as a turn of an event loop: whoever takes the partition out waits for the append.
cdef Status plane_append(Plane *plane, Partition *partition, StagedBatch *staged, Py_ssize_t count) noexcept nogil
