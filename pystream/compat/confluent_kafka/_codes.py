"""librdkafka's names, numbers and texts of errors.

The client's own errors, below -1, are written down here. A broker's are Kafka's (common.error_codes); OLDER_NAMES and
BROKER_TEXTS say where librdkafka calls them otherwise, ABSENT which ones it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pystream.common import error_codes

OLDER_NAMES: Final = {
    error_codes.UNKNOWN_SERVER_ERROR: "UNKNOWN",
    error_codes.NONE: "NO_ERROR",
    error_codes.CORRUPT_MESSAGE: "INVALID_MSG",
    error_codes.UNKNOWN_TOPIC_OR_PARTITION: "UNKNOWN_TOPIC_OR_PART",
    error_codes.INVALID_FETCH_SIZE: "INVALID_MSG_SIZE",
    error_codes.NOT_LEADER_OR_FOLLOWER: "NOT_LEADER_FOR_PARTITION",
    error_codes.MESSAGE_TOO_LARGE: "MSG_SIZE_TOO_LARGE",
    error_codes.STALE_CONTROLLER_EPOCH: "STALE_CTRL_EPOCH",
    error_codes.INVALID_TOPIC_EXCEPTION: "TOPIC_EXCEPTION",
}
ABSENT: Final = frozenset({98, 99, 101, 102, *range(104, 110)})


class BrokerCodes(type):
    """Its classes have a broker's errors as attributes too, set below from Kafka's table."""

    if TYPE_CHECKING:

        def __getattr__(cls, name: str) -> int:
            """The number of one."""


class Codes(metaclass=BrokerCodes):
    """The class attributes of KafkaError."""

    _BAD_MSG: Final = -199
    _BAD_COMPRESSION: Final = -198
    _DESTROY: Final = -197
    _FAIL: Final = -196
    _TRANSPORT: Final = -195
    _CRIT_SYS_RESOURCE: Final = -194
    _RESOLVE: Final = -193
    _MSG_TIMED_OUT: Final = -192
    _PARTITION_EOF: Final = -191
    _UNKNOWN_PARTITION: Final = -190
    _FS: Final = -189
    _UNKNOWN_TOPIC: Final = -188
    _ALL_BROKERS_DOWN: Final = -187
    _INVALID_ARG: Final = -186
    _TIMED_OUT: Final = -185
    _QUEUE_FULL: Final = -184
    _ISR_INSUFF: Final = -183
    _NODE_UPDATE: Final = -182
    _SSL: Final = -181
    _WAIT_COORD: Final = -180
    _UNKNOWN_GROUP: Final = -179
    _IN_PROGRESS: Final = -178
    _PREV_IN_PROGRESS: Final = -177
    _EXISTING_SUBSCRIPTION: Final = -176
    _ASSIGN_PARTITIONS: Final = -175
    _REVOKE_PARTITIONS: Final = -174
    _CONFLICT: Final = -173
    _STATE: Final = -172
    _UNKNOWN_PROTOCOL: Final = -171
    _NOT_IMPLEMENTED: Final = -170
    _AUTHENTICATION: Final = -169
    _NO_OFFSET: Final = -168
    _OUTDATED: Final = -167
    _TIMED_OUT_QUEUE: Final = -166
    _UNSUPPORTED_FEATURE: Final = -165
    _WAIT_CACHE: Final = -164
    _INTR: Final = -163
    _KEY_SERIALIZATION: Final = -162
    _VALUE_SERIALIZATION: Final = -161
    _KEY_DESERIALIZATION: Final = -160
    _VALUE_DESERIALIZATION: Final = -159
    _PARTIAL: Final = -158
    _READ_ONLY: Final = -157
    _NOENT: Final = -156
    _UNDERFLOW: Final = -155
    _INVALID_TYPE: Final = -154
    _RETRY: Final = -153
    _PURGE_QUEUE: Final = -152
    _PURGE_INFLIGHT: Final = -151
    _FATAL: Final = -150
    _INCONSISTENT: Final = -149
    _GAPLESS_GUARANTEE: Final = -148
    _MAX_POLL_EXCEEDED: Final = -147
    _UNKNOWN_BROKER: Final = -146
    _NOT_CONFIGURED: Final = -145
    _FENCED: Final = -144
    _APPLICATION: Final = -143
    _ASSIGNMENT_LOST: Final = -142
    _NOOP: Final = -141
    _AUTO_OFFSET_RESET: Final = -140
    _LOG_TRUNCATION: Final = -139
    _INVALID_DIFFERENT_RECORD: Final = -138
    _DESTROY_BROKER: Final = -137


for _row in error_codes.TABLE.values():
    if _row.code not in ABSENT:
        setattr(Codes, OLDER_NAMES.get(_row.code, _row.name), _row.code)

NAMES: Final[dict[int, str]] = {
    number: name for name, number in vars(Codes).items() if isinstance(number, int) and not name.startswith("__")
}

LOCAL_TEXTS: Final = {  # whole; what is not here says its name
    error_codes.UNKNOWN_SERVER_ERROR: "Unknown broker error",
    error_codes.NONE: "Success",
    Codes._BAD_MSG: "Local: Bad message format",
    Codes._BAD_COMPRESSION: "Local: Invalid compressed data",
    Codes._DESTROY: "Local: Broker handle destroyed for termination",
    Codes._FAIL: "Local: Communication failure with broker",
    Codes._TRANSPORT: "Local: Broker transport failure",
    Codes._CRIT_SYS_RESOURCE: "Local: Critical system resource failure",
    Codes._RESOLVE: "Local: Host resolution failure",
    Codes._MSG_TIMED_OUT: "Local: Message timed out",
    Codes._PARTITION_EOF: "Broker: No more messages",
    Codes._FS: "Local: File or filesystem error",
    Codes._ALL_BROKERS_DOWN: "Local: All broker connections are down",
    Codes._INVALID_ARG: "Local: Invalid argument or configuration",
    Codes._ISR_INSUFF: "Local: ISR count insufficient",
    Codes._NODE_UPDATE: "Local: Broker node update",
    Codes._SSL: "Local: SSL error",
    Codes._WAIT_COORD: "Local: Waiting for coordinator",
    Codes._IN_PROGRESS: "Local: Operation in progress",
    Codes._PREV_IN_PROGRESS: "Local: Previous operation in progress",
    Codes._CONFLICT: "Local: Conflicting use",
    Codes._STATE: "Local: Erroneous state",
    Codes._AUTHENTICATION: "Local: Authentication failure",
    Codes._NO_OFFSET: "Local: No offset stored",
    Codes._TIMED_OUT_QUEUE: "Local: Timed out in queue",
    Codes._UNSUPPORTED_FEATURE: "Local: Required feature not supported by broker",
    Codes._WAIT_CACHE: "Local: Awaiting cache update",
    Codes._INTR: "Local: Operation interrupted",
    Codes._KEY_SERIALIZATION: "Local: Key serialization error",
    Codes._VALUE_SERIALIZATION: "Local: Value serialization error",
    Codes._KEY_DESERIALIZATION: "Local: Key deserialization error",
    Codes._VALUE_DESERIALIZATION: "Local: Value deserialization error",
    Codes._PARTIAL: "Local: Partial response",
    Codes._READ_ONLY: "Local: Read-only object",
    Codes._NOENT: "Local: No such entry",
    Codes._UNDERFLOW: "Local: Read underflow",
    Codes._RETRY: "Local: Retry operation",
    Codes._PURGE_QUEUE: "Local: Purged in queue",
    Codes._PURGE_INFLIGHT: "Local: Purged in flight",
    Codes._FATAL: "Local: Fatal error",
    Codes._INCONSISTENT: "Local: Inconsistent state",
    Codes._GAPLESS_GUARANTEE: "Local: Gap-less ordering would not be guaranteed if proceeding",
    Codes._MAX_POLL_EXCEEDED: "Local: Maximum application poll interval (max.poll.interval.ms) exceeded",
    Codes._NOT_CONFIGURED: "Local: Functionality not configured",
    Codes._FENCED: "Local: This instance has been fenced by a newer instance",
    Codes._APPLICATION: "Local: Application generated error",
    Codes._ASSIGNMENT_LOST: "Local: Group partition assignment lost",
    Codes._NOOP: "Local: No operation performed",
    Codes._AUTO_OFFSET_RESET: "Local: No offset to automatically reset to",
    Codes._LOG_TRUNCATION: "Local: Partition log truncation detected",
    Codes._INVALID_DIFFERENT_RECORD: (
        "Local: an invalid record in the same batch caused the failure of this message too"
    ),
    Codes._DESTROY_BROKER: "Local: Broker handle destroyed without termination",
}

BROKER_TEXTS: Final = {  # what is not here says Kafka's first sentence
    error_codes.OFFSET_OUT_OF_RANGE: "Offset out of range",
    error_codes.CORRUPT_MESSAGE: "Invalid message",
    error_codes.UNKNOWN_TOPIC_OR_PARTITION: "Unknown topic or partition",
    error_codes.INVALID_FETCH_SIZE: "Invalid message size",
    error_codes.LEADER_NOT_AVAILABLE: "Leader not available",
    error_codes.NOT_LEADER_OR_FOLLOWER: "Not leader for partition",
    error_codes.REQUEST_TIMED_OUT: "Request timed out",
    error_codes.BROKER_NOT_AVAILABLE: "Broker not available",
    error_codes.REPLICA_NOT_AVAILABLE: "Replica not available",
    error_codes.MESSAGE_TOO_LARGE: "Message size too large",
    error_codes.STALE_CONTROLLER_EPOCH: "StaleControllerEpochCode",
    error_codes.OFFSET_METADATA_TOO_LARGE: "Offset metadata string too large",
    error_codes.NETWORK_EXCEPTION: "Broker disconnected before response received",
    error_codes.COORDINATOR_LOAD_IN_PROGRESS: "Coordinator load in progress",
    error_codes.COORDINATOR_NOT_AVAILABLE: "Coordinator not available",
    error_codes.NOT_COORDINATOR: "Not coordinator",
    error_codes.INVALID_TOPIC_EXCEPTION: "Invalid topic",
    error_codes.RECORD_LIST_TOO_LARGE: "Message batch larger than configured server segment size",
    error_codes.NOT_ENOUGH_REPLICAS: "Not enough in-sync replicas",
    error_codes.NOT_ENOUGH_REPLICAS_AFTER_APPEND: "Message(s) written to insufficient number of in-sync replicas",
    error_codes.INVALID_REQUIRED_ACKS: "Invalid required acks value",
    error_codes.INCONSISTENT_GROUP_PROTOCOL: "Inconsistent group protocol",
    error_codes.INVALID_GROUP_ID: "Invalid group.id",
    error_codes.UNKNOWN_MEMBER_ID: "Unknown member",
    error_codes.INVALID_SESSION_TIMEOUT: "Invalid session timeout",
    error_codes.REBALANCE_IN_PROGRESS: "Group rebalance in progress",
    error_codes.INVALID_COMMIT_OFFSET_SIZE: "Commit offset data size is not valid",
    error_codes.INVALID_TIMESTAMP: "Invalid timestamp",
    error_codes.UNSUPPORTED_SASL_MECHANISM: "Unsupported SASL mechanism",
    error_codes.ILLEGAL_SASL_STATE: "Request not valid in current SASL state",
    error_codes.UNSUPPORTED_VERSION: "API version not supported",
    error_codes.TOPIC_ALREADY_EXISTS: "Topic already exists",
    error_codes.INVALID_PARTITIONS: "Invalid number of partitions",
    error_codes.INVALID_REPLICATION_FACTOR: "Invalid replication factor",
    error_codes.INVALID_REPLICA_ASSIGNMENT: "Invalid replica assignment",
    error_codes.NOT_CONTROLLER: "Not controller for cluster",
    error_codes.INVALID_REQUEST: "Invalid request",
    error_codes.UNSUPPORTED_FOR_MESSAGE_FORMAT: "Message format on broker does not support request",
    error_codes.POLICY_VIOLATION: "Policy violation",
    error_codes.OUT_OF_ORDER_SEQUENCE_NUMBER: "Broker received an out of order sequence number",
    error_codes.DUPLICATE_SEQUENCE_NUMBER: "Broker received a duplicate sequence number",
    error_codes.INVALID_PRODUCER_EPOCH: "Producer attempted an operation with an old epoch",
    error_codes.INVALID_TXN_STATE: "Producer attempted a transactional operation in an invalid state",
    error_codes.INVALID_PRODUCER_ID_MAPPING: (
        "Producer attempted to use a producer id which is not currently assigned to its transactional id"
    ),
    error_codes.INVALID_TRANSACTION_TIMEOUT: (
        "Transaction timeout is larger than the maximum value allowed by the broker's max.transaction.timeout.ms"
    ),
    error_codes.CONCURRENT_TRANSACTIONS: (
        "Producer attempted to update a transaction while another concurrent operation "
        "on the same transaction was ongoing"
    ),
    error_codes.OPERATION_NOT_ATTEMPTED: "Operation not attempted",
    error_codes.KAFKA_STORAGE_ERROR: "Disk error when trying to access log file on disk",
    error_codes.UNKNOWN_PRODUCER_ID: "Unknown Producer Id",
    error_codes.REASSIGNMENT_IN_PROGRESS: "Partition reassignment is in progress",
    error_codes.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: "Delegation Token requests are not allowed on this connection",
    error_codes.LISTENER_NOT_FOUND: "No matching listener",
    error_codes.FENCED_LEADER_EPOCH: "Leader epoch is older than broker epoch",
    error_codes.UNKNOWN_LEADER_EPOCH: "Leader epoch is newer than broker epoch",
    error_codes.UNSUPPORTED_COMPRESSION_TYPE: "Unsupported compression type",
    error_codes.OFFSET_NOT_AVAILABLE: "Leader high watermark is not caught up",
    error_codes.MEMBER_ID_REQUIRED: "Group member needs a valid member ID",
    error_codes.PREFERRED_LEADER_NOT_AVAILABLE: "Preferred leader was not available",
    error_codes.GROUP_MAX_SIZE_REACHED: "Consumer group has reached maximum size",
    error_codes.FENCED_INSTANCE_ID: "Static consumer fenced by other consumer with same group.instance.id",
    error_codes.ELIGIBLE_LEADERS_NOT_AVAILABLE: "Eligible partition leaders are not available",
    error_codes.GROUP_SUBSCRIBED_TO_TOPIC: "Deleting offsets of a topic while the consumer group is subscribed to it",
    error_codes.INVALID_RECORD: "Broker failed to validate record",
    error_codes.THROTTLING_QUOTA_EXCEEDED: "Throttling quota has been exceeded",
    error_codes.RESOURCE_NOT_FOUND: "Request illegally referred to resource that does not exist",
    error_codes.DUPLICATE_RESOURCE: "Request illegally referred to the same resource twice",
    error_codes.INVALID_UPDATE_VERSION: "Invalid update version",
    error_codes.FEATURE_UPDATE_FAILED: "Unable to update finalized features due to server error",
    error_codes.UNKNOWN_TOPIC_ID: "Unknown topic id",
    error_codes.FENCED_STATE_EPOCH: "The share-group state epoch did not match",
    error_codes.REBOOTSTRAP_REQUIRED: "Client metadata is stale, client should rebootstrap to obtain new metadata",
}


def text_of(code: int) -> str:
    """What an error of this number says by itself."""
    if code in LOCAL_TEXTS:
        return LOCAL_TEXTS[code]
    if code not in NAMES:
        return f"Err-{code}?"
    if code < error_codes.UNKNOWN_SERVER_ERROR:
        return f"Local: {NAMES[code].strip('_').replace('_', ' ').capitalize()}"
    sentence = error_codes.TABLE[code].message.split(". ")[0].removesuffix(".")
    return f"Broker: {BROKER_TEXTS.get(code, sentence)}"
