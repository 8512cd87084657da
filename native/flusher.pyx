"""Group commit: one coordinating thread per log directory, and up to four threads that fsync.

A round takes every log that waits.  A single one is synced by the coordinator itself; several are shared out to the workers, and the
coordinator calls back for each as it is done: it syncs none itself then, so that nobody's answer waits for another log's disk.  While a
round runs, the next one gathers.  Callers that were all answered by one round come back nearly together: when fewer than half of them
have arrived, the next round waits for the others, at most a quarter of the time the last round took and never above max_gather_ms.  One
lone caller never waits.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free

from pystream._native.local_log cimport LocalLog, log_flush, log_release, log_retain
from pystream._native.log_state cimport LogState
from pystream._native.posix cimport (
    CLOCK_MONOTONIC, monotonic_ns, pthread_attr_destroy, pthread_attr_init, pthread_attr_setstacksize, pthread_attr_t,
    pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init, pthread_cond_signal, pthread_cond_t, pthread_cond_timedwait,
    pthread_cond_wait, pthread_condattr_destroy, pthread_condattr_init, pthread_condattr_setclock, pthread_condattr_t, pthread_create,
    pthread_equal, pthread_join, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock,
    pthread_self, pthread_t, timespec,
)
from pystream._native.status cimport OK, Status

cdef enum:
    WORKERS = 4
    STACK_SIZE = 256 * 1024
    SLOW_FLUSH_NS = 1000000000

cdef struct Waiter:
    durable_callback on_durable
    void *context
    Waiter *next

cdef struct Entry:
    LogState *log                # one reference
    Waiter first                 # first.on_durable is NULL when nobody waits any more
    Entry *next
    Status status
    bint done                    # synced, not yet called back

cdef struct Queue:
    Entry *head
    Entry *tail
    int32_t count

cdef struct FlusherState:
    pthread_mutex_t mutex
    pthread_cond_t work          # something was queued, or the flusher stops
    pthread_cond_t shared        # the round has entries for workers
    pthread_cond_t finished      # an entry of the round is done, or a callback has returned
    Queue gathering
    Entry *round                 # list of the running round's entries
    Entry *next_shared           # first entry that no worker has taken
    int32_t round_left           # entries not yet synced
    LogState *called             # whose callbacks run now
    int64_t requests             # of the gathering round
    int64_t last_requests        # of the last one
    int64_t last_round_ns
    int64_t max_gather_ns
    int64_t round_began_ns       # 0 while no round runs
    bint running
    bint stopping
    int32_t workers
    pthread_t coordinator
    pthread_t worker[WORKERS]
    int64_t rounds               # totals, written under the mutex
    int64_t flushes
    int64_t total_requests
    int64_t failures
    int64_t slow_flushes
    int64_t flush_ns
    int64_t longest_flush_ns


cdef void wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline_ns) noexcept nogil:
    cdef timespec until
    until.tv_sec = deadline_ns // 1000000000
    until.tv_nsec = <long> (deadline_ns % 1000000000)
    pthread_cond_timedwait(condition, mutex, &until)


# ---------------------------------------------------------------------------------------------------------------------
# Requests

cdef bint add_waiter(Entry *entry, durable_callback on_durable, void *context) noexcept nogil:
    cdef Waiter *waiter = &entry.first
    while True:
        if waiter.on_durable == on_durable and waiter.context == context:
            return True
        if waiter.on_durable == NULL and waiter.next == NULL:
            waiter.on_durable = on_durable
            waiter.context = context
            return True
        if waiter.next == NULL:
            break
        waiter = waiter.next
    waiter.next = <Waiter *> calloc(1, sizeof(Waiter))
    if waiter.next == NULL:
        return False
    waiter.next.on_durable = on_durable
    waiter.next.context = context
    return True


cdef bint enqueue(FlusherState *flusher, LogState *log, durable_callback on_durable, void *context) noexcept nogil:
    """Called under the mutex."""
    cdef Entry *entry = <Entry *> log.flush_entry
    if entry != NULL:
        return add_waiter(entry, on_durable, context)
    entry = <Entry *> calloc(1, sizeof(Entry))
    if entry == NULL:
        return False
    entry.log = log
    log_retain(log)
    add_waiter(entry, on_durable, context)
    log.flush_entry = entry
    if flusher.gathering.tail == NULL:
        flusher.gathering.head = entry
    else:
        flusher.gathering.tail.next = entry
    flusher.gathering.tail = entry
    flusher.gathering.count += 1
    return True


cdef void flusher_request(FlusherState *flusher, LogState *log, durable_callback on_durable, void *context) noexcept nogil:
    cdef bint queued
    pthread_mutex_lock(&flusher.mutex)
    queued = flusher.running and not flusher.stopping and enqueue(flusher, log, on_durable, context)
    if queued:
        flusher.requests += 1
        flusher.total_requests += 1
        pthread_cond_signal(&flusher.work)
    pthread_mutex_unlock(&flusher.mutex)
    if not queued:
        on_durable(context, log, log_flush(log))             # stopped, or no memory to queue it: done here and now


cdef void drop_waiters(Entry *entry) noexcept nogil:
    cdef Waiter *waiter = entry.first.next
    cdef Waiter *following
    while waiter != NULL:
        following = waiter.next
        free(waiter)
        waiter = following
    entry.first.next = NULL
    entry.first.on_durable = NULL


cdef void flusher_forget(FlusherState *flusher, LogState *log) noexcept nogil:
    cdef Entry *entry
    pthread_mutex_lock(&flusher.mutex)
    entry = <Entry *> log.flush_entry
    if entry != NULL:
        drop_waiters(entry)                                  # the entry itself stays queued: a flush more does no harm
    while flusher.called == log and not pthread_equal(flusher.coordinator, pthread_self()):
        pthread_cond_wait(&flusher.finished, &flusher.mutex)
    entry = flusher.round
    while entry != NULL:
        if entry.log == log:
            drop_waiters(entry)
        entry = entry.next
    pthread_mutex_unlock(&flusher.mutex)


# ---------------------------------------------------------------------------------------------------------------------
# Rounds

cdef void sync_entry(FlusherState *flusher, Entry *entry) noexcept nogil:
    """Called under the mutex, which is released while the disk works."""
    cdef int64_t took
    cdef int64_t began = monotonic_ns()
    cdef Status status
    pthread_mutex_unlock(&flusher.mutex)
    status = log_flush(entry.log)
    took = monotonic_ns() - began
    pthread_mutex_lock(&flusher.mutex)
    entry.status = status
    entry.done = True
    flusher.round_left -= 1
    flusher.flushes += 1
    flusher.flush_ns += took
    flusher.failures += status != OK
    flusher.slow_flushes += took > SLOW_FLUSH_NS
    if took > flusher.longest_flush_ns:
        flusher.longest_flush_ns = took


cdef void call_back(FlusherState *flusher, Entry *entry) noexcept nogil:
    """Calls every waiter of a synced entry; called under the mutex, which is released meanwhile."""
    cdef Waiter *waiters = NULL
    cdef Waiter first = entry.first
    cdef Waiter *following
    waiters = entry.first.next
    entry.first.next = NULL
    entry.first.on_durable = NULL
    flusher.called = entry.log
    pthread_mutex_unlock(&flusher.mutex)
    if first.on_durable != NULL:
        first.on_durable(first.context, entry.log, entry.status)
    while waiters != NULL:
        following = waiters.next
        waiters.on_durable(waiters.context, entry.log, entry.status)
        free(waiters)
        waiters = following
    pthread_mutex_lock(&flusher.mutex)
    flusher.called = NULL
    pthread_cond_broadcast(&flusher.finished)


cdef void *work(void *argument) noexcept nogil:
    cdef FlusherState *flusher = <FlusherState *> argument
    cdef Entry *entry
    pthread_mutex_lock(&flusher.mutex)
    while True:
        entry = flusher.next_shared
        if entry != NULL:
            flusher.next_shared = entry.next
            sync_entry(flusher, entry)
            pthread_cond_broadcast(&flusher.finished)
        elif flusher.stopping and not flusher.running:
            break
        else:
            pthread_cond_wait(&flusher.shared, &flusher.mutex)
    pthread_mutex_unlock(&flusher.mutex)
    return NULL


cdef bint start_thread(pthread_t *thread, void *(*body)(void *) noexcept nogil, FlusherState *flusher) noexcept nogil:
    cdef pthread_attr_t attributes
    cdef bint started
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, STACK_SIZE)
    started = pthread_create(thread, &attributes, body, flusher) == 0
    pthread_attr_destroy(&attributes)
    return started


cdef void ensure_workers(FlusherState *flusher, int32_t wanted) noexcept nogil:
    """Workers are started when a round first needs them; without any the coordinator does it all."""
    while flusher.workers < wanted and flusher.workers < WORKERS:
        if not start_thread(&flusher.worker[flusher.workers], work, flusher):
            return
        flusher.workers += 1


cdef Entry *next_done(FlusherState *flusher) noexcept nogil:
    cdef Entry *entry = flusher.round
    while entry != NULL:
        if entry.done:
            return entry
        entry = entry.next
    return NULL


cdef void finish_entry(FlusherState *flusher, Entry *entry) noexcept nogil:
    """Calls back, takes the entry out of the round and frees it."""
    cdef Entry **link = &flusher.round
    entry.done = False
    call_back(flusher, entry)
    while link[0] != entry:
        link = &link[0].next
    link[0] = entry.next
    pthread_mutex_unlock(&flusher.mutex)
    log_release(entry.log)
    pthread_mutex_lock(&flusher.mutex)
    drop_waiters(entry)
    free(entry)


cdef void run_round(FlusherState *flusher) noexcept nogil:
    """Takes what has gathered, syncs it, calls back.  Called under the mutex."""
    cdef Entry *entry = flusher.gathering.head
    cdef int32_t count = flusher.gathering.count
    flusher.round = entry
    flusher.gathering.head = flusher.gathering.tail = NULL
    flusher.gathering.count = 0
    flusher.last_requests = flusher.requests
    flusher.requests = 0
    while entry != NULL:
        entry.log.flush_entry = NULL
        entry = entry.next
    flusher.rounds += 1
    flusher.round_left = count
    flusher.round_began_ns = monotonic_ns()
    if count > 1:
        ensure_workers(flusher, count)
        flusher.next_shared = flusher.round
        pthread_cond_broadcast(&flusher.shared)
    else:
        sync_entry(flusher, flusher.round)
    while flusher.round != NULL:
        entry = next_done(flusher)
        if entry != NULL:
            finish_entry(flusher, entry)
        elif flusher.next_shared != NULL and flusher.workers == 0:
            entry = flusher.next_shared                      # no thread could be had
            flusher.next_shared = entry.next
            sync_entry(flusher, entry)
        else:
            pthread_cond_wait(&flusher.finished, &flusher.mutex)
    flusher.last_round_ns = monotonic_ns() - flusher.round_began_ns
    flusher.round_began_ns = 0


cdef void gather(FlusherState *flusher) noexcept nogil:
    """Gives those whom the last round answered a moment to come back.  Called under the mutex."""
    cdef int64_t patience = flusher.last_round_ns // 4
    cdef int64_t deadline
    if flusher.last_requests < 4:
        return
    if patience > flusher.max_gather_ns:
        patience = flusher.max_gather_ns
    deadline = monotonic_ns() + patience
    while not flusher.stopping and flusher.requests * 2 < flusher.last_requests and monotonic_ns() < deadline:
        wait_until(&flusher.work, &flusher.mutex, deadline)


cdef void *coordinate(void *argument) noexcept nogil:
    cdef FlusherState *flusher = <FlusherState *> argument
    pthread_mutex_lock(&flusher.mutex)
    while True:
        if flusher.gathering.count > 0:
            gather(flusher)
            run_round(flusher)
        elif flusher.stopping:
            break
        else:
            pthread_cond_wait(&flusher.work, &flusher.mutex)
    flusher.running = False
    pthread_cond_broadcast(&flusher.shared)
    pthread_mutex_unlock(&flusher.mutex)
    return NULL


# ---------------------------------------------------------------------------------------------------------------------
# The face

cdef void note_flush(void *context, LogState *log, Status status) noexcept nogil:
    """Nobody waits for a flush that Python asked for."""


cdef class Flusher:
    """The flusher of one log directory.  `max_gather_ms` (0-5 is sensible) bounds what a round waits for more requests."""

    def __cinit__(self, max_gather_ms: float = 5) -> None:
        cdef pthread_condattr_t attributes
        self.state = <FlusherState *> calloc(1, sizeof(FlusherState))
        if self.state == NULL:
            raise MemoryError
        self.state.max_gather_ns = <int64_t> (max_gather_ms * 1000000)
        pthread_mutex_init(&self.state.mutex, NULL)
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(&self.state.work, &attributes)
        pthread_cond_init(&self.state.shared, &attributes)
        pthread_cond_init(&self.state.finished, &attributes)
        pthread_condattr_destroy(&attributes)

    def __dealloc__(self) -> None:
        if self.state != NULL:
            stop_threads(self.state)
            pthread_cond_destroy(&self.state.work)
            pthread_cond_destroy(&self.state.shared)
            pthread_cond_destroy(&self.state.finished)
            pthread_mutex_destroy(&self.state.mutex)
            free(self.state)

    def start(self) -> None:
        """Starts the coordinating thread; does nothing when it runs.  Raises OSError when no thread can be had."""
        pthread_mutex_lock(&self.state.mutex)
        started = self.state.running
        if not started:
            self.state.stopping = False
            started = start_thread(&self.state.coordinator, coordinate, self.state)
            self.state.running = started
        pthread_mutex_unlock(&self.state.mutex)
        if not started:
            raise OSError("no thread can be started for the flusher")

    def stop(self) -> None:
        """Finishes what is queued and ends the threads; requests that come later are served by their caller's own thread."""
        with nogil:
            stop_threads(self.state)

    def request(self, log: LocalLog) -> None:
        """Asks for a flush of `log` in the next round; nobody is told when it is done."""
        flusher_request(self.state, log.state, note_flush, NULL)

    def statistics(self) -> dict:
        """Totals since the start, and round_ms: how long the running round has taken by now (0 when none runs).

        rounds, flushes (of one log each), requests, failures, slow_flushes (over 1 s), flush_ms, longest_flush_ms.
        """
        cdef FlusherState *state = self.state
        pthread_mutex_lock(&state.mutex)
        found = {
            "rounds": state.rounds,
            "flushes": state.flushes,
            "requests": state.total_requests,
            "failures": state.failures,
            "slow_flushes": state.slow_flushes,
            "flush_ms": state.flush_ns / 1e6,
            "longest_flush_ms": state.longest_flush_ns / 1e6,
            "round_ms": (monotonic_ns() - state.round_began_ns) / 1e6 if state.round_began_ns else 0.0,
        }
        pthread_mutex_unlock(&state.mutex)
        return found


cdef void stop_threads(FlusherState *state) noexcept nogil:
    cdef int32_t number
    cdef bint was_running
    pthread_mutex_lock(&state.mutex)
    was_running = state.running and not state.stopping
    state.stopping = True
    pthread_cond_broadcast(&state.work)
    pthread_mutex_unlock(&state.mutex)
    if not was_running:
        return
    pthread_join(state.coordinator, NULL)
    pthread_mutex_lock(&state.mutex)
    pthread_cond_broadcast(&state.shared)
    pthread_mutex_unlock(&state.mutex)
    for number in range(state.workers):
        pthread_join(state.worker[number], NULL)
    state.workers = 0
