# Status codes of the compiled core, and the one way they become Kafka error codes or Python exceptions.
#
# Functions inside the core are `noexcept nogil` and return a Status; outputs through pointers are valid only on OK.
# Faces call raise_for_status() once, with the GIL.

from libc.stdint cimport int16_t

cdef enum Status:
    OK = 0
    # input that does not parse
    TRUNCATED = 1                # a length or a count reaches past the end of its frame or batch
    MALFORMED = 2                # a value the format forbids: negative count, over-long varint, duplicate tag
    LIMIT_EXCEEDED = 3           # well formed, but above a configured limit (decompressed size, array count)
    # record batches
    CORRUPT_BATCH = 10           # CRC differs, or a size that its bytes cannot have; counts and deltas that contradict are INVALID_RECORD
    UNSUPPORTED_MAGIC = 11       # a record batch that is not v2
    UNSUPPORTED_COMPRESSION = 12
    BATCH_TOO_LARGE = 13         # above max.message.bytes
    INVALID_RECORD = 14          # a rule of the topic is broken (keyless record on a compacted topic)
    INVALID_TIMESTAMP = 15
    # idempotent producers
    DUPLICATE_SEQUENCE = 20      # already appended: answered as a success with the old offset
    OUT_OF_ORDER_SEQUENCE = 21
    INVALID_PRODUCER_EPOCH = 22
    UNKNOWN_PRODUCER_ID = 23
    INVALID_TXN_STATE = 24
    UNVERIFIED_TRANSACTION = 25  # nobody has said that the producer's transaction holds this partition
    COORDINATOR_FENCED = 26      # a marker of a coordinator that has been succeeded
    # logs
    OFFSET_OUT_OF_RANGE = 30
    STORAGE_ERROR = 31           # a system call on the log failed; errno is kept by the log
    LOG_OFFLINE = 32             # damaged or failed: refuses writes until an operator acts
    NO_SPACE = 33
    DAMAGED = 34                 # recovery found damage that must not be cut off
    NOT_FOUND = 35
    # partitions
    NOT_LEADER = 40
    FENCED_LEADER_EPOCH = 41
    UNKNOWN_LEADER_EPOCH = 42
    UNKNOWN_TOPIC_OR_PARTITION = 43
    UNKNOWN_TOPIC_ID = 44
    NOT_ENOUGH_REPLICAS = 45
    TOPIC_AUTHORIZATION_FAILED = 46
    REQUEST_TIMED_OUT = 47
    INVALID_REQUIRED_ACKS = 48
    INVALID_REQUEST = 49
    UNSUPPORTED_VERSION = 50
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 51
    INVALID_TOPIC = 52           # clients do not write to the cluster's own topics
    # resources
    OUT_OF_MEMORY = 60
    BUSY = 61
    CLOSED = 62

cdef int16_t kafka_error_code(Status status) noexcept nogil
cdef object raise_for_status(Status status, Py_ssize_t position, str what)   # raises unless OK; always returns None
