"""Words that every floor shares: partitions, ids, names, sentinels."""

from __future__ import annotations

import base64
import os
import re
from typing import Final, NamedTuple

from pystream.common.errors import InvalidTopic, MalformedInput

NO_BROKER: Final = -1  # a partition without a leader; "any broker" in DescribeConfigs
NO_LEADER_EPOCH: Final = -1
NO_OFFSET: Final = -1
NO_PRODUCER_ID: Final = -1
NO_PRODUCER_EPOCH: Final = -1
NO_SEQUENCE: Final = -1
NO_TIMESTAMP: Final = -1

UUID_SIZE_BYTES: Final = 16
ZERO_UUID: Final = bytes(UUID_SIZE_BYTES)  # "no topic id" on the wire
METADATA_TOPIC_UUID: Final = bytes(15) + b"\x01"  # reserved by Kafka for its metadata log

MAXIMUM_TOPIC_NAME_LENGTH: Final = 249
CONSUMER_OFFSETS_TOPIC: Final = "__consumer_offsets"
TRANSACTION_STATE_TOPIC: Final = "__transaction_state"
SHARE_GROUP_STATE_TOPIC: Final = "__share_group_state"
CLUSTER_METADATA_TOPIC: Final = "__cluster_metadata"
INTERNAL_TOPICS: Final = frozenset({CONSUMER_OFFSETS_TOPIC, TRANSACTION_STATE_TOPIC, SHARE_GROUP_STATE_TOPIC})

_UUID_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+")


class TopicPartition(NamedTuple):
    """A partition by its topic's name."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class TopicIdPartition(NamedTuple):
    """A partition by its topic's id: the 16 bytes that survive no deletion of the topic."""

    topic_id: bytes
    partition: int

    def __str__(self) -> str:
        return f"{uuid_text(self.topic_id)}-{self.partition}"


class Endpoint(NamedTuple):
    """Where a broker listens, as clients are told."""

    listener: str
    host: str
    port: int
    security_protocol: str = "PLAINTEXT"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.listener}://{host}:{self.port}"


def random_uuid() -> bytes:
    """A random (version 4) id whose text does not begin with '-', which would look like a flag on a command line.

    Source: Kafka's Uuid.randomUuid.
    """
    while True:
        raw = bytearray(os.urandom(UUID_SIZE_BYTES))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        if not uuid_text(bytes(raw)).startswith("-"):
            return bytes(raw)


def uuid_text(raw: bytes) -> str:
    """Kafka's form of a 16-byte id: 22 characters of URL-safe base64 without padding."""
    if len(raw) != UUID_SIZE_BYTES:
        raise MalformedInput(f"a uuid of {len(raw)} bytes, expected {UUID_SIZE_BYTES}")
    return base64.urlsafe_b64encode(raw)[:22].decode("ascii")


def uuid_bytes(text: str) -> bytes:
    """The id that `uuid_text` wrote. Raises MalformedInput for anything else."""
    if not _UUID_TEXT.fullmatch(text):
        raise MalformedInput(f"not a uuid in base64: {text[:40]!r}")
    return base64.urlsafe_b64decode(text + "==")


def validate_topic_name(name: str) -> None:
    """Raises InvalidTopic, in Kafka's words, for a name that no topic may have."""
    if complaint := _topic_name_complaint(name):
        raise InvalidTopic(f"Topic name is invalid: {complaint}")


def _topic_name_complaint(name: str) -> str | None:
    if not name:
        return "the empty string is not allowed"
    if name in (".", ".."):
        return f"'{name}' is not allowed"
    if len(name) > MAXIMUM_TOPIC_NAME_LENGTH:
        return f"the length of '{name}' is longer than the max allowed length {MAXIMUM_TOPIC_NAME_LENGTH}"
    if not _TOPIC_NAME.fullmatch(name):
        return f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    return None


def collision_key(topic_name: str) -> str:
    """Topics with equal keys collide: metrics write '.' as '_'."""
    return topic_name.replace(".", "_")


def is_internal(topic_name: str) -> bool:
    """Whether the cluster itself owns the topic: clients see it marked, and may not create or delete it."""
    return topic_name in INTERNAL_TOPICS
