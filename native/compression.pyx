"""gzip, snappy, lz4 and zstd of record batches, with an output limit; the codecs are in native/c/codecs.c.

Source: KIP-110 (zstd), KIP-390 (levels), KIP-57 (lz4 frames), the Java client for snappy's framing.
"""

from enum import IntEnum

from libc.stdint cimport int32_t, uint8_t
from pystream._native.status cimport (
    LIMIT_EXCEEDED, MALFORMED, OK, OUT_OF_MEMORY, UNSUPPORTED_COMPRESSION, Status, raise_for_status)

cdef extern from "codecs.h" nogil:
    cdef enum codec_result:
        CODEC_OK
        CODEC_MALFORMED
        CODEC_LIMIT_EXCEEDED
        CODEC_OUT_OF_MEMORY
        CODEC_MISSING
        CODEC_FAILED
    void codec_buffer_free(codec_buffer *buffer)
    codec_result codec_decompress(int codec, const uint8_t *data, size_t size, size_t limit, codec_buffer *output)
    codec_result codec_compress(int codec, int32_t level, const uint8_t *data, size_t size, codec_buffer *output)
    int codec_is_available(int codec)
    const char *codec_library_name(int codec)
    const char *codec_package_name(int codec)

cdef enum:
    HIGHEST_OUTPUT = 100 << 20
    HIGHEST_RATIO = 1000
    ALWAYS_ALLOWED = 16 << 20            # a few bytes of zstd can honestly stand for a whole batch of zeros


class Codec(IntEnum):
    """The codec bits of a record batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


DEFAULT_LIMIT = HIGHEST_OUTPUT
_KAFKA_DEFAULTS = {Codec.GZIP: -1, Codec.LZ4: 9, Codec.ZSTD: 3}
_LEVELS = {Codec.GZIP: (1, 9), Codec.LZ4: (1, 17), Codec.ZSTD: (-131072, 22)}


cdef Status status_of(codec_result result) noexcept nogil:
    if result == CODEC_OK:
        return OK
    if result == CODEC_MALFORMED:
        return MALFORMED
    if result == CODEC_LIMIT_EXCEEDED:
        return LIMIT_EXCEEDED
    if result == CODEC_OUT_OF_MEMORY:
        return OUT_OF_MEMORY
    return UNSUPPORTED_COMPRESSION


cdef Status decompress_into(
        int codec, const uint8_t *data, Py_ssize_t size, Py_ssize_t limit, codec_buffer *output) noexcept nogil:
    if size < 0 or limit < 0:
        return MALFORMED
    return status_of(codec_decompress(codec, data, size, limit, output))


cdef Status compress_into(
        int codec, int32_t level, const uint8_t *data, Py_ssize_t size, codec_buffer *output) noexcept nogil:
    if size < 0:
        return MALFORMED
    return status_of(codec_compress(codec, level, data, size, output))


cdef void release_buffer(codec_buffer *buffer) noexcept nogil:
    codec_buffer_free(buffer)


cdef Py_ssize_t decompression_limit(Py_ssize_t size, Py_ssize_t topic_limit) noexcept nogil:
    cdef Py_ssize_t limit = HIGHEST_OUTPUT
    if size < HIGHEST_OUTPUT // HIGHEST_RATIO:
        limit = size * HIGHEST_RATIO if size * HIGHEST_RATIO > ALWAYS_ALLOWED else ALWAYS_ALLOWED
    return topic_limit if 0 < topic_limit < limit else limit


cdef object refuse(int codec):
    """Raise what explains UNSUPPORTED_COMPRESSION: an unknown codec, or the package to install."""
    from pystream.common.errors import UnsupportedCompressionType

    if codec < 0 or codec > ZSTD:
        raise UnsupportedCompressionType(f"codec {codec} is unknown; record batches know 0 to {ZSTD}")
    library = codec_library_name(codec).decode()
    package = codec_package_name(codec).decode()
    name = Codec(codec).name.lower()
    raise UnsupportedCompressionType(f"{name} needs {library}; on Debian: apt-get install {package}")


cdef object result_of(Status status, int codec, codec_buffer *output, str what):
    try:
        if status == UNSUPPORTED_COMPRESSION:
            refuse(codec)
        raise_for_status(status, 0, what)
        return output.data[:output.size]
    finally:
        codec_buffer_free(output)


def is_available(int codec):
    """Whether `codec` is known and its library can be opened."""
    return codec_is_available(codec) != 0


def limit_for(Py_ssize_t size, Py_ssize_t topic_limit=0):
    """What `size` compressed bytes may become: min(100 MiB, max(16 MiB, 1,000 x size), topic_limit where > 0)."""
    return decompression_limit(size, topic_limit)


def decompress(const uint8_t[::1] data not None, int codec, *, Py_ssize_t limit=DEFAULT_LIMIT):
    """The bytes that `data` stands for, at most `limit` of them.  Never takes more than that much memory for them.

    Raises MalformedInput for damaged input, LimitExceeded above the limit or for a zstd window above 8 MiB, and
    UnsupportedCompressionType for an unknown codec or one whose library is not installed.
    """
    cdef codec_buffer output
    cdef Status status
    cdef Py_ssize_t size = data.shape[0]
    cdef const uint8_t *first = &data[0] if size > 0 else NULL
    output.data = NULL
    output.size = output.capacity = 0
    if limit < 0:
        raise ValueError(f"limit must not be negative, it is {limit}")
    with nogil:
        status = decompress_into(codec, first, size, limit, &output)
    return result_of(status, codec, &output, "compressed records")


def compress(const uint8_t[::1] data not None, int codec, *, level=None):
    """`data` in the framing that Kafka's clients read; `level` None means the codec's own default.

    Levels are those of Kafka's compression.*.level: gzip 1 to 9 (-1 the default), lz4 1 to 17 (9 the default, which is
    the fast compressor; above 2 all others are slow), zstd -131072 to 22 (3 the default); the others have none.  Raises
    ValueError for a level the codec does not have, and UnsupportedCompressionType as decompress() does.
    """
    cdef codec_buffer output
    cdef Status status
    cdef Py_ssize_t size = data.shape[0]
    cdef const uint8_t *first = &data[0] if size > 0 else NULL
    cdef int32_t wanted = level_of(codec, level)
    output.data = NULL
    output.size = output.capacity = 0
    with nogil:
        status = compress_into(codec, wanted, first, size, &output)
    return result_of(status, codec, &output, "records to compress")


cpdef int level_of(int codec, object level) except? -1:
    """The level as compress_into() takes it, DEFAULT_LEVEL for None.  Raises ValueError outside the codec's bounds."""
    if level is None:
        return DEFAULT_LEVEL
    if codec not in _LEVELS:
        raise ValueError(f"codec {codec} has no levels, {level} was given")
    if level == _KAFKA_DEFAULTS[codec]:
        return DEFAULT_LEVEL
    lowest, highest = _LEVELS[codec]
    if not lowest <= level <= highest:
        raise ValueError(f"level {level} is outside {lowest} to {highest} of codec {codec}")
    return level
