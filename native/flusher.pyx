"""Group commit: a few threads per log directory that fsync the logs that wait, each log by itself.

    request ──► queue of logs ──► a thread takes one ──► fsync ──► calls back ──► asked for again meanwhile? to the queue's end
                                      who asks for it from here on is told by its next fsync

Threads are started when there is work for them.  While all are at work the queue grows, and more requests share each fsync: a device
that answers soon is kept busy by as many threads as there are cores, and more would only take time from those who ask; a slow one
works for all that wait at once, and gets MOST_WORKERS.  Callers that were all answered by one fsync come back nearly together: when
fewer than half of them have arrived and nothing else is to be done, the next one of their log waits for the others, at most a quarter
of the time that the last one took and never above max_gather_ms.  A few callers never wait.
"""

import os

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
    MOST_WORKERS = 8
    FEWEST_WORKERS = 2
    STACK_SIZE = 256 * 1024
    SLOW_FLUSH_NS = 1000000000
    SOON_NS = 1000000            # an fsync that takes less leaves nothing to be won by more at once
    AVERAGED = 16                # fsyncs that the average reaches back
    MANY_REQUESTS = 16           # whoever had so many is worth waiting for

cdef struct Waiter:
    durable_callback on_durable  # NULL in a chain's first one: nobody waits
    void *context
    Waiter *next

# A log that waits, or that a worker is at; found through LogState.flush_entry.
cdef struct Entry:
    LogState *log                # one reference
    Waiter waiting               # for the next fsync
    Waiter syncing               # for the one that runs
    Entry *next                  # in the queue
    int64_t requests             # since the last fsync began
    bint queued
    bint taken                   # by a worker, until its callbacks have returned
    bint called                  # the callbacks run, on thread `caller`
    pthread_t caller

cdef struct Worker:
    FlusherState *flusher
    pthread_t thread
    int64_t began_ns             # of its fsync; 0: none runs

cdef struct FlusherState:
    pthread_mutex_t mutex
    pthread_cond_t work          # something was queued, or the flusher stops
    pthread_cond_t more          # a log that gathers was asked for once more, or there is other work
    pthread_cond_t finished      # callbacks have returned, and somebody waits for that
    Entry *head                  # queue
    Entry *tail
    int32_t queued
    int32_t idle                 # workers that wait for work; those who are woken count until they run
    int32_t gathering            # workers that wait for more requests
    int32_t forgetting           # threads that wait for callbacks
    int32_t workers
    int32_t cores                # between FEWEST_WORKERS and MOST_WORKERS
    Worker worker[MOST_WORKERS]
    int64_t max_gather_ns
    int64_t average_ns           # what an fsync takes
    bint running
    bint stopping
    int64_t flushes              # totals, written under the mutex
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
# Threads

cdef bint start_thread(pthread_t *thread, void *(*body)(void *) noexcept nogil, void *argument) noexcept nogil:
    cdef pthread_attr_t attributes
    cdef bint started
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, STACK_SIZE)
    started = pthread_create(thread, &attributes, body, argument) == 0
    pthread_attr_destroy(&attributes)
    return started


cdef bint add_worker(FlusherState *flusher) noexcept nogil:
    """Called under the mutex."""
    cdef Worker *worker = &flusher.worker[flusher.workers]
    worker.flusher = flusher
    worker.began_ns = 0
    if not start_thread(&worker.thread, work, worker):
        return False
    flusher.workers += 1
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Requests

cdef bint add_waiter(Waiter *first, durable_callback on_durable, void *context) noexcept nogil:
    cdef Waiter *waiter = first
    if first.on_durable == NULL:
        first.on_durable = on_durable
        first.context = context
        return True
    while True:
        if waiter.on_durable == on_durable and waiter.context == context:
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


cdef void drop_waiters(Waiter *first) noexcept nogil:
    cdef Waiter *waiter = first.next
    cdef Waiter *following
    while waiter != NULL:
        following = waiter.next
        free(waiter)
        waiter = following
    first.next = NULL
    first.on_durable = NULL


cdef void queue_entry(FlusherState *flusher, Entry *entry) noexcept nogil:
    """Called under the mutex."""
    entry.queued = True
    entry.next = NULL
    if flusher.tail == NULL:
        flusher.head = entry
    else:
        flusher.tail.next = entry
    flusher.tail = entry
    flusher.queued += 1


cdef void wake_worker(FlusherState *flusher) noexcept nogil:
    """Something was queued.  Called under the mutex."""
    cdef int32_t most = flusher.cores if flusher.average_ns < SOON_NS else MOST_WORKERS
    cdef int32_t called = min(flusher.queued, flusher.idle)  # those at work, and those who are woken for what is queued
    called += flusher.workers - flusher.idle
    if flusher.idle >= flusher.queued and called <= most:
        pthread_cond_signal(&flusher.work)
    elif (flusher.workers >= most or not add_worker(flusher)) and flusher.gathering > 0:
        pthread_cond_broadcast(&flusher.more)                # whoever waits for more requests shall not keep a thread


cdef bint enqueue(FlusherState *flusher, LogState *log, durable_callback on_durable, void *context) noexcept nogil:
    """Called under the mutex."""
    cdef Entry *entry = <Entry *> log.flush_entry
    if entry == NULL:
        entry = <Entry *> calloc(1, sizeof(Entry))
        if entry == NULL:
            return False
        entry.log = log
        log_retain(log)
        log.flush_entry = entry
    if not add_waiter(&entry.waiting, on_durable, context):
        return False
    entry.requests += 1
    if entry.taken:
        if flusher.gathering > 0:
            pthread_cond_broadcast(&flusher.more)
    elif not entry.queued:
        queue_entry(flusher, entry)
        wake_worker(flusher)
    return True


cdef void flusher_request(FlusherState *flusher, LogState *log, durable_callback on_durable, void *context) noexcept nogil:
    cdef bint queued
    pthread_mutex_lock(&flusher.mutex)
    queued = flusher.running and not flusher.stopping and enqueue(flusher, log, on_durable, context)
    flusher.total_requests += queued
    pthread_mutex_unlock(&flusher.mutex)
    if not queued:
        on_durable(context, log, log_flush(log))             # stopped, or no memory to queue it: done here and now


cdef void flusher_forget(FlusherState *flusher, LogState *log) noexcept nogil:
    cdef Entry *entry
    pthread_mutex_lock(&flusher.mutex)
    while True:
        entry = <Entry *> log.flush_entry
        if entry == NULL:
            break
        drop_waiters(&entry.waiting)                         # the entry itself stays: an fsync more does no harm
        drop_waiters(&entry.syncing)
        if not entry.called or pthread_equal(entry.caller, pthread_self()):
            break
        flusher.forgetting += 1
        pthread_cond_wait(&flusher.finished, &flusher.mutex)
        flusher.forgetting -= 1
    pthread_mutex_unlock(&flusher.mutex)


# ---------------------------------------------------------------------------------------------------------------------
# Work

cdef void gather(FlusherState *flusher, Entry *entry) noexcept nogil:
    """Gives those whom the log's last fsync answered a moment to come back.  Called under the mutex."""
    cdef int64_t patience = entry.log.flush_took_ns // 4
    cdef int64_t deadline
    if entry.log.flush_requests < MANY_REQUESTS:
        return
    if patience > flusher.max_gather_ns:
        patience = flusher.max_gather_ns
    deadline = monotonic_ns() + patience
    flusher.gathering += 1
    while (
        not flusher.stopping and flusher.queued <= flusher.idle and entry.requests * 2 < entry.log.flush_requests
        and monotonic_ns() < deadline
    ):
        wait_until(&flusher.more, &flusher.mutex, deadline)
    flusher.gathering -= 1


cdef Status sync_entry(FlusherState *flusher, Worker *worker, Entry *entry) noexcept nogil:
    """Called under the mutex, which is released while the disk works."""
    cdef int64_t took
    cdef Status status
    entry.syncing = entry.waiting
    entry.waiting.on_durable = NULL
    entry.waiting.next = NULL
    entry.log.flush_requests = entry.requests
    entry.requests = 0
    worker.began_ns = monotonic_ns()
    pthread_mutex_unlock(&flusher.mutex)
    status = log_flush(entry.log)
    pthread_mutex_lock(&flusher.mutex)
    took = monotonic_ns() - worker.began_ns
    worker.began_ns = 0
    entry.log.flush_took_ns = took
    flusher.flushes += 1
    flusher.flush_ns += took
    flusher.average_ns += (took - flusher.average_ns) // AVERAGED
    flusher.failures += status != OK
    flusher.slow_flushes += took > SLOW_FLUSH_NS
    if took > flusher.longest_flush_ns:
        flusher.longest_flush_ns = took
    return status


cdef void call_back(FlusherState *flusher, Entry *entry, Status status) noexcept nogil:
    """Calls every waiter of the fsync; called under the mutex, which is released meanwhile."""
    cdef Waiter first = entry.syncing
    cdef Waiter *waiter
    entry.syncing.on_durable = NULL
    entry.syncing.next = NULL
    if first.on_durable == NULL:
        return
    entry.called = True
    entry.caller = pthread_self()
    pthread_mutex_unlock(&flusher.mutex)
    waiter = &first
    while waiter != NULL:
        waiter.on_durable(waiter.context, entry.log, status)
        waiter = waiter.next
    pthread_mutex_lock(&flusher.mutex)
    entry.called = False
    drop_waiters(&first)
    if flusher.forgetting > 0:
        pthread_cond_broadcast(&flusher.finished)


cdef void serve(FlusherState *flusher, Worker *worker, Entry *entry) noexcept nogil:
    """Called under the mutex with an entry that was taken out of the queue."""
    cdef Status status
    entry.queued = False
    entry.taken = True
    gather(flusher, entry)
    status = sync_entry(flusher, worker, entry)
    call_back(flusher, entry, status)
    entry.taken = False
    if entry.waiting.on_durable != NULL:
        queue_entry(flusher, entry)                          # this worker looks at the queue next
        return
    entry.log.flush_entry = NULL
    drop_waiters(&entry.waiting)
    pthread_mutex_unlock(&flusher.mutex)
    log_release(entry.log)
    free(entry)
    pthread_mutex_lock(&flusher.mutex)


cdef void *work(void *argument) noexcept nogil:
    cdef Worker *worker = <Worker *> argument
    cdef FlusherState *flusher = worker.flusher
    cdef Entry *entry
    pthread_mutex_lock(&flusher.mutex)
    while True:
        entry = flusher.head
        if entry != NULL:
            flusher.head = entry.next
            if entry.next == NULL:
                flusher.tail = NULL
            flusher.queued -= 1
            serve(flusher, worker, entry)
        elif flusher.stopping:
            break
        else:
            flusher.idle += 1
            pthread_cond_wait(&flusher.work, &flusher.mutex)
            flusher.idle -= 1
    pthread_mutex_unlock(&flusher.mutex)
    return NULL


# ---------------------------------------------------------------------------------------------------------------------
# The face

cdef void note_flush(void *context, LogState *log, Status status) noexcept nogil:
    """Nobody waits for a flush that Python asked for."""


cdef class Flusher:
    """The flusher of one log directory.  `max_gather_ms` (0-5 is sensible) bounds what an fsync waits for more requests."""

    def __cinit__(self, max_gather_ms: float = 5) -> None:
        cdef pthread_condattr_t attributes
        self.state = <FlusherState *> calloc(1, sizeof(FlusherState))
        if self.state == NULL:
            raise MemoryError
        self.state.max_gather_ns = <int64_t> (max_gather_ms * 1000000)
        self.state.cores = max(FEWEST_WORKERS, min(os.cpu_count() or 1, MOST_WORKERS))
        pthread_mutex_init(&self.state.mutex, NULL)
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(&self.state.work, &attributes)
        pthread_cond_init(&self.state.more, &attributes)
        pthread_cond_init(&self.state.finished, &attributes)
        pthread_condattr_destroy(&attributes)

    def __dealloc__(self) -> None:
        if self.state != NULL:
            stop_threads(self.state)
            pthread_cond_destroy(&self.state.work)
            pthread_cond_destroy(&self.state.more)
            pthread_cond_destroy(&self.state.finished)
            pthread_mutex_destroy(&self.state.mutex)
            free(self.state)

    def start(self) -> None:
        """Starts the first thread; does nothing when it runs.  Raises OSError when no thread can be had."""
        pthread_mutex_lock(&self.state.mutex)
        started = self.state.running
        if not started:
            self.state.stopping = False
            started = add_worker(self.state)
            self.state.running = started
        pthread_mutex_unlock(&self.state.mutex)
        if not started:
            raise OSError("no thread can be started for the flusher")

    def stop(self) -> None:
        """Finishes what is queued and ends the threads; requests that come later are served by their caller's own thread."""
        with nogil:
            stop_threads(self.state)

    def request(self, log: LocalLog) -> None:
        """Asks for a flush of `log`; nobody is told when it is done."""
        flusher_request(self.state, log.state, note_flush, NULL)

    def statistics(self) -> dict:
        """Totals since the start, and running_ms: how long the fsync that runs longest has taken by now (0 when none runs).

        flushes (of one log each), requests, failures, slow_flushes (over 1 s), flush_ms, longest_flush_ms.
        """
        cdef FlusherState *state = self.state
        cdef int64_t now_ns = monotonic_ns()
        cdef int64_t running_ns = 0
        cdef int32_t number
        pthread_mutex_lock(&state.mutex)
        for number in range(state.workers):
            if state.worker[number].began_ns != 0:
                running_ns = max(running_ns, now_ns - state.worker[number].began_ns)
        found = {
            "flushes": state.flushes,
            "requests": state.total_requests,
            "failures": state.failures,
            "slow_flushes": state.slow_flushes,
            "flush_ms": state.flush_ns / 1e6,
            "longest_flush_ms": state.longest_flush_ns / 1e6,
            "running_ms": running_ns / 1e6,
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
    pthread_cond_broadcast(&state.more)
    pthread_mutex_unlock(&state.mutex)
    if not was_running:
        return
    for number in range(state.workers):                      # no more are started from here on
        pthread_join(state.worker[number].thread, NULL)
    state.workers = 0
    state.running = False
