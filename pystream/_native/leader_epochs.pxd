# Leader epochs of a partition and the offset each began at, oldest first.  Source: KIP-101, KIP-279.
#
# File `leader-epoch-checkpoint`, text:  "0\n" version | "<count>\n" | "<epoch> <start offset>\n" ...
# Memory: `entries` is owned (malloc) until leader_epochs_free().

from libc.stdint cimport int32_t, int64_t, uint8_t
from pystream._native.status cimport Status

cdef struct EpochEntry:
    int32_t epoch
    int64_t start_offset

cdef struct LeaderEpochs:
    EpochEntry *entries
    int32_t count
    int32_t capacity
    bint unsaved                 # differs from the file

cdef int32_t leader_epochs_latest(const LeaderEpochs *epochs) noexcept nogil         # -1 when there is none
# Room for one more entry, so that the next assign cannot fail; OUT_OF_MEMORY leaves all as it was.
cdef Status leader_epochs_reserve(LeaderEpochs *epochs) noexcept nogil
# Notes that `epoch` begins at `start_offset`, unless it is the latest one already. Entries it contradicts are dropped.
cdef Status leader_epochs_assign(LeaderEpochs *epochs, int32_t epoch, int64_t start_offset) noexcept nogil
# Whether a batch written under `epoch` may begin at `offset`. Where another entry follows, or below `complete_below`, only the entry's own
# epoch fits; behind them a later epoch up to `newest` fits too: it is not noted yet. -1 (written by none) fits everywhere, what lies below
# it nowhere.
cdef bint leader_epochs_fit(
    const LeaderEpochs *epochs, int32_t epoch, int64_t offset, int64_t complete_below, int32_t newest) noexcept nogil
cdef int32_t leader_epochs_of_offset(const LeaderEpochs *epochs, int64_t offset) noexcept nogil
# Largest epoch <= `epoch`, and where it ends (`end_offset` for the latest); NOT_FOUND leaves -1, -1.
cdef Status leader_epochs_end_offset(
    const LeaderEpochs *epochs, int32_t epoch, int64_t log_end_offset, int32_t *found_epoch, int64_t *end_offset) noexcept nogil
cdef void leader_epochs_truncate_end(LeaderEpochs *epochs, int64_t end_offset) noexcept nogil     # drops entries that start at or after it
cdef void leader_epochs_truncate_start(LeaderEpochs *epochs, int64_t start_offset) noexcept nogil # the epoch in force there begins there
cdef Status leader_epochs_copy(LeaderEpochs *copy, const LeaderEpochs *epochs) noexcept nogil                     # `copy` is new
cdef void leader_epochs_free(LeaderEpochs *epochs) noexcept nogil
# The file's text in fresh memory (free with libc free), or NULL.
cdef uint8_t *leader_epochs_encode(const LeaderEpochs *epochs, Py_ssize_t *size) noexcept nogil
# MALFORMED: rebuild from the log
# Writes the file in `directory`, durably; 0 or an errno.
cdef int leader_epochs_save(LeaderEpochs *epochs, const char *directory) noexcept nogil
cdef Status leader_epochs_decode(LeaderEpochs *epochs, const uint8_t *data, Py_ssize_t size) noexcept nogil
