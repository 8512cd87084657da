# One segment: its files, its open descriptor, its indexes in memory, and the walk over batch headers.
#
# All functions but segment_file_*() and walk_*() are called under the log's mutex. A Walk reads a file descriptor the caller holds.

from libc.stdint cimport int32_t, int64_t, uint8_t
from pystream._native.batch cimport BatchHeader
from pystream._native.log_state cimport LogState, Segment, SegmentFile
from pystream._native.status cimport Status

cdef enum:
    WALK_BUFFER_SIZE = 4096

cdef struct Walk:
    int fd
    int64_t end                  # no batch reaches past it
    int64_t buffer_position
    Py_ssize_t buffer_size
    uint8_t buffer[WALK_BUFFER_SIZE]

cdef struct IndexImage:
    int64_t base_offset
    int64_t next_offset          # of the segment when the copy was made
    bint final
    int32_t first_offset_entry   # where in the file it goes, in entries
    int32_t first_time_entry
    int32_t offset_count
    int32_t time_count
    int32_t aborted_count        # all of the segment's; -1 when the file need not change
    uint8_t *offsets             # owned until index_image_free()
    uint8_t *times
    uint8_t *aborted
    Py_ssize_t aborted_size

cdef Segment *segment_new(int64_t base_offset) noexcept nogil
cdef void segment_free(Segment *segment) noexcept nogil
# Opens the .log file when it is closed, creating it when it does not exist yet. Closes others when too many are open.
cdef Status segment_open(LogState *log, Segment *segment) noexcept nogil
# Takes over the descriptor of the segment's .log file, whatever its name is by now; on failure it stays the caller's.
cdef Status segment_adopt(LogState *log, Segment *segment, int fd) noexcept nogil
# Closes what is open beyond the limit and may be closed by now.
cdef void segment_trim_open_files(LogState *log) noexcept nogil
cdef void segment_close(Segment *segment) noexcept nogil
cdef void segment_file_retain(SegmentFile *file) noexcept nogil
cdef void segment_file_release(SegmentFile *file) noexcept nogil
# Path of one of the segment's files: suffix ".log", ".index", ".timeindex", ".txnindex", ".snapshot".
cdef void segment_path(const LogState *log, int64_t base_offset, const char *suffix, char *path) noexcept nogil
# Index entries of a batch that lies at `position` and has just been written.
cdef Status segment_note_batch(
    Segment *segment, const BatchHeader *header, int64_t base_offset, int64_t position, int32_t interval_bytes) noexcept nogil
# From `position` on nothing can be read; behind damage that is noted already nothing is, then.
cdef void segment_note_damage(Segment *segment, int64_t position) noexcept nogil
# Reads the indexes, or builds them anew from the log when the files are missing or do not fit.
cdef Status segment_load_index(LogState *log, Segment *segment) noexcept nogil
# Where a walk to the batch of `offset` may begin: at an indexed batch at or before it, which the log itself confirms, or at 0. An index
# that the log refutes is built anew.
cdef Status segment_find_position(LogState *log, Segment *segment, int64_t offset, int64_t *position) noexcept nogil
cdef Status segment_rebuild_index(LogState *log, Segment *segment) noexcept nogil
# Highest timestamp of a sealed segment and its batch's last offset, as the last entry of its .timeindex tells; False when it cannot tell.
# Looks at the file only: no mutex needed.
cdef bint segment_closing_entry(
    const LogState *log, int64_t base_offset, int64_t next_offset, int64_t *timestamp, int64_t *offset) noexcept nogil
# max_timestamp and its offset, from the time index and the batches behind its last entry.
cdef Status segment_load_time_range(LogState *log, Segment *segment) noexcept nogil
# Opens the file and loads what appending needs: indexes, highest and first timestamp. Cheap once it is done.
cdef Status segment_prepare_append(LogState *log, Segment *segment) noexcept nogil
# What the index files lack, copied under the mutex so that it can be written without it. `final` adds the closing time index entry.
cdef Status segment_image_index(Segment *segment, bint final, IndexImage *image) noexcept nogil
cdef int index_image_write(const LogState *log, const IndexImage *image, bint durable) noexcept nogil     # 0 or an errno; no mutex needed
cdef void index_image_written(Segment *segment, const IndexImage *image) noexcept nogil                   # notes it in the segment
cdef void index_image_free(IndexImage *image) noexcept nogil
# Drops the aborted transactions whose marker is at or above `offset` from memory; their file follows with the next flush.
cdef void segment_cut_aborted(Segment *segment, int64_t offset) noexcept nogil
# Drops every batch that ends after `offset` from memory: index entries, timestamps. The file is the caller's business.
cdef void segment_cut(Segment *segment, int64_t next_offset, int64_t size) noexcept nogil

cdef void walk_over(Walk *walk, int fd, int64_t end) noexcept nogil
# Header of the batch at `position`. NOT_FOUND at `end`; DAMAGED when no whole batch of magic 2 can begin there; STORAGE_ERROR.
cdef Status walk_header(Walk *walk, int64_t position, BatchHeader *header) noexcept nogil
# The same for a batch that an index tells of, DAMAGED when there is none or it begins behind offset `begins_by`.
cdef Status walk_entry(Walk *walk, int64_t position, int64_t begins_by, BatchHeader *header) noexcept nogil
# First batch at or after `position`, which an index tells of as walk_entry() has it, whose last offset is >= `offset`. NOT_FOUND when
# none is.
cdef Status walk_to_offset(
    Walk *walk, int64_t position, int64_t begins_by, int64_t offset, int64_t *found_position, BatchHeader *header) noexcept nogil

cdef void set_open_file_limit(int32_t limit) noexcept nogil
cdef int32_t open_file_count() noexcept nogil
cdef int64_t loaded_index_bytes() noexcept nogil      # of sealed segments: what is bounded
