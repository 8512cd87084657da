"""Errors as Kafka's tools print them."""

from __future__ import annotations

import re
from typing import Final

from pystream.cli.kafka.options import Mistake
from pystream.common import errors
from pystream.common.error_codes import TABLE
from pystream.common.errors import KafkaError, PystreamError

JAVA_PACKAGE: Final = "org.apache.kafka.common.errors."
# "describe_acls: " and "group 'a': ", which our client puts before
OPERATION: Final = re.compile(r"[a-z]+(?:_[a-z]+)+(?: \S+)?: |^group '[^']*': ")
# where the class has another name than the error
JAVA_NAMES: Final[dict[type[PystreamError], str]] = {
    errors.InvalidConfig: "InvalidConfigurationException",
    errors.CorruptMessage: "CorruptRecordException",
    errors.MessageTooLarge: "RecordTooLargeException",
    errors.RequestTimedOut: "TimeoutException",
    errors.DeadlineExceeded: "TimeoutException",
    errors.NonEmptyGroup: "GroupNotEmptyException",
    errors.GroupSubscribedToTopic: "GroupSubscribedToTopicException",
    errors.TopicAlreadyExists: "TopicExistsException",
    errors.NetworkFailure: "NetworkException",
    errors.SerializationError: "SerializationException",
    errors.TransactionalIdNotFound: "TransactionalIdNotFoundException",
    errors.KafkaStorageError: "KafkaStorageException",
    errors.ClusterAuthorizationFailed: "ClusterAuthorizationException",
    errors.GroupAuthorizationFailed: "GroupAuthorizationException",
    errors.TopicAuthorizationFailed: "TopicAuthorizationException",
    errors.UnknownServerError: "UnknownServerException",
}


def java_name(error: PystreamError) -> str:
    """The class that Kafka's clients raise for the same reason, without its package."""
    for kind in type(error).__mro__:
        if kind in JAVA_NAMES:
            return JAVA_NAMES[kind]
    return f"{type(error).__name__}Exception"


def message(error: PystreamError) -> str:
    """What the broker said, or Kafka's own sentence; without what our client put before it."""
    if isinstance(error, Mistake):
        return str(error)
    said = OPERATION.sub("", str(error), count=1) if isinstance(error, KafkaError) else str(error)
    if isinstance(error, KafkaError) and error.code in TABLE and said.endswith(TABLE[error.code].message):
        return TABLE[error.code].message
    return said


def java_text(error: PystreamError) -> str:
    """Class and message, as an ExecutionException of Java's clients has them; of a Mistake the message."""
    if isinstance(error, Mistake):
        return message(error)
    return f"{JAVA_PACKAGE}{java_name(error)}: {message(error)}"
