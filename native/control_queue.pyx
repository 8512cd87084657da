"""The hand-over of cold requests to Python and of answers back: bounded, one eventfd, one timer for heartbeats, one mutex."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from pystream._native.atomics cimport atomic_add64, atomic_count64
from pystream._native.partition cimport (
    MESSAGE_ANSWER, MESSAGE_CLOSE, MESSAGE_NO_ANSWER, MESSAGE_RESUME, MESSAGE_WATCH, Message, MessageKind, inbox_post, message_new,
)
from pystream._native.posix cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, NI_NUMERICHOST, TFD_CLOEXEC, TFD_NONBLOCK, close, eventfd, getnameinfo, getpeername,
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, read, sockaddr, timer_set, timerfd_create, write,
)
from pystream._native.status cimport BUSY, OK, OUT_OF_MEMORY

cdef enum:
    GENERATION_BITS = 32
    SLOT_BITS = 24
    LARGEST_ANSWER = 0x7FFFFFF0
    HOST_SIZE = 64                   # of an address in text
    PATIENCE_MS = 2                  # how long a heartbeat may wait for others, to be taken with them
    MONOTONIC = 1                    # CLOCK_MONOTONIC
    HEARTBEAT_KEY = 12
    CONSUMER_GROUP_HEARTBEAT_KEY = 68
    SHARE_GROUP_HEARTBEAT_KEY = 76
    STREAMS_GROUP_HEARTBEAT_KEY = 88


TRANSACTION_QUESTION = <int32_t>TRANSACTION_QUESTION_LISTENER
CONNECTION_ENDED = <int32_t>CONNECTION_ENDED_LISTENER


cdef uint64_t make_handle(int32_t loop, uint32_t slot, uint32_t generation) noexcept nogil:
    return (<uint64_t>loop << (SLOT_BITS + GENERATION_BITS)) | (<uint64_t>slot << GENERATION_BITS) | generation


cdef int32_t handle_loop(uint64_t handle) noexcept nogil:
    return <int32_t>(handle >> (SLOT_BITS + GENERATION_BITS))


cdef uint32_t handle_slot(uint64_t handle) noexcept nogil:
    return <uint32_t>(handle >> GENERATION_BITS) & <uint32_t>((1 << SLOT_BITS) - 1)


cdef uint32_t handle_generation(uint64_t handle) noexcept nogil:
    return <uint32_t>(handle & 0xFFFFFFFFULL)


cdef bint is_patient(int32_t listener, const uint8_t *frame, Py_ssize_t size) noexcept nogil:
    """Nobody waits for the answer to a heartbeat: it is taken with the next ones, which saves a thread's waking for each."""
    cdef int key
    if listener < 0 or size < 2:
        return False
    key = frame[0] << 8 | frame[1]
    return (
        key == HEARTBEAT_KEY or key == CONSUMER_GROUP_HEARTBEAT_KEY or key == SHARE_GROUP_HEARTBEAT_KEY
        or key == STREAMS_GROUP_HEARTBEAT_KEY
    )


cdef Status control_push(
    ControlState *control, uint64_t handle, int32_t listener, int fd, const uint8_t *frame, Py_ssize_t size,
) noexcept nogil:
    cdef ColdFrame *cold
    # An empty queue takes any frame: one that is larger than the limit must not wait for ever.
    if atomic_add64(&control.waiting_bytes, size) > control.limit_bytes and control.waiting_bytes != size:
        atomic_count64(&control.waiting_bytes, -size)
        return BUSY
    cold = <ColdFrame *>malloc(sizeof(ColdFrame) + size)
    if cold == NULL:
        atomic_count64(&control.waiting_bytes, -size)
        return OUT_OF_MEMORY
    cold.handle = handle
    cold.listener = listener
    cold.peer_size = sizeof(cold.peer)
    if getpeername(fd, <sockaddr *>&cold.peer, &cold.peer_size) != 0:
        cold.peer_size = 0
    cold.size = size
    cold.data = <uint8_t *>cold + sizeof(ColdFrame)
    memcpy(cold.data, frame, size)
    add_last(control, cold)
    return OK


cdef void control_push_ended(ControlState *control, uint64_t handle) noexcept nogil:
    cdef ColdFrame *cold = <ColdFrame *>malloc(sizeof(ColdFrame))
    if cold == NULL:
        return
    cold.handle = handle
    cold.listener = CONNECTION_ENDED_LISTENER
    cold.peer_size = 0
    cold.size = 0
    cold.data = <uint8_t *>cold + sizeof(ColdFrame)
    add_last(control, cold)


cdef void add_last(ControlState *control, ColdFrame *cold) noexcept nogil:
    cdef uint64_t one = 1
    cdef bint patient = is_patient(cold.listener, cold.data, cold.size)
    cdef bint tell = False
    cdef bint set_timer = False
    cold.next = NULL
    pthread_mutex_lock(&control.mutex)
    if control.head == NULL:
        control.head = cold
    else:
        control.tail.next = cold
    control.tail = cold
    if not patient:
        tell = not control.told
        control.told = True
    elif not control.told and not control.timed:
        set_timer = True
        control.timed = True
    pthread_mutex_unlock(&control.mutex)
    if set_timer:
        timer_set(control.timer_fd, PATIENCE_MS)
    if tell:
        # A full counter means that the reader is awake already.
        write(control.event_fd, &one, sizeof(one))


cdef ColdFrame *take_frame(ControlState *control, bint *more) noexcept nogil:
    cdef ColdFrame *cold
    pthread_mutex_lock(&control.mutex)
    cold = control.head
    if cold != NULL:
        control.head = cold.next
        if cold.next == NULL:
            control.tail = NULL
    more[0] = control.head != NULL
    pthread_mutex_unlock(&control.mutex)
    if cold != NULL:
        atomic_count64(&control.waiting_bytes, -cold.size)
    return cold


cdef str peer_text(const ColdFrame *cold):
    cdef char host[HOST_SIZE]
    if cold.peer_size == 0 or getnameinfo(<const sockaddr *>&cold.peer, cold.peer_size, host, HOST_SIZE, NULL, 0, NI_NUMERICHOST) != 0:
        return ""
    return host.decode("ascii").removeprefix("::ffff:")


cdef class ControlQueue:
    """Cold requests out of the data plane, answers back into it.  Made by `DataPlane`; thread-safe.

    A request is (handle, listener, frame, peer): the frame is the client's, header included, without its length prefix; the peer is its
    address in digits, an IPv4 address also where it came through an IPv6 socket, "" when it has gone already.  Its connection is muted
    until answer(), no_answer() or close_connection() is called with the handle, exactly once.

    Listener TRANSACTION_QUESTION marks what the data plane asks itself: the client's Produce holds back transactional batches for
    partitions that nobody has vouched for.  The frame is the version of the Produce (int16) and an AddPartitionsToTxnRequest v5 with one
    entry for each such partition, verify_only for clients that add partitions themselves (before v12, KIP-890).  resume() answers it.

    Listener CONNECTION_ENDED is no request either: the connection, which watch() was called for, has ended.
    """

    def __cinit__(self):
        memset(&self.state, 0, sizeof(ControlState))
        pthread_mutex_init(&self.state.mutex, NULL)
        self.state.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        self.state.timer_fd = timerfd_create(MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        if self.state.event_fd < 0 or self.state.timer_fd < 0:
            raise OSError("eventfd failed: no file descriptor is left for the control queue")

    def __dealloc__(self):
        cdef bint more
        cdef ColdFrame *cold = take_frame(&self.state, &more)
        while cold != NULL:
            free(cold)
            cold = take_frame(&self.state, &more)
        if self.state.event_fd >= 0:
            close(self.state.event_fd)
        if self.state.timer_fd >= 0:
            close(self.state.timer_fd)
        pthread_mutex_destroy(&self.state.mutex)

    def fileno(self) -> int:
        """An eventfd that is readable while cold requests wait, but for heartbeats alone."""
        return self.state.event_fd

    def patient_fileno(self) -> int:
        """A timerfd that is readable when heartbeats have waited long enough for others to be taken with."""
        return self.state.timer_fd

    def receive(self, maximum: int = 64) -> list:
        """At most `maximum` waiting requests as (handle, listener, frame, peer) tuples; an empty list when none waits."""
        cdef list requests = []
        cdef ColdFrame *cold
        cdef bint more = True
        cdef uint64_t counter
        cdef uint64_t one = 1
        cdef int32_t limit = maximum
        cdef bint rang
        # Before the queue is looked at: a push that follows sets it again. EAGAIN only says that it was not set.
        read(self.state.event_fd, &counter, sizeof(counter))
        rang = read(self.state.timer_fd, &counter, sizeof(counter)) > 0
        pthread_mutex_lock(&self.state.mutex)
        self.state.told = False
        if rang:
            self.state.timed = False
        pthread_mutex_unlock(&self.state.mutex)
        while more and len(requests) < limit:
            cold = take_frame(&self.state, &more)
            if cold == NULL:
                break
            try:
                frame = PyBytes_FromStringAndSize(<char *>cold.data, cold.size)
                requests.append((cold.handle, cold.listener, frame, peer_text(cold)))
            finally:
                free(cold)
        if more:
            pthread_mutex_lock(&self.state.mutex)
            self.state.told = True
            pthread_mutex_unlock(&self.state.mutex)
            write(self.state.event_fd, &one, sizeof(one))
        return requests

    cdef object post(self, uint64_t handle, MessageKind kind, const uint8_t *data, Py_ssize_t size, int32_t throttle_ms=0):
        cdef Message *message
        cdef int32_t loop = handle_loop(handle)
        if self.state.inboxes == NULL or loop < 0 or loop >= self.state.loop_count:
            raise ValueError(f"no event loop has handle {handle:#x}")
        message = message_new(kind, handle, data, size)
        if message == NULL:
            raise MemoryError(f"no memory for an answer of {size} bytes")
        message.throttle_ms = throttle_ms
        inbox_post(&self.state.inboxes[loop], message)
        return None

    def answer(self, handle: int, response: bytes, throttle_ms: int = 0) -> None:
        """Send `response` (response header and body, without length prefix) in its turn and unmute the connection, which the client
        has been told to leave alone for `throttle_ms`: then after that time.
        """
        cdef const uint8_t[::1] view = response
        if view.shape[0] > LARGEST_ANSWER:
            raise ValueError(f"an answer of {view.shape[0]} bytes does not fit a frame")
        self.post(handle, MESSAGE_ANSWER, &view[0] if view.shape[0] > 0 else NULL, view.shape[0], throttle_ms)

    def resume(self, handle: int, error_code: int = 0) -> None:
        """The coordinator has been asked: the Produce goes on, and partitions that still have no permit are answered with `error_code`."""
        cdef int16_t code = error_code
        self.post(handle, MESSAGE_RESUME, <const uint8_t *>&code, sizeof(code))

    def no_answer(self, handle: int) -> None:
        """The request has no answer: unmute the connection."""
        self.post(handle, MESSAGE_NO_ANSWER, NULL, 0)

    def watch(self, handle: int) -> None:
        """Give (handle, CONNECTION_ENDED, b"", "") from receive() once the connection has ended; at once when it has already."""
        self.post(handle, MESSAGE_WATCH, NULL, 0)

    def close_connection(self, handle: int) -> None:
        """Close the connection without an answer."""
        self.post(handle, MESSAGE_CLOSE, NULL, 0)
