"""What the transaction coordinator needs of the floors above. The broker fills it, a test with lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pystream.coordinator.ports import MarkerBatch


class TransactionPorts(Protocol):
    """Partitions that transactions write to, producer ids, and what the cluster has agreed on."""

    def exists(self, topic: str, partition: int) -> bool:
        """Whether the cluster has the partition."""
        ...

    def permit(self, topic: str, partition: int, producer_id: int, producer_epoch: int) -> None:
        """Let the producer's transactional batches in, until a marker of it comes; nothing where it is not here."""
        ...

    async def write_markers(
        self, places: Sequence[tuple[str, int]], marker: MarkerBatch, transaction_version: int
    ) -> dict[tuple[str, int], int]:
        """End the producer's transaction in these partitions: an error code for each; NONE once it is committed."""
        ...

    def coordinator_epoch(self, partition: int) -> int:
        """The leader epoch of this partition of `__transaction_state`."""
        ...

    def transaction_version(self) -> int:
        """The finalized level of the feature `transaction.version`."""
        ...

    async def next_producer_id(self) -> int:
        """An id that nobody has had. Raises KafkaError."""
        ...
