# The appending half of an Accumulator, which is the whole; see there.
#
# Owner of memory: it owns the queue, and through it one reference to each batch in it. Cross-thread: see send_queue.pxd; the
# other fields need the GIL.

from libc.stdint cimport int32_t
from pystream._native.column_source cimport ColumnSource, HeaderColumn
from pystream._native.delivery cimport Deliveries, Pending
from pystream._native.memory_pool cimport MemoryPool
from pystream._native.record_builder cimport BatchFields
from pystream._native.send_queue cimport Lane, Placed, Placing, Row, SendQueue
from pystream._native.status cimport Status

cdef struct Errand

cdef class Appender:
    cdef SendQueue queue
    cdef MemoryPool pool
    cdef BatchFields fields
    cdef dict indices                    # of topics by name
    cdef list names
    cdef str last_topic                  # that was appended to, and its index
    cdef int32_t last_index
    cdef object on_ready
    cdef int forks                       # when it was made
    cdef int32_t index_of(self, str topic) except -2
    cdef Lane *lane_of(self, str topic, int32_t partition) except NULL
    cdef object check_open(self)
    cdef object refuse(self, int placed, Status status, topic, int32_t partition, Py_ssize_t size)
    cdef void call_ready(self) noexcept
    cdef Pending *new_spare(self, str topic) except NULL
    cdef Placed place(self, str topic, Placing *placing, const Row *row) except *
    cdef Placed place_with_headers(self, str topic, Placing *placing, Row *row, headers) except *
    cdef Deliveries append_rows(
        self, str topic, ColumnSource values, ColumnSource keys, int32_t partition, timestamps, headers,
        HeaderColumn row_headers, Py_ssize_t start)
    cdef object run_errand(self, Errand *errand, str topic, int32_t partition)
    cdef Py_ssize_t partitions_of(self, const Placing *placing, const Errand *errand)
    cdef object hold(self, Placing *placing, list held)
    cdef object make_spares(self, Placing *placing, Errand *errand, str topic, list held)
