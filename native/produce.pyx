"""Produce 3-13: parse, validate and stage during a turn; one append per dirty partition at its end."""

from libc.stdint cimport INT64_MAX, INT64_MIN, uint8_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset, strlen

from pystream._native.access cimport MAY_WRITE, is_allowed
from pystream._native.atomics cimport atomic_count64, atomic_load64
from pystream._native.batch cimport (
    BatchHeader, CODEC_MASK, CONTROL_FLAG, LOG_APPEND_TIME_FLAG, NO_PRODUCER_ID, NO_TIMESTAMP, TRANSACTIONAL_FLAG, parse_batch_header,
    stamp_create_time, validate_batch,
)
from pystream._native.buffer cimport (
    output_clear, output_free, output_init, patch_int32, read_bytes, read_int16, read_int32, read_required_array_count,
    read_required_string, read_string, skip_tagged_fields, take, write_array_count, write_int8, write_int16, write_int32, write_int64,
    write_raw, write_string, write_unsigned_varint,
)
from pystream._native.compression cimport codec_buffer, release_buffer
from pystream._native.connection cimport (
    CALL_PARKED, CALL_READY, CALL_SILENT, CallPart, Watch, call_add_part, call_add_topic, call_write_topics,
)
from pystream._native.hash cimport pointer_hash
from pystream._native.local_log cimport (
    AS_SENT, FlushPolicy, log_append, log_codec, log_end_offset, log_flush_policy, log_is_offline, log_max_message_bytes,
    log_may_write_transaction, log_requires_keys, log_segment_bytes, log_stamps_append_time, log_start_offset, log_timestamp_bounds,
)
from pystream._native.partition cimport Topic, partition_check_leader, partition_publish, partition_request_flush, policy_waits_for_disk
from pystream._native.partition_table cimport find_partition, find_topic, find_topic_by_id
from pystream._native.purgatory cimport purgatory_forget, purgatory_set_timer, purgatory_wake, purgatory_watch
from pystream._native.record_builder cimport free_recoder, recode_batch
from pystream._native.record_reader cimport (
    RecordCursor, RecordView, close_batch, init_record_cursor, next_record, open_batch,
)
from pystream._native.record_reader cimport check_records as check_each_record
from pystream._native.status cimport (
    BATCH_TOO_LARGE, DUPLICATE_SEQUENCE, INVALID_RECORD, INVALID_REQUIRED_ACKS, INVALID_TIMESTAMP, INVALID_TOPIC, INVALID_TXN_STATE,
    LOG_OFFLINE, NOT_ENOUGH_REPLICAS, NOT_LEADER, OK, OUT_OF_MEMORY, REQUEST_TIMED_OUT, TOPIC_AUTHORIZATION_FAILED,
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, UNSUPPORTED_COMPRESSION, UNSUPPORTED_MAGIC,
    UNVERIFIED_TRANSACTION, kafka_error_code,
)

cdef enum:
    FIRST_TOPIC_ID_VERSION = 13
    FIRST_LEADER_HINT_VERSION = 10
    FIRST_RECORD_ERRORS_VERSION = 8
    FIRST_ZSTD_VERSION = 7
    FIRST_LOG_START_VERSION = 5
    ZSTD_CODEC = 4
    FIRST_IMPLICIT_VERSION = 12       # writing to a partition adds it to the transaction (KIP-890)
    LARGEST_KEPT_STAGE = 1024
    MOST_RECORD_ERRORS = 10000        # in one answer: a few compressed bytes can stand for millions of records
    RECORD_LIST_TOO_LARGE = 18        # Kafka's error code; it has no Status of its own


cdef const char *KEYLESS_MESSAGE = b"Compacted topic cannot accept message without key."
cdef const char *TIMESTAMP_MESSAGE = b"Timestamp of message is out of range."
cdef const char *REJECTED_MESSAGE = b"One or more records have been rejected"


cdef bint produce_stage_init(ProduceStage *stage) noexcept nogil:
    memset(stage, 0, sizeof(ProduceStage))
    stage.slot_count = 64
    output_init(&stage.asked, 0)
    output_init(&stage.question, 0)
    stage.slots = <int32_t *>calloc(stage.slot_count, sizeof(int32_t))
    return stage.slots != NULL


cdef void produce_stage_free(ProduceStage *stage) noexcept nogil:
    cdef int32_t i
    for i in range(stage.capacity):
        free(stage.dirty[i].batches)
        free(stage.dirty[i].origins)
    for i in range(stage.recoded_count):
        release_buffer(&stage.recoded[i])
    free(stage.recoded)
    output_free(&stage.asked)
    output_free(&stage.question)
    free_recoder(&stage.recoder)
    free(stage.dirty)
    free(stage.slots)


# ---- staging

cdef inline uint32_t slot_of(const ProduceStage *stage, const Partition *partition) noexcept nogil:
    return pointer_hash(partition) & <uint32_t>(stage.slot_count - 1)


cdef void place(ProduceStage *stage, const Partition *partition, int32_t index) noexcept nogil:
    cdef uint32_t slot = slot_of(stage, partition)
    while stage.slots[slot] != 0:
        slot = (slot + 1) & <uint32_t>(stage.slot_count - 1)
    stage.slots[slot] = index + 1


cdef bint make_room(ProduceStage *stage) noexcept nogil:
    cdef DirtyPartition *dirty
    cdef int32_t *slots
    cdef int32_t capacity
    cdef int32_t i
    if stage.count == stage.capacity:
        capacity = stage.capacity * 2 if stage.capacity > 0 else 16
        dirty = <DirtyPartition *>realloc(stage.dirty, capacity * sizeof(DirtyPartition))
        if dirty == NULL:
            return False
        memset(dirty + stage.capacity, 0, (capacity - stage.capacity) * sizeof(DirtyPartition))
        stage.dirty = dirty
        stage.capacity = capacity
    if stage.count * 2 >= stage.slot_count:
        slots = <int32_t *>calloc(stage.slot_count * 2, sizeof(int32_t))
        if slots == NULL:
            return False
        free(stage.slots)
        stage.slots = slots
        stage.slot_count *= 2
        for i in range(stage.count):
            place(stage, stage.dirty[i].partition, i)
    return True


cdef DirtyPartition *dirty_for(ProduceStage *stage, Partition *partition) noexcept nogil:
    cdef DirtyPartition *dirty
    cdef uint32_t slot = slot_of(stage, partition)
    while stage.slots[slot] != 0:
        dirty = &stage.dirty[stage.slots[slot] - 1]
        if dirty.partition == partition:
            return dirty
        slot = (slot + 1) & <uint32_t>(stage.slot_count - 1)
    if not make_room(stage):
        return NULL
    dirty = &stage.dirty[stage.count]
    dirty.partition = partition
    dirty.count = 0
    dirty.bytes = 0
    dirty.messages = 0
    place(stage, partition, stage.count)
    stage.count += 1
    return dirty


cdef StagedBatch *stage_batch(ProduceStage *stage, Partition *partition, Call *call, int32_t part) noexcept nogil:
    cdef DirtyPartition *dirty = dirty_for(stage, partition)
    cdef StagedBatch *batches
    cdef StagedOrigin *origins
    cdef int32_t capacity
    if dirty == NULL:
        return NULL
    if dirty.count == dirty.capacity:
        capacity = dirty.capacity * 2 if dirty.capacity > 0 else 4
        batches = <StagedBatch *>realloc(dirty.batches, capacity * sizeof(StagedBatch))
        if batches == NULL:
            return NULL
        dirty.batches = batches
        origins = <StagedOrigin *>realloc(dirty.origins, capacity * sizeof(StagedOrigin))
        if origins == NULL:
            return NULL
        dirty.origins = origins
        dirty.capacity = capacity
    dirty.origins[dirty.count].call = call
    dirty.origins[dirty.count].part = part
    dirty.count += 1
    return &dirty.batches[dirty.count - 1]


# ---- request

cdef bint note_refused(
    ProduceStage *stage, Call *call, CallPart *part, const uint8_t *records, int32_t size, bint keyless, int64_t lowest,
    int64_t highest,
) noexcept nogil:
    """Puts the indexes of records without a key, or with a timestamp out of bounds, behind the call's names; False when there is none.

    They become the answer's record errors (KIP-467), as far as there is room for them.
    """
    cdef RecordCursor cursor
    cdef RecordView record
    cdef int32_t index = 0
    cdef bint found = False
    init_record_cursor(&cursor)
    part.errors_position = <int32_t>call.names.size
    if open_batch(&cursor, records, size, 0) == OK:
        while next_record(&cursor, &record) == OK:
            if (keyless and record.key == NULL) or (
                record.timestamp != NO_TIMESTAMP and (record.timestamp < lowest or record.timestamp > highest)
            ):
                found = True
                if stage.errors_left == 0:
                    break
                stage.errors_left -= 1
                write_raw(&call.names, <const uint8_t *>&index, sizeof(index))
                part.errors_count += 1
            index += 1
    close_batch(&cursor)
    if call.names.status != OK:
        part.errors_count = 0
    return found


cdef Status check_segment(Partition *partition, CallPart *part, int64_t size) noexcept nogil:
    """Whether a batch that is stored with so many bytes fits into a segment.  Source: UnifiedLog.append."""
    if size <= log_segment_bytes(partition.log):
        return OK
    part.error_code = RECORD_LIST_TOO_LARGE
    return BATCH_TOO_LARGE


cdef Status recode(ProduceStage *stage, Partition *partition, CallPart *part, StagedBatch *staged) noexcept nogil:
    """Puts the batch into its topic's codec, where that is another: the new bytes live until the end of the turn."""
    cdef int32_t level
    cdef int codec = log_codec(partition.log, &level)
    cdef int32_t capacity
    cdef codec_buffer *grown
    cdef Status status
    if codec == AS_SENT or codec == staged.header.attributes & CODEC_MASK:
        return check_segment(partition, part, staged.header.size)
    status = recode_batch(&stage.recoder, staged.data, &staged.header, codec, level, 0)
    if status != OK:
        return status
    if stage.recoder.batch.size > <size_t>log_max_message_bytes(partition.log):
        return BATCH_TOO_LARGE
    status = check_segment(partition, part, <int64_t>stage.recoder.batch.size)
    if status != OK:
        return status
    if stage.recoded_count == stage.recoded_capacity:
        capacity = stage.recoded_capacity * 2 if stage.recoded_capacity > 0 else 4
        grown = <codec_buffer *>realloc(stage.recoded, capacity * sizeof(codec_buffer))
        if grown == NULL:
            return OUT_OF_MEMORY
        stage.recoded = grown
        stage.recoded_capacity = capacity
    stage.recoded[stage.recoded_count] = stage.recoder.batch
    stage.recoded_count += 1
    staged.data = stage.recoder.batch.data
    status = parse_batch_header(staged.data, stage.recoder.batch.size, &staged.header)
    memset(&stage.recoder.batch, 0, sizeof(codec_buffer))
    return status


cdef Status check_content(
    ProduceStage *stage, Partition *partition, Call *call, CallPart *part, uint8_t *records, BatchHeader *header,
) noexcept nogil:
    """Record by record.  A compressed batch passes unopened, unless a rule of its topic needs more than its header.

    A header whose highest timestamp is not that of the records is put right, as LogValidator does: who looks for a time goes by it.
    """
    cdef int32_t level
    cdef int codec = log_codec(partition.log, &level)
    cdef bint require_keys = log_requires_keys(partition.log)
    cdef bint forged_time = header.attributes & LOG_APPEND_TIME_FLAG != 0
    cdef int64_t lowest
    cdef int64_t highest
    cdef int64_t newest
    log_timestamp_bounds(partition.log, stage.wall_clock_ms, &lowest, &highest)
    if forged_time:
        if log_stamps_append_time(partition.log):
            return INVALID_TIMESTAMP                         # that is for the broker to say
        stamp_create_time(records, header, header.max_timestamp)
    if (
        header.attributes & CODEC_MASK != 0 and not require_keys and not forged_time and lowest == INT64_MIN
        and header.max_timestamp <= highest and (codec == AS_SENT or codec == header.attributes & CODEC_MASK)
    ):
        return OK
    if check_each_record(records, header.size, 0, require_keys, NULL, NULL, &newest) != OK:
        if require_keys:
            note_refused(stage, call, part, records, header.size, True, INT64_MIN, INT64_MAX)
        return INVALID_RECORD
    if lowest != INT64_MIN or newest > highest:
        if note_refused(stage, call, part, records, header.size, False, lowest, highest):
            return INVALID_TIMESTAMP
    if newest != header.max_timestamp and not log_stamps_append_time(partition.log):
        stamp_create_time(records, header, newest)
    return OK


cdef Status check_records(
    ProduceStage *stage, Partition *partition, Call *call, CallPart *part, uint8_t *records, int32_t size, StagedBatch *staged,
) noexcept nogil:
    """Exactly one v2 batch that keeps the rules of its topic.  Source: ProduceRequest.validateRecords, LogValidator."""
    cdef Status status
    if records == NULL or size <= 0:
        return INVALID_RECORD
    status = validate_batch(records, size, log_max_message_bytes(partition.log), &staged.header)
    if status == UNSUPPORTED_MAGIC:
        return INVALID_RECORD
    if status != OK:
        return status
    if staged.header.size != size or staged.header.attributes & CONTROL_FLAG:
        return INVALID_RECORD
    if staged.header.producer_id != NO_PRODUCER_ID and staged.header.base_sequence < 0:
        return INVALID_RECORD
    if staged.header.attributes & CODEC_MASK == ZSTD_CODEC and call.version < FIRST_ZSTD_VERSION:
        return UNSUPPORTED_COMPRESSION
    return check_content(stage, partition, call, part, records, &staged.header)


cdef Status check_transaction(
    ProduceStage *stage, Partition *partition, Call *call, CallPart *part, const BatchHeader *header,
) noexcept nogil:
    """Whether the producer's transaction is known to hold the partition; if not, the coordinator is asked, once.  Source: KIP-890."""
    if stage.transactional_id == NULL:
        return TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    if log_may_write_transaction(partition.log, header.producer_id, header.producer_epoch):
        return OK
    if call.connection.verified:
        part.error_code = call.connection.refusal
        return INVALID_TXN_STATE
    write_string(&stage.asked, True, stage.transactional_id, stage.transactional_id_size)
    write_int64(&stage.asked, header.producer_id)
    write_int16(&stage.asked, header.producer_epoch)
    write_int8(&stage.asked, call.version < FIRST_IMPLICIT_VERSION)
    write_array_count(&stage.asked, True, 1)
    write_string(&stage.asked, True, partition.topic.name, partition.topic.name_size)
    write_array_count(&stage.asked, True, 1)
    write_int32(&stage.asked, partition.index)
    write_unsigned_varint(&stage.asked, 0)
    write_unsigned_varint(&stage.asked, 0)
    stage.asked_count += 1
    return UNVERIFIED_TRANSACTION


cdef Status stage_part(ProduceStage *stage, Topic *topic, Call *call, CallPart *part, const uint8_t *records, int32_t size) noexcept nogil:
    """Stages one partition's batch. The status is the part's: its neighbours go on."""
    cdef Partition *partition = find_partition(topic, part.index)
    cdef StagedBatch batch
    cdef StagedBatch *staged
    cdef Status status
    if call.acks < -1 or call.acks > 1:
        return INVALID_REQUIRED_ACKS
    if partition == NULL:
        return UNKNOWN_TOPIC_ID if call.version >= FIRST_TOPIC_ID_VERSION and topic == NULL else UNKNOWN_TOPIC_OR_PARTITION
    if not is_allowed(&topic.access, call.connection.access_id, MAY_WRITE):
        return TOPIC_AUTHORIZATION_FAILED
    if topic.internal and not call.from_admin:
        return INVALID_TOPIC
    status = partition_check_leader(partition, -1)
    if status != OK:
        part.leader_id = partition.leader_id
        part.leader_epoch = partition.leader_epoch
        return status
    if call.acks == -1 and not partition.enough_replicas:
        return NOT_ENOUGH_REPLICAS
    status = check_records(stage, partition, call, part, <uint8_t *>records, size, &batch)
    if status != OK:
        return status
    if batch.header.attributes & TRANSACTIONAL_FLAG:
        status = check_transaction(stage, partition, call, part, &batch.header)
        if status != OK:
            return status
    batch.data = <uint8_t *>records
    status = recode(stage, partition, part, &batch)
    if status != OK:
        return status
    staged = stage_batch(stage, partition, call, call.part_count - 1)
    if staged == NULL:
        return OUT_OF_MEMORY
    staged.header = batch.header
    staged.data = batch.data
    staged.from_client = True
    staged.transaction_version = 0
    staged.status = OK
    staged.base_offset = -1
    staged.append_time_ms = NO_TIMESTAMP
    call.waiting += 1
    return OK


cdef Status read_partitions(ProduceStage *stage, Topic *topic, Call *call, Cursor *body) noexcept nogil:
    cdef const uint8_t *records
    cdef int32_t count
    cdef int32_t index
    cdef int32_t size
    cdef int32_t _i
    cdef CallPart *part
    cdef Status status = read_required_array_count(body, call.flexible, 6 if call.flexible else 8, &count)
    if status != OK:
        return status
    for _i in range(count):
        status = read_int32(body, &index)
        if status == OK:
            status = read_bytes(body, call.flexible, &records, &size)
        if status == OK and call.flexible:
            status = skip_tagged_fields(body)
        if status != OK:
            return status
        part = call_add_part(call, index)
        if part == NULL:
            return OUT_OF_MEMORY
        part.status = stage_part(stage, topic, call, part, records, size)
    return OK


cdef Status read_topic(ProduceStage *stage, const PartitionTable *table, Call *call, Cursor *body) noexcept nogil:
    cdef const uint8_t *name = NULL
    cdef const uint8_t *topic_id = NULL
    cdef int32_t name_size = 0
    cdef Topic *topic
    cdef Status status
    if call.version >= FIRST_TOPIC_ID_VERSION:
        status = take(body, 16, &topic_id)
        if status != OK:
            return status
        topic = find_topic_by_id(table, topic_id)
    else:
        status = read_required_string(body, call.flexible, &name, &name_size)
        if status != OK:
            return status
        topic = find_topic(table, name, name_size)
    if call_add_topic(call, name, name_size, topic_id) == NULL:
        return OUT_OF_MEMORY
    status = read_partitions(stage, topic, call, body)
    if status == OK and call.flexible:
        status = skip_tagged_fields(body)
    return status


cdef void unstage(ProduceStage *stage, const Call *call) noexcept nogil:
    """A frame that turns out malformed further on leaves nothing behind: its batches are the last ones staged."""
    cdef DirtyPartition *dirty
    cdef int32_t i
    for i in range(stage.count):
        dirty = &stage.dirty[i]
        while dirty.count > 0 and dirty.origins[dirty.count - 1].call == call:
            dirty.count -= 1


cdef Status read_topics(ProduceStage *stage, const PartitionTable *table, Call *call, Cursor *body) noexcept nogil:
    cdef int32_t count
    cdef int32_t _i
    cdef int32_t smallest = 18 if call.version >= FIRST_TOPIC_ID_VERSION else (3 if call.flexible else 6)
    cdef Status status = read_required_array_count(body, call.flexible, smallest, &count)
    if status != OK:
        return status
    for _i in range(count):
        status = read_topic(stage, table, call, body)
        if status != OK:
            return status
    # What stands behind the body is passed over, as Kafka does: librdkafka 2.16 leaves surplus bytes in some requests.
    return skip_tagged_fields(body) if call.flexible else OK


cdef Status write_question(ProduceStage *stage, const Call *call) noexcept nogil:
    """An AddPartitionsToTxnRequest v5 behind the version of the Produce that waits for it."""
    output_clear(&stage.question)
    write_int16(&stage.question, call.version)
    write_array_count(&stage.question, True, stage.asked_count)
    write_raw(&stage.question, stage.asked.data, stage.asked.size)
    write_unsigned_varint(&stage.question, 0)
    if stage.asked.status != OK:
        return stage.asked.status
    return UNVERIFIED_TRANSACTION if stage.question.status == OK else stage.question.status


cdef Status produce_begin(ProduceStage *stage, const PartitionTable *table, Call *call, Cursor *body) noexcept nogil:
    cdef Status status
    call.flexible = call.version >= PRODUCE_FIRST_FLEXIBLE
    output_clear(&stage.asked)
    stage.asked_count = 0
    stage.errors_left = MOST_RECORD_ERRORS
    status = read_string(body, call.flexible, &stage.transactional_id, &stage.transactional_id_size)
    if status == OK:
        status = read_int16(body, &call.acks)
    if status == OK:
        status = read_int32(body, &call.timeout_ms)
    if status != OK:
        return status
    status = read_topics(stage, table, call, body)
    if status == OK and stage.asked_count > 0:
        status = write_question(stage, call)
    if status != OK:
        unstage(stage, call)
        return status
    if call.waiting == 0:
        finish(call)
    return OK


# ---- append and settle

cdef void finish(Call *call) noexcept nogil:
    call.state = CALL_SILENT if call.acks == 0 else CALL_READY


cdef void settle_part(
    Purgatory *purgatory, LoopCounters *counters, Partition *partition, const StagedBatch *staged, Call *call, int32_t index,
    int64_t now_ms,
) noexcept nogil:
    """Turns the result of an append into the part's answer, or parks it until its offset may be acknowledged."""
    cdef CallPart *part = &call.parts[index]
    cdef int64_t required_offset
    part.status = staged.status
    if staged.status == NOT_LEADER:          # its log is being replaced: the leader stays
        part.leader_id = partition.leader_id
        part.leader_epoch = partition.leader_epoch
    part.log_start_offset = log_start_offset(partition.log)
    if staged.status == OK or staged.status == DUPLICATE_SEQUENCE:
        part.status = OK
        part.offset = staged.base_offset
        part.timestamp_ms = staged.append_time_ms
        required_offset = staged.base_offset + staged.header.last_offset_delta + 1
        if call.acks == -1 and atomic_load64(&partition.high_watermark) < required_offset:
            if purgatory_watch(purgatory, call, index, partition, required_offset) == OK:
                if call.deadline_ms == 0:
                    counters.produce_parked += 1
                    purgatory_set_timer(purgatory, call, now_ms + max(call.timeout_ms, 1))
                call.state = CALL_PARKED
                return
            part.status = OUT_OF_MEMORY
    call.waiting -= 1


cdef void append_dirty(
    DirtyPartition *dirty, Purgatory *purgatory, LoopCounters *counters, int64_t now_ms, int64_t wall_clock_ms,
) noexcept nogil:
    cdef Partition *partition = dirty.partition
    cdef Call *call
    cdef FlushPolicy policy
    cdef int32_t i
    cdef Status status = log_append(partition.log, dirty.batches, dirty.count, partition.leader_epoch, wall_clock_ms)
    cdef int32_t failed = 0
    counters.appends += 1
    dirty.bytes = 0
    dirty.messages = 0
    for i in range(dirty.count):
        if status != OK:
            dirty.batches[i].status = status
        if dirty.batches[i].status == OK:
            dirty.bytes += dirty.batches[i].header.size
            dirty.messages += dirty.batches[i].header.record_count
        elif dirty.batches[i].status != DUPLICATE_SEQUENCE:
            failed += 1
    if status == OK:
        # One look at the policy: it may change at any time, and whoever is told to wait must have a flush coming.
        policy = log_flush_policy(partition.log)
        if partition_publish(partition, purgatory.loop, policy):
            purgatory_wake(purgatory, partition)
        if policy_waits_for_disk(policy) and atomic_load64(&partition.high_watermark) < log_end_offset(partition.log):
            partition_request_flush(partition)
    for i in range(dirty.count):
        call = dirty.origins[i].call
        settle_part(purgatory, counters, partition, &dirty.batches[i], call, dirty.origins[i].part, now_ms)
    counters.batches_appended += dirty.count - failed
    atomic_count64(&partition.topic.counters.bytes_in, dirty.bytes)
    atomic_count64(&partition.topic.counters.messages_in, dirty.messages)
    atomic_count64(&partition.topic.counters.produce_requests, dirty.count)
    if failed > 0:
        atomic_count64(&partition.topic.counters.failed_produce_requests, failed)


cdef void trim_stage(ProduceStage *stage) noexcept nogil:
    """Large turns must not keep their memory for ever."""
    cdef int32_t i
    for i in range(stage.count):
        if stage.dirty[i].capacity > LARGEST_KEPT_STAGE:
            free(stage.dirty[i].batches)
            free(stage.dirty[i].origins)
            stage.dirty[i].batches = NULL
            stage.dirty[i].origins = NULL
            stage.dirty[i].capacity = 0
        stage.dirty[i].count = 0
    for i in range(stage.recoded_count):
        release_buffer(&stage.recoded[i])
    stage.recoded_count = 0
    memset(stage.slots, 0, stage.slot_count * sizeof(int32_t))
    stage.count = 0


cdef void produce_flush(
    ProduceStage *stage, Purgatory *purgatory, LoopCounters *counters, int64_t now_ms, int64_t wall_clock_ms,
) noexcept nogil:
    cdef int32_t i
    cdef int32_t k
    cdef Call *call
    if stage.count == 0:
        return
    for i in range(stage.count):
        if stage.dirty[i].count > 0:
            append_dirty(&stage.dirty[i], purgatory, counters, now_ms, wall_clock_ms)
    for i in range(stage.count):
        for k in range(stage.dirty[i].count):
            call = stage.dirty[i].origins[k].call
            if call.waiting == 0:
                finish(call)
    trim_stage(stage)


cdef bint produce_settle(Purgatory *purgatory, LoopCounters *counters, Call *call) noexcept nogil:
    cdef Watch *watch = call.watches
    cdef Partition *partition
    cdef CallPart *part
    cdef bint expired = call.deadline_ms == 0
    cdef int32_t open_parts = 0
    while watch != NULL:
        partition = watch.partition
        part = &call.parts[watch.part]
        if atomic_load64(&partition.high_watermark) >= watch.required_offset:
            part.status = OK
        elif log_is_offline(partition.log):
            part.status = LOG_OFFLINE
        elif partition.removed or not partition.leader:
            part.status = NOT_LEADER
            part.leader_id = partition.leader_id
            part.leader_epoch = partition.leader_epoch
        elif expired:
            part.status = REQUEST_TIMED_OUT
            counters.produce_timed_out += 1
        else:
            open_parts += 1
        watch = watch.next_in_call
    if open_parts > 0:
        return False
    purgatory_forget(purgatory, call)
    call.waiting = 0
    finish(call)
    return True


cdef bint produce_has_failures(const Call *call) noexcept nogil:
    cdef int32_t i
    for i in range(call.part_count):
        if call.parts[i].status != OK:
            return True
    return False


# ---- answer

cdef void encode_record_errors(const Call *call, const CallPart *part, Output *output) noexcept nogil:
    """Which records were refused, and why; the partition's own message.  Source: KIP-467, LogValidator."""
    cdef const char *message = TIMESTAMP_MESSAGE if part.status == INVALID_TIMESTAMP else KEYLESS_MESSAGE
    cdef int32_t index
    cdef int32_t i
    write_array_count(output, call.flexible, part.errors_count)
    for i in range(part.errors_count):
        memcpy(&index, call.names.data + part.errors_position + i * sizeof(index), sizeof(index))
        write_int32(output, index)
        write_string(output, call.flexible, <const uint8_t *>message, strlen(message))
        if call.flexible:
            write_unsigned_varint(output, 0)
    if part.errors_count > 0:
        write_string(output, call.flexible, <const uint8_t *>REJECTED_MESSAGE, strlen(REJECTED_MESSAGE))
    else:
        write_string(output, call.flexible, NULL, -1)


cdef void encode_part(const Call *call, const CallPart *part, Output *output) noexcept nogil:
    cdef bint failed = part.status != OK
    write_int32(output, part.index)
    write_int16(output, part.error_code if part.error_code != 0 else kafka_error_code(part.status))
    write_int64(output, -1 if failed else part.offset)
    write_int64(output, -1 if failed else part.timestamp_ms)
    if call.version >= FIRST_LOG_START_VERSION:
        write_int64(output, -1 if failed else part.log_start_offset)
    if call.version >= FIRST_RECORD_ERRORS_VERSION:
        encode_record_errors(call, part, output)
    if not call.flexible:
        return
    if call.version >= FIRST_LEADER_HINT_VERSION and part.status == NOT_LEADER:
        write_unsigned_varint(output, 1)             # one tagged field: 0, current_leader
        write_unsigned_varint(output, 0)
        write_unsigned_varint(output, 9)
        write_int32(output, part.leader_id)
        write_int32(output, part.leader_epoch)
        write_unsigned_varint(output, 0)
    else:
        write_unsigned_varint(output, 0)


cdef void produce_encode(const Call *call, Output *output) noexcept nogil:
    cdef Py_ssize_t start = output.size
    write_int32(output, 0)
    write_int32(output, call.correlation_id)
    if call.flexible:
        write_unsigned_varint(output, 0)
    call_write_topics(call, call.version >= FIRST_TOPIC_ID_VERSION, encode_part, output)
    write_int32(output, call.throttle_ms)
    if call.flexible:
        write_unsigned_varint(output, 0)
    patch_int32(output, start, <int32_t>(output.size - start - 4))
