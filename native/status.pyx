# cython: binding=False
"""Status codes of the compiled core, and the two ways out of it: a Kafka error code, or a Python exception."""

from libc.stdint cimport int16_t

# Kafka's numbers, from its protocol guide ("Error Codes"); common/error_codes.py holds the whole table.
cdef enum:
    KAFKA_UNKNOWN_SERVER_ERROR = -1
    KAFKA_NONE = 0
    KAFKA_OFFSET_OUT_OF_RANGE = 1
    KAFKA_CORRUPT_MESSAGE = 2
    KAFKA_UNKNOWN_TOPIC_OR_PARTITION = 3
    KAFKA_NOT_LEADER_OR_FOLLOWER = 6
    KAFKA_REQUEST_TIMED_OUT = 7
    KAFKA_MESSAGE_TOO_LARGE = 10
    KAFKA_INVALID_TOPIC_EXCEPTION = 17
    KAFKA_NOT_ENOUGH_REPLICAS = 19
    KAFKA_INVALID_REQUIRED_ACKS = 21
    KAFKA_TOPIC_AUTHORIZATION_FAILED = 29
    KAFKA_INVALID_TIMESTAMP = 32
    KAFKA_UNSUPPORTED_VERSION = 35
    KAFKA_INVALID_REQUEST = 42
    KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    KAFKA_DUPLICATE_SEQUENCE_NUMBER = 46
    KAFKA_INVALID_PRODUCER_EPOCH = 47
    KAFKA_INVALID_TXN_STATE = 48
    KAFKA_TRANSACTION_COORDINATOR_FENCED = 52
    KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    KAFKA_KAFKA_STORAGE_ERROR = 56
    KAFKA_UNKNOWN_PRODUCER_ID = 59
    KAFKA_FENCED_LEADER_EPOCH = 74
    KAFKA_UNKNOWN_LEADER_EPOCH = 75
    KAFKA_UNSUPPORTED_COMPRESSION_TYPE = 76
    KAFKA_INVALID_RECORD = 87
    KAFKA_THROTTLING_QUOTA_EXCEEDED = 89
    KAFKA_UNKNOWN_TOPIC_ID = 100


cdef int16_t kafka_error_code(Status status) noexcept nogil:
    """The code a client is told.  DUPLICATE_SEQUENCE maps to 46, though produce answers it as a success."""
    if status == OK:
        return KAFKA_NONE
    # A frame that parses holds a batch that does not: the sender's record data is at fault, as Kafka puts it.
    if status == TRUNCATED or status == MALFORMED or status == CORRUPT_BATCH:
        return KAFKA_CORRUPT_MESSAGE
    if status == LIMIT_EXCEEDED or status == INVALID_RECORD or status == UNSUPPORTED_MAGIC:
        # Kafka answers INVALID_RECORD to a batch of another magic since it stopped converting (KIP-724).
        return KAFKA_INVALID_RECORD
    if status == UNSUPPORTED_COMPRESSION:
        return KAFKA_UNSUPPORTED_COMPRESSION_TYPE
    if status == BATCH_TOO_LARGE:
        return KAFKA_MESSAGE_TOO_LARGE
    if status == INVALID_TIMESTAMP:
        return KAFKA_INVALID_TIMESTAMP
    if status == STORAGE_ERROR or status == LOG_OFFLINE or status == NO_SPACE or status == DAMAGED:
        return KAFKA_KAFKA_STORAGE_ERROR
    if status < OFFSET_OUT_OF_RANGE:
        return producer_error_code(status)
    return partition_error_code(status)


cdef int16_t producer_error_code(Status status) noexcept nogil:
    if status == DUPLICATE_SEQUENCE:
        return KAFKA_DUPLICATE_SEQUENCE_NUMBER
    if status == OUT_OF_ORDER_SEQUENCE:
        return KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER
    if status == INVALID_PRODUCER_EPOCH:
        return KAFKA_INVALID_PRODUCER_EPOCH
    if status == UNKNOWN_PRODUCER_ID:
        return KAFKA_UNKNOWN_PRODUCER_ID
    if status == INVALID_TXN_STATE or status == UNVERIFIED_TRANSACTION:
        return KAFKA_INVALID_TXN_STATE
    if status == COORDINATOR_FENCED:
        return KAFKA_TRANSACTION_COORDINATOR_FENCED
    return KAFKA_UNKNOWN_SERVER_ERROR


cdef int16_t partition_error_code(Status status) noexcept nogil:
    if status == OFFSET_OUT_OF_RANGE:
        return KAFKA_OFFSET_OUT_OF_RANGE
    if status == NOT_LEADER or status == CLOSED:
        return KAFKA_NOT_LEADER_OR_FOLLOWER      # a partition that is being taken away: ask for metadata, try elsewhere
    if status == FENCED_LEADER_EPOCH:
        return KAFKA_FENCED_LEADER_EPOCH
    if status == UNKNOWN_LEADER_EPOCH:
        return KAFKA_UNKNOWN_LEADER_EPOCH
    if status == UNKNOWN_TOPIC_OR_PARTITION:
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION
    if status == UNKNOWN_TOPIC_ID:
        return KAFKA_UNKNOWN_TOPIC_ID
    if status == NOT_ENOUGH_REPLICAS:
        return KAFKA_NOT_ENOUGH_REPLICAS
    if status == TOPIC_AUTHORIZATION_FAILED:
        return KAFKA_TOPIC_AUTHORIZATION_FAILED
    if status == REQUEST_TIMED_OUT or status == BUSY:
        return KAFKA_REQUEST_TIMED_OUT           # both are retriable, and say that nothing is wrong with the request
    if status == INVALID_REQUIRED_ACKS:
        return KAFKA_INVALID_REQUIRED_ACKS
    if status == INVALID_REQUEST:
        return KAFKA_INVALID_REQUEST
    if status == UNSUPPORTED_VERSION:
        return KAFKA_UNSUPPORTED_VERSION
    if status == TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    if status == INVALID_TOPIC:
        return KAFKA_INVALID_TOPIC_EXCEPTION
    return KAFKA_UNKNOWN_SERVER_ERROR


# Class of pystream.common.errors and the plain words for each status.  Names, since common is imported on first failure only;
# without a name the class is that of the Kafka error code.
_FAILURES = {
    TRUNCATED: ("TruncatedInput", "truncated: a length or a count reaches past the end"),
    MALFORMED: ("MalformedInput", "malformed: a value that the format forbids"),
    LIMIT_EXCEEDED: ("LimitExceeded", "above a configured limit"),
    CORRUPT_BATCH: ("CorruptRecordBatch", "corrupt record batch: its CRC or its size contradicts its bytes"),
    LOG_OFFLINE: ("LogOffline", "log is offline after an earlier failure"),
    NO_SPACE: ("NoSpace", "no space left for the log"),
    DAMAGED: ("LogDamaged", "damaged log: it must not be cut off without an operator"),
    NOT_FOUND: ("NotFound", "not found"),
    BUSY: ("Busy", "queue is full"),
    CLOSED: ("Closed", "already closed"),
    STORAGE_ERROR: (None, "a system call on the log failed"),
    OFFSET_OUT_OF_RANGE: (None, "offset out of range"),
    UNSUPPORTED_MAGIC: (None, "record batch of a magic other than 2"),
    UNSUPPORTED_COMPRESSION: (None, "unknown compression codec"),
    BATCH_TOO_LARGE: (None, "record batch above max.message.bytes"),
    INVALID_RECORD: (None, "record breaks a rule of its topic"),
    INVALID_TIMESTAMP: (None, "timestamp out of the allowed range"),
    DUPLICATE_SEQUENCE: (None, "sequence number already appended"),
    OUT_OF_ORDER_SEQUENCE: (None, "sequence number out of order"),
    INVALID_PRODUCER_EPOCH: (None, "producer epoch is fenced"),
    UNKNOWN_PRODUCER_ID: (None, "producer id is not known"),
    INVALID_TXN_STATE: (None, "not allowed in this state of the transaction"),
    UNVERIFIED_TRANSACTION: (None, "partition is not known to be in the producer's transaction"),
    COORDINATOR_FENCED: (None, "marker of a transaction coordinator that has been succeeded"),
    NOT_LEADER: (None, "not the leader of the partition"),
    FENCED_LEADER_EPOCH: (None, "leader epoch is older than the partition's"),
    UNKNOWN_LEADER_EPOCH: (None, "leader epoch is newer than the partition's"),
    UNKNOWN_TOPIC_OR_PARTITION: (None, "unknown topic or partition"),
    UNKNOWN_TOPIC_ID: (None, "unknown topic id"),
    NOT_ENOUGH_REPLICAS: (None, "not enough replicas in sync"),
    TOPIC_AUTHORIZATION_FAILED: (None, "topic authorization failed"),
    INVALID_TOPIC: (None, "a topic of the cluster's own"),
    REQUEST_TIMED_OUT: (None, "timed out"),
    INVALID_REQUIRED_ACKS: (None, "acks must be -1, 0 or 1"),
    INVALID_REQUEST: (None, "invalid request"),
    UNSUPPORTED_VERSION: (None, "unsupported version"),
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (None, "transactional id authorization failed"),
}


cdef object raise_for_status(Status status, Py_ssize_t position, str what):
    """Raise the exception of `status` unless it is OK; `what` and `position` say where.  Always returns None."""
    if status == OK:
        return None
    raise exception_of(<int>status, position, what)


def error_code_of(int status) -> int:
    """Kafka's error code for a status of the compiled core; -1 (UNKNOWN_SERVER_ERROR) for one it does not know."""
    return kafka_error_code(<Status>status)


def exception_of(int status, Py_ssize_t position, str what) -> Exception:
    """The exception that raise_for_status() raises for a status other than OK, of common.errors' tree; MemoryError for OUT_OF_MEMORY."""
    if status == OUT_OF_MEMORY:
        return MemoryError(f"{what}: out of memory at position {position}")
    from pystream.common import errors

    name, words = _FAILURES.get(status, (None, f"status {status}"))
    failure = getattr(errors, name) if name is not None else errors.error_class(kafka_error_code(<Status>status))
    return failure(f"{what}: {words}, at position {position}")
