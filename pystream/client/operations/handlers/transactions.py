"""Handlers of operations on transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.client.admin.partitions import ActiveProducer
from pystream.client.admin.transactions import AbortTransaction
from pystream.client.operations.declaration import Answer
from pystream.client.operations.handlers.answers import answer
from pystream.client.operations.handlers.positions import partitions_of
from pystream.client.operations.partitions import PartitionProducer
from pystream.client.operations.transactions import (
    AbortedTransaction,
    Transaction,
    TransactionDetail,
)
from pystream.common.errors import InvalidTxnState, NotFound
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

NO_TRANSACTION: Final = -1


async def list_(
    admin: AdminClient,
    *,
    state: Sequence[str],
    producer_id: Sequence[int],
    longer_than_ms: int | None,
    pattern: str | None,
) -> Answer:
    """Coordinators apply all filters; patterns need brokers of Kafka 4.1 (KIP-1152)."""
    found = await admin.list_transactions(
        states=state, producer_ids=producer_id, longer_than_ms=longer_than_ms, transactional_id_pattern=pattern
    )
    rows = [Transaction(each.transactional_id, each.producer_id, each.state) for each in found]
    return Answer(sorted(rows, key=lambda row: row.transactional_id))


async def describe(admin: AdminClient, *, transactional_ids: Sequence[str]) -> Answer:
    """Of ids that coordinators do not know the failure."""
    return answer(
        await admin.describe_transactions(transactional_ids),
        lambda name, told: TransactionDetail(
            name,
            told.state,
            told.producer_id,
            told.producer_epoch,
            told.coordinator_id,
            told.timeout_ms,
            told.start_time_ms,
            [str(place) for place in sorted(told.partitions)],
        ),
    )


async def abort(admin: AdminClient, *, transactional_ids: Sequence[str], dry_run: bool) -> Answer:
    """Ids that coordinators do not know are not made known by it."""
    described = await admin.describe_transactions(transactional_ids)
    known = described.succeeded
    results: Mapping[str, object] = known if dry_run else await admin.fence_producers(known)
    would = "would be " if dry_run else ""
    done = answer(
        {**described.failed, **results},
        lambda name, _: AbortedTransaction(
            name, f"{would}aborted" if known[name].state == "Ongoing" else f"nothing under way; producers {would}fenced"
        ),
    )
    return done


async def abort_hanging(admin: AdminClient, *, topic: str, partition: int, producer_id: int, dry_run: bool) -> Answer:
    """Raises NotFound where the producer has nothing open there, InvalidTxnState where a coordinator knows of it."""
    (place,) = await partitions_of(admin, {topic: [partition]})
    found = (await admin.describe_producers([place])).result(place)
    open_ones = [
        each
        for each in found
        if each.producer_id == producer_id and each.current_transaction_start_offset != NO_TRANSACTION
    ]
    if not open_ones:
        raise NotFound(f"producer {producer_id} has no open transaction in {place}")
    for listed in await admin.list_transactions(producer_ids=[producer_id]):
        told = (await admin.describe_transactions([listed.transactional_id])).result(listed.transactional_id)
        if place in told.partitions:
            raise InvalidTxnState(
                f"the transaction is {listed.transactional_id}'s, which is {told.state}: "
                f"pystream transactions abort {listed.transactional_id}"
            )
    producer = open_ones[0]
    if not dry_run:
        epoch = max(producer.coordinator_epoch, 0)  # -1 where no marker was ever written
        await admin.abort_transaction(AbortTransaction(place, producer_id, producer.producer_epoch, epoch))
    return Answer([_producer(place, producer)])


def _producer(place: TopicPartition, told: ActiveProducer) -> PartitionProducer:
    start = told.current_transaction_start_offset
    return PartitionProducer(
        place.topic,
        place.partition,
        told.producer_id,
        told.producer_epoch,
        told.last_sequence,
        told.last_timestamp,
        told.coordinator_epoch,
        None if start == NO_TRANSACTION else start,
    )
