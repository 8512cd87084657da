# What a partition remembers of its idempotent and transactional producers.  Source: KIP-98, Kafka's ProducerStateManager.
#
# Snapshot file `<offset>.snapshot`, the state of everything below `offset`, big endian:
#   version int16 (1) | CRC-32C uint32 of all that follows | count int32 | count entries of 46 bytes:
#   producer id int64 | epoch int16 | last sequence int32 | last offset int64 | offset delta int32 | timestamp int64
#   | coordinator epoch int32 | first offset of the open transaction int64 (-1: none)
#
# Changes are staged: producers_begin(), then producers_apply() per batch, then producers_keep() once the batches are written, or
# producers_undo(). Memory: everything is owned by ProducerState until producers_free(). No locks: the log's mutex guards it.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from pystream._native.batch cimport BatchHeader
from pystream._native.status cimport Status
from pystream._native.txn_index cimport AbortedTransaction

cdef enum:
    REMEMBERED_BATCHES = 5
    NO_EPOCH = -1

cdef struct ProducerBatch:
    int64_t last_offset
    int64_t timestamp
    int32_t last_sequence
    int32_t offset_delta

cdef struct ProducerEntry:
    int64_t producer_id                     # -1: the slot is free
    int64_t transaction_first_offset        # -1: no open transaction
    int64_t last_timestamp
    int32_t coordinator_epoch
    int16_t producer_epoch
    uint8_t batch_count
    ProducerBatch batches[REMEMBERED_BATCHES]     # oldest first

cdef struct Permit:                         # the coordinator vouches: this transaction holds the partition
    int64_t producer_id
    int16_t producer_epoch
    bint is_old                             # it was there already when permits were looked at last

cdef struct UndoEntry:
    int64_t producer_id
    bint existed
    ProducerEntry before

cdef struct ProducerState:
    ProducerEntry *slots                    # open addressing, a power of two
    int32_t capacity
    int32_t count
    int32_t open_transactions
    int64_t first_undecided_offset          # INT64_MAX: no open transaction
    UndoEntry *undo
    int32_t undo_count
    int32_t undo_capacity
    Permit *permits                         # open addressing, a power of two; not in snapshots: the coordinator is asked again
    int32_t permit_count
    int32_t permit_capacity

cdef void producers_init(ProducerState *state) noexcept nogil
cdef void producers_free(ProducerState *state) noexcept nogil
cdef void producers_clear(ProducerState *state) noexcept nogil
cdef void producers_begin(ProducerState *state) noexcept nogil
cdef void producers_keep(ProducerState *state) noexcept nogil
cdef void producers_undo(ProducerState *state) noexcept nogil
# OK; DUPLICATE_SEQUENCE with the old base offset; OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE,
# COORDINATOR_FENCED; and, for a batch of a client, UNVERIFIED_TRANSACTION. `transaction_version` is the marker's.
cdef Status producers_check(
    const ProducerState *state, const BatchHeader *header, const uint8_t *data, bint from_client, int16_t transaction_version,
    int64_t *old_base_offset) noexcept nogil
# Whether the transaction of (producer, epoch) may be written to: it has been already, or it holds a permit.
cdef bint producers_may_write(const ProducerState *state, int64_t producer_id, int16_t producer_epoch) noexcept nogil
# The producer's next batch is let in and opens its transaction, unless a marker of it comes first. A newer permit replaces an older one.
cdef Status producers_permit(ProducerState *state, int64_t producer_id, int16_t producer_epoch) noexcept nogil
# Takes the batch at `base_offset` in, without a check. `now_ms` is when it is appended, NO_TIMESTAMP when it is read
# from the log: a producer of old records that writes now must not be forgotten, or its next retry would be appended
# twice. `aborted.producer_id` is >= 0 when the batch is an abort marker that ended a transaction.
cdef Status producers_apply(
    ProducerState *state, const BatchHeader *header, const uint8_t *data, int64_t base_offset, int64_t now_ms,
    AbortedTransaction *aborted) noexcept nogil
# Its epoch, NO_EPOCH when it is not known.
cdef int16_t producers_epoch(const ProducerState *state, int64_t producer_id) noexcept nogil
# Drops producers that wrote nothing since `oldest_timestamp` and have no open transaction, and permits that were there at the last call.
cdef void producers_expire(ProducerState *state, int64_t oldest_timestamp) noexcept nogil
cdef uint8_t *producers_encode(const ProducerState *state, Py_ssize_t *size) noexcept nogil     # fresh memory (libc free) or NULL
cdef Status producers_decode(ProducerState *state, const uint8_t *data, Py_ssize_t size) noexcept nogil
# Entries for Python, sorted by producer id; the tuple is described at decode_producer_snapshot().
cdef list producers_as_list(const ProducerState *state)
