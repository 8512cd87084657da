"""What the controller is asked for, and what it answers: one outcome for each item, an error among them as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from pystream.common.errors import KafkaError
from pystream.common.model import ZERO_UUID

UNSET: Final = -1  # "use the default" for partitions and replication factor


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTopic:
    """A topic to create: numbers or an assignment, not both. `assignments` are (partition, replicas) as they came."""

    name: str
    partitions: int = UNSET
    replication_factor: int = UNSET
    assignments: Sequence[tuple[int, Sequence[int]]] = ()
    configs: Sequence[tuple[str, str | None]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTopic:
    """A topic whose logs are there before the cluster is. Without an id (ZERO_UUID) it gets a new one."""

    name: str
    topic_id: bytes
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MorePartitions:
    """A topic to grow to `count` partitions. `assignments`: replicas of the added ones, in order; None: place them."""

    name: str
    count: int
    assignments: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """What became of one topic of a request. On success `error` is None and the rest describes the topic.

    A deletion tells the name and the id as far as they are known.
    """

    name: str | None
    error: KafkaError | None = None
    topic_id: bytes = ZERO_UUID
    partitions: int = UNSET
    replication_factor: int = UNSET
    configs: Mapping[str, str] = field(default_factory=dict)


class ResourceType(IntEnum):
    """What a config belongs to, by the numbers of the wire."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class AlterOperation(IntEnum):
    """What IncrementalAlterConfigs does to one key, by the numbers of the wire."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


@dataclass(frozen=True, slots=True)
class Alteration:
    """One key's change. `operation` is as it came; unknown numbers are refused."""

    name: str
    operation: int
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigAlteration:
    """Changes of one resource, in order. `resource_type` is as it came."""

    resource_type: int
    resource_name: str
    alterations: Sequence[Alteration]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReplacement:
    """All settings that one resource shall have from now on."""

    resource_type: int
    resource_name: str
    configs: Sequence[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class ConfigOutcome:
    """What became of one resource of a request."""

    resource_type: int
    resource_name: str
    error: KafkaError | None = None
