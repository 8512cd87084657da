"""Errors of our tree as google.rpc.Status, and back: what the server sends and what clients raise.

code        by what the caller can do about it (`operations.failures`), see CODES
message     the error's own sentence
details     ErrorInfo    reason "UNKNOWN_TOPIC_OR_PARTITION", domain "kafka.apache.org",
                         metadata {"code": "3", "retriable": "true"}
                         or, of an error that no broker sends, reason "DEADLINE_EXCEEDED", domain "pystream"
            BadRequest   which fields of the request are wrong, and why

A call that fails has its status in the trailers, of which clients take 8 KiB: `brief_status_of` keeps within them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from google.rpc import code_pb2, error_details_pb2, status_pb2

from pystream.client.operations.failures import FailureKind, kind_of
from pystream.common import errors
from pystream.common.errors import KafkaError, PystreamError

KAFKA_DOMAIN: Final = "kafka.apache.org"
OWN_DOMAIN: Final = "pystream"
TRAILER: Final = "grpc-status-details-bin"
BRIEF_FIELDS: Final = 10  # that are named in a trailer,
BRIEF_NAME_BYTES: Final = 60  # each with so much of its name
BRIEF_REASON_BYTES: Final = 160  # and of what is wrong with it
BRIEF_MESSAGE_BYTES: Final = 800  # sent twice, the second time with up to three bytes for each of these

Violations = list[tuple[str, str]]


class InvalidFields(errors.InvalidRequest):
    """A request with fields that cannot be: `violations` names each with what is wrong."""

    def __init__(self, violations: Violations) -> None:
        super().__init__("; ".join(f"{field}: {why}" for field, why in violations))
        self.violations = violations


# The code of an error: of the first class here that it is one of, else by its kind.
CODES: Final[tuple[tuple[type[PystreamError], int], ...]] = (
    (errors.OffsetOutOfRange, code_pb2.OUT_OF_RANGE),
    (errors.TopicAlreadyExists, code_pb2.ALREADY_EXISTS),
    (errors.DuplicateResource, code_pb2.ALREADY_EXISTS),
    (errors.TopicAuthorizationFailed, code_pb2.PERMISSION_DENIED),
    (errors.GroupAuthorizationFailed, code_pb2.PERMISSION_DENIED),
    (errors.ClusterAuthorizationFailed, code_pb2.PERMISSION_DENIED),
    (errors.TransactionalIdAuthorizationFailed, code_pb2.PERMISSION_DENIED),
    (errors.DelegationTokenAuthorizationFailed, code_pb2.PERMISSION_DENIED),
    (errors.SaslAuthenticationFailed, code_pb2.UNAUTHENTICATED),
    (errors.UnsupportedVersion, code_pb2.UNIMPLEMENTED),
    (errors.RequestTimedOut, code_pb2.DEADLINE_EXCEEDED),
    (errors.DeliveryTimeout, code_pb2.DEADLINE_EXCEEDED),
    (errors.NoBrokersAvailable, code_pb2.UNAVAILABLE),
    (errors.NetworkFailure, code_pb2.UNAVAILABLE),
    (errors.Closed, code_pb2.UNAVAILABLE),
    (errors.Busy, code_pb2.RESOURCE_EXHAUSTED),
    (errors.BufferFull, code_pb2.RESOURCE_EXHAUSTED),
    (errors.LimitExceeded, code_pb2.RESOURCE_EXHAUSTED),
    (errors.ThrottlingQuotaExceeded, code_pb2.RESOURCE_EXHAUSTED),
    (errors.MessageTooLarge, code_pb2.INVALID_ARGUMENT),
)
# Errors of Kafka by their names, where kinds say too little. Any other is UNAVAILABLE where trying again may help, and
# else FAILED_PRECONDITION.
NAMED: Final = {
    code_pb2.INVALID_ARGUMENT: (
        *("INVALID_FETCH_SIZE", "OFFSET_METADATA_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_REQUIRED_ACKS"),
        *("INVALID_SESSION_TIMEOUT", "INVALID_COMMIT_OFFSET_SIZE", "INVALID_TIMESTAMP", "INVALID_TRANSACTION_TIMEOUT"),
        *("INVALID_PRINCIPAL_TYPE", "INVALID_RECORD", "UNACCEPTABLE_CREDENTIAL", "INVALID_UPDATE_VERSION"),
        *("INVALID_REGULAR_EXPRESSION", "UNSUPPORTED_COMPRESSION_TYPE", "UNSUPPORTED_ASSIGNOR", "TELEMETRY_TOO_LARGE"),
        *("INCONSISTENT_GROUP_PROTOCOL", "INVALID_REGISTRATION", "INVALID_VOTER_KEY", "STREAMS_INVALID_TOPOLOGY"),
    ),
    code_pb2.NOT_FOUND: (
        *("DELEGATION_TOKEN_NOT_FOUND", "NO_REASSIGNMENT_IN_PROGRESS", "SNAPSHOT_NOT_FOUND", "UNKNOWN_PRODUCER_ID"),
        *("UNKNOWN_CONTROLLER_ID", "UNKNOWN_SUBSCRIPTION_ID", "VOTER_NOT_FOUND"),
    ),
    code_pb2.UNAUTHENTICATED: ("UNSUPPORTED_SASL_MECHANISM", "ILLEGAL_SASL_STATE", "DELEGATION_TOKEN_EXPIRED"),
    code_pb2.PERMISSION_DENIED: ("DELEGATION_TOKEN_OWNER_MISMATCH", "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"),
    code_pb2.ALREADY_EXISTS: ("DUPLICATE_VOTER", "DUPLICATE_BROKER_REGISTRATION"),
    code_pb2.OUT_OF_RANGE: ("POSITION_OUT_OF_RANGE",),
    code_pb2.ABORTED: ("TRANSACTION_ABORTABLE", "OPERATION_NOT_ATTEMPTED"),
    code_pb2.RESOURCE_EXHAUSTED: ("GROUP_MAX_SIZE_REACHED",),
    code_pb2.FAILED_PRECONDITION: ("ELECTION_NOT_NEEDED",),
    code_pb2.UNKNOWN: ("UNKNOWN_SERVER_ERROR",),
}
_NAMED: Final[dict[str, int]] = {name: code for code, names in NAMED.items() for name in names}
KINDS: Final[dict[FailureKind, int]] = {
    FailureKind.INVALID: code_pb2.INVALID_ARGUMENT,
    FailureKind.NOT_FOUND: code_pb2.NOT_FOUND,
    FailureKind.REFUSED: code_pb2.FAILED_PRECONDITION,
    FailureKind.UNREACHABLE: code_pb2.DEADLINE_EXCEEDED,
}
# What a status without our details means: it comes from gRPC itself, or from a proxy.
BARE: Final[dict[int, type[PystreamError]]] = {
    code_pb2.INVALID_ARGUMENT: errors.InvalidRequest,
    code_pb2.NOT_FOUND: errors.NotFound,
    code_pb2.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    code_pb2.UNAVAILABLE: errors.NoBrokersAvailable,
    code_pb2.RESOURCE_EXHAUSTED: errors.LimitExceeded,
    code_pb2.PERMISSION_DENIED: errors.ClusterAuthorizationFailed,
    code_pb2.UNAUTHENTICATED: errors.SaslAuthenticationFailed,
    code_pb2.UNIMPLEMENTED: errors.UnsupportedVersion,
    code_pb2.CANCELLED: errors.Closed,
}


def code_of(error: PystreamError) -> int:
    """A number of google.rpc.Code. A deadline that passed because nobody could be reached is that."""
    if isinstance(error, errors.DeadlineExceeded) and isinstance(error.last_error, PystreamError):
        return code_of(error.last_error)
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    other: int = code_pb2.UNKNOWN
    if isinstance(error, KafkaError):
        if error.name in _NAMED:
            return _NAMED[error.name]
        other = code_pb2.UNAVAILABLE if error.retriable else code_pb2.FAILED_PRECONDITION
    return KINDS.get(kind_of(error), other)


def status_of(error: PystreamError) -> status_pb2.Status:
    """With its details."""
    status = status_pb2.Status(code=code_of(error), message=str(error))
    status.details.add().Pack(info_of(error))
    if isinstance(error, InvalidFields):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=why) for field, why in error.violations
        ]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    return status


def brief_status_of(error: PystreamError) -> status_pb2.Status:
    """For trailers: long texts are cut, and of many wrong fields the first are named."""
    if isinstance(error, InvalidFields):
        first, left_out = error.violations[:BRIEF_FIELDS], len(error.violations) - BRIEF_FIELDS
        named = [(_cut(field, BRIEF_NAME_BYTES), _cut(why, BRIEF_REASON_BYTES)) for field, why in first]
        error = InvalidFields([*named, ("...", f"{left_out} fields more")] if left_out > 0 else named)
    status = status_of(error)
    status.message = _cut(status.message, BRIEF_MESSAGE_BYTES)
    return status


def _cut(text: str, most_bytes: int) -> str:
    data = text.encode(errors="replace")
    if len(data) <= most_bytes:
        return text
    return f"{data[:most_bytes].decode(errors='ignore')}... ({len(text)} characters)"


def info_of(error: PystreamError) -> error_details_pb2.ErrorInfo:
    """Kafka's name and number, or our class."""
    if isinstance(error, KafkaError):
        metadata = {"code": str(error.code), "retriable": str(error.retriable).lower()}
        return error_details_pb2.ErrorInfo(reason=error.name, domain=KAFKA_DOMAIN, metadata=metadata)
    metadata = {}
    if isinstance(error, errors.DeadlineExceeded) and isinstance(error.last_error, KafkaError):
        metadata = {"last_error": error.last_error.name, "last_code": str(error.last_error.code)}
    return error_details_pb2.ErrorInfo(reason=_reason(type(error)), domain=OWN_DOMAIN, metadata=metadata)


def error_of(status: status_pb2.Status) -> PystreamError:
    """The error that a status tells of, as narrow as it is known here."""
    info = error_details_pb2.ErrorInfo()
    violations = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(violations.DESCRIPTOR):
            detail.Unpack(violations)
        elif detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
    if violations.field_violations:
        return InvalidFields([(each.field, each.description) for each in violations.field_violations])
    if info.domain == KAFKA_DOMAIN and info.metadata["code"].lstrip("-").isdecimal() and info.metadata["code"] != "0":
        return errors.error_class(int(info.metadata["code"]))(status.message)
    if info.domain == OWN_DOMAIN and info.reason in _OWN:
        return _OWN[info.reason](status.message)
    return BARE.get(status.code, errors.UnknownServerError)(status.message)


def error_of_call(call: Any) -> PystreamError:
    """The error of a call that failed (a grpc.RpcError)."""
    for name, value in call.trailing_metadata() or ():
        if name == TRAILER:
            return error_of(status_pb2.Status.FromString(value))
    code = call.code()
    return error_of(status_pb2.Status(code=code.value[0], message=f"{code.name}: {call.details()}"))


def _reason(kind: type[PystreamError]) -> str:
    """DeadlineExceeded -> DEADLINE_EXCEEDED."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper()


def _classes(kind: type[PystreamError]) -> Iterator[type[PystreamError]]:
    """Those that no broker sends and that are made from a sentence."""
    for inner in kind.__subclasses__():
        if not issubclass(inner, KafkaError | errors.StoreError):
            yield inner
            yield from _classes(inner)


_OWN: Final = {_reason(kind): kind for kind in _classes(PystreamError)}
