# cython: nonecheck=True
"""What the consumer fetched of one partition: columns without copies, or messages, made only when asked for.

A Message is (batch, row): its key, value and headers become Python objects when they are asked for, each time.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from collections.abc import Sequence

from pystream._native.batch cimport (
    BATCH_HEADER_SIZE, CONTROL_FLAG, LOG_APPEND_TIME_FLAG, BatchHeader, check_batch_crc, parse_batch_header)
from pystream._native.kept_memory cimport Block
from pystream._native.record_columns cimport (
    Column, Columns, RecordColumns, any_compressed, column_in, columns_of, decode_batch, free_columns, reserve_for)
from pystream._native.record_reader cimport (
    RecordCursor, bytes_of, check_readable, close_batch, headers_of, init_record_cursor)
from pystream._native.status cimport OK, OUT_OF_MEMORY, Status
from pystream._native.txn_filter cimport Filter, TxnFilter, begin_filter, is_aborted

from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.status import exception_of

CREATE_TIME = 0
LOG_APPEND_TIME = 1
DEFAULT_LIMIT = 256 << 20

cdef enum:
    NO_LEADER_EPOCH = -1
    SMALLEST_RELEASE = 4096              # bytes fetched; decoding them takes less than giving the GIL away
    SMALLEST_GATHER = 16384

cdef struct Run:                         # rows from `first_row` on, up to the next run, with equal batch fields
    Py_ssize_t first_row
    int32_t leader_epoch
    bint by_append_time

cdef struct Acquired:                    # what a share group gave this member: offsets, first and last included
    int64_t first
    int64_t last
    int32_t delivery_count

cdef struct Decoding:
    const uint8_t *data
    Py_ssize_t size
    int64_t from_offset
    Py_ssize_t limit
    bint check_crc
    Filter *filter                       # NULL: none
    Columns columns
    Run *runs
    Py_ssize_t run_count
    Py_ssize_t run_capacity
    int32_t last_leader_epoch


# ---- decoding

cdef Status note_run(Decoding *decoding, const BatchHeader *header) noexcept nogil:
    """The next rows are of this batch."""
    cdef bint by_append_time = header.attributes & LOG_APPEND_TIME_FLAG != 0
    cdef Run *runs = decoding.runs
    if decoding.run_count > 0 and runs[decoding.run_count - 1].leader_epoch == header.partition_leader_epoch and (
            runs[decoding.run_count - 1].by_append_time == by_append_time):
        return OK
    if decoding.run_count == decoding.run_capacity:
        runs = <Run *>realloc(runs, (decoding.run_capacity * 2 + 4) * sizeof(Run))
        if runs == NULL:
            return OUT_OF_MEMORY
        decoding.runs = runs
        decoding.run_capacity = decoding.run_capacity * 2 + 4
    runs[decoding.run_count].first_row = decoding.columns.count
    runs[decoding.run_count].leader_epoch = header.partition_leader_epoch
    runs[decoding.run_count].by_append_time = by_append_time
    decoding.run_count += 1
    return OK


cdef Status decode_one(
        Decoding *decoding, RecordCursor *cursor, const BatchHeader *header, bint join) noexcept nogil:
    """The rows of one whole batch, or none of them."""
    cdef const uint8_t *batch = decoding.data + decoding.columns.consumed
    cdef Py_ssize_t rows = decoding.columns.count
    cdef Status status = check_readable(header, header.size)
    if status == OK and decoding.check_crc:
        status = check_batch_crc(batch, header)
    if status != OK:
        return status
    if decoding.filter != NULL and is_aborted(decoding.filter, batch, header):
        return OK
    if header.attributes & CONTROL_FLAG:
        return OK
    status = note_run(decoding, header)
    if status == OK:
        status = decode_batch(
            cursor, decoding.data, batch, header, decoding.from_offset, decoding.limit, join, &decoding.columns)
    if status != OK:
        decoding.columns.count = rows
    return status


cdef Status decode_all(Decoding *decoding) noexcept nogil:
    """Whole batches up to the first that is at fault; what follows the last whole one is left alone."""
    cdef Columns *columns = &decoding.columns
    cdef RecordCursor cursor
    cdef BatchHeader header
    cdef bint join = any_compressed(decoding.data, decoding.size)
    cdef Status status = reserve_for(decoding.data, decoding.size, columns)
    init_record_cursor(&cursor)
    if decoding.filter != NULL:
        begin_filter(decoding.filter)
    while status == OK and decoding.size - columns.consumed >= BATCH_HEADER_SIZE:
        status = parse_batch_header(decoding.data + columns.consumed, decoding.size - columns.consumed, &header)
        if status != OK or header.size > decoding.size - columns.consumed:
            break
        status = decode_one(decoding, &cursor, &header, join)
        if status != OK:
            break
        columns.consumed += header.size
        columns.next_offset = max(columns.next_offset, header.base_offset + header.last_offset_delta + 1)
        decoding.last_leader_epoch = header.partition_leader_epoch
    close_batch(&cursor)
    return status


# ---- messages

@cython.final
@cython.no_gc
@cython.freelist(1024)
cdef class Message:
    """One message of a MessageBatch.  `key`, `value` and `headers` are made when asked for; it keeps its batch alive."""

    cdef MessageBatch batch
    cdef Py_ssize_t row

    @property
    def topic(self):
        """The topic's name."""
        return self.batch.topic

    @property
    def partition(self):
        """Where it was read."""
        return self.batch.partition

    @property
    def offset(self):
        """In its partition."""
        return self.batch.offset_items[self.row]

    @property
    def timestamp(self):
        """Milliseconds; -1 is none."""
        return self.batch.timestamp_items[self.row]

    @property
    def timestamp_type(self):
        """CREATE_TIME or LOG_APPEND_TIME."""
        return LOG_APPEND_TIME if self.batch.run_of(self.row).by_append_time else CREATE_TIME

    @property
    def leader_epoch(self):
        """-1 when the broker did not say."""
        return self.batch.run_of(self.row).leader_epoch

    @property
    def key(self):
        """Bytes or None."""
        return bytes_of(
            self.batch.base + self.batch.key_start_items[self.row], self.batch.key_size_items[self.row])

    @property
    def value(self):
        """Bytes or None."""
        return bytes_of(
            self.batch.base + self.batch.value_start_items[self.row], self.batch.value_size_items[self.row])

    @property
    def headers(self):
        """(key, value) of each."""
        return self.batch.headers(self.row)

    @property
    def delivery_count(self):
        """How often a share group has given it out, this time included; None of a consumer that is in none."""
        cdef const Acquired *acquired = self.batch.acquired_with(self.batch.offset_items[self.row])
        return None if acquired == NULL else acquired.delivery_count

    def __reduce__(self):
        fields = (
            self.topic, self.partition, self.offset, self.timestamp, self.timestamp_type, self.leader_epoch, self.key,
            self.value, self.headers, self.delivery_count)
        return _restored, fields

    def __repr__(self):
        return (f"Message({self.topic}-{self.partition}, offset={self.offset}, timestamp={self.timestamp}, "
                f"key={self.key!r}, value={self.value!r}, headers={self.headers!r})")


@cython.final
@cython.no_gc
cdef class _Messages:
    """Iterator over a batch."""

    cdef MessageBatch batch
    cdef Py_ssize_t row

    def __iter__(self):
        return self

    def __next__(self):
        if self.row >= self.batch.count:
            raise StopIteration
        self.row += 1
        return message_at(self.batch, self.row - 1)


cdef inline Message message_at(MessageBatch batch, Py_ssize_t row):
    cdef Message message = Message.__new__(Message)
    message.batch = batch
    message.row = row
    return message


def _restored(topic, partition, offset, timestamp, timestamp_type, leader_epoch, key, value, headers, delivery_count):
    """A copied or unpickled message: the only one of its batch."""
    acquired = None if delivery_count is None else [(offset, offset, delivery_count)]
    builder = RecordBatchBuilder(
        base_offset=offset, partition_leader_epoch=leader_epoch,
        append_time_ms=timestamp if timestamp_type == LOG_APPEND_TIME else None)
    builder.append(value, timestamp=timestamp, key=key, headers=headers)
    return MessageBatch(builder.build(), topic, partition, check_crc=False, acquired=acquired)[0]


# ---- the batch

cdef struct FetchedBuffer:               # hidden from the garbage collector, which would take a view from under its owner
    Py_buffer view


@cython.final
cdef class MessageBatch:
    """The records of one partition in one fetch answer, decoded on first use, or by decode().

    Left out: records below `from_offset`, control batches, and with `aborted` (producer id, first offset) the records of
    aborted transactions (read_committed).  Damage does not raise: the batch ends before it, and `error` says why.
    `limit` bounds what compressed batches become, together.  `data` is held, not copied.
    `acquired` (first offset, last offset, delivery count) in order is what a share group gave; it leaves nothing out.
    """

    cdef readonly str topic
    cdef readonly int32_t partition
    cdef object source
    cdef FetchedBuffer fetched
    cdef bint is_fetched
    cdef int64_t from_offset
    cdef Py_ssize_t limit
    cdef bint check_crc
    cdef TxnFilter filter
    cdef Acquired *acquired              # NULL: of no share group
    cdef Py_ssize_t acquired_count
    cdef RecordColumns columns           # None until decoded; the arrays below are theirs
    cdef Py_ssize_t count
    cdef const uint8_t *base
    cdef const int64_t *offset_items
    cdef const int64_t *timestamp_items
    cdef const int32_t *key_start_items
    cdef const int32_t *key_size_items
    cdef const int32_t *value_start_items
    cdef const int32_t *value_size_items
    cdef Run *runs
    cdef Py_ssize_t run_count
    cdef int32_t leader_epoch
    cdef object failure

    def __cinit__(
            self, data not None, str topic not None, int32_t partition, *, int64_t from_offset=0, aborted=None,
            bint check_crc=True, Py_ssize_t limit=DEFAULT_LIMIT, acquired=None):
        self.topic = topic
        self.partition = partition
        self.from_offset = from_offset
        self.check_crc = check_crc
        self.limit = limit
        self.leader_epoch = NO_LEADER_EPOCH
        if aborted:
            self.filter = TxnFilter(aborted)
        if acquired:
            self.note_acquired(acquired)
        self.source = data
        PyObject_GetBuffer(data, &self.fetched.view, PyBUF_SIMPLE)
        self.is_fetched = True
        if self.fetched.view.len > INT32_MAX:
            raise ValueError(f"a batch holds at most {INT32_MAX} bytes, there are {self.fetched.view.len}")

    def __dealloc__(self):
        if self.is_fetched:
            PyBuffer_Release(&self.fetched.view)
        free(self.runs)
        free(self.acquired)

    cdef object note_acquired(self, acquired):
        """Keeps the ranges.  Raises ValueError for ranges that are empty or not in order."""
        cdef int64_t before = -1
        cdef Py_ssize_t place
        cdef list ranges = list(acquired)
        self.acquired = <Acquired *>malloc(len(ranges) * sizeof(Acquired))
        if self.acquired == NULL:
            raise MemoryError(f"no memory for {len(ranges)} ranges")
        for place, (first, last, delivery_count) in enumerate(ranges):
            if not before < first <= last:
                raise ValueError(f"acquired {first} to {last}, after {before}: expected ranges in order")
            before = last
            self.acquired[place] = Acquired(first, last, delivery_count)
            self.acquired_count += 1

    cdef const Acquired *acquired_with(self, int64_t offset) noexcept:
        """The range that the offset is in; NULL for none."""
        cdef Py_ssize_t low = 0, high = self.acquired_count, middle
        while high - low > 0:
            middle = (low + high) // 2
            if self.acquired[middle].last < offset:
                low = middle + 1
            elif self.acquired[middle].first > offset:
                high = middle
            else:
                return &self.acquired[middle]
        return NULL

    def decode(self):
        """Decode now, without the GIL; nothing when it is done already."""
        cdef Decoding decoding
        cdef Status status
        if self.columns is not None:
            return
        memset(&decoding, 0, sizeof(Decoding))
        decoding.data = <const uint8_t *>self.fetched.view.buf
        decoding.size = self.fetched.view.len
        decoding.from_offset = self.from_offset
        decoding.limit = self.limit
        decoding.check_crc = self.check_crc
        decoding.columns.next_offset = self.from_offset
        decoding.last_leader_epoch = NO_LEADER_EPOCH
        decoding.filter = NULL if self.filter is None else &self.filter.filter
        try:
            if decoding.size < SMALLEST_RELEASE or decoding.filter != NULL:
                status = decode_all(&decoding)               # a filter is not to be shared with another thread
            else:
                with nogil:
                    status = decode_all(&decoding)
            if self.columns is None:                         # another thread may have been faster
                self.keep(&decoding, status)
        finally:
            free_columns(&decoding.columns)
            free(decoding.runs)

    cdef object keep(self, Decoding *decoding, Status status):
        """Takes the columns over."""
        cdef RecordColumns columns
        if status != OK:
            self.failure = exception_of(<int>status, decoding.columns.consumed, f"{self.topic}-{self.partition}")
        self.count = decoding.columns.count
        self.runs = decoding.runs
        self.run_count = decoding.run_count
        self.leader_epoch = decoding.last_leader_epoch
        decoding.runs = NULL
        columns = columns_of(&decoding.columns, self.source)
        self.base = &columns.view[0] if columns.view.shape[0] > 0 else NULL
        self.offset_items = <const int64_t *>columns.offsets.items
        self.timestamp_items = <const int64_t *>columns.timestamps.items
        self.key_start_items = <const int32_t *>columns.key_starts.items
        self.key_size_items = <const int32_t *>columns.key_sizes.items
        self.value_start_items = <const int32_t *>columns.value_starts.items
        self.value_size_items = <const int32_t *>columns.value_sizes.items
        self.columns = columns

    cdef RecordColumns decoded(self):
        if self.columns is None:
            self.decode()
        return self.columns

    cdef const Run *run_of(self, Py_ssize_t row) noexcept:
        """The run that the row is in: few, mostly one."""
        cdef Py_ssize_t low = 0, high = self.run_count, middle
        while high - low > 1:
            middle = (low + high) // 2
            if self.runs[middle].first_row <= row:
                low = middle
            else:
                high = middle
        return &self.runs[low]

    # ---- what it is

    @property
    def next_offset(self):
        """Where to fetch on: behind the last whole batch, left out or not; `from_offset` without one."""
        return self.decoded().next_offset

    @property
    def last_leader_epoch(self):
        """Of the last whole batch; -1 without one."""
        self.decoded()
        return self.leader_epoch

    @property
    def error(self):
        """CorruptRecordBatch, MalformedInput, LimitExceeded, UnsupportedCompressionType: what stands at `next_offset`."""
        self.decoded()
        return self.failure

    @property
    def size_bytes(self):
        """Of the data fetched."""
        return self.fetched.view.len

    @property
    def is_decoded(self):
        """Whether decode() was needed already."""
        return self.columns is not None

    # ---- messages

    def __len__(self):
        self.decoded()
        return self.count

    def __bool__(self):
        self.decoded()
        return self.count > 0

    def __getitem__(self, index):
        cdef Py_ssize_t row
        self.decoded()
        if isinstance(index, slice):
            return [message_at(self, row) for row in range(*index.indices(self.count))]
        row = index
        if row < 0:
            row += self.count
        if not 0 <= row < self.count:
            raise IndexError(f"message {index} of {self.count}")
        return message_at(self, row)

    def __iter__(self):
        cdef _Messages messages = _Messages.__new__(_Messages)
        self.decoded()
        messages.batch = self
        return messages

    def messages(self, Py_ssize_t start=0, Py_ssize_t stop=INT32_MAX):
        """Messages from `start` to before `stop`, or to the end."""
        cdef Py_ssize_t row
        self.decoded()
        return [message_at(self, row) for row in range(max(start, 0), min(stop, self.count))]

    # ---- columns

    @property
    def data(self):
        """What the starts count from: the data fetched, or the uncompressed records where a batch was compressed."""
        return self.decoded().data

    @property
    def offsets(self):
        """A column of int64."""
        return self.decoded().offsets

    @property
    def timestamps(self):
        """A column of int64, milliseconds."""
        return self.decoded().timestamps

    @property
    def key_starts(self):
        """A column of int32."""
        return self.decoded().key_starts

    @property
    def key_sizes(self):
        """A column of int32; -1 is null."""
        return self.decoded().key_sizes

    @property
    def value_starts(self):
        """A column of int32."""
        return self.decoded().value_starts

    @property
    def value_sizes(self):
        """A column of int32; -1 is null."""
        return self.decoded().value_sizes

    @property
    def headers_starts(self):
        """A column of int32."""
        return self.decoded().headers_starts

    @property
    def headers_sizes(self):
        """A column of int32; 0 is none."""
        return self.decoded().headers_sizes

    def keys(self):
        """The keys, each a bytes object or None."""
        return self.decoded().keys()

    def values(self):
        """The values, each a bytes object or None."""
        return self.decoded().values()

    def headers(self, Py_ssize_t row):
        """(key, value) of each header of one row."""
        cdef RecordColumns columns = self.decoded()
        if not 0 <= row < self.count:
            raise IndexError(f"row {row} of {self.count}")
        if (<const int32_t *>columns.headers_sizes.items)[row] == 0:
            return ()
        return headers_of(
            self.base + (<const int32_t *>columns.headers_starts.items)[row],
            (<const int32_t *>columns.headers_sizes.items)[row])

    def gather_values(self, Py_ssize_t start=0, Py_ssize_t stop=INT32_MAX):
        """The values of the rows one behind the other, as Arrow's large_binary; one copy, without the GIL."""
        self.decoded()
        return gathered(self.base, self.value_start_items, self.value_size_items, max(start, 0), min(stop, self.count))

    def gather_keys(self, Py_ssize_t start=0, Py_ssize_t stop=INT32_MAX):
        """The keys likewise."""
        self.decoded()
        return gathered(self.base, self.key_start_items, self.key_size_items, max(start, 0), min(stop, self.count))

    def __repr__(self):
        state = f"{self.count} messages" if self.columns is not None else f"{self.fetched.view.len} bytes, not decoded"
        return f"MessageBatch({self.topic}-{self.partition}, {state})"


Sequence.register(MessageBatch)


# ---- gathering

@cython.final
cdef class Gathered:
    """Three buffers of Arrow's large_binary layout: pa.Array.from_buffers(pa.large_binary(), len(g), [g.validity, g.offsets, g.data])."""

    cdef readonly Block data
    cdef readonly Column offsets
    cdef readonly bytes validity
    cdef readonly Py_ssize_t null_count

    def __len__(self):
        return self.offsets.count - 1


cdef void put_offsets(
        const int32_t *sizes, Py_ssize_t start, Py_ssize_t stop, int64_t *offsets, Py_ssize_t *nulls) noexcept nogil:
    cdef Py_ssize_t row
    offsets[0] = 0
    nulls[0] = 0
    for row in range(start, stop):
        nulls[0] += sizes[row] < 0
        offsets[row - start + 1] = offsets[row - start] + max(sizes[row], 0)


cdef void put_bytes(
        const uint8_t *base, const int32_t *starts, const int32_t *sizes, Py_ssize_t start, Py_ssize_t stop,
        uint8_t *to) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(start, stop):
        if sizes[row] > 0:
            memcpy(to, base + starts[row], sizes[row])
            to += sizes[row]


cdef bytes validity_of(const int32_t *sizes, Py_ssize_t start, Py_ssize_t stop):
    cdef Py_ssize_t row
    cdef bytes bits = PyBytes_FromStringAndSize(NULL, (stop - start + 7) // 8)
    cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(bits)
    memset(to, 0, len(bits))
    for row in range(start, stop):
        if sizes[row] >= 0:
            to[(row - start) >> 3] |= 1 << ((row - start) & 7)
    return bits


cdef Gathered gathered(
        const uint8_t *base, const int32_t *starts, const int32_t *sizes, Py_ssize_t start, Py_ssize_t stop):
    cdef Gathered result = Gathered.__new__(Gathered)
    cdef Py_ssize_t count = max(stop - start, 0)
    cdef Block ends = Block((count + 1) * sizeof(int64_t))
    cdef int64_t total
    cdef uint8_t *to
    stop = start + count
    put_offsets(sizes, start, stop, <int64_t *>ends.items, &result.null_count)
    total = (<int64_t *>ends.items)[count]
    result.offsets = column_in(ends, ends.items, count + 1, sizeof(int64_t))
    result.data = Block(total)
    to = result.data.items
    if total < SMALLEST_GATHER:
        put_bytes(base, starts, sizes, start, stop, to)
    else:
        with nogil:
            put_bytes(base, starts, sizes, start, stop, to)
    if result.null_count > 0:
        result.validity = validity_of(sizes, start, stop)
    return result
