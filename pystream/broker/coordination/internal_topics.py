"""The coordinators' topics, made when somebody first needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystream.common.errors import CoordinatorNotAvailable, TopicAlreadyExists
from pystream.common.logging import get_logger
from pystream.common.model import CONSUMER_OFFSETS_TOPIC, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC
from pystream.controller.requests import NewTopic

if TYPE_CHECKING:
    from pystream.broker.applier import ImageApplier
    from pystream.controller.topics import TopicController
    from pystream.coordinator.config import CoordinatorConfig
    from pystream.metadata.image import TopicImage

logger = get_logger(__name__)


def new_topic(name: str, config: CoordinatorConfig, brokers: int) -> NewTopic:
    """What the topic is made of in a cluster of so many brokers. Its settings are Kafka's."""
    if name == CONSUMER_OFFSETS_TOPIC:
        replicas = min(config.offsets_topic_replication_factor, brokers)
        return _topic(
            name,
            config.offsets_topic_num_partitions,
            replicas,
            {
                "cleanup.policy": "compact",
                "compression.type": "producer",
                "segment.bytes": str(config.offsets_topic_segment_bytes),
            },
        )
    if name == TRANSACTION_STATE_TOPIC:
        replicas = min(config.transaction_state_log_replication_factor, brokers)
        return _topic(
            name,
            config.transaction_state_log_num_partitions,
            replicas,
            {
                "cleanup.policy": "compact",
                "compression.type": "uncompressed",
                "min.insync.replicas": str(min(config.transaction_state_log_min_isr, replicas)),
                "segment.bytes": str(config.transaction_state_log_segment_bytes),
                "unclean.leader.election.enable": "false",
            },
        )
    assert name == SHARE_GROUP_STATE_TOPIC, f"{name} is no coordinator's topic"
    replicas = min(config.share_state_topic_replication_factor, brokers)
    return _topic(
        name,
        config.share_state_topic_num_partitions,
        replicas,
        {
            "cleanup.policy": "delete",
            "compression.type": "producer",
            "min.insync.replicas": str(min(config.share_state_topic_min_isr, replicas)),
            "retention.ms": "-1",
            "segment.bytes": str(config.share_state_topic_segment_bytes),
        },
    )


def _topic(name: str, partitions: int, replicas: int, configs: dict[str, str]) -> NewTopic:
    return NewTopic(name=name, partitions=partitions, replication_factor=replicas, configs=list(configs.items()))


class InternalTopics:
    """Makes each of them once, whoever asks how often."""

    def __init__(
        self, topics: TopicController, applier: ImageApplier, config: CoordinatorConfig, brokers: Callable[[], int]
    ) -> None:
        self._topics = topics
        self._applier = applier
        self._config = config
        self._brokers = brokers
        self._making: dict[str, asyncio.Task[TopicImage]] = {}

    async def ensure(self, name: str) -> TopicImage:
        """The topic, once this broker takes records for it. Raises CoordinatorNotAvailable when it cannot be made."""
        found = self._applier.image.topics.get(name)
        if found is not None:
            return found
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = asyncio.ensure_future(self._make(name))
            making.add_done_callback(lambda _: self._making.pop(name, None))
        return await asyncio.shield(making)

    async def _make(self, name: str) -> TopicImage:
        topic = new_topic(name, self._config, max(self._brokers(), 1))
        outcome = (await self._topics.create_topics([topic], internal=True))[0]
        if outcome.error is not None and not isinstance(outcome.error, TopicAlreadyExists):
            logger.limited("topic of a coordinator not made", topic=name, error=outcome.error)
            raise CoordinatorNotAvailable()
        found = (await self._applier.caught_up()).topics.get(name)
        if found is None:
            raise CoordinatorNotAvailable()
        return found
