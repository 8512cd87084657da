"""Errors as Kafka's tools print them."""

from __future__ import annotations

import re
from typing import Final

from pystream.cli.kafka.options import Mistake
from pystream.common import errors
from pystream.common.error_codes import TABLE
from pystream.common.errors import KafkaError, PystreamError

COMMON: Final = "org.apache.kafka.common."
# "describe_acls: " and "group 'a': ", which our client puts before
OPERATION: Final = re.compile(r"[a-z]+(?:_[a-z]+)+(?: \S+)?: |^group '[^']*': ")


class WrongSetting(errors.InvalidConfig):
    """A setting that the client refuses, not a broker."""


# where the class has another name than the error; with a dot in it, another package than `errors`
JAVA_NAMES: Final[dict[type[PystreamError], str]] = {
    WrongSetting: "config.ConfigException",
    errors.MalformedInput: ".KafkaException",
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


def java_class(error: PystreamError) -> str:
    """The class that Kafka's clients raise for the same reason."""
    known = next((JAVA_NAMES[kind] for kind in type(error).__mro__ if kind in JAVA_NAMES), None)
    name = known or f"{type(error).__name__}Exception"
    return f"{COMMON}{name.removeprefix('.') if '.' in name else f'errors.{name}'}"


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
    return f"{java_class(error)}: {message(error)}"
