"""Listening sockets: open, accept, and connection counts by address."""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pystream._native.hash cimport fnv1a_of
from pystream._native.posix cimport (
    AF_INET6, AI_NUMERICSERV, AI_PASSIVE, EINTR, IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, SO_REUSEADDR, SOCK_CLOEXEC, SOCK_NONBLOCK,
    SOCK_STREAM, SOL_SOCKET, TCP_NODELAY, accept4, addrinfo, bind, close, errno, freeaddrinfo, getaddrinfo, getsockname, listen,
    pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock, setsockopt, sockaddr, sockaddr_storage, socket,
    socklen_t,
)
from pystream._native.status cimport INVALID_REQUEST, NOT_FOUND, OK

cdef extern from "<arpa/inet.h>" nogil:
    unsigned short ntohs(unsigned short value)

cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct sockaddr_in:
        unsigned short sin_port
        in_addr sin_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in6:
        unsigned short sin6_port
        in6_addr sin6_addr

cdef enum:
    FIRST_CAPACITY = 256


cdef int open_socket(const addrinfo *address, int32_t backlog) noexcept nogil:
    cdef int one = 1
    cdef int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        return -1
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
    if address.ai_family == AF_INET6:
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))
    if bind(fd, address.ai_addr, address.ai_addrlen) != 0 or listen(fd, backlog) != 0:
        close(fd)
        return -1
    return fd


cdef Status listener_open(Listener *listener, const char *host, int32_t port, int32_t backlog, int *resolution) noexcept nogil:
    cdef addrinfo hints
    cdef addrinfo *addresses = NULL
    cdef sockaddr_storage bound
    cdef socklen_t size = sizeof(bound)
    cdef char service[16]
    resolution[0] = 0
    memset(&hints, 0, sizeof(hints))
    hints.ai_socktype = SOCK_STREAM
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
    snprintf(service, sizeof(service), "%d", <int>port)
    resolution[0] = getaddrinfo(host, service, &hints, &addresses)
    if resolution[0] != 0:
        return NOT_FOUND
    listener.fd = open_socket(addresses, backlog)
    freeaddrinfo(addresses)
    if listener.fd < 0:
        return INVALID_REQUEST
    getsockname(listener.fd, <sockaddr *>&bound, &size)
    if bound.ss_family == AF_INET6:
        listener.port = ntohs((<sockaddr_in6 *>&bound).sin6_port)
    else:
        listener.port = ntohs((<sockaddr_in *>&bound).sin_port)
    return OK


cdef uint64_t hash_of_address(const uint8_t *address, int32_t size) noexcept nogil:
    """Never 0: that is a free slot."""
    return fnv1a_of(address, size, 0) | 1


cdef uint64_t hash_address(const sockaddr_storage *address) noexcept nogil:
    if address.ss_family == AF_INET6:
        return hash_of_address((<sockaddr_in6 *>address).sin6_addr.s6_addr, 16)
    return hash_of_address(<const uint8_t *>&(<sockaddr_in *>address).sin_addr, 4)


cdef int listener_accept(const Listener *listener, uint64_t *address_hash) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    cdef int one = 1
    cdef int fd
    memset(&address, 0, sizeof(address))
    while True:
        fd = accept4(listener.fd, <sockaddr *>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0 or errno != EINTR:
            break
    if fd >= 0:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        address_hash[0] = hash_address(&address)
    return fd


cdef bint address_counts_init(AddressCounts *counts) noexcept nogil:
    memset(counts, 0, sizeof(AddressCounts))
    pthread_mutex_init(&counts.mutex, NULL)
    counts.capacity = FIRST_CAPACITY
    counts.slots = <AddressCount *>calloc(FIRST_CAPACITY, sizeof(AddressCount))
    return counts.slots != NULL


cdef void address_counts_free(AddressCounts *counts) noexcept nogil:
    free(counts.slots)
    pthread_mutex_destroy(&counts.mutex)


cdef AddressCount *slot_for(AddressCounts *counts, uint64_t address_hash) noexcept nogil:
    cdef uint32_t mask = <uint32_t>(counts.capacity - 1)
    cdef uint32_t slot = <uint32_t>(address_hash >> 20) & mask
    while counts.slots[slot].address_hash != 0 and counts.slots[slot].address_hash != address_hash:
        slot = (slot + 1) & mask
    return &counts.slots[slot]


cdef bint resize(AddressCounts *counts) noexcept nogil:
    """Rebuilds the table without the addresses that have left, doubled when it is full of live ones."""
    cdef AddressCount *old = counts.slots
    cdef int32_t old_capacity = counts.capacity
    cdef int32_t live = 0
    cdef int32_t i
    cdef AddressCount *grown
    for i in range(old_capacity):
        live += old[i].connections > 0
    if live * 4 > old_capacity:
        counts.capacity *= 2
    grown = <AddressCount *>calloc(counts.capacity, sizeof(AddressCount))
    if grown == NULL:
        counts.capacity = old_capacity
        return False
    counts.slots = grown
    counts.used = live
    for i in range(old_capacity):
        if old[i].connections > 0:
            slot_for(counts, old[i].address_hash)[0] = old[i]
    free(old)
    return True


cdef bint address_enter(AddressCounts *counts, uint64_t address_hash, int32_t limit) noexcept nogil:
    cdef AddressCount *slot
    cdef bint entered = False
    pthread_mutex_lock(&counts.mutex)
    if counts.used * 2 < counts.capacity or resize(counts):
        slot = slot_for(counts, address_hash)
        if slot.address_hash == 0:
            slot.address_hash = address_hash
            counts.used += 1
        if slot.connections < limit:
            slot.connections += 1
            entered = True
    pthread_mutex_unlock(&counts.mutex)
    return entered


cdef void address_leave(AddressCounts *counts, uint64_t address_hash) noexcept nogil:
    cdef AddressCount *slot
    pthread_mutex_lock(&counts.mutex)
    slot = slot_for(counts, address_hash)
    if slot.connections > 0:
        slot.connections -= 1
    pthread_mutex_unlock(&counts.mutex)
