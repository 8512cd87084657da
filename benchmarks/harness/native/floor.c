/* Floors: what the machine asks for the bare work, without a broker around it.  One thread, epoll, loopback only.
 *
 *   floor mode=echo                           sends back what comes
 *   floor mode=produce directory=D            takes whole frames, CRC-32C over them, write() to a file of the connection,
 *                                             answers 60 bytes
 *   floor mode=fetch directory=D answer_bytes=N   answers each request with N bytes of a warm file by sendfile()
 *
 * Prints its port on a line of its own, ends when its standard input does. */
#define _GNU_SOURCE
#include "connection.h"
#include "options.h"
#include <sys/sendfile.h>

#define ANSWER_PAYLOAD 60
#define FILE_BYTES (256 * 1024 * 1024)
#define READERS 4 /* start at as many places of the file */
#define BUFFER_BYTES (2 * 1024 * 1024)
#define EVENTS 256

typedef enum { ECHO, PRODUCE, FETCH } Mode;

typedef struct {
    int fd, file;
    uint8_t *buffer;
    size_t have;
    Frame answers;
    size_t answered;      /* of `answers` */
    int64_t body_left;    /* of the sendfile under way */
    off_t position;
    bool wants_write;
} Peer;

static Mode mode;
static const char *directory;
static int64_t answer_bytes;
static int epoll, peer_count, warm_file = -1;
static volatile uint32_t checked; /* keeps the CRC from being optimised away */

static void watch_peer(Peer *peer, int operation, bool write)
{
    struct epoll_event event = {.events = write ? EPOLLOUT : EPOLLIN, .data.ptr = peer};
    if (epoll_ctl(epoll, operation, peer->fd, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
    peer->wants_write = write;
}

static int open_file(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/floor-%d", directory, peer_count);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || unlink(path) != 0) /* the file lives as long as its descriptor */
        fail("%s: %s", path, strerror(errno));
    return file;
}

static int open_warm_file(void)
{
    static uint8_t block[1 << 20];
    int file = open_file();
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)('a' + i * 7 % 26);
    for (int written = 0; written < FILE_BYTES; written += (int)sizeof block)
        if (write(file, block, sizeof block) != sizeof block)
            fail("write: %s", strerror(errno));
    return file;
}

static void accept_peers(int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        Peer *peer = calloc(1, sizeof *peer);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        peer->fd = fd;
        peer->file = mode == PRODUCE ? open_file() : -1;
        peer->position = (off_t)(peer_count++ % READERS) * (FILE_BYTES / READERS);
        peer->buffer = malloc(BUFFER_BYTES);
        watch_peer(peer, EPOLL_CTL_ADD, false);
    }
}

static void close_peer(Peer *peer)
{
    close(peer->fd);
    if (peer->file >= 0)
        close(peer->file);
    free(peer->buffer);
    free(peer->answers.data);
    free(peer);
}

static bool write_whole(int file, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, data, size);
        if (written <= 0)
            return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

/* Takes the whole frames of the buffer: the bytes of a run of frames are written at once. */
static void take_frames(Peer *peer)
{
    size_t at = 0;
    while (peer->have - at >= 12) {
        size_t size = (size_t)load32(peer->buffer + at) + 4;
        if (size < 12 || size > BUFFER_BYTES)
            fail("a frame of %zu bytes", size);
        if (size > peer->have - at)
            break;
        if (mode == PRODUCE) {
            checked += crc32c(peer->buffer + at, size);
            put32(&peer->answers, ANSWER_PAYLOAD);
        } else {
            put32(&peer->answers, (int32_t)answer_bytes + 4);
            peer->body_left = answer_bytes;
        }
        put_bytes(&peer->answers, peer->buffer + at + CORRELATION_AT, 4);
        if (mode == PRODUCE)
            memset(frame_room(&peer->answers, ANSWER_PAYLOAD - 4), 0, ANSWER_PAYLOAD - 4);
        at += size;
        if (mode == FETCH)
            break;
    }
    if (mode == PRODUCE && at && !write_whole(peer->file, peer->buffer, at))
        fail("write: %s", strerror(errno));
    peer->have -= at;
    if (peer->have && at)
        memmove(peer->buffer, peer->buffer + at, peer->have);
}

/* False when the peer is gone. */
static bool send_answers(Peer *peer)
{
    while (peer->answered < peer->answers.size) {
        ssize_t sent = send(peer->fd, peer->answers.data + peer->answered, peer->answers.size - peer->answered,
                            MSG_NOSIGNAL | (peer->body_left ? MSG_MORE : 0));
        if (sent < 0)
            return errno == EAGAIN;
        peer->answered += (size_t)sent;
    }
    peer->answers.size = peer->answered = 0;
    while (peer->body_left > 0) {
        if (peer->position + peer->body_left > FILE_BYTES)
            peer->position = 0;
        ssize_t sent = sendfile(peer->fd, warm_file, &peer->position, (size_t)peer->body_left);
        if (sent <= 0)
            return sent < 0 && errno == EAGAIN;
        peer->body_left -= sent;
    }
    return true;
}

static bool serve(Peer *peer)
{
    if (!peer->wants_write) {
        ssize_t received = recv(peer->fd, peer->buffer + peer->have, BUFFER_BYTES - peer->have, 0);
        if (received <= 0)
            return received < 0 && (errno == EAGAIN || errno == EINTR);
        if (mode == ECHO) {
            put_bytes(&peer->answers, peer->buffer, (size_t)received);
        } else {
            peer->have += (size_t)received;
            take_frames(peer);
        }
    }
    if (!send_answers(peer))
        return false;
    bool blocked = peer->answered < peer->answers.size || peer->body_left > 0;
    if (blocked != peer->wants_write)
        watch_peer(peer, EPOLL_CTL_MOD, blocked);
    return true;
}

static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        fail("listen: %s", strerror(errno));
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **arguments)
{
    const char *name = option(count, arguments, "mode", NULL);
    mode = !strcmp(name, "echo") ? ECHO : !strcmp(name, "produce") ? PRODUCE : FETCH;
    directory = option(count, arguments, "directory", "/nonexistent");
    answer_bytes = number_option(count, arguments, "answer_bytes", "1048576");
    crc32c_init();
    if (mode == FETCH)
        warm_file = open_warm_file();
    int listener = listen_on_loopback();
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = &mode};
    epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &directory;
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == &directory)
                return 0;
            if (events[i].data.ptr == &mode)
                accept_peers(listener);
            else if (!serve(events[i].data.ptr))
                close_peer(events[i].data.ptr);
        }
    }
}
