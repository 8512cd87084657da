# What compaction knows of transactions and producers while it passes over the batches of a log in order.
# Source: KIP-98, KIP-534; Kafka's CleanedTransactionMetadata and LastRecord.
#
# The aborted transactions come from the log's index, their batches are dropped when they pass. A marker may go once nothing of its
# transaction is left: none of its data was met on the way. A batch stays, if need be without records, when it is its producer's last:
# a start without a snapshot learns the producer's sequence from it.
# Memory: all is owned until transactions_free() and last_batches_free(). No locks: one thread at a time.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from pystream._native.batch cimport BatchHeader
from pystream._native.producer_state cimport ProducerState
from pystream._native.status cimport Status
from pystream._native.txn_index cimport AbortedTransaction, TxnIndex

cdef struct Ongoing:
    AbortedTransaction entry         # only producer_id is set unless it is aborted
    bint aborted
    bint has_data                    # a batch of it was met

cdef struct CleanTransactions:
    AbortedTransaction *aborted      # by first offset
    int32_t aborted_count
    int32_t aborted_capacity
    int32_t next_aborted             # the first that no batch has reached
    Ongoing *ongoing
    int32_t ongoing_count
    int32_t ongoing_capacity

cdef struct LastBatch:
    int64_t producer_id
    int64_t last_offset              # of its last data batch; -1: it is known by a marker only
    int16_t producer_epoch

cdef struct LastBatches:
    LastBatch *entries               # by producer id
    int32_t count

cdef void transactions_init(CleanTransactions *transactions) noexcept nogil
cdef void transactions_free(CleanTransactions *transactions) noexcept nogil
cdef Status transactions_add_aborted(CleanTransactions *transactions, const TxnIndex *index) noexcept nogil
# Sorts what was added, and begins at the log's first batch (again).
cdef void transactions_begin(CleanTransactions *transactions) noexcept nogil
# Passes a data batch; `discard`: its transaction was aborted.
cdef Status transactions_pass_data(CleanTransactions *transactions, const BatchHeader *header, bint *discard) noexcept nogil
# Passes a marker; `discard`: nothing of its transaction was met. `kept` is the index entry that stays with it, or has producer id -1.
cdef Status transactions_pass_marker(
    CleanTransactions *transactions, const BatchHeader *header, const uint8_t *data, bint *discard, AbortedTransaction *kept) noexcept nogil

cdef Status last_batches_of(LastBatches *batches, const ProducerState *producers) noexcept nogil
cdef void last_batches_free(LastBatches *batches) noexcept nogil
cdef bint is_last_batch(const LastBatches *batches, const BatchHeader *header) noexcept nogil
