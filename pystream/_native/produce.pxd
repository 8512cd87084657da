# Produce 3-13: parse and validate, stage per partition, append once per turn, answer.
#
# Threads: a ProduceStage belongs to one event loop. Staged batches point into receive buffers until produce_flush() of the same turn.
# Source: Kafka's ProduceRequest.json / ProduceResponse.json; KIP-98 (v3), KIP-467 (v8), KIP-482 (v9), KIP-951 (v10), KIP-516 (v13).

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from pystream._native.buffer cimport Cursor, Output
from pystream._native.compression cimport codec_buffer
from pystream._native.connection cimport Call
from pystream._native.counters cimport LoopCounters
from pystream._native.local_log cimport StagedBatch
from pystream._native.partition cimport Partition
from pystream._native.partition_table cimport PartitionTable
from pystream._native.purgatory cimport Purgatory
from pystream._native.record_builder cimport Recoder
from pystream._native.status cimport Status

cdef enum:
    PRODUCE_MINIMUM_VERSION = 3
    PRODUCE_MAXIMUM_VERSION = 13
    PRODUCE_FIRST_FLEXIBLE = 9

cdef struct StagedOrigin:            # which call and which of its parts a staged batch answers
    Call *call
    int32_t part

cdef struct DirtyPartition:
    Partition *partition
    StagedBatch *batches
    StagedOrigin *origins
    int32_t count
    int32_t capacity
    int64_t bytes
    int64_t messages

cdef struct ProduceStage:
    DirtyPartition *dirty
    int32_t count
    int32_t capacity
    Recoder recoder                  # for topics with a codec of their own
    codec_buffer *recoded            # batches that stand in for what was received, until the end of the turn
    int32_t recoded_count
    int32_t recoded_capacity
    int64_t wall_clock_ms            # set by the event loop at the start of each turn
    const uint8_t *transactional_id  # of the request being parsed; NULL: none
    int32_t transactional_id_size
    Output asked                     # its partitions that the transaction coordinator has to vouch for, as AddPartitionsToTxnTransaction v5
    int32_t asked_count
    int32_t errors_left              # that its answer still has room for
    Output question                  # the same for the control queue
    int32_t *slots                   # open addressing by partition: index + 1, 0 free
    int32_t slot_count

cdef bint produce_stage_init(ProduceStage *stage) noexcept nogil
cdef void produce_stage_free(ProduceStage *stage) noexcept nogil
# Parses the body under the table's read lock and stages what is valid. UNVERIFIED_TRANSACTION: nothing is staged, `question` goes to the
# control plane first. Anything else but OK means a malformed frame: close the connection.
cdef Status produce_begin(ProduceStage *stage, const PartitionTable *table, Call *call, Cursor *body) noexcept nogil
# Appends everything staged, publishes, and settles the calls: ready, silent (acks=0), or parked until durable.
cdef void produce_flush(
    ProduceStage *stage, Purgatory *purgatory, LoopCounters *counters, int64_t now_ms, int64_t wall_clock_ms,
) noexcept nogil
# Looks at a parked call again; True when it is ready now.
cdef bint produce_settle(Purgatory *purgatory, LoopCounters *counters, Call *call) noexcept nogil
cdef bint produce_has_failures(const Call *call) noexcept nogil
cdef void produce_encode(const Call *call, Output *output) noexcept nogil
