# The fields of a log and its segments, shared by the log_* modules and by nobody else: all others see LogState and SegmentFile as opaque.
#
# Cross-thread state
#   LogState.mutex           guards everything in LogState and its segments, but what is named here
#   LogState.flush_mutex     held for a whole flush; taken before `mutex`, never after it; never held by append or read
#   *_offset, offline, references   written under `mutex` with atomic stores, read anywhere with atomic loads
#   SegmentFile.references   atomic; SegmentFile.used is a hint without order
#   the table of open files  (segment.pyx) its own mutex, taken after a log's `mutex`; it only ever *tries* another log's mutex
# Memory: LogState owns its segments; a segment holds one reference to its SegmentFile while it is open.

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t
from pystream._native.leader_epochs cimport LeaderEpochs
from pystream._native.offset_index cimport OffsetIndex, TimeIndex
from pystream._native.posix cimport pthread_mutex_t
from pystream._native.producer_state cimport ProducerState
from pystream._native.status cimport Status
from pystream._native.txn_index cimport TxnIndex

cdef enum FlushPolicy:
    FLUSH_OS = 0            # acknowledged from the page cache; background flush
    FLUSH_INTERVAL = 1      # as FLUSH_OS, every flush.ms / flush.messages
    FLUSH_GROUP = 2         # acknowledged (acks=all) and visible once fsynced, by group commit
    FLUSH_WRITE = 3         # fsynced before append() returns

cdef enum:
    HINT_COUNT = 8
    MAX_PATH_SIZE = 1024
    KEPT_SNAPSHOTS = 2

cdef struct Segment
cdef struct LogState

cdef struct SegmentFile:
    int fd
    int32_t references
    int32_t used                 # 1: touched since the sweep last came by; 2: not to be closed now
    pthread_mutex_t *lock        # of the log that owns `segment`
    Segment *segment             # NULL once the segment let go of it
    SegmentFile *previous        # ring of open files, see segment.pyx
    SegmentFile *next

cdef struct Segment:
    int64_t base_offset
    int64_t next_offset          # after the last batch; base_offset when empty
    int64_t size                 # bytes of whole batches
    int64_t max_timestamp        # NO_TIMESTAMP when there is none
    int64_t max_timestamp_offset # last offset of the batch that has it
    int64_t first_timestamp      # max timestamp of the first batch: segment.ms counts from it
    int64_t created_ms           # serves when the first batch has no timestamp; NO_TIMESTAMP until the first append
    SegmentFile *file            # NULL: closed
    OffsetIndex offsets
    TimeIndex times
    TxnIndex aborted
    uint8_t *snapshot            # producer state at the start of the NEXT segment, waiting to be written; owned
    Py_ssize_t snapshot_size
    int64_t index_bytes          # what the index of this sealed segment counts for in the table of open files
    int64_t damaged_from         # first position recovery does not vouch for; -1: all is well
    int64_t damaged_to           # where valid batches begin again; -1: nowhere
    int64_t damaged_to_offset    # base offset of the batch there
    bint end_lost                # the next segment begins behind the last batch here, and no compaction made that gap
    int32_t bytes_since_entry    # since the last index entry
    int32_t offsets_stored       # index entries that the files hold
    int32_t times_stored
    int32_t aborted_stored       # -1: the file holds others than there are
    bint exists                  # the .log file has been created
    bint sealed                  # rolled: nothing is appended any more
    bint unsynced                # bytes were written since the last fsync
    bint index_loaded
    bint index_final             # the files hold all entries and the closing time index entry
    bint index_suspect           # the stored index did not fit: rebuild before use
    bint time_range_known        # max_timestamp is right
    bint append_ready            # first_timestamp and bytes_since_entry are right, too

cdef struct ReadHint:
    int64_t base_offset          # of the segment
    int64_t offset
    int64_t position

cdef struct LogLimits:
    int64_t segment_bytes
    int64_t segment_ms
    int64_t segment_jitter_ms
    int32_t index_interval_bytes
    int32_t max_offset_entries
    int32_t max_time_entries
    int32_t max_message_bytes
    bint log_append_time
    bint require_keys
    int32_t codec                # AS_SENT, or what batches are recompressed with
    int32_t codec_level
    int64_t timestamp_before_max_ms
    int64_t timestamp_after_max_ms
    bint preallocate
    FlushPolicy flush_policy

cdef struct LogState:
    pthread_mutex_t mutex
    pthread_mutex_t flush_mutex
    int32_t references
    int32_t offline              # a Status: OK while the log takes writes
    int32_t last_errno
    int32_t refusing             # atomic; not 0 while the disk is too full for produce
    int64_t read_errors          # atomic; reads that the disk failed, since somebody last asked
    int64_t start_offset
    int64_t end_offset
    int64_t durable_offset
    int64_t first_undecided_offset
    int64_t recovery_point       # durable, and so are the side files of everything below it
    int64_t snapshots[KEPT_SNAPSHOTS]   # offsets of the newest producer snapshots on disk, oldest first; -1: none
    void *flush_entry            # place at the flusher; guarded by the flusher's mutex, as are the next two
    int64_t flush_requests       # that the last flush answered
    int64_t flush_took_ns
    int64_t truncations          # counts truncations: a flush that began before one proves nothing about what came after
    int64_t appended_since_flush # records
    int64_t oldest_unflushed_ms  # when the first of them was appended
    char *directory
    Segment **segments           # by base offset; the last one is active; never empty
    int32_t segment_count
    int32_t segment_capacity
    bint directory_unsynced
    bint closed
    bint frozen                  # takes no writes and keeps its files: it is about to be replaced by a copy
    ReadHint hints[HINT_COUNT]
    int32_t next_hint
    LogLimits limits
    ProducerState producers
    LeaderEpochs epochs

cdef int32_t log_segment_slot(const LogState *log, int64_t offset) noexcept nogil        # last segment with base offset <= offset, or -1
cdef void log_take_offline(LogState *log, Status status, int error) noexcept nogil
# How often a log of this process was taken offline: who waits for logs looks at them again when it has changed.
cdef int64_t log_offline_changes() noexcept nogil
# Counts a read that the disk failed with `error` (an errno).
cdef void log_note_read_error(LogState *log, int error) noexcept nogil
cdef void log_add_hint(LogState *log, int64_t base_offset, int64_t offset, int64_t position) noexcept nogil
cdef int64_t log_hint(const LogState *log, int64_t base_offset, int64_t offset) noexcept nogil   # position or -1
cdef void log_clear_hints(LogState *log) noexcept nogil
cdef void log_publish_undecided(LogState *log) noexcept nogil
