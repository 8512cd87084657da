# A batch under way and the futures of its messages.
#
# A Delivery is (batch, index): nothing is kept a message. What happens to a batch happens to all of them at once.
#
# Owner of memory: a ProducerBatch owns its Pending and what lies in it. A send queue holds one reference to each batch that
# it has. `face` is borrowed: it is the object that the struct lies in.
# Cross-thread: the accumulator's lock guards a Pending from the time that it is put in a queue until it is drained, taken
# off, or done; then it is the sender's. All other fields of the classes need the GIL.

from cpython.object cimport PyObject
from libc.stdint cimport int16_t, int32_t, int64_t
from pystream._native.memory_pool cimport MemoryPool
from pystream._native.record_builder cimport BatchBuilder

cdef enum:
    UNKNOWN_OFFSET = -1
    BATCH_OVERHEAD = 512                 # of the limit, for the objects of a batch

cdef enum Place:
    QUEUED = 0
    IN_FLIGHT = 1
    TAKEN_OFF = 2                        # expired or taken: whoever took it fails it
    SPLIT = 3
    DONE = 4

cdef struct Pending:
    BatchBuilder builder                 # records; once packed, the finished batch
    Pending *next                        # in its queue, or in flight
    PyObject *face
    Place place
    bint is_open                         # takes more records
    bint is_packed
    bint is_stamped                      # with the producer fields below
    int32_t topic                        # indices into the send queue
    int32_t partition
    int32_t attempts
    int64_t first_record                 # ordinal of the first record in the partition: the order of batches
    int64_t accounted                    # of the pool
    Py_ssize_t full_at                   # bytes uncompressed
    int64_t created_ms
    int64_t not_before_ms
    int64_t producer_id
    int16_t producer_epoch
    int32_t base_sequence
    int64_t call                         # of append_many(), which keeps the batch alive; and its span there
    int32_t span

cdef class ProducerBatch:
    cdef Pending pending
    cdef MemoryPool pool
    cdef str topic_name
    cdef readonly int64_t base_offset    # UNKNOWN_OFFSET until the leader has told it
    cdef int64_t append_time_ms          # NO_TIMESTAMP: records keep their own
    cdef object error
    cdef dict record_errors             # index of a record -> its own error, or None (KIP-467)
    cdef list waiters                    # (callback, argument), or None
    cdef list parts                      # ProducerBatch in order, once split
    cdef list retired                    # buffers somebody viewed when others had to be written
    cdef Py_ssize_t views
    cdef Py_ssize_t view_size            # of the bytes, once they are gone too
    cdef bint is_done(self) noexcept
    # Calls callback(argument) when it is done, or at once.
    cdef object when_done(self, callback, argument)
    # Resolves: memory back, callbacks called. The batch is in no queue any more.
    cdef object settle(self, Place place)
    cdef object split_into(self, list parts)
    # Before bytes that somebody may view are written: they get a copy to write to.
    cdef object make_writable(self)
    cdef void give_back_memory(self) noexcept
    cdef void free_records(self) noexcept

cdef class Delivery:
    cdef ProducerBatch batch
    cdef int32_t index
    cdef int64_t time_ms
    cdef ProducerBatch travelling(self)
    cdef object error_of_record(self)
    cdef Delivery outcome(self)

cdef Delivery new_delivery(ProducerBatch batch, int32_t index, int64_t time_ms)

cdef class Deliveries:
    cdef list batches                    # (ProducerBatch, first index, count)
    cdef readonly Py_ssize_t taken
    cdef list touched(self)
    cdef object first_error(self)
