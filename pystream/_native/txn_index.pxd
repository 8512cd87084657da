# Aborted transactions of one segment, in the order of their markers, as `.txnindex` holds them.
#
# entry, 34 bytes:  version int16 (0) | producer id int64 | first offset int64 | last offset int64 | last stable offset int64
# `last offset` is the abort marker's.  Source: KIP-98, Kafka's AbortedTxn.  Memory: `entries` is owned until txn_index_free().

from libc.stdint cimport int32_t, int64_t, uint8_t
from pystream._native.status cimport Status

cdef enum:
    ABORTED_ENTRY_SIZE = 34

cdef struct AbortedTransaction:
    int64_t producer_id
    int64_t first_offset
    int64_t last_offset
    int64_t last_stable_offset

cdef struct TxnIndex:
    AbortedTransaction *entries
    int32_t count
    int32_t capacity

cdef Status txn_index_reserve(TxnIndex *index, int32_t more) noexcept nogil           # so many appends will not fail
cdef Status txn_index_append(TxnIndex *index, const AbortedTransaction *entry) noexcept nogil
cdef void txn_index_truncate(TxnIndex *index, int64_t offset) noexcept nogil          # drops entries whose marker is at or after it
cdef void txn_index_free(TxnIndex *index) noexcept nogil
cdef uint8_t *txn_index_encode(const TxnIndex *index, Py_ssize_t *size) noexcept nogil   # fresh memory (libc free) or NULL
cdef Status txn_index_decode(TxnIndex *index, const uint8_t *data, Py_ssize_t size) noexcept nogil
