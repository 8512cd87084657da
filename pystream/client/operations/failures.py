"""What an error means to a caller, whichever door it comes through: an exit code, an HTTP status, a gRPC status."""

from __future__ import annotations

from enum import Enum
from typing import Final

from pystream.common import errors
from pystream.common.errors import KafkaError, PystreamError


class FailureKind(Enum):
    """What the caller can do about it differs from kind to kind."""

    FAILED = "failed"  # none of the others
    INVALID = "invalid"  # an argument cannot be: change it
    NOT_FOUND = "not found"
    REFUSED = "refused"  # not allowed, or not in the state that the cluster is in
    UNREACHABLE = "unreachable"  # no answer in time: what was asked may have been done


_KINDS: Final[dict[FailureKind, tuple[type[PystreamError], ...]]] = {
    FailureKind.INVALID: (
        errors.InvalidRequest,
        errors.InvalidConfig,
        errors.InvalidTopic,
        errors.InvalidPartitions,
        errors.InvalidReplicationFactor,
        errors.InvalidReplicaAssignment,
        errors.InvalidGroupId,
        errors.OffsetOutOfRange,
        errors.MalformedInput,
    ),
    FailureKind.NOT_FOUND: (
        errors.NotFound,
        errors.UnknownTopicOrPartition,
        errors.UnknownTopicId,
        errors.GroupIdNotFound,
        errors.TransactionalIdNotFound,
        errors.ResourceNotFound,
        errors.LogDirNotFound,
        errors.BrokerIdNotRegistered,
        errors.BrokerNotAvailable,
    ),
    FailureKind.REFUSED: (
        errors.TopicAuthorizationFailed,
        errors.GroupAuthorizationFailed,
        errors.ClusterAuthorizationFailed,
        errors.TransactionalIdAuthorizationFailed,
        errors.DelegationTokenAuthorizationFailed,
        errors.SaslAuthenticationFailed,
        errors.SecurityDisabled,
        errors.PolicyViolation,
        errors.TopicAlreadyExists,
        errors.TopicDeletionDisabled,
        errors.NonEmptyGroup,
        errors.GroupSubscribedToTopic,
        errors.ReassignmentInProgress,
        errors.InvalidTxnState,
        errors.UnknownMemberId,
        errors.UnsupportedVersion,
        errors.ProducerFenced,
        errors.InvalidProducerEpoch,
    ),
    FailureKind.UNREACHABLE: (
        errors.NoBrokersAvailable,
        errors.DeadlineExceeded,
        errors.NetworkFailure,
        errors.RequestTimedOut,
    ),
}


def kind_of(error: BaseException) -> FailureKind:
    """The kind of an error; of a deadline, that of what kept it from being met where a broker said so."""
    if isinstance(error, errors.DeadlineExceeded) and isinstance(error.last_error, KafkaError):
        return (
            kind_of(error.last_error)
            if kind_of(error.last_error) is not FailureKind.FAILED
            else (FailureKind.UNREACHABLE)
        )
    for kind, classes in _KINDS.items():
        if isinstance(error, classes):
            return kind
    return FailureKind.FAILED
