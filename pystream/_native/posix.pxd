# The system calls of the data plane that Cython does not declare itself: epoll, eventfd, sockets, sendfile, clocks, threads.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "<errno.h>" nogil:
    int errno
    int EAGAIN, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_rwlock_t:
        pass
    ctypedef struct pthread_rwlockattr_t:
        pass
    int PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP
    int pthread_create(pthread_t *thread, void *attributes, void *(*start)(void *) noexcept nogil, void *argument)
    int pthread_join(pthread_t thread, void **result)
    int pthread_mutex_init(pthread_mutex_t *mutex, void *attributes)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)
    int pthread_mutex_trylock(pthread_mutex_t *mutex)
    int pthread_rwlockattr_init(pthread_rwlockattr_t *attributes)
    int pthread_rwlockattr_setkind_np(pthread_rwlockattr_t *attributes, int kind)
    int pthread_rwlockattr_destroy(pthread_rwlockattr_t *attributes)
    int pthread_rwlock_init(pthread_rwlock_t *lock, pthread_rwlockattr_t *attributes)
    int pthread_rwlock_destroy(pthread_rwlock_t *lock)
    int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
    int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
    int pthread_rwlock_unlock(pthread_rwlock_t *lock)

cdef extern from "<sys/epoll.h>" nogil:
    cdef union epoll_data_t:
        void *ptr
        int fd
        uint32_t u32
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CLOEXEC
    uint32_t EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET
    int epoll_create1(int flags)
    int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll_fd, epoll_event *events, int maximum, int timeout_ms)

cdef extern from "<sys/eventfd.h>" nogil:
    int EFD_CLOEXEC, EFD_NONBLOCK
    int eventfd(unsigned int value, int flags)

cdef extern from "<sys/timerfd.h>" nogil:
    """
    #include <time.h>
    /* Readable once in duration_ms; an earlier setting of the same timer is forgotten. */
    static inline int pystream_timer_set(int timer_fd, int64_t duration_ms) {
        struct itimerspec once = {{0, 0}, {duration_ms / 1000, duration_ms % 1000 * 1000000}};
        return timerfd_settime(timer_fd, 0, &once, 0);
    }
    """
    int TFD_CLOEXEC, TFD_NONBLOCK
    int timerfd_create(int clock, int flags)
    int timer_set "pystream_timer_set"(int timer_fd, int64_t duration_ms)

cdef extern from "<sys/sendfile.h>" nogil:
    Py_ssize_t sendfile(int out_fd, int in_fd, int64_t *position, size_t size)

cdef extern from "<sys/socket.h>" nogil:
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        unsigned short ss_family
    ctypedef unsigned int socklen_t
    int AF_INET, AF_INET6, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_REUSEADDR, SO_SNDBUF, SO_RCVBUF
    int IPPROTO_IPV6, IPV6_V6ONLY, MSG_NOSIGNAL, MSG_MORE, SHUT_WR
    int socket(int family, int kind, int protocol)
    int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
    int getsockname(int fd, sockaddr *address, socklen_t *size)
    int getpeername(int fd, sockaddr *address, socklen_t *size)
    int bind(int fd, const sockaddr *address, socklen_t size)
    int listen(int fd, int backlog)
    int accept4(int fd, sockaddr *address, socklen_t *size, int flags)
    int shutdown(int fd, int how)
    Py_ssize_t recv(int fd, void *data, size_t size, int flags)
    Py_ssize_t send(int fd, const void *data, size_t size, int flags)

cdef extern from "<netinet/in.h>" nogil:
    pass

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY, IPPROTO_TCP

cdef extern from "<netdb.h>" nogil:
    cdef struct addrinfo:
        int ai_flags
        int ai_family
        int ai_socktype
        int ai_protocol
        socklen_t ai_addrlen
        sockaddr *ai_addr
        addrinfo *ai_next
    int AI_PASSIVE, AI_NUMERICSERV, NI_NUMERICHOST, NI_NUMERICSERV
    int getaddrinfo(const char *node, const char *service, const addrinfo *hints, addrinfo **result)
    void freeaddrinfo(addrinfo *result)
    int getnameinfo(const sockaddr *address, socklen_t size, char *host, socklen_t host_size,
                    char *service, socklen_t service_size, int flags)
    const char *gai_strerror(int code)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    Py_ssize_t read(int fd, void *data, size_t size)
    Py_ssize_t write(int fd, const void *data, size_t size)
    Py_ssize_t pread(int fd, void *data, size_t size, int64_t position)

cdef extern from *:
    """
    #include <time.h>
    #include <stdint.h>
    static inline int64_t pystream_monotonic_ms(void) {
        struct timespec now; clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    }
    static inline int64_t pystream_monotonic_ns(void) {
        struct timespec now; clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    static inline int64_t pystream_wall_clock_ms(void) {
        struct timespec now; clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    }
    """
    int64_t monotonic_ms "pystream_monotonic_ms"() noexcept nogil
    int64_t monotonic_ns "pystream_monotonic_ns"() noexcept nogil
    int64_t wall_clock_ms "pystream_wall_clock_ms"() noexcept nogil

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_cond_t:
        pass
    ctypedef struct pthread_condattr_t:
        pass
    ctypedef struct pthread_attr_t:
        pass
    cdef struct timespec:
        int64_t tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)
    int pthread_condattr_init(pthread_condattr_t *attributes)
    int pthread_condattr_setclock(pthread_condattr_t *attributes, int clock)
    int pthread_condattr_destroy(pthread_condattr_t *attributes)
    int pthread_cond_init(pthread_cond_t *condition, pthread_condattr_t *attributes)
    int pthread_cond_destroy(pthread_cond_t *condition)
    int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
    int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const timespec *until)
    int pthread_cond_signal(pthread_cond_t *condition)
    int pthread_cond_broadcast(pthread_cond_t *condition)
    int pthread_attr_init(pthread_attr_t *attributes)
    int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size)
    int pthread_attr_destroy(pthread_attr_t *attributes)
    pthread_t pthread_self()
    int pthread_equal(pthread_t one, pthread_t other)
