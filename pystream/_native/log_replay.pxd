# What recovery takes from the batches of a log, and what it makes of the epochs file.

from libc.stdint cimport int32_t, int64_t
from pystream._native.log_state cimport LogState, Segment
from pystream._native.status cimport Status

# Takes producers and epochs from the batches at or after `from_offset`; epochs from behind damage, too. DAMAGED sets segment.damaged_from;
# with `judge_epochs` an epoch that falls is damage, and is passed over.
cdef Status replay_segment(
    LogState *log, Segment *segment, int64_t from_offset, bint producers, bint epochs, bint judge_epochs) noexcept nogil
# Reads leader-epoch-checkpoint. False when it is missing or cannot be trusted: the epochs are to be built from the log.
cdef bint load_epochs(LogState *log, str directory) except *
cdef void forget_epochs(LogState *log) noexcept nogil
# Whether it is the file, or what is said of the newest epoch, and no batch that is wrong, once a batch was found to contradict them. Below
# `complete_below` the file knows all. `file_size`: of the segment in slot `scanned`, of which the scan has passed a part. Raises
# KafkaError's tree.
cdef bint epochs_refuted(LogState *log, int32_t scanned, int64_t file_size, int64_t complete_below, int32_t newest) except -1
