# gzip, snappy, lz4 and zstd of record batches, with an output limit; the codecs are in native/c/codecs.c.
#
# Thread-safe: contexts belong to threads. Memory: a codec_buffer is the caller's; zero it, use it for any number of
# calls (each replaces its contents, data[0:size]), give its memory back with codec_buffer_free().

from libc.stdint cimport int32_t, uint8_t
from pystream._native.status cimport Status

cdef enum:
    NO_CODEC = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4
    DEFAULT_LEVEL = -0x7FFFFFFF - 1

cdef extern from "codecs.h" nogil:
    cdef struct codec_buffer:
        uint8_t *data
        size_t size
        size_t capacity

# OK; MALFORMED; LIMIT_EXCEEDED when there are more than `limit` bytes or a window above 8 MiB; UNSUPPORTED_COMPRESSION
# for an unknown codec and for one whose library is not installed; OUT_OF_MEMORY. Never takes more than limit + 1 bytes
# for the output.
cdef Status decompress_into(
    int codec, const uint8_t *data, Py_ssize_t size, Py_ssize_t limit, codec_buffer *output) noexcept nogil
cdef Status compress_into(
    int codec, int32_t level, const uint8_t *data, Py_ssize_t size, codec_buffer *output) noexcept nogil
cdef void release_buffer(codec_buffer *buffer) noexcept nogil
# What `size` compressed bytes may become: min(100 MiB, 1,000 x size but at least 16 MiB, topic_limit where > 0).
cdef Py_ssize_t decompression_limit(Py_ssize_t size, Py_ssize_t topic_limit) noexcept nogil
# The level as compress_into() takes it; raises ValueError outside the codec's bounds. None gives DEFAULT_LEVEL.
cpdef int level_of(int codec, object level) except? -1
