"""What became of a message that was sent: Delivery for one, Deliveries for many, and the ProducerBatch they travel in."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from _thread import allocate_lock
from typing import NamedTuple

from pystream._native.batch cimport NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP
from pystream._native.kept_memory cimport give_block
from pystream._native.memory_pool cimport NO_KIND, pool_force, pool_give_buffer, pool_kind_of, pool_release
from pystream._native.record_builder cimport free_builder, init_builder


NO_OFFSET = -1


class Span(NamedTuple):
    """Messages of one call that travelled in one batch: consecutive offsets, unless another thread sent between them."""

    topic: str
    partition: int
    first_offset: int
    record_count: int
    error: BaseException | None


# ---- waiting.  Whoever completes a batch calls back; a thread waits on a lock, a coroutine on a future of its loop.

@cython.final
cdef class _Unlock:
    """Called back with anything, releases a lock that a thread waits on."""

    cdef object lock

    def __call__(self, _argument):
        self.lock.release()


@cython.final
cdef class _WakeLoop:
    """Called back with anything, from any thread, sets a future of an event loop."""

    cdef object loop
    cdef object future

    def set(self):
        """On the loop's own thread."""
        if not self.future.done():
            self.future.set_result(None)

    def __call__(self, _argument):
        from asyncio.events import _get_running_loop

        if _get_running_loop() is self.loop:
            self.set()
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.set)


@cython.final
cdef class _Countdown:
    """Calls back the last time of `left` that it is called."""

    cdef Py_ssize_t left
    cdef object callback
    cdef object argument

    def __call__(self, _argument):
        self.left -= 1
        if self.left == 0:
            self.callback(self.argument)


cdef void call_back(callback, argument) noexcept:
    """One callback's fault does not keep the others from being called: it goes to sys.unraisablehook."""
    callback(argument)


cdef object call_when_all_done(list batches, callback, argument):
    cdef _Countdown countdown
    cdef ProducerBatch batch
    cdef list waiting = [batch for batch in batches if not batch.is_done()]
    if not waiting:
        call_back(callback, argument)
    elif len(waiting) == 1:
        (<ProducerBatch>waiting[0]).when_done(callback, argument)
    else:
        countdown = _Countdown.__new__(_Countdown)
        countdown.left = len(waiting)
        countdown.callback = callback
        countdown.argument = argument
        for batch in waiting:
            batch.when_done(countdown, None)


cdef object block_until_done(waitable, timeout):
    """Blocks until it is done or `timeout` seconds have passed.  The lock's own wait is what Ctrl-C interrupts."""
    cdef _Unlock unlock
    if waitable.done():
        return
    unlock = _Unlock.__new__(_Unlock)
    unlock.lock = allocate_lock()
    unlock.lock.acquire()
    waitable.add_callback(unlock)
    unlock.lock.acquire(True, -1 if timeout is None else max(0, timeout))


cdef object future_of(waitable):
    """A future of the running loop that is set when the waitable is done."""
    cdef _WakeLoop wake
    from asyncio.events import get_running_loop

    wake = _WakeLoop.__new__(_WakeLoop)
    wake.loop = get_running_loop()
    wake.future = wake.loop.create_future()
    waitable.add_callback(wake)
    return wake.future


cdef object raise_not_done(str what, timeout):
    raise TimeoutError(f"{what} is not done after {timeout} s; it may still be")


# ---- batches

@cython.final
cdef class _Retired:
    """Memory that somebody may view, kept for them."""

    cdef void *data

    def __dealloc__(self):
        free(self.data)


@cython.final
cdef class ProducerBatch:
    """Records of one partition on their way to its leader; bytes-like (the finished record batch v2) once drained.

    The bytes stay the same from one drain to the next as long as producer id, epoch and sequence do.  The memory goes
    back when the batch is done and nobody views it any more.
    """

    def __cinit__(self, MemoryPool pool not None):
        self.pool = pool
        self.base_offset = UNKNOWN_OFFSET
        self.append_time_ms = NO_TIMESTAMP
        init_builder(&self.pending.builder, 0)
        self.pending.face = <PyObject *>self
        self.pending.producer_id = NO_PRODUCER_ID
        self.pending.producer_epoch = -1
        self.pending.base_sequence = NO_SEQUENCE

    def __dealloc__(self):
        self.free_records()
        if self.pool is not None and self.pending.accounted:
            pool_release(&self.pool.pool, self.pending.accounted)

    cdef bint is_done(self) noexcept:
        cdef ProducerBatch part
        if self.parts is None:
            return self.pending.place == DONE
        for part in self.parts:
            if not part.is_done():
                return False
        return True

    cdef object when_done(self, callback, argument):
        if self.parts is not None:
            call_when_all_done(self.parts, callback, argument)
        elif self.pending.place == DONE:
            call_back(callback, argument)
        elif self.waiters is None:
            self.waiters = [(callback, argument)]
        else:
            self.waiters.append((callback, argument))

    cdef object settle(self, Place place):
        cdef list waiters = self.waiters
        self.waiters = None
        self.pending.place = place
        if self.views == 0:
            self.give_back_memory()
        if waiters is not None and place == DONE:
            for callback, argument in waiters:
                call_back(callback, argument)

    cdef object split_into(self, list parts):
        cdef list waiters = self.waiters
        self.parts = parts
        self.settle(SPLIT)
        if waiters is not None:
            for callback, argument in waiters:
                if isinstance(argument, Delivery):
                    (<Delivery>argument).travelling().when_done(callback, argument)
                else:
                    call_when_all_done(parts, callback, argument)

    cdef void free_records(self) noexcept:
        give_block(self.pending.builder.records.data, self.pending.builder.records.capacity)
        self.pending.builder.records.data = NULL
        self.pending.builder.records.capacity = 0
        free_builder(&self.pending.builder)

    cdef void give_back_memory(self) noexcept:
        cdef int64_t accounted = self.pending.accounted
        cdef int kind = pool_kind_of(&self.pool.pool, self.pending.builder.records.capacity)
        self.view_size = self.pending.builder.records.size
        if self.pending.builder.records.data != NULL and kind != NO_KIND:
            pool_give_buffer(&self.pool.pool, self.pending.builder.records.data, kind)
            self.pending.builder.records.data = NULL
            accounted -= self.pool.pool.buffer_bytes[kind]
        self.free_records()
        self.retired = None
        self.pending.accounted = 0
        pool_release(&self.pool.pool, accounted)
        self.pool.tell()

    cdef object make_writable(self):
        cdef size_t size = self.pending.builder.records.size
        cdef _Retired old
        cdef void *copy
        if self.views == 0:
            return
        copy = malloc(size)
        if copy == NULL:
            raise MemoryError(f"no {size} bytes to stamp a batch anew")
        memcpy(copy, self.pending.builder.records.data, size)
        old = _Retired.__new__(_Retired)
        old.data = self.pending.builder.records.data
        self.pending.builder.records.data = <uint8_t *>copy
        self.pending.builder.records.capacity = size
        self.retired = [old] if self.retired is None else [*self.retired, old]
        self.pending.accounted += size
        pool_force(&self.pool.pool, size)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if not self.pending.is_packed or self.pending.builder.records.data == NULL:
            raise BufferError("a batch has bytes from the time that it is drained until it is done")
        self.view_size = self.pending.builder.records.size
        PyBuffer_FillInfo(buffer, self, self.pending.builder.records.data, self.view_size, 1, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.views -= 1
        if self.views == 0 and self.pending.place >= SPLIT:
            self.give_back_memory()

    def __len__(self):
        return self.size_bytes

    def __bool__(self):
        return True

    @property
    def topic(self):
        """The topic's name."""
        return self.topic_name

    @property
    def partition(self):
        """The partition that it is for."""
        return self.pending.partition

    @property
    def record_count(self):
        """How many messages it has."""
        return self.pending.builder.count

    @property
    def size_bytes(self):
        """Of the finished batch; before it is drained, of its records uncompressed with the header."""
        return self.pending.builder.records.size if self.pending.builder.records.data != NULL else self.view_size

    @property
    def memory_bytes(self):
        """What the batch takes of the accumulator's limit."""
        return self.pending.accounted

    @property
    def created_ms(self):
        """Monotonic time of the first record."""
        return self.pending.created_ms

    @property
    def attempts(self):
        """How often it was drained."""
        return self.pending.attempts

    @property
    def producer_id(self):
        """Whose sequence it has; -1 without."""
        return self.pending.producer_id

    @property
    def producer_epoch(self):
        """The producer's; -1 without."""
        return self.pending.producer_epoch

    @property
    def base_sequence(self):
        """-1 before it is drained, and without a producer id."""
        return self.pending.base_sequence

    def done(self):
        """Whether it was delivered or has failed."""
        return self.is_done()

    def exception(self):
        """Why it failed; None while it is under way and after success."""
        cdef ProducerBatch part
        if self.parts is not None:
            for part in self.parts:
                if part.exception() is not None:
                    return part.exception()
        return self.error

    def add_callback(self, callback):
        """Call it once the batch is done, from the thread that completes it; at once if it is done already."""
        self.when_done(callback, self)

    def wait(self, timeout=None):
        """Block until it is done or `timeout` seconds have passed; whether it is done.  A signal interrupts it."""
        block_until_done(self, timeout)
        return self.is_done()

    def __await__(self):
        if not self.is_done():
            yield from future_of(self)

    def __repr__(self):
        return (f"ProducerBatch({self.topic_name}-{self.pending.partition}, records={self.pending.builder.count}, "
                f"sequence={self.pending.base_sequence}, attempts={self.pending.attempts}, done={self.is_done()})")


# ---- deliveries

@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class Delivery:
    """The fate of one message: a light future, which is also the message's metadata.

    Nothing is made for waiting until somebody waits.
    """

    cdef ProducerBatch travelling(self):
        """The batch that the message is in now, and its index there brought up to date: batches can be split."""
        cdef ProducerBatch part
        if self.batch is None:
            raise TypeError("deliveries come from append()")
        while self.batch.parts is not None:
            for part in self.batch.parts:
                if self.index < part.pending.builder.count:
                    self.batch = part
                    break
                self.index -= part.pending.builder.count
            else:
                raise AssertionError("the parts of a batch hold fewer records than it held")
        return self.batch

    cdef Delivery outcome(self):
        error = self.error_of_record()
        if error is not None:
            raise error
        return self

    cdef object error_of_record(self):
        cdef ProducerBatch batch = self.travelling()
        return batch.error if batch.record_errors is None else batch.record_errors.get(self.index, batch.error)

    @property
    def topic(self):
        """The topic's name."""
        return self.travelling().topic_name

    @property
    def partition(self):
        """The partition that it was given."""
        return self.travelling().pending.partition

    @property
    def offset(self):
        """NO_OFFSET until it is done."""
        cdef ProducerBatch batch = self.travelling()
        return UNKNOWN_OFFSET if batch.base_offset == UNKNOWN_OFFSET else batch.base_offset + self.index

    @property
    def timestamp(self):
        """Milliseconds: the record's own, or the broker's when the topic keeps the time of appending."""
        cdef ProducerBatch batch = self.travelling()
        return self.time_ms if batch.append_time_ms == NO_TIMESTAMP else batch.append_time_ms

    def done(self):
        """Whether the message was delivered or has failed."""
        return self.travelling().pending.place == DONE

    def result(self, timeout=None):
        """Itself, delivered.  Blocks; raises what the delivery failed with, and TimeoutError after `timeout` seconds."""
        block_until_done(self, timeout)
        if not self.done():
            raise_not_done("a delivery", timeout)
        return self.outcome()

    def exception(self, timeout=None):
        """What it failed with, None when it was delivered.  Blocks as result() does."""
        block_until_done(self, timeout)
        if not self.done():
            raise_not_done("a delivery", timeout)
        return self.error_of_record()

    def add_callback(self, callback):
        """Call it with this delivery once done, from the thread that completes it; at once if it is done already."""
        self.travelling().when_done(callback, self)

    def __await__(self):
        if not self.done():
            yield from future_of(self)
        return self.outcome()

    def __repr__(self):
        state = "pending" if not self.done() else repr(self.batch.error) if self.batch.error is not None else self.offset
        return f"Delivery({self.topic}-{self.partition}: {state})"


cdef Delivery new_delivery(ProducerBatch batch, int32_t index, int64_t time_ms):
    cdef Delivery delivery = Delivery.__new__(Delivery)
    delivery.batch = batch
    delivery.index = index
    delivery.time_ms = time_ms
    return delivery


@cython.final
cdef class Deliveries:
    """The fate of all messages of one append_many() or append_columns(); `taken` says how many rows those are."""

    def __len__(self):
        return self.taken

    def __iter__(self):
        return iter(self.spans())

    cdef list touched(self):
        return [batch for batch, _first, _count in self.batches]

    def done(self):
        """Whether all were delivered or have failed."""
        cdef ProducerBatch batch
        for batch in self.touched():
            if not batch.is_done():
                return False
        return True

    def spans(self):
        """What is known now, without waiting."""
        cdef list spans = []
        for batch, first, count in self.batches:
            put_spans(spans, batch, first, count)
        return spans

    cdef object first_error(self):
        for span in self.spans():
            if span.error is not None:
                return span.error
        return None

    def result(self, timeout=None):
        """Where they went, a span a batch.  Blocks; raises the first error, and TimeoutError after `timeout` seconds."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self.spans()

    def exception(self, timeout=None):
        """The first error; None when all were delivered.  Blocks as result() does."""
        block_until_done(self, timeout)
        if not self.done():
            raise_not_done("one of the deliveries", timeout)
        return self.first_error()

    def add_callback(self, callback):
        """Call it once all are done."""
        call_when_all_done(self.touched(), callback, self)

    def __await__(self):
        if not self.done():
            yield from future_of(self)
        error = self.first_error()
        if error is not None:
            raise error
        return self.spans()


cdef object put_spans(list spans, ProducerBatch batch, Py_ssize_t first, Py_ssize_t count):
    """Adds a span for `count` records of the batch from index `first` on; more than one where it was split."""
    cdef ProducerBatch part
    cdef Py_ssize_t here
    if batch.parts is None:
        offset = UNKNOWN_OFFSET if batch.base_offset == UNKNOWN_OFFSET else batch.base_offset + first
        spans.append(Span(batch.topic_name, batch.pending.partition, offset, count, batch.error))
        return
    for part in batch.parts:
        here = min(part.pending.builder.count - first, count)
        if here > 0:
            put_spans(spans, part, first, here)
            count -= here
            first = 0
        else:
            first -= part.pending.builder.count
