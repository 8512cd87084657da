# Appending to a log, and rolling to a new segment.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from pystream._native.batch cimport BatchHeader
from pystream._native.log_state cimport LogState
from pystream._native.status cimport Status

cdef struct StagedBatch:
    uint8_t *data                # the whole batch, writable; owned by the caller until log_append() has returned
    BatchHeader header           # as validate_batch() filled it
    bint from_client             # a transactional batch needs an open transaction or a permit
    int16_t transaction_version  # of a control batch: what its coordinator speaks
    Status status                # out: OK, DUPLICATE_SEQUENCE, or why this batch was refused
    int64_t base_offset          # out: on OK and DUPLICATE_SEQUENCE
    int64_t append_time_ms       # out: LogAppendTime given, else NO_TIMESTAMP

# Appends staged batches in order with one pwritev per segment touched: sequence checks, offsets and leader epoch stamped, roll when needed,
# indexes, producer state. Refused batches get their status and do not disturb their neighbours. Returns OK when at least the log works;
# STORAGE_ERROR / NO_SPACE / LOG_OFFLINE when nothing of this call was appended (every batch then carries it), FENCED_LEADER_EPOCH when
# `leader_epoch` is below one the log has seen. The new end is published after the write. When a later segment of the same call fails, its
# batches carry the failure and the call returns OK.
cdef Status log_append(LogState *log, StagedBatch *batches, Py_ssize_t count, int32_t leader_epoch, int64_t now_ms) noexcept nogil
# Seals the active segment, if it holds anything, and begins a new one at the log end.
cdef Status log_roll(LogState *log) noexcept nogil
cdef Status log_roll_locked(LogState *log) noexcept nogil
