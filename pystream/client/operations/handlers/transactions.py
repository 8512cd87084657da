"""Handlers of operations on transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pystream.client.operations.declaration import Answer
from pystream.client.operations.handlers.answers import answer
from pystream.client.operations.transactions import AbortedTransaction, Transaction, TransactionDetail

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient


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
