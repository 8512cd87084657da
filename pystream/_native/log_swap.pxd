# Putting a cleaned segment in the place of those it was made from, so that a crash at any point leaves the old ones or the new one.
#
#   <base>.log.cleaned      being written; a start deletes it
#   <base>.txnindex.swap    its aborted transactions, where the old ones had any: written and fsynced before ...
#   <base>.log.swap         ... the rename to this name, which decides: from here on a start finishes what is below
#   old files -> *.deleted, fsync of the directory, .txnindex.swap -> .txnindex, indexes, .log.swap -> .log, fsync of the directory
#
# The log's mutex is held for the change in memory only, its flush mutex for the whole swap. Readers keep the files they have open.

from libc.stdint cimport int32_t, int64_t
from pystream._native.log_state cimport LogState, Segment
from pystream._native.status cimport Status

cdef struct SegmentRef:              # a sealed segment as it was when the cleaning began
    int64_t base_offset
    int64_t next_offset
    int64_t size

# Puts `cleaned`, whose fsynced file is <base>.log.cleaned and open as `fd`, in the place of `count` segments that lie one behind the other.
# On OK log and ring of open files have taken over `cleaned` and `fd`; else both are the caller's and so is the .cleaned file.
# BUSY when the log is no longer what it was (truncated, deleted from), CLOSED, LOG_OFFLINE, NO_SPACE, STORAGE_ERROR.
# When a call fails behind the rename that decides, the log goes offline: the next start finishes the swap.
cdef Status log_swap_segments(
    LogState *log, Segment *cleaned, int fd, const SegmentRef *old, int32_t count, int64_t truncations) noexcept nogil
# The start's part: finishes swaps that a crash interrupted, drops what belongs to none. `names` are the *.swap files of the directory,
# `bases` the offsets of its .log files. Raises LogDamaged when a .log.swap is not whole batches, OSError.
cpdef void finish_swaps(str directory, list names, list bases) except *
