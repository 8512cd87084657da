"""The table of system calls under the log, and the face with which tests record or fail each of them.

    from pystream._native import io_table
    io_table.fail_call(3, errno.ENOSPC)          # the third call from now on fails once
    io_table.delay_calls("fdatasync", 50_000)    # each takes up to 50 ms longer
    io_table.record_calls(True); ...; io_table.recorded_calls()
    io_table.reset()
"""

import os

from libc.errno cimport EDQUOT, EFBIG, EINTR, EIO, ENOENT, ENOMEM, ENOSPC, errno
from libc.stdint cimport int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, strstr
from posix.fcntl cimport O_CLOEXEC, O_CREAT, O_DIRECTORY, O_RDONLY, O_TRUNC, O_WRONLY

from pystream._native.posix cimport (
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock,
)
from pystream._native.status cimport NO_SPACE, OK, OUT_OF_MEMORY, STORAGE_ERROR

cdef extern from "<sys/uio.h>" nogil:
    ssize_t sys_pwritev "pwritev"(int fd, const iovec *parts, int count, int64_t position)

cdef extern from "<unistd.h>" nogil:
    ssize_t sys_pread "pread"(int fd, void *data, size_t size, int64_t position)
    int sys_fdatasync "fdatasync"(int fd)
    int sys_fsync "fsync"(int fd)
    int sys_ftruncate "ftruncate"(int fd, int64_t size)
    int sys_unlink "unlink"(const char *path)
    int sys_close "close"(int fd)
    int usleep(unsigned int microseconds)
    ssize_t readlink(const char *path, char *target, size_t size)

cdef extern from "<stdio.h>" nogil:
    int sys_rename "rename"(const char *old_path, const char *new_path)

cdef extern from "<fcntl.h>" nogil:
    int sys_open "open"(const char *path, int flags, int mode)
    int sys_fallocate "fallocate"(int fd, int mode, int64_t position, int64_t size)
    int FALLOC_FL_KEEP_SIZE

cdef extern from *:
    """
    static inline void pystream_set_errno(int error) { errno = error; }
    """
    void set_errno "pystream_set_errno"(int error) noexcept nogil

cdef enum:
    MAX_RULES = 16
    MAX_PATH = 1024

cdef struct IoTable:
    ssize_t (*pwritev)(int fd, const iovec *parts, int count, int64_t position) noexcept nogil
    ssize_t (*pread)(int fd, void *data, size_t size, int64_t position) noexcept nogil
    int (*fdatasync)(int fd) noexcept nogil
    int (*fsync)(int fd) noexcept nogil
    int (*ftruncate)(int fd, int64_t size) noexcept nogil
    int (*rename)(const char *old_path, const char *new_path) noexcept nogil
    int (*unlink)(const char *path) noexcept nogil
    int (*open)(const char *path, int flags) noexcept nogil
    int (*fsync_directory)(const char *path) noexcept nogil
    int (*fallocate)(int fd, int64_t position, int64_t size) noexcept nogil


# ---------------------------------------------------------------------------------------------------------------------
# The calls themselves: -1 and errno on failure, as the kernel has it.

cdef int fail_with(int error) noexcept nogil:
    set_errno(error)
    return -1


cdef ssize_t plain_pwritev(int fd, const iovec *parts, int count, int64_t position) noexcept nogil:
    return sys_pwritev(fd, parts, count, position)


cdef ssize_t plain_pread(int fd, void *data, size_t size, int64_t position) noexcept nogil:
    return sys_pread(fd, data, size, position)


cdef int plain_fdatasync(int fd) noexcept nogil:
    return sys_fdatasync(fd)


cdef int plain_fsync(int fd) noexcept nogil:
    return sys_fsync(fd)


cdef int plain_ftruncate(int fd, int64_t size) noexcept nogil:
    return sys_ftruncate(fd, size)


cdef int plain_rename(const char *old_path, const char *new_path) noexcept nogil:
    return sys_rename(old_path, new_path)


cdef int plain_unlink(const char *path) noexcept nogil:
    return sys_unlink(path)


cdef int plain_open(const char *path, int flags) noexcept nogil:
    return sys_open(path, flags | O_CLOEXEC, 0o644)


cdef int plain_fsync_directory(const char *path) noexcept nogil:
    cdef int fd = sys_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
    cdef int result
    cdef int kept
    if fd < 0:
        return -1
    result = sys_fsync(fd)
    kept = errno
    sys_close(fd)
    return 0 if result == 0 else fail_with(kept)


cdef int plain_fallocate(int fd, int64_t position, int64_t size) noexcept nogil:
    return sys_fallocate(fd, FALLOC_FL_KEEP_SIZE, position, size)


cdef IoTable table


cdef void install_plain_calls() noexcept nogil:
    table.pwritev = plain_pwritev
    table.pread = plain_pread
    table.fdatasync = plain_fdatasync
    table.fsync = plain_fsync
    table.ftruncate = plain_ftruncate
    table.rename = plain_rename
    table.unlink = plain_unlink
    table.open = plain_open
    table.fsync_directory = plain_fsync_directory
    table.fallocate = plain_fallocate


install_plain_calls()


# ---------------------------------------------------------------------------------------------------------------------
# What the log calls.

cdef int io_write_at(int fd, iovec *parts, Py_ssize_t count, int64_t position) noexcept nogil:
    cdef ssize_t written
    cdef int batch
    while count > 0:
        batch = <int> (count if count < MAX_IOVEC else MAX_IOVEC)
        written = table.pwritev(fd, parts, batch, position)
        if written < 0:
            if errno == EINTR:
                continue
            return errno
        if written == 0:
            return EIO
        position += written
        while count > 0 and <size_t> written >= parts[0].iov_len:
            written -= <ssize_t> parts[0].iov_len
            parts += 1
            count -= 1
        if written > 0:
            parts[0].iov_base = <char *> parts[0].iov_base + written
            parts[0].iov_len -= written
    return 0


cdef Py_ssize_t io_read_at(int fd, void *data, Py_ssize_t size, int64_t position) noexcept nogil:
    cdef Py_ssize_t done = 0
    cdef ssize_t got
    while done < size:
        got = table.pread(fd, <char *> data + done, size - done, position + done)
        if got < 0:
            if errno == EINTR:
                continue
            return -errno
        if got == 0:
            break
        done += got
    return done


cdef int io_sync_data(int fd) noexcept nogil:
    while table.fdatasync(fd) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int io_sync(int fd) noexcept nogil:
    while table.fsync(fd) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int io_truncate(int fd, int64_t size) noexcept nogil:
    while table.ftruncate(fd, size) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int io_rename(const char *old_path, const char *new_path) noexcept nogil:
    while table.rename(old_path, new_path) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int io_unlink(const char *path) noexcept nogil:
    while table.unlink(path) != 0:
        if errno == ENOENT:
            return 0
        if errno != EINTR:
            return errno
    return 0


cdef int io_open(const char *path, int flags) noexcept nogil:
    cdef int fd = table.open(path, flags)
    while fd < 0:
        if errno != EINTR:
            return -errno
        fd = table.open(path, flags)
    return fd


cdef int io_sync_directory(const char *path) noexcept nogil:
    while table.fsync_directory(path) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int io_allocate(int fd, int64_t position, int64_t size) noexcept nogil:
    while table.fallocate(fd, position, size) != 0:
        if errno != EINTR:
            return errno
    return 0


cdef int io_replace_file(const char *directory, const char *path, const uint8_t *data, Py_ssize_t size, bint durable) noexcept nogil:
    cdef char temporary[MAX_PATH]
    cdef iovec part
    cdef int fd
    cdef int error = 0
    if snprintf(temporary, MAX_PATH, b"%s.tmp", path) >= MAX_PATH:
        return EFBIG
    fd = io_open(temporary, O_WRONLY | O_CREAT | O_TRUNC)
    if fd < 0:
        return -fd
    if size > 0:
        part.iov_base = <void *> data
        part.iov_len = size
        error = io_write_at(fd, &part, 1, 0)
    if error == 0 and durable:
        error = io_sync(fd)
    sys_close(fd)
    if error == 0:
        error = io_rename(temporary, path)
    if error != 0:
        io_unlink(temporary)
        return error
    return io_sync_directory(directory) if durable else 0


cdef int io_read_file(const char *path, Py_ssize_t limit, uint8_t **data, Py_ssize_t *size) noexcept nogil:
    cdef Py_ssize_t capacity = 4096 if limit > 4096 else limit
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t got
    cdef uint8_t *memory
    cdef uint8_t *larger
    cdef int fd = io_open(path, O_RDONLY)
    if fd < 0:
        return -fd
    memory = <uint8_t *> malloc(capacity + 1)
    while memory != NULL:
        got = io_read_at(fd, memory + done, capacity + 1 - done, done)
        if got < 0:
            sys_close(fd)
            free(memory)
            return <int> -got
        done += got
        if done <= capacity:
            sys_close(fd)
            data[0] = memory
            size[0] = done
            return 0
        if capacity >= limit:
            sys_close(fd)
            free(memory)
            return EFBIG
        capacity = capacity * 4 if capacity * 4 < limit else limit
        larger = <uint8_t *> realloc(memory, capacity + 1)
        if larger == NULL:
            break
        memory = larger
    sys_close(fd)
    free(memory)
    return ENOMEM


cdef Status io_status(int error) noexcept nogil:
    if error == 0:
        return OK
    if error == ENOSPC or error == EDQUOT:
        return NO_SPACE
    return OUT_OF_MEMORY if error == ENOMEM else STORAGE_ERROR


# ---------------------------------------------------------------------------------------------------------------------
# The test face.  One mutex guards it all; the counted call is decided under the lock and made outside of it.

cdef struct Rule:
    int call                     # an IoCall, or -1 for any
    int64_t left                 # calls still to pass before it strikes
    int error_number
    int64_t short_by             # pwritev only: writes so many bytes less and succeeds; -1 means fail
    bint for_ever
    bint used
    char path[MAX_PATH]          # strikes only where the path holds this text

cdef struct Recorded:
    int call
    int64_t position
    Py_ssize_t size
    uint8_t *data
    char path[MAX_PATH]
    char second_path[MAX_PATH]
    int result
    Recorded *next

cdef struct Faults:
    pthread_mutex_t lock
    Rule rules[MAX_RULES]
    int rule_count
    int64_t calls
    bint recording
    int delayed_call             # an IoCall that waits before it is made
    int64_t delay_us             # at most; 0: none is delayed
    Recorded *first
    Recorded *last

cdef Faults faults
pthread_mutex_init(&faults.lock, NULL)


cdef void path_of(int fd, char *path) noexcept nogil:
    cdef char link[64]
    cdef ssize_t size
    snprintf(link, 64, b"/proc/self/fd/%d", fd)
    size = readlink(link, path, MAX_PATH - 1)
    path[size if size > 0 else 0] = 0


cdef Rule *striking_rule(int call, const char *path) noexcept nogil:
    """The first rule that this call meets, or NULL; every rule counts it.  Called under the lock."""
    cdef Rule *rule
    cdef Rule *struck = NULL
    cdef int number
    for number in range(faults.rule_count):
        rule = &faults.rules[number]
        if rule.used or (rule.call >= 0 and rule.call != call) or (rule.path[0] != 0 and strstr(path, rule.path) == NULL):
            continue
        rule.left -= 1
        if rule.left <= 0 and struck == NULL:
            rule.used = not rule.for_ever
            struck = rule
    return struck


cdef int meet(int call, const char *path, int64_t *short_by) noexcept nogil:
    """Counts the call; 0 lets it pass, an errno fails it.  short_by >= 0 asks for a short write."""
    cdef Rule *rule
    cdef int64_t delay_us = 0
    cdef int error = 0
    short_by[0] = -1
    pthread_mutex_lock(&faults.lock)
    faults.calls += 1
    if faults.delay_us > 0 and call == faults.delayed_call:
        delay_us = (faults.calls * 40503 & 0xFFFF) * faults.delay_us >> 16   # spread over 0 to delay_us
    rule = striking_rule(call, path)
    if rule != NULL:
        short_by[0] = rule.short_by
        error = rule.error_number if rule.short_by < 0 else 0
    pthread_mutex_unlock(&faults.lock)
    if delay_us > 0:
        usleep(<unsigned int> delay_us)
    return error


cdef Recorded *record(int call, const char *path, const char *second, int64_t position, Py_ssize_t size, int result) noexcept nogil:
    cdef Recorded *entry
    if not faults.recording:
        return NULL
    entry = <Recorded *> malloc(sizeof(Recorded))
    if entry == NULL:
        return NULL
    entry.call = call
    entry.position = position
    entry.size = size
    entry.data = NULL
    entry.result = result
    entry.next = NULL
    snprintf(entry.path, MAX_PATH, b"%s", path)
    snprintf(entry.second_path, MAX_PATH, b"%s", second)
    pthread_mutex_lock(&faults.lock)
    if faults.last == NULL:
        faults.first = entry
    else:
        faults.last.next = entry
    faults.last = entry
    pthread_mutex_unlock(&faults.lock)
    return entry


cdef void keep_data(Recorded *entry, const iovec *parts, int count) noexcept nogil:
    cdef Py_ssize_t left = entry.size
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t piece
    cdef int number
    entry.data = <uint8_t *> malloc(left + 1)
    if entry.data == NULL:
        return
    for number in range(count):
        piece = <Py_ssize_t> parts[number].iov_len
        if piece > left - done:
            piece = left - done
        memcpy(entry.data + done, parts[number].iov_base, piece)
        done += piece


cdef ssize_t tested_pwritev(int fd, const iovec *parts, int count, int64_t position) noexcept nogil:
    cdef char path[MAX_PATH]
    cdef int64_t short_by
    cdef iovec first
    cdef ssize_t written
    cdef Recorded *entry
    path_of(fd, path)
    cdef int error = meet(IO_PWRITEV, path, &short_by)
    if error != 0:
        record(IO_PWRITEV, path, b"", position, 0, error)
        return fail_with(error)
    if short_by >= 0:
        first = parts[0]
        first.iov_len = first.iov_len - short_by if first.iov_len > <size_t> short_by else 1
        written = sys_pwritev(fd, &first, 1, position)
    else:
        written = sys_pwritev(fd, parts, count, position)
    entry = record(IO_PWRITEV, path, b"", position, written, 0 if written >= 0 else errno)
    if entry != NULL and written > 0:
        keep_data(entry, parts, count)
    return written


cdef ssize_t tested_pread(int fd, void *data, size_t size, int64_t position) noexcept nogil:
    cdef char path[MAX_PATH]
    cdef int64_t short_by
    path_of(fd, path)
    cdef int error = meet(IO_PREAD, path, &short_by)
    if error != 0:
        return fail_with(error)
    if short_by >= 0 and size > 1:
        size = 1
    return sys_pread(fd, data, size, position)


cdef int tested(int call, const char *path, const char *second, int64_t size) noexcept nogil:
    """0 lets the call pass; -1 with errno set fails it."""
    cdef int64_t short_by
    cdef int error = meet(call, path, &short_by)
    record(call, path, second, 0, size, error)
    if error != 0:
        return fail_with(error)
    return 0


cdef int tested_fdatasync(int fd) noexcept nogil:
    cdef char path[MAX_PATH]
    path_of(fd, path)
    return -1 if tested(IO_FDATASYNC, path, b"", 0) != 0 else sys_fdatasync(fd)


cdef int tested_fsync(int fd) noexcept nogil:
    cdef char path[MAX_PATH]
    path_of(fd, path)
    return -1 if tested(IO_FSYNC, path, b"", 0) != 0 else sys_fsync(fd)


cdef int tested_ftruncate(int fd, int64_t size) noexcept nogil:
    cdef char path[MAX_PATH]
    path_of(fd, path)
    return -1 if tested(IO_FTRUNCATE, path, b"", size) != 0 else sys_ftruncate(fd, size)


cdef int tested_rename(const char *old_path, const char *new_path) noexcept nogil:
    return -1 if tested(IO_RENAME, old_path, new_path, 0) != 0 else sys_rename(old_path, new_path)


cdef int tested_unlink(const char *path) noexcept nogil:
    return -1 if tested(IO_UNLINK, path, b"", 0) != 0 else sys_unlink(path)


cdef int tested_open(const char *path, int flags) noexcept nogil:
    return -1 if tested(IO_OPEN, path, b"", flags) != 0 else plain_open(path, flags)


cdef int tested_fsync_directory(const char *path) noexcept nogil:
    return -1 if tested(IO_FSYNC_DIRECTORY, path, b"", 0) != 0 else plain_fsync_directory(path)


cdef int tested_fallocate(int fd, int64_t position, int64_t size) noexcept nogil:
    cdef char path[MAX_PATH]
    path_of(fd, path)
    return -1 if tested(IO_FALLOCATE, path, b"", size) != 0 else plain_fallocate(fd, position, size)


cdef void install_tested_calls() noexcept nogil:
    table.pwritev = tested_pwritev
    table.pread = tested_pread
    table.fdatasync = tested_fdatasync
    table.fsync = tested_fsync
    table.ftruncate = tested_ftruncate
    table.rename = tested_rename
    table.unlink = tested_unlink
    table.open = tested_open
    table.fsync_directory = tested_fsync_directory
    table.fallocate = tested_fallocate


def replace_file(path: str, data: bytes) -> None:
    """Gives `path` the whole of `data`, or leaves it as it is: temp file, fsync, rename, fsync of the directory.  Raises OSError."""
    cdef bytes name = os.fsencode(path)
    cdef bytes directory = os.fsencode(os.path.dirname(path) or ".")
    cdef const uint8_t *content = data
    cdef const char *name_text = name
    cdef const char *directory_text = directory
    cdef Py_ssize_t size = len(data)
    cdef int error
    with nogil:
        error = io_replace_file(directory_text, name_text, content, size, True)
    if error != 0:
        raise OSError(error, os.strerror(error), path)


def sync_directory(path: str) -> None:
    """Makes names that were added to or taken from a directory durable.  Raises OSError."""
    cdef bytes name = os.fsencode(path)
    cdef const char *text = name
    cdef int error
    with nogil:
        error = io_sync_directory(text)
    if error != 0:
        raise OSError(error, os.strerror(error), path)


CALLS = ("pwritev", "pread", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "open", "fsync_directory", "fallocate")


def fail_call(nth: int, error_number: int, *, call: str = "", path: str = "", short_by: int = -1, for_ever: bool = False) -> None:
    """Lets the nth call from now on (1 is the next) fail with `error_number`, once or from then on.

    `call` (a name of CALLS) and `path` (text the file's path holds) narrow what is counted.  With short_by >= 0 a pwritev
    writes so many bytes less and succeeds instead.  Raises ValueError past 16 rules or for an unknown call.
    """
    cdef Rule *rule
    cdef bytes narrowed = path.encode()
    if faults.rule_count == MAX_RULES or len(narrowed) >= MAX_PATH or (call and call not in CALLS):
        raise ValueError(f"no such rule: call {call!r}, {faults.rule_count} rules set, path of {len(narrowed)} bytes")
    rule = &faults.rules[faults.rule_count]
    rule.call = CALLS.index(call) if call else -1
    rule.left = nth
    rule.error_number = error_number
    rule.short_by = short_by
    rule.for_ever = for_ever
    rule.used = False
    memcpy(rule.path, <const char *> narrowed, len(narrowed) + 1)
    faults.rule_count += 1
    install_tested_calls()


def delay_calls(call: str, up_to_us: int) -> None:
    """Lets each `call` (a name of CALLS) take up to so many microseconds longer, spread evenly; 0 ends it."""
    if call not in CALLS or not 0 <= up_to_us < 1_000_000:
        raise ValueError(f"no such delay: call {call!r}, {up_to_us} us; up to a second is")
    faults.delayed_call = CALLS.index(call)
    faults.delay_us = up_to_us
    install_tested_calls()


def record_calls(keep: bool) -> None:
    """Counts calls from now on and, when `keep`, remembers each that changes the disk, with its bytes."""
    faults.recording = keep
    install_tested_calls()


def call_count() -> int:
    """Calls since the last reset(), counted once a rule was set or record_calls() was called."""
    return faults.calls


def recorded_calls() -> list:
    """(call, path, second path, position, size, data, errno) of every recorded call, oldest first."""
    cdef Recorded *entry = faults.first
    cdef list calls = []
    while entry != NULL:
        data = entry.data[:entry.size] if entry.data != NULL and entry.size > 0 else b""
        calls.append((CALLS[entry.call], entry.path.decode(), entry.second_path.decode(), entry.position, entry.size, data, entry.result))
        entry = entry.next
    return calls


def reset() -> None:
    """Forgets rules, counts and recorded calls; the plain system calls are back."""
    cdef Recorded *entry = faults.first
    cdef Recorded *following
    install_plain_calls()
    while entry != NULL:
        following = entry.next
        free(entry.data)
        free(entry)
        entry = following
    faults.first = faults.last = NULL
    faults.rule_count = 0
    faults.calls = 0
    faults.delay_us = 0
    faults.recording = False
