"""The requests of the data plane without sockets and threads: bytes go in as an event loop would hand them on.

Built only with PYSTREAM_SANITIZE=1 (see setup.py), for tests/fuzz/target_produce, _fetch, _list_offsets and _frames. Every body is
copied into memory of exactly its size first, so that AddressSanitizer sees the first byte read too far.
"""

from libc.stdint cimport int16_t, int32_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from pystream._native.buffer cimport Cursor, Output, cursor_over, output_free, output_init
from pystream._native.connection cimport (
    CALL_FETCH, CALL_LIST_OFFSETS, CALL_PRODUCE, BufferPool, Call, CallKind, Connection, MemoryPool, OutQueue, buffer_pool_free,
    buffer_pool_init, call_free, call_new, connection_add_call, connection_end_turn, connection_free, connection_next_frame,
    connection_receive, connection_take_call, out_free, out_new,
)
from pystream._native.counters cimport LoopCounters
from pystream._native.fetch cimport (
    FetchContext, fetch_begin, fetch_context_free, fetch_context_init, fetch_encode, fetch_end, fetch_evaluate,
)
from pystream._native.flusher cimport Flusher
from pystream._native.list_offsets cimport list_offsets_answer, list_offsets_encode
from pystream._native.local_log cimport LocalLog
from pystream._native.partition cimport Inbox, Partition, Topic, inbox_free, inbox_init, partition_new, topic_new
from pystream._native.partition_table cimport PartitionTable, table_add_partition, table_add_topic, table_free, table_init
from pystream._native.posix cimport close
from pystream._native.produce cimport ProduceStage, produce_begin, produce_encode, produce_flush, produce_stage_free, produce_stage_init
from pystream._native.purgatory cimport Purgatory, purgatory_forget, purgatory_free, purgatory_init
from pystream._native.status cimport OK, TRUNCATED, Status

cdef extern from "<sys/socket.h>" nogil:
    int AF_UNIX, SOCK_STREAM, SOCK_NONBLOCK
    int socketpair(int family, int kind, int protocol, int *pair)
    Py_ssize_t send(int fd, const void *data, size_t size, int flags)

cdef enum:
    NOW_MS = 1_000_000


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
            and fetch_context_init(&self.fetches, 16, 1 << 20, 7) and buffer_pool_init(&self.buffers, &self.memory)
            and inbox_init(&self.inbox)
        ):
            raise MemoryError("no memory for the probe")
        topic = topic_new(<const uint8_t *><const char *>name, <int32_t>len(name), <const uint8_t *><const char *>topic_id)
        table_add_topic(&self.table, topic)
        for index, log in enumerate(logs):
            partition = partition_new(topic, index, log.state, flusher.state, &self.inbox, 1)
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

    cdef Call *begin(self, CallKind kind, int16_t version):
        cdef Call *call = call_new(&self.buffers, &self.connection, kind, version, 1)
        connection_add_call(&self.connection, call)
        return call

    cdef void drop(self):
        cdef Call *call = connection_take_call(&self.connection)
        purgatory_forget(&self.purgatory, call)
        fetch_end(&self.fetches, call)
        call_free(&self.buffers, call)

    def produce(self, bytes body, int version) -> bytes:
        """The answer with its length, or None for a malformed body."""
        cdef Py_ssize_t size = len(body)
        cdef uint8_t *data = <uint8_t *>malloc(size)
        cdef Call *call = self.begin(CALL_PRODUCE, version)
        cdef Cursor cursor
        cdef Output output
        cdef Status status
        answer = None
        memcpy(data, <const char *>body, size)
        cursor_over(&cursor, data, size)
        status = produce_begin(&self.stage, &self.table, call, &cursor)
        produce_flush(&self.stage, &self.purgatory, &self.counters, NOW_MS, NOW_MS)
        free(data)
        if status == OK:
            output_init(&output, 0)
            produce_encode(call, &output)
            answer = output.data[:output.size]
            output_free(&output)
        self.drop()
        return answer

    def fetch(self, bytes body, int version) -> bytes:
        """The answer's bytes without file ranges, or None for a malformed body; a fetch that would be parked is answered at once."""
        cdef Py_ssize_t size = len(body)
        cdef uint8_t *data = <uint8_t *>malloc(size)
        cdef Call *call = self.begin(CALL_FETCH, version)
        cdef Cursor cursor
        cdef OutQueue *queue
        answer = None
        memcpy(data, <const char *>body, size)
        cursor_over(&cursor, data, size)
        if fetch_begin(&self.fetches, &self.counters, call, &cursor, NOW_MS) == OK:
            fetch_evaluate(&self.table, &self.purgatory, &self.counters, call, NOW_MS)
            queue = out_new()
            if fetch_encode(call, queue, &self.counters) == OK:
                answer = queue.bytes.data[:queue.bytes.size]
            out_free(queue)
        free(data)
        self.drop()
        return answer

    def list_offsets(self, bytes body, int version) -> bytes:
        """The answer with its length, or None for a malformed body."""
        cdef Py_ssize_t size = len(body)
        cdef uint8_t *data = <uint8_t *>malloc(size)
        cdef Call *call = self.begin(CALL_LIST_OFFSETS, version)
        cdef Cursor cursor
        cdef Output output
        answer = None
        memcpy(data, <const char *>body, size)
        cursor_over(&cursor, data, size)
        if list_offsets_answer(&self.table, call, &cursor) == OK:
            output_init(&output, 0)
            list_offsets_encode(call, &output)
            answer = output.data[:output.size]
            output_free(&output)
        free(data)
        self.drop()
        return answer

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
