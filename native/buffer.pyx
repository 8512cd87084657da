"""The bounds-checked cursor that every byte from outside is read through, and the growing output.

Kafka's encodings (protocol guide, KIP-482; all integers big-endian, two's complement):

    string          int16 length, bytes               -1: null        compact: unsigned varint length + 1, 0: null
    bytes, records  int32 length, bytes               -1: null        compact: unsigned varint length + 1, 0: null
    array           int32 count, elements             -1: null        compact: unsigned varint count + 1, 0: null
    unsigned varint 7 bits a byte, least first, high bit: more follow; at most 5 bytes.   varint, varlong: zig-zag first
    tagged fields   unsigned varint count, then for each, in ascending order: unsigned varint tag, unsigned varint size, bytes
    nullable struct int8, -1: null, 1: the struct follows

Every failed read leaves the cursor where the value began, but for the counts and lengths inside a tagged-field section.
"""

from libc.stdint cimport INT16_MAX, INT32_MAX, INT64_MAX, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from pystream._native.status cimport LIMIT_EXCEEDED, MALFORMED, OK, OUT_OF_MEMORY, TRUNCATED, Status

cdef extern from *:
    uint16_t bswap16 "__builtin_bswap16"(uint16_t) noexcept nogil
    uint32_t bswap32 "__builtin_bswap32"(uint32_t) noexcept nogil
    uint64_t bswap64 "__builtin_bswap64"(uint64_t) noexcept nogil

cdef enum:
    FIRST_CAPACITY = 512
    LONGEST_VARINT = 5
    LONGEST_VARLONG = 10


# ---------------------------------------------------------------------------------------------------------------- cursor


cdef void cursor_over(Cursor *cursor, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Stand at the beginning of `size` bytes at `data`."""
    cursor.data = data
    cursor.position = 0
    cursor.end = size


cdef Status take(Cursor *cursor, Py_ssize_t size, const uint8_t **field) noexcept nogil:
    """Step over `size` bytes and point at them; TRUNCATED when fewer are left or `size` is negative."""
    if size < 0 or size > cursor.end - cursor.position:
        return TRUNCATED
    field[0] = cursor.data + cursor.position
    cursor.position += size
    return OK


cdef Status read_int8(Cursor *cursor, int8_t *value) noexcept nogil:
    cdef const uint8_t *field = NULL
    if take(cursor, 1, &field) != OK:
        return TRUNCATED
    value[0] = <int8_t>field[0]
    return OK


cdef Status read_int16(Cursor *cursor, int16_t *value) noexcept nogil:
    cdef const uint8_t *field = NULL
    cdef uint16_t raw
    if take(cursor, 2, &field) != OK:
        return TRUNCATED
    memcpy(&raw, field, 2)
    value[0] = <int16_t>bswap16(raw)
    return OK


cdef Status read_int32(Cursor *cursor, int32_t *value) noexcept nogil:
    cdef const uint8_t *field = NULL
    cdef uint32_t raw
    if take(cursor, 4, &field) != OK:
        return TRUNCATED
    memcpy(&raw, field, 4)
    value[0] = <int32_t>bswap32(raw)
    return OK


cdef Status read_int64(Cursor *cursor, int64_t *value) noexcept nogil:
    cdef const uint8_t *field = NULL
    cdef uint64_t raw
    if take(cursor, 8, &field) != OK:
        return TRUNCATED
    memcpy(&raw, field, 8)
    value[0] = <int64_t>bswap64(raw)
    return OK


cdef Status read_unsigned_varint(Cursor *cursor, uint32_t *value) noexcept nogil:
    """At most 5 bytes, and no bit above the 32nd: MALFORMED otherwise."""
    cdef uint32_t result = 0
    cdef Py_ssize_t index
    cdef Py_ssize_t available = cursor.end - cursor.position
    cdef const uint8_t *field = cursor.data + cursor.position
    for index in range(LONGEST_VARINT):
        if index >= available:
            return TRUNCATED
        if index == LONGEST_VARINT - 1 and field[index] > 0x0F:
            return MALFORMED
        result |= <uint32_t>(field[index] & 0x7F) << (7 * index)
        if field[index] < 0x80:
            break
    cursor.position += index + 1
    value[0] = result
    return OK


cdef Status read_varint(Cursor *cursor, int32_t *value) noexcept nogil:
    cdef uint32_t raw = 0
    cdef Status status = read_unsigned_varint(cursor, &raw)
    if status == OK:
        value[0] = <int32_t>((raw >> 1) ^ (0 - (raw & 1)))
    return status


cdef Status read_varlong(Cursor *cursor, int64_t *value) noexcept nogil:
    """At most 10 bytes, and no bit above the 64th: MALFORMED otherwise."""
    cdef uint64_t result = 0
    cdef Py_ssize_t index
    cdef Py_ssize_t available = cursor.end - cursor.position
    cdef const uint8_t *field = cursor.data + cursor.position
    for index in range(LONGEST_VARLONG):
        if index >= available:
            return TRUNCATED
        if index == LONGEST_VARLONG - 1 and field[index] > 0x01:
            return MALFORMED
        result |= <uint64_t>(field[index] & 0x7F) << (7 * index)
        if field[index] < 0x80:
            break
    cursor.position += index + 1
    value[0] = <int64_t>((result >> 1) ^ (0 - (result & 1)))
    return OK


cdef Status take_sized(Cursor *cursor, Py_ssize_t start, int64_t size, const uint8_t **field, int32_t *field_size) noexcept nogil:
    """The bytes after a length that began at `start`: -1 is null, below that is malformed; goes back to `start` on failure."""
    cdef Status status
    if size == -1:
        field[0] = NULL
        field_size[0] = -1
        return OK
    if size < 0:
        status = MALFORMED
    elif size > INT32_MAX:
        status = TRUNCATED                       # no frame is that large
    else:
        status = take(cursor, <Py_ssize_t>size, field)
        field_size[0] = <int32_t>size
    if status != OK:
        cursor.position = start
    return status


cdef Status read_compact_size(Cursor *cursor, int64_t *size) noexcept nogil:
    cdef uint32_t raw = 0
    cdef Status status = read_unsigned_varint(cursor, &raw)
    size[0] = <int64_t>raw - 1
    return status


cdef bint is_continuation(const uint8_t *text, Py_ssize_t count) noexcept nogil:
    """Whether `count` bytes are all continuation bytes (10xxxxxx)."""
    cdef Py_ssize_t i
    for i in range(count):
        if text[i] & 0xC0 != 0x80:
            return False
    return True


cdef Py_ssize_t sequence_size(const uint8_t *text, Py_ssize_t available) noexcept nogil:
    """Bytes of the character that begins at `text`; 0 when it is not one: cut, over-long, a surrogate, above U+10FFFF."""
    cdef uint8_t first = text[0]
    cdef Py_ssize_t size = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if 0x80 <= first < 0xC2 or first > 0xF4 or size > available or not is_continuation(text + 1, size - 1):
        return 0
    if (first == 0xE0 and text[1] < 0xA0) or (first == 0xED and text[1] > 0x9F):
        return 0
    if (first == 0xF0 and text[1] < 0x90) or (first == 0xF4 and text[1] > 0x8F):
        return 0
    return size


cdef bint is_utf8(const uint8_t *text, Py_ssize_t size) noexcept nogil:
    """As Python's strict decoder sees it (RFC 3629); eight bytes at a time as long as they are ASCII."""
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t step
    cdef uint64_t eight
    while position < size:
        if size - position >= 8:
            memcpy(&eight, text + position, 8)
            if eight & <uint64_t>0x8080808080808080 == 0:
                position += 8
                continue
        step = sequence_size(text + position, size - position)
        if step == 0:
            return False
        position += step
    return True


cdef Status read_string(Cursor *cursor, bint flexible, const uint8_t **field, int32_t *size) noexcept nogil:
    cdef int64_t length = 0
    cdef int16_t legacy_length = 0
    cdef Py_ssize_t start = cursor.position
    cdef Status status
    if flexible:
        status = read_compact_size(cursor, &length)
    else:
        status = read_int16(cursor, &legacy_length)
        length = legacy_length
    if status != OK:
        return status
    if length > INT16_MAX:                       # Kafka's longest string, in either form
        cursor.position = start
        return MALFORMED
    status = take_sized(cursor, start, length, field, size)
    if status == OK and length > 0 and not is_utf8(field[0], length):
        cursor.position = start
        return MALFORMED
    return status


cdef Status read_required_string(Cursor *cursor, bint flexible, const uint8_t **field, int32_t *size) noexcept nogil:
    cdef Status status = read_string(cursor, flexible, field, size)
    return MALFORMED if status == OK and size[0] < 0 else status


cdef Status read_bytes(Cursor *cursor, bint flexible, const uint8_t **field, int32_t *size) noexcept nogil:
    cdef int64_t length = 0
    cdef int32_t legacy_length = 0
    cdef Py_ssize_t start = cursor.position
    cdef Status status
    if flexible:
        status = read_compact_size(cursor, &length)
    else:
        status = read_int32(cursor, &legacy_length)
        length = legacy_length
    if status != OK:
        return status
    return take_sized(cursor, start, length, field, size)


cdef Status read_array_count(Cursor *cursor, bint flexible, Py_ssize_t smallest_element_size, int32_t *count) noexcept nogil:
    """`smallest_element_size` of at least 1, so that no count is larger than the bytes left."""
    cdef int64_t announced = 0
    cdef int32_t legacy_count = 0
    cdef Py_ssize_t start = cursor.position
    cdef Status status
    if flexible:
        status = read_compact_size(cursor, &announced)
    else:
        status = read_int32(cursor, &legacy_count)
        announced = legacy_count
    if status == OK and announced < -1:
        status = MALFORMED
    if status == OK and announced > (cursor.end - cursor.position) // smallest_element_size:
        status = TRUNCATED
    if status == OK and announced > INT32_MAX:
        status = LIMIT_EXCEEDED
    if status != OK:
        cursor.position = start
        return status
    count[0] = <int32_t>announced
    return OK


cdef Status read_required_array_count(Cursor *cursor, bint flexible, Py_ssize_t smallest_element_size, int32_t *count) noexcept nogil:
    cdef Status status = read_array_count(cursor, flexible, smallest_element_size, count)
    return MALFORMED if status == OK and count[0] < 0 else status


cdef Status expect_end(const Cursor *cursor) noexcept nogil:
    return OK if cursor.position == cursor.end else MALFORMED


cdef Status read_tag_count(Cursor *cursor, uint32_t *count) noexcept nogil:
    """Number of tagged fields, each of which takes at least two bytes."""
    cdef Py_ssize_t start = cursor.position
    cdef Status status = read_unsigned_varint(cursor, count)
    if status == OK and count[0] > (cursor.end - cursor.position) // 2:
        cursor.position = start
        return TRUNCATED
    return status


cdef Status read_tag(Cursor *cursor, int64_t previous_tag, int64_t *tag, const uint8_t **field, uint32_t *size) noexcept nogil:
    """One tagged field; its tag must be above `previous_tag` (-1 before the first)."""
    cdef uint32_t raw = 0
    cdef Status status = read_unsigned_varint(cursor, &raw)
    if status == OK and raw <= previous_tag:
        status = MALFORMED
    if status == OK:
        tag[0] = raw
        status = read_unsigned_varint(cursor, size)
    if status == OK:
        status = take(cursor, size[0], field)
    return status


cdef Status skip_tagged_fields(Cursor *cursor) noexcept nogil:
    cdef uint32_t count = 0
    cdef uint32_t size = 0
    cdef int64_t tag = -1
    cdef const uint8_t *field = NULL
    cdef Status status = read_tag_count(cursor, &count)
    while status == OK and count > 0:
        status = read_tag(cursor, tag, &tag, &field, &size)
        count -= 1
    return status


# ---------------------------------------------------------------------------------------------------------------- output


cdef bint make_room(void **array, int32_t count, int32_t *capacity, size_t item_size) noexcept nogil:
    cdef int32_t wanted = capacity[0] * 2 if capacity[0] > 0 else 1
    cdef void *grown
    if count < capacity[0]:
        return True
    grown = realloc(array[0], wanted * item_size)
    if grown == NULL:
        return False
    array[0] = grown
    capacity[0] = wanted
    return True


cdef void output_init(Output *output, Py_ssize_t limit) noexcept nogil:
    output.data = NULL
    output.size = 0
    output.capacity = 0
    output.limit = limit
    output.status = OK


cdef void output_free(Output *output) noexcept nogil:
    free(output.data)
    output_init(output, output.limit)


cdef void output_clear(Output *output) noexcept nogil:
    output.size = 0
    output.status = OK


cdef void fail_output(Output *output, Status status) noexcept nogil:
    if output.status == OK:
        output.status = status


cdef bint grow(Output *output, Py_ssize_t size) noexcept nogil:
    """Make room for `size` more bytes, by doubling; False leaves the reason in the output."""
    cdef Py_ssize_t capacity = output.capacity if output.capacity else FIRST_CAPACITY
    cdef uint8_t *data
    while capacity - output.size < size:
        if capacity > INT64_MAX // 2:
            fail_output(output, OUT_OF_MEMORY)
            return False
        capacity *= 2
    data = <uint8_t *>realloc(output.data, capacity)
    if data == NULL:
        fail_output(output, OUT_OF_MEMORY)
        return False
    output.data = data
    output.capacity = capacity
    return True


cdef uint8_t *output_reserve(Output *output, Py_ssize_t size) noexcept nogil:
    cdef uint8_t *field
    if output.status != OK:
        return NULL
    if size < 0 or (output.limit and size > output.limit - output.size):
        fail_output(output, LIMIT_EXCEEDED)
        return NULL
    if size > output.capacity - output.size and not grow(output, size):
        return NULL
    field = output.data + output.size
    output.size += size
    return field


cdef void write_raw(Output *output, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    cdef uint8_t *field = output_reserve(output, size)
    if field != NULL and size > 0:
        memcpy(field, data, size)


cdef void write_int8(Output *output, int8_t value) noexcept nogil:
    cdef uint8_t *field = output_reserve(output, 1)
    if field != NULL:
        field[0] = <uint8_t>value


cdef void write_int16(Output *output, int16_t value) noexcept nogil:
    cdef uint16_t raw = bswap16(<uint16_t>value)
    cdef uint8_t *field = output_reserve(output, 2)
    if field != NULL:
        memcpy(field, &raw, 2)


cdef void write_int32(Output *output, int32_t value) noexcept nogil:
    cdef uint32_t raw = bswap32(<uint32_t>value)
    cdef uint8_t *field = output_reserve(output, 4)
    if field != NULL:
        memcpy(field, &raw, 4)


cdef void write_int64(Output *output, int64_t value) noexcept nogil:
    cdef uint64_t raw = bswap64(<uint64_t>value)
    cdef uint8_t *field = output_reserve(output, 8)
    if field != NULL:
        memcpy(field, &raw, 8)


cdef Py_ssize_t encode_varlong(uint8_t *field, uint64_t value) noexcept nogil:
    """Put 7 bits a byte into `field`, which has room for 10; the number of bytes used."""
    cdef Py_ssize_t size = 0
    while value >= 0x80:
        field[size] = <uint8_t>(value | 0x80)
        value >>= 7
        size += 1
    field[size] = <uint8_t>value
    return size + 1


cdef void write_unsigned_varint(Output *output, uint32_t value) noexcept nogil:
    cdef uint8_t[LONGEST_VARLONG] encoded
    if value < 0x80:
        write_int8(output, <int8_t>value)
        return
    write_raw(output, encoded, encode_varlong(encoded, value))


cdef void write_varint(Output *output, int32_t value) noexcept nogil:
    write_unsigned_varint(output, (<uint32_t>value << 1) ^ <uint32_t>(value >> 31))


cdef void write_varlong(Output *output, int64_t value) noexcept nogil:
    cdef uint8_t[LONGEST_VARLONG] encoded
    write_raw(output, encoded, encode_varlong(encoded, (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)))


cdef void write_string(Output *output, bint flexible, const uint8_t *data, int32_t size) noexcept nogil:
    if size < -1 or size > INT16_MAX:            # Kafka's longest string, in either form
        fail_output(output, LIMIT_EXCEEDED)
        return
    if flexible:
        write_unsigned_varint(output, <uint32_t>size + 1)
    else:
        write_int16(output, <int16_t>size)
    if size > 0:
        write_raw(output, data, size)


cdef void write_bytes(Output *output, bint flexible, const uint8_t *data, int32_t size) noexcept nogil:
    if size < -1:
        fail_output(output, LIMIT_EXCEEDED)
        return
    if flexible:
        write_unsigned_varint(output, <uint32_t>size + 1)
    else:
        write_int32(output, size)
    if size > 0:
        write_raw(output, data, size)


cdef void write_array_count(Output *output, bint flexible, int32_t count) noexcept nogil:
    if flexible:
        write_unsigned_varint(output, <uint32_t>count + 1)
    else:
        write_int32(output, count)


cdef void patch_int32(Output *output, Py_ssize_t position, int32_t value) noexcept nogil:
    """Overwrite four bytes written before; a failed output, or a position outside of it, is left as it is."""
    cdef uint32_t raw = bswap32(<uint32_t>value)
    if output.status != OK:
        return
    if position < 0 or position > output.size - 4:
        fail_output(output, MALFORMED)
        return
    memcpy(output.data + position, &raw, 4)
