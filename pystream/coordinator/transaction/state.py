"""What the coordinator knows of one transactional id.

    Empty ── add ──► Ongoing ── commit ──► PrepareCommit ── all markers written ──► CompleteCommit ─┐
      ▲                 │                                                                           ├─ add ──► Ongoing
      │                 └── abort, timeout, a new producer ──► PrepareAbort ──► CompleteAbort ──────┘
      └── InitProducerId, from Complete*

With transactions of version 2 (KIP-890) an abort may also come in Empty and Complete*: it raises the epoch, and fences
what the producer may still have on its way. Dead and PrepareEpochFence are never written; they are here because their
names and numbers are Kafka's. Source: KIP-98, Kafka's TransactionState and TransactionMetadata.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from pystream.common.model import NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from pystream.protocol.coordinator_records.transaction_log import PartitionsSchema, TransactionLogValue

NO_TIMESTAMP = -1
LARGEST_EPOCH = 32767
FIRST_BUMPING_VERSION = 2  # of transactions: every end raises the producer's epoch

TopicPartitions = frozenset[tuple[str, int]]
NO_PARTITIONS: TopicPartitions = frozenset()


class TransactionState(IntEnum):
    """`value` is the number in the log, `label` the name in DescribeTransactions."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def label(self) -> str:
        return LABELS[self]


LABELS = {
    TransactionState.EMPTY: "Empty",
    TransactionState.ONGOING: "Ongoing",
    TransactionState.PREPARE_COMMIT: "PrepareCommit",
    TransactionState.PREPARE_ABORT: "PrepareAbort",
    TransactionState.COMPLETE_COMMIT: "CompleteCommit",
    TransactionState.COMPLETE_ABORT: "CompleteAbort",
    TransactionState.DEAD: "Dead",
    TransactionState.PREPARE_EPOCH_FENCE: "PrepareEpochFence",
}
STATES_BY_LABEL = {label: state for state, label in LABELS.items()}
PREPARED = frozenset({TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT})
COMPLETE = frozenset({TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT})
EXPIRABLE = COMPLETE | {TransactionState.EMPTY}


@dataclass(slots=True)
class Transaction:
    """All but `last_producer_epoch` is in the log; that one a restart may forget, as in Kafka.

    `next_producer_id` takes over when the prepared transaction is complete: the epochs of `producer_id` are used up.
    """

    transactional_id: str
    producer_id: int
    producer_epoch: int = NO_PRODUCER_EPOCH
    timeout_ms: int = 0
    state: TransactionState = TransactionState.EMPTY
    partitions: TopicPartitions = field(default=NO_PARTITIONS)
    start_ms: int = NO_TIMESTAMP
    last_update_ms: int = NO_TIMESTAMP
    previous_producer_id: int = NO_PRODUCER_ID
    next_producer_id: int = NO_PRODUCER_ID
    client_version: int = 0
    last_producer_epoch: int = NO_PRODUCER_EPOCH

    @property
    def is_prepared(self) -> bool:
        return self.state in PREPARED

    @property
    def is_epoch_exhausted(self) -> bool:
        """The last epoch of all is kept for fencing: it is never given to a producer."""
        return self.producer_epoch >= LARGEST_EPOCH - 1

    def holds(self, producer_id: int, producer_epoch: int, partitions: TopicPartitions) -> bool:
        """Whether these partitions are in the open transaction of exactly this producer."""
        return (
            self.state is TransactionState.ONGOING
            and self.producer_id == producer_id
            and self.producer_epoch == producer_epoch
            and partitions <= self.partitions
        )


def to_value(transaction: Transaction) -> TransactionLogValue:
    """The record that says so. No partitions are written as null in Empty, as Kafka does."""
    partitions: list[PartitionsSchema] | None = None
    if transaction.state is not TransactionState.EMPTY:
        by_topic: dict[str, list[int]] = {}
        for topic, partition in sorted(transaction.partitions):
            by_topic.setdefault(topic, []).append(partition)
        partitions = [PartitionsSchema(topic=topic, partition_ids=ids) for topic, ids in by_topic.items()]
    return TransactionLogValue(
        producer_id=transaction.producer_id,
        previous_producer_id=transaction.previous_producer_id,
        next_producer_id=transaction.next_producer_id,
        producer_epoch=transaction.producer_epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=int(transaction.state),
        transaction_partitions=partitions,
        transaction_last_update_timestamp_ms=transaction.last_update_ms,
        transaction_start_timestamp_ms=transaction.start_ms,
        client_transaction_version=transaction.client_version,
    )


def from_value(transactional_id: str, value: TransactionLogValue) -> Transaction:
    """Raises ValueError for a state that does not exist."""
    return Transaction(
        transactional_id=transactional_id,
        producer_id=value.producer_id,
        producer_epoch=value.producer_epoch,
        timeout_ms=value.transaction_timeout_ms,
        state=TransactionState(value.transaction_status),
        partitions=frozenset(
            (schema.topic, partition)
            for schema in value.transaction_partitions or ()
            for partition in schema.partition_ids
        ),
        start_ms=value.transaction_start_timestamp_ms,
        last_update_ms=value.transaction_last_update_timestamp_ms,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        client_version=value.client_transaction_version,
    )
