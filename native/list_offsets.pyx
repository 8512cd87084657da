"""ListOffsets 1-11: offsets by time, and the special times -1 to -6."""

from libc.stdint cimport int8_t, int16_t, int32_t, uint8_t

from pystream._native.access cimport MAY_DESCRIBE, is_allowed
from pystream._native.atomics cimport atomic_load64
from pystream._native.buffer cimport (
    patch_int32, read_int8, read_int32, read_int64, read_required_array_count, read_required_string, skip_tagged_fields,
    write_int16, write_int32, write_int64, write_unsigned_varint,
)
from pystream._native.connection cimport CALL_READY, CallPart, call_add_part, call_add_topic, call_write_topics
from pystream._native.local_log cimport (
    TimestampOffset, log_epoch_of_offset, log_offset_for_timestamp, log_offset_of_max_timestamp, log_start_offset,
)
from pystream._native.partition cimport Partition, Topic, partition_check_leader, partition_last_stable_offset
from pystream._native.partition_table cimport find_partition, find_topic
from pystream._native.status cimport (
    OK, OUT_OF_MEMORY, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION, UNSUPPORTED_VERSION, kafka_error_code,
)

cdef enum:
    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    EARLIEST_LOCAL = -4
    LATEST_TIERED = -5
    EARLIEST_PENDING_UPLOAD = -6
    FIRST_ISOLATION_VERSION = 2
    FIRST_THROTTLE_VERSION = 2
    FIRST_EPOCH_VERSION = 4
    FIRST_MAX_TIMESTAMP_VERSION = 7
    FIRST_EARLIEST_LOCAL_VERSION = 8
    FIRST_LATEST_TIERED_VERSION = 9
    FIRST_TIMEOUT_VERSION = 10
    FIRST_PENDING_UPLOAD_VERSION = 11
    READ_COMMITTED = 1


cdef bint is_known_time(int16_t version, int64_t timestamp_ms) noexcept nogil:
    if timestamp_ms >= EARLIEST:
        return True
    if timestamp_ms == MAX_TIMESTAMP:
        return version >= FIRST_MAX_TIMESTAMP_VERSION
    if timestamp_ms == EARLIEST_LOCAL:
        return version >= FIRST_EARLIEST_LOCAL_VERSION
    if timestamp_ms == LATEST_TIERED:
        return version >= FIRST_LATEST_TIERED_VERSION
    return timestamp_ms == EARLIEST_PENDING_UPLOAD and version >= FIRST_PENDING_UPLOAD_VERSION


cdef void answer_offset(CallPart *part, Partition *partition, int64_t offset) noexcept nogil:
    part.offset = offset
    part.timestamp_ms = -1
    part.leader_epoch = partition.leader_epoch


cdef Status answer_time(CallPart *part, Partition *partition, int64_t limit) noexcept nogil:
    cdef TimestampOffset found
    cdef Status status
    if part.timestamp_ms == MAX_TIMESTAMP:
        status = log_offset_of_max_timestamp(partition.log, limit, &found)
    else:
        status = log_offset_for_timestamp(partition.log, part.timestamp_ms, limit, &found)
    part.leader_epoch = -1
    part.timestamp_ms = -1
    if status == OK and found.offset >= 0:
        part.offset = found.offset
        part.timestamp_ms = found.timestamp_ms
        part.leader_epoch = found.leader_epoch
    return status


cdef Status look_up(Topic *topic, const Call *call, CallPart *part) noexcept nogil:
    cdef Partition *partition = find_partition(topic, part.index)
    cdef int64_t limit
    cdef int64_t asked = part.timestamp_ms
    cdef Status status
    if topic != NULL and not is_allowed(&topic.access, call.connection.access_id, MAY_DESCRIBE):
        return TOPIC_AUTHORIZATION_FAILED
    if partition == NULL:
        return UNKNOWN_TOPIC_OR_PARTITION
    status = partition_check_leader(partition, part.leader_epoch)
    if status != OK:
        return status
    if not is_known_time(call.version, asked):
        return UNSUPPORTED_VERSION
    if call.isolation_level == READ_COMMITTED:
        limit = partition_last_stable_offset(partition)
    else:
        limit = atomic_load64(&partition.high_watermark)
    if asked == LATEST:
        answer_offset(part, partition, limit)
    elif asked == EARLIEST or asked == EARLIEST_LOCAL:
        answer_offset(part, partition, log_start_offset(partition.log))
        part.leader_epoch = log_epoch_of_offset(partition.log, part.offset)
    elif asked == LATEST_TIERED or asked == EARLIEST_PENDING_UPLOAD:
        answer_offset(part, partition, -1)       # nothing is tiered
        part.leader_epoch = -1
    else:
        return answer_time(part, partition, limit)
    return OK


cdef Status read_topic(const PartitionTable *table, Call *call, Cursor *body) noexcept nogil:
    cdef const uint8_t *name
    cdef int32_t name_size
    cdef int32_t count
    cdef int32_t index
    cdef int32_t current_leader_epoch = -1
    cdef int64_t timestamp_ms
    cdef int32_t _i
    cdef CallPart *part
    cdef Topic *topic
    cdef Status status = read_required_string(body, call.flexible, &name, &name_size)
    if status != OK:
        return status
    topic = find_topic(table, name, name_size)
    if call_add_topic(call, name, name_size, NULL) == NULL:
        return OUT_OF_MEMORY
    status = read_required_array_count(body, call.flexible, 12, &count)
    for _i in range(count if status == OK else 0):
        status = read_int32(body, &index)
        if status == OK and call.version >= FIRST_EPOCH_VERSION:
            status = read_int32(body, &current_leader_epoch)
        if status == OK:
            status = read_int64(body, &timestamp_ms)
        if status == OK and call.flexible:
            status = skip_tagged_fields(body)
        if status != OK:
            return status
        part = call_add_part(call, index)
        if part == NULL:
            return OUT_OF_MEMORY
        part.leader_epoch = current_leader_epoch
        part.timestamp_ms = timestamp_ms
        part.status = look_up(topic, call, part)
    if status == OK and call.flexible:
        status = skip_tagged_fields(body)
    return status


cdef Status list_offsets_answer(const PartitionTable *table, Call *call, Cursor *body) noexcept nogil:
    cdef int32_t replica_id
    cdef int32_t count
    cdef int32_t _i
    cdef int8_t isolation_level = 0
    cdef Status status = read_int32(body, &replica_id)
    call.flexible = call.version >= LIST_OFFSETS_FIRST_FLEXIBLE
    if status == OK and call.version >= FIRST_ISOLATION_VERSION:
        status = read_int8(body, &isolation_level)
    call.isolation_level = isolation_level
    if status == OK:
        status = read_required_array_count(body, call.flexible, 3 if call.flexible else 6, &count)
    for _i in range(count if status == OK else 0):
        status = read_topic(table, call, body)
        if status != OK:
            return status
    if status == OK and call.version >= FIRST_TIMEOUT_VERSION:
        status = read_int32(body, &call.timeout_ms)
    if status == OK and call.flexible:
        status = skip_tagged_fields(body)
    if status == OK:
        call.state = CALL_READY
    return status


cdef void encode_part(const Call *call, const CallPart *part, Output *output) noexcept nogil:
    cdef bint failed = part.status != OK
    write_int32(output, part.index)
    write_int16(output, kafka_error_code(part.status))
    write_int64(output, -1 if failed else part.timestamp_ms)
    write_int64(output, -1 if failed else part.offset)
    if call.version >= FIRST_EPOCH_VERSION:
        write_int32(output, -1 if failed else part.leader_epoch)
    if call.flexible:
        write_unsigned_varint(output, 0)


cdef void list_offsets_encode(const Call *call, Output *output) noexcept nogil:
    cdef Py_ssize_t start = output.size
    write_int32(output, 0)
    write_int32(output, call.correlation_id)
    if call.flexible:
        write_unsigned_varint(output, 0)
    if call.version >= FIRST_THROTTLE_VERSION:
        write_int32(output, call.throttle_ms)
    call_write_topics(call, False, encode_part, output)
    if call.flexible:
        write_unsigned_varint(output, 0)
    patch_int32(output, start, <int32_t>(output.size - start - 4))
