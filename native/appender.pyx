"""Appending to a producer's buffer, from any thread: one record, a list of them, or columns.

The GIL is held but for the loops over many rows; the queue's lock is held for a record or so many rows, and never while
Python is called.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from pystream._native.batch cimport TRANSACTIONAL_FLAG
from pystream._native.column_source cimport (
    NO_FIELD, ColumnSource, HeaderColumn, bytes_from, put_headers, source_of_list)
from pystream._native.compression cimport NO_CODEC, codec_buffer, level_of, release_buffer
from pystream._native.delivery cimport DONE, Deliveries, Pending, ProducerBatch, new_delivery
from pystream._native.memory_pool cimport BULK_BUFFER, COMMON_BUFFER, MemoryPool
from pystream._native.posix cimport monotonic_ms, pthread_mutex_lock, pthread_mutex_unlock, wall_clock_ms
from pystream._native.record_builder cimport BatchFields, record_room
from pystream._native.row_writer cimport RowSource, bytes_of_row, free_rows, row_at, write_rows
from pystream._native.send_queue cimport (
    ANY_PARTITION, NEEDS_BATCH, NEEDS_HOLD, NO_MEMORY, NO_SPAN, PLACED, REFUSED, TOO_LARGE, UNKNOWN_PARTITION, Lane,
    Placed, Placing, Row, SendQueue, add_lanes, free_queue, init_queue, lane_at, place_row, take_off, take_queued)
from pystream._native.status cimport MALFORMED, OK, OUT_OF_MEMORY, Status, raise_for_status

from pystream._native.compression import is_available
from pystream.common import errors

cdef extern from *:
    """
    #include <pthread.h>
    static int pystream_forks;
    static void pystream_forked(void) { pystream_forks++; }
    static int pystream_fork_count(void) { return pystream_forks; }
    static void pystream_watch_forks(void) { pthread_atfork(NULL, NULL, pystream_forked); }
    """
    int fork_count "pystream_fork_count"() noexcept nogil        # how many forks lie between the process and its import
    void watch_forks "pystream_watch_forks"() noexcept nogil

cdef enum:
    ROWS_TO_RELEASE = 256
    ROWS_UNDER_LOCK = 1024
    MOST_SPARES = 64
    BAD_ROW = 100                        # beside Placed: a row lies outside its column

cdef struct SpanCount:
    Pending *batch
    int32_t first
    int32_t count

cdef struct Errand:                      # rows of one append_many() or append_columns()
    RowSource source
    Py_ssize_t start                     # the first row to place
    Py_ssize_t row
    SpanCount *spans
    Py_ssize_t span_count
    Py_ssize_t span_capacity

watch_forks()


# ---- rows without Python

cdef Status note_span(Errand *errand, Pending *batch, int32_t index) noexcept nogil:
    cdef SpanCount *spans
    if batch.span != NO_SPAN:
        errand.spans[batch.span].count += 1
        return OK
    if errand.span_count == errand.span_capacity:
        spans = <SpanCount *>realloc(errand.spans, (errand.span_capacity * 2 + 16) * sizeof(SpanCount))
        if spans == NULL:
            return OUT_OF_MEMORY
        errand.spans = spans
        errand.span_capacity = errand.span_capacity * 2 + 16
    batch.span = <int32_t>errand.span_count
    errand.spans[errand.span_count].batch = batch
    errand.spans[errand.span_count].first = index
    errand.spans[errand.span_count].count = 1
    errand.span_count += 1
    return OK


cdef void follow_row(SendQueue *queue, Pending *batch, Errand *errand) noexcept nogil:
    """Rows behind one that was placed go into its batch while they surely fit: place_row() decides of all others."""
    cdef Lane *lane = lane_at(queue, batch.topic, batch.partition)
    cdef Py_ssize_t first = errand.row, last = min(errand.source.rows, errand.row + ROWS_UNDER_LOCK)
    cdef Py_ssize_t before = batch.builder.records.size
    cdef Py_ssize_t most = min(batch.full_at, <Py_ssize_t>batch.builder.records.capacity) - record_room(0, 0, 0)
    if not batch.is_open:
        return
    errand.row = write_rows(&batch.builder, &errand.source, first, last, most)
    errand.spans[batch.span].count += <int32_t>(errand.row - first)
    lane.records += errand.row - first
    queue.queued_records += errand.row - first
    if queue.topics[batch.topic].sticky == batch.partition:
        queue.topics[batch.topic].sticky_bytes += <Py_ssize_t>batch.builder.records.size - before


cdef int place_rows(SendQueue *queue, Placing *placing, Errand *errand) noexcept nogil:
    """Rows until all are placed or one is not: a Placed, or BAD_ROW."""
    cdef Row row
    cdef int placed = PLACED
    cdef bint follows = errand.source.keys.kind == NO_FIELD or placing.partition != ANY_PARTITION
    memset(&row, 0, sizeof(Row))
    pthread_mutex_lock(&queue.lock)
    while placed == PLACED and errand.row < errand.source.rows:
        placing.status = row_at(&errand.source, errand.row, &row)
        if placing.status != OK:
            placed = BAD_ROW if placing.status == MALFORMED else REFUSED
            break
        placed = place_row(queue, placing, &row)
        if placed != PLACED:
            break
        errand.row += 1
        if note_span(errand, placing.where, placing.index) != OK:
            placing.status = OUT_OF_MEMORY
            placed = REFUSED
        elif follows:
            follow_row(queue, placing.where, errand)
        if follows or errand.row % ROWS_UNDER_LOCK == 0:
            pthread_mutex_unlock(&queue.lock)
            pthread_mutex_lock(&queue.lock)
    pthread_mutex_unlock(&queue.lock)
    return placed


# ---- the face

cdef inline void lock(SendQueue *queue) noexcept nogil:
    pthread_mutex_lock(&queue.lock)


cdef inline void unlock(SendQueue *queue) noexcept nogil:
    pthread_mutex_unlock(&queue.lock)


cdef object drop_spares(Placing *placing):
    """Those that were not used."""
    cdef Pending *spare
    while placing.spare != NULL:
        spare = placing.spare
        placing.spare = spare.next
        spare.next = NULL
        Py_DECREF(<ProducerBatch>spare.face)


cdef object abandon(Pending *batch, bint is_forked):
    """The accumulator went away unclosed: whoever waits is told.  In a child process nobody does, and no lock is safe."""
    cdef ProducerBatch face = <ProducerBatch>batch.face
    if not is_forked:
        face.error = errors.Closed("the producer went away before the message was sent")
        face.settle(DONE)
    Py_DECREF(face)


cdef class Appender:
    """The half of an Accumulator that any thread may use: topics and append*()."""

    def __cinit__(
            self, *, int64_t limit_bytes=33_554_432, Py_ssize_t batch_bytes=16_384, Py_ssize_t bulk_bytes=0,
            int64_t linger_ms=5, Py_ssize_t max_request_bytes=1_048_576, int64_t delivery_timeout_ms=120_000, int codec=NO_CODEC,
            level=None, bint transactional=False, bint ignore_keys=False, bint adaptive=True, on_ready=None,
            on_memory=None):
        init_queue(&self.queue)
        self.pool = MemoryPool(limit_bytes, on_memory)
        self.queue.pool = &self.pool.pool
        if batch_bytes < 0 or bulk_bytes < 0 or linger_ms < 0 or delivery_timeout_ms < 0 or not 0 < max_request_bytes <= INT32_MAX // 2:
            raise ValueError("sizes and times must not be negative, and a request takes 1 to 1,073,741,823 bytes")
        if not is_available(codec):
            raise ValueError(f"codec {codec} is unknown, or its library is not installed")
        memset(&self.fields, 0, sizeof(BatchFields))
        self.fields.attributes = codec | (TRANSACTIONAL_FLAG if transactional else 0)
        self.fields.level = level_of(codec, level)
        self.fields.partition_leader_epoch = -1
        self.queue.batch_bytes = batch_bytes
        self.queue.bulk_bytes = max(batch_bytes, bulk_bytes)
        self.pool.pool.buffer_bytes[COMMON_BUFFER] = batch_bytes + record_room(0, 0, 0)
        self.pool.pool.buffer_bytes[BULK_BUFFER] = self.queue.bulk_bytes + record_room(0, 0, 0)
        self.queue.linger_ms = linger_ms
        self.queue.max_request_bytes = max_request_bytes
        self.queue.delivery_timeout_ms = delivery_timeout_ms
        self.queue.is_compressing = codec != NO_CODEC
        self.queue.ignore_keys = ignore_keys
        self.queue.is_adaptive = adaptive
        self.indices = {}
        self.names = []
        self.last_index = -1
        self.on_ready = on_ready
        self.forks = fork_count()

    def __dealloc__(self):
        # Nobody calls any more, so there is no lock to take: in a child process it could be held for ever.
        cdef Pending *batch
        if self.queue.pool != NULL:
            while True:
                batch = take_queued(&self.queue)
                if batch == NULL:
                    break
                abandon(batch, self.forks != fork_count())
            for place in range(self.queue.listed_count):
                while self.queue.listed[place].flying != NULL:
                    batch = self.queue.listed[place].flying
                    take_off(&self.queue, batch)
                    abandon(batch, self.forks != fork_count())
        free_queue(&self.queue)

    # ---- topics

    def set_topic(self, str topic not None, int32_t partitions, unavailable=()):
        """Make the topic known, or change it; partitions never become fewer.

        Records without key go round the partitions that are not `unavailable` (those without leader).
        """
        cdef Lane *lane
        cdef Status status
        cdef int32_t partition
        cdef set away = set(unavailable)
        index = self.indices.setdefault(topic, len(self.names))
        if index == len(self.names):
            self.names.append(topic)
        lock(&self.queue)
        status = add_lanes(&self.queue, index, partitions)
        unlock(&self.queue)
        raise_for_status(status, partitions, "partitions of a topic")
        for partition in range(self.queue.topics[index].count):
            lane = lane_at(&self.queue, index, partition)
            lane.is_available = partition not in away

    def partition_count(self, str topic not None):
        """0 for a topic that set_topic() has not made known."""
        index = self.indices.get(topic)
        return 0 if index is None else self.queue.topics[index].count

    cdef int32_t index_of(self, str topic) except -2:
        """-1 for a topic that is not known."""
        if topic is self.last_topic:
            return self.last_index
        index = self.indices.get(topic)
        if index is None:
            return -1
        self.last_topic = topic
        self.last_index = index
        return index

    cdef Lane *lane_of(self, str topic, int32_t partition) except NULL:
        cdef Lane *lane = lane_at(&self.queue, self.index_of(topic), partition)
        if lane == NULL:
            self.refuse(UNKNOWN_PARTITION, OK, topic, partition, 0)
        return lane

    # ---- appending

    cdef object check_open(self):
        if self.forks != fork_count():
            raise errors.ClientForked("this producer was made before the process forked: make one in the child process")
        raise errors.Closed("the producer is closed")

    cdef object refuse(self, int placed, Status status, topic, int32_t partition, Py_ssize_t size):
        if placed == UNKNOWN_PARTITION:
            where = topic if partition == ANY_PARTITION else f"{topic}-{partition}"
            raise errors.UnknownTopicOrPartition(f"{where}: not in what is known of the cluster")
        if placed == TOO_LARGE:
            raise errors.MessageTooLarge(
                f"{topic}: a record of {size} bytes is above max.request.size ({self.queue.max_request_bytes}) or "
                f"buffer.memory ({self.pool.limit_bytes})")
        raise_for_status(status, 0, f"record for {topic}")

    cdef void call_ready(self) noexcept:
        """A fault of it goes to sys.unraisablehook: the record is taken."""
        if self.on_ready is not None:
            self.on_ready()

    cdef Pending *new_spare(self, str topic) except NULL:
        """A batch for the queue, with the queue's reference."""
        cdef ProducerBatch batch = ProducerBatch.__new__(ProducerBatch, self.pool)
        batch.topic_name = topic
        Py_INCREF(batch)
        return &batch.pending

    cdef Placed place(self, str topic, Placing *placing, const Row *row) except *:
        """One record; a batch is made for it where one is needed."""
        cdef Placed placed
        lock(&self.queue)
        placed = place_row(&self.queue, placing, row)
        unlock(&self.queue)
        while placed == NEEDS_BATCH:
            placing.now_ms = monotonic_ms()
            placing.spare = self.new_spare(topic)
            lock(&self.queue)
            placed = place_row(&self.queue, placing, row)
            unlock(&self.queue)
            drop_spares(placing)
        return placed

    cdef Placed place_with_headers(self, str topic, Placing *placing, Row *row, headers) except *:
        cdef codec_buffer header_bytes
        memset(&header_bytes, 0, sizeof(codec_buffer))
        try:
            row.header_count = put_headers(&header_bytes, headers)
            row.headers = header_bytes.data
            row.headers_size = header_bytes.size
            return self.place(topic, placing, row)
        finally:
            release_buffer(&header_bytes)

    def append(
            self, str topic not None, value, key=None, headers=None, int32_t partition=ANY_PARTITION,
            int64_t timestamp_ms=-1):
        """Add one record; None when the memory is full: wait for `on_memory`, then try again.

        Partition -1: by murmur2 of the key, or sticky without a key (KIP-794).  Timestamp -1: now.
        Raises UnknownTopicOrPartition before set_topic() knows them, MessageTooLarge above max_request_bytes (or above
        the limit), InvalidTimestamp, Closed after close(), ClientForked in a child process.
        """
        cdef Row row
        cdef Placing placing
        cdef Placed placed
        if self.queue.is_closed or self.forks != fork_count():
            self.check_open()
        row.value_size = row.key_size = -1
        row.value = row.key = row.headers = NULL
        row.headers_size = row.header_count = 0
        if value is not None:
            if not PyBytes_CheckExact(value):
                value = bytes_from(value, "value")
            row.value = <const uint8_t *>PyBytes_AS_STRING(value)
            row.value_size = PyBytes_GET_SIZE(value)
        if key is not None:
            if not PyBytes_CheckExact(key):
                key = bytes_from(key, "key")
            row.key = <const uint8_t *>PyBytes_AS_STRING(key)
            row.key_size = PyBytes_GET_SIZE(key)
        row.timestamp_ms = wall_clock_ms() if timestamp_ms == -1 else timestamp_ms
        placing.topic = self.last_index if topic is self.last_topic else self.index_of(topic)
        placing.partition = partition
        placing.batch_bytes = self.queue.batch_bytes
        placing.expected_bytes = 0
        placing.call = 0
        placing.spare = NULL
        placing.tell = False
        try:
            if not headers:
                placed = self.place(topic, &placing, &row)
            else:
                placed = self.place_with_headers(topic, &placing, &row, headers)
            if placed == PLACED:
                # The GIL has been held since the record was placed, so its batch is still there.
                return new_delivery(<ProducerBatch>placing.where.face, placing.index, row.timestamp_ms)
            if placed != NO_MEMORY:
                self.refuse(placed, placing.status, topic, partition, placing.record_bytes)
            return None
        finally:
            if placing.tell:                                 # once the queue took it for told, whatever is raised
                self.call_ready()

    def append_many(
            self, str topic not None, values not None, keys=None, *, int32_t partition=ANY_PARTITION, timestamps=-1,
            headers=None, HeaderColumn row_headers=None, Py_ssize_t start=0):
        """Add a record for each value from `start` on; values and keys are bytes or None; `headers` go with each.

        Those of `row_headers` go with their row, in front of them.

        `timestamps`: one for all, or int64s by the buffer protocol; -1 is now.  Ends before the first row that the
        memory has no room for or that append() would refuse: see Deliveries.taken.  When that is row `start` itself,
        `taken` is 0 for want of memory, and for all else it raises as append() does.
        """
        return self.append_rows(
            topic, source_of_list(values), None if keys is None else source_of_list(keys), partition, timestamps, headers,
            row_headers, start)

    def append_columns(
            self, str topic not None, ColumnSource values not None, ColumnSource keys=None, *,
            int32_t partition=ANY_PARTITION, timestamps=-1, headers=None, HeaderColumn row_headers=None,
            Py_ssize_t start=0):
        """The same for columns: without a Python object a record, and without the GIL."""
        return self.append_rows(topic, values, keys, partition, timestamps, headers, row_headers, start)

    cdef Deliveries append_rows(
            self, str topic, ColumnSource values, ColumnSource keys, int32_t partition, timestamps, headers,
            HeaderColumn row_headers, Py_ssize_t start):
        cdef const int64_t[::1] times = None if isinstance(timestamps, int) else timestamps
        cdef Errand errand
        cdef codec_buffer header_bytes
        cdef Deliveries deliveries = Deliveries.__new__(Deliveries)
        if self.queue.is_closed or self.forks != fork_count():
            self.check_open()
        memset(&errand, 0, sizeof(Errand))
        memset(&header_bytes, 0, sizeof(codec_buffer))
        errand.source.values = values.source
        errand.source.rows = values.source.rows
        if keys is not None:
            errand.source.keys = keys.source
            if len(keys) != errand.source.rows:
                raise ValueError(f"{len(keys)} keys for {errand.source.rows} values")
        if row_headers is not None:
            errand.source.headers = row_headers.source
            if row_headers.source.rows != errand.source.rows:
                raise ValueError(f"headers of {row_headers.source.rows} rows for {errand.source.rows} values")
        if times is not None:
            if times.shape[0] != errand.source.rows:
                raise ValueError(f"{times.shape[0]} timestamps for {errand.source.rows} values")
            errand.source.timestamps = &times[0] if errand.source.rows > 0 else NULL
        else:
            errand.source.timestamp_ms = wall_clock_ms() if timestamps == -1 else timestamps
        if start < 0 or start > errand.source.rows:
            raise ValueError(f"row {start} of {errand.source.rows}")
        errand.start = errand.row = start
        deliveries.batches = []
        try:
            if headers:
                errand.source.headers.count = put_headers(&header_bytes, headers)
                errand.source.headers.encoded = header_bytes.data
                errand.source.headers.encoded_size = header_bytes.size
            _held = self.run_errand(&errand, topic, partition)
            deliveries.taken = errand.row - start
            for place in range(errand.span_count):
                deliveries.batches.append((
                    <ProducerBatch>errand.spans[place].batch.face, errand.spans[place].first,
                    errand.spans[place].count))
        finally:
            free(errand.spans)
            release_buffer(&header_bytes)
            free_rows(&errand.source)
        return deliveries

    cdef object run_errand(self, Errand *errand, str topic, int32_t partition):
        """Places the rows.  Gives what keeps each batch that took some alive, whatever becomes of it meanwhile."""
        cdef list held = []
        cdef Placing placing
        cdef Py_ssize_t start = errand.row, row_bytes = bytes_of_row(&errand.source)
        cdef int placed
        memset(&placing, 0, sizeof(Placing))
        self.queue.calls += 1
        placing.call = self.queue.calls
        placing.topic = self.index_of(topic)
        placing.partition = partition
        placing.batch_bytes = self.queue.bulk_bytes
        while True:
            placing.now_ms = monotonic_ms()
            placing.expected_bytes = (errand.source.rows - errand.row) * row_bytes // self.partitions_of(&placing, errand)
            if errand.source.rows - errand.row < ROWS_TO_RELEASE:
                placed = place_rows(&self.queue, &placing, errand)
            else:
                with nogil:
                    placed = place_rows(&self.queue, &placing, errand)
            if placing.tell:
                placing.tell = False
                self.call_ready()
            if placed == NEEDS_HOLD:
                self.hold(&placing, held)
            elif placed == NEEDS_BATCH:
                self.make_spares(&placing, errand, topic, held)
            else:
                break
        drop_spares(&placing)
        # What came before a row that is refused stays taken: the next call begins with that row, and raises.
        if placed != PLACED and placed != NO_MEMORY and errand.row == start:
            if placed == BAD_ROW:
                raise ValueError(f"row {errand.row} lies outside the data of its column, or a header of it has no name")
            self.refuse(placed, placing.status, topic, partition, placing.record_bytes)
        return held

    cdef Py_ssize_t partitions_of(self, const Placing *placing, const Errand *errand):
        """Over how many the rows spread at one time: those without key fill one after the other."""
        if placing.partition != ANY_PARTITION or errand.source.keys.kind == NO_FIELD or self.queue.ignore_keys:
            return 1
        return max(1, self.queue.topics[placing.topic].count) if 0 <= placing.topic < self.queue.topic_count else 1

    cdef object hold(self, Placing *placing, list held):
        """Takes the open batch that somebody else began, if there still is one."""
        cdef Pending *batch
        lock(&self.queue)
        batch = placing.lane.last
        if batch != NULL:
            batch.call = placing.call
            batch.span = NO_SPAN
            Py_INCREF(<ProducerBatch>batch.face)
        unlock(&self.queue)
        if batch != NULL:
            held.append(<ProducerBatch>batch.face)
            Py_DECREF(<ProducerBatch>batch.face)

    cdef object make_spares(self, Placing *placing, Errand *errand, str topic, list held):
        """As many as the rows that are left may need, so that the GIL is asked for seldom."""
        cdef Pending *spare
        cdef Py_ssize_t done = max(errand.row - errand.start, 1), wanted
        wanted = min(MOST_SPARES, 1 + (errand.source.rows - errand.row) * max(errand.span_count, 1) // done)
        for _number in range(min(wanted, errand.source.rows - errand.row)):
            spare = self.new_spare(topic)
            spare.next = placing.spare
            placing.spare = spare
            held.append(<ProducerBatch>spare.face)
