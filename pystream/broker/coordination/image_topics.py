"""The topics of a cluster image, as coordinators ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pystream.coordinator.ports import TopicFacts

if TYPE_CHECKING:
    from pystream.metadata.image import ClusterImage, TopicImage


class ImageTopics:
    """TopicMetadata of one image; facts are made when they are first asked for."""

    def __init__(self, image: ClusterImage) -> None:
        self._image = image
        self._facts: dict[bytes, TopicFacts] = {}

    @property
    def version(self) -> int:
        return self._image.revision

    def by_name(self, name: str) -> TopicFacts | None:
        topic = self._image.topics.get(name)
        return None if topic is None else self._facts_of(topic)

    def by_id(self, topic_id: bytes) -> TopicFacts | None:
        topic = self._image.topics_by_id.get(topic_id)
        return None if topic is None else self._facts_of(topic)

    def names(self) -> Iterable[str]:
        return self._image.topics.keys()

    def _facts_of(self, topic: TopicImage) -> TopicFacts:
        facts = self._facts.get(topic.topic_id)
        if facts is None:
            racks = {broker.node_id: broker.rack for broker in self._image.brokers.values() if broker.rack is not None}
            facts = self._facts[topic.topic_id] = TopicFacts(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_count=len(topic.partitions),
                racks=tuple(
                    frozenset(racks[replica] for replica in partition.replicas if replica in racks)
                    for partition in topic.partitions
                ),
            )
        return facts
