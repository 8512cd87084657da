# Which transactional batches of a fetch answer belong to aborted transactions (KIP-98, isolation.level=read_committed).
#
# Owner of memory: a TxnFilter owns the arrays of its Filter. Not thread-safe: begin_filter() before each use.

from libc.stdint cimport int64_t, uint8_t
from pystream._native.batch cimport BatchHeader

cdef struct Filter:
    int64_t *producer_ids                # of aborted transactions, ascending, each once
    uint8_t *is_aborting                 # beside them: batches are of an aborted transaction now
    Py_ssize_t producers
    int64_t *first_offsets               # of the transactions, ascending
    Py_ssize_t *producer_of              # beside them: index into producer_ids
    Py_ssize_t transactions
    Py_ssize_t begun                     # transactions whose first offset has been reached

cdef void begin_filter(Filter *filter) noexcept nogil
# Of each batch in order, control batches too: whether it is to be left out as aborted.
cdef bint is_aborted(Filter *filter, const uint8_t *batch, const BatchHeader *header) noexcept nogil

cdef class TxnFilter:
    cdef Filter filter
