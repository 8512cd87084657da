"""Fetch 4-18: parse, evaluate against the logs, park or hand over to the answer."""

from libc.stdint cimport int8_t, int16_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pystream._native.access cimport MAY_READ, is_allowed
from pystream._native.atomics cimport atomic_load64
from pystream._native.buffer cimport (
    Output, cursor_over, expect_end, output_clear, read_int8, read_int32, read_int64, read_required_array_count, read_required_string,
    read_string, read_tag, read_tag_count, skip_tagged_fields, take,
)
from pystream._native.connection cimport CALL_PARKED, CALL_READY
from pystream._native.fetch_session cimport (
    FINAL_FETCH_EPOCH, FULL_FETCH_EPOCH, FetchPart, fetch_set_add_part, fetch_set_add_topic, fetch_set_clear, fetch_set_free,
    fetch_set_init, fetch_set_release_ranges, fetch_set_resolve, find_session, session_cache_free, session_cache_init, session_close,
    session_open, session_release, session_update, session_weigh,
)
from pystream._native.local_log cimport (
    ReadResult, log_collect_aborted, log_end_offset, log_end_offset_for_epoch, log_read, log_start_offset, segment_file_release,
)
from pystream._native.partition cimport Partition, partition_check_leader, partition_last_stable_offset
from pystream._native.purgatory cimport purgatory_forget, purgatory_set_timer, purgatory_watch
from pystream._native.status cimport (
    MALFORMED, OFFSET_OUT_OF_RANGE, OK, OUT_OF_MEMORY, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
)

cdef enum:
    FIRST_EPOCH_VERSION = 9
    FIRST_TOPIC_ID_VERSION = 13
    FIRST_REPLICA_STATE_VERSION = 15
    FIRST_REPLICA_DIRECTORY_VERSION = 17
    FIRST_HIGH_WATERMARK_VERSION = 18
    CLUSTER_ID_TAG = 0           # of the request
    REPLICA_STATE_TAG = 1
    REPLICA_DIRECTORY_TAG = 0    # of a partition
    HIGH_WATERMARK_TAG = 1
    MAXIMUM_POOLED_REQUESTS = 256
    LARGEST_KEPT_SET = 64
    # Error codes of sessions; they have no Status of their own.
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    FETCH_SESSION_TOPIC_ID_ERROR = 106


cdef bint fetch_context_init(
    FetchContext *context, int32_t session_limit, int64_t session_bytes, int64_t session_eviction_ms, int32_t maximum_bytes, int64_t seed,
) noexcept nogil:
    memset(context, 0, sizeof(FetchContext))
    context.maximum_bytes = maximum_bytes
    return session_cache_init(&context.sessions, session_limit, session_bytes, session_eviction_ms, seed)


cdef void fetch_context_free(FetchContext *context) noexcept nogil:
    cdef FetchRequest *request = context.free_requests
    cdef FetchRequest *following
    while request != NULL:
        following = request.next
        destroy_request(request)
        request = following
    session_cache_free(&context.sessions)


cdef void destroy_request(FetchRequest *request) noexcept nogil:
    fetch_set_free(&request.own)
    fetch_set_free(&request.forgotten)
    free(request)


cdef FetchRequest *request_new(FetchContext *context, bint by_id) noexcept nogil:
    cdef FetchRequest *request = context.free_requests
    if request != NULL:
        context.free_requests = request.next
        context.free_count -= 1
        fetch_set_clear(&request.own, by_id)
        fetch_set_clear(&request.forgotten, by_id)
    else:
        request = <FetchRequest *>calloc(1, sizeof(FetchRequest))
        if request == NULL:
            return NULL
        fetch_set_init(&request.own, by_id)
        fetch_set_init(&request.forgotten, by_id)
    request.next = NULL
    request.session = NULL
    request.replica_id = -1
    request.session_id = 0
    request.session_epoch = FINAL_FETCH_EPOCH
    request.rotation = 0
    request.incremental = False
    request.throttled = False
    request.status = OK
    request.gathered = 0
    return request


cdef void fetch_end(FetchContext *context, Call *call) noexcept nogil:
    cdef FetchRequest *request = <FetchRequest *>call.fetch
    if request == NULL:
        return
    call.fetch = NULL
    fetch_set_release_ranges(&request.own)
    if request.session != NULL:
        fetch_set_release_ranges(&request.session.set)
        session_release(request.session)
        request.session = NULL
    if (
        context.free_count >= MAXIMUM_POOLED_REQUESTS
        or request.own.capacity > LARGEST_KEPT_SET
        or request.forgotten.capacity > LARGEST_KEPT_SET
    ):
        destroy_request(request)
        return
    request.next = context.free_requests
    context.free_requests = request
    context.free_count += 1


# ---- request

cdef Status read_part_tags(const Call *call, Cursor *body) noexcept nogil:
    """Replica directory and high watermark are what followers tell: only their sizes are checked."""
    cdef const uint8_t *field
    cdef uint32_t count = 0
    cdef uint32_t size = 0
    cdef int64_t tag = -1
    cdef Status status = read_tag_count(body, &count)
    while status == OK and count > 0:
        status = read_tag(body, tag, &tag, &field, &size)
        if tag == REPLICA_DIRECTORY_TAG and call.version >= FIRST_REPLICA_DIRECTORY_VERSION and size != 16:
            status = MALFORMED
        if tag == HIGH_WATERMARK_TAG and call.version >= FIRST_HIGH_WATERMARK_VERSION and size != 8:
            status = MALFORMED
        count -= 1
    return status


cdef Status read_part(Call *call, FetchSet *set, Cursor *body) noexcept nogil:
    cdef int32_t index
    cdef int32_t current_leader_epoch = -1
    cdef int32_t last_fetched_epoch = -1
    cdef int32_t max_bytes
    cdef int64_t fetch_offset
    cdef int64_t ignored
    cdef FetchPart *part
    cdef Status status = read_int32(body, &index)
    if status == OK and call.version >= FIRST_EPOCH_VERSION:
        status = read_int32(body, &current_leader_epoch)
    if status == OK:
        status = read_int64(body, &fetch_offset)
    if status == OK and call.version >= FETCH_FIRST_FLEXIBLE:
        status = read_int32(body, &last_fetched_epoch)
    if status == OK and call.version >= FIRST_LOG_START_VERSION:
        status = read_int64(body, &ignored)
    if status == OK:
        status = read_int32(body, &max_bytes)
    if status == OK and call.flexible:
        status = read_part_tags(call, body)
    if status != OK:
        return status
    part = fetch_set_add_part(set, index)
    if part == NULL:
        return OUT_OF_MEMORY
    part.fetch_offset = fetch_offset
    part.current_leader_epoch = current_leader_epoch
    part.last_fetched_epoch = last_fetched_epoch
    part.max_bytes = max_bytes
    return OK


cdef Status read_topic_key(Call *call, FetchSet *set, Cursor *body) noexcept nogil:
    cdef const uint8_t *name = NULL
    cdef const uint8_t *topic_id = NULL
    cdef int32_t name_size = 0
    cdef Status status
    if call.version >= FIRST_TOPIC_ID_VERSION:
        status = take(body, 16, &topic_id)
    else:
        status = read_required_string(body, call.flexible, &name, &name_size)
    if status != OK:
        return status
    return OK if fetch_set_add_topic(set, name, name_size, topic_id) else OUT_OF_MEMORY


cdef Status read_topics(Call *call, FetchSet *set, Cursor *body, bint forgotten) noexcept nogil:
    """The topics asked for, or (forgotten) those that leave the session: the latter name bare partition numbers."""
    cdef int32_t topics
    cdef int32_t parts
    cdef int32_t index
    cdef int32_t _i
    cdef int32_t _k
    cdef Status status = read_required_array_count(body, call.flexible, 3 if call.flexible else 6, &topics)
    for _i in range(topics if status == OK else 0):
        status = read_topic_key(call, set, body)
        if status == OK:
            status = read_required_array_count(body, call.flexible, 4 if forgotten else 16, &parts)
        for _k in range(parts if status == OK else 0):
            if forgotten:
                status = read_int32(body, &index)
                if status == OK and fetch_set_add_part(set, index) == NULL:
                    status = OUT_OF_MEMORY
            else:
                status = read_part(call, set, body)
            if status != OK:
                return status
        if status == OK and call.flexible:
            status = skip_tagged_fields(body)
        if status != OK:
            return status
    return status


cdef Status read_tagged_field(const Call *call, FetchRequest *request, int64_t tag, Cursor *field) noexcept nogil:
    """A tagged field of the request: replica state tells followers from consumers; the cluster id is only checked to be one."""
    cdef const uint8_t *cluster_id
    cdef int32_t size
    cdef int64_t replica_epoch
    cdef Status status
    if tag == CLUSTER_ID_TAG:
        status = read_string(field, True, &cluster_id, &size)
    elif tag == REPLICA_STATE_TAG and call.version >= FIRST_REPLICA_STATE_VERSION:
        status = read_int32(field, &request.replica_id)
        if status == OK:
            status = read_int64(field, &replica_epoch)
        if status == OK:
            status = skip_tagged_fields(field)
    else:
        return OK
    return expect_end(field) if status == OK else status


cdef Status read_trailing_tags(const Call *call, FetchRequest *request, Cursor *body) noexcept nogil:
    cdef Cursor field
    cdef const uint8_t *data
    cdef uint32_t count = 0
    cdef uint32_t size = 0
    cdef int64_t tag = -1
    cdef Status status = read_tag_count(body, &count)
    while status == OK and count > 0:
        status = read_tag(body, tag, &tag, &data, &size)
        if status == OK:
            cursor_over(&field, data, size)
            status = read_tagged_field(call, request, tag, &field)
        count -= 1
    return status


cdef Status read_request(Call *call, FetchRequest *request, Cursor *body) noexcept nogil:
    cdef const uint8_t *rack
    cdef int32_t size
    cdef int8_t isolation_level
    cdef Status status = OK
    if call.version < FIRST_REPLICA_STATE_VERSION:
        status = read_int32(body, &request.replica_id)
    if status == OK:
        status = read_int32(body, &request.max_wait_ms)
    if status == OK:
        status = read_int32(body, &request.min_bytes)
    if status == OK:
        status = read_int32(body, &request.max_bytes)
    if status == OK:
        status = read_int8(body, &isolation_level)
        call.isolation_level = isolation_level
    if status == OK and call.version >= FIRST_SESSION_VERSION:
        status = read_int32(body, &request.session_id)
        if status == OK:
            status = read_int32(body, &request.session_epoch)
    if status == OK:
        status = read_topics(call, &request.own, body, False)
    if status == OK and call.version >= FIRST_SESSION_VERSION:
        status = read_topics(call, &request.forgotten, body, True)
    if status == OK and call.version >= FIRST_RACK_VERSION:
        status = read_required_string(body, call.flexible, &rack, &size)
    if status == OK and call.flexible:
        status = read_trailing_tags(call, request, body)
    return status


cdef int16_t enter_session(FetchContext *context, LoopCounters *counters, Call *call, FetchRequest *request, int64_t now_ms) noexcept nogil:
    """The session rules of KIP-227; a Kafka error code of the whole request."""
    cdef FetchSession *session
    if request.session_epoch == FULL_FETCH_EPOCH or request.session_epoch == FINAL_FETCH_EPOCH:
        if request.session_id != 0:
            session = find_session(&context.sessions, request.session_id)
            if session != NULL:
                session_close(&context.sessions, session, counters)
            request.session_id = 0
        if request.session_epoch == FULL_FETCH_EPOCH:
            request.session = session_open(&context.sessions, &request.own, counters, now_ms)
            if request.session != NULL:
                request.session.references += 1
                request.session_id = request.session.id
        return 0
    request.incremental = True
    session = find_session(&context.sessions, request.session_id)
    if session == NULL:
        return FETCH_SESSION_ID_NOT_FOUND
    if session.set.by_id != (call.version >= FIRST_TOPIC_ID_VERSION):
        return FETCH_SESSION_TOPIC_ID_ERROR
    if session.epoch != request.session_epoch:
        return INVALID_FETCH_SESSION_EPOCH
    if (
        session_update(session, &request.own, &request.forgotten) != OK
        or not session_weigh(&context.sessions, session, counters, now_ms)
    ):
        session_close(&context.sessions, session, counters)
        return FETCH_SESSION_ID_NOT_FOUND
    session.epoch = session.epoch + 1 if session.epoch < 0x7FFFFFFF else 1
    session.used_ms = now_ms
    session.references += 1
    request.session = session
    request.rotation = session.rotation
    if session.set.count == 0:
        # Nothing is left: the session ends, the answer is empty and carries no session id.
        session_close(&context.sessions, session, counters)
        request.session_id = 0
    return 0


cdef Status fetch_begin(FetchContext *context, LoopCounters *counters, Call *call, Cursor *body, int64_t now_ms) noexcept nogil:
    cdef FetchRequest *request = request_new(context, call.version >= FIRST_TOPIC_ID_VERSION)
    cdef Status status
    if request == NULL:
        return OUT_OF_MEMORY
    call.fetch = request
    call.flexible = call.version >= FETCH_FIRST_FLEXIBLE
    status = read_request(call, request, body)
    if status != OK:
        return status
    request.max_bytes = min(request.max_bytes, context.maximum_bytes)
    request.min_bytes = min(request.min_bytes, request.max_bytes)
    call.timeout_ms = max(request.max_wait_ms, 0)
    call.error_code = enter_session(context, counters, call, request, now_ms)
    return OK


cdef void fetch_bound(Call *call, int32_t most) noexcept nogil:
    cdef FetchRequest *request = <FetchRequest *>call.fetch
    request.max_bytes = min(request.max_bytes, most)
    request.min_bytes = min(request.min_bytes, most)


cdef void fetch_throttle(FetchContext *context, LoopCounters *counters, Call *call) noexcept nogil:
    cdef FetchRequest *request = <FetchRequest *>call.fetch
    request.throttled = True
    if not request.incremental and request.session != NULL:
        session_close(&context.sessions, request.session, counters)     # this call keeps its reference until fetch_end()
        request.session_id = 0


# ---- evaluation

cdef Status check_divergence(FetchPart *part, Partition *partition) noexcept nogil:
    """Tells a reader that came from a branch of the log which was cut off where the branches part.  Source: KIP-595, KIP-320."""
    cdef int32_t epoch
    cdef int64_t end_offset
    part.diverging_epoch = -1
    if part.last_fetched_epoch < 0:
        return OK
    if log_end_offset_for_epoch(partition.log, part.last_fetched_epoch, &epoch, &end_offset) != OK:
        return OK
    if epoch < part.last_fetched_epoch or end_offset < part.fetch_offset:
        part.diverging_epoch = epoch
        part.diverging_offset = end_offset
    return OK


cdef Status locate(Call *call, FetchPart *part, bint by_id) noexcept nogil:
    """Everything about a partition but its records: may it be read here, and up to where."""
    cdef Partition *partition = part.partition
    cdef Status status
    part.high_watermark = -1
    part.last_stable_offset = -1
    part.log_start_offset = -1
    part.diverging_epoch = -1
    if partition == NULL:
        return UNKNOWN_TOPIC_ID if by_id else UNKNOWN_TOPIC_OR_PARTITION
    if not is_allowed(&partition.topic.access, call.connection.access_id, MAY_READ):
        return TOPIC_AUTHORIZATION_FAILED
    status = partition_check_leader(partition, part.current_leader_epoch)
    if status != OK:
        return status
    part.high_watermark = atomic_load64(&partition.high_watermark)
    part.last_stable_offset = partition_last_stable_offset(partition)
    part.log_start_offset = log_start_offset(partition.log)
    status = check_divergence(part, partition)
    if status == OK and part.diverging_epoch < 0:
        if part.fetch_offset < part.log_start_offset or part.fetch_offset > log_end_offset(partition.log):
            return OFFSET_OUT_OF_RANGE
    return status


cdef void read_part_records(Call *call, FetchRequest *request, FetchPart *part, Output *aborted) noexcept nogil:
    cdef ReadResult result
    cdef int64_t limit = part.last_stable_offset if call.isolation_level == READ_COMMITTED else part.high_watermark
    cdef int64_t room = min(<int64_t>part.max_bytes, request.max_bytes - request.gathered)
    cdef bint at_least_one = request.gathered == 0
    if part.fetch_offset >= limit:
        return
    if room <= 0 and not at_least_one:
        request.available += part.max_bytes
        return
    part.status = log_read(part.partition.log, part.fetch_offset, limit, max(room, <int64_t>0), at_least_one, &result)
    if part.status != OK:
        return
    part.range = result.range
    request.gathered += result.range.size
    request.available += result.range.size
    if result.range.size > 0 and result.next_offset < limit:             # source: DelayedFetch.tryComplete
        request.available += max(part.max_bytes - result.range.size, <int64_t>0)
    if call.isolation_level == READ_COMMITTED and result.range.size > 0:
        # Now, not when the answer is encoded: the log may have let go of its segments by then.
        part.aborted_position = <int32_t>aborted.size
        part.aborted_count = log_collect_aborted(part.partition.log, part.fetch_offset, result.next_offset, aborted)
        if aborted.status != OK:
            part.status = aborted.status


cdef bint has_news(const FetchRequest *request, const FetchPart *part) noexcept nogil:
    """Whether an incremental answer must name the partition.  Source: FetchSession.CachedPartition.maybeUpdateResponseData."""
    return (
        not request.incremental
        or part.status != OK
        or part.range.size > 0
        or part.diverging_epoch >= 0
        or part.high_watermark != part.told_high_watermark
        or part.log_start_offset != part.told_log_start_offset
    )


cdef bint read_all(Call *call, FetchRequest *request, LoopCounters *counters) noexcept nogil:
    """One pass over the set; True when something besides bytes calls for an answer."""
    cdef FetchSet *set = set_of(request)
    cdef FetchPart *part
    cdef bint urgent = False
    cdef int32_t i
    request.gathered = 0
    request.available = 0
    output_clear(&set.aborted)
    for i in range(set.count):
        part = &set.parts[(request.rotation + i) % set.count]
        if part.range.file != NULL:          # another request of the same session has not sent its answer yet
            segment_file_release(part.range.file)
            part.range.file = NULL
        part.range.size = 0
        part.aborted_count = 0
        part.status = locate(call, part, set.by_id)
        if part.status == OK and part.diverging_epoch < 0:
            read_part_records(call, request, part, &set.aborted)
        if part.status != OK or part.diverging_epoch >= 0:
            urgent = True
        part.included = has_news(request, part)
    return urgent


cdef Status park(Purgatory *purgatory, LoopCounters *counters, Call *call, FetchRequest *request, int64_t now_ms) noexcept nogil:
    cdef FetchSet *set = set_of(request)
    cdef FetchPart *part
    cdef int64_t known
    cdef int32_t i
    cdef Status status
    for i in range(set.count):
        part = &set.parts[i]
        # Woken by what moves beyond what this evaluation has seen.
        known = max(part.fetch_offset, part.last_stable_offset if call.isolation_level == READ_COMMITTED else part.high_watermark)
        status = purgatory_watch(purgatory, call, i, part.partition, known + 1)
        if status != OK:
            return status
    if call.deadline_ms == 0:
        counters.fetch_parked += 1
        purgatory_set_timer(purgatory, call, now_ms + call.timeout_ms)
    call.state = CALL_PARKED
    return OK


cdef bint fetch_evaluate(
    const PartitionTable *table, Purgatory *purgatory, LoopCounters *counters, Call *call, int64_t now_ms,
) noexcept nogil:
    cdef FetchRequest *request = <FetchRequest *>call.fetch
    cdef FetchSet *set = set_of(request)
    cdef bint first_look = call.state != CALL_PARKED
    cdef bint expired = not first_look and call.deadline_ms == 0
    cdef int64_t deadline_ms = call.deadline_ms
    if call.error_code != 0:
        call.state = CALL_READY          # an error of the whole request: no partition is looked at
        return True
    fetch_set_resolve(set, table)
    if (
        read_all(call, request, counters)
        or request.available >= request.min_bytes
        or set.count == 0
        or call.timeout_ms == 0
        or expired
    ):
        purgatory_forget(purgatory, call)
        call.state = CALL_READY
        return True
    fetch_set_release_ranges(set)
    if not first_look:
        purgatory_forget(purgatory, call)
        purgatory_set_timer(purgatory, call, deadline_ms)
    if park(purgatory, counters, call, request, now_ms) != OK:
        purgatory_forget(purgatory, call)
        call.state = CALL_READY
        return True
    return False
