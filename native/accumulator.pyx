"""The producer's buffer: records of any thread become batches for the sender, within one exact memory bound.

What the sender does is here, what everybody does is in appender.  The GIL is held but while a large batch is finished.
"""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport INT32_MAX, int16_t, int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from pystream._native.appender cimport Appender
from pystream._native.atomics cimport atomic_count64, atomic_relaxed64
from pystream._native.batch cimport NO_SEQUENCE, stamp_producer
from pystream._native.compression cimport NO_CODEC, codec_buffer, release_buffer
from pystream._native.delivery cimport BATCH_OVERHEAD, IN_FLIGHT, SPLIT, DONE, Pending, ProducerBatch
from pystream._native.memory_pool cimport pool_force
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.record_builder cimport BatchFields, add_record, init_builder, pack_batch
from pystream._native.record_reader cimport (
    RecordCursor, RecordView, close_batch, init_record_cursor, next_record, open_batch)
from pystream._native.send_queue cimport (
    NEVER, Lane, SendQueue, close_sequence_gap, forget_idle_lanes, lane_is_ready, next_deadline_of, note_ratio,
    put_back, take_expired, take_first, take_off, take_queued, trim_batch)
from pystream._native.status cimport NOT_FOUND, OK, Status, raise_for_status

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline int64_t pystream_thread_cpu_ns(void) {
        struct timespec now; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    """
    int64_t thread_cpu_ns "pystream_thread_cpu_ns"() noexcept nogil

cdef enum:
    SMALLEST_RELEASE = 16384             # bytes of a batch to compress or to checksum
    SEQUENCE_MASK = 0x7FFFFFFF


cdef inline void lock(SendQueue *queue) noexcept nogil:
    pthread_mutex_lock(&queue.lock)


cdef inline void unlock(SendQueue *queue) noexcept nogil:
    pthread_mutex_unlock(&queue.lock)


# ---- finishing

cdef Status finish(SendQueue *queue, Pending *batch, const BatchFields *fields, codec_buffer *scratch) noexcept nogil:
    """The bytes with the batch's producer fields: packed, or stamped anew."""
    cdef BatchFields stamped = fields[0]
    cdef int64_t began_ns
    cdef Status status
    if batch.is_packed:
        stamp_producer(
            batch.builder.records.data, <int32_t>batch.builder.records.size, batch.producer_id, batch.producer_epoch,
            batch.base_sequence)
        return OK
    stamped.producer_id = batch.producer_id
    stamped.producer_epoch = batch.producer_epoch
    stamped.base_sequence = batch.base_sequence
    if not queue.is_compressing:
        status = pack_batch(&batch.builder, &stamped, scratch)
    else:
        began_ns = thread_cpu_ns()
        status = pack_batch(&batch.builder, &stamped, scratch)
        atomic_count64(&queue.codec_ns, thread_cpu_ns() - began_ns)
    batch.is_packed = status == OK
    return status


cdef Status finish_first(
        SendQueue *queue, Pending *batch, const BatchFields *fields) noexcept nogil:
    """finish() with the queue's scratch memory, and what follows from how small it became."""
    cdef size_t plain_size = batch.builder.records.size
    cdef bint was_packed = batch.is_packed
    cdef codec_buffer scratch
    cdef Status status
    lock(queue)
    scratch = queue.scratch
    memset(&queue.scratch, 0, sizeof(codec_buffer))
    unlock(queue)
    status = finish(queue, batch, fields, &scratch)
    lock(queue)
    if queue.scratch.data == NULL:
        queue.scratch = scratch
        memset(&scratch, 0, sizeof(codec_buffer))
    if status == OK and not was_packed:
        if queue.is_compressing:
            note_ratio(queue, batch.topic, plain_size, batch.builder.records.size)
        trim_batch(queue, batch)
    unlock(queue)
    release_buffer(&scratch)
    return status


# ---- splitting

cdef Status copy_records(RecordCursor *cursor, RecordView *record, Pending *piece, Py_ssize_t limit) noexcept nogil:
    """`record` and those behind it while they fit; NOT_FOUND when none is left, OK with the next one in `record`."""
    cdef Py_ssize_t size
    cdef Status status = OK
    init_builder(&piece.builder, 0)
    while status == OK:
        size = max(record.key_size, 0) + max(record.value_size, 0) + record.headers_size
        if piece.builder.count > 0 and <Py_ssize_t>piece.builder.records.size + size > limit:
            return OK
        status = add_record(
            &piece.builder, piece.builder.count, record.timestamp, record.key, record.key_size, record.value,
            record.value_size, record.headers, record.headers_size, record.header_count)
        if status == OK:
            status = next_record(cursor, record)
    return status


@cython.final
cdef class Accumulator(Appender):
    """The producer's buffer.  Appending may come from any thread; all else from the one that sends.

        append* ──► [open batch] ──full, linger over, flush──► ready() ─► drain() ──► in flight ─► complete() | fail()
                        ▲ one per partition                                  ▲            │
                        └────────────────────────────────────────────────────┴─ retry() | split()

    `limit_bytes` (buffer.memory) bounds what the batches take, compressed or not, in flight too.  `on_ready` is called
    from append* when the sender has something to do and does not know it: at most once between two calls of ready().
    `on_memory` is called when memory came back after an append was refused.  Both must be quick and not raise; they
    are called without any lock, from whichever thread.  Topics and append* are Appender's.
    """

    def ready(self, int64_t now_ms):
        """(topic, partition) of what can be drained now, beginning with another one each time.

        Left out: muted partitions, batches in back-off, and what idempotence forbids yet (a retry that is not the
        first in flight; a new producer epoch while the old one is in flight).
        """
        cdef int64_t next_ms = NEVER
        cdef Py_ssize_t place, count = 0
        cdef Lane **found
        cdef Lane *lane
        lock(&self.queue)
        forget_idle_lanes(&self.queue)
        self.queue.is_told = False
        self.queue.asleep_until = NEVER
        self.queue.turn += 1
        self.queue.ready_ms = now_ms
        found = <Lane **>malloc(max(self.queue.listed_count, 1) * sizeof(Lane *))
        if found != NULL:
            for place in range(self.queue.listed_count):
                lane = self.queue.listed[(place + self.queue.turn) % self.queue.listed_count]
                if lane_is_ready(&self.queue, lane, now_ms, &next_ms):
                    found[count] = lane
                    count += 1
        unlock(&self.queue)
        if found == NULL:
            raise MemoryError("no memory for the list of what is ready")
        try:
            return [(self.names[found[place].topic], found[place].partition) for place in range(count)]
        finally:
            free(found)

    def next_deadline(self):
        """The monotonic millisecond at which ready() or expire() may next find something new by time alone.

        It lies behind the time of the last ready(), which has told what was due by then.
        """
        cdef int64_t next_ms
        lock(&self.queue)
        next_ms = next_deadline_of(&self.queue)
        unlock(&self.queue)
        return None if next_ms == NEVER else next_ms

    def drain(self, str topic not None, int32_t partition, int64_t now_ms, Py_ssize_t max_bytes=INT32_MAX):
        """The first batch of the partition, finished and in flight; None when nothing is ready or it is above `max_bytes`.

        Compression and CRC happen here, once, without the GIL.  A retry of the same producer id and epoch keeps its
        bytes.  Batches leave a partition in order.
        """
        cdef Lane *lane = self.lane_of(topic, partition)
        cdef bint stamp = False
        cdef Pending *batch
        cdef Status status = OK
        cdef ProducerBatch face
        lock(&self.queue)
        batch = take_first(&self.queue, lane, now_ms, max_bytes, &stamp)
        unlock(&self.queue)
        if batch == NULL:
            return None
        face = <ProducerBatch>batch.face
        if stamp:
            if batch.is_packed:
                face.make_writable()
            if batch.builder.records.size < SMALLEST_RELEASE and self.fields.attributes & 7 == NO_CODEC:
                status = finish_first(&self.queue, batch, &self.fields)
            else:
                with nogil:
                    status = finish_first(&self.queue, batch, &self.fields)
            self.pool.tell()
        if status != OK:
            self.undo_drain(batch)
            raise_for_status(status, 0, f"batch of {topic}-{partition}")
        return face

    cdef object undo_drain(self, Pending *batch):
        """It could not be finished: it stays where it was."""
        lock(&self.queue)
        take_off(&self.queue, batch)
        batch.attempts -= 1
        batch.is_stamped = False
        put_back(&self.queue, batch)
        unlock(&self.queue)

    cdef bint take_from_queue(self, ProducerBatch batch) except -1:
        """Off the queue, whose reference becomes the caller's; False when it was not there."""
        cdef bint was_there
        if batch.pool is not self.pool:
            raise ValueError(f"{batch} is of another accumulator")
        lock(&self.queue)
        was_there = take_off(&self.queue, &batch.pending)
        unlock(&self.queue)
        return was_there

    cdef object finish_batch(self, ProducerBatch batch):
        cdef bint was_there = self.take_from_queue(batch)
        batch.settle(DONE)
        if was_there:
            Py_DECREF(batch)

    def complete(self, ProducerBatch batch not None, int64_t base_offset, int64_t log_append_time_ms=-1):
        """Delivered: resolves its deliveries.  -1, -1 with acks=0.  Of a batch that is done: nothing."""
        if batch.pending.place < SPLIT:
            batch.base_offset = base_offset
            batch.append_time_ms = log_append_time_ms
            self.finish_batch(batch)

    def fail(self, ProducerBatch batch not None, error not None, *, bint close_gap=False, dict record_errors=None):
        """Give up: its deliveries raise `error`, or that of `record_errors` by their index.  Of a batch that is done: nothing.

        `close_gap`: the broker certainly did not append it, so the sequences of the partition's later batches move up.
        """
        if not isinstance(error, BaseException):
            raise TypeError(f"an exception expected, found {type(error).__name__}")
        if batch.pending.place >= SPLIT:
            return
        if close_gap:
            lock(&self.queue)
            close_sequence_gap(&self.queue, &batch.pending)
            unlock(&self.queue)
        batch.error = error
        batch.record_errors = record_errors
        self.finish_batch(batch)

    cdef object check_in_flight(self, ProducerBatch batch):
        if batch.pool is not self.pool or batch.pending.place != IN_FLIGHT:
            raise ValueError(f"{batch} is not in flight")

    def retry(self, ProducerBatch batch not None, int64_t not_before_ms=0):
        """Back to the front of its partition, in order of sequence; drained again after `not_before_ms`."""
        cdef Status status
        self.check_in_flight(batch)
        lock(&self.queue)
        take_off(&self.queue, &batch.pending)
        batch.pending.not_before_ms = not_before_ms
        status = put_back(&self.queue, &batch.pending)
        unlock(&self.queue)
        raise_for_status(status, 0, "batch to send again")

    def split(self, ProducerBatch batch not None):
        """A batch that is too large for the broker goes back as smaller ones; how many, 0 when it has a single record.

        Calls with many rows begin batches of at most half its size from then on.
        """
        cdef list parts
        cdef ProducerBatch part
        self.check_in_flight(batch)
        if batch.pending.builder.count < 2:
            return 0
        parts = self.parts_of(batch)
        lock(&self.queue)
        take_off(&self.queue, &batch.pending)
        self.queue.topics[batch.pending.topic].ratio = 1.0
        self.queue.bulk_bytes = max(self.queue.batch_bytes, min(self.queue.bulk_bytes, batch.pending.builder.records.size // 2))
        unlock(&self.queue)
        for part in parts:
            Py_INCREF(part)
            lock(&self.queue)
            put_back(&self.queue, &part.pending)
            unlock(&self.queue)
        batch.split_into(parts)
        Py_DECREF(batch)
        return len(parts)

    cdef list parts_of(self, ProducerBatch batch):
        """Its records in batches of at most half its size, uncompressed, and of at most batch_bytes."""
        cdef RecordCursor cursor
        cdef RecordView record
        cdef Status status
        cdef Py_ssize_t limit
        cdef list parts = []
        cdef ProducerBatch part
        init_record_cursor(&cursor)
        try:
            status = open_batch(
                &cursor, batch.pending.builder.records.data, batch.pending.builder.records.size, INT32_MAX)
            limit = min(max(self.queue.batch_bytes, 1), cursor.records.end // 2)
            if status == OK:
                status = next_record(&cursor, &record)
            while status == OK:
                part = self.part_of(batch, parts)
                parts.append(part)
                status = copy_records(&cursor, &record, &part.pending, limit)
                part.pending.accounted = BATCH_OVERHEAD + part.pending.builder.records.capacity
                pool_force(&self.pool.pool, part.pending.accounted)
            if status != NOT_FOUND:
                raise_for_status(status, 0, "batch to split")
        finally:
            close_batch(&cursor)
        return parts

    cdef ProducerBatch part_of(self, ProducerBatch batch, list before):
        """An empty one that stands in the sequence behind those `before` it."""
        cdef ProducerBatch part = ProducerBatch.__new__(ProducerBatch, self.pool)
        cdef ProducerBatch other
        cdef int64_t records = 0
        for other in before:
            records += other.pending.builder.count
        part.topic_name = batch.topic_name
        part.pending.topic = batch.pending.topic
        part.pending.partition = batch.pending.partition
        part.pending.attempts = batch.pending.attempts
        part.pending.first_record = batch.pending.first_record + records
        part.pending.created_ms = batch.pending.created_ms
        part.pending.producer_id = batch.pending.producer_id
        part.pending.producer_epoch = batch.pending.producer_epoch
        if batch.pending.base_sequence != NO_SEQUENCE:
            part.pending.base_sequence = <int32_t>((batch.pending.base_sequence + records) & SEQUENCE_MASK)
        return part

    cdef list taken(self, Pending *batch, list batches):
        """Adds a batch that was taken off."""
        batches.append(<ProducerBatch>batch.face)
        Py_DECREF(<ProducerBatch>batch.face)
        return batches

    def expire(self, int64_t now_ms):
        """Batches older than delivery_timeout_ms, taken off, in flight or not: fail() them.

        With attempts > 0 it is unknown whether the broker has them.
        """
        cdef list batches = []
        cdef Pending *batch
        while True:
            lock(&self.queue)
            batch = take_expired(&self.queue, now_ms)
            unlock(&self.queue)
            if batch == NULL:
                return batches
            self.taken(batch, batches)

    def take_all(self):
        """All that is not in flight, taken off, for an aborted transaction or a close without waiting: fail() them."""
        cdef list batches = []
        cdef Pending *batch
        while True:
            lock(&self.queue)
            batch = take_queued(&self.queue)
            unlock(&self.queue)
            if batch == NULL:
                return batches
            self.taken(batch, batches)

    def incomplete(self):
        """All that is not done, in flight or not: what a flush waits for."""
        cdef Pending **found
        cdef Py_ssize_t place, count = 0
        lock(&self.queue)
        for place in range(self.queue.listed_count):
            count += self.queue.listed[place].queued + self.queue.listed[place].in_flight
        found = <Pending **>malloc(max(count, 1) * sizeof(Pending *))
        count = 0
        if found != NULL:
            for place in range(self.queue.listed_count):
                count = hold_all(self.queue.listed[place].flying, found, count)
                count = hold_all(self.queue.listed[place].first, found, count)
        unlock(&self.queue)
        if found == NULL:
            raise MemoryError("no memory for the list of what is not done")
        try:
            batches = [<ProducerBatch>found[place].face for place in range(count)]
            for place in range(count):
                Py_DECREF(<ProducerBatch>found[place].face)
            return batches
        finally:
            free(found)

    def begin_flush(self):
        """Until as many end_flush(): nothing lingers."""
        lock(&self.queue)
        self.queue.flushing += 1
        unlock(&self.queue)
        self.call_ready()

    def end_flush(self):
        """One begin_flush() is over."""
        if self.queue.flushing == 0:
            raise ValueError("end_flush() without begin_flush()")
        lock(&self.queue)
        self.queue.flushing -= 1
        unlock(&self.queue)

    def mute(self, str topic not None, int32_t partition):
        """ready() leaves it out until unmute()."""
        self.lane_of(topic, partition).is_muted = True

    def unmute(self, str topic not None, int32_t partition):
        """The end of mute()."""
        self.lane_of(topic, partition).is_muted = False

    def close(self):
        """Refuse what comes from now on; what is there can still be sent, and does not linger."""
        self.queue.is_closed = True

    # ---- idempotence

    def set_producer(self, int64_t producer_id, int16_t producer_epoch):
        """What batches are stamped with from now on; a partition takes it over when nothing of it is in flight or to retry.

        Its sequence begins at 0 again then.
        """
        lock(&self.queue)
        self.queue.producer_id = producer_id
        self.queue.producer_epoch = producer_epoch
        unlock(&self.queue)

    def rewrite_sequences(self, str topic not None, int32_t partition):
        """The partition's retries too take their sequences from the next producer epoch, and wait for it.

        For a partition whose sequence is broken (KIP-360): then get that epoch and set_producer().
        """
        self.lane_of(topic, partition).rewrites = True

    def next_sequence(self, str topic not None, int32_t partition):
        """What the partition's next new batch gets."""
        return self.lane_of(topic, partition).next_sequence

    # ---- figures

    @property
    def limit_bytes(self):
        """buffer.memory."""
        return self.pool.limit_bytes

    @property
    def used_bytes(self):
        """What the batches take, those done but still viewed too; never above `limit_bytes` but by parts of batches that were split."""
        return self.pool.used_bytes

    @property
    def scratch_bytes(self):
        """Memory of the compressors, which is kept and not counted in `used_bytes`."""
        return self.queue.scratch.capacity

    @property
    def codec_ns(self):
        """Nanoseconds of CPU time that went into compression, the checksums of what it gave included."""
        return atomic_relaxed64(&self.queue.codec_ns)

    @property
    def queued_records(self):
        """Records that are not in flight."""
        return self.queue.queued_records

    @property
    def in_flight_batches(self):
        """Batches drained and not answered."""
        return self.queue.in_flight_batches

    def in_flight(self, str topic not None, int32_t partition):
        """Batches of the partition in flight."""
        return self.lane_of(topic, partition).in_flight


cdef Py_ssize_t hold_all(Pending *batch, Pending **found, Py_ssize_t count) noexcept:
    """Adds them with a reference each."""
    while batch != NULL:
        Py_INCREF(<ProducerBatch>batch.face)
        found[count] = batch
        count += 1
        batch = batch.next
    return count
