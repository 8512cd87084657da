# One round of compaction of one log, in steps that a scheduler can count, slow down and stop.  Source: Kafka's LogCleaner.
#
#   map      the dirty part, [first dirty offset, bound): the newest offset of every key, until the map is full
#   clean    all sealed segments below the end of what was mapped, in groups that fit one segment: read, filter (clean_batch), write
#            <base>.log.cleaned, fsync, swap (log_swap)
#
# Every batch read is checked (magic, size, CRC, order): damage ends the round, and nothing is put in its place.
# Memory: the map, one buffer to read (grown to the largest batch) and one to write, what decompressing a batch takes.
# Not thread-safe: one thread at a time. It works on a log that others append to and read from; it holds their mutex for moments only.

from libc.stdint cimport int32_t, int64_t, uint8_t
from pystream._native.buffer cimport Output
from pystream._native.clean_batch cimport BatchCleaner
from pystream._native.clean_transactions cimport CleanTransactions, LastBatches
from pystream._native.local_log cimport LocalLog
from pystream._native.log_state cimport LogState, Segment, SegmentFile
from pystream._native.log_swap cimport SegmentRef
from pystream._native.offset_map cimport OffsetMap
from pystream._native.status cimport Status

cdef enum CleaningStage:
    MAPPING = 0
    CLEANING = 1
    CLEANED = 2
    ENDED = 3                        # closed, or a failure ended it

cdef struct Source:                  # the segment that is read
    SegmentFile *file                # one reference; NULL between segments
    SegmentRef segment
    int64_t position                 # of the next batch
    int64_t next_offset              # no batch begins below it
    uint8_t *buffer
    Py_ssize_t capacity
    int64_t buffer_position
    Py_ssize_t buffer_size

cdef struct Target:                  # the segment that is written
    int fd                           # -1 between groups
    Segment *segment
    Output waiting                   # whole batches that are not yet written
    int64_t written                  # bytes in the file
    int64_t unsynced
    bint changed                     # it is not its one source over again

cdef class LogCleaning:
    cdef LocalLog owner
    cdef LogState *log
    cdef CleaningStage stage
    cdef int64_t first_dirty_offset
    cdef int64_t bound
    cdef int64_t truncations
    cdef Py_ssize_t buffer_bytes
    cdef OffsetMap offsets
    cdef CleanTransactions transactions
    cdef LastBatches last_batches
    cdef BatchCleaner cleaner
    cdef Source source
    cdef Target target
    cdef SegmentRef *segments        # sealed, oldest first
    cdef uint8_t *replaced           # not 0: its files became *.deleted
    cdef int32_t segment_count
    cdef int32_t next_segment        # the first that is not yet read
    cdef int32_t group_first
    cdef int32_t group_end
    cdef int64_t bytes_mapped
    cdef int64_t bytes_read
    cdef int64_t bytes_written
    cdef int64_t segments_replaced
    cdef int64_t segments_made
    cdef bint map_full
    cdef Status take_segments(self) noexcept nogil
    cdef object fail(self, Status status)
    cdef Status map_step(self, int64_t most_bytes) noexcept nogil
    cdef Status clean_step(self, int64_t most_bytes) noexcept nogil
    cdef Status begin_group(self) noexcept nogil
    cdef Status clean_one(self) noexcept nogil
    cdef Status finish_group(self) noexcept nogil
    cdef void drop_target(self) noexcept nogil
