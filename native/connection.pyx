"""A client connection: receive buffer and frames, calls in order, answers as bytes and file ranges."""

from libc.errno cimport EIO
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

from pystream._native.atomics cimport atomic_count64, atomic_relaxed64, atomic_reserve64, atomic_store64
from pystream._native.buffer cimport (
    Cursor, cursor_over, make_room, output_clear, output_free, output_init, output_reserve, read_int32, write_array_count,
    write_raw, write_string, write_unsigned_varint,
)
from pystream._native.io_table cimport io_read_at
from pystream._native.local_log cimport segment_file_release
from pystream._native.log_state cimport log_note_read_error
from pystream._native.partition cimport partition_release, partition_retain
from pystream._native.posix cimport EAGAIN, EINTR, MSG_MORE, MSG_NOSIGNAL, errno, recv, send, sendfile
from pystream._native.status cimport BUSY, CLOSED, LIMIT_EXCEEDED, MALFORMED, OK, OUT_OF_MEMORY, STORAGE_ERROR, TRUNCATED

cdef enum:
    MAXIMUM_POOLED_BUFFERS = 128
    MAXIMUM_POOLED_CALLS = 4096
    LARGEST_POOLED_CALL = 64             # topics or parts: a call with more gives its arrays back
    STASH_SIZE = 4096                    # a smaller rest of a frame waits outside the base buffer
    SMALLEST_FRAME = 8                   # api key, version, correlation id
    COPIED_RANGE_SIZE = 16384            # below it one pread costs less than a sendfile of its own
    MOST_COPIED = 1 << 20                # of one queue: a fetch of thousands of partitions has few bytes of each
    LARGEST_KEPT_OUTPUT = 65536
    SENDFILE_CHUNK = 1 << 30


cdef bint buffer_pool_init(BufferPool *pool, MemoryPool *memory) noexcept nogil:
    memset(pool, 0, sizeof(BufferPool))
    pool.memory = memory
    pool.capacity = MAXIMUM_POOLED_BUFFERS
    pool.buffers = <uint8_t **>calloc(MAXIMUM_POOLED_BUFFERS, sizeof(void *))
    return pool.buffers != NULL


cdef void buffer_pool_free(BufferPool *pool) noexcept nogil:
    cdef Call *call = pool.free_calls
    cdef Call *following
    cdef int32_t i
    while call != NULL:
        following = call.next
        destroy_call(call)
        call = following
    for i in range(pool.count):
        free(pool.buffers[i])
    free(pool.buffers)


cdef uint8_t *take_base_buffer(BufferPool *pool) noexcept nogil:
    if pool.count > 0:
        pool.count -= 1
        return pool.buffers[pool.count]
    return <uint8_t *>malloc(BASE_BUFFER_SIZE)


cdef void give_base_buffer(BufferPool *pool, uint8_t *buffer) noexcept nogil:
    if pool.count < pool.capacity:
        pool.buffers[pool.count] = buffer
        pool.count += 1
    else:
        free(buffer)


cdef void release_buffer(Connection *connection, BufferPool *pool) noexcept nogil:
    if connection.buffer == NULL:
        return
    if connection.capacity == BASE_BUFFER_SIZE:
        give_base_buffer(pool, connection.buffer)
    else:
        free(connection.buffer)
    connection.buffer = NULL
    connection.capacity = 0
    connection.start = 0
    connection.end = 0


# ---- the shared memory pool
#
#     a base buffer, a larger one    charged before it is taken; refused when the pool has too little left
#     the end of a turn              gives back what is not held any more: a whole base buffer, or all but the stashed rest of a frame
#
# Who is refused is starved: it is looked at again after a short wait, and what it has not sent yet stays in its socket.  While somebody
# is refused, whoever has held a half-sent frame for longer than a frame may take is closed (the sweep), so that the others go on;
# who holds nothing just waits.

cdef bint reserve(Connection *connection, BufferPool *pool, Py_ssize_t capacity, int64_t now_ms) noexcept nogil:
    """Charges the pool for a buffer of `capacity` bytes in place of the one that is held."""
    if not atomic_reserve64(&pool.memory.used, capacity - connection.accounted, pool.memory.limit):
        atomic_store64(&pool.memory.refused_ms, now_ms)
        return False
    connection.accounted = capacity
    return True


cdef void give_back(Connection *connection, BufferPool *pool) noexcept nogil:
    """The charge goes down to what the connection holds."""
    if connection.capacity != connection.accounted:
        atomic_count64(&pool.memory.used, connection.capacity - connection.accounted)
        connection.accounted = connection.capacity


cdef bint is_scarce(const BufferPool *pool) noexcept nogil:
    return atomic_relaxed64(&pool.memory.used) > pool.memory.limit // 2


# ---- calls

cdef void destroy_call(Call *call) noexcept nogil:
    free(call.topics)
    free(call.parts)
    output_free(&call.names)
    free(call)


cdef Call *call_new(BufferPool *pool, Connection *connection, CallKind kind, int16_t version, int32_t correlation_id) noexcept nogil:
    cdef Call *call = pool.free_calls
    if call != NULL:
        pool.free_calls = call.next
        pool.free_call_count -= 1
    else:
        call = <Call *>calloc(1, sizeof(Call))
        if call == NULL:
            return NULL
        output_init(&call.names, 0)
    call.next = NULL
    call.connection = connection
    call.kind = kind
    call.state = CALL_OPEN
    call.version = version
    call.acks = 1
    call.error_code = 0
    call.flexible = False
    call.from_admin = False
    call.isolation_level = 0
    call.correlation_id = correlation_id
    call.throttle_ms = 0
    call.spent_ns = 0
    call.timeout_ms = 0
    call.waiting = 0
    call.topic_count = 0
    call.part_count = 0
    output_clear(&call.names)
    call.fetch = NULL
    call.frame = NULL
    call.frame_size = 0
    call.answer = NULL
    call.watches = NULL
    call.next_ready = NULL
    call.in_ready = False
    call.deadline_ms = 0
    call.timer_next = NULL
    call.timer_link = NULL
    return call


cdef void call_free(BufferPool *pool, Call *call) noexcept nogil:
    free(call.answer)
    call.answer = NULL
    if (
        pool.free_call_count >= MAXIMUM_POOLED_CALLS
        or call.topic_capacity > LARGEST_POOLED_CALL
        or call.part_capacity > LARGEST_POOLED_CALL
        or call.names.capacity > LARGEST_KEPT_OUTPUT
    ):
        destroy_call(call)
        return
    call.next = pool.free_calls
    pool.free_calls = call
    pool.free_call_count += 1


cdef CallTopic *add_topic(
    CallTopic **topics, int32_t *count, int32_t *capacity, Output *names, const uint8_t *name, int32_t name_size, const uint8_t *topic_id,
) noexcept nogil:
    cdef CallTopic *topic
    if count[0] >= MAXIMUM_TOPICS or not make_room(<void **>topics, count[0], capacity, sizeof(CallTopic)):
        return NULL
    topic = &topics[0][count[0]]
    memset(topic, 0, sizeof(CallTopic))
    topic.name_position = <int32_t>names.size
    topic.name_size = name_size
    if topic_id != NULL:
        memcpy(topic.id, topic_id, 16)
    if name_size > 0:
        write_raw(names, name, name_size)
        if names.status != OK:
            return NULL
    count[0] += 1
    return topic


cdef CallTopic *call_add_topic(Call *call, const uint8_t *name, int32_t name_size, const uint8_t *topic_id) noexcept nogil:
    return add_topic(&call.topics, &call.topic_count, &call.topic_capacity, &call.names, name, name_size, topic_id)


cdef CallPart *call_add_part(Call *call, int32_t index) noexcept nogil:
    cdef CallPart *part
    if call.part_count >= MAXIMUM_PARTS or not make_room(<void **>&call.parts, call.part_count, &call.part_capacity, sizeof(CallPart)):
        return NULL
    part = &call.parts[call.part_count]
    part.index = index
    part.status = OK
    part.leader_epoch = -1
    part.leader_id = -1
    part.offset = -1
    part.timestamp_ms = -1
    part.log_start_offset = -1
    part.errors_count = 0
    part.error_code = 0
    call.part_count += 1
    call.topics[call.topic_count - 1].part_count += 1
    return part


cdef void call_write_topics(const Call *call, bint by_id, PartWriter write_part, Output *output) noexcept nogil:
    cdef const CallTopic *topic
    cdef int32_t part = 0
    cdef int32_t i
    cdef int32_t _k
    write_array_count(output, call.flexible, call.topic_count)
    for i in range(call.topic_count):
        topic = &call.topics[i]
        if by_id:
            write_raw(output, topic.id, 16)
        else:
            write_string(output, call.flexible, call.names.data + topic.name_position, topic.name_size)
        write_array_count(output, call.flexible, topic.part_count)
        for _k in range(topic.part_count):
            write_part(call, &call.parts[part], output)
            part += 1
        if call.flexible:
            write_unsigned_varint(output, 0)


cdef void connection_add_call(Connection *connection, Call *call) noexcept nogil:
    if connection.last_call == NULL:
        connection.first_call = call
    else:
        connection.last_call.next = call
    connection.last_call = call
    connection.call_count += 1


cdef Call *connection_take_call(Connection *connection) noexcept nogil:
    cdef Call *call = connection.first_call
    if call != NULL:
        connection.first_call = call.next
        if call.next == NULL:
            connection.last_call = NULL
        call.next = NULL
        connection.call_count -= 1
    return call


# ---- receiving

cdef Status ensure_receive_buffer(Connection *connection, BufferPool *pool, int64_t now_ms) noexcept nogil:
    """A base buffer for this turn; a stashed rest of a frame moves to its front.  BUSY: the pool has none left."""
    cdef uint8_t *stash = connection.buffer
    cdef uint8_t *base
    if stash != NULL and connection.capacity >= BASE_BUFFER_SIZE:
        return OK
    if not reserve(connection, pool, BASE_BUFFER_SIZE, now_ms):
        connection.starved = True
        return BUSY
    base = take_base_buffer(pool)
    if base == NULL:
        give_back(connection, pool)
        return OUT_OF_MEMORY
    if stash != NULL:
        memcpy(base, stash + connection.start, connection.end - connection.start)
        free(stash)
    connection.end -= connection.start
    connection.start = 0
    connection.buffer = base
    connection.capacity = BASE_BUFFER_SIZE
    return OK


cdef Status connection_receive(Connection *connection, BufferPool *pool, int64_t now_ms) noexcept nogil:
    cdef Py_ssize_t room
    cdef Py_ssize_t received
    cdef bint was_starved = connection.starved
    cdef Status status
    connection.starved = False
    status = ensure_receive_buffer(connection, pool, now_ms)
    if status != OK:
        return status
    room = connection.capacity - connection.end
    if room == 0:
        # A peer that has left will not see its frame answered: it must not hold the memory that the others wait for.
        return CLOSED if connection.ending and was_starved else BUSY
    while True:
        received = recv(connection.fd, connection.buffer + connection.end, room, 0)
        if received >= 0 or errno != EINTR:
            break
    # Less than asked for: the socket is empty, and epoll will tell of more; after the last event only recv tells of the end.
    connection.readable = received == room or connection.ending
    if received < 0:
        return BUSY if errno == EAGAIN else CLOSED
    if received == 0:
        return CLOSED
    connection.end += received
    connection.active_ms = now_ms
    return OK


cdef Status connection_next_frame(Connection *connection, int32_t maximum_size, const uint8_t **frame, int32_t *size) noexcept nogil:
    cdef Cursor cursor
    cdef int32_t length
    cdef Py_ssize_t received = connection.end - connection.start
    if received < FRAME_LENGTH_SIZE:
        return TRUNCATED
    cursor_over(&cursor, connection.buffer + connection.start, received)
    read_int32(&cursor, &length)
    if length < SMALLEST_FRAME:
        return MALFORMED
    if length > maximum_size:
        return LIMIT_EXCEEDED
    if received - FRAME_LENGTH_SIZE < length:
        return TRUNCATED
    frame[0] = connection.buffer + connection.start + FRAME_LENGTH_SIZE
    size[0] = length
    connection.start += FRAME_LENGTH_SIZE + length
    return OK


cdef Status grow_buffer(Connection *connection, BufferPool *pool, Py_ssize_t needed, int64_t now_ms) noexcept nogil:
    """At least doubles, up to the frame's size: never much more memory than the client has really sent."""
    cdef Py_ssize_t size = connection.end - connection.start
    cdef Py_ssize_t capacity = min(needed, connection.capacity * 2)
    cdef uint8_t *grown
    if not reserve(connection, pool, capacity, now_ms):
        return BUSY
    grown = <uint8_t *>malloc(capacity)
    if grown == NULL:
        give_back(connection, pool)
        return OUT_OF_MEMORY
    memcpy(grown, connection.buffer + connection.start, size)
    release_buffer(connection, pool)
    connection.buffer = grown
    connection.capacity = capacity
    connection.end = size
    return OK


cdef void stash_rest(Connection *connection, BufferPool *pool) noexcept nogil:
    """Keeps what is left in memory of its own size and gives the base buffer back."""
    cdef Py_ssize_t size = connection.end - connection.start
    cdef uint8_t *stash = <uint8_t *>malloc(size)
    if stash == NULL:
        return
    memcpy(stash, connection.buffer + connection.start, size)
    give_base_buffer(pool, connection.buffer)
    connection.buffer = stash
    connection.capacity = size
    connection.start = 0
    connection.end = size


cdef void arrange_buffer(Connection *connection, BufferPool *pool, int64_t now_ms) noexcept nogil:
    cdef Py_ssize_t size = connection.end - connection.start
    cdef Py_ssize_t needed
    cdef Cursor cursor
    cdef int32_t length = 0
    if connection.buffer == NULL:
        return
    if size == 0:
        connection.frame_started_ms = 0
        connection.start = 0
        connection.end = 0
        if connection.capacity <= BASE_BUFFER_SIZE or is_scarce(pool):
            release_buffer(connection, pool)
        return
    if connection.frame_started_ms == 0:
        connection.frame_started_ms = now_ms
    if connection.capacity < BASE_BUFFER_SIZE:
        return
    if size >= FRAME_LENGTH_SIZE:
        cursor_over(&cursor, connection.buffer + connection.start, size)
        read_int32(&cursor, &length)
    needed = FRAME_LENGTH_SIZE + <Py_ssize_t>length
    if connection.capacity == BASE_BUFFER_SIZE and (
        connection.muted or (size <= STASH_SIZE and size < needed and not connection.readable)
    ):
        stash_rest(connection, pool)
    elif needed > connection.capacity and size * 2 > connection.capacity:
        if grow_buffer(connection, pool, needed + BASE_BUFFER_SIZE, now_ms) != OK:
            connection.starved = True
    if connection.buffer != NULL and connection.start > 0 and connection.capacity >= BASE_BUFFER_SIZE:
        memmove(connection.buffer, connection.buffer + connection.start, size)
        connection.start = 0
        connection.end = size


cdef void connection_end_turn(Connection *connection, BufferPool *pool, int64_t now_ms) noexcept nogil:
    arrange_buffer(connection, pool, now_ms)
    give_back(connection, pool)


cdef void connection_shrink(Connection *connection, BufferPool *pool) noexcept nogil:
    if connection.end == connection.start and connection.capacity > BASE_BUFFER_SIZE:
        release_buffer(connection, pool)
        give_back(connection, pool)


cdef void connection_free(Connection *connection, BufferPool *pool) noexcept nogil:
    release_buffer(connection, pool)
    give_back(connection, pool)
    if connection.pending != NULL:
        out_free(connection.pending)
    free(connection)


# ---- sending

cdef OutQueue *out_new() noexcept nogil:
    cdef OutQueue *queue = <OutQueue *>calloc(1, sizeof(OutQueue))
    if queue != NULL:
        output_init(&queue.bytes, 0)
    return queue


cdef void release_file(OutChunk *chunk) noexcept nogil:
    if chunk.file == NULL:
        return
    segment_file_release(chunk.file)
    chunk.file = NULL
    if chunk.partition != NULL:
        partition_release(chunk.partition)


cdef void drop_chunks(OutQueue *queue) noexcept nogil:
    cdef int32_t i
    for i in range(queue.head, queue.count):
        release_file(&queue.chunks[i])
    queue.head = 0
    queue.count = 0


cdef void out_free(OutQueue *queue) noexcept nogil:
    drop_chunks(queue)
    free(queue.chunks)
    output_free(&queue.bytes)
    free(queue)


cdef void out_reset(OutQueue *queue) noexcept nogil:
    drop_chunks(queue)
    queue.marked = 0
    queue.sent = 0
    output_free(&queue.bytes)
    output_init(&queue.bytes, 0)


cdef bint out_is_empty(const OutQueue *queue) noexcept nogil:
    return queue.sent == queue.bytes.size and queue.head == queue.count


cdef OutChunk *add_chunk(OutQueue *queue) noexcept nogil:
    if not make_room(<void **>&queue.chunks, queue.count, &queue.capacity, sizeof(OutChunk)):
        return NULL
    queue.count += 1
    return &queue.chunks[queue.count - 1]


cdef void note_read_error(Partition *partition, int error) noexcept nogil:
    if partition != NULL:
        log_note_read_error(partition.log, error)


cdef Status copy_range(OutQueue *queue, const FileRange *range, Partition *partition) noexcept nogil:
    cdef uint8_t *place = output_reserve(&queue.bytes, range.size)
    cdef Py_ssize_t got
    if place == NULL:
        return OUT_OF_MEMORY
    got = io_read_at(range.fd, place, range.size, range.position)
    if got == range.size:
        return OK
    queue.bytes.size -= range.size
    note_read_error(partition, <int>-got if got < 0 else EIO)        # shorter than the log knows it to be: no better than unreadable
    return STORAGE_ERROR


cdef Status out_add_file(OutQueue *queue, FileRange *range, Partition *partition) noexcept nogil:
    cdef OutChunk *chunk
    cdef Status status
    if range.size <= COPIED_RANGE_SIZE and queue.bytes.size < MOST_COPIED:
        status = copy_range(queue, range, partition)
        segment_file_release(range.file)
        range.file = NULL
        return status
    if queue.bytes.size > queue.marked:
        chunk = add_chunk(queue)
        if chunk == NULL:
            return OUT_OF_MEMORY
        chunk.file = NULL
        chunk.size = queue.bytes.size - queue.marked
        queue.marked = queue.bytes.size
    chunk = add_chunk(queue)
    if chunk == NULL:
        return OUT_OF_MEMORY
    chunk.file = range.file
    chunk.partition = partition
    if partition != NULL:
        partition_retain(partition)
    chunk.fd = range.fd
    chunk.position = range.position
    chunk.size = range.size
    range.file = NULL
    return OK


cdef Status send_bytes(OutQueue *queue, int fd, Py_ssize_t size, int flags, int64_t *sent) noexcept nogil:
    cdef Py_ssize_t done
    while size > 0:
        done = send(fd, queue.bytes.data + queue.sent, size, MSG_NOSIGNAL | flags)
        if done < 0:
            if errno == EINTR:
                continue
            return BUSY if errno == EAGAIN else CLOSED
        queue.sent += done
        sent[0] += done
        size -= done
    return OK


cdef Status send_file(OutChunk *chunk, int fd, int64_t *sent) noexcept nogil:
    cdef Py_ssize_t done
    while chunk.size > 0:
        done = sendfile(fd, chunk.fd, &chunk.position, min(chunk.size, <int64_t>SENDFILE_CHUNK))
        if done < 0:
            if errno == EINTR:
                continue
            if errno == EAGAIN:
                return BUSY
            if errno == EIO:
                note_read_error(chunk.partition, EIO)
            return CLOSED
        if done == 0:
            note_read_error(chunk.partition, EIO)
            return CLOSED
        sent[0] += done
        chunk.size -= done
    return OK


cdef Status out_flush(OutQueue *queue, int fd, int64_t *sent) noexcept nogil:
    cdef OutChunk *chunk
    cdef Py_ssize_t before
    cdef Status status
    while queue.head < queue.count:
        chunk = &queue.chunks[queue.head]
        if chunk.file == NULL:
            before = queue.sent
            status = send_bytes(queue, fd, chunk.size, MSG_MORE, sent)
            chunk.size -= queue.sent - before
        else:
            status = send_file(chunk, fd, sent)
        if status != OK:
            return status
        release_file(chunk)
        queue.head += 1
    status = send_bytes(queue, fd, queue.bytes.size - queue.sent, 0, sent)
    if status != OK:
        return status
    queue.head = 0
    queue.count = 0
    queue.marked = 0
    queue.sent = 0
    if queue.bytes.capacity > LARGEST_KEPT_OUTPUT:
        output_free(&queue.bytes)
        output_init(&queue.bytes, 0)
    else:
        output_clear(&queue.bytes)
    return OK
