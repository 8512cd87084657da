# cython: binding=False, always_allow_keywords=False
"""Reader and Writer: Kafka's primitive types off bytes and onto bytes, for the generated codecs.  Encodings: native/buffer.pyx.

binding=False and always_allow_keywords=False let the interpreter call a method of no or one argument as a plain C function.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from cpython.ref cimport Py_INCREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT32_MAX, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove
from pystream._native.buffer cimport (
    cursor_over, encode_varlong, output_clear, output_free, output_init, output_reserve, read_array_count, read_bytes, read_int8,
    read_int16, read_int32, read_int64, read_string, read_tag, read_tag_count, read_unsigned_varint, read_varint, read_varlong,
    skip_tagged_fields, take, write_array_count, write_bytes, write_int8, write_int16, write_int32, write_int64, write_raw, write_string,
    write_unsigned_varint, write_varint, write_varlong,
)
from pystream._native.status cimport LIMIT_EXCEEDED, MALFORMED, OK, TRUNCATED, Status, raise_for_status

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum:
    LONGEST_VARLONG = 10

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

    def int8_array(self, bint compact):
        """List of int8; null is malformed."""
        return self.integers(1, compact, False)

    def nullable_int8_array(self, bint compact):
        """List of int8, or None."""
        return self.integers(1, compact, True)

    def int16_array(self, bint compact):
        """List of int16; null is malformed."""
        return self.integers(2, compact, False)

    def nullable_int16_array(self, bint compact):
        """List of int16, or None."""
        return self.integers(2, compact, True)

    def int32_array(self, bint compact):
        """List of int32; null is malformed."""
        return self.integers(4, compact, False)

    def nullable_int32_array(self, bint compact):
        """List of int32, or None."""
        return self.integers(4, compact, True)

    def int64_array(self, bint compact):
        """List of int64; null is malformed."""
        return self.integers(8, compact, False)

    def nullable_int64_array(self, bint compact):
        """List of int64, or None."""
        return self.integers(8, compact, True)

    def uuid_array(self, bint compact):
        """List of 16-byte identifiers; null is malformed."""
        return [self.uuid() for _ in range(self.count(compact, False, 16))]

    def nullable_uuid_array(self, bint compact):
        """List of 16-byte identifiers, or None."""
        cdef int32_t count = self.count(compact, True, 16)
        return None if count < 0 else [self.uuid() for _ in range(count)]

    def string_array(self, bint compact):
        """List of texts, none of which is null; null is malformed."""
        return [self.text(compact, False) for _ in range(self.count(compact, False, 1 if compact else 2))]

    def nullable_string_array(self, bint compact):
        """List of texts, none of which is null, or None."""
        cdef int32_t count = self.count(compact, True, 1 if compact else 2)
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
        return PyUnicode_DecodeUTF8(<const char *>field, size, NULL)     # read_string() has seen that it is UTF-8

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
            self.output.status = LIMIT_EXCEEDED
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
            self.output.status = LIMIT_EXCEEDED
            return False
        write_array_count(&self.output, compact, <int32_t>count)
        return True
