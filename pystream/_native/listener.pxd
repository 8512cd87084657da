# Listening sockets, and how many connections each address may have.
#
# Threads: loop 0 accepts; the counts are guarded by `mutex` because every loop closes connections.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from pystream._native.posix cimport pthread_mutex_t
from pystream._native.status cimport Status

cdef enum:
    MAXIMUM_LISTENERS = 16

cdef struct Listener:
    int fd
    int32_t port

cdef struct AddressCount:
    uint64_t address_hash            # 0: free
    int32_t connections

cdef struct AddressCounts:           # open addressing; counts are by hash of the address
    pthread_mutex_t mutex
    AddressCount *slots
    int32_t capacity
    int32_t used

# The error is errno (or a getaddrinfo code in *resolution) when it is not OK.
cdef Status listener_open(Listener *listener, const char *host, int32_t port, int32_t backlog, int *resolution) noexcept nogil
# A non-blocking socket with TCP_NODELAY, or -1 with errno.
# Of 4 or 16 bytes; never 0.
cdef uint64_t hash_of_address(const uint8_t *address, int32_t size) noexcept nogil
cdef int listener_accept(const Listener *listener, uint64_t *address_hash) noexcept nogil

cdef bint address_counts_init(AddressCounts *counts) noexcept nogil
cdef void address_counts_free(AddressCounts *counts) noexcept nogil
# Counts one connection more; False when the address has `limit` already.
cdef bint address_enter(AddressCounts *counts, uint64_t address_hash, int32_t limit) noexcept nogil
cdef void address_leave(AddressCounts *counts, uint64_t address_hash) noexcept nogil
