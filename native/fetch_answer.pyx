"""The answer to a Fetch: bytes and file ranges of what the evaluation found (see fetch.pxd)."""

from libc.stdint cimport int32_t, int64_t, uint32_t

from pystream._native.atomics cimport atomic_count64
from pystream._native.buffer cimport (
    Output, patch_int32, write_array_count, write_int16, write_int32, write_int64, write_raw, write_string, write_unsigned_varint,
)
from pystream._native.connection cimport CallTopic, out_add_file
from pystream._native.fetch cimport (
    FIRST_LOG_START_VERSION, FIRST_RACK_VERSION, FIRST_SESSION_VERSION, READ_COMMITTED, FetchRequest, set_of,
)
from pystream._native.fetch_session cimport FetchPart, FetchSet, fetch_set_resolve
from pystream._native.status cimport NOT_LEADER, OK, STORAGE_ERROR, kafka_error_code

cdef enum:
    ABORTED_SIZE = 16            # producer id and first offset


cdef void encode_tags(const Call *call, const FetchPart *part, Output *output) noexcept nogil:
    """Tagged fields of a partition: 0 diverging epoch, 1 current leader; neither is written at its default."""
    cdef bint leader_hint = part.status == NOT_LEADER and part.partition != NULL
    cdef bint diverging = part.diverging_epoch >= 0
    if not call.flexible:
        return
    write_unsigned_varint(output, <uint32_t>diverging + <uint32_t>leader_hint)
    if diverging:
        write_unsigned_varint(output, 0)
        write_unsigned_varint(output, 13)
        write_int32(output, part.diverging_epoch)
        write_int64(output, part.diverging_offset)
        write_unsigned_varint(output, 0)
    if leader_hint:
        write_unsigned_varint(output, 1)
        write_unsigned_varint(output, 9)
        write_int32(output, part.partition.leader_id)
        write_int32(output, part.partition.leader_epoch)
        write_unsigned_varint(output, 0)


cdef void encode_aborted(const Call *call, const FetchPart *part, const Output *aborted, Output *output) noexcept nogil:
    """Aborted transactions: null unless read_committed asked for them."""
    cdef int32_t i
    if call.isolation_level != READ_COMMITTED or part.status != OK:
        write_array_count(output, call.flexible, -1)
        return
    write_array_count(output, call.flexible, part.aborted_count)
    for i in range(part.aborted_count):
        write_raw(output, aborted.data + part.aborted_position + i * ABORTED_SIZE, ABORTED_SIZE)
        if call.flexible:
            write_unsigned_varint(output, 0)


cdef Status encode_found(
    const Call *call, FetchPart *part, const Output *aborted, OutQueue *queue, int64_t *file_bytes,
) noexcept nogil:
    cdef Output *output = &queue.bytes
    cdef int32_t size = <int32_t>part.range.size if part.range.file != NULL else 0
    cdef Py_ssize_t before
    cdef Status status
    write_int32(output, part.index)
    write_int16(output, kafka_error_code(part.status))
    write_int64(output, part.high_watermark)
    write_int64(output, part.last_stable_offset)
    if call.version >= FIRST_LOG_START_VERSION:
        write_int64(output, part.log_start_offset)
    encode_aborted(call, part, aborted, output)
    if call.version >= FIRST_RACK_VERSION:
        write_int32(output, -1)          # preferred read replica: none
    if call.flexible:
        write_unsigned_varint(output, <uint32_t>size + 1)
    else:
        write_int32(output, size)
    if part.range.file != NULL:
        before = output.size
        status = out_add_file(queue, &part.range, part.partition)
        if status != OK:
            return status
        file_bytes[0] += size - (output.size - before)
        if part.partition != NULL:
            atomic_count64(&part.partition.topic.counters.bytes_out, size)
    encode_tags(call, part, output)
    return OK


cdef Status encode_part(
    const Call *call, FetchPart *part, const Output *aborted, OutQueue *queue, int64_t *file_bytes,
) noexcept nogil:
    """A small range that cannot be read fails its partition alone: nothing of the answer has left yet."""
    cdef Py_ssize_t start = queue.bytes.size
    cdef Status status = encode_found(call, part, aborted, queue, file_bytes)
    if status != STORAGE_ERROR:
        return status
    queue.bytes.size = start
    part.status = STORAGE_ERROR
    part.high_watermark = part.last_stable_offset = part.log_start_offset = -1
    return encode_found(call, part, aborted, queue, file_bytes)


cdef int32_t run_of_topic(const FetchSet *set, const FetchRequest *request, int32_t first, int32_t *included) noexcept nogil:
    """Number of parts from `first` on (in answer order) that belong to one topic, and how many of them are in the answer."""
    cdef int32_t i = first
    cdef int32_t topic = set.parts[(request.rotation + first) % set.count].topic
    cdef const FetchPart *part
    included[0] = 0
    while i < set.count:
        part = &set.parts[(request.rotation + i) % set.count]
        if part.topic != topic:
            break
        included[0] += part.included
        i += 1
    return i - first


cdef int32_t count_topics(const FetchSet *set, const FetchRequest *request) noexcept nogil:
    cdef int32_t i = 0
    cdef int32_t topics = 0
    cdef int32_t included
    while i < set.count:
        i += run_of_topic(set, request, i, &included)
        topics += included > 0
    return topics


cdef void count_part(FetchPart *part, LoopCounters *counters) noexcept nogil:
    """Remembers what the client has been told, and counts."""
    part.told_high_watermark = part.high_watermark if part.status == OK else -1
    part.told_log_start_offset = part.log_start_offset
    if part.partition != NULL:
        atomic_count64(&part.partition.topic.counters.fetch_requests, 1)
        if part.status != OK:
            atomic_count64(&part.partition.topic.counters.failed_fetch_requests, 1)
    if part.status != OK:
        counters.fetch_partitions_failed += 1


cdef Status encode_topics(
    const Call *call, FetchRequest *request, OutQueue *queue, LoopCounters *counters, int64_t *file_bytes,
) noexcept nogil:
    cdef FetchSet *set = set_of(request)
    cdef CallTopic *topic
    cdef FetchPart *part
    cdef int32_t i = 0
    cdef int32_t k
    cdef int32_t run
    cdef int32_t included
    cdef Status status
    write_array_count(&queue.bytes, call.flexible, count_topics(set, request))
    while i < set.count:
        run = run_of_topic(set, request, i, &included)
        if included > 0:
            topic = &set.topics[set.parts[(request.rotation + i) % set.count].topic]
            if set.by_id:
                write_raw(&queue.bytes, topic.id, 16)
            else:
                write_string(&queue.bytes, call.flexible, set.names.data + topic.name_position, topic.name_size)
            write_array_count(&queue.bytes, call.flexible, included)
        for k in range(i, i + run):
            part = &set.parts[(request.rotation + k) % set.count]
            if part.included:
                status = encode_part(call, part, &set.aborted, queue, file_bytes)
                if status != OK:
                    return status
                count_part(part, counters)
        if included > 0 and call.flexible:
            write_unsigned_varint(&queue.bytes, 0)
        i += run
    return OK


cdef Status fetch_encode(const PartitionTable *table, Call *call, OutQueue *queue, LoopCounters *counters) noexcept nogil:
    cdef FetchRequest *request = <FetchRequest *>call.fetch
    cdef Output *output = &queue.bytes
    cdef Py_ssize_t start = output.size
    cdef int64_t file_bytes = 0
    cdef Status status = OK
    write_int32(output, 0)
    write_int32(output, call.correlation_id)
    if call.flexible:
        write_unsigned_varint(output, 0)
    write_int32(output, call.throttle_ms)
    if call.version >= FIRST_SESSION_VERSION:
        write_int16(output, call.error_code)
        write_int32(output, 0 if call.error_code != 0 else request.session_id)
    if call.error_code != 0 or request.throttled:
        write_array_count(output, call.flexible, 0)
    else:
        # It may have waited behind an open Produce: what was deleted meanwhile must not be touched.
        fetch_set_resolve(set_of(request), table)
        status = encode_topics(call, request, queue, counters, &file_bytes)
    if call.flexible:
        write_unsigned_varint(output, 0)
    if request.session != NULL and request.session.set.count > 0 and not request.throttled:
        request.session.rotation = (request.session.rotation + 1) % request.session.set.count
    patch_int32(output, start, <int32_t>(output.size - start - 4 + file_bytes))
    return status if output.status == OK else output.status
