"""One connection in one turn of its event loop: receive, dispatch, answer."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from libc.string cimport memcmp

from pystream._native.atomics cimport atomic_load32
from pystream._native.buffer cimport (
    Cursor, Output, cursor_over, read_int16, read_int32, read_string, skip_tagged_fields, write_int32, write_raw,
)
from pystream._native.connection cimport (
    CALL_COLD, CALL_FETCH, CALL_LIST_OFFSETS, CALL_PARKED, CALL_PAUSE, CALL_PRODUCE, CALL_READY, CALL_SILENT, FRAME_LENGTH_SIZE,
    CallKind, OutQueue, call_free, call_new, connection_add_call, connection_end_turn,
    connection_next_frame, connection_receive, connection_take_call, out_flush, out_free, out_is_empty, out_new, out_reset,
)
from pystream._native.control_queue cimport TRANSACTION_QUESTION_LISTENER, control_push
from pystream._native.fetch cimport (
    FETCH_FIRST_FLEXIBLE, FETCH_MAXIMUM_VERSION, FETCH_MINIMUM_VERSION, FetchRequest, fetch_begin, fetch_bound, fetch_end, fetch_evaluate,
    fetch_throttle,
)
from pystream._native.fetch_answer cimport fetch_encode
from pystream._native.list_offsets cimport (
    LIST_OFFSETS_FIRST_FLEXIBLE, LIST_OFFSETS_MAXIMUM_VERSION, LIST_OFFSETS_MINIMUM_VERSION, list_offsets_answer, list_offsets_encode,
)
from pystream._native.produce cimport (
    PRODUCE_FIRST_FLEXIBLE, PRODUCE_MAXIMUM_VERSION, PRODUCE_MINIMUM_VERSION, produce_begin, produce_encode, produce_has_failures,
    produce_settle,
)
from pystream._native.posix cimport monotonic_ns
from pystream._native.purgatory cimport purgatory_forget, purgatory_set_timer, purgatory_take_ready
from pystream._native.quota cimport quota_admit, quota_burst, quota_charge, quota_return
from pystream._native.quota_table cimport (
    FETCH_QUOTA, PRODUCE_QUOTA, REQUEST_QUOTA, ClientEntry, quota_client_hash, quota_table_charge_time, quota_table_enter,
    quota_table_leave,
)
from pystream._native.status cimport BUSY, OK, OUT_OF_MEMORY, TRUNCATED, UNVERIFIED_TRANSACTION, Status

cdef enum:
    PRODUCE_KEY = 0
    FETCH_KEY = 1
    LIST_OFFSETS_KEY = 2
    DEFER_MS = 10
    ADMIN_CLIENT_ID_SIZE = 14


# ---- lists of connections

cdef void touch(Loop *loop, Connection *connection) noexcept nogil:
    if connection.in_turn:
        return
    connection.in_turn = True
    connection.next_in_turn = NULL
    loop.turn_tail[0] = connection
    loop.turn_tail = &connection.next_in_turn


cdef void queue_connection(Loop *loop, Connection *connection) noexcept nogil:
    if connection.queued or connection.deferred:
        return
    connection.queued = True
    connection.next_queued = loop.queued
    loop.queued = connection


cdef void defer_connection(Loop *loop, Connection *connection) noexcept nogil:
    if connection.queued or connection.deferred:
        return
    connection.deferred = True
    connection.next_queued = loop.deferred
    if loop.deferred == NULL:
        loop.deferred_until_ms = loop.now_ms + DEFER_MS
    loop.deferred = connection


# ---- phase 1: receive and dispatch

cdef bint may_dispatch(const Loop *loop, const Connection *connection) noexcept nogil:
    return (
        not connection.muted
        and not connection.closing
        and connection.call_count < loop.plane.limits.in_flight
        and connection.pending == NULL               # whoever does not read its answers is not read either
        and not loop.drain_begun
    )


cdef CallKind kind_of(int16_t api_key, int16_t version) noexcept nogil:
    """What the data plane answers itself; any other key or version is the control plane's to answer or to refuse."""
    if api_key == PRODUCE_KEY and PRODUCE_MINIMUM_VERSION <= version <= PRODUCE_MAXIMUM_VERSION:
        return CALL_PRODUCE
    if api_key == FETCH_KEY and FETCH_MINIMUM_VERSION <= version <= FETCH_MAXIMUM_VERSION:
        return CALL_FETCH
    if api_key == LIST_OFFSETS_KEY and LIST_OFFSETS_MINIMUM_VERSION <= version <= LIST_OFFSETS_MAXIMUM_VERSION:
        return CALL_LIST_OFFSETS
    return CALL_COLD


cdef bint has_tagged_header(CallKind kind, int16_t version) noexcept nogil:
    if kind == CALL_PRODUCE:
        return version >= PRODUCE_FIRST_FLEXIBLE
    if kind == CALL_FETCH:
        return version >= FETCH_FIRST_FLEXIBLE
    return version >= LIST_OFFSETS_FIRST_FLEXIBLE


cdef Status read_header(Cursor *frame, int16_t *api_key, int16_t *version, int32_t *correlation_id) noexcept nogil:
    cdef Status status = read_int16(frame, api_key)
    if status == OK:
        status = read_int16(frame, version)
    if status == OK:
        status = read_int32(frame, correlation_id)
    return status


cdef void look_up_quotas(Loop *loop, Connection *connection, const uint8_t *client_id, int32_t size) noexcept nogil:
    """A connection nearly always names one client id for ever."""
    if connection.client != NULL:
        if connection.client.hash == quota_client_hash(client_id, size):
            return
        quota_table_leave(&loop.plane.quotas, connection.client)
    connection.client = quota_table_enter(&loop.plane.quotas, client_id, size)


cdef Status read_client(Loop *loop, Cursor *frame, bint tagged, Call *call) noexcept nogil:
    """The rest of request header v1 or v2: the client id is a legacy string in both."""
    cdef const uint8_t *client_id
    cdef int32_t size
    cdef Status status = read_string(frame, False, &client_id, &size)
    if status == OK and atomic_load32(&loop.plane.quotas.active):
        look_up_quotas(loop, call.connection, client_id, size)
    # Source: AdminUtils.ADMIN_CLIENT_ID.
    if status == OK and size == ADMIN_CLIENT_ID_SIZE:
        call.from_admin = memcmp(client_id, b"__admin_client", ADMIN_CLIENT_ID_SIZE) == 0
    if status == OK and tagged:
        status = skip_tagged_fields(frame)
    return status


cdef void note_for_later(Loop *loop, Call *call, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    call.frame = data
    call.frame_size = size
    loop.after_append_tail[0] = call
    loop.after_append_tail = &call.next_ready


cdef bint counts_time(const Connection *connection) noexcept nogil:
    return connection.client != NULL and connection.client.in_force[REQUEST_QUOTA] != NULL


cdef void pause(Loop *loop, Connection *connection, int32_t throttle_ms) noexcept nogil:
    """What follows on the connection waits; its answer says so.  Source: KIP-219."""
    cdef Call *call = call_new(&loop.buffers, connection, CALL_PAUSE, 0, 0)
    loop.counters.throttled_ms += throttle_ms
    if call != NULL:
        connection.muted = True
        call.state = CALL_PARKED
        connection_add_call(connection, call)
        purgatory_set_timer(&loop.purgatory, call, loop.now_ms + throttle_ms)


cdef void charge_produce(Loop *loop, Connection *connection, Call *call, int64_t size) noexcept nogil:
    """Charges a client's quotas of bytes and of request time; the longer throttle counts.  Source: KIP-13, KIP-124."""
    cdef int32_t throttle_ms = quota_charge(connection.client.in_force[PRODUCE_QUOTA], size, loop.now_ms)
    cdef int32_t time_ms = 0
    if call.spent_ns > 0:
        time_ms = quota_table_charge_time(&loop.plane.quotas, connection.client, call.spent_ns // 1000, loop.now_ms)
    call.throttle_ms = max(throttle_ms, time_ms)
    if call.throttle_ms > 0:
        pause(loop, connection, call.throttle_ms)


cdef void charge_fetch(Loop *loop, Connection *connection, Call *call) noexcept nogil:
    """Who is above a quota gets an answer without records, asks for them again when the time is over, and has not spent their bytes.

    Time that was spent is spent: it counts against the next request, so that every other answer at least has records.
    Source: KIP-219, KafkaApis.handleFetchRequest.
    """
    cdef ClientEntry *client = connection.client
    cdef int64_t size = (<FetchRequest *>call.fetch).gathered
    cdef int32_t time_ms = 0
    call.throttle_ms = quota_admit(client.in_force[FETCH_QUOTA], size, loop.now_ms)
    if call.spent_ns > 0 and quota_charge(client.in_force[REQUEST_QUOTA], 0, loop.now_ms) > 0:
        time_ms = quota_table_charge_time(&loop.plane.quotas, client, call.spent_ns // 1000, loop.now_ms)
    elif call.spent_ns > 0:
        quota_charge(client.in_force[REQUEST_QUOTA], call.spent_ns // 1000, loop.now_ms)
    if time_ms > 0 and call.throttle_ms == 0:
        quota_return(client.in_force[FETCH_QUOTA], size)
    call.throttle_ms = max(call.throttle_ms, time_ms)
    if call.throttle_ms > 0:
        fetch_throttle(&loop.fetches, &loop.counters, call)
        pause(loop, connection, call.throttle_ms)


cdef Status ask_coordinator(Loop *loop, Connection *connection, Call *call, int32_t size) noexcept nogil:
    """Puts a Produce back into the receive buffer, to be cut again once the transaction coordinator has vouched for its partitions.

    BUSY: the control plane does not keep up, it is asked after a short wait.
    """
    cdef const Output *question = &loop.stage.question
    cdef Status status = control_push(
        loop.plane.control, connection.handle, TRANSACTION_QUESTION_LISTENER, connection.fd, question.data, question.size)
    connection.start -= FRAME_LENGTH_SIZE + size
    if status == OK:
        connection.muted = True
        call.kind = CALL_COLD
        call.state = CALL_PARKED
        return OK
    forget_last_call(loop, connection)
    if status == BUSY:
        defer_connection(loop, connection)
    return status


cdef Status dispatch(Loop *loop, Connection *connection, const uint8_t *data, int32_t size) noexcept nogil:
    cdef Cursor frame
    cdef int16_t api_key
    cdef int16_t version
    cdef int32_t correlation_id
    cdef CallKind kind
    cdef Call *call
    cdef int64_t began_ns
    cdef Status status
    loop.counters.frames_received += 1
    cursor_over(&frame, data, size)
    status = read_header(&frame, &api_key, &version, &correlation_id)
    if status != OK:
        return status
    kind = kind_of(api_key, version)
    call = call_new(&loop.buffers, connection, kind, version, correlation_id)
    if call == NULL:
        return OUT_OF_MEMORY
    connection_add_call(connection, call)
    if kind == CALL_COLD:
        connection.muted = True
        note_for_later(loop, call, data, size)
        return OK
    status = read_client(loop, &frame, has_tagged_header(kind, version), call)
    if status != OK:
        return status
    if kind == CALL_PRODUCE:
        loop.counters.produce_requests += not connection.verified
        began_ns = monotonic_ns() if counts_time(connection) else 0
        status = produce_begin(&loop.stage, &loop.plane.table, call, &frame)
        connection.verified = False
        if status == UNVERIFIED_TRANSACTION:
            return ask_coordinator(loop, connection, call, size)
        if status == OK and connection.client != NULL:
            call.spent_ns = monotonic_ns() - began_ns if began_ns != 0 else 0
            charge_produce(loop, connection, call, size)
        return status
    if kind == CALL_FETCH:
        connection.muted = True
    note_for_later(loop, call, data + frame.position, size - frame.position)
    return OK


cdef void receive_and_dispatch(Loop *loop, Connection *connection) noexcept nogil:
    cdef const uint8_t *frame
    cdef int32_t size
    cdef Py_ssize_t before = connection.end - connection.start
    cdef Status status
    if not may_dispatch(loop, connection) or not connection.readable:
        connection.starved = False
    if not may_dispatch(loop, connection):
        return
    if connection.readable:
        status = connection_receive(connection, &loop.buffers, loop.now_ms)
        if status == OK:
            loop.counters.bytes_received += connection.end - connection.start - before
        elif status != BUSY:
            connection.closing = True
    # What came before the end of the stream is still worked on: a producer with acks=0 may close at once.
    while not connection.muted and connection.call_count < loop.plane.limits.in_flight:
        status = connection_next_frame(connection, loop.plane.limits.frame_bytes, &frame, &size)
        if status == TRUNCATED:
            return
        if status == OK:
            connection.frame_started_ms = 0
            status = dispatch(loop, connection, frame, size)
            if status == BUSY:
                return
        if status != OK:
            loop.counters.frames_refused += 1
            connection.closing = True
            return


# ---- phase 3: after the appends

cdef void forget_last_call(Loop *loop, Connection *connection) noexcept nogil:
    cdef Call *before = connection.first_call
    cdef Call *call = connection.last_call
    if before == call:
        connection.first_call = NULL
        connection.last_call = NULL
    else:
        while before.next != call:
            before = before.next
        before.next = NULL
        connection.last_call = before
    connection.call_count -= 1
    call_free(&loop.buffers, call)


cdef void return_frame(Loop *loop, Connection *connection, Call *call) noexcept nogil:
    """Puts the last frame back into the receive buffer: the control plane does not keep up, it is offered again after a short wait."""
    connection.start -= FRAME_LENGTH_SIZE + call.frame_size
    connection.muted = False
    forget_last_call(loop, connection)
    defer_connection(loop, connection)


cdef void send_to_control(Loop *loop, Connection *connection, Call *call) noexcept nogil:
    cdef Status status = control_push(
        loop.plane.control, connection.handle, connection.listener, connection.fd, call.frame, call.frame_size,
    )
    if status == BUSY:
        return_frame(loop, connection, call)
    elif status != OK:
        connection.closing = True
    else:
        loop.counters.cold_requests += 1
        call.state = CALL_PARKED


cdef Status begin_fetch(Loop *loop, Call *call, Cursor *body) noexcept nogil:
    cdef Status status
    cdef int64_t began_ns = monotonic_ns() if counts_time(call.connection) else 0
    loop.counters.fetch_requests += 1
    status = fetch_begin(&loop.fetches, &loop.counters, call, body, loop.now_ms)
    if status == OK and call.connection.client != NULL:
        fetch_bound(call, quota_burst(call.connection.client.in_force[FETCH_QUOTA]))
    if status == OK:
        fetch_evaluate(&loop.plane.table, &loop.purgatory, &loop.counters, call, loop.now_ms)
    if began_ns != 0:
        call.spent_ns = monotonic_ns() - began_ns
    return status


cdef void work_after_append(Loop *loop) noexcept nogil:
    cdef Call *call = loop.after_append
    cdef Call *following
    cdef Connection *connection
    cdef Cursor body
    cdef Status status
    loop.after_append = NULL
    loop.after_append_tail = &loop.after_append
    while call != NULL:
        following = call.next_ready
        call.next_ready = NULL
        connection = call.connection
        cursor_over(&body, call.frame, call.frame_size)
        status = OK
        if call.kind == CALL_FETCH:
            status = begin_fetch(loop, call, &body)
        elif call.kind == CALL_LIST_OFFSETS:
            loop.counters.list_offsets_requests += 1
            status = list_offsets_answer(&loop.plane.table, call, &body)
        else:
            send_to_control(loop, connection, call)
        if status != OK:
            loop.counters.frames_refused += 1
            connection.closing = True
        call = following


# ---- phase 4: woken calls

cdef void work_ready(Loop *loop) noexcept nogil:
    cdef Call *call = purgatory_take_ready(&loop.purgatory)
    while call != NULL:
        if call.kind == CALL_PRODUCE:
            if produce_settle(&loop.purgatory, &loop.counters, call):
                touch(loop, call.connection)
        elif call.kind == CALL_FETCH:
            if fetch_evaluate(&loop.plane.table, &loop.purgatory, &loop.counters, call, loop.now_ms):
                touch(loop, call.connection)
        elif call.kind == CALL_PAUSE:
            call.state = CALL_SILENT
            touch(loop, call.connection)
        call = purgatory_take_ready(&loop.purgatory)


# ---- phase 5: answer

cdef void free_call(Loop *loop, Call *call) noexcept nogil:
    purgatory_forget(&loop.purgatory, call)
    if call.kind == CALL_FETCH:
        fetch_end(&loop.fetches, call)
    call_free(&loop.buffers, call)


cdef void drop_calls(Loop *loop, Connection *connection) noexcept nogil:
    cdef Call *call = connection_take_call(connection)
    while call != NULL:
        free_call(loop, call)
        call = connection_take_call(connection)


cdef Status encode(Loop *loop, Connection *connection, Call *call, OutQueue *queue) noexcept nogil:
    if call.kind == CALL_PRODUCE:
        produce_encode(call, &queue.bytes)
    elif call.kind == CALL_FETCH:
        if connection.client != NULL:
            charge_fetch(loop, connection, call)
        return fetch_encode(&loop.plane.table, call, queue, &loop.counters)
    elif call.kind == CALL_LIST_OFFSETS:
        list_offsets_encode(call, &queue.bytes)
    elif call.kind == CALL_COLD:
        write_int32(&queue.bytes, <int32_t>call.answer.size)
        write_raw(&queue.bytes, call.answer.data, call.answer.size)
        if call.answer.throttle_ms > 0:
            pause(loop, connection, call.answer.throttle_ms)
    return queue.bytes.status


cdef bint encode_ready(Loop *loop, Connection *connection, OutQueue *queue) noexcept nogil:
    """Encodes finished calls from the front; the first one that is still open keeps the ones behind it."""
    cdef Call *call = connection.first_call
    while call != NULL and (call.state == CALL_READY or call.state == CALL_SILENT):
        if call.kind != CALL_PRODUCE and call.kind != CALL_LIST_OFFSETS:
            connection.muted = False
        if call.kind == CALL_PRODUCE and produce_has_failures(call):
            loop.counters.produce_partitions_failed += 1
            if call.state == CALL_SILENT:
                return False             # acks=0 has no answer: a closed connection is how the client learns of the failure
        if call.state == CALL_READY and encode(loop, connection, call, queue) != OK:
            # Half an answer must neither leave nor stay: the scratch queue is the next connection's, too.
            out_reset(queue)
            return False
        free_call(loop, connection_take_call(connection))
        call = connection.first_call
    return True


cdef bint send_answers(Loop *loop, Connection *connection) noexcept nogil:
    """Sends from the loop's scratch queue; what the socket does not take moves to the connection with the queue itself."""
    cdef OutQueue *queue = connection.pending if connection.pending != NULL else loop.scratch
    cdef OutQueue *fresh
    cdef int64_t sent = 0
    cdef Status status
    if not encode_ready(loop, connection, queue):
        connection.closing = True
    if out_is_empty(queue):
        return True
    status = out_flush(queue, connection.fd, &sent)
    loop.counters.bytes_sent += sent
    if sent > 0:
        connection.active_ms = loop.now_ms
    if status == OK:
        if queue == connection.pending:
            connection.pending = NULL
            out_free(queue)
        return True
    if queue == loop.scratch:
        fresh = out_new()
        if fresh == NULL:
            out_reset(queue)
            return False
        connection.pending = queue
        loop.scratch = fresh
    return status == BUSY


cdef bint has_whole_frame(const Connection *connection) noexcept nogil:
    cdef Cursor cursor
    cdef int32_t length
    cdef Py_ssize_t size = connection.end - connection.start
    if size < FRAME_LENGTH_SIZE:
        return False
    cursor_over(&cursor, connection.buffer + connection.start, size)
    read_int32(&cursor, &length)
    return size - FRAME_LENGTH_SIZE >= length


cdef bint answer(Loop *loop, Connection *connection) noexcept nogil:
    if not send_answers(loop, connection) or connection.closing:
        return False
    connection_end_turn(connection, &loop.buffers, loop.now_ms)
    if connection.starved:
        defer_connection(loop, connection)
    elif may_dispatch(loop, connection) and (connection.readable or has_whole_frame(connection)):
        queue_connection(loop, connection)
    return True
