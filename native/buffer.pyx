# cython: binding=False, always_allow_keywords=False
"""The bounds-checked cursor that every byte from outside is read through, the growing output, and their Python faces.

Kafka's encodings (protocol guide, KIP-482; all integers big-endian, two's complement):

    string          int16 length, bytes               -1: null        compact: unsigned varint length + 1, 0: null
    bytes, records  int32 length, bytes               -1: null        compact: unsigned varint length + 1, 0: null
    array           int32 count, elements             -1: null        compact: unsigned varint count + 1, 0: null
    unsigned varint 7 bits a byte, least first, high bit: more follow; at most 5 bytes.   varint, varlong: zig-zag first
    tagged fields   unsigned varint count, then for each, in ascending order: unsigned varint tag, unsigned varint size, bytes
    nullable struct int8, -1: null, 1: the struct follows

Every failed read leaves the cursor where the value began, but for the counts and lengths inside a tagged-field section.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from cpython.ref cimport Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT16_MAX, INT32_MAX, INT64_MAX, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove
from pystream._native.status cimport LIMIT_EXCEEDED, MALFORMED, OK, OUT_OF_MEMORY, TRUNCATED, Status, raise_for_status

cdef extern from *:
    uint16_t bswap16 "__builtin_bswap16"(uint16_t) noexcept nogil
    uint32_t bswap32 "__builtin_bswap32"(uint32_t) noexcept nogil
    uint64_t bswap64 "__builtin_bswap64"(uint64_t) noexcept nogil

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

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
    return take_sized(cursor, start, length, field, size)


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


# ---------------------------------------------------------------------------------------------------------------- reader

# Array elements that one input may announce in all: far above any real message (a full metadata response of 200,000 partitions
# holds 1.4 million), and far below what would fill the memory with objects of one byte each.
ELEMENT_LIMIT = 1 << 22


cdef class Reader:
    """Reads Kafka's primitive types off any bytes-like object, front to back.

    Every malformed input raises MalformedInput (common.errors), before any memory is taken for what it announces.
    The object read from is held as long as the Reader or any `records` view lives, and must not change meanwhile.
    """

    def __cinit__(self, data, *, int64_t element_limit=ELEMENT_LIMIT):
        self.memory = PyMemoryView_FromObject(data)
        cdef Py_buffer *view = PyMemoryView_GET_BUFFER(self.memory)
        if view.ndim != 1 or view.itemsize != 1 or view.format[0] != b"B" or view.strides[0] != 1:
            self.memory = self.memory.cast("B")  # TypeError when it is not contiguous
            view = PyMemoryView_GET_BUFFER(self.memory)
        cursor_over(&self.cursor, <const uint8_t *>view.buf, view.len)
        self.elements_left = element_limit

    @property
    def position(self):
        """Bytes read so far."""
        return self.cursor.position

    @property
    def remaining(self):
        """Bytes left."""
        return self.cursor.end - self.cursor.position

    def finish(self):
        """Raise MalformedInput unless everything was read."""
        if self.cursor.position != self.cursor.end:
            raise_for_status(MALFORMED, self.cursor.position, f"{self.cursor.end - self.cursor.position} bytes too many")

    def int8(self):
        """-128 to 127."""
        cdef int8_t value = 0
        if read_int8(&self.cursor, &value) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "int8")
        return value

    def int16(self):
        """-32768 to 32767; also error codes."""
        cdef int16_t value = 0
        if read_int16(&self.cursor, &value) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "int16")
        return value

    def int32(self):
        """-2**31 to 2**31 - 1."""
        cdef int32_t value = 0
        if read_int32(&self.cursor, &value) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "int32")
        return value

    def int64(self):
        """-2**63 to 2**63 - 1."""
        cdef int64_t value = 0
        if read_int64(&self.cursor, &value) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "int64")
        return value

    def uint16(self):
        """0 to 65535."""
        cdef int16_t value = 0
        if read_int16(&self.cursor, &value) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "uint16")
        return <uint16_t>value

    def uint32(self):
        """0 to 2**32 - 1."""
        cdef int32_t value = 0
        if read_int32(&self.cursor, &value) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "uint32")
        return <uint32_t>value

    def float64(self):
        """IEEE 754 double."""
        cdef int64_t raw = 0
        cdef double value = 0
        if read_int64(&self.cursor, &raw) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "float64")
        memcpy(&value, &raw, 8)
        return value

    def boolean(self):
        """False for a zero byte, True for any other."""
        cdef int8_t value = 0
        if read_int8(&self.cursor, &value) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "boolean")
        return value != 0

    def uuid(self):
        """Sixteen bytes."""
        cdef const uint8_t *field = NULL
        if take(&self.cursor, 16, &field) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "uuid")
        return PyBytes_FromStringAndSize(<const char *>field, 16)

    def unsigned_varint(self):
        """0 to 2**32 - 1, in at most 5 bytes."""
        cdef uint32_t value = 0
        raise_for_status(read_unsigned_varint(&self.cursor, &value), self.cursor.position, "unsigned varint")
        return value

    def varint(self):
        """-2**31 to 2**31 - 1, zig-zag, in at most 5 bytes."""
        cdef int32_t value = 0
        raise_for_status(read_varint(&self.cursor, &value), self.cursor.position, "varint")
        return value

    def varlong(self):
        """-2**63 to 2**63 - 1, zig-zag, in at most 10 bytes."""
        cdef int64_t value = 0
        raise_for_status(read_varlong(&self.cursor, &value), self.cursor.position, "varlong")
        return value

    def string(self):
        """Text after an int16 length; null is malformed."""
        return self.text(False, False)

    def nullable_string(self):
        """Text after an int16 length, or None."""
        return self.text(False, True)

    def compact_string(self):
        """Text after a varint length; null is malformed."""
        return self.text(True, False)

    def compact_nullable_string(self):
        """Text after a varint length, or None."""
        return self.text(True, True)

    def bytes(self):
        """A copy of the bytes after an int32 length; null is malformed."""
        return self.copied(False, False)

    def nullable_bytes(self):
        """A copy of the bytes after an int32 length, or None."""
        return self.copied(False, True)

    def compact_bytes(self):
        """A copy of the bytes after a varint length; null is malformed."""
        return self.copied(True, False)

    def compact_nullable_bytes(self):
        """A copy of the bytes after a varint length, or None."""
        return self.copied(True, True)

    def records(self):
        """View of the bytes after an int32 length; null is malformed."""
        return self.viewed(False, False)

    def nullable_records(self):
        """View of the bytes after an int32 length, or None."""
        return self.viewed(False, True)

    def compact_records(self):
        """View of the bytes after a varint length; null is malformed."""
        return self.viewed(True, False)

    def compact_nullable_records(self):
        """View of the bytes after a varint length, or None."""
        return self.viewed(True, True)

    def array_count(self, Py_ssize_t smallest_element_size):
        """Number of elements, after an int32; bounded by the bytes left.  Null is malformed."""
        return self.count(False, False, smallest_element_size)

    def nullable_array_count(self, Py_ssize_t smallest_element_size):
        """Number of elements, after an int32; bounded by the bytes left.  -1 for null."""
        return self.count(False, True, smallest_element_size)

    def compact_array_count(self, Py_ssize_t smallest_element_size):
        """Number of elements, after a varint; bounded by the bytes left.  Null is malformed."""
        return self.count(True, False, smallest_element_size)

    def compact_nullable_array_count(self, Py_ssize_t smallest_element_size):
        """Number of elements, after a varint; bounded by the bytes left.  -1 for null."""
        return self.count(True, True, smallest_element_size)

    def int8_array(self, bint compact, bint nullable):
        """List of int8, or None where null is allowed."""
        return self.integers(1, compact, nullable)

    def int16_array(self, bint compact, bint nullable):
        """List of int16, or None where null is allowed."""
        return self.integers(2, compact, nullable)

    def int32_array(self, bint compact, bint nullable):
        """List of int32, or None where null is allowed."""
        return self.integers(4, compact, nullable)

    def int64_array(self, bint compact, bint nullable):
        """List of int64, or None where null is allowed."""
        return self.integers(8, compact, nullable)

    def uuid_array(self, bint compact, bint nullable):
        """List of 16-byte identifiers, or None where null is allowed."""
        cdef int32_t count = self.count(compact, nullable, 16)
        return None if count < 0 else [self.uuid() for _ in range(count)]

    def string_array(self, bint compact, bint nullable):
        """List of texts, or None where null is allowed; no element is null."""
        cdef int32_t count = self.count(compact, nullable, 1 if compact else 2)
        return None if count < 0 else [self.text(compact, False) for _ in range(count)]

    def is_present(self):
        """Marker before a nullable struct: True when the struct follows.  Source: KIP-893."""
        cdef int8_t value = 0
        if read_int8(&self.cursor, &value) != OK:
            raise_for_status(TRUNCATED, self.cursor.position, "marker of a nullable struct")
        return value >= 0

    def skip_tagged_fields(self):
        """Step over a section of tagged fields none of which is known."""
        cdef uint8_t first = 1
        if self.cursor.position < self.cursor.end:
            first = self.cursor.data[self.cursor.position]
        if first == 0:                           # by far the most common section
            self.cursor.position += 1
            return
        raise_for_status(skip_tagged_fields(&self.cursor), self.cursor.position, "tagged fields")

    def tagged_fields(self, uint32_t known):
        """The tagged fields whose bit is set in `known`, as {tag: Reader of just that field}; None when there is none."""
        cdef uint32_t count = 0
        cdef uint32_t size = 0
        cdef int64_t tag = -1
        cdef const uint8_t *field = NULL
        cdef dict found = None
        cdef Reader inner
        cdef Status status = read_tag_count(&self.cursor, &count)
        while status == OK and count > 0:
            status = read_tag(&self.cursor, tag, &tag, &field, &size)
            count -= 1
            if status == OK and tag < 32 and (known >> tag) & 1:
                inner = Reader.__new__(Reader, self.memory[self.cursor.position - size:self.cursor.position],
                                       element_limit=self.elements_left)
                if found is None:
                    found = {}
                found[tag] = inner
        raise_for_status(status, self.cursor.position, "tagged fields")
        return found

    cdef text(self, bint compact, bint nullable):
        cdef const uint8_t *field = NULL
        cdef int32_t size = 0
        cdef Status status = read_string(&self.cursor, compact, &field, &size)
        if status != OK:
            raise_for_status(status, self.cursor.position, "string")
        if field == NULL:
            return self.null_of("string", nullable)
        try:
            return PyUnicode_DecodeUTF8(<const char *>field, size, NULL)
        except UnicodeDecodeError:
            raise_for_status(MALFORMED, self.cursor.position - size, "string that is not UTF-8")

    cdef copied(self, bint compact, bint nullable):
        cdef const uint8_t *field = NULL
        cdef int32_t size = 0
        cdef Status status = read_bytes(&self.cursor, compact, &field, &size)
        if status != OK:
            raise_for_status(status, self.cursor.position, "bytes")
        if field == NULL:
            return self.null_of("bytes", nullable)
        return PyBytes_FromStringAndSize(<const char *>field, size)

    cdef viewed(self, bint compact, bint nullable):
        cdef const uint8_t *field = NULL
        cdef int32_t size = 0
        cdef Status status = read_bytes(&self.cursor, compact, &field, &size)
        if status != OK:
            raise_for_status(status, self.cursor.position, "records")
        if field == NULL:
            return self.null_of("records", nullable)
        return self.memory[self.cursor.position - size:self.cursor.position]

    cdef null_of(self, str what, bint nullable):
        if not nullable:
            raise_for_status(MALFORMED, self.cursor.position, f"{what} that must not be null")
        return None

    cdef int32_t count(self, bint compact, bint nullable, Py_ssize_t smallest_element_size) except? -2:
        cdef int32_t count = 0
        cdef Status status = MALFORMED
        if smallest_element_size >= 1:
            status = read_array_count(&self.cursor, compact, smallest_element_size, &count)
        if status == OK and count < 0 and not nullable:
            raise_for_status(MALFORMED, self.cursor.position, "array that must not be null")
        if status == OK and count > 0:
            self.elements_left -= count
            if self.elements_left < 0:
                raise_for_status(MALFORMED, self.cursor.position, f"array of {count} elements, more than are allowed in all")
        if status != OK:
            raise_for_status(status, self.cursor.position, "array count")
        return count

    cdef integers(self, Py_ssize_t size, bint compact, bint nullable):
        cdef int32_t count = self.count(compact, nullable, size)
        cdef int8_t small = 0
        cdef int16_t medium = 0
        cdef int32_t large = 0
        cdef int64_t huge = 0
        cdef Py_ssize_t index
        cdef list values
        cdef object value
        if count < 0:
            return None
        values = PyList_New(count)
        for index in range(count):               # count x size bytes are known to be there
            if size == 4:
                read_int32(&self.cursor, &large)
                value = large
            elif size == 8:
                read_int64(&self.cursor, &huge)
                value = huge
            elif size == 2:
                read_int16(&self.cursor, &medium)
                value = medium
            else:
                read_int8(&self.cursor, &small)
                value = small
            Py_INCREF(value)
            PyList_SET_ITEM(values, index, value)
        return values


# ---------------------------------------------------------------------------------------------------------------- writer


cdef class Writer:
    """Writes Kafka's primitive types one after the other.

    A value outside of its type's range raises OverflowError, None where null is not allowed TypeError: both are the caller's bug.
    Growing past `limit` bytes, a string above 32,767 bytes and lack of memory show in getvalue().
    """

    def __cinit__(self, *, Py_ssize_t limit=INT32_MAX):
        output_init(&self.output, limit)

    def __dealloc__(self):
        output_free(&self.output)

    @property
    def size(self):
        """Bytes written so far."""
        return self.output.size

    def getvalue(self):
        """A copy of everything written.  Raises LimitExceeded or MemoryError when a write failed."""
        raise_for_status(self.output.status, self.output.size, "output")
        return PyBytes_FromStringAndSize(<const char *>self.output.data, self.output.size)

    def clear(self):
        """Forget everything written, and any failure; keep the memory."""
        output_clear(&self.output)

    def int8(self, int8_t value):
        """-128 to 127."""
        write_int8(&self.output, value)

    def int16(self, int16_t value):
        """-32768 to 32767; also error codes."""
        write_int16(&self.output, value)

    def int32(self, int32_t value):
        """-2**31 to 2**31 - 1."""
        write_int32(&self.output, value)

    def int64(self, int64_t value):
        """-2**63 to 2**63 - 1."""
        write_int64(&self.output, value)

    def uint16(self, uint16_t value):
        """0 to 65535."""
        write_int16(&self.output, <int16_t>value)

    def uint32(self, uint32_t value):
        """0 to 2**32 - 1."""
        write_int32(&self.output, <int32_t>value)

    def float64(self, double value):
        """IEEE 754 double."""
        cdef int64_t raw
        memcpy(&raw, &value, 8)
        write_int64(&self.output, raw)

    def boolean(self, bint value):
        """One byte, 0 or 1."""
        write_int8(&self.output, 1 if value else 0)

    def uuid(self, bytes value not None):
        """Sixteen bytes.  Raises ValueError for any other size."""
        if PyBytes_GET_SIZE(value) != 16:
            raise ValueError(f"identifier of {len(value)} bytes, expected 16")
        write_raw(&self.output, <const uint8_t *>PyBytes_AS_STRING(value), 16)

    def unsigned_varint(self, uint32_t value):
        """0 to 2**32 - 1."""
        write_unsigned_varint(&self.output, value)

    def varint(self, int32_t value):
        """-2**31 to 2**31 - 1, zig-zag."""
        write_varint(&self.output, value)

    def varlong(self, int64_t value):
        """-2**63 to 2**63 - 1, zig-zag."""
        write_varlong(&self.output, value)

    def raw(self, value):
        """The bytes as they are, without a length."""
        self.buffer(value, False, False)

    def string(self, str value not None):
        """Text after an int16 length."""
        self.text(value, False)

    def nullable_string(self, str value):
        """Text after an int16 length; None is -1."""
        self.text(value, False)

    def compact_string(self, str value not None):
        """Text after a varint length."""
        self.text(value, True)

    def compact_nullable_string(self, str value):
        """Text after a varint length; None is 0."""
        self.text(value, True)

    def bytes(self, value not None):
        """Any bytes-like object after an int32 length."""
        self.buffer(value, True, False)

    def nullable_bytes(self, value):
        """Any bytes-like object after an int32 length; None is -1."""
        self.buffer(value, True, False)

    def compact_bytes(self, value not None):
        """Any bytes-like object after a varint length."""
        self.buffer(value, True, True)

    def compact_nullable_bytes(self, value):
        """Any bytes-like object after a varint length; None is 0."""
        self.buffer(value, True, True)

    def array_count(self, int32_t count):
        """Number of elements as an int32; -1 is null."""
        write_int32(&self.output, count)

    def compact_array_count(self, int32_t count):
        """Number of elements as a varint; -1 is null."""
        write_array_count(&self.output, True, count)

    def int8_array(self, values, bint compact):
        """Integers after their count; None is null."""
        cdef int8_t value
        if self.begin_array(values, compact):
            for value in values:
                write_int8(&self.output, value)

    def int16_array(self, values, bint compact):
        """Integers after their count; None is null."""
        cdef int16_t value
        if self.begin_array(values, compact):
            for value in values:
                write_int16(&self.output, value)

    def int32_array(self, values, bint compact):
        """Integers after their count; None is null."""
        cdef int32_t value
        if self.begin_array(values, compact):
            for value in values:
                write_int32(&self.output, value)

    def int64_array(self, values, bint compact):
        """Integers after their count; None is null."""
        cdef int64_t value
        if self.begin_array(values, compact):
            for value in values:
                write_int64(&self.output, value)

    def uuid_array(self, values, bint compact):
        """16-byte identifiers after their count; None is null."""
        if self.begin_array(values, compact):
            for value in values:
                self.uuid(value)

    def string_array(self, values, bint compact):
        """Texts after their count; None is null, but no element may be None."""
        cdef str value
        if self.begin_array(values, compact):
            for value in values:
                if value is None:
                    raise TypeError("a string of an array must not be None")
                self.text(value, compact)

    def presence(self, bint present):
        """Marker before a nullable struct: 1 when the struct follows, else -1.  Source: KIP-893."""
        write_int8(&self.output, 1 if present else -1)

    def no_tagged_fields(self):
        """A section of tagged fields without any."""
        write_int8(&self.output, 0)

    def begin_tagged_fields(self):
        """Open a section of at most 127 tagged fields; returns what begin_tag() asks for.  It is closed by writing on."""
        write_int8(&self.output, 0)
        return self.output.size - 1

    def begin_tag(self, Py_ssize_t section, uint32_t tag):
        """Open the next tagged field of `section`, in ascending order of tags; returns what end_tag() asks for."""
        if section < 0 or section >= self.output.size or self.output.data[section] >= 127:
            raise ValueError(f"no section of tagged fields at {section}")
        self.output.data[section] += 1
        write_unsigned_varint(&self.output, tag)
        return self.output.size

    def end_tag(self, Py_ssize_t start):
        """Close the tagged field that began at `start`: its size is put in front of it."""
        cdef uint8_t[LONGEST_VARLONG] encoded
        cdef Py_ssize_t size = self.output.size - start
        cdef Py_ssize_t prefix
        if start < 0 or size < 0:
            raise ValueError(f"no tagged field begins at {start}")
        prefix = encode_varlong(encoded, <uint64_t>size)
        if output_reserve(&self.output, prefix) != NULL:
            memmove(self.output.data + start + prefix, self.output.data + start, size)
            memcpy(self.output.data + start, encoded, prefix)

    cdef int text(self, str value, bint compact) except -1:
        cdef Py_ssize_t size = -1
        cdef const char *data = NULL
        if value is not None:
            data = PyUnicode_AsUTF8AndSize(value, &size)
        write_string(&self.output, compact, <const uint8_t *>data, <int32_t>min(size, INT32_MAX))
        return 0

    cdef int buffer(self, value, bint sized, bint compact) except -1:
        cdef Py_buffer view
        if value is None:
            write_bytes(&self.output, compact, NULL, -1)
            return 0
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
        if view.len > INT32_MAX:
            fail_output(&self.output, LIMIT_EXCEEDED)
        elif sized:
            write_bytes(&self.output, compact, <const uint8_t *>view.buf, <int32_t>view.len)
        else:
            write_raw(&self.output, <const uint8_t *>view.buf, view.len)
        PyBuffer_Release(&view)
        return 0

    cdef bint begin_array(self, values, bint compact) except -1:
        cdef Py_ssize_t count
        if values is None:
            write_array_count(&self.output, compact, -1)
            return False
        count = len(values)
        if count > INT32_MAX:
            fail_output(&self.output, LIMIT_EXCEEDED)
            return False
        write_array_count(&self.output, compact, <int32_t>count)
        return True
