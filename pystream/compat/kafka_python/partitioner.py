"""kafka.partitioner: who chooses partitions. Without one the SDK's native partitioner does: murmur2, sticky."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import Any

from pystream.client.producer.partitioning import partition_of

__all__ = ["ClusterView", "DefaultPartitioner", "Partitioner", "StickyPartitioner"]


class ClusterView:
    """What a partitioner may ask."""

    def __init__(self, metadata: Any) -> None:
        self._metadata = metadata

    def topics(self) -> set[str]:
        return set(self._metadata.topics)

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        found = self._metadata.topics.get(topic)
        return None if found is None else {each.partition for each in found.partitions}

    def available_partitions_for_topic(self, topic: str) -> set[int] | None:
        found = self._metadata.topics.get(topic)
        return None if found is None else {each.partition for each in found.partitions if each.leader >= 0}


class Partitioner(ABC):
    """Chooses the partition of a record that names none."""

    @abstractmethod
    def partition(
        self,
        topic: str,
        key: Any,
        serialized_key: bytes | None,
        value: Any,
        serialized_value: Any,
        cluster: ClusterView,
    ) -> int:
        """A partition of the topic."""


class DefaultPartitioner(Partitioner):
    """By the key's murmur2, anywhere without a key."""

    def partition(
        self,
        topic: str,
        key: Any,
        serialized_key: bytes | None,
        value: Any,
        serialized_value: Any,
        cluster: ClusterView,
    ) -> int:
        everywhere = sorted(cluster.partitions_for_topic(topic) or ())
        if serialized_key is not None:
            return everywhere[partition_of(serialized_key, len(everywhere))]
        return random.choice(sorted(cluster.available_partitions_for_topic(topic) or ()) or everywhere)


class StickyPartitioner(DefaultPartitioner):
    """By the key's murmur2; without a key, the same one until a batch is full. The SDK does that by itself."""
