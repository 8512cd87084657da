"""Columns that a producer sends: values lying in one buffer, as Arrow and NumPy have them, and lists of headers.

Source: Arrow's columnar format (variable-size binary, fixed-size binary, lists; validity bitmaps: least significant bit
first).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_CheckExact
from cpython.object cimport PyObject
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t
from libc.string cimport memcpy

from pystream._native.compression cimport codec_buffer
from pystream._native.record_builder cimport put_header, reserve
from pystream._native.status cimport MALFORMED, OK, Status, raise_for_status

cdef extern from "Python.h" nogil:
    # Macros that read memory of an object that the caller holds.
    char *PyBytes_AS_STRING(PyObject *text)
    Py_ssize_t PyBytes_GET_SIZE(PyObject *text)

cdef extern from *:
    """
    static inline int pystream_is_none(PyObject *item) { return item == Py_None; }
    static inline PyObject *const *pystream_tuple_items(PyObject *items) { return ((PyTupleObject *)items)->ob_item; }
    """
    bint is_none "pystream_is_none"(PyObject *item) nogil
    PyObject *const *tuple_items "pystream_tuple_items"(object items)


cdef inline bint slice_of(
        const FieldSource *source, int64_t begin, int64_t end, const uint8_t **field, Py_ssize_t *size) noexcept nogil:
    if begin < 0 or end < begin or end > source.data_size:
        return False
    field[0] = source.data + begin
    size[0] = end - begin
    return True


cdef inline bint fixed_row(
        const FieldSource *source, Py_ssize_t row, const uint8_t **field, Py_ssize_t *size) noexcept nogil:
    cdef Py_ssize_t width = source.width
    if width > 0 and row >= source.data_size // width:
        return False
    field[0] = source.data + row * width
    while source.strip and width > 0 and field[0][width - 1] == 0:
        width -= 1
    size[0] = width
    return True


cdef bint field_at_row(
        const FieldSource *source, Py_ssize_t row, const uint8_t **field, Py_ssize_t *size) noexcept nogil:
    cdef PyObject *item
    field[0] = NULL
    size[0] = -1
    row += source.start
    if source.kind == OBJECTS:
        item = source.objects[row]
        if not is_none(item):
            field[0] = <const uint8_t *>PyBytes_AS_STRING(item)
            size[0] = PyBytes_GET_SIZE(item)
        return True
    if source.kind == NO_FIELD or (
            source.validity != NULL and not source.validity[row >> 3] >> (row & 7) & 1):
        return True
    if source.kind == OFFSETS_32:
        return slice_of(
            source, (<const int32_t *>source.offsets)[row], (<const int32_t *>source.offsets)[row + 1], field, size)
    if source.kind == OFFSETS_64:
        return slice_of(
            source, (<const int64_t *>source.offsets)[row], (<const int64_t *>source.offsets)[row + 1], field, size)
    return fixed_row(source, row, field, size)


# ---- headers

cdef Status list_headers(
        const HeaderSource *source, int64_t begin, int64_t end, codec_buffer *scratch) noexcept nogil:
    cdef const uint8_t *name
    cdef const uint8_t *value
    cdef Py_ssize_t name_size, value_size, entry
    cdef Status status = OK
    for entry in range(begin, end):
        if not field_at_row(&source.names, entry, &name, &name_size) or name == NULL or (
                not field_at_row(&source.values, entry, &value, &value_size)):
            return MALFORMED
        status = put_header(scratch, name, name_size, value, value_size)
        if status != OK:
            break
    return status


cdef Status headers_at_row(
        const HeaderSource *source, Py_ssize_t row, codec_buffer *scratch, const uint8_t **headers, Py_ssize_t *size,
        int32_t *count) noexcept nogil:
    cdef int64_t begin, end
    cdef Status status
    headers[0] = source.encoded
    size[0] = source.encoded_size
    count[0] = source.count
    row += source.start
    if source.kind == NO_LISTS or source.validity != NULL and not source.validity[row >> 3] >> (row & 7) & 1:
        return OK
    if source.kind == LISTS_32:
        begin, end = (<const int32_t *>source.offsets)[row], (<const int32_t *>source.offsets)[row + 1]
    else:
        begin, end = (<const int64_t *>source.offsets)[row], (<const int64_t *>source.offsets)[row + 1]
    if begin < 0 or end < begin or end > source.names.rows or end - begin > INT32_MAX - source.count:
        return MALFORMED
    scratch.size = 0
    status = list_headers(source, begin, end, scratch)
    if status == OK and source.encoded_size > 0:
        status = reserve(scratch, scratch.size + source.encoded_size)
        if status == OK:
            memcpy(scratch.data + scratch.size, source.encoded, source.encoded_size)
            scratch.size += source.encoded_size
    headers[0] = scratch.data
    size[0] = scratch.size
    count[0] += <int32_t>(end - begin)
    return status


cdef bytes bytes_from(value, str what):
    """What is bytes-like as bytes."""
    if isinstance(value, str):
        raise TypeError(f"a {what} is bytes-like or None, not str: encode it, or give the producer a serializer")
    return bytes(memoryview(value))


cdef int32_t put_headers(codec_buffer *buffer, headers) except -1:
    """Writes them as a record holds them, and gives their number."""
    cdef bytes key_bytes, value_bytes
    cdef int32_t count = 0
    for key, value in headers:
        key_bytes = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else bytes_from(key, "header key")
        value_bytes = None if value is None else bytes_from(value, "header value")
        raise_for_status(
            put_header(
                buffer, <const uint8_t *>PyBytes_AS_STRING(<PyObject *>key_bytes), len(key_bytes),
                NULL if value_bytes is None else <const uint8_t *>PyBytes_AS_STRING(<PyObject *>value_bytes),
                -1 if value_bytes is None else len(value_bytes)),
            count, "record header")
        count += 1
    return count


@cython.final
cdef class HeaderColumn:
    """The headers of each row: lists of names and values, as Arrow's list and map layouts have them."""

    @staticmethod
    def listed(
            ColumnSource names not None, ColumnSource values not None, offsets, validity=None, *,
            Py_ssize_t start=0, Py_ssize_t rows=-1):
        """Row i has the names and values from offsets[i] to before offsets[i+1]; none where its validity bit is not set.

        Otherwise as ColumnSource.variable().  A name that is null is a ValueError of append_columns().
        """
        cdef HeaderColumn column = HeaderColumn.__new__(HeaderColumn)
        cdef ColumnSource lists = ColumnSource.variable(b"", offsets, validity, start=start, rows=rows)
        if names.source.rows != values.source.rows:
            raise ValueError(f"{names.source.rows} names of headers, and {values.source.rows} values")
        column.held = (names, values, lists)
        column.source.kind = LISTS_32 if lists.source.kind == OFFSETS_32 else LISTS_64
        column.source.offsets = lists.source.offsets
        column.source.validity = lists.source.validity
        column.source.start = lists.source.start
        column.source.rows = lists.source.rows
        column.source.names = names.source
        column.source.values = values.source
        return column


# ---- columns

cdef ColumnSource source_of_list(object values):
    cdef ColumnSource column = ColumnSource.__new__(ColumnSource)
    cdef Py_ssize_t row
    column.held = tuple(values)
    for row in range(len(column.held)):
        value = column.held[row]
        if value is not None and not PyBytes_CheckExact(value):
            raise TypeError(f"row {row}: bytes or None expected, found {type(value).__name__}")
    column.source.kind = OBJECTS
    column.source.objects = tuple_items(column.held)
    column.source.rows = len(column.held)
    return column


@cython.final
cdef class ColumnSource:
    """Values of equal kind in one buffer: Arrow's layouts, or rows of a fixed width (NumPy S, V, 2-D uint8).

    The buffers are held as long as the column.  Each row is checked when it is read, as another thread may write
    the buffers: one that lies outside `data` is a ValueError of append_columns().
    """

    @staticmethod
    def variable(data, offsets, validity=None, *, Py_ssize_t start=0, Py_ssize_t rows=-1):
        """Row i is data[offsets[i]:offsets[i+1]]; int32 or int64 offsets, as Arrow's binary, string and large_ kinds.

        `validity`: Arrow's bitmap, bit i of it set unless row i is null; `start` (Arrow's offset) and `rows` cut out.
        """
        cdef ColumnSource column = ColumnSource.__new__(ColumnSource)
        cdef const int32_t[::1] narrow
        cdef const int64_t[::1] wide
        cdef Py_ssize_t count
        view = memoryview(offsets)
        column.hold(&column.views.data, data)
        if view.format in ("q", "l") and view.itemsize == 8:
            wide = view
            count = wide.shape[0]
            column.source.kind = OFFSETS_64
            column.source.offsets = &wide[0] if count > 0 else NULL
        elif view.format in ("i", "l") and view.itemsize == 4:
            narrow = view
            count = narrow.shape[0]
            column.source.kind = OFFSETS_32
            column.source.offsets = &narrow[0] if count > 0 else NULL
        else:
            raise ValueError(f"offsets are int32 or int64, these are {view.format!r} of {view.itemsize} bytes")
        column.held = (view,)
        column.finish(validity, start, rows, max(count - 1, 0))
        return column

    @staticmethod
    def fixed(data, Py_ssize_t width, validity=None, *, bint strip=False, Py_ssize_t start=0, Py_ssize_t rows=-1):
        """Row i is data[i*width:][:width]; `strip` drops zeros at its end, as NumPy reads S."""
        cdef ColumnSource column = ColumnSource.__new__(ColumnSource)
        if width < 1:
            raise ValueError(f"rows have at least a byte, not {width}")
        column.hold(&column.views.data, data)
        column.source.kind = FIXED
        column.source.width = width
        column.source.strip = strip
        column.finish(validity, start, rows, column.views.data.len // width)
        return column

    def __dealloc__(self):
        PyBuffer_Release(&self.views.data)
        PyBuffer_Release(&self.views.validity)

    cdef object hold(self, Py_buffer *place, buffer):
        """Any contiguous buffer, whatever its format."""
        PyObject_GetBuffer(buffer, place, PyBUF_SIMPLE)

    cdef object finish(self, validity, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t available):
        """`rows` of the `available` ones from `start` on; -1: all."""
        if rows == -1:
            rows = available - start
        if start < 0 or rows < 0 or start > available or rows > available - start:
            raise ValueError(f"{rows} rows from row {start} on, of {available}")
        self.source.data_size = self.views.data.len
        self.source.data = <const uint8_t *>self.views.data.buf
        self.source.start = start
        self.source.rows = rows
        if validity is not None:
            self.hold(&self.views.validity, validity)
            if self.views.validity.len < (start + rows + 7) // 8:
                raise ValueError(f"{self.views.validity.len} bytes of validity for {start + rows} rows")
            self.source.validity = <const uint8_t *>self.views.validity.buf

    def __len__(self):
        return self.source.rows
