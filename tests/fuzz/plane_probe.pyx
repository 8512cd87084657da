"""The requests of the data plane without sockets and threads: bytes go in as an event loop would hand them on.

Built only with PYSTREAM_SANITIZE=1 (see setup.py), for tests/fuzz/target_produce, _fetch, _list_offsets and _frames. Every body is
copied into memory of exactly its size first, so that AddressSanitizer sees the first byte read too far.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from pystream._native.buffer cimport Cursor, Output, cursor_over
from pystream._native.connection cimport (
    CALL_FETCH, CALL_LIST_OFFSETS, CALL_PRODUCE, BufferPool, Call, CallKind, Connection, MemoryPool, OutQueue, buffer_pool_free,
    buffer_pool_init, call_free, call_new, connection_add_call, connection_end_turn, connection_free, connection_next_frame,
    connection_receive, connection_take_call, out_free, out_new,
)
from pystream._native.counters cimport LoopCounters
from pystream._native.fetch cimport (
    FetchContext, fetch_begin, fetch_context_free, fetch_context_init, fetch_end, fetch_evaluate,
)
from pystream._native.fetch_answer cimport fetch_encode
from pystream._native.flusher cimport Flusher
from pystream._native.list_offsets cimport list_offsets_answer, list_offsets_encode
from pystream._native.local_log cimport LocalLog
from pystream._native.partition cimport Inbox, Partition, Topic, inbox_free, inbox_init, partition_new, topic_new
from pystream._native.partition_table cimport PartitionTable, table_add_partition, table_add_topic, table_free, table_init
from pystream._native.posix cimport close
from pystream._native.produce cimport ProduceStage, produce_begin, produce_encode, produce_flush, produce_stage_free, produce_stage_init
from pystream._native.purgatory cimport Purgatory, purgatory_forget, purgatory_free, purgatory_init
from pystream._native.status cimport OK, TRUNCATED, Status
from tests.fuzz.mutator cimport batch_size, changed_copy, mend_batch, next_random

cdef extern from "<sys/socket.h>" nogil:
    int AF_UNIX, SOCK_STREAM, SOCK_NONBLOCK
    int socketpair(int family, int kind, int protocol, int *pair)
    Py_ssize_t send(int fd, const void *data, size_t size, int flags)

cdef enum:
    NOW_MS = 1_000_000
    MAXIMUM_SEEDS = 256
    BATCH_MAGIC_AT = 16

cdef struct Seed:
    const uint8_t *data              # kept alive by the caller
    Py_ssize_t size
    int16_t version

cdef struct Mutator:
    Seed seeds[MAXIMUM_SEEDS]
    int count
    uint64_t state


cdef void mutator_init(Mutator *mutator, uint64_t seed) noexcept nogil:
    mutator.count = 0
    mutator.state = seed | 1


cdef void mutator_add(Mutator *mutator, const uint8_t *data, Py_ssize_t size, int version) noexcept nogil:
    if mutator.count < MAXIMUM_SEEDS and size > 0:
        mutator.seeds[mutator.count].data = data
        mutator.seeds[mutator.count].size = size
        mutator.seeds[mutator.count].version = <int16_t>version
        mutator.count += 1


cdef void repair_checksum(uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Makes the CRC of the first thing that looks like a batch right: most damage would otherwise end there."""
    cdef Py_ssize_t at
    cdef Py_ssize_t found
    for at in range(BATCH_MAGIC_AT, size - 8):
        if data[at] == 2:
            found = batch_size(data + at - BATCH_MAGIC_AT, size - at + BATCH_MAGIC_AT)
            if found > 0:
                mend_batch(data + at - BATCH_MAGIC_AT, found)
                return


cdef uint8_t *mutate(Mutator *mutator, Py_ssize_t *size, int16_t *version) noexcept nogil:
    """A changed copy of a seed, with its checksum made right in every other one."""
    cdef const Seed *seed = &mutator.seeds[next_random(&mutator.state) % mutator.count]
    cdef const Seed *other = &mutator.seeds[next_random(&mutator.state) % mutator.count]
    cdef uint8_t *data = changed_copy(&mutator.state, seed.data, seed.size, other.data, other.size, size)
    version[0] = seed.version
    if next_random(&mutator.state) % 2 == 0:
        repair_checksum(data, size[0])
    return data


cdef class PlaneProbe:
    """One topic with the given logs, one connection."""

    cdef PartitionTable table
    cdef ProduceStage stage
    cdef Purgatory purgatory
    cdef FetchContext fetches
    cdef LoopCounters counters
    cdef MemoryPool memory
    cdef BufferPool buffers
    cdef Inbox inbox
    cdef Connection connection
    cdef list logs
    cdef object flusher

    def __cinit__(self, list logs, Flusher flusher, bytes name, bytes topic_id):
        cdef Topic *topic
        cdef Partition *partition
        cdef LocalLog log
        self.logs = logs
        self.flusher = flusher
        self.memory.limit = 1 << 30
        if not (
            table_init(&self.table) and produce_stage_init(&self.stage) and purgatory_init(&self.purgatory, 0, NOW_MS)
            and fetch_context_init(&self.fetches, 16, 1 << 20, 120_000, 1 << 20, 7) and buffer_pool_init(&self.buffers, &self.memory)
            and inbox_init(&self.inbox)
        ):
            raise MemoryError("no memory for the probe")
        topic = topic_new(<const uint8_t *><const char *>name, <int32_t>len(name), <const uint8_t *><const char *>topic_id)
        table_add_topic(&self.table, topic)
        for index, log in enumerate(logs):
            partition = partition_new(topic, index, log.state, flusher.state, &self.inbox)
            partition.leader = True
            partition.leader_epoch = 0
            table_add_partition(&self.table, topic, partition)

    def __dealloc__(self):
        produce_stage_free(&self.stage)
        fetch_context_free(&self.fetches)
        purgatory_free(&self.purgatory)
        buffer_pool_free(&self.buffers)
        table_free(&self.table)
        inbox_free(&self.inbox)

    cdef Call *begin(self, CallKind kind, int16_t version) noexcept nogil:
        cdef Call *call = call_new(&self.buffers, &self.connection, kind, version, 1)
        connection_add_call(&self.connection, call)
        return call

    cdef void drop(self) noexcept nogil:
        cdef Call *call = connection_take_call(&self.connection)
        purgatory_forget(&self.purgatory, call)
        fetch_end(&self.fetches, call)
        call_free(&self.buffers, call)

    cdef Status run_produce(self, uint8_t *data, Py_ssize_t size, int16_t version, Output *answer) noexcept nogil:
        cdef Call *call = self.begin(CALL_PRODUCE, version)
        cdef Cursor cursor
        cdef Status status
        cursor_over(&cursor, data, size)
        status = produce_begin(&self.stage, &self.table, call, &cursor)
        produce_flush(&self.stage, &self.purgatory, &self.counters, NOW_MS, NOW_MS)
        if status == OK:
            produce_encode(call, answer)
        self.drop()
        return status

    cdef Status run_fetch(self, uint8_t *data, Py_ssize_t size, int16_t version, OutQueue *queue) noexcept nogil:
        cdef Call *call = self.begin(CALL_FETCH, version)
        cdef Cursor cursor
        cdef Status status
        cursor_over(&cursor, data, size)
        status = fetch_begin(&self.fetches, &self.counters, call, &cursor, NOW_MS)
        if status == OK:
            fetch_evaluate(&self.table, &self.purgatory, &self.counters, call, NOW_MS)
            status = fetch_encode(&self.table, call, queue, &self.counters)
        self.drop()
        return status

    cdef Status run_list_offsets(self, uint8_t *data, Py_ssize_t size, int16_t version, Output *answer) noexcept nogil:
        cdef Call *call = self.begin(CALL_LIST_OFFSETS, version)
        cdef Cursor cursor
        cdef Status status
        cursor_over(&cursor, data, size)
        status = list_offsets_answer(&self.table, call, &cursor)
        if status == OK:
            list_offsets_encode(call, answer)
        self.drop()
        return status

    cdef object run(self, str kind, bytes body, int16_t version):
        cdef Py_ssize_t size = len(body)
        cdef uint8_t *data = <uint8_t *>malloc(size)
        cdef OutQueue *queue = out_new()
        cdef Status status
        memcpy(data, <const char *>body, size)
        if kind == "produce":
            status = self.run_produce(data, size, version, &queue.bytes)
        elif kind == "fetch":
            status = self.run_fetch(data, size, version, queue)
        else:
            status = self.run_list_offsets(data, size, version, &queue.bytes)
        free(data)
        answer = queue.bytes.data[:queue.bytes.size] if status == OK else None
        out_free(queue)
        return answer

    def produce(self, bytes body, int version) -> bytes:
        """The answer with its length, or None for a malformed body."""
        return self.run("produce", body, version)

    def fetch(self, bytes body, int version) -> bytes:
        """The answer's bytes without file ranges, or None for a malformed body; a fetch that would be parked is answered at once."""
        return self.run("fetch", body, version)

    def list_offsets(self, bytes body, int version) -> bytes:
        """The answer with its length, or None for a malformed body."""
        return self.run("list_offsets", body, version)

    def hammer(self, str kind, list seeds, int first_version, int last_version, int64_t count, uint64_t random_seed) -> tuple:
        """`count` mutated bodies without Python in between; (accepted, refused). `seeds` are (version, body)."""
        cdef Mutator mutator
        cdef OutQueue *queue = out_new()
        cdef int64_t accepted = 0
        cdef int64_t _done
        cdef int which = ("produce", "fetch", "list_offsets").index(kind)
        cdef int versions = last_version - first_version + 1
        cdef int16_t version
        cdef uint8_t *data
        cdef Py_ssize_t size
        cdef Status status
        cdef list _alive = [body for _, body in seeds]
        mutator_init(&mutator, random_seed)
        for wanted, body in seeds:
            mutator_add(&mutator, <const uint8_t *><const char *>body, len(body), wanted)
        with nogil:
            for _done in range(count):
                data = mutate(&mutator, &size, &version)
                if next_random(&mutator.state) % 16 == 0:
                    version = <int16_t>(first_version + next_random(&mutator.state) % versions)
                if which == 0:
                    status = self.run_produce(data, size, version, &queue.bytes)
                elif which == 1:
                    status = self.run_fetch(data, size, version, queue)
                else:
                    status = self.run_list_offsets(data, size, version, &queue.bytes)
                free(data)
                accepted += status == OK
                out_free(queue)
                queue = out_new()
        out_free(queue)
        return accepted, count - accepted

    def frames(self, list pieces, int maximum_size) -> list:
        """The frames that a connection cuts out of `pieces`, each received by itself; the last item is the status that ended it, or 0."""
        cdef Connection *connection = <Connection *>calloc(1, sizeof(Connection))
        cdef const uint8_t *frame
        cdef const char *data
        cdef int32_t size
        cdef int pair[2]
        cdef Status status = OK
        cut = []
        if socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0:
            raise OSError("no socket pair")
        connection.fd = pair[0]
        for piece in pieces:
            data = piece
            if send(pair[1], data, len(piece), 0) < 0:
                break
            connection.readable = True
            while connection.readable and (status == OK or status == TRUNCATED):
                if connection_receive(connection, &self.buffers, NOW_MS) != OK:
                    break
                status = OK
                while status == OK:
                    status = connection_next_frame(connection, maximum_size, &frame, &size)
                    if status == OK:
                        cut.append(frame[:size])
                connection_end_turn(connection, &self.buffers, NOW_MS)
        cut.append(0 if status == TRUNCATED else <int>status)
        connection_free(connection, &self.buffers)
        close(pair[0])
        close(pair[1])
        return cut

    @property
    def memory_used(self) -> int:
        """Of the shared pool: 0 once every connection is gone."""
        return self.memory.used
