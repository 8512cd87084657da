"""Which partitions of topics have a stored state for a share group; `stored` says how that changes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class TopicPartitions:
    """Partitions of a topic whose states exist, or are being made."""

    name: str
    partitions: frozenset[int]


@dataclass(slots=True)
class StoredPartitions:
    """Which share partitions have a stored state. Those being deleted had one and are going to have none."""

    initializing: dict[bytes, TopicPartitions] = field(default_factory=dict)
    initialized: dict[bytes, TopicPartitions] = field(default_factory=dict)
    deleting: dict[bytes, str] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not (self.initializing or self.initialized or self.deleting)

    def all_of(self) -> dict[bytes, TopicPartitions]:
        """Whatever may have a state, by topic id."""
        found = dict(self.initialized)
        for topic_id, topic in self.initializing.items():
            known = found[topic_id].partitions if topic_id in found else frozenset()
            found[topic_id] = TopicPartitions(topic.name, known | topic.partitions)
        return found
