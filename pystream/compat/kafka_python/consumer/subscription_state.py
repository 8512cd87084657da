"""kafka.consumer.subscription_state: the listeners of rebalances."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pystream.common.model import TopicPartition

__all__ = ["AsyncConsumerRebalanceListener", "ConsumerRebalanceListener"]


class ConsumerRebalanceListener(ABC):
    """Told of partitions that come and go, in the thread that polls."""

    @abstractmethod
    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Before they go: a commit made here counts."""

    @abstractmethod
    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """After they came."""

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        """Others have them already."""
        self.on_partitions_revoked(lost)


class AsyncConsumerRebalanceListener:
    """Left out: subscribe() refuses it with TypeError. Use pystream.client.aio, whose callbacks may be coroutines."""
