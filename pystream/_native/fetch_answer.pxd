# The answer to a Fetch: what its evaluation found, and which aborted transactions a read_committed reader of it skips.
#
# Threads: an event loop's. Memory: the queue takes over the file ranges.  Source: Kafka's FetchResponse.json.

from pystream._native.connection cimport Call, OutQueue
from pystream._native.counters cimport LoopCounters
from pystream._native.partition_table cimport PartitionTable
from pystream._native.status cimport Status

# Writes the answer as bytes and file ranges; under the table's read lock, perhaps turns after the evaluation.
cdef Status fetch_encode(const PartitionTable *table, Call *call, OutQueue *queue, LoopCounters *counters) noexcept nogil
