"""Putting a cleaned segment in the place of those it was made from (see the .pxd)."""

import os

from libc.errno cimport ENAMETOOLONG, ENOENT, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free
from libc.string cimport memmove
from posix.fcntl cimport O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY

from pystream._native.atomics cimport atomic_load32
from pystream._native.batch cimport BatchHeader
from pystream._native.io_table cimport io_open, io_rename, io_status, io_sync, io_sync_directory, io_unlink, io_write_at, iovec
from pystream._native.log_state cimport MAX_PATH_SIZE, log_clear_hints, log_segment_slot, log_take_offline
from pystream._native.posix cimport close, pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.segment cimport (
    IndexImage, Walk, index_image_free, index_image_write, index_image_written, segment_adopt, segment_free,
    segment_image_index, segment_path, walk_header, walk_over,
)
from pystream._native.status cimport BUSY, CLOSED, DAMAGED, LOG_OFFLINE, NOT_FOUND, OK, STORAGE_ERROR, raise_for_status
from pystream._native.txn_index cimport txn_index_encode

_SIDE_SUFFIXES = (".index", ".timeindex", ".txnindex")


# ---------------------------------------------------------------------------------------------------------------------
# Small steps: 0 or an errno

cdef int rename_suffix(const LogState *log, int64_t base_offset, const char *old_suffix, const char *new_suffix) noexcept nogil:
    cdef char old_path[MAX_PATH_SIZE]
    cdef char new_path[MAX_PATH_SIZE]
    segment_path(log, base_offset, old_suffix, old_path)
    segment_path(log, base_offset, new_suffix, new_path)
    return io_rename(old_path, new_path)


cdef int set_aside(const LogState *log, int64_t base_offset, const char *suffix) noexcept nogil:
    """To *.deleted; a file that is not there is no error."""
    cdef char path[MAX_PATH_SIZE]
    cdef char renamed[MAX_PATH_SIZE]
    cdef int error
    segment_path(log, base_offset, suffix, path)
    if snprintf(renamed, MAX_PATH_SIZE, b"%s.deleted", path) >= MAX_PATH_SIZE:
        return ENAMETOOLONG
    error = io_rename(path, renamed)
    return 0 if error == ENOENT else error


cdef int write_aborted(const LogState *log, const Segment *cleaned) noexcept nogil:
    """<base>.txnindex.swap, fsynced, and its name with it."""
    cdef char path[MAX_PATH_SIZE]
    cdef Py_ssize_t size = 0
    cdef uint8_t *data = txn_index_encode(&cleaned.aborted, &size)
    cdef iovec part
    cdef int error = 0
    cdef int fd
    if data == NULL:
        return ENOMEM
    segment_path(log, cleaned.base_offset, b".txnindex.swap", path)
    fd = io_open(path, O_WRONLY | O_CREAT | O_TRUNC)
    if fd < 0:
        free(data)
        return -fd
    if size > 0:
        part.iov_base = data
        part.iov_len = size
        error = io_write_at(fd, &part, 1, 0)
    if error == 0:
        error = io_sync(fd)
    close(fd)
    free(data)
    return error if error != 0 else io_sync_directory(log.directory)


# ---------------------------------------------------------------------------------------------------------------------
# The swap.  `flush_mutex` is held all the time: nobody truncates, deletes, closes or flushes the log meanwhile.

cdef Status check_unchanged(
        LogState *log, const SegmentRef *old, int32_t count, int64_t truncations, bint *aborted) noexcept nogil:
    cdef Segment *segment
    cdef int32_t first
    cdef int32_t number
    if log.closed or log.frozen:
        return CLOSED
    if atomic_load32(&log.offline) != OK:
        return LOG_OFFLINE
    first = log_segment_slot(log, old[0].base_offset)
    if log.truncations != truncations or first < 0 or first + count >= log.segment_count:
        return BUSY
    aborted[0] = False
    for number in range(count):
        segment = log.segments[first + number]
        if segment.base_offset != old[number].base_offset or segment.size != old[number].size:
            return BUSY
        if not segment.sealed or segment.unsynced or segment.damaged_from >= 0:
            return BUSY
        aborted[0] = aborted[0] or segment.aborted.count > 0
    return OK


cdef void put_in_place(LogState *log, Segment *cleaned, int32_t first, int32_t count) noexcept nogil:
    cdef int32_t slot
    for slot in range(first, first + count):
        segment_free(log.segments[slot])
    log.segments[first] = cleaned
    memmove(
        &log.segments[first + 1], &log.segments[first + count], (log.segment_count - first - count) * sizeof(Segment *))
    log.segment_count -= count - 1
    log_clear_hints(log)


cdef int set_old_aside(const LogState *log, const SegmentRef *old, int32_t count) noexcept nogil:
    """The oldest first: what a crash leaves is never a value whose tombstone is gone."""
    cdef int32_t number
    cdef int error = 0
    for number in range(count):
        if error == 0:
            error = set_aside(log, old[number].base_offset, b".index")
        if error == 0:
            error = set_aside(log, old[number].base_offset, b".timeindex")
        if error == 0:
            error = set_aside(log, old[number].base_offset, b".txnindex")
        if error == 0:
            error = set_aside(log, old[number].base_offset, b".log")
    return error if error != 0 else io_sync_directory(log.directory)


cdef int name_new(
        const LogState *log, const Segment *cleaned, const IndexImage *image, bint has_aborted, bint *index_written) noexcept nogil:
    """The new files get their names, the .log last.  An index that cannot be written is left to the next flush."""
    cdef int error = 0
    if has_aborted:
        error = rename_suffix(log, cleaned.base_offset, b".txnindex.swap", b".txnindex")
        if error == 0:
            error = io_sync_directory(log.directory)
    if error == 0:
        index_written[0] = index_image_write(log, image, True) == 0
        error = rename_suffix(log, cleaned.base_offset, b".log.swap", b".log")
    return error if error != 0 else io_sync_directory(log.directory)


cdef Status decide(LogState *log, const Segment *cleaned, bint has_aborted) noexcept nogil:
    """Up to the rename that decides.  A directory that cannot be fsynced is not trusted any more."""
    cdef char path[MAX_PATH_SIZE]
    cdef int error = write_aborted(log, cleaned) if has_aborted else 0
    if error == 0:
        error = rename_suffix(log, cleaned.base_offset, b".log.cleaned", b".log.swap")
        if error == 0:
            error = io_sync_directory(log.directory)
            if error == 0:
                return OK
            log_take_offline(log, STORAGE_ERROR, error)
            return STORAGE_ERROR
    log.last_errno = error
    segment_path(log, cleaned.base_offset, b".txnindex.swap", path)
    if has_aborted and io_unlink(path) != 0:                 # it must not meet another swap's .log.swap
        log_take_offline(log, STORAGE_ERROR, error)
    return io_status(error)


cdef Status swap_locked(
        LogState *log, Segment *cleaned, int fd, const SegmentRef *old, int32_t count, int64_t truncations) noexcept nogil:
    cdef IndexImage image
    cdef bint has_aborted = False
    cdef bint index_written = False
    cdef int error
    cdef Status status
    pthread_mutex_lock(&log.mutex)
    status = check_unchanged(log, old, count, truncations, &has_aborted)
    pthread_mutex_unlock(&log.mutex)
    if status == OK:
        status = segment_image_index(cleaned, True, &image)
    if status != OK:
        return status
    status = decide(log, cleaned, has_aborted)
    if status == OK:
        pthread_mutex_lock(&log.mutex)
        status = segment_adopt(log, cleaned, fd)
        if status == OK:
            cleaned.unsynced = True                          # its file stays open: it has not its name yet
            put_in_place(log, cleaned, log_segment_slot(log, old[0].base_offset), count)
        else:
            log_take_offline(log, status, 0)                 # the next start finishes it
        pthread_mutex_unlock(&log.mutex)
    if status == OK:
        error = set_old_aside(log, old, count)
        if error == 0:
            error = name_new(log, cleaned, &image, has_aborted, &index_written)
        pthread_mutex_lock(&log.mutex)
        if error == 0:
            cleaned.unsynced = False
            if index_written:
                index_image_written(cleaned, &image)
        else:
            log_take_offline(log, STORAGE_ERROR, error)
        pthread_mutex_unlock(&log.mutex)
    index_image_free(&image)
    return status


cdef Status log_swap_segments(
        LogState *log, Segment *cleaned, int fd, const SegmentRef *old, int32_t count, int64_t truncations) noexcept nogil:
    cdef Status status
    pthread_mutex_lock(&log.flush_mutex)
    status = swap_locked(log, cleaned, fd, old, count, truncations)
    pthread_mutex_unlock(&log.flush_mutex)
    return status


# ---------------------------------------------------------------------------------------------------------------------
# At start

cdef void check_errno(int error, str path) except *:
    if error != 0:
        raise OSError(error, os.strerror(error), path)


cdef int64_t end_of_swap(str path) except -1:
    """The offset behind the last batch of a .log.swap, which was fsynced before it got that name."""
    cdef Walk walk
    cdef BatchHeader header
    cdef bytes name = os.fsencode(path)
    cdef int64_t position = 0
    cdef int64_t next_offset = -1
    cdef Status status = OK
    cdef int fd = io_open(name, O_RDONLY)
    if fd < 0:
        check_errno(-fd, path)
    walk_over(&walk, fd, os.fstat(fd).st_size)
    with nogil:
        while status == OK:
            status = walk_header(&walk, position, &header)
            if status == OK and header.base_offset < next_offset:
                status = DAMAGED
            if status == OK:
                next_offset = header.base_offset + header.last_offset_delta + 1
                position += header.size
    close(fd)
    if next_offset < 0 and status == NOT_FOUND:
        status = DAMAGED
    if status != NOT_FOUND:
        raise_for_status(status, position, path)
    return next_offset


cdef void finish_swap(str directory, int64_t base, list names, list bases) except *:
    cdef int64_t end_offset
    stem = os.path.join(directory, f"{base:020d}")
    end_offset = end_of_swap(f"{stem}.log.swap")
    for old in sorted(bases):
        if base <= old < end_offset:
            for suffix in _SIDE_SUFFIXES if old != base else _SIDE_SUFFIXES[:2]:
                path = os.path.join(directory, f"{old:020d}{suffix}")
                check_errno(io_unlink(os.fsencode(path)), path)
            if old != base:
                path = os.path.join(directory, f"{old:020d}.log")
                check_errno(io_unlink(os.fsencode(path)), path)
    check_errno(io_sync_directory(os.fsencode(directory)), directory)
    if f"{base:020d}.txnindex.swap" in names:
        check_errno(io_rename(os.fsencode(f"{stem}.txnindex.swap"), os.fsencode(f"{stem}.txnindex")), stem)
        check_errno(io_sync_directory(os.fsencode(directory)), directory)
    check_errno(io_rename(os.fsencode(f"{stem}.log.swap"), os.fsencode(f"{stem}.log")), stem)
    check_errno(io_sync_directory(os.fsencode(directory)), directory)


cpdef void finish_swaps(str directory, list names, list bases) except *:
    """Finishes swaps that a crash interrupted: `names` are the *.swap files of a partition's directory, `bases` the
    offsets of its .log files.  Raises LogDamaged when a .log.swap is not whole batches, OSError.
    """
    decided = [int(name[:20]) for name in sorted(names) if name[:20].isdigit() and name[20:] == ".log.swap"]
    for base in decided:
        finish_swap(directory, base, names, bases)
    for name in names:
        if not (name[:20].isdigit() and int(name[:20]) in decided and name[20:] in (".log.swap", ".txnindex.swap")):
            path = os.path.join(directory, name)
            check_errno(io_unlink(os.fsencode(path)), path)
