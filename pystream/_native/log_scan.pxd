# Checking every batch of a segment file: magic, length, CRC-32C, offsets, epochs; and what lies at and behind the first bad one.

from libc.stdint cimport int32_t, int64_t, uint8_t
from pystream._native.leader_epochs cimport LeaderEpochs
from pystream._native.log_state cimport LogState, Segment
from pystream._native.status cimport Status

cdef enum:
    SCAN_BUFFER_SIZE = 1 << 20

cdef struct Scan:
    int fd
    int64_t file_size
    int64_t pause_position       # stop, all being well, at the first batch that begins here or behind
    int64_t position             # end of the valid batches
    int64_t next_offset
    int32_t leader_epoch         # of the last valid batch
    const LeaderEpochs *epochs   # what the batches' epochs must fit, see leader_epochs_fit()
    int64_t epochs_complete_below
    int32_t newest_epoch         # no batch is of a later one, unless `epochs` know of it
    bint wrong_epoch             # the first bad batch is whole: nothing but its leader epoch is wrong
    bint rose_earlier            # no: that of a batch in an earlier segment is. The one here is named as the valid one that follows
    int64_t risen_offset         # with `note`: of the batch that alone tells of the latest epoch, or -1
    int64_t risen_position       # of that batch, or -1 when it lies in an earlier segment
    int64_t max_batch_size
    int64_t limit_offset         # base offset of the next segment: batches must end below it
    bint compacted               # offsets may have gaps
    bint note                    # index entries and leader epochs are noted as batches pass
    Status reason                # OK: the file ends with a valid batch
    bint ends_inside             # the file ends, or turns to zeros, inside the first bad batch
    int64_t valid_position       # of the first valid batch behind it, or -1
    int64_t valid_offset
    uint8_t *buffer              # owned by the caller of scan_*
    int64_t capacity
    int64_t buffer_position
    Py_ssize_t buffer_size

# Passes over valid batches from scan.position on; stops at the end or at the first bad one and judges it. Epochs must not fall, and must
# fit scan.epochs: where one batch alone rises above both its neighbours, that one is the bad one. With scan.note, index entries go
# to `segment` and leader epochs to `log`; else neither is touched. STORAGE_ERROR and OUT_OF_MEMORY end it without a result.
cdef Status scan_file(LogState *log, Segment *segment, Scan *scan) noexcept nogil
