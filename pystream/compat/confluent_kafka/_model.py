"""What confluent_kafka exports beside its clients: nodes, groups, enums."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any, Final

from pystream.compat.confluent_kafka._values import TopicPartition

VERSION: Final = "2.16.1"  # of the confluent_kafka that this is like
LIBRARY: Final = ("2.16.0", 0x021000FF)


def version() -> str:
    """Of confluent_kafka."""
    return VERSION


def libversion() -> tuple[str, int]:
    """Of librdkafka; pystream's client is none, but behaves like it."""
    return LIBRARY


class Ordered(Enum):
    """An enum whose members sort by their values."""

    def __lt__(self, other: Any) -> bool:
        return self.value < other.value if type(other) is type(self) else NotImplemented


class Node:
    """A broker."""

    def __init__(self, id: int, host: str, port: int, rack: str | None = None) -> None:
        self.id = id
        self.id_string = str(id)
        self.host = host
        self.port = port
        self.rack = rack

    def __str__(self) -> str:
        return f"({self.id}) {self.host}:{self.port} {f'(Rack - {self.rack})' if self.rack else ''}"


class ConsumerGroupTopicPartitions:
    """A group and partitions, with offsets where they matter."""

    def __init__(self, group_id: str, topic_partitions: list[TopicPartition] | None = None) -> None:
        self.group_id = group_id
        self.topic_partitions = topic_partitions


class ConsumerGroupState(Ordered):
    """What a group is doing."""

    UNKNOWN = 0
    UNKOWN = UNKNOWN
    PREPARING_REBALANCING = 1
    COMPLETING_REBALANCING = 2
    STABLE = 3
    DEAD = 4
    EMPTY = 5


class ConsumerGroupType(Ordered):
    """Which protocol a group follows."""

    UNKNOWN = 0
    CONSUMER = 1
    CLASSIC = 2


class TopicCollection:
    """Topics by their names."""

    def __init__(self, topic_names: list[str]) -> None:
        self.topic_names = topic_names


class TopicPartitionInfo:
    """A partition with its brokers."""

    def __init__(self, id: int, leader: Node | None, replicas: list[Node], isr: list[Node]) -> None:
        self.id = id
        self.leader = leader
        self.replicas = replicas
        self.isr = isr


class IsolationLevel(Ordered):
    """Whether records of open transactions count."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


class ElectionType(Ordered):
    """Which leader is elected."""

    PREFERRED = 0
    UNCLEAN = 1


class AcknowledgeType(IntEnum):
    """What a share consumer says of a message."""

    ACCEPT = 1
    RELEASE = 2
    REJECT = 3
