"""What the coordinators' runtime writes: a turn's records as batches, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pystream.common.errors import (
    CoordinatorNotAvailable,
    KafkaError,
    MessageTooLarge,
    NotCoordinator,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    RecordListTooLarge,
    RequestTimedOut,
    UnknownServerError,
    UnknownTopicOrPartition,
)
from pystream.coordinator.machine import NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Encoded, Record
from pystream.coordinator.ports import Batch, DataBatch, MarkerBatch

BATCH_BYTES = 1 << 20  # a turn's records go out in batches of about this size


@dataclass(slots=True)
class WriteMetrics:
    """Counts since the start."""

    batches: int = 0
    records: int = 0
    bytes: int = 0
    failures: int = 0
    timeouts: int = 0

    def count(self, batches: Sequence[Batch]) -> None:
        """They were appended."""
        self.batches += len(batches)
        for batch in batches:
            if isinstance(batch, DataBatch):
                self.records += len(batch.records)
                self.bytes += sum(len(key) + len(value or b"") for key, value in batch.records)


class Written(NamedTuple):
    """What an append has come to."""

    end_offset: int
    high_watermark: int


def batches_of(records: Sequence[Record], encoded: Sequence[Encoded]) -> list[Batch]:
    """Batches of records that belong together, in order. `encoded` are their bytes, one for one."""
    batches: list[Batch] = []
    together: list[Encoded] = []
    size = 0
    producer = (NO_PRODUCER_ID, NO_PRODUCER_EPOCH)
    for record, pair in zip(records, encoded, strict=True):
        found = (record.producer_id, record.producer_epoch)
        if together and (found != producer or size > BATCH_BYTES):
            batches.append(DataBatch(together, *producer))
            together, size = [], 0
        producer = found
        together.append(pair)
        size += len(pair[0]) + len(pair[1] or b"")
    batches.append(DataBatch(together, *producer))
    return batches


def is_marker(batches: list[Batch]) -> bool:
    """Whether a transaction's marker is all that is to be appended."""
    return len(batches) == 1 and isinstance(batches[0], MarkerBatch)


def error_of_append(error: Exception) -> KafkaError:
    """What clients are told when records could not be appended. Source: Kafka's CoordinatorOperationExceptionHelper."""
    if isinstance(error, UnknownTopicOrPartition | NotEnoughReplicas | NotEnoughReplicasAfterAppend | RequestTimedOut):
        return CoordinatorNotAvailable()
    if isinstance(error, MessageTooLarge | RecordListTooLarge):
        return UnknownServerError()
    return NotCoordinator()
