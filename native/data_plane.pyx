"""The Python face of the data plane: limits, listeners, partitions, counters, start and stop."""

from libc.stdint cimport INT32_MAX, int16_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset, strerror

from pystream._native.accept_rate cimport (
    accept_rates_bound_addresses, accept_rates_bound_listeners, accept_rates_close_held, accept_rates_free, accept_rates_init,
)
from pystream._native.atomics cimport (
    atomic_clear_bits, atomic_load64, atomic_raise64, atomic_relaxed64, atomic_set_bits, atomic_store32,
    atomic_store64,
)
from pystream._native.batch cimport parse_batch_header
from pystream._native.counters cimport LoopCounters
from pystream._native.event_loop cimport loop_free, loop_init, loop_main
from pystream._native.loop_state cimport Limits, Loop
from pystream._native.flusher cimport Flusher, flusher_forget
from pystream._native.listener cimport Listener, MAXIMUM_LISTENERS, address_counts_free, address_counts_init, listener_open
from pystream._native.local_log cimport (
    LocalLog, StagedBatch, count_batches, log_end_offset, log_flush_policy, log_permit_transaction, log_start_offset,
)
from pystream._native.partition cimport (
    CONTROL_INBOX, MAXIMUM_LOOPS, NO_LOOP, Inbox, Topic, inbox_free, inbox_init, inbox_signal, inbox_take,
    partition_last_stable_offset, partition_publish, partition_release, partition_retain, partition_wake,
)
from pystream._native.partition_table cimport (
    find_partition, find_topic, table_free, table_init, table_read_lock, table_unlock,
)
from pystream._native.plane_table cimport (
    Leadership, plane_append, plane_exchange, plane_forget_partitions, plane_install, plane_set_leader, plane_uninstall,
)
from pystream._native.posix cimport close, errno, gai_strerror, monotonic_ms, pthread_create, pthread_join, read
from pystream._native.quota_table cimport quota_table_charge, quota_table_free, quota_table_init, quota_table_replace
from pystream._native.status cimport NOT_LEADER, OK, UNKNOWN_TOPIC_OR_PARTITION, Status, raise_for_status

import secrets

DEFAULT_LIMITS = {
    "socket.request.max.bytes": 104857600,
    "max.inflight.requests.per.connection": 64,
    "max.connections": 2147483647,
    "max.connections.per.ip": 2147483647,
    "connections.max.idle.ms": 600000,
    "frame.timeout.ms": 30000,
    "frame.min.bytes.per.second": 1024,
    "queued.max.request.bytes": 4 << 30,
    "control.queue.max.bytes": 256 << 20,
    "fetch.max.bytes": 57671680,
    "max.incremental.fetch.session.cache.slots": 1000,
    "max.incremental.fetch.session.cache.bytes": 1 << 30,
    "min.incremental.fetch.session.eviction.ms": 120000,
    "socket.receive.buffer.bytes": -1,
    "socket.send.buffer.bytes": -1,
    "socket.listen.backlog.size": 1024,
}


cdef void set_limits(Limits *limits, dict values):
    limits.frame_bytes = values["socket.request.max.bytes"]
    limits.in_flight = values["max.inflight.requests.per.connection"]
    limits.connections = values["max.connections"]
    limits.connections_per_address = values["max.connections.per.ip"]
    limits.idle_ms = values["connections.max.idle.ms"]
    limits.frame_ms = values["frame.timeout.ms"]
    limits.frame_bytes_per_second = values["frame.min.bytes.per.second"]
    limits.memory_bytes = values["queued.max.request.bytes"]
    limits.control_bytes = values["control.queue.max.bytes"]
    limits.fetch_bytes = values["fetch.max.bytes"]
    limits.fetch_session_eviction_ms = values["min.incremental.fetch.session.eviction.ms"]
    limits.receive_buffer_bytes = values["socket.receive.buffer.bytes"]
    limits.send_buffer_bytes = values["socket.send.buffer.bytes"]


cdef object check_event_loops(int32_t count):
    if not 1 <= count <= MAXIMUM_LOOPS:
        raise ValueError(f"event_loops is {count}, expected 1 to {<int>MAXIMUM_LOOPS}")
    return None


cdef class DataPlane:
    """Event loops that answer Produce, Fetch and ListOffsets without the GIL, and hand every other frame to `control`.

    `limits` are Kafka's broker keys (see DEFAULT_LIMITS for all of them and their defaults); unknown keys raise ValueError.
    Thread-safe: every method may be called from any thread; changes to the partition table wait for the turns in progress.
    """

    def __cinit__(self, *, node_id: int, event_loops: int = 1, limits=None):
        cdef dict values = dict(DEFAULT_LIMITS)
        memset(&self.plane, 0, sizeof(self.plane))
        self.node_id = node_id
        self.logs = {}
        self.control = ControlQueue()
        check_event_loops(event_loops)
        for key, value in (limits or {}).items():
            if key not in values:
                raise ValueError(f"unknown limit {key!r}; known are {', '.join(sorted(values))}")
            values[key] = value
        set_limits(&self.plane.limits, values)
        self.backlog = values["socket.listen.backlog.size"]
        self.plane.memory.limit = self.plane.limits.memory_bytes
        self.plane.control = &self.control.state
        self.plane.inboxes = <Inbox *>calloc(CONTROL_INBOX + 1, sizeof(Inbox))
        self.plane.loops = <Loop *>calloc(MAXIMUM_LOOPS, sizeof(Loop))      # pages that no loop needs are never touched
        if self.plane.inboxes == NULL or self.plane.loops == NULL:
            raise MemoryError("no memory for the event loops")
        if not table_init(&self.plane.table) or not address_counts_init(&self.plane.addresses):
            raise MemoryError("no memory for the partition table")
        if not quota_table_init(&self.plane.quotas) or not accept_rates_init(&self.plane.accept_rates):
            raise MemoryError("no memory for quotas")
        self.sessions = values["max.incremental.fetch.session.cache.slots"]
        self.session_bytes = values["max.incremental.fetch.session.cache.bytes"]
        self.make_loops(event_loops)
        self.control_inbox = &self.plane.inboxes[CONTROL_INBOX]
        if not inbox_init(self.control_inbox):
            self.control_inbox = NULL
            raise OSError(errno, "no event descriptor for moved partitions")
        self.control.state.limit_bytes = self.plane.limits.control_bytes
        self.control.state.inboxes = self.plane.inboxes

    def set_client_quotas(self, rules: list, window_ms: int, *, longest_time_wait_ms: int = 30_000) -> None:
        """What clients are bounded by, from now on; what they have used stays used.  An empty list bounds nobody.

        A rule is (client id or None, rates, shared): bytes produced per second, bytes fetched per second and microseconds of request
        time per second, 0 where there is no bound; `shared` says of each whether all clients with such a rule share it.  None, for
        clients that are not named, comes first and exactly once.  `window_ms` is how much may be used at once;
        for request time nobody waits longer than `longest_time_wait_ms`.
        """
        quota_table_replace(&self.plane.quotas, rules, window_ms, longest_time_wait_ms)

    def charge_request(self, client_id: str, microseconds: int, now_ms: int) -> int:
        """Charges time that the control plane spent on a client's request; the throttle time in milliseconds."""
        return quota_table_charge(&self.plane.quotas, client_id.encode(), microseconds, now_ms)

    def update_limits(self, limits) -> None:
        """Other values for max.connections and max.connections.per.ip, from the next connection on.  ValueError for others."""
        for key, value in limits.items():
            if key == "max.connections":
                self.plane.limits.connections = value
            elif key == "max.connections.per.ip":
                self.plane.limits.connections_per_address = value
            else:
                raise ValueError(f"{key!r} is set once, when the data plane is made")

    cdef object make_loops(self, int32_t count):
        """So many that there are `count`; those that new connections go to are `count` from then on."""
        cdef int32_t i
        self.plane.limits.fetch_sessions = self.sessions // count
        self.plane.limits.fetch_session_bytes = self.session_bytes // count
        for i in range(self.plane.loop_count, count):
            if not inbox_init(&self.plane.inboxes[i]):
                raise OSError(errno, "no event descriptor for an event loop")
            if not loop_init(&self.plane.loops[i], &self.plane, i, secrets.randbits(62)) or not self.run_loop(i):
                loop_free(&self.plane.loops[i])
                inbox_free(&self.plane.inboxes[i])
                raise OSError(errno, "an event loop could not be set up")
            atomic_store32(&self.plane.loop_count, i + 1)
            self.control.state.loop_count = i + 1
        for i in range(self.plane.loop_count):
            atomic_store32(&self.plane.loops[i].fetches.sessions.limit, self.plane.limits.fetch_sessions)
            atomic_store64(&self.plane.loops[i].fetches.sessions.limit_bytes, self.plane.limits.fetch_session_bytes)
        atomic_store32(&self.plane.active_loops, count)
        return None

    cdef bint run_loop(self, int32_t number):
        """Its thread, once the others have theirs."""
        if not self.running:
            return True
        if pthread_create(&self.plane.loops[number].thread, NULL, loop_main, &self.plane.loops[number]) != 0:
            return False
        self.started_threads += 1
        return True

    def resize(self, event_loops: int) -> None:
        """Other loops than at the start: new connections are spread over `event_loops` of them.  May be called at any time.

        Connections stay where they are: what is there too many goes on until its last connection ends, and then sleeps.
        Raises ValueError out of bounds, OSError when a loop cannot be made; those that were stay as they are.
        """
        check_event_loops(event_loops)
        if self.stopped:
            return
        self.make_loops(event_loops)

    def bound_addresses(self, named: list, *, default_rate: int, window_ms: int, longest_wait_ms: int) -> None:
        """How many connections a second an address may make: `named` is [(4 or 16 bytes, rate)]; 0 is unlimited (KIP-612)."""
        accept_rates_bound_addresses(&self.plane.accept_rates, named, default_rate, window_ms, longest_wait_ms)

    def bound_listeners(self, broker_rate: int, listener_rates: list, *, window_ms: int, longest_wait_ms: int) -> None:
        """How many connections a second come in all, and on each listener by its number; 0 is unlimited (KIP-612)."""
        accept_rates_bound_listeners(&self.plane.accept_rates, broker_rate, listener_rates, window_ms, longest_wait_ms)

    def __dealloc__(self):
        cdef int32_t i
        self.join(0)
        if self.control is not None:
            self.control.state.inboxes = NULL
            self.control.state.loop_count = 0
        for i in range(self.plane.loop_count):
            loop_free(&self.plane.loops[i])
        if self.plane.table.by_name.slots != NULL:
            table_free(&self.plane.table)
        quota_table_free(&self.plane.quotas)
        accept_rates_free(&self.plane.accept_rates)
        for i in range(self.plane.loop_count):
            inbox_free(&self.plane.inboxes[i])
        if self.control_inbox != NULL:
            inbox_free(self.control_inbox)
        free(self.moved)
        if self.plane.addresses.slots != NULL:
            address_counts_free(&self.plane.addresses)
        free(self.plane.loops)
        free(self.plane.inboxes)

    # ---- life

    def listen(self, host: str, port: int) -> int:
        """Open a listener before start(); port 0 takes a free one.  Returns the bound port; its number in ColdRequests counts from 0."""
        cdef bytes encoded = host.encode()
        cdef int resolution = 0
        cdef Listener *listener
        cdef Status status
        if self.started_threads > 0:
            raise RuntimeError("listeners are opened before the data plane is started")
        if self.plane.listener_count == MAXIMUM_LISTENERS:
            raise ValueError(f"at most {<int>MAXIMUM_LISTENERS} listeners")
        if not 0 <= port <= 65535:
            raise ValueError(f"port is {port}, expected 0 to 65535")
        listener = &self.plane.listeners[self.plane.listener_count]
        status = listener_open(listener, encoded, port, self.backlog, &resolution)
        if resolution != 0:
            raise OSError(f"cannot resolve {host}: {gai_strerror(resolution).decode()}")
        if status != OK:
            raise OSError(errno, f"cannot listen on {host}:{port}: {strerror(errno).decode()}")
        self.plane.listener_count += 1
        return listener.port

    def start(self) -> None:
        """Start the event loops' threads; connections are accepted from here on."""
        cdef int32_t i
        if self.started_threads > 0 or self.stopped:
            raise RuntimeError("a data plane is started once")
        atomic_store32(&self.plane.accepting, 1)
        self.running = True
        for i in range(self.plane.loop_count):
            if not self.run_loop(i):
                self.join(0)
                raise OSError("cannot start an event loop's thread")

    def pause_accepting(self) -> None:
        """Take no new connections; existing ones go on.  Takes effect within a second."""
        atomic_store32(&self.plane.accepting, 0)
        inbox_signal(&self.plane.inboxes[0])

    def stop(self, drain_ms: int = 1000) -> None:
        """Answer what is parked, wait at most `drain_ms` for it, close every connection and end the threads.  Twice is fine."""
        self.join(drain_ms)

    cdef void join(self, int64_t drain_ms):
        cdef int32_t i
        if self.stopped:
            return
        self.stopped = True
        with nogil:
            self.plane.drain_deadline_ms = monotonic_ms() + drain_ms
            atomic_store32(&self.plane.accepting, 0)
            atomic_store32(&self.plane.draining, 1)
            for i in range(self.started_threads):
                inbox_signal(&self.plane.inboxes[i])
            for i in range(self.started_threads):
                pthread_join(self.plane.loops[i].thread, NULL)
            for i in range(self.plane.listener_count):
                close(self.plane.listeners[i].fd)
            self.plane.listener_count = 0
            accept_rates_close_held(&self.plane.accept_rates)
            if self.plane.table.by_name.slots != NULL:
                plane_forget_partitions(&self.plane.table)

    # ---- partitions

    cdef Partition *partition(self, str topic, int32_t index) except NULL:
        """The partition with a reference of the caller's; KeyError when it is not installed."""
        cdef bytes encoded = topic.encode()
        cdef const char *name = encoded
        cdef int32_t size = <int32_t>len(encoded)
        cdef Partition *partition
        with nogil:
            table_read_lock(&self.plane.table)
            partition = find_partition(find_topic(&self.plane.table, <const uint8_t *>name, size), index)
            if partition != NULL:
                partition_retain(partition)
            table_unlock(&self.plane.table)
        if partition == NULL:
            raise KeyError(f"{topic}-{index} is not installed in the data plane")
        return partition

    def add_partition(
        self, topic: str, topic_id: bytes, partition: int, log: LocalLog, flusher: Flusher, *, leader_epoch: int, leader_id: int = -1,
        leader: bool = True, enough_replicas: bool = True,
    ) -> None:
        """Install a partition: from here on it is produced to and fetched from.

        topic_id: 16 bytes.  The plane keeps `log` and `flusher` alive until remove_partition().  ValueError when it is installed already.
        """
        cdef bytes encoded = topic.encode()
        cdef Leadership leadership
        cdef const char *name = encoded
        cdef const char *identity = topic_id
        cdef int32_t size = <int32_t>len(encoded)
        cdef int32_t index = partition
        cdef bint placed
        if len(topic_id) != 16:
            raise ValueError(f"a topic id has 16 bytes, not {len(topic_id)}")
        leadership.leader = leader
        leadership.leader_id = self.node_id if leader else leader_id
        leadership.leader_epoch = leader_epoch
        leadership.enough_replicas = enough_replicas
        with nogil:
            placed = plane_install(
                &self.plane, <const uint8_t *>name, size, <const uint8_t *>identity, index, log.state, flusher.state, &leadership)
        if not placed:
            raise ValueError(f"{topic}-{partition} cannot be installed: it is there already, or its topic's id or name cannot be taken")
        self.logs[topic, partition] = (log, flusher)

    def set_leadership(
        self, topic: str, partition: int, *, leader: bool, leader_epoch: int, leader_id: int, enough_replicas: bool = True,
    ) -> None:
        """Change who leads; parked requests see it at once."""
        cdef Partition *found = self.partition(topic, partition)
        cdef Leadership leadership
        leadership.leader = leader
        leadership.leader_id = leader_id
        leadership.leader_epoch = leader_epoch
        leadership.enough_replicas = enough_replicas
        with nogil:
            plane_set_leader(&self.plane, found, &leadership)

    def replace_log(self, topic: str, partition: int, log: LocalLog, flusher: Flusher) -> None:
        """Serve the partition from another log of the same records, whose end is the high watermark; nobody waits or reads twice.

        The log so far must take no appends and be durable to its end.  Nothing of the plane uses it when this returns, but for what
        is being sent from its files.  KeyError when the partition is not installed.
        """
        cdef bytes encoded = topic.encode()
        cdef const char *name = encoded
        cdef int32_t size = <int32_t>len(encoded)
        cdef int32_t index = partition
        cdef Partition *before
        cdef Flusher old_flusher
        with nogil:
            before = plane_exchange(&self.plane, <const uint8_t *>name, size, index, log.state, flusher.state)
        if before == NULL:
            raise KeyError(f"{topic}-{partition} is not installed in the data plane")
        _, old_flusher = self.logs[topic, partition]
        self.logs[topic, partition] = (log, flusher)
        with nogil:
            flusher_forget(old_flusher.state, before.log)
            partition_release(before)

    def remove_partition(self, topic: str, partition: int) -> None:
        """Take a partition out: parked requests are answered with an error; no append to its log is under way when it returns."""
        cdef bytes encoded = topic.encode()
        cdef const char *name = encoded
        cdef int32_t size = <int32_t>len(encoded)
        cdef int32_t index = partition
        cdef Partition *removed
        cdef Flusher flusher
        with nogil:
            removed = plane_uninstall(&self.plane, <const uint8_t *>name, size, index)
        if removed == NULL:
            raise KeyError(f"{topic}-{partition} is not installed in the data plane")
        _, flusher = self.logs.pop((topic, partition))
        with nogil:
            flusher_forget(flusher.state, removed.log)
            partition_release(removed)

    def advance_start_offset(self, topic: str, partition: int) -> None:
        """After DeleteRecords or retention moved the log's start: the high watermark follows and parked fetches look again."""
        cdef Partition *found = self.partition(topic, partition)
        atomic_raise64(&found.high_watermark, log_start_offset(found.log))
        partition_wake(found)
        partition_release(found)

    def published(self, topic: str, partition: int) -> None:
        """After a flush that was not the flusher's: publish what the log's flush policy lets be seen."""
        cdef Partition *found = self.partition(topic, partition)
        with nogil:
            partition_publish(found, NO_LOOP, log_flush_policy(found.log))
            partition_release(found)

    def permit_transaction(self, topic: str, partition: int, producer_id: int, producer_epoch: int) -> None:
        """The coordinator vouches that this producer's transaction holds the partition: the batch that opens it there may come."""
        cdef Partition *found = self.partition(topic, partition)
        cdef int64_t producer = producer_id
        cdef int16_t epoch = producer_epoch
        cdef Status status
        with nogil:
            status = log_permit_transaction(found.log, producer, epoch)
            partition_release(found)
        raise_for_status(status, 0, f"{topic}-{partition}")

    def partition_state(self, topic: str, partition: int) -> tuple:
        """(log start offset, high watermark, last stable offset, log end offset, leader epoch)."""
        cdef Partition *found = self.partition(topic, partition)
        state = (
            log_start_offset(found.log),
            atomic_load64(&found.high_watermark),
            partition_last_stable_offset(found),
            log_end_offset(found.log),
            found.leader_epoch,
        )
        partition_release(found)
        return state

    def high_watermark(self, topic: str, partition: int) -> int:
        """That of partition_state() alone, without a lock of the log."""
        cdef Partition *found = self.partition(topic, partition)
        cdef int64_t offset = atomic_load64(&found.high_watermark)
        partition_release(found)
        return offset

    # ---- what the control plane writes itself

    def append(self, topic: str, partition: int, batches: bytes, *, transaction_version: int = 0) -> tuple:
        """Append whole batches as the partition's leader, as a produce request would: (first offset, end offset).

        What the flush policy lets be seen is published; watch() tells when more of it is, but not of what is when this returns.
        A batch may be larger than max.message.bytes: a client's are checked, these are the broker's own.  Raises what the first
        batch that failed failed with; those before it are in the log.  LogMoving, with nothing written: its log is being replaced.
        transaction_version: of control batches, what their coordinator speaks.  KeyError when the partition is not installed.
        """
        cdef Partition *found = self.partition(topic, partition)
        cdef Py_ssize_t size = len(batches)
        cdef const uint8_t *given = batches
        cdef Py_ssize_t count
        cdef Py_ssize_t number
        cdef Py_ssize_t position = 0
        cdef uint8_t *data = NULL
        cdef StagedBatch *staged = NULL
        cdef Status status = NOT_LEADER
        try:
            count = count_batches(given, size, INT32_MAX)
            if count == 0:
                raise ValueError("nothing to append")
            data = <uint8_t *>malloc(size)
            staged = <StagedBatch *>malloc(count * sizeof(StagedBatch))
            if data == NULL or staged == NULL:
                raise MemoryError("no memory for an append")
            memcpy(data, given, size)
            for number in range(count):
                staged[number].data = data + position
                staged[number].from_client = False
                staged[number].transaction_version = transaction_version
                parse_batch_header(data + position, size - position, &staged[number].header)
                position += staged[number].header.size
            if not self.stopped:
                with nogil:
                    status = plane_append(&self.plane, found, staged, count)
            if status in (NOT_LEADER, UNKNOWN_TOPIC_OR_PARTITION) and found.leader and not self.stopped:     # replace_log() is at it
                from pystream.common.errors import LogMoving
                raise LogMoving(f"{topic}-{partition}")
            raise_for_status(status, 0, f"{topic}-{partition}")
            return staged[0].base_offset, staged[count - 1].base_offset + staged[count - 1].header.last_offset_delta + 1
        finally:
            free(data)
            free(staged)
            partition_release(found)

    def watch(self, topic: str, partition: int) -> None:
        """From here on take_moved() names the partition whenever its high watermark has moved, until it is removed."""
        cdef Partition *found = self.partition(topic, partition)
        atomic_set_bits(&found.waiting_loops, <uint64_t>1 << CONTROL_INBOX)
        partition_release(found)

    def unwatch(self, topic: str, partition: int) -> None:
        """The end of watch(); what take_moved() was going to tell already it still tells."""
        cdef Partition *found = self.partition(topic, partition)
        atomic_clear_bits(&found.waiting_loops, <uint64_t>1 << CONTROL_INBOX)
        partition_release(found)

    def moved_fileno(self) -> int:
        """An eventfd that is readable while take_moved() has something to give."""
        return self.control_inbox.event_fd

    def take_moved(self) -> list:
        """[(topic, partition, high watermark)] of the watched partitions that moved since the last call, or lost their leadership.

        None in place of the list: memory was short, look at all of them.
        """
        cdef uint64_t bit = <uint64_t>1 << CONTROL_INBOX
        cdef uint64_t counter
        cdef int32_t count = 0
        cdef bint look_at_all = False
        cdef int32_t i
        cdef list found = []
        read(self.control_inbox.event_fd, &counter, sizeof(counter))
        # Cleared before the look: whoever posts later signals again.
        atomic_store32(&self.control_inbox.signaled, 0)
        inbox_take(self.control_inbox, &self.moved, &count, &self.moved_capacity, &look_at_all)
        for i in range(count):
            atomic_clear_bits(&self.moved[i].noticed_loops, bit)
            try:
                found.append((
                    self.moved[i].topic.name[:self.moved[i].topic.name_size].decode(),
                    self.moved[i].index,
                    atomic_load64(&self.moved[i].high_watermark),
                ))
            except MemoryError:
                look_at_all = True                # the others must be released all the same, or they are never told of again
            partition_release(self.moved[i])
        return None if look_at_all else found

    # ---- counters

    def counters(self) -> dict:
        """Totals over all loops since the start; `memory_used` and `connections` are levels."""
        cdef dict totals = {}
        cdef int32_t i
        for i in range(self.plane.loop_count):
            for name, value in loop_counters(&self.plane.loops[i].counters).items():
                totals[name] = totals.get(name, 0) + value
            totals["parked_requests"] = totals.get("parked_requests", 0) + self.plane.loops[i].purgatory.parked_count
        totals["memory_used_bytes"] = atomic_load64(&self.plane.memory.used)
        totals["control_queue_bytes"] = atomic_load64(&self.control.state.waiting_bytes)
        return totals

    def topic_counters(self) -> dict:
        """Per topic: (bytes in, bytes out, messages in, produce requests, fetch requests, failed produce, failed fetch requests)."""
        cdef dict totals = {}
        cdef Topic *topic
        cdef int32_t i
        with nogil:
            table_read_lock(&self.plane.table)
        try:
            for i in range(self.plane.table.by_name.capacity):
                topic = self.plane.table.by_name.slots[i]
                if topic != NULL:
                    totals[topic.name[:topic.name_size].decode()] = (
                        atomic_relaxed64(&topic.counters.bytes_in),
                        atomic_relaxed64(&topic.counters.bytes_out),
                        atomic_relaxed64(&topic.counters.messages_in),
                        atomic_relaxed64(&topic.counters.produce_requests),
                        atomic_relaxed64(&topic.counters.fetch_requests),
                        atomic_relaxed64(&topic.counters.failed_produce_requests),
                        atomic_relaxed64(&topic.counters.failed_fetch_requests),
                    )
        finally:
            table_unlock(&self.plane.table)
        return totals


cdef dict loop_counters(const LoopCounters *counters):
    return {
        "turns": atomic_relaxed64(&counters.turns),
        "connections": atomic_relaxed64(&counters.connections),
        "connections_accepted": atomic_relaxed64(&counters.connections_accepted),
        "connections_refused": atomic_relaxed64(&counters.connections_refused),
        "connections_throttled": atomic_relaxed64(&counters.connections_throttled),
        "accepts_delayed": atomic_relaxed64(&counters.accepts_delayed),
        "connections_closed": atomic_relaxed64(&counters.connections_closed),
        "connections_expired": atomic_relaxed64(&counters.connections_expired),
        "frames_received": atomic_relaxed64(&counters.frames_received),
        "frames_refused": atomic_relaxed64(&counters.frames_refused),
        "bytes_received": atomic_relaxed64(&counters.bytes_received),
        "bytes_sent": atomic_relaxed64(&counters.bytes_sent),
        "produce_requests": atomic_relaxed64(&counters.produce_requests),
        "fetch_requests": atomic_relaxed64(&counters.fetch_requests),
        "list_offsets_requests": atomic_relaxed64(&counters.list_offsets_requests),
        "cold_requests": atomic_relaxed64(&counters.cold_requests),
        "produce_partitions_failed": atomic_relaxed64(&counters.produce_partitions_failed),
        "fetch_partitions_failed": atomic_relaxed64(&counters.fetch_partitions_failed),
        "batches_appended": atomic_relaxed64(&counters.batches_appended),
        "appends": atomic_relaxed64(&counters.appends),
        "produce_parked": atomic_relaxed64(&counters.produce_parked),
        "fetch_parked": atomic_relaxed64(&counters.fetch_parked),
        "produce_timed_out": atomic_relaxed64(&counters.produce_timed_out),
        "fetch_sessions": atomic_relaxed64(&counters.fetch_sessions),
        "fetch_sessions_evicted": atomic_relaxed64(&counters.fetch_sessions_evicted),
        "throttled_ms": atomic_relaxed64(&counters.throttled_ms),
    }
