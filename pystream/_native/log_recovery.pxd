# Opening a directory as a log: what is there, what can be vouched for, what must be cut or kept.

from libc.stdint cimport int64_t
from pystream._native.log_state cimport LogLimits, LogState

# Returns a log with one reference; `report` (a dict) is filled with what was found and done. Raises OSError and KafkaError's tree.
cdef LogState *load_log(str directory, const LogLimits *limits, dict options, dict report) except NULL
# Makes the next start read everything from this segment on again, below the recovery point too. 0 or an errno.
cdef int log_mark_damage(LogState *log, int64_t base_offset) noexcept nogil
