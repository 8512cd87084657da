# Every system call of the native log goes through one table of functions, so that a test can record or fail any of them.
#
# Cross-thread state: the table's pointers are swapped by the test face only, while no log is at work.
# All functions retry EINTR and return 0 or a positive errno, unless they say otherwise. Nobody retries a failed fsync but after EINTR.

from libc.stdint cimport int64_t, uint8_t
from pystream._native.status cimport Status

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void *iov_base
        size_t iov_len

cdef enum IoCall:
    IO_PWRITEV = 0
    IO_PREAD = 1
    IO_FDATASYNC = 2
    IO_FSYNC = 3
    IO_FTRUNCATE = 4
    IO_RENAME = 5
    IO_UNLINK = 6
    IO_OPEN = 7
    IO_FSYNC_DIRECTORY = 8
    IO_FALLOCATE = 9
    IO_CALL_COUNT = 10

cdef enum:
    MAX_IOVEC = 1024                     # IOV_MAX of Linux

# Writes all parts at `position`, in as few calls as the kernel allows; `parts` is consumed. On failure some bytes may have been written.
cdef int io_write_at(int fd, iovec *parts, Py_ssize_t count, int64_t position) noexcept nogil
# Reads up to `size` bytes; fewer only at the end of the file. A negative result is -errno.
cdef Py_ssize_t io_read_at(int fd, void *data, Py_ssize_t size, int64_t position) noexcept nogil
cdef int io_sync_data(int fd) noexcept nogil
cdef int io_sync(int fd) noexcept nogil
cdef int io_truncate(int fd, int64_t size) noexcept nogil
cdef int io_rename(const char *old_path, const char *new_path) noexcept nogil
cdef int io_unlink(const char *path) noexcept nogil                       # ENOENT counts as done
cdef int io_open(const char *path, int flags) noexcept nogil              # a file descriptor, or -errno; mode 0644, close-on-exec
cdef int io_sync_directory(const char *path) noexcept nogil
cdef int io_allocate(int fd, int64_t position, int64_t size) noexcept nogil   # blocks only: the file keeps its size
cdef Status io_status(int error) noexcept nogil                           # NO_SPACE for a full disk or quota, else STORAGE_ERROR
# Temp file, write, fsync (when durable), rename, fsync of the directory (when durable): the file is the old one or the new one, whole.
cdef int io_replace_file(const char *directory, const char *path, const uint8_t *data, Py_ssize_t size, bint durable) noexcept nogil
# Whole file in fresh memory (malloc; free with libc free). A file above `limit` gives EFBIG.
cdef int io_read_file(const char *path, Py_ssize_t limit, uint8_t **data, Py_ssize_t *size) noexcept nogil
