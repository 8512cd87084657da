"""The event loops: one thread each, one epoll set each, turn after turn without the GIL.

A turn: events and inbox -> receive and dispatch -> one append per dirty partition -> fetches, offset look-ups and cold requests
-> woken and timed-out calls -> answers. Frames stay where they were received until the last step.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from pystream._native.accept_rate cimport (
    accept_rates_admit, accept_rates_enter, accept_rates_hold, accept_rates_leave, accept_rates_pause, accept_rates_release,
)
from pystream._native.atomics cimport atomic_add64, atomic_clear_bits, atomic_count64, atomic_load32, atomic_relaxed64, atomic_store32
from pystream._native.connection cimport (
    CALL_COLD, CALL_FETCH, CALL_PARKED, CALL_READY, CALL_SILENT, Connection, buffer_pool_free, buffer_pool_init, connection_free,
    connection_shrink, out_free, out_new,
)
from pystream._native.control_queue cimport control_push_ended, handle_generation, handle_slot, make_handle
from pystream._native.fetch cimport fetch_context_free, fetch_context_init
from pystream._native.listener cimport address_enter, address_leave, listener_accept
from pystream._native.log_state cimport log_offline_changes
from pystream._native.loop_state cimport Limits
from pystream._native.partition cimport (
    MESSAGE_CLOSE, MESSAGE_CONNECTION, MESSAGE_NO_ANSWER, MESSAGE_RESUME, MESSAGE_WATCH, Message, inbox_post, inbox_take, message_new,
    partition_release,
)
from pystream._native.partition_table cimport table_read_lock, table_unlock
from pystream._native.posix cimport (
    EAGAIN, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, SO_RCVBUF, SO_SNDBUF,
    SOL_SOCKET, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, errno, monotonic_ms, read, setsockopt, wall_clock_ms,
)
from pystream._native.produce cimport produce_flush, produce_stage_free, produce_stage_init
from pystream._native.purgatory cimport (
    purgatory_free, purgatory_init, purgatory_mark_ready, purgatory_next_timeout, purgatory_turn_to, purgatory_wake,
    purgatory_wake_all,
)
from pystream._native.quota_table cimport quota_table_leave
from pystream._native.turn cimport (
    answer, drop_calls, forget_last_call, may_dispatch, receive_and_dispatch, touch, work_after_append, work_ready,
)

cdef enum:
    EVENTS_PER_TURN = 64                 # bounds what one turn stages, and how many base buffers it takes
    ACCEPTS_PER_TURN = 64
    SWEEP_MS = 1000
    SHRINK_AFTER_MS = 2000
    REFUSED_LATELY_MS = 500              # who is refused memory asks again every few milliseconds
    FIRST_SLOTS = 64
    MAXIMUM_SLOTS = 1 << 24
    NO_SLOT = 0xFFFFFFFF
    INBOX_EVENT = 0xFFFFFFFE
    FIRST_LISTENER_EVENT = 0xFFFFFF00


# ---- making and freeing

cdef bint watch_fd(Loop *loop, int fd, uint32_t events, uint64_t data) noexcept nogil:
    cdef epoll_event event
    memset(&event, 0, sizeof(event))
    event.events = events
    event.data.u64 = data
    return epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0


cdef bint loop_init(Loop *loop, Plane *plane, int32_t index, int64_t seed) noexcept nogil:
    memset(loop, 0, sizeof(Loop))
    loop.plane = plane
    loop.index = index
    loop.inbox = &plane.inboxes[index]
    loop.first_free = NO_SLOT
    loop.turn_tail = &loop.turn
    loop.after_append_tail = &loop.after_append
    loop.now_ms = monotonic_ms()
    loop.swept_ms = loop.now_ms
    loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    loop.scratch = out_new()
    return (
        loop.epoll_fd >= 0
        and loop.scratch != NULL
        and buffer_pool_init(&loop.buffers, &plane.memory)
        and produce_stage_init(&loop.stage)
        and purgatory_init(&loop.purgatory, index, loop.now_ms)
        and fetch_context_init(
            &loop.fetches, plane.limits.fetch_sessions, plane.limits.fetch_session_bytes, plane.limits.fetch_session_eviction_ms,
            plane.limits.fetch_bytes, seed)
        and watch_fd(loop, loop.inbox.event_fd, EPOLLIN, INBOX_EVENT)
    )


cdef void loop_free(Loop *loop) noexcept nogil:
    cdef uint32_t slot
    for slot in range(loop.slot_count):
        if loop.connections[slot] != NULL:
            destroy(loop, loop.connections[slot])
    free(loop.connections)
    free(loop.generations)
    free(loop.next_free)
    free(loop.moved)
    if loop.scratch != NULL:
        out_free(loop.scratch)
    fetch_context_free(&loop.fetches)
    purgatory_free(&loop.purgatory)
    produce_stage_free(&loop.stage)
    buffer_pool_free(&loop.buffers)
    if loop.epoll_fd >= 0:
        close(loop.epoll_fd)


# ---- connections

cdef bint add_slots(Loop *loop) noexcept nogil:
    cdef uint32_t count = loop.slot_count * 2 if loop.slot_count > 0 else FIRST_SLOTS
    cdef uint32_t slot
    cdef void *grown
    if count > MAXIMUM_SLOTS:
        return False
    grown = realloc(loop.connections, count * sizeof(void *))
    if grown == NULL:
        return False
    loop.connections = <Connection **>grown
    grown = realloc(loop.generations, count * sizeof(uint32_t))
    if grown == NULL:
        return False
    loop.generations = <uint32_t *>grown
    grown = realloc(loop.next_free, count * sizeof(uint32_t))
    if grown == NULL:
        return False
    loop.next_free = <uint32_t *>grown
    for slot in range(loop.slot_count, count):
        loop.connections[slot] = NULL
        loop.generations[slot] = 1
        loop.next_free[slot] = loop.first_free
        loop.first_free = slot
    loop.slot_count = count
    return True


cdef void refuse(Loop *loop, int fd, uint64_t address_hash) noexcept nogil:
    loop.counters.connections_refused += 1
    close(fd)
    address_leave(&loop.plane.addresses, address_hash)
    atomic_count64(&loop.plane.connection_count, -1)


cdef void open_connection(Loop *loop, int fd, int32_t listener, uint64_t address_hash) noexcept nogil:
    cdef Connection *connection
    cdef uint32_t slot
    if loop.first_free == NO_SLOT and not add_slots(loop):
        refuse(loop, fd, address_hash)
        return
    connection = <Connection *>calloc(1, sizeof(Connection))
    if connection == NULL:
        refuse(loop, fd, address_hash)
        return
    slot = loop.first_free
    connection.fd = fd
    connection.slot = slot
    connection.generation = loop.generations[slot]
    connection.handle = make_handle(loop.index, slot, connection.generation)
    connection.listener = listener
    connection.address_hash = address_hash
    connection.active_ms = loop.now_ms
    if not watch_fd(loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, slot | (<uint64_t>connection.generation << 32)):
        free(connection)
        refuse(loop, fd, address_hash)
        return
    loop.first_free = loop.next_free[slot]
    loop.connections[slot] = connection
    loop.open_count += 1
    loop.counters.connections += 1
    loop.counters.connections_accepted += 1


cdef void unqueue(Connection **list, Connection *connection) noexcept nogil:
    while list[0] != NULL and list[0] != connection:
        list = &list[0].next_queued
    if list[0] == connection:
        list[0] = connection.next_queued


cdef void destroy(Loop *loop, Connection *connection) noexcept nogil:
    cdef uint32_t slot = connection.slot
    drop_calls(loop, connection)
    if connection.queued:
        unqueue(&loop.queued, connection)
    if connection.deferred:
        unqueue(&loop.deferred, connection)
    close(connection.fd)
    address_leave(&loop.plane.addresses, connection.address_hash)
    atomic_count64(&loop.plane.connection_count, -1)
    loop.connections[slot] = NULL
    loop.generations[slot] += 1
    loop.next_free[slot] = loop.first_free
    loop.first_free = slot
    loop.open_count -= 1
    loop.counters.connections -= 1
    loop.counters.connections_closed += 1
    if connection.watched:
        control_push_ended(loop.plane.control, connection.handle)
    quota_table_leave(&loop.plane.quotas, connection.client)
    connection_free(connection, &loop.buffers)


cdef Connection *connection_of(Loop *loop, uint32_t slot, uint32_t generation) noexcept nogil:
    cdef Connection *connection
    if slot >= loop.slot_count:
        return NULL
    connection = loop.connections[slot]
    if connection == NULL or connection.generation != generation:
        return NULL
    return connection


cdef void watch_listeners(Loop *loop, bint wanted) noexcept nogil:
    """Loop 0 accepts while connections are wanted and file descriptors are left."""
    cdef int32_t i
    if loop.index != 0 or loop.listening == wanted:
        return
    for i in range(loop.plane.listener_count):
        if wanted and loop.plane.accept_rates.resume_ms[i] == 0:
            watch_fd(loop, loop.plane.listeners[i].fd, EPOLLIN, FIRST_LISTENER_EVENT + <uint64_t>i)
        elif not wanted:
            epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, loop.plane.listeners[i].fd, NULL)
    loop.listening = wanted


cdef void delay_accept(Loop *loop, int32_t listener, int32_t throttle_ms) noexcept nogil:
    """Who connects meanwhile waits in the backlog."""
    loop.counters.accepts_delayed += 1
    epoll_ctl(loop.epoll_fd, EPOLL_CTL_DEL, loop.plane.listeners[listener].fd, NULL)
    accept_rates_pause(&loop.plane.accept_rates, listener, loop.now_ms + throttle_ms)


cdef void resume_accept(Loop *loop) noexcept nogil:
    cdef uint64_t resumed = accept_rates_release(&loop.plane.accept_rates, loop.now_ms)
    cdef int32_t i
    for i in range(loop.plane.listener_count if resumed != 0 and loop.listening else 0):
        if resumed & (<uint64_t>1 << i):
            watch_fd(loop, loop.plane.listeners[i].fd, EPOLLIN, FIRST_LISTENER_EVENT + <uint64_t>i)


cdef void hand_over(Loop *loop, int fd, int32_t listener, uint64_t address_hash) noexcept nogil:
    """Round robin over the loops; another loop gets its connection through its inbox."""
    cdef Plane *plane = loop.plane
    cdef int32_t active = atomic_load32(&plane.active_loops)
    cdef int32_t chosen = loop.next_loop % active
    cdef Message *message
    loop.next_loop = (chosen + 1) % active
    if plane.limits.receive_buffer_bytes > 0:
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &plane.limits.receive_buffer_bytes, sizeof(int32_t))
    if plane.limits.send_buffer_bytes > 0:
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &plane.limits.send_buffer_bytes, sizeof(int32_t))
    if chosen == loop.index:
        open_connection(loop, fd, listener, address_hash)
        return
    message = message_new(MESSAGE_CONNECTION, address_hash, NULL, 0)
    if message == NULL:
        refuse(loop, fd, address_hash)
        return
    message.fd = fd
    message.listener = listener
    inbox_post(&plane.inboxes[chosen], message)


cdef void accept_some(Loop *loop, int32_t listener) noexcept nogil:
    cdef Plane *plane = loop.plane
    cdef uint64_t address_hash = 0
    cdef int32_t throttle_ms
    cdef int32_t _i
    cdef int fd
    for _i in range(ACCEPTS_PER_TURN):
        throttle_ms = accept_rates_enter(&plane.accept_rates, listener, loop.now_ms)
        if throttle_ms > 0:
            delay_accept(loop, listener, throttle_ms)
            return
        fd = listener_accept(&plane.listeners[listener], &address_hash)
        if fd < 0:
            if errno != EAGAIN:
                # No descriptors or no memory: stop accepting until the next sweep; the log is not touched by it.
                watch_listeners(loop, False)
            accept_rates_leave(&plane.accept_rates, listener)
            return
        throttle_ms = accept_rates_admit(&plane.accept_rates, address_hash, loop.now_ms)
        if throttle_ms > 0:
            loop.counters.connections_throttled += 1
            accept_rates_leave(&plane.accept_rates, listener)
            accept_rates_hold(&plane.accept_rates, fd, loop.now_ms + throttle_ms)
            continue
        if not address_enter(&plane.addresses, address_hash, plane.limits.connections_per_address):
            loop.counters.connections_refused += 1
            close(fd)
        elif atomic_add64(&plane.connection_count, 1) > plane.limits.connections:
            refuse(loop, fd, address_hash)
        else:
            hand_over(loop, fd, listener, address_hash)


# ---- what a turn begins with

cdef void take_event(Loop *loop, const epoll_event *event) noexcept nogil:
    cdef uint32_t slot = <uint32_t>event.data.u64
    cdef uint32_t flags = event.events
    cdef Connection *connection
    cdef uint64_t counter
    if slot == INBOX_EVENT:
        read(loop.inbox.event_fd, &counter, sizeof(counter))
        return
    if slot >= FIRST_LISTENER_EVENT:
        accept_some(loop, <int32_t>(slot - FIRST_LISTENER_EVENT))
        return
    connection = connection_of(loop, slot, <uint32_t>(event.data.u64 >> 32))
    if connection == NULL:
        return
    if flags & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP):
        connection.readable = True
    if flags & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        # What was sent before the end is still read: a producer with acks=0 may close at once.
        connection.ending = True
        if connection.muted and connection.first_call != NULL and connection.first_call.kind == CALL_FETCH:
            connection.closing = True        # nobody waits for this parked fetch any more
    touch(loop, connection)


cdef void take_answer(Loop *loop, Message *message) noexcept nogil:
    """An answer of the control plane: the cold request is the last call of its connection, which has been muted since."""
    cdef Connection *connection = connection_of(loop, handle_slot(message.handle), handle_generation(message.handle))
    if connection == NULL or connection.last_call == NULL or connection.last_call.kind != CALL_COLD:
        free(message)
        return
    if connection.last_call.state != CALL_PARKED:
        free(message)
        return
    if message.kind == MESSAGE_CLOSE:
        connection.closing = True
        free(message)
    elif message.kind == MESSAGE_NO_ANSWER:
        connection.last_call.state = CALL_SILENT
        free(message)
    elif message.kind == MESSAGE_RESUME:
        memcpy(&connection.refusal, message.data, sizeof(connection.refusal))
        connection.verified = True
        connection.muted = False
        forget_last_call(loop, connection)
        free(message)
    else:
        connection.last_call.answer = message
        connection.last_call.state = CALL_READY
    touch(loop, connection)


cdef void watch_connection(Loop *loop, uint64_t handle) noexcept nogil:
    cdef Connection *connection = connection_of(loop, handle_slot(handle), handle_generation(handle))
    if connection == NULL:
        control_push_ended(loop.plane.control, handle)
    else:
        connection.watched = True


cdef void take_inbox(Loop *loop) noexcept nogil:
    cdef uint64_t bit = <uint64_t>1 << loop.index
    cdef int32_t count = 0
    cdef bint look_at_all = False
    cdef Message *message
    cdef Message *following
    cdef int32_t i
    # Cleared before the look: whoever posts later signals again.
    atomic_store32(&loop.inbox.signaled, 0)
    message = inbox_take(loop.inbox, &loop.moved, &count, &loop.moved_capacity, &look_at_all)
    for i in range(count):
        atomic_clear_bits(&loop.moved[i].noticed_loops, bit)
        purgatory_wake(&loop.purgatory, loop.moved[i])
        partition_release(loop.moved[i])
    if look_at_all:
        purgatory_wake_all(&loop.purgatory)
    while message != NULL:
        following = message.next
        message.next = NULL
        if message.kind == MESSAGE_CONNECTION:
            open_connection(loop, message.fd, message.listener, message.handle)
            free(message)
        elif message.kind == MESSAGE_WATCH:
            watch_connection(loop, message.handle)
            free(message)
        else:
            take_answer(loop, message)
        message = following


cdef void take_queued(Loop *loop) noexcept nogil:
    cdef Connection *connection = loop.queued
    cdef Connection *following
    loop.queued = NULL
    while connection != NULL:
        following = connection.next_queued
        connection.queued = False
        touch(loop, connection)
        connection = following
    if loop.deferred == NULL or loop.now_ms < loop.deferred_until_ms:
        return
    connection = loop.deferred
    loop.deferred = NULL
    while connection != NULL:
        following = connection.next_queued
        connection.deferred = False
        touch(loop, connection)
        connection = following


# ---- the sweep: once a second

cdef bint holds_others_up(const Loop *loop, const Connection *connection, int64_t started_ms) noexcept nogil:
    """Whether a half-sent frame comes too slowly, or sits on memory that somebody waits for."""
    if loop.now_ms - atomic_relaxed64(&loop.plane.memory.refused_ms) <= REFUSED_LATELY_MS:
        return True
    return (connection.end - connection.start) * 1000 < started_ms * loop.plane.limits.frame_bytes_per_second


cdef bint has_expired(const Loop *loop, const Connection *connection) noexcept nogil:
    cdef const Limits *limits = &loop.plane.limits
    cdef int64_t started_ms = loop.now_ms - connection.frame_started_ms
    if connection.frame_started_ms > 0 and started_ms > limits.frame_ms and holds_others_up(loop, connection, started_ms):
        return True
    if loop.now_ms - connection.active_ms > limits.idle_ms:
        return connection.call_count == 0 or connection.pending != NULL
    return False


cdef void sweep(Loop *loop) noexcept nogil:
    cdef Connection *connection
    cdef uint32_t slot
    cdef int64_t offline_changes = log_offline_changes()
    loop.swept_ms = loop.now_ms
    watch_listeners(loop, atomic_load32(&loop.plane.accepting) != 0)
    if offline_changes != loop.offline_changes:
        loop.offline_changes = offline_changes
        purgatory_wake_all(&loop.purgatory)
    for slot in range(loop.slot_count):
        connection = loop.connections[slot]
        if connection == NULL:
            continue
        if connection.frame_started_ms > 0 and not may_dispatch(loop, connection):
            # Not slow: its frame waits for its own earlier answers. Its time begins when it is read again.
            connection.frame_started_ms = loop.now_ms
        if has_expired(loop, connection):
            loop.counters.connections_expired += 1
            connection.closing = True
            touch(loop, connection)
        elif loop.now_ms - connection.active_ms > SHRINK_AFTER_MS:
            connection_shrink(connection, &loop.buffers)


cdef void begin_drain(Loop *loop) noexcept nogil:
    """No new requests; parked fetches are answered with what they have, produces when their data is durable, then connections close."""
    cdef Connection *connection
    cdef uint32_t slot
    loop.drain_begun = True
    watch_listeners(loop, False)
    for slot in range(loop.slot_count):
        connection = loop.connections[slot]
        if connection == NULL:
            continue
        if connection.first_call != NULL and connection.first_call.kind == CALL_FETCH and connection.first_call.state == CALL_PARKED:
            connection.first_call.timeout_ms = 0
            purgatory_mark_ready(&loop.purgatory, connection.first_call)
        touch(loop, connection)


cdef bint is_drained(const Connection *connection) noexcept nogil:
    return connection.call_count == 0 and connection.pending == NULL


# ---- the turn

cdef int32_t wait_ms(Loop *loop) noexcept nogil:
    cdef int32_t timeout = <int32_t>max(loop.swept_ms + SWEEP_MS - loop.now_ms, <int64_t>0)
    if loop.turn != NULL or loop.queued != NULL or loop.purgatory.ready != NULL:
        return 0                                 # begin_drain() puts connections on the turn's list before the turn
    if loop.drain_begun:
        timeout = <int32_t>min(<int64_t>timeout, max(loop.plane.drain_deadline_ms - loop.now_ms, <int64_t>0))
    elif loop.index == 0 and loop.plane.accept_rates.next_due_ms != 0:
        timeout = <int32_t>min(<int64_t>timeout, max(loop.plane.accept_rates.next_due_ms - loop.now_ms, <int64_t>0))
    elif loop.open_count == 0 and loop.listening and atomic_load32(&loop.plane.accepting):
        timeout = -1 if loop.purgatory.timer_count == 0 else timeout
        if timeout < 0:
            return timeout
    if loop.deferred != NULL:
        timeout = <int32_t>min(<int64_t>timeout, max(loop.deferred_until_ms - loop.now_ms, <int64_t>0))
    return purgatory_next_timeout(&loop.purgatory, loop.now_ms, timeout)


cdef void work(Loop *loop) noexcept nogil:
    cdef Connection *connection = loop.turn
    cdef Connection *following
    while connection != NULL:
        receive_and_dispatch(loop, connection)
        connection = connection.next_in_turn
    produce_flush(&loop.stage, &loop.purgatory, &loop.counters, loop.now_ms, loop.wall_clock_ms)
    work_after_append(loop)
    purgatory_turn_to(&loop.purgatory, loop.now_ms)
    work_ready(loop)
    connection = loop.turn
    loop.turn = NULL
    loop.turn_tail = &loop.turn
    while connection != NULL:
        following = connection.next_in_turn
        connection.in_turn = False
        if not answer(loop, connection) or (loop.drain_begun and is_drained(connection)):
            destroy(loop, connection)
        connection = following


cdef bint is_over(Loop *loop) noexcept nogil:
    """Whether the loop may end: told to stop and drained, or out of time."""
    if not atomic_load32(&loop.plane.draining):
        return False
    if not loop.drain_begun:
        begin_drain(loop)
    return loop.open_count == 0 or loop.now_ms >= loop.plane.drain_deadline_ms


cdef void *loop_main(void *argument) noexcept nogil:
    cdef Loop *loop = <Loop *>argument
    cdef epoll_event events[EVENTS_PER_TURN]
    cdef int count
    cdef int i
    watch_listeners(loop, True)
    while not is_over(loop):
        count = epoll_wait(loop.epoll_fd, events, EVENTS_PER_TURN, wait_ms(loop))
        loop.now_ms = monotonic_ms()
        loop.wall_clock_ms = wall_clock_ms()
        loop.stage.wall_clock_ms = loop.wall_clock_ms
        loop.counters.turns += 1
        table_read_lock(&loop.plane.table)
        for i in range(count):
            take_event(loop, &events[i])
        take_inbox(loop)
        take_queued(loop)
        if loop.index == 0:
            resume_accept(loop)
        if loop.now_ms - loop.swept_ms >= SWEEP_MS:
            sweep(loop)
        work(loop)
        table_unlock(&loop.plane.table)
    return NULL
