"""Fetch sets and incremental fetch sessions (KIP-227)."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from pystream._native.atomics cimport atomic_load32, atomic_load64
from pystream._native.buffer cimport make_room, output_clear, output_free, output_init
from pystream._native.connection cimport MAXIMUM_PARTS, add_topic
from pystream._native.hash cimport fnv1a_of
from pystream._native.local_log cimport segment_file_release
from pystream._native.partition_table cimport find_partition, find_topic, find_topic_by_id
from pystream._native.status cimport OK, OUT_OF_MEMORY

cdef enum:
    SESSION_BUCKETS = 256


cdef void fetch_set_init(FetchSet *set, bint by_id) noexcept nogil:
    memset(set, 0, sizeof(FetchSet))
    set.by_id = by_id
    set.resolved_version = -1
    output_init(&set.names, 0)
    output_init(&set.aborted, 0)


cdef void fetch_set_free(FetchSet *set) noexcept nogil:
    fetch_set_release_ranges(set)
    free(set.topics)
    free(set.parts)
    free(set.slots)
    output_free(&set.names)
    output_free(&set.aborted)
    fetch_set_init(set, set.by_id)


cdef void fetch_set_clear(FetchSet *set, bint by_id) noexcept nogil:
    fetch_set_release_ranges(set)
    set.topic_count = 0
    set.count = 0
    set.removed_count = 0
    set.by_id = by_id
    set.resolved_version = -1
    output_clear(&set.names)
    output_clear(&set.aborted)


cdef bint fetch_set_add_topic(FetchSet *set, const uint8_t *name, int32_t name_size, const uint8_t *topic_id) noexcept nogil:
    return add_topic(&set.topics, &set.topic_count, &set.topic_capacity, &set.names, name, name_size, topic_id) != NULL


cdef FetchPart *fetch_set_add_part(FetchSet *set, int32_t index) noexcept nogil:
    cdef FetchPart *part
    if set.count >= MAXIMUM_PARTS or not make_room(<void **>&set.parts, set.count, &set.capacity, sizeof(FetchPart)):
        return NULL
    part = &set.parts[set.count]
    memset(part, 0, sizeof(FetchPart))
    part.topic = set.topic_count - 1
    part.index = index
    part.current_leader_epoch = -1
    part.last_fetched_epoch = -1
    part.told_high_watermark = -1
    part.told_log_start_offset = -1
    part.diverging_epoch = -1
    set.count += 1
    return part


cdef void fetch_set_resolve(FetchSet *set, const PartitionTable *table) noexcept nogil:
    cdef FetchPart *part
    cdef const CallTopic *topic
    cdef int32_t i
    if set.resolved_version == table.version:
        return
    for i in range(set.count):
        part = &set.parts[i]
        topic = &set.topics[part.topic]
        if set.by_id:
            part.partition = find_partition(find_topic_by_id(table, topic.id), part.index)
        else:
            part.partition = find_partition(find_topic(table, set.names.data + topic.name_position, topic.name_size), part.index)
    set.resolved_version = table.version


cdef void fetch_set_release_ranges(FetchSet *set) noexcept nogil:
    cdef int32_t i
    for i in range(set.count):
        if set.parts[i].range.file != NULL:
            segment_file_release(set.parts[i].range.file)
            set.parts[i].range.file = NULL
        set.parts[i].range.size = 0


# ---- index over the parts of a session

cdef uint32_t hash_part(const FetchSet *set, const CallTopic *topic, int32_t index) noexcept nogil:
    if set.by_id:
        return <uint32_t>fnv1a_of(topic.id, 16, <uint32_t>index)
    return <uint32_t>fnv1a_of(set.names.data + topic.name_position, topic.name_size, <uint32_t>index)


cdef bint same_topic(const FetchSet *set, const CallTopic *topic, const FetchSet *other, const CallTopic *other_topic) noexcept nogil:
    if set.by_id:
        return memcmp(topic.id, other_topic.id, 16) == 0
    return topic.name_size == other_topic.name_size and memcmp(
        set.names.data + topic.name_position, other.names.data + other_topic.name_position, topic.name_size) == 0


cdef void index_part(FetchSet *set, int32_t number) noexcept nogil:
    cdef FetchPart *part = &set.parts[number]
    cdef uint32_t mask = <uint32_t>(set.slot_count - 1)
    cdef uint32_t slot = hash_part(set, &set.topics[part.topic], part.index) & mask
    while set.slots[slot] != 0:
        slot = (slot + 1) & mask
    set.slots[slot] = number + 1


cdef int32_t slots_for(int32_t parts) noexcept nogil:
    cdef int32_t needed = 16
    while needed < parts * 3:
        needed *= 2
    return needed


cdef bint rebuild_index(FetchSet *set) noexcept nogil:
    cdef int32_t needed = slots_for(set.count)
    cdef int32_t i
    cdef int32_t *slots
    slots = <int32_t *>calloc(needed, sizeof(int32_t))
    if slots == NULL:
        return False
    free(set.slots)
    set.slots = slots
    set.slot_count = needed
    for i in range(set.count):
        if not set.parts[i].removed:
            index_part(set, i)
    return True


cdef FetchPart *find_part(FetchSet *set, const FetchSet *other, const CallTopic *topic, int32_t index) noexcept nogil:
    cdef uint32_t mask = <uint32_t>(set.slot_count - 1)
    cdef uint32_t slot = hash_part(other, topic, index) & mask
    cdef FetchPart *part
    while set.slots[slot] != 0:
        part = &set.parts[set.slots[slot] - 1]
        if part.index == index and not part.removed and same_topic(set, &set.topics[part.topic], other, topic):
            return part
        slot = (slot + 1) & mask
    return NULL


cdef bint compact(FetchSet *set) noexcept nogil:
    """Rebuilds a set without its removed parts and without the names nobody uses any more."""
    cdef FetchSet kept
    cdef FetchPart *part
    cdef FetchPart *copy
    cdef CallTopic *topic
    cdef int32_t last_topic = -1
    cdef int32_t i
    fetch_set_release_ranges(set)
    fetch_set_init(&kept, set.by_id)
    for i in range(set.count):
        part = &set.parts[i]
        if part.removed:
            continue
        topic = &set.topics[part.topic]
        if part.topic != last_topic:
            if not fetch_set_add_topic(&kept, set.names.data + topic.name_position, topic.name_size, topic.id):
                fetch_set_free(&kept)
                return False
            last_topic = part.topic
        copy = fetch_set_add_part(&kept, part.index)
        if copy == NULL:
            fetch_set_free(&kept)
            return False
        copy[0] = part[0]
        copy.topic = kept.topic_count - 1
        copy.aborted_count = 0
    fetch_set_free(set)
    set[0] = kept
    return rebuild_index(set)


# ---- sessions

cdef bint session_cache_init(
    SessionCache *cache, int32_t limit, int64_t limit_bytes, int64_t eviction_ms, uint64_t seed,
) noexcept nogil:
    memset(cache, 0, sizeof(SessionCache))
    cache.limit = limit
    cache.limit_bytes = limit_bytes
    cache.eviction_ms = eviction_ms
    cache.random = seed | 1
    cache.bucket_count = SESSION_BUCKETS
    cache.buckets = <FetchSession **>calloc(SESSION_BUCKETS, sizeof(void *))
    return cache.buckets != NULL


cdef void session_cache_free(SessionCache *cache) noexcept nogil:
    cdef FetchSession *session
    cdef FetchSession *following
    cdef int32_t i
    if cache.buckets == NULL:
        return
    for i in range(cache.bucket_count):
        session = cache.buckets[i]
        while session != NULL:
            following = session.next
            session_release(session)
            session = following
    free(cache.buckets)


cdef FetchSession *find_session(SessionCache *cache, int32_t session_id) noexcept nogil:
    cdef FetchSession *session = cache.buckets[<uint32_t>session_id & <uint32_t>(cache.bucket_count - 1)]
    while session != NULL and session.id != session_id:
        session = session.next
    return session


cdef void session_release(FetchSession *session) noexcept nogil:
    session.references -= 1
    if session.references == 0:
        fetch_set_free(&session.set)
        free(session)


cdef void session_close(SessionCache *cache, FetchSession *session, LoopCounters *counters) noexcept nogil:
    cdef FetchSession **link = &cache.buckets[<uint32_t>session.id & <uint32_t>(cache.bucket_count - 1)]
    while link[0] != NULL and link[0] != session:
        link = &link[0].next
    if link[0] == NULL:
        return
    link[0] = session.next
    cache.count -= 1
    cache.bytes -= session.bytes
    counters.fetch_sessions -= 1
    session_release(session)


cdef bint evict_one(SessionCache *cache, const FetchSession *spared, LoopCounters *counters, int64_t now_ms) noexcept nogil:
    cdef FetchSession *oldest = NULL
    cdef FetchSession *session
    cdef int32_t i
    for i in range(cache.bucket_count):
        session = cache.buckets[i]
        while session != NULL:
            if session != spared and (oldest == NULL or session.used_ms < oldest.used_ms):
                oldest = session
            session = session.next
    if oldest == NULL or now_ms - oldest.used_ms < cache.eviction_ms:
        return False
    session_close(cache, oldest, counters)
    counters.fetch_sessions_evicted += 1
    return True


cdef int32_t new_session_id(SessionCache *cache) noexcept nogil:
    """A random positive id that is not in use (xorshift64; ids are no secret: they only tell sessions apart)."""
    cdef int32_t session_id = 0
    while session_id == 0 or find_session(cache, session_id) != NULL:
        cache.random ^= cache.random << 13
        cache.random ^= cache.random >> 7
        cache.random ^= cache.random << 17
        session_id = <int32_t>(cache.random >> 33) & 0x7FFFFFFF
    return session_id


cdef int64_t bytes_of(const FetchSet *set) noexcept nogil:
    return (
        set.capacity * <int64_t>sizeof(FetchPart) + set.topic_capacity * <int64_t>sizeof(CallTopic) + <int64_t>set.names.capacity
        + set.slot_count * <int64_t>sizeof(int32_t))


cdef bint session_weigh(SessionCache *cache, FetchSession *session, LoopCounters *counters, int64_t now_ms) noexcept nogil:
    cdef int64_t bytes = bytes_of(&session.set)
    cdef bint grown = bytes > session.bytes
    cache.bytes += bytes - session.bytes
    session.bytes = bytes
    while grown and cache.bytes > atomic_load64(&cache.limit_bytes):
        if not evict_one(cache, session, counters, now_ms):
            return False
    return True


cdef FetchSession *session_open(SessionCache *cache, FetchSet *set, LoopCounters *counters, int64_t now_ms) noexcept nogil:
    cdef FetchSession *session
    cdef uint32_t bucket
    cdef int32_t limit = atomic_load32(&cache.limit)
    cdef int64_t limit_bytes = atomic_load64(&cache.limit_bytes)
    cdef int64_t bytes = bytes_of(set) + slots_for(set.count) * <int64_t>sizeof(int32_t)
    if set.count == 0 or limit == 0 or bytes > limit_bytes:
        return NULL
    while cache.count >= limit or bytes > limit_bytes - cache.bytes:
        if not evict_one(cache, NULL, counters, now_ms):
            return NULL
    session = <FetchSession *>calloc(1, sizeof(FetchSession))
    if session == NULL:
        return NULL
    if not rebuild_index(set):
        free(session)
        return NULL
    session.references = 1
    session.id = new_session_id(cache)
    session.epoch = 1
    session.used_ms = now_ms
    session.set = set[0]
    fetch_set_init(set, set.by_id)
    bucket = <uint32_t>session.id & <uint32_t>(cache.bucket_count - 1)
    session.next = cache.buckets[bucket]
    cache.buckets[bucket] = session
    cache.count += 1
    session.bytes = bytes_of(&session.set)
    cache.bytes += session.bytes
    counters.fetch_sessions += 1
    return session


cdef Status add_or_update(FetchSet *set, const FetchSet *changes, const FetchPart *change, bint *topic_added) noexcept nogil:
    cdef const CallTopic *topic = &changes.topics[change.topic]
    cdef FetchPart *part = find_part(set, changes, topic, change.index)
    if part == NULL:
        if not topic_added[0]:
            if not fetch_set_add_topic(set, changes.names.data + topic.name_position, topic.name_size, topic.id):
                return OUT_OF_MEMORY
            topic_added[0] = True
        part = fetch_set_add_part(set, change.index)
        if part == NULL:
            return OUT_OF_MEMORY
        set.resolved_version = -1
        if set.count * 2 > set.slot_count:
            if not rebuild_index(set):
                return OUT_OF_MEMORY
        else:
            index_part(set, set.count - 1)
    part.fetch_offset = change.fetch_offset
    part.max_bytes = change.max_bytes
    part.current_leader_epoch = change.current_leader_epoch
    part.last_fetched_epoch = change.last_fetched_epoch
    return OK


cdef Status session_update(FetchSession *session, const FetchSet *changes, const FetchSet *forgotten) noexcept nogil:
    cdef FetchSet *set = &session.set
    cdef FetchPart *part
    cdef int32_t last_topic = -1
    cdef bint topic_added = False
    cdef Status status
    cdef int32_t i
    for i in range(changes.count):
        if changes.parts[i].topic != last_topic:
            last_topic = changes.parts[i].topic
            topic_added = False
        status = add_or_update(set, changes, &changes.parts[i], &topic_added)
        if status != OK:
            return status
    for i in range(forgotten.count):
        part = find_part(set, forgotten, &forgotten.topics[forgotten.parts[i].topic], forgotten.parts[i].index)
        if part != NULL:
            part.removed = True
            set.removed_count += 1
    if set.removed_count > 0 and not compact(set):
        return OUT_OF_MEMORY
    return OK
