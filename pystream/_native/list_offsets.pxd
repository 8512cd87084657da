# ListOffsets 1-11: offsets by time and the special times, answered in the event loop.
#
# Source: Kafka's ListOffsetsRequest.json; KIP-79, KIP-207, KIP-320 (v4), KIP-734 (v7), KIP-405 (v8, v9), KIP-1075 (v10), KIP-1023 (v11).

from libc.stdint cimport int64_t
from pystream._native.buffer cimport Cursor, Output
from pystream._native.connection cimport Call
from pystream._native.partition_table cimport PartitionTable
from pystream._native.status cimport Status

cdef enum:
    LIST_OFFSETS_MINIMUM_VERSION = 1
    LIST_OFFSETS_MAXIMUM_VERSION = 11
    LIST_OFFSETS_FIRST_FLEXIBLE = 6

# Parses and looks everything up under the table's read lock. Anything but OK means a malformed frame.
cdef Status list_offsets_answer(const PartitionTable *table, Call *call, Cursor *body) noexcept nogil
cdef void list_offsets_encode(const Call *call, Output *output) noexcept nogil
