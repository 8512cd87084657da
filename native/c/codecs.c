/*
 * The four codecs of record batches. The libraries are opened with dlopen() on first use of their codec, so that
 * building pystream needs a C compiler and nothing else; the prototypes below are the part of their stable ABI that is
 * used here.
 *
 * What is written:  gzip    one member
 *                   snappy  the framing of the Java client (xerial): "\x82SNAPPY\0", int32 version 1, int32 oldest
 *                           compatible version 1, then blocks: an int32 length and a raw snappy stream of <= 32 KiB
 *                   lz4     one frame of independent 64 KiB blocks without checksums: Java reads nothing else
 *                   zstd    one frame with its content size
 * What is read:     besides that, concatenated gzip members, lz4 and zstd frames, xerial streams, and a raw snappy
 * stream.
 *
 * Output limit: sizes that the input claims are hints at most. A buffer starts at a size that the input can account for
 * and doubles as bytes really arrive, up to limit + 1; the byte above the limit tells "just full" from "too much".
 */
#include "codecs.h"
#include "bytes.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

/* ---------------------------------------------------------------- output */

#define SMALLEST_CAPACITY 4096

void codec_buffer_free(struct codec_buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->size = buffer->capacity = 0;
}

/* Gives the buffer room for at least `capacity` bytes, keeping what it holds. */
static enum codec_result buffer_reserve(struct codec_buffer *buffer, size_t capacity)
{
    if (capacity < SMALLEST_CAPACITY)
        capacity = SMALLEST_CAPACITY;
    if (capacity <= buffer->capacity)
        return CODEC_OK;
    uint8_t *data;
    if (buffer->size == 0) {                       /* nothing to keep: spare realloc() the copy */
        free(buffer->data);
        buffer->capacity = 0;
        data = buffer->data = malloc(capacity);
    } else {
        data = realloc(buffer->data, capacity);
    }
    if (data == NULL)
        return CODEC_OUT_OF_MEMORY;
    buffer->data = data;
    buffer->capacity = capacity;
    return CODEC_OK;
}

/* Empties the buffer and gives it room for what `input_size` bytes can be expected to become; `claimed` is 0 where
 * nothing is known. */
static enum codec_result output_begin(struct codec_buffer *output, size_t input_size, size_t claimed, size_t limit)
{
    size_t believable = input_size * 64 + SMALLEST_CAPACITY;
    size_t expected = claimed == 0 ? input_size * 4 : claimed < believable ? claimed : believable;
    output->size = 0;
    return buffer_reserve(output, expected < limit ? expected + 1 : limit + 1);
}

/* Makes room for at least one more byte; the output has passed the limit when that byte lies above it. */
static enum codec_result output_grow(struct codec_buffer *output, size_t limit)
{
    if (output->size > limit)
        return CODEC_LIMIT_EXCEEDED;
    if (output->size < output->capacity)
        return CODEC_OK;
    return buffer_reserve(output, output->capacity < limit / 2 ? output->capacity * 2 : limit + 1);
}

/* ---------------------------------------------------------------- libraries */

#define ZLIB_OK 0
#define ZLIB_STREAM_END 1
#define ZLIB_MEM_ERROR (-4)
#define ZLIB_BUF_ERROR (-5)
#define ZLIB_NO_FLUSH 0
#define ZLIB_FINISH 4
#define ZLIB_DEFLATED 8
#define ZLIB_GZIP_WINDOW_BITS (15 + 16)

struct zlib_stream {                               /* z_stream */
    const uint8_t *next_in;
    unsigned int avail_in;
    unsigned long total_in;
    uint8_t *next_out;
    unsigned int avail_out;
    unsigned long total_out;
    const char *msg;
    void *state;
    void *(*zalloc)(void *, unsigned int, unsigned int);
    void (*zfree)(void *, void *);
    void *opaque;
    int data_type;
    unsigned long adler;
    unsigned long reserved;
};

static struct {
    const char *(*version)(void);
    int (*inflate_init)(struct zlib_stream *, int window_bits, const char *version, int stream_size);
    int (*inflate)(struct zlib_stream *, int flush);
    int (*inflate_reset)(struct zlib_stream *);
    int (*inflate_end)(struct zlib_stream *);
    int (*deflate_init)(struct zlib_stream *, int level, int method, int window_bits, int memory_level, int strategy,
                        const char *version, int stream_size);
    unsigned long (*deflate_bound)(struct zlib_stream *, unsigned long size);
    int (*deflate)(struct zlib_stream *, int flush);
    int (*deflate_end)(struct zlib_stream *);
} zlib;

static struct {
    int (*compress)(const char *input, size_t size, char *output, size_t *output_size);
    int (*uncompress)(const char *input, size_t size, char *output, size_t *output_size);
    size_t (*max_compressed_length)(size_t size);
    int (*uncompressed_length)(const char *input, size_t size, size_t *result);
} snappy;

#define LZ4F_VERSION 100
#define LZ4F_BLOCKS_OF_64_KIB 4
#define LZ4F_INDEPENDENT_BLOCKS 1
#define KAFKA_LZ4_DEFAULT_LEVEL 9                  /* of compression.lz4.level; the Java client means the fast compressor */

struct lz4_preferences {                           /* LZ4F_preferences_t */
    int block_size_id;
    int block_mode;
    int content_checksum;
    int frame_type;
    unsigned long long content_size;
    unsigned int dictionary_id;
    int block_checksum;
    int compression_level;
    unsigned int auto_flush;
    unsigned int favor_decompression_speed;
    unsigned int reserved[3];
};

static struct {
    unsigned int (*is_error)(size_t code);
    size_t (*create_decompression)(void **context, unsigned int version);
    size_t (*free_decompression)(void *context);
    size_t (*decompress)(void *context, void *output, size_t *output_size, const void *input, size_t *input_size,
                         const void *options);
    size_t (*compress_bound)(size_t size, const struct lz4_preferences *);
    size_t (*compress)(void *output, size_t capacity, const void *input, size_t size, const struct lz4_preferences *);
} lz4;

#define ZSTD_COMPRESSION_LEVEL 100                 /* ZSTD_cParameter, ZSTD_dParameter and ZSTD_ErrorCode numbers */
#define ZSTD_WINDOW_LOG 101
#define ZSTD_HIGHEST_WINDOW_LOG 100
#define ZSTD_RESET_SESSION 1
#define ZSTD_WINDOW_TOO_LARGE 16
#define ZSTD_NO_MEMORY 64
#define ZSTD_DEFAULT_LEVEL 3
#define WIDEST_WINDOW_LOG 23                       /* 8 MiB */

struct zstd_input { const void *data; size_t size, position; };
struct zstd_output { void *data; size_t size, position; };

static struct {
    unsigned int (*is_error)(size_t code);
    int (*error_code)(size_t code);
    unsigned long long (*content_size)(const void *input, size_t size);
    void *(*create_decompression)(void);
    size_t (*free_decompression)(void *);
    size_t (*reset_decompression)(void *, int directive);
    size_t (*set_decompression)(void *, int parameter, int value);
    size_t (*decompress)(void *, struct zstd_output *, struct zstd_input *);
    void *(*create_compression)(void);
    size_t (*free_compression)(void *);
    size_t (*set_compression)(void *, int parameter, int value);
    size_t (*compress_bound)(size_t size);
    size_t (*compress)(void *, void *output, size_t capacity, const void *input, size_t size);
} zstd;

struct symbol {
    void *slot;                                    /* of a function pointer */
    const char *name;
};

static const struct symbol zlib_symbols[] = {
    {&zlib.version, "zlibVersion"}, {&zlib.inflate_init, "inflateInit2_"}, {&zlib.inflate, "inflate"},
    {&zlib.inflate_reset, "inflateReset"}, {&zlib.inflate_end, "inflateEnd"}, {&zlib.deflate_init, "deflateInit2_"},
    {&zlib.deflate_bound, "deflateBound"}, {&zlib.deflate, "deflate"}, {&zlib.deflate_end, "deflateEnd"}, {NULL, NULL}};
static const struct symbol snappy_symbols[] = {
    {&snappy.compress, "snappy_compress"}, {&snappy.uncompress, "snappy_uncompress"},
    {&snappy.max_compressed_length, "snappy_max_compressed_length"},
    {&snappy.uncompressed_length, "snappy_uncompressed_length"}, {NULL, NULL}};
static const struct symbol lz4_symbols[] = {
    {&lz4.is_error, "LZ4F_isError"}, {&lz4.create_decompression, "LZ4F_createDecompressionContext"},
    {&lz4.free_decompression, "LZ4F_freeDecompressionContext"},
    {&lz4.decompress, "LZ4F_decompress"}, {&lz4.compress_bound, "LZ4F_compressFrameBound"},
    {&lz4.compress, "LZ4F_compressFrame"}, {NULL, NULL}};
static const struct symbol zstd_symbols[] = {
    {&zstd.is_error, "ZSTD_isError"}, {&zstd.error_code, "ZSTD_getErrorCode"},
    {&zstd.content_size, "ZSTD_getFrameContentSize"},
    {&zstd.create_decompression, "ZSTD_createDCtx"}, {&zstd.free_decompression, "ZSTD_freeDCtx"},
    {&zstd.reset_decompression, "ZSTD_DCtx_reset"}, {&zstd.set_decompression, "ZSTD_DCtx_setParameter"},
    {&zstd.decompress, "ZSTD_decompressStream"}, {&zstd.create_compression, "ZSTD_createCCtx"},
    {&zstd.free_compression, "ZSTD_freeCCtx"}, {&zstd.set_compression, "ZSTD_CCtx_setParameter"},
    {&zstd.compress_bound, "ZSTD_compressBound"}, {&zstd.compress, "ZSTD_compress2"}, {NULL, NULL}};

static struct library {
    const char *names[2];                          /* Linux, macOS */
    const char *package;                           /* of Debian */
    const struct symbol *symbols;
    pthread_once_t once;
    int available;
} libraries[CODEC_COUNT] = {
    [CODEC_GZIP] = {{"libz.so.1", "libz.1.dylib"}, "zlib1g", zlib_symbols, PTHREAD_ONCE_INIT, 0},
    [CODEC_SNAPPY] = {{"libsnappy.so.1", "libsnappy.1.dylib"}, "libsnappy1v5", snappy_symbols, PTHREAD_ONCE_INIT, 0},
    [CODEC_LZ4] = {{"liblz4.so.1", "liblz4.1.dylib"}, "liblz4-1", lz4_symbols, PTHREAD_ONCE_INIT, 0},
    [CODEC_ZSTD] = {{"libzstd.so.1", "libzstd.1.dylib"}, "libzstd1", zstd_symbols, PTHREAD_ONCE_INIT, 0},
};

/* Opens the library for the rest of the process's life and fills its functions in; one that lacks any counts as
 * missing. */
static void load(struct library *library)
{
    void *handle = dlopen(library->names[0], RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        handle = dlopen(library->names[1], RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return;
    for (const struct symbol *symbol = library->symbols; symbol->name != NULL; symbol++) {
        void *address = dlsym(handle, symbol->name);
        if (address == NULL)
            return;
        memcpy(symbol->slot, &address, sizeof address);
    }
    library->available = 1;
}

static void load_zlib(void) { load(&libraries[CODEC_GZIP]); }
static void load_snappy(void) { load(&libraries[CODEC_SNAPPY]); }
static void load_lz4(void) { load(&libraries[CODEC_LZ4]); }
static void load_zstd(void) { load(&libraries[CODEC_ZSTD]); }

int codec_is_available(int codec)
{
    static void (*const loaders[CODEC_COUNT])(void) = {NULL, load_zlib, load_snappy, load_lz4, load_zstd};
    if (codec < 0 || codec >= CODEC_COUNT)
        return 0;
    if (codec == CODEC_NONE)
        return 1;
    pthread_once(&libraries[codec].once, loaders[codec]);
    return libraries[codec].available;
}

const char *codec_library_name(int codec)
{
    return libraries[codec].names[0];
}

const char *codec_package_name(int codec)
{
    return libraries[codec].package;
}

/* ---------------------------------------------------------------- contexts, one set per thread */

struct contexts {
    void *lz4_decompression;
    void *zstd_decompression;
    void *zstd_compression;
};

static __thread struct contexts *thread_contexts;
static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;

static void free_contexts(void *value)
{
    struct contexts *contexts = value;
    if (contexts->lz4_decompression != NULL)
        lz4.free_decompression(contexts->lz4_decompression);
    if (contexts->zstd_decompression != NULL)
        zstd.free_decompression(contexts->zstd_decompression);
    if (contexts->zstd_compression != NULL)
        zstd.free_compression(contexts->zstd_compression);
    free(contexts);
    thread_contexts = NULL;
}

static void create_contexts_key(void)
{
    pthread_key_create(&contexts_key, free_contexts);
}

/* The calling thread's contexts, freed when it ends; NULL when there is no memory. */
static struct contexts *contexts_of_thread(void)
{
    if (thread_contexts == NULL) {
        pthread_once(&contexts_once, create_contexts_key);
        thread_contexts = calloc(1, sizeof *thread_contexts);
        if (thread_contexts != NULL)
            pthread_setspecific(contexts_key, thread_contexts);
    }
    return thread_contexts;
}

/* ---------------------------------------------------------------- gzip */

static enum codec_result inflate_members(struct zlib_stream *stream, size_t limit, struct codec_buffer *output)
{
    for (;;) {
        enum codec_result result = output_grow(output, limit);
        if (result != CODEC_OK)
            return result;
        size_t room = output->capacity - output->size;
        stream->next_out = output->data + output->size;
        stream->avail_out = room < UINT_MAX ? (unsigned int)room : UINT_MAX;
        unsigned int before = stream->avail_out, unread = stream->avail_in;
        int code = zlib.inflate(stream, ZLIB_NO_FLUSH);
        output->size += before - stream->avail_out;
        if (code == ZLIB_STREAM_END) {
            if (output->size > limit)
                return CODEC_LIMIT_EXCEEDED;
            if (stream->avail_in == 0)
                return CODEC_OK;
            if (zlib.inflate_reset(stream) != ZLIB_OK)
                return CODEC_MALFORMED;
        } else if (code == ZLIB_MEM_ERROR) {
            return CODEC_OUT_OF_MEMORY;
        } else if (code != ZLIB_OK && code != ZLIB_BUF_ERROR) {
            return CODEC_MALFORMED;
        } else if (stream->avail_out > 0 && (stream->avail_in == 0 || stream->avail_in == unread)) {
            return CODEC_MALFORMED;                /* it would go on, but the input has ended */
        }
    }
}

static enum codec_result gzip_decompress(const uint8_t *data, size_t size, size_t limit, struct codec_buffer *output)
{
    struct zlib_stream stream = {.next_in = data, .avail_in = (unsigned int)size};
    enum codec_result result = output_begin(output, size, 0, limit);
    if (result != CODEC_OK)
        return result;
    if (zlib.inflate_init(&stream, ZLIB_GZIP_WINDOW_BITS, zlib.version(), (int)sizeof stream) != ZLIB_OK)
        return CODEC_OUT_OF_MEMORY;
    result = inflate_members(&stream, limit, output);
    zlib.inflate_end(&stream);
    return result;
}

static enum codec_result gzip_compress(int32_t level, const uint8_t *data, size_t size, struct codec_buffer *output)
{
    struct zlib_stream stream = {.next_in = data, .avail_in = (unsigned int)size};
    int wanted = level == CODEC_DEFAULT_LEVEL ? -1 : level;
    if (zlib.deflate_init(&stream, wanted, ZLIB_DEFLATED, ZLIB_GZIP_WINDOW_BITS, 8, 0, zlib.version(),
                          (int)sizeof stream) != ZLIB_OK)
        return CODEC_FAILED;
    size_t bound = zlib.deflate_bound(&stream, size);
    output->size = 0;
    enum codec_result result = buffer_reserve(output, bound);
    if (result == CODEC_OK) {
        stream.next_out = output->data;
        stream.avail_out = (unsigned int)bound;
        result = zlib.deflate(&stream, ZLIB_FINISH) == ZLIB_STREAM_END ? CODEC_OK : CODEC_FAILED;
        output->size = bound - stream.avail_out;
    }
    zlib.deflate_end(&stream);
    return result;
}

/* ---------------------------------------------------------------- snappy */

#define XERIAL_HEADER_SIZE 16
#define XERIAL_BLOCK_SIZE 32768
#define SNAPPY_HIGHEST_RATIO 22                    /* a copy of 64 bytes takes 3 */

static const uint8_t xerial_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

static int has_xerial_header(const uint8_t *data, size_t size)
{
    return size >= XERIAL_HEADER_SIZE && memcmp(data, xerial_magic, sizeof xerial_magic) == 0;
}

/* Appends one raw snappy stream. */
static enum codec_result snappy_append(const uint8_t *data, size_t size, size_t limit, struct codec_buffer *output)
{
    size_t length;
    if (size == 0 || snappy.uncompressed_length((const char *)data, size, &length) != 0)
        return CODEC_MALFORMED;
    if (length / SNAPPY_HIGHEST_RATIO > size)
        return CODEC_MALFORMED;
    if (length > limit - output->size)
        return CODEC_LIMIT_EXCEEDED;
    size_t needed = output->size + length;
    if (needed > output->capacity) {
        size_t doubled = output->capacity < limit / 2 ? output->capacity * 2 : limit;
        enum codec_result result = buffer_reserve(output, needed > doubled ? needed : doubled);
        if (result != CODEC_OK)
            return result;
    }
    if (snappy.uncompress((const char *)data, size, (char *)output->data + output->size, &length) != 0)
        return CODEC_MALFORMED;
    output->size += length;
    return CODEC_OK;
}

static enum codec_result snappy_decompress(const uint8_t *data, size_t size, size_t limit, struct codec_buffer *output)
{
    enum codec_result result = output_begin(output, size, 0, limit);
    if (result != CODEC_OK)
        return result;
    if (!has_xerial_header(data, size))
        return snappy_append(data, size, limit, output);
    while (size > 0) {
        if (has_xerial_header(data, size)) {       /* at the start, and where streams were concatenated */
            data += XERIAL_HEADER_SIZE;
            size -= XERIAL_HEADER_SIZE;
            continue;
        }
        if (size < 4)
            return CODEC_MALFORMED;
        uint32_t block = load_be32(data);
        if (block > size - 4)
            return CODEC_MALFORMED;
        result = snappy_append(data + 4, block, limit, output);
        if (result != CODEC_OK)
            return result;
        data += 4 + block;
        size -= 4 + block;
    }
    return CODEC_OK;
}

static enum codec_result snappy_compress(const uint8_t *data, size_t size, struct codec_buffer *output)
{
    size_t block_bound = 4 + snappy.max_compressed_length(XERIAL_BLOCK_SIZE);
    output->size = 0;
    size_t bound = XERIAL_HEADER_SIZE + (size / XERIAL_BLOCK_SIZE + 1) * block_bound;
    enum codec_result result = buffer_reserve(output, bound);
    if (result != CODEC_OK)
        return result;
    memcpy(output->data, xerial_magic, sizeof xerial_magic);
    store_be32(output->data + 8, 1);
    store_be32(output->data + 12, 1);
    output->size = XERIAL_HEADER_SIZE;
    while (size > 0) {
        size_t block = size < XERIAL_BLOCK_SIZE ? size : XERIAL_BLOCK_SIZE;
        size_t written = block_bound - 4;
        uint8_t *head = output->data + output->size;
        if (snappy.compress((const char *)data, block, (char *)head + 4, &written) != 0)
            return CODEC_FAILED;
        store_be32(head, (uint32_t)written);
        output->size += 4 + written;
        data += block;
        size -= block;
    }
    return CODEC_OK;
}

/* ---------------------------------------------------------------- lz4 */

static enum codec_result lz4_decompress_frames(void *context, const uint8_t *data, size_t size, size_t limit,
                                               struct codec_buffer *output)
{
    for (;;) {
        enum codec_result result = output_grow(output, limit);
        if (result != CODEC_OK)
            return result;
        size_t produced = output->capacity - output->size, consumed = size;
        size_t code = lz4.decompress(context, output->data + output->size, &produced, data, &consumed, NULL);
        if (lz4.is_error(code))
            return CODEC_MALFORMED;
        if (produced == 0 && consumed == 0)
            return CODEC_MALFORMED;                /* neither room nor input are used: it would never end */
        output->size += produced;
        data += consumed;
        size -= consumed;
        if (size == 0 && code == 0)                /* the end of a frame, and nothing behind it */
            return output->size > limit ? CODEC_LIMIT_EXCEEDED : CODEC_OK;
        if (size == 0 && output->size < output->capacity)
            return CODEC_MALFORMED;
    }
}

static enum codec_result lz4_decompress(const uint8_t *data, size_t size, size_t limit, struct codec_buffer *output)
{
    struct contexts *contexts = contexts_of_thread();
    if (contexts == NULL)
        return CODEC_OUT_OF_MEMORY;
    enum codec_result result = output_begin(output, size, 0, limit);
    if (result != CODEC_OK)
        return result;
    if (contexts->lz4_decompression == NULL) {
        void *context = NULL;
        if (lz4.is_error(lz4.create_decompression(&context, LZ4F_VERSION)))
            return CODEC_OUT_OF_MEMORY;
        contexts->lz4_decompression = context;
    }
    result = lz4_decompress_frames(contexts->lz4_decompression, data, size, limit, output);
    if (result != CODEC_OK) {
        /* Up to 1.9.4 a reset keeps the content size that a broken-off frame still owed, and the next frame would fail. */
        lz4.free_decompression(contexts->lz4_decompression);
        contexts->lz4_decompression = NULL;
    }
    return result;
}

static enum codec_result lz4_compress(int32_t level, const uint8_t *data, size_t size, struct codec_buffer *output)
{
    struct lz4_preferences preferences = {
        .block_size_id = LZ4F_BLOCKS_OF_64_KIB,
        .block_mode = LZ4F_INDEPENDENT_BLOCKS,
        .compression_level = level == CODEC_DEFAULT_LEVEL || level == KAFKA_LZ4_DEFAULT_LEVEL ? 0 : level,
    };
    output->size = 0;
    enum codec_result result = buffer_reserve(output, lz4.compress_bound(size, &preferences));
    if (result != CODEC_OK)
        return result;
    size_t written = lz4.compress(output->data, output->capacity, data, size, &preferences);
    if (lz4.is_error(written))
        return CODEC_FAILED;
    output->size = written;
    return CODEC_OK;
}

/* ---------------------------------------------------------------- zstd */

static enum codec_result zstd_failure(size_t code)
{
    int error = zstd.error_code(code);
    if (error == ZSTD_WINDOW_TOO_LARGE)
        return CODEC_LIMIT_EXCEEDED;
    return error == ZSTD_NO_MEMORY ? CODEC_OUT_OF_MEMORY : CODEC_MALFORMED;
}

static enum codec_result zstd_decompress_frames(void *context, const uint8_t *data, size_t size, size_t limit,
                                                struct codec_buffer *output)
{
    struct zstd_input input = {data, size, 0};
    for (;;) {
        enum codec_result result = output_grow(output, limit);
        if (result != CODEC_OK)
            return result;
        struct zstd_output room = {output->data, output->capacity, output->size};
        size_t begin = input.position;
        size_t code = zstd.decompress(context, &room, &input);
        if (zstd.is_error(code))
            return zstd_failure(code);
        if (room.position == output->size && input.position == begin)
            return CODEC_MALFORMED;                /* neither room nor input are used: it would never end */
        output->size = room.position;
        if (input.position == size && code == 0)   /* the end of a frame, and nothing behind it */
            return output->size > limit ? CODEC_LIMIT_EXCEEDED : CODEC_OK;
        if (input.position == size && output->size < output->capacity)
            return CODEC_MALFORMED;
    }
}

static enum codec_result zstd_decompress(const uint8_t *data, size_t size, size_t limit, struct codec_buffer *output)
{
    struct contexts *contexts = contexts_of_thread();
    if (contexts == NULL)
        return CODEC_OUT_OF_MEMORY;
    unsigned long long claimed = zstd.content_size(data, size);
    if (claimed > ULLONG_MAX - 2)                  /* unknown, or not a frame */
        claimed = 0;
    if (claimed > limit)
        return CODEC_LIMIT_EXCEEDED;
    enum codec_result result = output_begin(output, size, (size_t)claimed, limit);
    if (result != CODEC_OK)
        return result;
    if (contexts->zstd_decompression == NULL) {
        contexts->zstd_decompression = zstd.create_decompression();
        if (contexts->zstd_decompression == NULL)
            return CODEC_OUT_OF_MEMORY;
        zstd.set_decompression(contexts->zstd_decompression, ZSTD_HIGHEST_WINDOW_LOG, WIDEST_WINDOW_LOG);
    }
    zstd.reset_decompression(contexts->zstd_decompression, ZSTD_RESET_SESSION);
    return zstd_decompress_frames(contexts->zstd_decompression, data, size, limit, output);
}

static enum codec_result zstd_compress(int32_t level, const uint8_t *data, size_t size, struct codec_buffer *output)
{
    struct contexts *contexts = contexts_of_thread();
    if (contexts == NULL)
        return CODEC_OUT_OF_MEMORY;
    if (contexts->zstd_compression == NULL)
        contexts->zstd_compression = zstd.create_compression();
    if (contexts->zstd_compression == NULL)
        return CODEC_OUT_OF_MEMORY;
    output->size = 0;
    enum codec_result result = buffer_reserve(output, zstd.compress_bound(size));
    if (result != CODEC_OK)
        return result;
    void *context = contexts->zstd_compression;
    zstd.set_compression(context, ZSTD_COMPRESSION_LEVEL, level == CODEC_DEFAULT_LEVEL ? ZSTD_DEFAULT_LEVEL : level);
    /* 0 lets the level and the size choose; the highest levels would choose a window that our own reader refuses. */
    zstd.set_compression(context, ZSTD_WINDOW_LOG, size > (size_t)1 << WIDEST_WINDOW_LOG ? WIDEST_WINDOW_LOG : 0);
    size_t written = zstd.compress(context, output->data, output->capacity, data, size);
    if (zstd.is_error(written))
        return zstd.error_code(written) == ZSTD_NO_MEMORY ? CODEC_OUT_OF_MEMORY : CODEC_FAILED;
    output->size = written;
    return CODEC_OK;
}

/* ---------------------------------------------------------------- faces */

static enum codec_result copy(const uint8_t *data, size_t size, struct codec_buffer *output)
{
    output->size = 0;
    enum codec_result result = buffer_reserve(output, size);
    if (result == CODEC_OK && size > 0)
        memcpy(output->data, data, size);
    if (result == CODEC_OK)
        output->size = size;
    return result;
}

enum codec_result codec_decompress(int codec, const uint8_t *data, size_t size, size_t limit,
                                   struct codec_buffer *output)
{
    if (!codec_is_available(codec))
        return CODEC_MISSING;
    if (size > INT32_MAX || limit > INT32_MAX)
        return CODEC_LIMIT_EXCEEDED;
    if (codec == CODEC_NONE)
        return size > limit ? CODEC_LIMIT_EXCEEDED : copy(data, size, output);
    if (size == 0)
        return CODEC_MALFORMED;
    switch (codec) {
    case CODEC_GZIP:
        return gzip_decompress(data, size, limit, output);
    case CODEC_SNAPPY:
        return snappy_decompress(data, size, limit, output);
    case CODEC_LZ4:
        return lz4_decompress(data, size, limit, output);
    default:
        return zstd_decompress(data, size, limit, output);
    }
}

enum codec_result codec_compress(int codec, int32_t level, const uint8_t *data, size_t size,
                                 struct codec_buffer *output)
{
    if (!codec_is_available(codec))
        return CODEC_MISSING;
    if (size > INT32_MAX - (INT32_MAX >> 4))       /* every bound still fits an int32 */
        return CODEC_LIMIT_EXCEEDED;
    switch (codec) {
    case CODEC_NONE:
        return copy(data, size, output);
    case CODEC_GZIP:
        return gzip_compress(level, data, size, output);
    case CODEC_SNAPPY:
        return snappy_compress(data, size, output);
    case CODEC_LZ4:
        return lz4_compress(level, data, size, output);
    default:
        return zstd_compress(level, data, size, output);
    }
}
