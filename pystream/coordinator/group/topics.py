"""Topics as groups see them: what is subscribed to, how many partitions it has, and whether that has changed.

catalog = TopicCatalog(metadata)
catalog.version()                   # another number whenever some topic may have changed
catalog.fingerprint(names)          # what a group epoch was made from
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from pystream.coordinator.group.assignors.model import PartitionCount
from pystream.coordinator.ports import TopicFacts, TopicMetadata

FINGERPRINT_BYTES = 8
NO_TOPICS = 0  # the fingerprint of nothing, as in Kafka


class TopicCatalog:
    """`metadata` gives the topics as they are now. Called from one thread."""

    def __init__(self, metadata: Callable[[], TopicMetadata]) -> None:
        self._metadata = metadata
        self._version_seen = -1
        self._names_seen: frozenset[str] = frozenset()
        self._newest_topic = 0

    def version(self) -> int:
        """Of the metadata that everything else here shows."""
        return self._metadata().version

    def names(self) -> Iterable[str]:
        return self._metadata().names()

    def by_name(self, name: str) -> TopicFacts | None:
        return self._metadata().by_name(name)

    def by_id(self, topic_id: bytes) -> TopicFacts | None:
        return self._metadata().by_id(topic_id)

    def newest_topic_version(self) -> int:
        """A version at which the newest topic was there already; grows whenever a topic has been created."""
        metadata = self._metadata()
        if metadata.version != self._version_seen:
            names = frozenset(metadata.names())
            if not names <= self._names_seen:
                self._newest_topic = metadata.version
            self._names_seen, self._version_seen = names, metadata.version
        return self._newest_topic

    def ids_of(self, names: Iterable[str]) -> frozenset[bytes]:
        """The ids of those topics that exist."""
        metadata = self._metadata()
        return frozenset(topic.topic_id for name in names if (topic := metadata.by_name(name)) is not None)

    def partition_count(self) -> PartitionCount:
        """How many partitions a topic has that exists now."""
        metadata = self._metadata()

        def count(topic_id: bytes) -> int:
            topic = metadata.by_id(topic_id)
            return 0 if topic is None else topic.partition_count

        return count

    def fingerprint(self, names: Iterable[str]) -> int:
        """Equal for equal topics: their names, ids and partition counts. An int64.

        Kafka writes an XXH3 of the same and of the racks into the group's record; both only ever compare it with what
        they have written themselves. Racks are left out: no assignor here looks at them.
        """
        metadata = self._metadata()
        found = sorted(topic for name in names if (topic := metadata.by_name(name)) is not None)
        if not found:
            return NO_TOPICS
        state = hashlib.blake2b(digest_size=FINGERPRINT_BYTES)
        for topic in found:
            state.update(f"{topic.name}\0{topic.partition_count}\0".encode() + topic.topic_id)
        return int.from_bytes(state.digest(), "big", signed=True)
