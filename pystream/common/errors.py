"""Every error that pystream raises on purpose: one tree.

    PystreamError
    ├── MalformedInput              bytes from outside that do not parse
    │   ├── TruncatedInput          a length or a count reaches past the end of what was received
    │   └── UnknownRecord           a record of a type or version that this pystream does not know
    ├── LimitExceeded               well formed, but above a configured limit
    ├── DataDirectoryError          a data directory that must not be used
    │   ├── DataDirectoryLocked     another process holds it
    │   └── UnknownFormatVersion    written by a pystream that this one does not understand
    ├── StoreError                  the metadata store
    │   ├── StoreUnavailable        certainly not applied; try again
    │   ├── StoreOutcomeUnknown     may have been applied: read before trying again
    │   ├── StoreCompacted          the revisions asked for are gone; range again
    │   ├── StoreDamaged            the database failed its own check
    │   ├── LeaseGone               expired or revoked; it never comes back
    │   └── TransactionTooLarge     nothing was applied
    ├── NotFound                    a name or an offset that nothing answers to
    ├── Busy                        a bounded queue is full
    ├── Closed                      the object was closed
    └── KafkaError                  has a `code` and `retriable`; one class for each error code of Kafka
        ├── CorruptMessage
        │   └── CorruptRecordBatch  CRC differs, or counts and deltas contradict one another
        ├── KafkaStorageError
        │   ├── LogOffline          damaged or failed: refuses writes until an operator acts
        │   ├── LogDamaged          damage that must not be cut off
        │   └── NoSpace             the disk is full
        ├── NotLeaderOrFollower
        │   └── LogMoving           the log is being replaced by a copy: it takes writes in a moment
        └── …                       OffsetOutOfRange, TopicAlreadyExists, InvalidConfig, …

Raise the narrowest, and say what was found and what was expected. Without a message an error explains itself with
Kafka's own sentence. At the edge of the wire `code_of` and `message_of` turn any exception into what an answer carries.
"""

from __future__ import annotations

from typing import ClassVar

from pystream.common.error_codes import NONE, TABLE, UNKNOWN_SERVER_ERROR


class PystreamError(Exception):
    """Root of the tree."""


class MalformedInput(PystreamError):
    """Bytes from outside that do not parse. The connection or file they came from is to blame, not the process."""


class TruncatedInput(MalformedInput):
    """A length or a count reaches past the end of its frame, batch or file."""


class UnknownRecord(MalformedInput):
    """A record of a type or version that this pystream does not know: something newer wrote it."""


class LimitExceeded(PystreamError):
    """Well formed, but above a configured limit (decompressed size, array count, frame size)."""


class DataDirectoryError(PystreamError):
    """A data directory that must not be used as it is."""


class DataDirectoryLocked(DataDirectoryError):
    """Another process holds the directory."""


class UnknownFormatVersion(DataDirectoryError):
    """The directory was written in a format that this version does not know."""


class StoreError(PystreamError):
    """The metadata store refused or failed."""


class StoreUnavailable(StoreError):
    """The store could not be reached; the request was certainly not applied."""


class StoreOutcomeUnknown(StoreError):
    """The reply was lost: the request may have been applied. Read before trying again."""


class StoreCompacted(StoreError):
    """The revisions asked for are gone; `minimum_revision` is the oldest that can still be watched from."""

    def __init__(self, minimum_revision: int) -> None:
        super().__init__(f"revisions below {minimum_revision} were compacted")
        self.minimum_revision = minimum_revision


class StoreDamaged(StoreError):
    """The database failed its own check; nothing is served from it."""


class LeaseGone(StoreError):
    """The lease expired or was revoked. It never comes back: ask for a new one."""


class TransactionTooLarge(StoreError):
    """Too many compares or operations, two writes of one key, or too many bytes. Nothing was applied."""


class NotFound(PystreamError):
    """A name or an offset that nothing answers to."""


class Busy(PystreamError):
    """A bounded queue is full."""


class Closed(PystreamError):
    """The object was closed."""


class KafkaError(PystreamError):
    """An error with a number on the wire. `retriable`: a client may try again without changing anything.

    A subclass names its number once, `class X(KafkaError, code=1)`; a subclass of that keeps it.
    """

    code: ClassVar[int] = UNKNOWN_SERVER_ERROR
    name: ClassVar[str] = TABLE[UNKNOWN_SERVER_ERROR].name
    retriable: ClassVar[bool] = False

    def __init_subclass__(cls, code: int | None = None) -> None:
        if code is not None:
            row = TABLE[code]
            cls.code, cls.name, cls.retriable, cls.__doc__ = code, row.name, row.retriable, row.message
            _CLASSES[code] = cls

    def __str__(self) -> str:
        return super().__str__() or TABLE[self.code].message


_CLASSES: dict[int, type[KafkaError]] = {}


def error_class(code: int) -> type[KafkaError]:
    """The class of an error code; UnknownServerError for a number that Kafka 4.2 does not have. NONE has no class."""
    if code == NONE:
        raise ValueError("error code 0 means success and has no exception")
    return _CLASSES.get(code, UnknownServerError)


def code_of(error: BaseException) -> int:
    """The number that a response carries for `error`; UNKNOWN_SERVER_ERROR for what has none."""
    return error.code if isinstance(error, KafkaError) else UNKNOWN_SERVER_ERROR


def message_of(error: BaseException) -> str:
    """The text that a response carries for `error`. Other errors keep theirs to themselves: it may hold paths."""
    return str(error) if isinstance(error, KafkaError) else TABLE[UNKNOWN_SERVER_ERROR].message


# Generated by tools/codegen/error_codes.py, down to the next mark: one class for each error of the table.


class UnknownServerError(KafkaError, code=-1): ...


class OffsetOutOfRange(KafkaError, code=1): ...


class CorruptMessage(KafkaError, code=2): ...


class UnknownTopicOrPartition(KafkaError, code=3): ...


class InvalidFetchSize(KafkaError, code=4): ...


class LeaderNotAvailable(KafkaError, code=5): ...


class NotLeaderOrFollower(KafkaError, code=6): ...


class RequestTimedOut(KafkaError, code=7): ...


class BrokerNotAvailable(KafkaError, code=8): ...


class ReplicaNotAvailable(KafkaError, code=9): ...


class MessageTooLarge(KafkaError, code=10): ...


class StaleControllerEpoch(KafkaError, code=11): ...


class OffsetMetadataTooLarge(KafkaError, code=12): ...


class NetworkFailure(KafkaError, code=13): ...


class CoordinatorLoadInProgress(KafkaError, code=14): ...


class CoordinatorNotAvailable(KafkaError, code=15): ...


class NotCoordinator(KafkaError, code=16): ...


class InvalidTopic(KafkaError, code=17): ...


class RecordListTooLarge(KafkaError, code=18): ...


class NotEnoughReplicas(KafkaError, code=19): ...


class NotEnoughReplicasAfterAppend(KafkaError, code=20): ...


class InvalidRequiredAcks(KafkaError, code=21): ...


class IllegalGeneration(KafkaError, code=22): ...


class InconsistentGroupProtocol(KafkaError, code=23): ...


class InvalidGroupId(KafkaError, code=24): ...


class UnknownMemberId(KafkaError, code=25): ...


class InvalidSessionTimeout(KafkaError, code=26): ...


class RebalanceInProgress(KafkaError, code=27): ...


class InvalidCommitOffsetSize(KafkaError, code=28): ...


class TopicAuthorizationFailed(KafkaError, code=29): ...


class GroupAuthorizationFailed(KafkaError, code=30): ...


class ClusterAuthorizationFailed(KafkaError, code=31): ...


class InvalidTimestamp(KafkaError, code=32): ...


class UnsupportedSaslMechanism(KafkaError, code=33): ...


class IllegalSaslState(KafkaError, code=34): ...


class UnsupportedVersion(KafkaError, code=35): ...


class TopicAlreadyExists(KafkaError, code=36): ...


class InvalidPartitions(KafkaError, code=37): ...


class InvalidReplicationFactor(KafkaError, code=38): ...


class InvalidReplicaAssignment(KafkaError, code=39): ...


class InvalidConfig(KafkaError, code=40): ...


class NotController(KafkaError, code=41): ...


class InvalidRequest(KafkaError, code=42): ...


class UnsupportedForMessageFormat(KafkaError, code=43): ...


class PolicyViolation(KafkaError, code=44): ...


class OutOfOrderSequenceNumber(KafkaError, code=45): ...


class DuplicateSequenceNumber(KafkaError, code=46): ...


class InvalidProducerEpoch(KafkaError, code=47): ...


class InvalidTxnState(KafkaError, code=48): ...


class InvalidProducerIdMapping(KafkaError, code=49): ...


class InvalidTransactionTimeout(KafkaError, code=50): ...


class ConcurrentTransactions(KafkaError, code=51): ...


class TransactionCoordinatorFenced(KafkaError, code=52): ...


class TransactionalIdAuthorizationFailed(KafkaError, code=53): ...


class SecurityDisabled(KafkaError, code=54): ...


class OperationNotAttempted(KafkaError, code=55): ...


class KafkaStorageError(KafkaError, code=56): ...


class LogDirNotFound(KafkaError, code=57): ...


class SaslAuthenticationFailed(KafkaError, code=58): ...


class UnknownProducerId(KafkaError, code=59): ...


class ReassignmentInProgress(KafkaError, code=60): ...


class DelegationTokenAuthDisabled(KafkaError, code=61): ...


class DelegationTokenNotFound(KafkaError, code=62): ...


class DelegationTokenOwnerMismatch(KafkaError, code=63): ...


class DelegationTokenRequestNotAllowed(KafkaError, code=64): ...


class DelegationTokenAuthorizationFailed(KafkaError, code=65): ...


class DelegationTokenExpired(KafkaError, code=66): ...


class InvalidPrincipalType(KafkaError, code=67): ...


class NonEmptyGroup(KafkaError, code=68): ...


class GroupIdNotFound(KafkaError, code=69): ...


class FetchSessionIdNotFound(KafkaError, code=70): ...


class InvalidFetchSessionEpoch(KafkaError, code=71): ...


class ListenerNotFound(KafkaError, code=72): ...


class TopicDeletionDisabled(KafkaError, code=73): ...


class FencedLeaderEpoch(KafkaError, code=74): ...


class UnknownLeaderEpoch(KafkaError, code=75): ...


class UnsupportedCompressionType(KafkaError, code=76): ...


class StaleBrokerEpoch(KafkaError, code=77): ...


class OffsetNotAvailable(KafkaError, code=78): ...


class MemberIdRequired(KafkaError, code=79): ...


class PreferredLeaderNotAvailable(KafkaError, code=80): ...


class GroupMaxSizeReached(KafkaError, code=81): ...


class FencedInstanceId(KafkaError, code=82): ...


class EligibleLeadersNotAvailable(KafkaError, code=83): ...


class ElectionNotNeeded(KafkaError, code=84): ...


class NoReassignmentInProgress(KafkaError, code=85): ...


class GroupSubscribedToTopic(KafkaError, code=86): ...


class InvalidRecord(KafkaError, code=87): ...


class UnstableOffsetCommit(KafkaError, code=88): ...


class ThrottlingQuotaExceeded(KafkaError, code=89): ...


class ProducerFenced(KafkaError, code=90): ...


class ResourceNotFound(KafkaError, code=91): ...


class DuplicateResource(KafkaError, code=92): ...


class UnacceptableCredential(KafkaError, code=93): ...


class InconsistentVoterSet(KafkaError, code=94): ...


class InvalidUpdateVersion(KafkaError, code=95): ...


class FeatureUpdateFailed(KafkaError, code=96): ...


class PrincipalDeserializationFailure(KafkaError, code=97): ...


class SnapshotNotFound(KafkaError, code=98): ...


class PositionOutOfRange(KafkaError, code=99): ...


class UnknownTopicId(KafkaError, code=100): ...


class DuplicateBrokerRegistration(KafkaError, code=101): ...


class BrokerIdNotRegistered(KafkaError, code=102): ...


class InconsistentTopicId(KafkaError, code=103): ...


class InconsistentClusterId(KafkaError, code=104): ...


class TransactionalIdNotFound(KafkaError, code=105): ...


class FetchSessionTopicIdError(KafkaError, code=106): ...


class IneligibleReplica(KafkaError, code=107): ...


class NewLeaderElected(KafkaError, code=108): ...


class OffsetMovedToTieredStorage(KafkaError, code=109): ...


class FencedMemberEpoch(KafkaError, code=110): ...


class UnreleasedInstanceId(KafkaError, code=111): ...


class UnsupportedAssignor(KafkaError, code=112): ...


class StaleMemberEpoch(KafkaError, code=113): ...


class MismatchedEndpointType(KafkaError, code=114): ...


class UnsupportedEndpointType(KafkaError, code=115): ...


class UnknownControllerId(KafkaError, code=116): ...


class UnknownSubscriptionId(KafkaError, code=117): ...


class TelemetryTooLarge(KafkaError, code=118): ...


class InvalidRegistration(KafkaError, code=119): ...


class TransactionAbortable(KafkaError, code=120): ...


class InvalidRecordState(KafkaError, code=121): ...


class ShareSessionNotFound(KafkaError, code=122): ...


class InvalidShareSessionEpoch(KafkaError, code=123): ...


class FencedStateEpoch(KafkaError, code=124): ...


class InvalidVoterKey(KafkaError, code=125): ...


class DuplicateVoter(KafkaError, code=126): ...


class VoterNotFound(KafkaError, code=127): ...


class InvalidRegularExpression(KafkaError, code=128): ...


class RebootstrapRequired(KafkaError, code=129): ...


class StreamsInvalidTopology(KafkaError, code=130): ...


class StreamsInvalidTopologyEpoch(KafkaError, code=131): ...


class StreamsTopologyFenced(KafkaError, code=132): ...


class ShareSessionLimitReached(KafkaError, code=133): ...


# End of what is generated.


class CorruptRecordBatch(CorruptMessage):
    """A record batch whose CRC differs, or whose counts and deltas contradict one another."""


class LogMoving(NotLeaderOrFollower):
    """The log is being replaced by a copy elsewhere: nothing was written, and it takes writes in a moment."""


class LogOffline(KafkaStorageError):
    """The log is damaged or failed: it refuses writes until an operator acts."""


class LogDamaged(KafkaStorageError):
    """Recovery or a read found damage that must not be cut off."""


class NoSpace(KafkaStorageError):
    """The disk is full; the log is whole up to the last batch before."""
