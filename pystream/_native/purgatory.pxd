# Parked calls of one event loop: who waits for which partition's high watermark, and a timer wheel for their deadlines.
#
# Threads: belongs to one loop; only Partition.waiting_loops is shared (atomic), so that publishers know whom to wake.
# Memory: a Watch belongs to its call; it holds a reference to its partition.

from libc.stdint cimport int32_t, int64_t, uint64_t
from pystream._native.connection cimport Call, Watch
from pystream._native.partition cimport Partition
from pystream._native.status cimport Status

cdef enum:
    WHEEL_SLOTS = 512                # one millisecond each; a later deadline goes round

cdef struct WatchList:
    WatchList *next                  # in its bucket
    Partition *partition
    Watch *head

cdef struct Purgatory:
    int32_t loop
    WatchList **buckets
    int32_t bucket_count
    int32_t list_count
    Watch *free_watches
    int32_t free_watch_count
    Call *ready                      # calls to look at again, in the order in which they were woken
    Call **ready_tail
    Call *wheel[WHEEL_SLOTS]
    uint64_t occupied[8]             # a bit per slot
    int64_t turned_to_ms
    int32_t timer_count
    int32_t parked_count

cdef bint purgatory_init(Purgatory *purgatory, int32_t loop, int64_t now_ms) noexcept nogil
cdef void purgatory_free(Purgatory *purgatory) noexcept nogil
# The call is looked at again when the partition's high watermark reaches `required_offset`, or the partition loses its leader;
# a produce also when the log fails.
cdef Status purgatory_watch(Purgatory *purgatory, Call *call, int32_t part, Partition *partition, int64_t required_offset) noexcept nogil
# Takes all watches and the timer of a call out.
cdef void purgatory_forget(Purgatory *purgatory, Call *call) noexcept nogil
# Puts the calls whose wait on this partition is over on the ready list.
cdef void purgatory_wake(Purgatory *purgatory, Partition *partition) noexcept nogil
cdef void purgatory_wake_all(Purgatory *purgatory) noexcept nogil
cdef void purgatory_mark_ready(Purgatory *purgatory, Call *call) noexcept nogil
cdef Call *purgatory_take_ready(Purgatory *purgatory) noexcept nogil
# Sets the deadline of a call (milliseconds, monotonic).
cdef void purgatory_set_timer(Purgatory *purgatory, Call *call, int64_t deadline_ms) noexcept nogil
# Marks every call ready whose deadline has passed.
cdef void purgatory_turn_to(Purgatory *purgatory, int64_t now_ms) noexcept nogil
# Milliseconds until the wheel wants to be turned, at most `maximum`.
cdef int32_t purgatory_next_timeout(Purgatory *purgatory, int64_t now_ms, int32_t maximum) noexcept nogil
