# Reading closed segments again, to find damage before a reader meets it.

from libc.stdint cimport int64_t
from pystream._native.log_state cimport LogState
from pystream._native.status cimport Status

cdef struct Scrub:
    int64_t position             # where the next step begins
    int64_t next_offset          # offsets below it have been passed
    bint done                    # the segment has been read to its end, or is gone
    int64_t damaged_from         # first bad batch; -1: all is well
    int64_t damaged_to           # where valid batches begin again; -1: nowhere
    int64_t damaged_to_offset

# Checks the batches of the closed segment `base_offset` from scrub.position on, about `max_bytes` of them, without the log's mutex. Damage
# is noted as recovery notes it: what is damaged cannot be read any more, the log takes no writes, and the next start remembers.
# Begin with position 0 and next_offset = base_offset.
cdef Status log_scrub(LogState *log, int64_t base_offset, int64_t max_bytes, Scrub *scrub) noexcept nogil
