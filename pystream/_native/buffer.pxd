# Bounds-checked reading and growing output: every byte from the network or the disk is read through Cursor.
#
# Owner of memory: a Cursor owns nothing and never outlives the bytes it looks at. An Output owns `data` (malloc);
# output_free() gives it back. Their Python faces are Reader and Writer of wire.pxd.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from pystream._native.status cimport Status

cdef struct Cursor:
    const uint8_t *data
    Py_ssize_t position
    Py_ssize_t end

cdef struct Output:
    uint8_t *data
    Py_ssize_t size
    Py_ssize_t capacity
    Py_ssize_t limit             # never grows past it; 0 means none
    Status status                # sticky: the first failure; checked once at the end

cdef void cursor_over(Cursor *cursor, const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef Status take(Cursor *cursor, Py_ssize_t size, const uint8_t **field) noexcept nogil
cdef Status read_int8(Cursor *cursor, int8_t *value) noexcept nogil
cdef Status read_int16(Cursor *cursor, int16_t *value) noexcept nogil
cdef Status read_int32(Cursor *cursor, int32_t *value) noexcept nogil
cdef Status read_int64(Cursor *cursor, int64_t *value) noexcept nogil
cdef Status read_unsigned_varint(Cursor *cursor, uint32_t *value) noexcept nogil        # at most 5 bytes
cdef Status read_varint(Cursor *cursor, int32_t *value) noexcept nogil                  # zig-zag, at most 5 bytes
cdef Status read_varlong(Cursor *cursor, int64_t *value) noexcept nogil                 # zig-zag, at most 10 bytes
# Strings and bytes: `flexible` chooses the compact form. A null gives field NULL and size -1. A string that is not UTF-8 is malformed.
cdef Status read_string(Cursor *cursor, bint flexible, const uint8_t **field, int32_t *size) noexcept nogil
cdef Status read_bytes(Cursor *cursor, bint flexible, const uint8_t **field, int32_t *size) noexcept nogil
# count x smallest_element_size is checked against the bytes left. A null array gives -1.
cdef Status read_array_count(Cursor *cursor, bint flexible, Py_ssize_t smallest_element_size, int32_t *count) noexcept nogil
# The same where null is malformed.
cdef Status read_required_string(Cursor *cursor, bint flexible, const uint8_t **field, int32_t *size) noexcept nogil
cdef Status read_required_array_count(Cursor *cursor, bint flexible, Py_ssize_t smallest_element_size, int32_t *count) noexcept nogil
# MALFORMED when bytes are left: nothing may follow a request.
cdef Status expect_end(const Cursor *cursor) noexcept nogil
# Skips a whole tagged-field section; duplicate or descending tags are malformed.
cdef Status skip_tagged_fields(Cursor *cursor) noexcept nogil

# Room for one more item in an array that malloc gave, doubled when `count` fills it. False without memory: it stays as it was.
cdef bint make_room(void **array, int32_t count, int32_t *capacity, size_t item_size) noexcept nogil

cdef void output_init(Output *output, Py_ssize_t limit) noexcept nogil
cdef void output_free(Output *output) noexcept nogil
cdef void output_clear(Output *output) noexcept nogil                                   # keeps the memory
cdef uint8_t *output_reserve(Output *output, Py_ssize_t size) noexcept nogil            # appends `size` bytes to be filled; NULL on failure
cdef void write_raw(Output *output, const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef void write_int8(Output *output, int8_t value) noexcept nogil
cdef void write_int16(Output *output, int16_t value) noexcept nogil
cdef void write_int32(Output *output, int32_t value) noexcept nogil
cdef void write_int64(Output *output, int64_t value) noexcept nogil
cdef void write_unsigned_varint(Output *output, uint32_t value) noexcept nogil
cdef void write_varint(Output *output, int32_t value) noexcept nogil
cdef void write_varlong(Output *output, int64_t value) noexcept nogil
cdef void write_string(Output *output, bint flexible, const uint8_t *data, int32_t size) noexcept nogil   # size -1: null
cdef void write_bytes(Output *output, bint flexible, const uint8_t *data, int32_t size) noexcept nogil    # size -1: null
cdef void write_array_count(Output *output, bint flexible, int32_t count) noexcept nogil                  # -1: null
cdef void patch_int32(Output *output, Py_ssize_t position, int32_t value) noexcept nogil
# For the tagged fields that a codec knows: their number (each takes two bytes or more), then one after the other, in ascending order;
# `previous_tag` is -1 before the first.
cdef Status read_tag_count(Cursor *cursor, uint32_t *count) noexcept nogil
cdef Status read_tag(Cursor *cursor, int64_t previous_tag, int64_t *tag, const uint8_t **field, uint32_t *size) noexcept nogil
# Puts a varint into `field`, which has room for 10 bytes; the number of bytes used.
cdef Py_ssize_t encode_varlong(uint8_t *field, uint64_t value) noexcept nogil
