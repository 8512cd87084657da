# Making a log durable: the only place that calls fdatasync on segments.

from pystream._native.log_state cimport LogState
from pystream._native.status cimport Status

# fdatasync of what was appended so far, and of the side files of rolled segments; publishes the durable offset. The log's mutex is not
# held while the disk works. A failed fdatasync takes the log offline, for good: the kernel may have dropped the pages, and would report
# success the next time. Failures of side files (indexes, snapshots, epochs) hold the recovery point back and are tried again.
cdef Status log_flush(LogState *log) noexcept nogil
# As log_flush(), and the active segment's indexes and a producer snapshot at the log end: what a clean stop leaves behind.
cdef Status log_flush_all(LogState *log) noexcept nogil
