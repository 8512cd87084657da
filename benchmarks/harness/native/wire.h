/* The few Kafka messages that the generator speaks: Produce 9, Fetch 12, both flexible, and record batch v2.
 *
 * Writers append to a Frame that grows.  Readers go through a Reader whose every read checks what is left; a
 * failed read sets `bad` and gives 0, so an answer is parsed straight through and judged once, at its end. */
#ifndef HARNESS_WIRE_H
#define HARNESS_WIRE_H

#include "clock.h"
#include "crc32c.h"
#include <endian.h>
#include <stdbool.h>

#define PRODUCE_KEY 0
#define PRODUCE_VERSION 9
#define FETCH_KEY 1
#define FETCH_VERSION 12
#define BATCH_OVERHEAD 61
#define CORRELATION_AT 8 /* length 4, key 2, version 2 */

typedef struct {
    uint8_t *data;
    size_t size, capacity;
} Frame;

typedef struct {
    const uint8_t *position, *end;
    bool bad;
} Reader;

static inline uint8_t *frame_room(Frame *frame, size_t size)
{
    if (frame->size + size > frame->capacity) {
        frame->capacity = (frame->size + size) * 2;
        frame->data = realloc(frame->data, frame->capacity);
        if (!frame->data)
            fail("out of memory for a frame of %zu bytes", frame->capacity);
    }
    frame->size += size;
    return frame->data + frame->size - size;
}

static inline void store16(uint8_t *at, int16_t value) { uint16_t big = htobe16((uint16_t)value); memcpy(at, &big, 2); }
static inline void store32(uint8_t *at, int32_t value) { uint32_t big = htobe32((uint32_t)value); memcpy(at, &big, 4); }
static inline void store64(uint8_t *at, int64_t value) { uint64_t big = htobe64((uint64_t)value); memcpy(at, &big, 8); }
static inline int32_t load32(const uint8_t *at) { uint32_t big; memcpy(&big, at, 4); return (int32_t)be32toh(big); }
static inline int64_t load64(const uint8_t *at) { uint64_t big; memcpy(&big, at, 8); return (int64_t)be64toh(big); }

static inline void put8(Frame *frame, int value) { *frame_room(frame, 1) = (uint8_t)value; }
static inline void put16(Frame *frame, int16_t value) { store16(frame_room(frame, 2), value); }
static inline void put32(Frame *frame, int32_t value) { store32(frame_room(frame, 4), value); }
static inline void put64(Frame *frame, int64_t value) { store64(frame_room(frame, 8), value); }

static inline void put_bytes(Frame *frame, const void *data, size_t size)
{
    if (size)
        memcpy(frame_room(frame, size), data, size);
}

static inline void put_unsigned_varint(Frame *frame, uint64_t value)
{
    for (; value >= 128; value >>= 7)
        put8(frame, (int)(value & 127) | 128);
    put8(frame, (int)value);
}

static inline void put_varint(Frame *frame, int64_t value)
{
    put_unsigned_varint(frame, (uint64_t)(value << 1) ^ (uint64_t)(value >> 63));
}

static inline void put_compact_string(Frame *frame, const char *text)
{
    put_unsigned_varint(frame, strlen(text) + 1);
    put_bytes(frame, text, strlen(text));
}

/* Request header v2; finish_frame() fills in the length. */
static inline void start_frame(Frame *frame, int16_t key, int16_t version)
{
    frame->size = 0;
    put32(frame, 0);
    put16(frame, key);
    put16(frame, version);
    put32(frame, 0);
    put16(frame, 5);
    put_bytes(frame, "bench", 5);
    put8(frame, 0);
}

static inline void finish_frame(Frame *frame) { store32(frame->data, (int32_t)frame->size - 4); }

/* Appends one uncompressed record of `value_size` bytes to a batch's records. */
static inline void put_record(Frame *batch, int index, size_t value_size, uint32_t *seed)
{
    Frame body = {0};
    put8(&body, 0);             /* attributes */
    put_varint(&body, 0);       /* timestamp delta */
    put_varint(&body, index);   /* offset delta */
    put_varint(&body, -1);      /* no key */
    put_varint(&body, (int64_t)value_size);
    uint8_t *value = frame_room(&body, value_size);
    for (size_t i = 0; i < value_size; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        value[i] = (uint8_t)('a' + (*seed >> 24) % 26);
    }
    put_varint(&body, 0); /* no headers */
    put_varint(batch, (int64_t)body.size);
    put_bytes(batch, body.data, body.size);
    free(body.data);
}

/* A record batch of `records` records with a right CRC, stamped now; base offset 0. */
static inline Frame build_batch(int records, size_t value_size, uint32_t seed)
{
    Frame batch = {0};
    int64_t timestamp = read_clock(CLOCK_REALTIME) / NS_PER_MS;
    put64(&batch, 0);
    put32(&batch, 0);  /* length, below */
    put32(&batch, -1); /* leader epoch */
    put8(&batch, 2);   /* magic */
    put32(&batch, 0);  /* CRC, below */
    put16(&batch, 0);  /* attributes */
    put32(&batch, records - 1);
    put64(&batch, timestamp);
    put64(&batch, timestamp);
    put64(&batch, -1); /* producer id */
    put16(&batch, -1);
    put32(&batch, -1);
    put32(&batch, records);
    for (int i = 0; i < records; i++)
        put_record(&batch, i, value_size, &seed);
    store32(batch.data + 8, (int32_t)batch.size - 12);
    store32(batch.data + 17, (int32_t)crc32c(batch.data + 21, batch.size - 21));
    return batch;
}

static inline Frame build_produce(const char *topic, int partition, int acks, const Frame *batch)
{
    Frame frame = {0};
    start_frame(&frame, PRODUCE_KEY, PRODUCE_VERSION);
    put8(&frame, 0); /* no transactional id */
    put16(&frame, (int16_t)acks);
    put32(&frame, 30000);
    put8(&frame, 2); /* one topic */
    put_compact_string(&frame, topic);
    put8(&frame, 2); /* one partition */
    put32(&frame, partition);
    put_unsigned_varint(&frame, batch->size + 1);
    put_bytes(&frame, batch->data, batch->size);
    put8(&frame, 0);
    put8(&frame, 0);
    put8(&frame, 0);
    finish_frame(&frame);
    return frame;
}

static inline void build_fetch(Frame *frame, const char *topic, int partition, int64_t offset, int max_bytes,
                               int max_wait_ms)
{
    start_frame(frame, FETCH_KEY, FETCH_VERSION);
    put32(frame, -1); /* a consumer */
    put32(frame, max_wait_ms);
    put32(frame, 1);
    put32(frame, max_bytes);
    put8(frame, 0);   /* read uncommitted */
    put32(frame, 0);  /* no session */
    put32(frame, -1);
    put8(frame, 2);
    put_compact_string(frame, topic);
    put8(frame, 2);
    put32(frame, partition);
    put32(frame, -1); /* current leader epoch */
    put64(frame, offset);
    put32(frame, -1); /* last fetched epoch */
    put64(frame, -1); /* log start offset */
    put32(frame, max_bytes);
    put8(frame, 0);
    put8(frame, 0);
    put8(frame, 1); /* nothing forgotten */
    put8(frame, 1); /* rack "" */
    put8(frame, 0);
    finish_frame(frame);
}

static inline const uint8_t *take(Reader *reader, uint64_t size)
{
    static const uint8_t zeros[8];
    if (reader->bad || size > (uint64_t)(reader->end - reader->position)) {
        reader->bad = true;
        return size <= sizeof zeros ? zeros : NULL;
    }
    reader->position += size;
    return reader->position - size;
}

static inline int take8(Reader *reader) { return *take(reader, 1); }
static inline int take16(Reader *reader) { const uint8_t *at = take(reader, 2); return (int16_t)(at[0] << 8 | at[1]); }
static inline int32_t take32(Reader *reader) { return load32(take(reader, 4)); }
static inline int64_t take64(Reader *reader) { return load64(take(reader, 8)); }

static inline uint64_t take_unsigned_varint(Reader *reader)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        int byte = take8(reader);
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
    reader->bad = true;
    return 0;
}

/* Bytes of a compact string, bytes or nullable field: size in `*size`, 0 for null. */
static inline const uint8_t *take_compact(Reader *reader, uint64_t *size)
{
    uint64_t length = take_unsigned_varint(reader);
    *size = length ? length - 1 : 0;
    return take(reader, *size);
}

static inline void skip_tags(Reader *reader)
{
    for (uint64_t tags = take_unsigned_varint(reader); tags > 0 && !reader->bad; tags--) {
        uint64_t size;
        take_unsigned_varint(reader);
        size = take_unsigned_varint(reader);
        take(reader, size);
    }
}

typedef struct {
    int error; /* of the partition, or of the request */
    int64_t base_offset;
} ProduceAnswer;

/* `data` starts at the correlation id.  False if it does not parse to its end as one topic with one partition. */
static inline bool parse_produce(const uint8_t *data, size_t size, ProduceAnswer *answer)
{
    Reader reader = {data, data + size, false};
    uint64_t length;
    take32(&reader);
    skip_tags(&reader);
    if (take_unsigned_varint(&reader) != 2)
        return false;
    take_compact(&reader, &length);
    if (take_unsigned_varint(&reader) != 2)
        return false;
    take32(&reader); /* partition */
    answer->error = take16(&reader);
    answer->base_offset = take64(&reader);
    take64(&reader); /* log append time */
    take64(&reader); /* log start offset */
    for (uint64_t errors = take_unsigned_varint(&reader); errors > 1 && !reader.bad; errors--) {
        take32(&reader);
        take_compact(&reader, &length);
        skip_tags(&reader);
    }
    take_compact(&reader, &length); /* error message */
    skip_tags(&reader);
    skip_tags(&reader);
    take32(&reader); /* throttle */
    skip_tags(&reader);
    return !reader.bad && reader.position == reader.end;
}

typedef struct {
    int error;
    const uint8_t *records;
    size_t size;
} FetchAnswer;

static inline bool parse_fetch(const uint8_t *data, size_t size, FetchAnswer *answer)
{
    Reader reader = {data, data + size, false};
    uint64_t length;
    *answer = (FetchAnswer){0};
    take32(&reader);
    skip_tags(&reader);
    take32(&reader); /* throttle */
    answer->error = take16(&reader);
    take32(&reader); /* session */
    uint64_t topics = take_unsigned_varint(&reader);
    if (topics == 1 || reader.bad || answer->error) { /* nothing in it: an empty long poll */
        return !reader.bad;
    }
    take_compact(&reader, &length);
    if (topics != 2 || take_unsigned_varint(&reader) != 2)
        return false;
    take32(&reader); /* partition */
    answer->error = take16(&reader);
    take64(&reader); /* high watermark */
    take64(&reader); /* last stable offset */
    take64(&reader); /* log start offset */
    for (uint64_t aborted = take_unsigned_varint(&reader); aborted > 1 && !reader.bad; aborted--) {
        take64(&reader);
        take64(&reader);
        skip_tags(&reader);
    }
    take32(&reader); /* preferred read replica */
    answer->records = take_compact(&reader, &length);
    answer->size = length;
    skip_tags(&reader);
    skip_tags(&reader);
    skip_tags(&reader);
    return !reader.bad && reader.position == reader.end;
}

/* Walks the whole batches of a fetch answer.  A cut last batch is Kafka's habit and no fault.
 * False for a batch that is none, or whose offsets do not go on from `*next_offset`. */
static inline bool walk_batches(const uint8_t *records, size_t size, int64_t *next_offset, int64_t *record_count,
                                size_t *whole_bytes)
{
    size_t at = 0;
    while (size - at >= BATCH_OVERHEAD) {
        int64_t base_offset = load64(records + at);
        int32_t length = load32(records + at + 8);
        if (length < BATCH_OVERHEAD - 12 || records[at + 16] != 2 || base_offset != *next_offset)
            return false;
        if ((size_t)length + 12 > size - at)
            break;
        int32_t last_delta = load32(records + at + 23);
        if (last_delta < 0)
            return false;
        *next_offset = base_offset + last_delta + 1;
        *record_count += last_delta + 1;
        at += (size_t)length + 12;
    }
    *whole_bytes = at;
    return true;
}

#endif
