/* One non-blocking connection of the generator: what waits to be sent, what has come in, what is in flight.
 *
 * Requests are copies of one template that differ in the correlation id.  Small ones are joined in `staged`, so that
 * a deep pipeline costs one send; a large one is sent from the template itself. */
#ifndef HARNESS_CONNECTION_H
#define HARNESS_CONNECTION_H

#include "wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define STAGE_BYTES (256 * 1024)
#define RECEIVE_BYTES (256 * 1024)
#define LARGEST_ANSWER (64 * 1024 * 1024)

typedef struct {
    int fd, partition;
    Frame request; /* the template */
    Frame staged;
    const uint8_t *out;
    size_t out_size, out_done;
    bool wants_write;
    uint8_t *buffer;
    size_t have, capacity;
    uint32_t next_correlation, expected_correlation;
    int64_t *started; /* ring of `depth` send times */
    uint32_t depth;
    int64_t next_offset, answers;
} Connection;

static inline void connection_open(Connection *connection, int port, uint32_t depth)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect to port %d: %s", port, strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(connection->fd, F_SETFL, fcntl(connection->fd, F_GETFL) | O_NONBLOCK);
    connection->depth = depth;
    connection->started = calloc(depth, sizeof *connection->started);
    connection->capacity = RECEIVE_BYTES;
    connection->buffer = malloc(connection->capacity);
    if (!connection->started || !connection->buffer)
        fail("out of memory for a connection");
}

static inline uint32_t in_flight(const Connection *connection)
{
    return connection->next_correlation - connection->expected_correlation;
}

static inline void stamp(Connection *connection, uint8_t *frame, int64_t now)
{
    connection->started[connection->next_correlation % connection->depth] = now;
    store32(frame + CORRELATION_AT, (int32_t)connection->next_correlation++);
}

/* Makes up to `count` requests ready to be sent; only when nothing is left to send. */
static inline void stage_requests(Connection *connection, uint32_t count, int64_t now)
{
    Frame *template = &connection->request;
    connection->out_done = 0;
    if (count == 1 || template->size * 2 > STAGE_BYTES) {
        stamp(connection, template->data, now);
        connection->out = template->data;
        connection->out_size = template->size;
        return;
    }
    if (count > STAGE_BYTES / template->size)
        count = (uint32_t)(STAGE_BYTES / template->size);
    connection->staged.size = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *copy = frame_room(&connection->staged, template->size);
        memcpy(copy, template->data, template->size);
        stamp(connection, copy, now);
    }
    connection->out = connection->staged.data;
    connection->out_size = connection->staged.size;
}

/* Sends what is staged.  False when the socket is full. */
static inline bool flush_staged(Connection *connection)
{
    while (connection->out_done < connection->out_size) {
        ssize_t sent = send(connection->fd, connection->out + connection->out_done,
                            connection->out_size - connection->out_done, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (sent < 0)
            fail("send: %s", strerror(errno));
        connection->out_done += (size_t)sent;
    }
    return true;
}

static inline void watch(int epoll, Connection *connection, bool write)
{
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event) != 0 &&
        epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
    connection->wants_write = write;
}

/* One recv.  False when there was nothing to read. */
static inline bool receive(Connection *connection)
{
    ssize_t received =
        recv(connection->fd, connection->buffer + connection->have, connection->capacity - connection->have, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (received <= 0)
        fail("the target closed a connection after %lld answers: %s", (long long)connection->answers,
             received < 0 ? strerror(errno) : "end of stream");
    connection->have += (size_t)received;
    return true;
}

/* Whole size of the frame at `at`, or 0 while it is not all there; makes room for it. */
static inline size_t whole_frame(Connection *connection, size_t at)
{
    if (connection->have - at < 4)
        return 0;
    int32_t length = load32(connection->buffer + at);
    if (length < 4 || length > LARGEST_ANSWER)
        fail("an answer claims %d bytes", length);
    size_t size = (size_t)length + 4;
    if (size > connection->capacity) {
        connection->capacity = size + RECEIVE_BYTES;
        connection->buffer = realloc(connection->buffer, connection->capacity);
        if (!connection->buffer)
            fail("out of memory for an answer of %zu bytes", size);
    }
    return size <= connection->have - at ? size : 0;
}

static inline void drop_front(Connection *connection, size_t size)
{
    connection->have -= size;
    memmove(connection->buffer, connection->buffer + size, connection->have);
}

#endif
