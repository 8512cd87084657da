"""Parked calls of one event loop: watches on partitions, and a hashed timer wheel with millisecond slots.

Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", scheme 6; Kafka's DelayedOperationPurgatory for the idea.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from pystream._native.atomics cimport atomic_clear_bits, atomic_load64, atomic_set_bits
from pystream._native.connection cimport CALL_PRODUCE
from pystream._native.hash cimport pointer_hash
from pystream._native.local_log cimport log_is_offline
from pystream._native.partition cimport partition_last_stable_offset, partition_release, partition_retain
from pystream._native.status cimport OK, OUT_OF_MEMORY

cdef enum:
    FIRST_BUCKETS = 256
    MAXIMUM_POOLED_WATCHES = 8192
    READ_COMMITTED = 1

cdef extern from *:
    int __builtin_ctzll(unsigned long long value) noexcept nogil


cdef bint purgatory_init(Purgatory *purgatory, int32_t loop, int64_t now_ms) noexcept nogil:
    memset(purgatory, 0, sizeof(Purgatory))
    purgatory.loop = loop
    purgatory.turned_to_ms = now_ms
    purgatory.ready_tail = &purgatory.ready
    purgatory.bucket_count = FIRST_BUCKETS
    purgatory.buckets = <WatchList **>calloc(FIRST_BUCKETS, sizeof(void *))
    return purgatory.buckets != NULL


cdef void purgatory_free(Purgatory *purgatory) noexcept nogil:
    cdef Watch *watch = purgatory.free_watches
    cdef Watch *following
    while watch != NULL:
        following = watch.next_in_call
        free(watch)
        watch = following
    free(purgatory.buckets)


cdef inline uint32_t bucket_of(const Purgatory *purgatory, const Partition *partition) noexcept nogil:
    return pointer_hash(partition) & <uint32_t>(purgatory.bucket_count - 1)


cdef WatchList *find_list(const Purgatory *purgatory, const Partition *partition) noexcept nogil:
    cdef WatchList *found = purgatory.buckets[bucket_of(purgatory, partition)]
    while found != NULL and found.partition != partition:
        found = found.next
    return found


cdef void spread_buckets(Purgatory *purgatory) noexcept nogil:
    """Doubles the buckets; when memory is short the chains only get longer."""
    cdef WatchList **old = purgatory.buckets
    cdef int32_t old_count = purgatory.bucket_count
    cdef WatchList *entry
    cdef WatchList *following
    cdef uint32_t bucket
    cdef int32_t i
    cdef WatchList **grown = <WatchList **>calloc(old_count * 2, sizeof(void *))
    if grown == NULL:
        return
    purgatory.buckets = grown
    purgatory.bucket_count = old_count * 2
    for i in range(old_count):
        entry = old[i]
        while entry != NULL:
            following = entry.next
            bucket = bucket_of(purgatory, entry.partition)
            entry.next = grown[bucket]
            grown[bucket] = entry
            entry = following
    free(old)


cdef WatchList *list_for(Purgatory *purgatory, Partition *partition) noexcept nogil:
    cdef WatchList *entry = find_list(purgatory, partition)
    cdef uint32_t bucket
    if entry != NULL:
        return entry
    entry = <WatchList *>malloc(sizeof(WatchList))
    if entry == NULL:
        return NULL
    if purgatory.list_count >= purgatory.bucket_count:
        spread_buckets(purgatory)
    bucket = bucket_of(purgatory, partition)
    entry.partition = partition
    entry.head = NULL
    entry.next = purgatory.buckets[bucket]
    purgatory.buckets[bucket] = entry
    purgatory.list_count += 1
    return entry


cdef void drop_list_if_empty(Purgatory *purgatory, Partition *partition) noexcept nogil:
    cdef WatchList **link = &purgatory.buckets[bucket_of(purgatory, partition)]
    cdef WatchList *entry
    while link[0] != NULL and link[0].partition != partition:
        link = &link[0].next
    entry = link[0]
    if entry == NULL or entry.head != NULL:
        return
    link[0] = entry.next
    purgatory.list_count -= 1
    free(entry)
    atomic_clear_bits(&partition.waiting_loops, <uint64_t>1 << purgatory.loop)


cdef bint wait_is_over(const Watch *watch) noexcept nogil:
    cdef Partition *partition = watch.partition
    cdef int64_t visible
    if watch.call.isolation_level == READ_COMMITTED:
        visible = partition_last_stable_offset(partition)
    else:
        visible = atomic_load64(&partition.high_watermark)
    return (
        visible >= watch.required_offset
        or partition.removed
        or not partition.leader
        or (watch.call.kind == CALL_PRODUCE and log_is_offline(partition.log))
    )


cdef Status purgatory_watch(Purgatory *purgatory, Call *call, int32_t part, Partition *partition, int64_t required_offset) noexcept nogil:
    cdef WatchList *entry = list_for(purgatory, partition)
    cdef Watch *watch = purgatory.free_watches
    if entry == NULL:
        return OUT_OF_MEMORY
    if watch != NULL:
        purgatory.free_watches = watch.next_in_call
        purgatory.free_watch_count -= 1
    else:
        watch = <Watch *>malloc(sizeof(Watch))
        if watch == NULL:
            drop_list_if_empty(purgatory, partition)
            return OUT_OF_MEMORY
    partition_retain(partition)
    watch.partition = partition
    watch.call = call
    watch.part = part
    watch.required_offset = required_offset
    watch.next_in_partition = entry.head
    watch.link = &entry.head
    if entry.head != NULL:
        entry.head.link = &watch.next_in_partition
    entry.head = watch
    watch.next_in_call = call.watches
    if call.watches == NULL:
        purgatory.parked_count += 1
    call.watches = watch
    # The bit first, the watermark second: a publisher that does not see the bit has published before this look.
    atomic_set_bits(&partition.waiting_loops, <uint64_t>1 << purgatory.loop)
    if wait_is_over(watch):
        purgatory_mark_ready(purgatory, call)
    return OK


cdef void unlink_timer(Purgatory *purgatory, Call *call) noexcept nogil:
    cdef int32_t slot
    if call.timer_link == NULL:
        return
    slot = <int32_t>(call.deadline_ms & (WHEEL_SLOTS - 1))
    call.timer_link[0] = call.timer_next
    if call.timer_next != NULL:
        call.timer_next.timer_link = call.timer_link
    if purgatory.wheel[slot] == NULL:
        purgatory.occupied[slot >> 6] &= ~(<uint64_t>1 << (slot & 63))
    call.timer_link = NULL
    call.timer_next = NULL
    call.deadline_ms = 0
    purgatory.timer_count -= 1


cdef void unlink_ready(Purgatory *purgatory, Call *call) noexcept nogil:
    cdef Call **link = &purgatory.ready
    if not call.in_ready:
        return
    while link[0] != NULL and link[0] != call:
        link = &link[0].next_ready
    if link[0] == call:
        link[0] = call.next_ready
        if purgatory.ready_tail == &call.next_ready:
            purgatory.ready_tail = link
    call.in_ready = False
    call.next_ready = NULL


cdef void purgatory_forget(Purgatory *purgatory, Call *call) noexcept nogil:
    cdef Watch *watch = call.watches
    cdef Watch *following
    cdef Partition *partition
    unlink_timer(purgatory, call)
    unlink_ready(purgatory, call)
    if watch != NULL:
        purgatory.parked_count -= 1
    call.watches = NULL
    while watch != NULL:
        following = watch.next_in_call
        partition = watch.partition
        watch.link[0] = watch.next_in_partition
        if watch.next_in_partition != NULL:
            watch.next_in_partition.link = watch.link
        drop_list_if_empty(purgatory, partition)
        partition_release(partition)
        if purgatory.free_watch_count < MAXIMUM_POOLED_WATCHES:
            watch.next_in_call = purgatory.free_watches
            purgatory.free_watches = watch
            purgatory.free_watch_count += 1
        else:
            free(watch)
        watch = following


cdef void wake_list(Purgatory *purgatory, const WatchList *entry) noexcept nogil:
    cdef Watch *watch = entry.head
    while watch != NULL:
        if not watch.call.in_ready and wait_is_over(watch):
            purgatory_mark_ready(purgatory, watch.call)
        watch = watch.next_in_partition


cdef void purgatory_wake(Purgatory *purgatory, Partition *partition) noexcept nogil:
    cdef WatchList *entry = find_list(purgatory, partition)
    if entry != NULL:
        wake_list(purgatory, entry)


cdef void purgatory_wake_all(Purgatory *purgatory) noexcept nogil:
    cdef WatchList *entry
    cdef int32_t i
    for i in range(purgatory.bucket_count):
        entry = purgatory.buckets[i]
        while entry != NULL:
            wake_list(purgatory, entry)
            entry = entry.next


cdef void purgatory_mark_ready(Purgatory *purgatory, Call *call) noexcept nogil:
    if call.in_ready:
        return
    call.in_ready = True
    call.next_ready = NULL
    purgatory.ready_tail[0] = call
    purgatory.ready_tail = &call.next_ready


cdef Call *purgatory_take_ready(Purgatory *purgatory) noexcept nogil:
    cdef Call *call = purgatory.ready
    if call == NULL:
        return NULL
    purgatory.ready = call.next_ready
    if purgatory.ready == NULL:
        purgatory.ready_tail = &purgatory.ready
    call.next_ready = NULL
    call.in_ready = False
    return call


cdef void purgatory_set_timer(Purgatory *purgatory, Call *call, int64_t deadline_ms) noexcept nogil:
    cdef int32_t slot
    unlink_timer(purgatory, call)
    if deadline_ms <= purgatory.turned_to_ms:
        deadline_ms = purgatory.turned_to_ms + 1
    slot = <int32_t>(deadline_ms & (WHEEL_SLOTS - 1))
    call.deadline_ms = deadline_ms
    call.timer_next = purgatory.wheel[slot]
    call.timer_link = &purgatory.wheel[slot]
    if call.timer_next != NULL:
        call.timer_next.timer_link = &call.timer_next
    purgatory.wheel[slot] = call
    purgatory.occupied[slot >> 6] |= <uint64_t>1 << (slot & 63)
    purgatory.timer_count += 1


cdef void expire_slot(Purgatory *purgatory, int32_t slot, int64_t now_ms) noexcept nogil:
    cdef Call *call = purgatory.wheel[slot]
    cdef Call *following
    while call != NULL:
        following = call.timer_next
        if call.deadline_ms <= now_ms:
            unlink_timer(purgatory, call)
            purgatory_mark_ready(purgatory, call)
        call = following


cdef void purgatory_turn_to(Purgatory *purgatory, int64_t now_ms) noexcept nogil:
    cdef int64_t tick = purgatory.turned_to_ms + 1
    cdef int32_t slot
    if now_ms < tick:
        return
    if purgatory.timer_count > 0:
        if now_ms - tick >= WHEEL_SLOTS:
            tick = now_ms - WHEEL_SLOTS + 1
        while tick <= now_ms:
            slot = <int32_t>(tick & (WHEEL_SLOTS - 1))
            if purgatory.occupied[slot >> 6] & (<uint64_t>1 << (slot & 63)):
                expire_slot(purgatory, slot, now_ms)
            tick += 1
    purgatory.turned_to_ms = now_ms


cdef int32_t purgatory_next_timeout(Purgatory *purgatory, int64_t now_ms, int32_t maximum) noexcept nogil:
    cdef int64_t first = purgatory.turned_to_ms + 1
    cdef int32_t distance = 0
    cdef int32_t slot
    cdef uint64_t word
    if purgatory.timer_count == 0:
        return maximum
    while distance < WHEEL_SLOTS:
        slot = <int32_t>((first + distance) & (WHEEL_SLOTS - 1))
        word = purgatory.occupied[slot >> 6] >> (slot & 63)
        if word != 0:
            distance += __builtin_ctzll(word)
            break
        distance += 64 - (slot & 63)
    first += distance
    if first <= now_ms:
        return 0
    return <int32_t>min(first - now_ms, <int64_t>maximum)
