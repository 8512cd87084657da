"""The partitions of a producer: queues of batches, those in flight, the partitioner.

Source: KIP-480 and KIP-794 (sticky partitioner), KIP-98 and KIP-360 (sequences and epochs).
"""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from pystream._native.batch cimport BATCH_HEADER_SIZE, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP
from pystream._native.compression cimport release_buffer
from pystream._native.delivery cimport BATCH_OVERHEAD, IN_FLIGHT, QUEUED, TAKEN_OFF, Pending
from pystream._native.hash cimport partition_of
from pystream._native.kept_memory cimport take_block
from pystream._native.memory_pool cimport (
    BULK_BUFFER, COMMON_BUFFER, NO_KIND, pool_force, pool_give_buffer, pool_kind_of, pool_release, pool_reserve,
    pool_take_buffer, pool_try)
from pystream._native.posix cimport (
    monotonic_ns, pthread_mutex_destroy, pthread_mutex_init)
from pystream._native.record_builder cimport add_record, init_builder, record_room
from pystream._native.status cimport BATCH_TOO_LARGE, INVALID_TIMESTAMP, OK, OUT_OF_MEMORY, Status

cdef enum:
    FIRST_CAPACITY = 4096
    LARGEST_OVERHEAD = 24                # of a batch's first record: its varints and its attributes
    NO_EPOCH = -1

cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF
cdef double RATIO_GETS_BETTER_BY = 0.005     # Kafka's CompressionRatioEstimator
cdef double RATIO_GETS_WORSE_BY = 0.05
cdef double SMALLEST_RATIO = 0.05


cdef void init_queue(SendQueue *queue) noexcept nogil:
    memset(queue, 0, sizeof(SendQueue))
    pthread_mutex_init(&queue.lock, NULL)
    queue.asleep_until = NEVER
    queue.producer_id = NO_PRODUCER_ID
    queue.producer_epoch = NO_EPOCH
    queue.random = <uint64_t>monotonic_ns() ^ <uint64_t>queue | 1


cdef void free_queue(SendQueue *queue) noexcept nogil:
    cdef int32_t topic, partition
    for topic in range(queue.topic_count):
        for partition in range(queue.topics[topic].count):
            free(queue.topics[topic].lanes[partition])
        free(queue.topics[topic].lanes)
    free(queue.topics)
    free(queue.listed)
    release_buffer(&queue.scratch)
    pthread_mutex_destroy(&queue.lock)


# ---- topics and partitions

cdef Status grow_to(void **array, Py_ssize_t count, size_t item_size) noexcept nogil:
    cdef void *grown = realloc(array[0], count * item_size)
    if grown == NULL:
        return OUT_OF_MEMORY
    array[0] = grown
    return OK


cdef Status add_topics(SendQueue *queue, int32_t topic) noexcept nogil:
    cdef LaneTable *table
    while queue.topic_count <= topic:
        if grow_to(<void **>&queue.topics, queue.topic_count + 1, sizeof(LaneTable)) != OK:
            return OUT_OF_MEMORY
        table = &queue.topics[queue.topic_count]
        memset(table, 0, sizeof(LaneTable))
        table.sticky = ANY_PARTITION
        table.ratio = 1.0
        queue.topic_count += 1
    return OK


cdef Status add_lanes(SendQueue *queue, int32_t topic, int32_t count) noexcept nogil:
    """The topic, and partitions up to `count`."""
    cdef LaneTable *table
    cdef Lane *lane
    if add_topics(queue, topic) != OK:
        return OUT_OF_MEMORY
    table = &queue.topics[topic]
    if count > table.count and grow_to(<void **>&table.lanes, count, sizeof(Lane *)) != OK:
        return OUT_OF_MEMORY
    while table.count < count:
        lane = <Lane *>calloc(1, sizeof(Lane))
        if lane == NULL:
            return OUT_OF_MEMORY
        lane.topic = topic
        lane.partition = table.count
        lane.is_available = True
        lane.producer_id = NO_PRODUCER_ID
        lane.producer_epoch = NO_EPOCH
        table.lanes[table.count] = lane
        table.count += 1
    return OK


cdef Lane *lane_at(const SendQueue *queue, int32_t topic, int32_t partition) noexcept nogil:
    if topic < 0 or topic >= queue.topic_count or partition < 0 or partition >= queue.topics[topic].count:
        return NULL
    return queue.topics[topic].lanes[partition]


cdef Status list_lane(SendQueue *queue, Lane *lane) noexcept nogil:
    if lane.is_listed:
        return OK
    if queue.listed_count == queue.listed_capacity:
        if grow_to(<void **>&queue.listed, queue.listed_capacity * 2 + 16, sizeof(Lane *)) != OK:
            return OUT_OF_MEMORY
        queue.listed_capacity = queue.listed_capacity * 2 + 16
    queue.listed[queue.listed_count] = lane
    queue.listed_count += 1
    lane.is_listed = True
    return OK


# ---- the partitioner

cdef uint64_t next_random(SendQueue *queue) noexcept nogil:
    """xorshift64*."""
    queue.random ^= queue.random >> 12
    queue.random ^= queue.random << 25
    queue.random ^= queue.random >> 27
    return queue.random * <uint64_t>0x2545F4914F6CDD1D >> 33


cdef int32_t choose_sticky(SendQueue *queue, LaneTable *table) noexcept nogil:
    """A partition by chance, the likelier the fewer batches it has waiting; of all when none has a leader."""
    cdef int32_t partition, longest = 0, available = 0, queued
    cdef int64_t total = 0, left
    for partition in range(table.count):
        available += table.lanes[partition].is_available
        longest = max(longest, table.lanes[partition].queued + table.lanes[partition].in_flight)
    if available == 0:
        return <int32_t>(next_random(queue) % <uint64_t>table.count)
    for partition in range(table.count):
        if table.lanes[partition].is_available:
            queued = table.lanes[partition].queued + table.lanes[partition].in_flight
            total += longest + 1 - queued if queue.is_adaptive else 1
    left = <int64_t>(next_random(queue) % <uint64_t>total)
    for partition in range(table.count):
        if table.lanes[partition].is_available:
            queued = table.lanes[partition].queued + table.lanes[partition].in_flight
            left -= longest + 1 - queued if queue.is_adaptive else 1
            if left < 0:
                break
    return partition


cdef inline bint has_open(const Lane *lane) noexcept nogil:
    return lane.last != NULL and lane.last.is_open


cdef Lane *sticky_lane(SendQueue *queue, LaneTable *table) noexcept nogil:
    """Changed between two batches only, once it was given a batch's worth of bytes."""
    cdef Lane *lane
    if table.sticky != ANY_PARTITION:
        lane = table.lanes[table.sticky]
        if has_open(lane) or (table.sticky_bytes < queue.batch_bytes and lane.is_available):
            return lane
    table.sticky = choose_sticky(queue, table)
    table.sticky_bytes = 0
    return table.lanes[table.sticky]


cdef inline Lane *lane_for(SendQueue *queue, const Placing *placing, const Row *row) noexcept nogil:
    cdef LaneTable *table
    if placing.partition != ANY_PARTITION:
        return lane_at(queue, placing.topic, placing.partition)
    if placing.topic < 0 or placing.topic >= queue.topic_count or queue.topics[placing.topic].count == 0:
        return NULL
    table = &queue.topics[placing.topic]
    if row.key_size >= 0 and not queue.ignore_keys:
        return table.lanes[partition_of(row.key, row.key_size, table.count)]
    return sticky_lane(queue, table)


# ---- placing a record

cdef void close_open(SendQueue *queue, Lane *lane, Placing *placing) noexcept nogil:
    """The last batch is full."""
    lane.last.is_open = False
    if queue.topics[lane.topic].sticky == lane.partition:
        queue.topics[lane.topic].sticky_bytes = queue.batch_bytes        # so that the next one goes elsewhere
    tell_sender(queue, placing)


cdef inline void tell_sender(SendQueue *queue, Placing *placing) noexcept nogil:
    if not queue.is_told:
        queue.is_told = True
        placing.tell = True


cdef void take_kept_buffer(SendQueue *queue, Pending *batch, int kind) noexcept nogil:
    batch.builder.records.data = <uint8_t *>pool_take_buffer(queue.pool, kind)
    if batch.builder.records.data != NULL:
        batch.builder.records.capacity = queue.pool.buffer_bytes[kind]
        batch.accounted += queue.pool.buffer_bytes[kind]


cdef bint move_to_kept(SendQueue *queue, Pending *batch, size_t size) noexcept nogil:
    """A batch that outgrows its first memory goes into a kept buffer of a whole one, where there is one for it."""
    cdef size_t before = batch.builder.records.capacity
    cdef uint8_t *small = batch.builder.records.data
    cdef int kind = pool_kind_of(queue.pool, batch.builder.limit + record_room(0, 0, 0))
    if small == NULL or kind == NO_KIND or size > queue.pool.buffer_bytes[kind]:
        return False
    take_kept_buffer(queue, batch, kind)
    if batch.builder.records.data == NULL:
        batch.builder.records.data = small
        return False
    memcpy(batch.builder.records.data, small, batch.builder.records.size)
    free(small)
    batch.accounted -= before
    pool_release(queue.pool, before)
    return True


cdef bint grow_batch(SendQueue *queue, Pending *batch, size_t size) noexcept nogil:
    """Room for `size` bytes, doubled if the memory allows it; False when not even `size` is allowed."""
    cdef size_t capacity = batch.builder.records.capacity
    cdef size_t limit = batch.builder.limit + record_room(0, 0, 0)
    cdef size_t wanted
    if size <= capacity or move_to_kept(queue, batch, size):
        return True
    wanted = max(capacity * 2, <size_t>FIRST_CAPACITY)
    if wanted > limit - limit // 8:
        wanted = limit                                       # a full batch's buffer, which the pool keeps
    wanted = max(size, wanted)
    if not pool_try(queue.pool, wanted - capacity):
        wanted = size
        if not pool_reserve(queue.pool, wanted - capacity):
            return False
    if grow_to(<void **>&batch.builder.records.data, wanted, 1) != OK:
        pool_release(queue.pool, wanted - capacity)
        return False
    batch.builder.records.capacity = wanted
    batch.accounted += wanted - capacity
    return True


cdef Placed open_batch(SendQueue *queue, Lane *lane, Placing *placing, Py_ssize_t upper_bound) noexcept nogil:
    """The spare batch becomes the lane's last; its limit is the call's, or what its first record needs."""
    cdef Pending *batch = placing.spare
    cdef double ratio = queue.topics[lane.topic].ratio
    cdef Py_ssize_t limit = min(max(placing.batch_bytes, <Py_ssize_t>(queue.batch_bytes / ratio)), queue.max_request_bytes)
    cdef size_t least = upper_bound + record_room(0, 0, 0)
    cdef size_t wanted = max(least, <size_t>(min(limit, placing.expected_bytes) + record_room(0, 0, 0)))
    init_builder(&batch.builder, max(limit, upper_bound))
    batch.full_at = limit
    if not pool_reserve(queue.pool, BATCH_OVERHEAD):
        return NO_MEMORY
    batch.accounted = BATCH_OVERHEAD
    if wanted <= queue.pool.buffer_bytes[COMMON_BUFFER]:
        take_kept_buffer(queue, batch, COMMON_BUFFER)
    elif wanted == queue.pool.buffer_bytes[BULK_BUFFER]:
        take_kept_buffer(queue, batch, BULK_BUFFER)
    # `least` has what add_record() wants to see free; so a batch of one large record takes one allocation.
    if not grow_batch(queue, batch, wanted) and not grow_batch(queue, batch, least) or list_lane(queue, lane) != OK:
        pool_release(queue.pool, batch.accounted)
        batch.accounted = 0
        release_buffer(&batch.builder.records)
        return NO_MEMORY
    batch.topic = lane.topic
    batch.partition = lane.partition
    batch.first_record = lane.records
    batch.created_ms = placing.now_ms
    batch.is_open = True
    batch.call = placing.call
    batch.span = NO_SPAN
    placing.spare = batch.next
    batch.next = NULL
    if lane.last != NULL:
        lane.last.next = batch
    else:
        lane.first = batch
    lane.last = batch
    lane.queued += 1
    return PLACED


cdef Placed place_in_last(SendQueue *queue, Lane *lane, Placing *placing, const Row *row) noexcept nogil:
    """Into the open batch; NEEDS_BATCH when it is full, and closed then."""
    cdef Pending *batch = lane.last
    cdef size_t before = batch.builder.records.size
    cdef Py_ssize_t fields = max(row.key_size, 0) + max(row.value_size, 0) + row.headers_size
    cdef Py_ssize_t room = record_room(row.key_size, row.value_size, row.headers_size)
    if fields > batch.builder.limit - <Py_ssize_t>before:
        close_open(queue, lane, placing)
        return NEEDS_BATCH
    if placing.call and batch.call != placing.call:
        placing.lane = lane
        return NEEDS_HOLD
    if before + room > batch.builder.records.capacity and not grow_batch(queue, batch, before + room):
        return NO_MEMORY
    placing.status = add_record(
        &batch.builder, batch.builder.count, row.timestamp_ms, row.key, row.key_size, row.value, row.value_size,
        row.headers, row.headers_size, row.header_count)
    if placing.status == BATCH_TOO_LARGE:
        close_open(queue, lane, placing)
        return NEEDS_BATCH
    if placing.status != OK:
        return REFUSED
    placing.where = batch
    placing.index = batch.builder.count - 1
    lane.records += 1
    queue.queued_records += 1
    if batch.builder.count == 1 and (queue.flushing or batch.created_ms + queue.linger_ms < queue.asleep_until):
        tell_sender(queue, placing)
    if queue.topics[lane.topic].sticky == lane.partition:
        queue.topics[lane.topic].sticky_bytes += batch.builder.records.size - before
    if <Py_ssize_t>batch.builder.records.size >= batch.full_at:
        close_open(queue, lane, placing)
    return PLACED


cdef Placed place_row(SendQueue *queue, Placing *placing, const Row *row) noexcept nogil:
    cdef Placed placed = place_or_refuse(queue, placing, row)
    if placed == NO_MEMORY:
        tell_sender(queue, placing)                          # now everything is ready
    return placed


cdef Placed place_or_refuse(SendQueue *queue, Placing *placing, const Row *row) noexcept nogil:
    """What is wrong with the record itself is seen before a batch is begun for it: none stays empty."""
    cdef Py_ssize_t upper_bound = BATCH_HEADER_SIZE + LARGEST_OVERHEAD + row.headers_size
    cdef Placed placed
    cdef Lane *lane
    placing.record_bytes = max(row.key_size, 0) + max(row.value_size, 0) + row.headers_size
    if max(row.key_size, 0) > INT32_MAX // 4 or max(row.value_size, 0) > INT32_MAX // 4:
        return TOO_LARGE
    upper_bound += max(row.key_size, 0) + max(row.value_size, 0)
    if upper_bound > queue.max_request_bytes or upper_bound + record_room(0, 0, 0) + BATCH_OVERHEAD > queue.pool.limit:
        return TOO_LARGE
    if row.timestamp_ms < NO_TIMESTAMP:
        placing.status = INVALID_TIMESTAMP
        return REFUSED
    while True:
        lane = lane_for(queue, placing, row)
        if lane == NULL:
            return UNKNOWN_PARTITION
        if has_open(lane):
            placed = place_in_last(queue, lane, placing, row)
            if placed != NEEDS_BATCH:
                return placed
            continue                                         # full and closed: perhaps another partition's turn
        if placing.spare == NULL:
            return NEEDS_BATCH
        placed = open_batch(queue, lane, placing, upper_bound)
        if placed != PLACED:
            return placed


# ---- what the sender does

cdef inline bint is_stale(const SendQueue *queue, const Lane *lane) noexcept nogil:
    """The lane's sequence belongs to a producer id or epoch that is no more."""
    return lane.producer_id != queue.producer_id or lane.producer_epoch != queue.producer_epoch


cdef bint must_wait_in_line(const SendQueue *queue, const Lane *lane) noexcept nogil:
    """Sequences would arrive out of order, or in an epoch that the broker has yet to hear of."""
    if queue.producer_id == NO_PRODUCER_ID:
        return False
    if lane.rewrites:
        return lane.flying != NULL or not is_stale(queue, lane)
    if lane.flying == NULL:
        return False
    if lane.first.base_sequence == NO_SEQUENCE:
        return is_stale(queue, lane)
    return lane.flying.first_record < lane.first.first_record


cdef bint lane_is_ready(const SendQueue *queue, const Lane *lane, int64_t now_ms, int64_t *next_ms) noexcept nogil:
    cdef const Pending *batch = lane.first
    cdef int64_t at
    if batch == NULL or batch.builder.count == 0 or lane.is_muted or must_wait_in_line(queue, lane):
        return False
    if batch.attempts > 0:
        at = batch.not_before_ms
    elif not batch.is_open or queue.flushing or queue.is_closed or queue.pool.starved:
        return True
    else:
        at = batch.created_ms + queue.linger_ms
    if at > now_ms:
        next_ms[0] = min(next_ms[0], at)
    return at <= now_ms


cdef void unlink_first(SendQueue *queue, Lane *lane) noexcept nogil:
    cdef Pending *batch = lane.first
    lane.first = batch.next
    if lane.first == NULL:
        lane.last = NULL
    batch.next = NULL
    batch.is_open = False
    lane.queued -= 1
    queue.queued_records -= batch.builder.count


cdef void forget_sequences(Lane *lane) noexcept nogil:
    """Of those that wait."""
    cdef Pending *batch = lane.first
    lane.rewrites = False
    while batch != NULL:
        batch.base_sequence = NO_SEQUENCE
        batch = batch.next


cdef void give_sequence(SendQueue *queue, Lane *lane, Pending *batch) noexcept nogil:
    if lane.rewrites:
        forget_sequences(lane)
        batch.base_sequence = NO_SEQUENCE
    if batch.base_sequence != NO_SEQUENCE:
        return
    if is_stale(queue, lane):
        lane.producer_id = queue.producer_id
        lane.producer_epoch = queue.producer_epoch
        lane.next_sequence = 0
    batch.producer_id = lane.producer_id
    batch.producer_epoch = lane.producer_epoch
    batch.base_sequence = lane.next_sequence
    batch.is_stamped = False
    lane.next_sequence = sequence_behind(lane.next_sequence, batch.builder.count)


cdef inline int32_t sequence_behind(int32_t sequence, int64_t count) noexcept nogil:
    """Sequences go from INT32_MAX to 0; `count` may be negative."""
    return <int32_t>((<int64_t>sequence + count) & INT32_MAX)


cdef Pending *take_first(
        SendQueue *queue, Lane *lane, int64_t now_ms, Py_ssize_t max_bytes, bint *stamp) noexcept nogil:
    cdef int64_t next_ms = NEVER
    cdef Pending *batch = lane.first
    if not lane_is_ready(queue, lane, now_ms, &next_ms) or <Py_ssize_t>batch.builder.records.size > max_bytes:
        return NULL
    unlink_first(queue, lane)
    if queue.producer_id != NO_PRODUCER_ID:
        give_sequence(queue, lane, batch)
    batch.place = IN_FLIGHT
    batch.attempts += 1
    insert_by_order(&lane.flying, batch)
    lane.in_flight += 1
    queue.in_flight_batches += 1
    stamp[0] = not batch.is_stamped
    batch.is_stamped = True
    return batch


cdef void insert_by_order(Pending **place, Pending *batch) noexcept nogil:
    while place[0] != NULL and place[0].first_record < batch.first_record:
        place = &place[0].next
    batch.next = place[0]
    place[0] = batch


cdef bint unlink(Pending **place, Pending *batch) noexcept nogil:
    while place[0] != NULL:
        if place[0] == batch:
            place[0] = batch.next
            batch.next = NULL
            return True
        place = &place[0].next
    return False


cdef Pending *last_of(Pending *batch) noexcept nogil:
    while batch != NULL and batch.next != NULL:
        batch = batch.next
    return batch


cdef bint take_off(SendQueue *queue, Pending *batch) noexcept nogil:
    cdef Lane *lane = lane_at(queue, batch.topic, batch.partition)
    if lane == NULL:
        return False
    if unlink(&lane.flying, batch):
        lane.in_flight -= 1
        queue.in_flight_batches -= 1
    elif unlink(&lane.first, batch):
        lane.last = last_of(lane.first)
        lane.queued -= 1
        queue.queued_records -= batch.builder.count
        batch.is_open = False
    else:
        return False
    batch.place = TAKEN_OFF
    return True


cdef Status put_back(SendQueue *queue, Pending *batch) noexcept nogil:
    cdef Lane *lane = lane_at(queue, batch.topic, batch.partition)
    if list_lane(queue, lane) != OK:
        return OUT_OF_MEMORY
    batch.place = QUEUED
    insert_by_order(&lane.first, batch)
    lane.last = last_of(lane.first)
    lane.queued += 1
    queue.queued_records += batch.builder.count
    return OK


cdef inline Pending *expired_of(Pending *batch, int64_t born_before_ms) noexcept nogil:
    """The first of a list, if at all: batches of a lane lie in the order in which they were begun."""
    return batch if batch != NULL and batch.created_ms <= born_before_ms else NULL


cdef Pending *take_expired(SendQueue *queue, int64_t now_ms) noexcept nogil:
    cdef int64_t born_before_ms = now_ms - queue.delivery_timeout_ms
    cdef Pending *batch
    cdef Py_ssize_t place
    for place in range(queue.listed_count):
        batch = expired_of(queue.listed[place].flying, born_before_ms)
        if batch == NULL:
            batch = expired_of(queue.listed[place].first, born_before_ms)
        if batch != NULL and take_off(queue, batch):
            return batch
    return NULL


cdef Pending *take_queued(SendQueue *queue) noexcept nogil:
    cdef Py_ssize_t place
    cdef Pending *batch
    for place in range(queue.listed_count):
        batch = queue.listed[place].first
        if batch != NULL and take_off(queue, batch):
            return batch
    return NULL


cdef void move_up(Pending *batch, const Pending *gone) noexcept nogil:
    while batch != NULL:
        if batch.first_record > gone.first_record and batch.producer_id == gone.producer_id and (
                batch.producer_epoch == gone.producer_epoch):
            batch.base_sequence = sequence_behind(batch.base_sequence, -<int64_t>gone.builder.count)
            batch.is_stamped = False
        batch = batch.next


cdef void close_sequence_gap(SendQueue *queue, const Pending *batch) noexcept nogil:
    cdef Lane *lane = lane_at(queue, batch.topic, batch.partition)
    if batch.base_sequence == NO_SEQUENCE or batch.producer_id != lane.producer_id or (
            batch.producer_epoch != lane.producer_epoch):
        return
    move_up(lane.flying, batch)
    move_up(lane.first, batch)
    lane.next_sequence = sequence_behind(lane.next_sequence, -<int64_t>batch.builder.count)


cdef int64_t timeout_of(const SendQueue *queue, const Pending *batch) noexcept nogil:
    """When delivery.timeout.ms has passed, unless it had when ready() was last asked."""
    cdef int64_t at
    if batch == NULL:
        return NEVER
    at = batch.created_ms + queue.delivery_timeout_ms
    return at if at > queue.ready_ms else NEVER


cdef int64_t next_deadline_of(SendQueue *queue) noexcept nogil:
    """Of linger, back-off and delivery.timeout.ms; the sender sleeps until then."""
    cdef int64_t next_ms = NEVER
    cdef Py_ssize_t place
    cdef Lane *lane
    for place in range(queue.listed_count):
        lane = queue.listed[place]
        lane_is_ready(queue, lane, queue.ready_ms, &next_ms)
        next_ms = min(next_ms, min(timeout_of(queue, lane.first), timeout_of(queue, lane.flying)))
    queue.asleep_until = next_ms
    return next_ms


cdef void forget_idle_lanes(SendQueue *queue) noexcept nogil:
    cdef Py_ssize_t place, kept = 0
    cdef Lane *lane
    for place in range(queue.listed_count):
        lane = queue.listed[place]
        lane.is_listed = lane.first != NULL or lane.flying != NULL
        if lane.is_listed:
            queue.listed[kept] = lane
            kept += 1
    queue.listed_count = kept


cdef void note_ratio(SendQueue *queue, int32_t topic, Py_ssize_t plain_size, Py_ssize_t packed_size) noexcept nogil:
    """Batches may hold so much more uncompressed as the topic's records have been seen to shrink."""
    cdef double *ratio = &queue.topics[topic].ratio
    cdef double seen = <double>packed_size / plain_size
    if seen > ratio[0]:
        ratio[0] = min(1.0, max(ratio[0] + RATIO_GETS_WORSE_BY, seen))
    else:
        ratio[0] = max(SMALLEST_RATIO, max(ratio[0] - RATIO_GETS_BETTER_BY, seen))


cdef bint move_out(SendQueue *queue, Pending *batch, int kind) noexcept nogil:
    """Its bytes into memory of their size, so that the whole buffer is there for the next batch, still in the caches."""
    cdef size_t capacity = 0
    cdef uint8_t *moved = <uint8_t *>take_block(batch.builder.records.size, &capacity)
    if moved == NULL:
        return False
    memcpy(moved, batch.builder.records.data, batch.builder.records.size)
    pool_force(queue.pool, capacity)
    pool_give_buffer(queue.pool, batch.builder.records.data, kind)
    batch.accounted += <int64_t>capacity - <int64_t>batch.builder.records.capacity
    batch.builder.records.data = moved
    batch.builder.records.capacity = capacity
    return True


cdef void trim_batch(SendQueue *queue, Pending *batch) noexcept nogil:
    cdef size_t spare = batch.builder.records.capacity - batch.builder.records.size
    cdef int kind = pool_kind_of(queue.pool, batch.builder.records.capacity)
    if spare <= batch.builder.records.size or kind != NO_KIND and move_out(queue, batch, kind):
        return
    if grow_to(<void **>&batch.builder.records.data, batch.builder.records.size, 1) == OK:
        batch.builder.records.capacity = batch.builder.records.size
        batch.accounted -= spare
        pool_release(queue.pool, spare)
