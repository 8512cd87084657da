/* Load generator: one thread, epoll, N connections with a fixed number of requests in flight, or a fixed rate.
 *
 *   loadgen mode=produce port=P topic=T partitions=4 connections=4 depth=4 acks=1 records=1000 record_bytes=1000
 *   loadgen mode=fetch   ... fetch_bytes=1048576 end=END_OFFSET
 *   loadgen mode=latency ... rate=1000
 *
 * common: warmup_ms window_ms pids=1,2 (their CPU is read at both ends of the window) answer=kafka|echo|short
 * produce: requests=N instead of a window: N requests on each connection, for filling a topic
 *
 * Every answer is checked: correlation id, whole parse, error code; fetched offsets follow one another and the CRC of
 * the first answer of each connection is computed.  Prints one JSON object.  Gives up after STALL_MS without an answer. */
#define _GNU_SOURCE
#include "connection.h"
#include "histogram.h"
#include "options.h"
#include <sys/resource.h>
#include <sys/timerfd.h>

#define STALL_MS 20000
#define MAXIMUM_PIDS 64
#define EVENTS 256

typedef enum { ANSWER_KAFKA, ANSWER_ECHO, ANSWER_SHORT } AnswerKind;

typedef struct {
    int64_t requests, records, bytes, cpu_ns, client_cpu_ns, at_ns;
} Snapshot;

static struct {
    const char *topic;
    int port, partitions, connections, acks, records, record_bytes, fetch_bytes, max_wait_ms, rate;
    uint32_t depth;
    int64_t warmup_ns, window_ns, end_offset, limit;
    AnswerKind answer;
    bool fetching;
    int pids[MAXIMUM_PIDS], pid_count;
} plan;

static struct {
    Connection *connections;
    int epoll;
    Frame batch;
    Histogram latency, acknowledged;
    Snapshot totals, first, last;
    bool measuring, stopping;
    int64_t errors, last_progress;
    int first_error;
} run;

static void count_error(int code)
{
    if (!run.errors++)
        run.first_error = code;
}

static Snapshot snapshot(void)
{
    Snapshot taken = run.totals;
    taken.at_ns = now_ns();
    taken.cpu_ns = 0;
    for (int i = 0; i < plan.pid_count; i++)
        taken.cpu_ns += process_cpu_ns(plan.pids[i]);
    taken.client_cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    return taken;
}

static void check_crc(const uint8_t *batch, size_t size)
{
    uint32_t length = (uint32_t)load32(batch + 8) + 12;
    if (length > size || (uint32_t)load32(batch + 17) != crc32c(batch + 21, length - 21))
        fail("a fetched batch has a wrong CRC");
}

static void on_produced(Connection *connection, const uint8_t *body, size_t size)
{
    ProduceAnswer answer = {.error = 0, .base_offset = -1};
    if (plan.answer == ANSWER_KAFKA && !parse_produce(body, size, &answer))
        fail("a produce answer of %zu bytes does not parse", size);
    if (answer.error) {
        count_error(answer.error);
        return;
    }
    connection->next_offset = answer.base_offset + plan.records;
    run.totals.requests++;
    run.totals.records += plan.records;
    run.totals.bytes += (int64_t)run.batch.size;
}

static void on_fetched(Connection *connection, const uint8_t *body, size_t size)
{
    FetchAnswer answer;
    int64_t records = 0;
    size_t whole = size;
    if (plan.answer == ANSWER_KAFKA) {
        if (!parse_fetch(body, size, &answer))
            fail("a fetch answer of %zu bytes does not parse", size);
        if (answer.error) {
            count_error(answer.error);
            return;
        }
        if (!connection->answers && answer.size >= BATCH_OVERHEAD)
            check_crc(answer.records, answer.size);
        if (!walk_batches(answer.records, answer.size, &connection->next_offset, &records, &whole))
            fail("a fetch from offset %lld gave something else", (long long)connection->next_offset);
        if (!records)
            fail("an empty answer at offset %lld, before the end %lld", (long long)connection->next_offset,
                 (long long)plan.end_offset);
        if (connection->next_offset >= plan.end_offset)
            connection->next_offset = 0;
    }
    run.totals.requests++;
    run.totals.records += records;
    run.totals.bytes += (int64_t)whole;
}

static void on_frame(Connection *connection, const uint8_t *frame, size_t size, int64_t now)
{
    size_t correlation_at = plan.answer == ANSWER_ECHO ? CORRELATION_AT : 4;
    uint32_t expected = connection->expected_correlation;
    if (size < correlation_at + 4 || (uint32_t)load32(frame + correlation_at) != expected)
        fail("answers out of order: expected correlation id %u", expected);
    int64_t started = connection->started[expected % connection->depth];
    connection->expected_correlation++;
    if (plan.fetching)
        on_fetched(connection, frame + 4, size - 4);
    else
        on_produced(connection, frame + 4, size - 4);
    connection->answers++;
    if (run.measuring)
        histogram_add(&run.latency, now - started);
}

static void read_answers(Connection *connection)
{
    if (!receive(connection))
        return;
    int64_t now = now_ns();
    size_t at = 0, size;
    while ((size = whole_frame(connection, at)) > 0) {
        on_frame(connection, connection->buffer + at, size, now);
        at += size;
    }
    if (at) {
        drop_front(connection, at);
        run.last_progress = now;
    }
}

/* How many requests the connection may start now. */
static uint32_t allowance(const Connection *connection)
{
    uint32_t room = connection->depth - in_flight(connection);
    if (run.stopping)
        return 0;
    if (plan.limit && plan.limit - connection->next_correlation < room)
        return (uint32_t)(plan.limit - connection->next_correlation);
    return room;
}

static void pump(Connection *connection)
{
    bool unanswered = plan.acks == 0 && !plan.fetching;
    for (int round = 0; flush_staged(connection); round++) {
        if (unanswered && connection->out_size && connection->out_done == connection->out_size) {
            uint32_t sent = in_flight(connection);
            connection->expected_correlation += sent;
            connection->out_size = connection->out_done = 0;
            run.totals.requests += sent;
            run.totals.records += (int64_t)sent * plan.records;
            run.totals.bytes += (int64_t)sent * (int64_t)run.batch.size;
            run.last_progress = now_ns();
        }
        uint32_t room = allowance(connection);
        if (!room)
            break;
        if (round == 16) /* let the others have a turn; the socket reports itself again */
            break;
        if (plan.fetching)
            build_fetch(&connection->request, plan.topic, connection->partition, connection->next_offset,
                        plan.fetch_bytes, plan.max_wait_ms);
        stage_requests(connection, room, now_ns());
    }
    bool blocked = connection->out_done < connection->out_size || allowance(connection) > 0;
    if (blocked != connection->wants_write)
        watch(run.epoll, connection, blocked);
}

static bool all_idle(void)
{
    for (int i = 0; i < plan.connections; i++)
        if (in_flight(&run.connections[i]) || (plan.limit && run.connections[i].next_correlation < plan.limit))
            return false;
    return true;
}

static void turn(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(run.epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < count; i++) {
        Connection *connection = events[i].data.ptr;
        if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            read_answers(connection);
        pump(connection);
    }
    if (now_ns() - run.last_progress > STALL_MS * NS_PER_MS)
        fail("no answer for %d ms", STALL_MS);
}

static void open_all(void)
{
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.connections = calloc((size_t)plan.connections, sizeof *run.connections);
    run.batch = build_batch(plan.records, (size_t)plan.record_bytes, 1);
    for (int i = 0; i < plan.connections; i++) {
        Connection *connection = &run.connections[i];
        connection_open(connection, plan.port, plan.depth);
        connection->partition = i % plan.partitions;
        connection->request = build_produce(plan.topic, connection->partition, plan.acks, &run.batch);
        watch(run.epoll, connection, false);
    }
    run.last_progress = now_ns();
}

/* With acks=0 nothing is answered: one last request with acks=1 shows that all before it were taken. */
static void confirm_unanswered(void)
{
    plan.acks = 1;
    run.stopping = false;
    plan.limit = 0;
    for (int i = 0; i < plan.connections; i++) {
        Connection *connection = &run.connections[i];
        while (!flush_staged(connection))
            turn(10);
        free(connection->request.data);
        connection->request = build_produce(plan.topic, connection->partition, 1, &run.batch);
        connection->expected_correlation = connection->next_correlation;
        connection->depth = 1;
        pump(connection);
    }
    run.stopping = true;
    while (!all_idle())
        turn(100);
}

static void closed_loop(void)
{
    open_all();
    int64_t begin = now_ns() + plan.warmup_ns, end = begin + plan.window_ns, now;
    if (plan.limit)
        run.first = snapshot(), run.measuring = true, begin = INT64_MAX;
    for (int i = 0; i < plan.connections; i++)
        pump(&run.connections[i]);
    while (plan.limit ? !all_idle() : now_ns() < end) {
        turn(50);
        now = now_ns();
        if (!run.measuring && now >= begin) {
            run.first = snapshot();
            run.measuring = true;
        }
    }
    run.last = snapshot();
    run.measuring = false;
    run.stopping = true;
    if (plan.acks == 0 && !plan.fetching)
        confirm_unanswered();
    while (!plan.limit && !all_idle())
        turn(100);
}

/* ---- a fixed rate, produce and a parked fetch -------------------------------------------------------------- */

typedef struct {
    int64_t *sent_at; /* by number of the message since the first */
    int64_t first_offset, sent, arrived, capacity;
} Trace;

static void await_answer(Connection *connection)
{
    int64_t answers = connection->answers;
    while (connection->answers == answers)
        turn(100);
}

static void take_fetched(Connection *fetcher, Trace *trace)
{
    size_t size, whole;
    int64_t records = 0, now, from = fetcher->next_offset;
    FetchAnswer answer;
    if (!receive(fetcher))
        return;
    now = now_ns();
    if (!(size = whole_frame(fetcher, 0)))
        return;
    if (!parse_fetch(fetcher->buffer + 4, size - 4, &answer))
        fail("a fetch answer of %zu bytes does not parse", size);
    if (answer.error)
        fail("fetch failed with code %d", answer.error);
    if (!walk_batches(answer.records, answer.size, &fetcher->next_offset, &records, &whole))
        fail("a fetch from offset %lld gave something else", (long long)from);
    for (int64_t offset = from; offset < fetcher->next_offset; offset++) {
        int64_t number = offset - trace->first_offset;
        if (number < 0 || number >= trace->sent)
            fail("offset %lld was never sent", (long long)offset);
        if (trace->sent_at[number] >= run.first.at_ns && run.measuring)
            histogram_add(&run.latency, now - trace->sent_at[number]);
        trace->arrived++;
    }
    drop_front(fetcher, size);
    run.last_progress = now;
    fetcher->expected_correlation++;
    build_fetch(&fetcher->request, plan.topic, 0, fetcher->next_offset, plan.fetch_bytes, plan.max_wait_ms);
    stage_requests(fetcher, 1, now);
    if (!flush_staged(fetcher))
        fail("a fetch request does not fit the socket");
}

static void take_acknowledged(Connection *producer)
{
    size_t at = 0, size;
    if (!receive(producer))
        return;
    int64_t now = now_ns();
    for (; (size = whole_frame(producer, at)) > 0; at += size) {
        int64_t started = producer->started[producer->expected_correlation % producer->depth];
        ProduceAnswer answer;
        if ((uint32_t)load32(producer->buffer + at + 4) != producer->expected_correlation++)
            fail("answers out of order");
        if (!parse_produce(producer->buffer + at + 4, size - 4, &answer))
            fail("a produce answer of %zu bytes does not parse", size);
        if (answer.error)
            count_error(answer.error);
        if (run.measuring) {
            histogram_add(&run.acknowledged, now - started);
            run.totals.requests++;
            run.totals.records++;
            run.totals.bytes += (int64_t)run.batch.size;
        }
    }
    drop_front(producer, at);
}

static void send_due(Connection *producer, Trace *trace, int timer)
{
    uint64_t due;
    if (read(timer, &due, sizeof due) != sizeof due)
        return;
    for (; due > 0 && trace->sent < trace->capacity; due--) {
        int64_t now = now_ns();
        trace->sent_at[trace->sent++] = now;
        if (in_flight(producer) >= producer->depth)
            fail("%u requests without an answer", producer->depth);
        stage_requests(producer, 1, now);
        while (!flush_staged(producer))
            ;
    }
}

static int start_timer(int rate)
{
    struct itimerspec every = {.it_interval.tv_nsec = NS_PER_S / rate, .it_value.tv_nsec = NS_PER_S / rate};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0 || timerfd_settime(timer, 0, &every, NULL) != 0)
        fail("timer: %s", strerror(errno));
    return timer;
}

static void fixed_rate(void)
{
    plan.connections = 2;
    plan.partitions = 1;
    open_all();
    Connection *producer = &run.connections[0], *fetcher = &run.connections[1];
    Trace trace = {.capacity = (plan.warmup_ns + plan.window_ns) / NS_PER_S * plan.rate + plan.rate};
    trace.sent_at = calloc((size_t)trace.capacity, sizeof *trace.sent_at);
    run.stopping = true; /* the loop below sends, not pump() */
    stage_requests(producer, 1, now_ns());
    flush_staged(producer);
    await_answer(producer);
    if (run.errors)
        fail("the first produce failed with code %d", run.first_error);
    trace.first_offset = producer->next_offset;
    run.totals = (Snapshot){0};
    fetcher->next_offset = trace.first_offset;
    build_fetch(&fetcher->request, plan.topic, 0, fetcher->next_offset, plan.fetch_bytes, plan.max_wait_ms);
    stage_requests(fetcher, 1, now_ns());
    flush_staged(fetcher);

    int timer = start_timer(plan.rate);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[8];
    epoll_ctl(run.epoll, EPOLL_CTL_ADD, timer, &event);
    int64_t begin = now_ns() + plan.warmup_ns, end = begin + plan.window_ns;
    for (bool done = false; !done || trace.arrived < trace.sent;) {
        int count = epoll_wait(run.epoll, events, 8, 100);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL && !done)
                send_due(producer, &trace, timer);
            else if (events[i].data.ptr == producer)
                take_acknowledged(producer);
            else if (events[i].data.ptr == fetcher)
                take_fetched(fetcher, &trace);
        }
        int64_t now = now_ns();
        if (!run.measuring && !done && now >= begin) {
            run.first = snapshot();
            run.measuring = true;
        }
        if (!done && now >= end) {
            run.last = snapshot();
            done = true;
            close(timer);
        }
        if (now - run.last_progress > STALL_MS * NS_PER_MS)
            fail("%lld of %lld messages did not arrive", (long long)(trace.sent - trace.arrived),
                 (long long)trace.sent);
    }
}

/* ---- command line and result -------------------------------------------------------------------------------- */

static void read_pids(const char *text)
{
    while (*text && plan.pid_count < MAXIMUM_PIDS) {
        char *end;
        plan.pids[plan.pid_count++] = (int)strtol(text, &end, 10);
        text = *end == ',' ? end + 1 : end + strlen(end);
    }
}

static void read_plan(int count, char **arguments)
{
    const char *answer = option(count, arguments, "answer", "kafka");
    plan.topic = option(count, arguments, "topic", "bench");
    plan.port = (int)number_option(count, arguments, "port", NULL);
    plan.partitions = (int)number_option(count, arguments, "partitions", "4");
    plan.connections = (int)number_option(count, arguments, "connections", "1");
    plan.depth = (uint32_t)number_option(count, arguments, "depth", "1");
    plan.acks = (int)number_option(count, arguments, "acks", "1");
    plan.records = (int)number_option(count, arguments, "records", "1");
    plan.record_bytes = (int)number_option(count, arguments, "record_bytes", "100");
    plan.fetch_bytes = (int)number_option(count, arguments, "fetch_bytes", "1048576");
    plan.max_wait_ms = (int)number_option(count, arguments, "max_wait_ms", "500");
    plan.rate = (int)number_option(count, arguments, "rate", "1000");
    plan.warmup_ns = number_option(count, arguments, "warmup_ms", "1000") * NS_PER_MS;
    plan.window_ns = number_option(count, arguments, "window_ms", "3000") * NS_PER_MS;
    plan.end_offset = number_option(count, arguments, "end", "0");
    plan.limit = number_option(count, arguments, "requests", "0");
    plan.answer = !strcmp(answer, "echo") ? ANSWER_ECHO : !strcmp(answer, "short") ? ANSWER_SHORT : ANSWER_KAFKA;
    if (plan.connections < 1 || plan.partitions < 1 || plan.depth < 1 || plan.records < 1 || plan.rate < 1)
        fail("connections, partitions, depth, records and rate are at least 1");
    read_pids(option(count, arguments, "pids", ""));
}

static void print_histogram(const char *name, const Histogram *histogram)
{
    printf("\"%s\": {\"count\": %llu, \"mean\": %.2f, \"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"p999\": %.2f, "
           "\"max\": %.2f}, ",
           name, (unsigned long long)histogram->total,
           histogram->total ? histogram->sum / (double)histogram->total / 1e3 : 0.0,
           histogram_quantile(histogram, 0.5) / 1e3, histogram_quantile(histogram, 0.9) / 1e3,
           histogram_quantile(histogram, 0.99) / 1e3, histogram_quantile(histogram, 0.999) / 1e3,
           (double)histogram->maximum / 1e3);
}

static void print_result(void)
{
    const Snapshot *first = &run.first, *last = &run.last;
    printf("{\"seconds\": %.6f, \"requests\": %lld, \"records\": %lld, \"bytes\": %lld, \"errors\": %lld, "
           "\"first_error\": %d, \"target_cpu_s\": %.6f, \"client_cpu_s\": %.6f, \"batch_bytes\": %zu, ",
           (double)(last->at_ns - first->at_ns) / 1e9, (long long)(last->requests - first->requests),
           (long long)(last->records - first->records), (long long)(last->bytes - first->bytes),
           (long long)run.errors, run.first_error, (double)(last->cpu_ns - first->cpu_ns) / 1e9,
           (double)(last->client_cpu_ns - first->client_cpu_ns) / 1e9, run.batch.size);
    print_histogram("latency_us", &run.latency);
    if (run.acknowledged.total)
        print_histogram("acknowledged_us", &run.acknowledged);
    printf("\"end_offset\": %lld}\n", (long long)run.connections[0].next_offset);
}

int main(int count, char **arguments)
{
    const char *mode = option(count, arguments, "mode", NULL);
    crc32c_init();
    read_plan(count, arguments);
    plan.fetching = !strcmp(mode, "fetch");
    if (!strcmp(mode, "latency"))
        fixed_rate();
    else if (!strcmp(mode, "produce") || plan.fetching)
        closed_loop();
    else
        fail("mode=%s is none of produce, fetch, latency", mode);
    print_result();
    return 0;
}
