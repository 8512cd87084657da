# Rows of columns as records: one by one, or a run of them into one batch.
#
# Owner of memory: a RowSource points into columns that its caller holds; `scratch` is its own, until free_rows().

from libc.stdint cimport int64_t
from pystream._native.column_source cimport FieldSource, HeaderSource
from pystream._native.compression cimport codec_buffer
from pystream._native.record_builder cimport BatchBuilder
from pystream._native.send_queue cimport Row
from pystream._native.status cimport Status

cdef struct RowSource:                   # zero it first
    FieldSource keys
    FieldSource values
    HeaderSource headers
    const int64_t *timestamps            # NULL: `timestamp_ms` for all
    int64_t timestamp_ms
    Py_ssize_t rows
    codec_buffer scratch                 # the headers of one row

cdef void free_rows(RowSource *source) noexcept nogil
# One row; its headers lie in `scratch` until the next. MALFORMED when it lies outside its column or a header has no name.
cdef Status row_at(RowSource *source, Py_ssize_t number, Row *row) noexcept nogil
# Adds rows from `number` on, up to before `last`, to a batch that holds a record already and would be full at `most` bytes;
# there is room for so many. Ends before a row that may not fit or is at fault: gives its number.
cdef Py_ssize_t write_rows(
    BatchBuilder *builder, RowSource *source, Py_ssize_t number, Py_ssize_t last, Py_ssize_t most) noexcept nogil
# About what a row takes in a batch; 0 when that is not to be seen at a glance.
cdef Py_ssize_t bytes_of_row(const RowSource *source) noexcept nogil
