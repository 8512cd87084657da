"""What a producer knows of topics: has the accumulator know them, which partitions take records, what is not used.

    metadata ──changed──► set_topic(partitions, those without a leader, those of slow brokers)
                  └─────► untrack what nothing was sent to for metadata.max.idle.ms; the next record asks anew

A broker is slow when something was ready for it and could not be sent for partitioner.availability.timeout.ms; records
without key go elsewhere meanwhile. Source: KIP-526, KIP-794.
"""

from __future__ import annotations

from pystream._native.accumulator import Accumulator
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata, TopicInfo
from pystream.client.config import ProducerConfig
from pystream.common.logging import get_logger
from pystream.common.model import NO_BROKER

logger = get_logger(__name__)


class KnownTopics:
    """One for each producer. Belongs to its loop."""

    def __init__(self, config: ProducerConfig, cluster: Cluster, accumulator: Accumulator) -> None:
        self._cluster = cluster
        self._accumulator = accumulator
        self._idle_ms = config.metadata_max_idle_ms
        adaptive = config.partitioner_adaptive_partitioning_enable
        self._slow_after_ms = config.partitioner_availability_timeout_ms if adaptive else 0
        self._known: dict[str, TopicInfo] = {}
        self._used_ms: dict[str, int] = {}
        self._waiting_since_ms: dict[int, int] = {}  # brokers that something is ready for, and cannot be sent to
        self._slow: set[int] = set()

    def know(self, topic: TopicInfo) -> None:
        """Have the accumulator know a topic, or what has changed of it."""
        if self._known.get(topic.name) is not topic:
            self._known[topic.name] = topic
            self._used_ms.setdefault(topic.name, self._cluster.clock.monotonic_ms())
            self._set(topic)

    def used(self, topic: str, now_ms: int) -> None:
        """Something was sent there, or waits to be."""
        self._used_ms[topic] = now_ms

    def changed(self, metadata: ClusterMetadata) -> None:
        """Metadata came."""
        for topic in metadata.topics.values():
            self.know(topic)
        now_ms = self._cluster.clock.monotonic_ms()
        idle = [name for name, used_ms in self._used_ms.items() if now_ms - used_ms >= self._idle_ms]
        for name in idle:
            del self._used_ms[name]
            self._known.pop(name, None)
        self._cluster.untrack(idle)

    def could_send(self, node_id: int, could: bool, now_ms: int) -> None:
        """Something was ready for a broker: did any of it go out?"""
        if self._slow_after_ms == 0:
            return
        if could:
            self._waiting_since_ms.pop(node_id, None)
        else:
            self._waiting_since_ms.setdefault(node_id, now_ms)
        is_slow = now_ms - self._waiting_since_ms.get(node_id, now_ms) > self._slow_after_ms
        if is_slow == (node_id in self._slow):
            return
        logger.info("broker is slow" if is_slow else "broker keeps pace again", node_id=node_id)
        self._slow ^= {node_id}
        for topic in self._known.values():
            if any(info.leader == node_id for info in topic.partitions):
                self._set(topic)

    def _set(self, topic: TopicInfo) -> None:
        away = [info.partition for info in topic.partitions if info.leader == NO_BROKER or info.leader in self._slow]
        self._accumulator.set_topic(topic.name, topic.partition_count, away)
