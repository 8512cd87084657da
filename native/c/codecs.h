/* gzip, snappy, lz4 and zstd as record batches use them, over the system's libraries, opened at run time. */
#ifndef PYSTREAM_CODECS_H
#define PYSTREAM_CODECS_H

#include <stddef.h>
#include <stdint.h>

enum codec {
    CODEC_NONE = 0,
    CODEC_GZIP = 1,
    CODEC_SNAPPY = 2,
    CODEC_LZ4 = 3,
    CODEC_ZSTD = 4,
    CODEC_COUNT = 5
};

enum codec_result {
    CODEC_OK = 0,
    CODEC_MALFORMED = 1,             /* the input is not what the codec writes, or it is cut short */
    CODEC_LIMIT_EXCEEDED = 2,        /* the output would pass the limit, or the frame asks for a window above 8 MiB */
    CODEC_OUT_OF_MEMORY = 3,
    CODEC_MISSING = 4,               /* unknown codec, or its library is not installed */
    CODEC_FAILED = 5                 /* the library refused to compress */
};

#define CODEC_DEFAULT_LEVEL INT32_MIN

/* A growing piece of memory that can be used again and again: start with all fields 0, end with codec_buffer_free(). */
struct codec_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void codec_buffer_free(struct codec_buffer *buffer);

/* Replace the contents of `output`. All of them are thread-safe as long as two threads do not share one buffer.
 * Decompression never takes more than limit + 1 bytes of output memory, whatever the input claims. */
enum codec_result codec_decompress(int codec, const uint8_t *data, size_t size, size_t limit,
                                   struct codec_buffer *output);
enum codec_result codec_compress(int codec, int32_t level, const uint8_t *data, size_t size,
                                 struct codec_buffer *output);

/* Whether the codec's library can be opened (always true for CODEC_NONE), and what to install where it cannot. */
int codec_is_available(int codec);
const char *codec_library_name(int codec);
const char *codec_package_name(int codec);

#endif
