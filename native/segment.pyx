"""One segment of a log: files, open descriptor, indexes, and the walk over batch headers (see the .pxd).

Open files form one ring for the process.  When a segment is opened and more than `limit` are open, a hand sweeps the ring: a file
used since the last sweep gets another round, one with unsynced bytes or a busy log is passed over, the first other one is closed.
A sealed segment's index is in memory only while its file is open; it also sweeps when such indexes take more than MAX_INDEX_BYTES.
A reader that still sends from it holds a reference: the descriptor lives until that is given back.
"""

from libc.errno cimport EMFILE, ENFILE
from libc.stdint cimport INT32_MAX, INT64_MAX, int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from posix.fcntl cimport O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY
from posix.unistd cimport SEEK_END, lseek

from pystream._native.atomics cimport atomic_add32, atomic_add64, atomic_relaxed64
from pystream._native.batch cimport BATCH_HEADER_SIZE, NO_TIMESTAMP, parse_batch_header
from pystream._native.io_table cimport (
    io_allocate, io_open, io_read_at, io_read_file, io_status, io_sync, io_truncate, io_write_at, iovec,
)
from pystream._native.log_state cimport MAX_PATH_SIZE
from pystream._native.offset_index cimport (
    OFFSET_ENTRY_SIZE, TIME_ENTRY_SIZE, OffsetEntry, TimeEntry, load_int32, load_int64,
    offset_index_append, offset_index_decode, offset_index_encode, offset_index_free,
    offset_index_slot, offset_index_truncate, time_index_append, time_index_decode, time_index_encode, time_index_free,
    time_index_truncate,
)
from pystream._native.posix cimport (
    close, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_trylock, pthread_mutex_unlock,
)
from pystream._native.status cimport DAMAGED, NOT_FOUND, OK, OUT_OF_MEMORY, STORAGE_ERROR
from pystream._native.txn_index cimport txn_index_encode, txn_index_free, txn_index_truncate

cdef enum:
    DEFAULT_OPEN_FILES = 4096
    MAX_SWEEP = 64
    MAX_INDEX_BYTES = 1 << 27
    MAX_INDEX_FILE = 1 << 28

cdef struct OpenFiles:
    pthread_mutex_t lock
    SegmentFile *hand
    int32_t count
    int32_t limit
    int64_t index_bytes          # atomic

cdef OpenFiles open_files
pthread_mutex_init(&open_files.lock, NULL)
open_files.limit = DEFAULT_OPEN_FILES


# ---------------------------------------------------------------------------------------------------------------------
# Segments and their open files

cdef Segment *segment_new(int64_t base_offset) noexcept nogil:
    cdef Segment *segment = <Segment *> calloc(1, sizeof(Segment))
    if segment == NULL:
        return NULL
    segment.base_offset = segment.next_offset = base_offset
    segment.max_timestamp = segment.max_timestamp_offset = NO_TIMESTAMP
    segment.first_timestamp = segment.created_ms = NO_TIMESTAMP
    segment.damaged_from = segment.damaged_to = segment.damaged_to_offset = -1
    segment.index_loaded = segment.time_range_known = True
    return segment


cdef void count_index(Segment *segment) noexcept nogil:
    """Under the log's mutex."""
    if segment.sealed and segment.index_bytes == 0:
        segment.index_bytes = (
            segment.offsets.capacity * <int64_t> sizeof(OffsetEntry) + segment.times.capacity * <int64_t> sizeof(TimeEntry))
        atomic_add64(&open_files.index_bytes, segment.index_bytes)


cdef void uncount_index(Segment *segment) noexcept nogil:
    atomic_add64(&open_files.index_bytes, -segment.index_bytes)
    segment.index_bytes = 0


cdef void segment_free(Segment *segment) noexcept nogil:
    segment_close(segment)
    uncount_index(segment)
    offset_index_free(&segment.offsets)
    time_index_free(&segment.times)
    txn_index_free(&segment.aborted)
    free(segment.snapshot)
    free(segment)


cdef void segment_path(const LogState *log, int64_t base_offset, const char *suffix, char *path) noexcept nogil:
    snprintf(path, MAX_PATH_SIZE, b"%s/%020lld%s", log.directory, <long long> base_offset, suffix)


cdef void leave_ring(SegmentFile *file) noexcept nogil:
    """Called under the ring's lock."""
    if file.next == file:
        open_files.hand = NULL
    else:
        file.previous.next = file.next
        file.next.previous = file.previous
        if open_files.hand == file:
            open_files.hand = file.next
    open_files.count -= 1


cdef bint may_close(const Segment *segment) noexcept nogil:
    return not segment.unsynced


cdef void drop_file(SegmentFile *file) noexcept nogil:
    """Parts file and segment; called under the ring's lock and the log's mutex."""
    cdef Segment *segment = file.segment
    leave_ring(file)
    file.segment = NULL
    segment.file = NULL
    if segment.sealed and segment.index_final and segment.offsets.count > 0:
        offset_index_free(&segment.offsets)
        time_index_free(&segment.times)
        uncount_index(segment)
        segment.index_loaded = False
    segment_file_release(file)


cdef void close_one(const pthread_mutex_t *held) noexcept nogil:
    """Sweeps for a file to close; `held` is the mutex of the log that the caller is in.  Called under the ring's lock."""
    cdef SegmentFile *file = open_files.hand
    cdef int32_t steps = 2 * open_files.count
    if steps > MAX_SWEEP:
        steps = MAX_SWEEP                                        # with thousands of busy logs nobody may sweep them all at each open
    while steps > 0 and file != NULL:
        steps -= 1
        open_files.hand = file.next
        if file.used != 0:
            if file.used == 1:
                file.used = 0
        elif file.lock == held:
            if may_close(file.segment):
                drop_file(file)
                return
        elif pthread_mutex_trylock(file.lock) == 0:
            if may_close(file.segment):
                # The mutex outlives the file: a log leaves the ring before it is freed.
                unlock_after(file)
                return
            pthread_mutex_unlock(file.lock)
        file = open_files.hand


cdef void unlock_after(SegmentFile *file) noexcept nogil:
    cdef pthread_mutex_t *lock = file.lock
    drop_file(file)
    pthread_mutex_unlock(lock)


cdef void close_surplus(const pthread_mutex_t *held, int32_t wanted) noexcept nogil:
    """Closes files until `wanted` more fit under the limits, or all that are left are busy.  Called under the ring's lock."""
    cdef int32_t before
    while open_files.count + wanted > open_files.limit or atomic_relaxed64(&open_files.index_bytes) > MAX_INDEX_BYTES:
        before = open_files.count
        close_one(held)
        if open_files.count == before:
            return


cdef void segment_trim_open_files(LogState *log) noexcept nogil:
    if open_files.count > open_files.limit or atomic_relaxed64(&open_files.index_bytes) > MAX_INDEX_BYTES:
        pthread_mutex_lock(&open_files.lock)
        close_surplus(&log.mutex, 0)
        pthread_mutex_unlock(&open_files.lock)


cdef int open_log_file(LogState *log, Segment *segment) noexcept nogil:
    """A descriptor or -errno; makes room once when the process has no descriptor left."""
    cdef char path[MAX_PATH_SIZE]
    cdef int flags = O_RDWR if segment.exists else O_RDWR | O_CREAT | O_TRUNC
    cdef int fd
    segment_path(log, segment.base_offset, b".log", path)
    fd = io_open(path, flags)
    if fd == -EMFILE or fd == -ENFILE:
        pthread_mutex_lock(&open_files.lock)
        close_one(&log.mutex)
        pthread_mutex_unlock(&open_files.lock)
        fd = io_open(path, flags)
    return fd


cdef Status segment_open(LogState *log, Segment *segment) noexcept nogil:
    cdef Status status
    cdef int fd
    if segment.file != NULL:
        segment.file.used = 1
        return OK
    fd = open_log_file(log, segment)
    if fd < 0:
        log.last_errno = -fd
        return io_status(-fd)
    status = segment_adopt(log, segment, fd)
    if status != OK:
        close(fd)
        return status
    if not segment.exists:
        segment.exists = True
        log.directory_unsynced = True
        if log.limits.preallocate:
            io_allocate(fd, 0, log.limits.segment_bytes)         # a wish: file systems without it do as well
    return OK


cdef Status segment_adopt(LogState *log, Segment *segment, int fd) noexcept nogil:
    cdef SegmentFile *file = <SegmentFile *> malloc(sizeof(SegmentFile))
    if file == NULL:
        return OUT_OF_MEMORY
    file.fd = fd
    file.references = 1
    file.used = 1
    file.lock = &log.mutex
    file.segment = segment
    pthread_mutex_lock(&open_files.lock)
    close_surplus(&log.mutex, 1)                                 # when all are busy: one more than the limit, for now
    if open_files.hand == NULL:
        file.previous = file.next = open_files.hand = file
    else:
        file.next = open_files.hand
        file.previous = open_files.hand.previous
        file.previous.next = file.next.previous = file
    open_files.count += 1
    pthread_mutex_unlock(&open_files.lock)
    segment.file = file
    return OK


cdef void segment_close(Segment *segment) noexcept nogil:
    cdef SegmentFile *file
    pthread_mutex_lock(&open_files.lock)
    file = segment.file
    if file != NULL:
        leave_ring(file)
        file.segment = NULL
        segment.file = NULL
    pthread_mutex_unlock(&open_files.lock)
    if file != NULL:
        segment_file_release(file)


cdef void segment_file_retain(SegmentFile *file) noexcept nogil:
    atomic_add32(&file.references, 1)


cdef void segment_file_release(SegmentFile *file) noexcept nogil:
    if atomic_add32(&file.references, -1) == 0:
        close(file.fd)
        free(file)


cdef void set_open_file_limit(int32_t limit) noexcept nogil:
    pthread_mutex_lock(&open_files.lock)
    open_files.limit = limit if limit > 1 else 1
    pthread_mutex_unlock(&open_files.lock)


cdef int32_t open_file_count() noexcept nogil:
    return open_files.count


cdef int64_t loaded_index_bytes() noexcept nogil:
    return atomic_relaxed64(&open_files.index_bytes)


# ---------------------------------------------------------------------------------------------------------------------
# Indexes

cdef Status segment_note_batch(
        Segment *segment, const BatchHeader *header, int64_t base_offset, int64_t position, int32_t interval_bytes) noexcept nogil:
    cdef int64_t last_offset = base_offset + header.last_offset_delta
    cdef Status status = OK
    if position == 0:
        segment.first_timestamp = header.max_timestamp
    if header.max_timestamp > segment.max_timestamp:
        segment.max_timestamp = header.max_timestamp
        segment.max_timestamp_offset = last_offset
    if segment.bytes_since_entry > interval_bytes:
        status = offset_index_append(&segment.offsets, <int32_t> (last_offset - segment.base_offset), <int32_t> position)
        if status == OK and segment.max_timestamp_offset >= 0:
            status = time_index_append(
                &segment.times, segment.max_timestamp, <int32_t> (segment.max_timestamp_offset - segment.base_offset))
        segment.bytes_since_entry = 0
    segment.bytes_since_entry += header.size
    segment.index_final = False
    segment.next_offset = last_offset + 1
    segment.size = position + header.size
    return status


cdef void segment_note_damage(Segment *segment, int64_t position) noexcept nogil:
    if segment.damaged_from < 0 or position < segment.damaged_from:
        segment.damaged_from = position
    elif segment.damaged_to >= 0 and position >= segment.damaged_to:
        segment.damaged_to = segment.damaged_to_offset = -1


cdef void forget_index(Segment *segment) noexcept nogil:
    offset_index_free(&segment.offsets)
    time_index_free(&segment.times)
    segment.offsets_stored = segment.times_stored = 0
    segment.index_final = False
    segment.bytes_since_entry = 0


cdef Status segment_rebuild_index(LogState *log, Segment *segment) noexcept nogil:
    cdef Walk walk
    cdef BatchHeader header
    cdef int64_t position = 0
    cdef int64_t end = segment.size
    cdef int64_t next_offset = segment.next_offset
    cdef int64_t expected_offset = segment.base_offset
    cdef Status status = segment_open(log, segment)
    if status != OK:
        return status
    forget_index(segment)
    segment.max_timestamp = segment.max_timestamp_offset = NO_TIMESTAMP
    walk_over(&walk, segment.file.fd, end)
    while status == OK:
        status = walk_header(&walk, position, &header)
        # Offsets lie outside the checksum: a flipped bit shows here only. Those of a segment fit 32 bits.
        if status == OK and (
                header.base_offset < expected_offset
                or header.base_offset + header.last_offset_delta - segment.base_offset > INT32_MAX):
            status = DAMAGED
        if status == OK:
            status = segment_note_batch(segment, &header, header.base_offset, position, log.limits.index_interval_bytes)
            expected_offset = segment.next_offset
            position += header.size
    segment.size = end
    segment.next_offset = next_offset
    segment.index_suspect = False
    segment.index_loaded = segment.time_range_known = True
    if status == DAMAGED:
        segment_note_damage(segment, position)
        return OK
    return OK if status == NOT_FOUND else status


cdef Status load_stored_index(LogState *log, Segment *segment) noexcept nogil:
    """MALFORMED, or NOT_FOUND, when the files cannot be used."""
    cdef char path[MAX_PATH_SIZE]
    cdef uint8_t *data = NULL
    cdef Py_ssize_t size = 0
    cdef int64_t last_relative = segment.next_offset - 1 - segment.base_offset
    cdef Status status
    segment_path(log, segment.base_offset, b".index", path)
    if io_read_file(path, MAX_INDEX_FILE, &data, &size) != 0:
        return NOT_FOUND
    status = offset_index_decode(&segment.offsets, data, size, segment.size, last_relative)
    free(data)
    if status != OK:
        return status
    segment_path(log, segment.base_offset, b".timeindex", path)
    if io_read_file(path, MAX_INDEX_FILE, &data, &size) != 0:
        return NOT_FOUND
    status = time_index_decode(&segment.times, data, size, last_relative)
    free(data)
    return status


cdef Status segment_load_index(LogState *log, Segment *segment) noexcept nogil:
    cdef Status status
    if segment.index_loaded and not segment.index_suspect:
        return OK
    uncount_index(segment)
    status = load_or_rebuild_index(log, segment)
    if status == OK and segment.file != NULL:
        count_index(segment)
        segment.file.used = 2                                    # the sweep must not take what was loaded just now
        segment_trim_open_files(log)
        segment.file.used = 1
    return status


cdef Status load_or_rebuild_index(LogState *log, Segment *segment) noexcept nogil:
    cdef Status status
    if segment.size == 0:
        segment.index_loaded = segment.time_range_known = True
        return OK
    if not segment.index_suspect:
        status = load_stored_index(log, segment)
        if status == OUT_OF_MEMORY:
            return status
        # A segment that holds several intervals without one entry lost its index; a short one may have none.
        if status == OK and (segment.offsets.count > 0 or segment.size <= 4 * <int64_t> log.limits.index_interval_bytes):
            segment.offsets_stored = segment.offsets.count
            segment.times_stored = segment.times.count
            segment.index_loaded = segment.index_final = True
            return OK
    return segment_rebuild_index(log, segment)


cdef bint segment_closing_entry(
        const LogState *log, int64_t base_offset, int64_t next_offset, int64_t *timestamp, int64_t *offset) noexcept nogil:
    cdef char path[MAX_PATH_SIZE]
    cdef uint8_t entry[TIME_ENTRY_SIZE]
    cdef int64_t size
    cdef int64_t relative
    cdef bint whole
    cdef int fd
    segment_path(log, base_offset, b".timeindex", path)
    fd = io_open(path, O_RDONLY)
    if fd < 0:
        return False
    size = lseek(fd, 0, SEEK_END)
    whole = size > 0 and size % TIME_ENTRY_SIZE == 0
    whole = whole and io_read_at(fd, entry, TIME_ENTRY_SIZE, size - TIME_ENTRY_SIZE) == TIME_ENTRY_SIZE
    close(fd)
    if not whole:
        return False
    relative = load_int32(entry + 8)
    timestamp[0] = load_int64(entry)
    offset[0] = base_offset + relative
    return timestamp[0] >= 0 and relative >= 0 and offset[0] < next_offset


cdef bint is_confirmed(Segment *segment, int32_t slot, Status *status) noexcept nogil:
    """Whether a batch begins where an entry of the offset index says, and none later than it says: its file has no checksum."""
    cdef Walk walk
    cdef BatchHeader header
    walk_over(&walk, segment.file.fd, segment.size)
    status[0] = walk_entry(
        &walk, segment.offsets.entries[slot].position, segment.base_offset + segment.offsets.entries[slot].relative_offset, &header)
    return status[0] == OK and header.base_offset >= segment.base_offset


cdef Status segment_find_position(LogState *log, Segment *segment, int64_t offset, int64_t *position) noexcept nogil:
    cdef int32_t slot
    cdef int _attempt
    cdef Status status = segment_open(log, segment)
    position[0] = 0
    if status == OK:
        status = segment_load_index(log, segment)
    for _attempt in range(2):
        slot = offset_index_slot(&segment.offsets, offset - segment.base_offset) if status == OK else -1
        if slot < 0:
            return status
        if is_confirmed(segment, slot, &status):
            position[0] = segment.offsets.entries[slot].position
            return OK
        if status == STORAGE_ERROR or segment.damaged_from >= 0:
            return status if status == STORAGE_ERROR else OK
        segment.index_suspect = True
        status = segment_load_index(log, segment)
    return status


cdef bint read_closing_entry(const LogState *log, Segment *segment) noexcept nogil:
    cdef int64_t timestamp
    cdef int64_t offset
    if not segment_closing_entry(log, segment.base_offset, segment.next_offset, &timestamp, &offset):
        return False
    segment.max_timestamp = timestamp
    segment.max_timestamp_offset = offset
    segment.time_range_known = True
    return True


cdef Status segment_load_time_range(LogState *log, Segment *segment) noexcept nogil:
    cdef Walk walk
    cdef BatchHeader header
    cdef int64_t position = 0
    cdef Status status
    if segment.time_range_known or (segment.sealed and not segment.index_loaded and read_closing_entry(log, segment)):
        return OK
    status = segment_load_index(log, segment)
    if status != OK or segment.time_range_known:
        return status
    status = segment_open(log, segment)
    if status != OK:
        return status
    if segment.times.count > 0:
        segment.max_timestamp = segment.times.entries[segment.times.count - 1].timestamp
        segment.max_timestamp_offset = segment.base_offset + segment.times.entries[segment.times.count - 1].relative_offset
        status = segment_find_position(log, segment, segment.max_timestamp_offset, &position)
        if status != OK or segment.time_range_known:
            return status
    walk_over(&walk, segment.file.fd, segment.size)
    while status == OK:
        status = walk_header(&walk, position, &header)
        if status == OK:
            if position == 0:
                segment.first_timestamp = header.max_timestamp
            if header.max_timestamp > segment.max_timestamp:
                segment.max_timestamp = header.max_timestamp
                segment.max_timestamp_offset = header.base_offset + header.last_offset_delta
            position += header.size
    segment.time_range_known = True
    return OK if status == NOT_FOUND or status == DAMAGED else status


cdef Status segment_prepare_append(LogState *log, Segment *segment) noexcept nogil:
    cdef Walk walk
    cdef BatchHeader header
    cdef Status status = segment_open(log, segment)
    if status != OK or segment.append_ready:
        return status
    status = segment_load_index(log, segment)
    if status == OK:
        status = segment_load_time_range(log, segment)
    if status != OK:
        return status
    if segment.size > 0 and segment.first_timestamp == NO_TIMESTAMP:
        walk_over(&walk, segment.file.fd, segment.size)
        if walk_header(&walk, 0, &header) == OK:
            segment.first_timestamp = header.max_timestamp
    segment.bytes_since_entry = <int32_t> segment.size
    if segment.offsets.count > 0:
        segment.bytes_since_entry -= segment.offsets.entries[segment.offsets.count - 1].position
    segment.append_ready = True
    return OK


cdef void segment_cut_aborted(Segment *segment, int64_t offset) noexcept nogil:
    cdef int32_t before = segment.aborted.count
    txn_index_truncate(&segment.aborted, offset)
    if segment.aborted.count < before:
        segment.aborted_stored = -1                              # the file knows of more: it is written anew, empty too


cdef void segment_cut(Segment *segment, int64_t next_offset, int64_t size) noexcept nogil:
    uncount_index(segment)
    offset_index_truncate(&segment.offsets, next_offset - segment.base_offset)
    time_index_truncate(&segment.times, next_offset - segment.base_offset)
    segment_cut_aborted(segment, next_offset)
    segment.offsets_stored = segment.times_stored = 0            # the files are removed with the cut
    segment.next_offset = next_offset
    segment.size = size
    segment.time_range_known = size == 0
    segment.max_timestamp = segment.max_timestamp_offset = NO_TIMESTAMP
    segment.append_ready = segment.index_final = False
    if size == 0:
        segment.first_timestamp = segment.created_ms = NO_TIMESTAMP


cdef Status segment_image_index(Segment *segment, bint final, IndexImage *image) noexcept nogil:
    cdef Status status = OK
    if final and segment.max_timestamp_offset >= segment.base_offset:
        time_index_append(&segment.times, segment.max_timestamp, <int32_t> (segment.max_timestamp_offset - segment.base_offset))
    image.base_offset = segment.base_offset
    image.final = final
    image.next_offset = segment.next_offset
    image.first_offset_entry = segment.offsets_stored
    image.first_time_entry = segment.times_stored
    image.offset_count = segment.offsets.count - segment.offsets_stored
    image.time_count = segment.times.count - segment.times_stored
    image.aborted_count = segment.aborted.count if segment.aborted.count != segment.aborted_stored else -1
    image.offsets = <uint8_t *> malloc(image.offset_count * OFFSET_ENTRY_SIZE + 1)
    image.times = <uint8_t *> malloc(image.time_count * TIME_ENTRY_SIZE + 1)
    image.aborted = NULL
    if image.aborted_count >= 0:
        image.aborted = txn_index_encode(&segment.aborted, &image.aborted_size)
    if image.offsets == NULL or image.times == NULL or (image.aborted_count >= 0 and image.aborted == NULL):
        index_image_free(image)
        return OUT_OF_MEMORY
    offset_index_encode(&segment.offsets, segment.offsets_stored, image.offsets)
    time_index_encode(&segment.times, segment.times_stored, image.times)
    return status


cdef int write_part(
        const LogState *log, int64_t base_offset, const char *suffix, uint8_t *data, Py_ssize_t size,
        int64_t position, bint durable) noexcept nogil:
    """Puts `data` at `position` and ends the file there."""
    cdef char path[MAX_PATH_SIZE]
    cdef iovec part
    cdef int error = 0
    cdef int fd
    segment_path(log, base_offset, suffix, path)
    fd = io_open(path, O_WRONLY | O_CREAT)
    if fd < 0:
        return -fd
    if size > 0:
        part.iov_base = data
        part.iov_len = size
        error = io_write_at(fd, &part, 1, position)
    if error == 0:
        error = io_truncate(fd, position + size)
    if error == 0 and durable:
        error = io_sync(fd)
    close(fd)
    return error


cdef int index_image_write(const LogState *log, const IndexImage *image, bint durable) noexcept nogil:
    # The time index first: after a crash in between it knows more than the offset index, never less.
    cdef int error = write_part(
        log, image.base_offset, b".timeindex", image.times, image.time_count * <Py_ssize_t> TIME_ENTRY_SIZE,
        image.first_time_entry * <int64_t> TIME_ENTRY_SIZE, durable)
    if error == 0:
        error = write_part(
            log, image.base_offset, b".index", image.offsets, image.offset_count * <Py_ssize_t> OFFSET_ENTRY_SIZE,
            image.first_offset_entry * <int64_t> OFFSET_ENTRY_SIZE, durable)
    if error == 0 and image.aborted_count >= 0:
        error = write_part(log, image.base_offset, b".txnindex", image.aborted, image.aborted_size, 0, durable)
    return error


cdef void index_image_written(Segment *segment, const IndexImage *image) noexcept nogil:
    if segment.offsets_stored == image.first_offset_entry:       # else it was cut meanwhile, and its files are gone
        segment.offsets_stored = image.first_offset_entry + image.offset_count
    if segment.times_stored == image.first_time_entry:
        segment.times_stored = image.first_time_entry + image.time_count
    if image.aborted_count >= 0:
        segment.aborted_stored = image.aborted_count
    if image.final and image.next_offset == segment.next_offset:
        segment.index_final = True
        count_index(segment)


cdef void index_image_free(IndexImage *image) noexcept nogil:
    free(image.offsets)
    free(image.times)
    free(image.aborted)
    image.offsets = image.times = image.aborted = NULL


# ---------------------------------------------------------------------------------------------------------------------
# The walk over batch headers

cdef void walk_over(Walk *walk, int fd, int64_t end) noexcept nogil:
    walk.fd = fd
    walk.end = end
    walk.buffer_position = 0
    walk.buffer_size = 0


cdef Status walk_header(Walk *walk, int64_t position, BatchHeader *header) noexcept nogil:
    cdef Py_ssize_t got
    cdef int64_t inside = position - walk.buffer_position
    if position >= walk.end:
        return NOT_FOUND
    if position + BATCH_HEADER_SIZE > walk.end:
        return DAMAGED
    if inside < 0 or inside + BATCH_HEADER_SIZE > walk.buffer_size:
        got = io_read_at(walk.fd, walk.buffer, WALK_BUFFER_SIZE, position)
        if got < 0:
            walk.buffer_size = 0
            return STORAGE_ERROR
        walk.buffer_position = position
        walk.buffer_size = got
        inside = 0
        if got < BATCH_HEADER_SIZE:
            return DAMAGED                                       # shorter than we know it to be
    if parse_batch_header(walk.buffer + inside, walk.buffer_size - inside, header) != OK:
        return DAMAGED
    if header.magic != 2 or header.size > walk.end - position or header.last_offset_delta < 0:
        return DAMAGED
    if header.base_offset < 0 or header.base_offset > INT64_MAX - INT32_MAX - 1:
        return DAMAGED                                           # offsets outside the checksum: they must not overflow
    return OK


cdef Status walk_entry(Walk *walk, int64_t position, int64_t begins_by, BatchHeader *header) noexcept nogil:
    cdef Status status = walk_header(walk, position, header)
    if status == NOT_FOUND or (status == OK and header.base_offset > begins_by):
        return DAMAGED
    return status


cdef Status walk_to_offset(
        Walk *walk, int64_t position, int64_t begins_by, int64_t offset, int64_t *found_position, BatchHeader *header) noexcept nogil:
    cdef Status status = walk_entry(walk, position, begins_by, header) if position > 0 else walk_header(walk, 0, header)
    while status == OK:
        if header.base_offset + header.last_offset_delta >= offset:
            found_position[0] = position
            return OK
        position += header.size
        status = walk_header(walk, position, header)
    return status
