"""Message, TopicPartition and the other values that confluent_kafka's clients hand out."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import total_ordering
from typing import Any, Final, NoReturn

from pystream.common.model import TopicPartition as Place
from pystream.compat.confluent_kafka._errors import KafkaError, KafkaException

OFFSET_BEGINNING: Final = -2
OFFSET_END: Final = -1
OFFSET_STORED: Final = -1000
OFFSET_INVALID: Final = -1001
PARTITION_ANY: Final = -1
TIMESTAMP_NOT_AVAILABLE: Final = 0
TIMESTAMP_CREATE_TIME: Final = 1
TIMESTAMP_LOG_APPEND_TIME: Final = 2

Headers = list[tuple[str, bytes | None]]


class Message:
    """A message that was consumed, or delivered, or an event in its place: then `error()` is not None."""

    __slots__ = (
        "_delivery_count",
        "_error",
        "_headers",
        "_key",
        "_latency",
        "_leader_epoch",
        "_offset",
        "_partition",
        "_timestamp",
        "_topic",
        "_value",
    )

    def __init__(
        self,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        key: Any = None,
        value: Any = None,
        headers: Headers | None = None,
        error: KafkaError | None = None,
        timestamp: tuple[int, int] | None = None,
        latency: float | None = None,
        leader_epoch: int | None = None,
        delivery_count: int | None = None,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._offset = offset
        self._key = key
        self._value = value
        self._headers = headers
        self._error = error
        self._timestamp = (TIMESTAMP_NOT_AVAILABLE, 0) if timestamp is None else timestamp
        self._latency = latency
        self._leader_epoch = leader_epoch
        self._delivery_count = delivery_count

    def topic(self) -> str | None:
        return self._topic

    def partition(self) -> int | None:
        return self._partition

    def offset(self) -> int | None:
        return self._offset

    def key(self) -> Any:
        return self._key

    def value(self) -> Any:
        return self._value

    def deserialized_key(self) -> Any:
        return self._key

    def deserialized_value(self) -> Any:
        return self._value

    def headers(self) -> Headers | None:
        return self._headers

    def error(self) -> KafkaError | None:
        return self._error

    def timestamp(self) -> tuple[int, int]:
        """(TIMESTAMP_*, milliseconds)."""
        return self._timestamp

    def latency(self) -> float | None:
        """Seconds from produce() to the acknowledgement; None for a consumed message."""
        return self._latency

    def leader_epoch(self) -> int | None:
        return self._leader_epoch

    def delivery_count(self) -> int | None:
        """How often a share group has given it out; None without one."""
        return self._delivery_count

    def set_headers(self, headers: Headers) -> None:
        self._headers = headers

    def set_key(self, key: Any) -> None:
        self._key = key

    def set_value(self, value: Any) -> None:
        self._value = value

    def set_error(self, error: KafkaError | None) -> None:
        self._error = error

    def __len__(self) -> int:
        return 0 if self._value is None else len(self._value)


@total_ordering
class TopicPartition:
    """A partition, with an offset where one matters. Equal by topic and partition."""

    def __init__(
        self,
        topic: str,
        partition: int = PARTITION_ANY,
        offset: int = OFFSET_INVALID,
        metadata: str | None = None,
        leader_epoch: int | None = None,
    ) -> None:
        if not isinstance(topic, str):
            raise TypeError(f"expected the name of a topic, found {topic!r}")
        self.topic = topic
        self.partition = int(partition)
        self.offset = int(offset)
        self.metadata = metadata
        self.leader_epoch = None if leader_epoch is None or leader_epoch < 0 else leader_epoch
        self.error: KafkaError | None = None

    @classmethod
    def at(cls, place: Place, offset: int = OFFSET_INVALID) -> TopicPartition:
        """Of the SDK's own."""
        return cls(place.topic, place.partition, offset)

    @property
    def place(self) -> Place:
        """As the SDK has it."""
        return Place(self.topic, self.partition)

    def __repr__(self) -> str:
        return (
            f"TopicPartition{{topic={self.topic},partition={self.partition},offset={self.offset},"
            f"leader_epoch={self.leader_epoch},error={self.error}}}"
        )

    def __str__(self) -> str:
        return self.__repr__()

    def _key(self) -> tuple[str, int]:
        return self.topic, self.partition

    def __hash__(self) -> int:
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, TopicPartition) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._key() < other._key() if isinstance(other, TopicPartition) else NotImplemented


class Uuid:
    """A topic's id, as two halves of 64 bits."""

    def __init__(self, most_significant_bits: int, least_significant_bits: int) -> None:
        self._most = most_significant_bits
        self._least = least_significant_bits

    @classmethod
    def of(cls, raw: bytes) -> Uuid:
        """Of 16 bytes."""
        return cls(int.from_bytes(raw[:8], "big", signed=True), int.from_bytes(raw[8:], "big", signed=True))

    def get_most_significant_bits(self) -> int:
        return self._most

    def get_least_significant_bits(self) -> int:
        return self._least

    def __int__(self) -> int:
        mask = (1 << 64) - 1
        return (self._most & mask) << 64 | self._least & mask

    def __str__(self) -> str:
        return base64.b64encode(int(self).to_bytes(16, "big")).rstrip(b"=").decode()

    def __repr__(self) -> str:
        return f"Uuid({self})"

    def __hash__(self) -> int:
        return hash(int(self))

    def __eq__(self, other: object) -> bool:
        return int(self) == int(other) if isinstance(other, Uuid) else NotImplemented


class ThrottleEvent:
    """A broker that asked the client to wait for `throttle_time` seconds; 0 when it does no longer."""

    def __init__(self, broker_name: str, broker_id: int, throttle_time: float) -> None:
        self.broker_name = broker_name
        self.broker_id = broker_id
        self.throttle_time = throttle_time

    def __str__(self) -> str:
        return f"{self.broker_name}/{self.broker_id} throttled for {int(self.throttle_time * 1000)} ms"


def at(place: Place, where: Any) -> TopicPartition:
    """A partition with what is committed of it, or the application's place in it; OFFSET_INVALID for None."""
    if where is None:
        return TopicPartition.at(place)
    return TopicPartition(place.topic, place.partition, where.offset, where.metadata or None, where.leader_epoch)


def partitions_of(values: Iterable[Any]) -> list[TopicPartition]:
    """Raises TypeError for what is no list of TopicPartition."""
    if not isinstance(values, list):
        raise TypeError("expected list of TopicPartition")
    for value in values:
        if not isinstance(value, TopicPartition):
            raise TypeError(f"expected TopicPartition, found {type(value).__name__}")
    return values


def seconds(timeout: float | None) -> float | None:
    """A time-out as confluent_kafka gives it: None and what is negative waits for ever."""
    return None if timeout is None or number(timeout) < 0 else timeout


def number(timeout: Any) -> float:
    """Raises TypeError for what is none."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"must be real number, not {type(timeout).__name__}")
    return timeout


def refuse_credentials(username: Any, password: Any) -> NoReturn:
    """Raises KafkaException, and TypeError for what are no credentials."""
    if not isinstance(username, str) or not isinstance(password, str):
        raise TypeError("expected username and password as strings")
    reason = "credentials are fixed when the client is made: make a new client with the new ones"
    raise KafkaException(KafkaError(KafkaError._UNSUPPORTED_FEATURE, reason))
