"""What coordinators need of the floors above: a log to write to and to read from, and what topics there are.

The broker fills these ports with its data plane and its image of the cluster, a test with lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from pystream.coordinator.machine import NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Encoded


class DataBatch(NamedTuple):
    """Records in the order of their offsets; with a producer id they belong to its transaction."""

    records: Sequence[Encoded]
    producer_id: int = NO_PRODUCER_ID
    producer_epoch: int = NO_PRODUCER_EPOCH


class MarkerBatch(NamedTuple):
    """The control record that ends a producer's transaction in this partition."""

    producer_id: int
    producer_epoch: int
    committed: bool
    coordinator_epoch: int


Batch = DataBatch | MarkerBatch


class LogSlice(NamedTuple):
    """Some batches of a log, and where the next slice begins."""

    batches: Sequence[Batch]
    next_offset: int


class PartitionWriter(Protocol):
    """Appends to the partitions of one coordinator's topic. Called in the control plane's loop: must not wait long."""

    def append(self, partition: int, batches: Sequence[Batch]) -> int:
        """Append all batches in order; returns the offset after the last record.

        Raises KafkaError or OSError. Some of the batches may be in the log then; whoever gets the error reads it again.
        After LogMoving none is, and they can be appended in a moment.
        """
        ...

    def check_producer(self, partition: int, producer_id: int, producer_epoch: int) -> None:
        """Raises InvalidProducerEpoch when `append` would refuse the producer's records."""
        ...

    def high_watermark(self, partition: int) -> int:
        """Everything below is committed. Who waits for it to move is told through `CoordinatorRuntime.committed`.

        Raises KafkaError when the partition cannot be asked.
        """
        ...


class PartitionReader(Protocol):
    """Reads the partitions of one coordinator's topic, from the start of the log to its end."""

    def bounds(self, partition: int) -> tuple[int, int]:
        """(first offset, offset after the last record). Raises KafkaError."""
        ...

    async def read(self, partition: int, offset: int) -> LogSlice:
        """Some batches from `offset` on, of bounded size; at least one where the log goes on.

        Raises KafkaError, OSError, or MalformedInput where the log is damaged.
        """
        ...


class TopicFacts(NamedTuple):
    """A topic as far as assignors ask. `racks`: for each partition, the racks of its replicas that are known."""

    name: str
    topic_id: bytes
    partition_count: int
    racks: tuple[frozenset[str], ...]


class TopicMetadata(Protocol):
    """The topics of the cluster, as of one moment."""

    @property
    def version(self) -> int:
        """Grows whenever anything below may have changed."""
        ...

    def by_name(self, name: str) -> TopicFacts | None: ...

    def by_id(self, topic_id: bytes) -> TopicFacts | None: ...

    def names(self) -> Iterable[str]:
        """All topics, internal ones too."""
        ...
