"""Transactions: list, describe, abort, fence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.results import Results, outcome, raise_for
from pystream.client.admin.routes import ToCoordinators, ToLeaders
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.given import listed
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition
from pystream.protocol.messages.describe_transactions import DescribeTransactionsRequest
from pystream.protocol.messages.init_producer_id import InitProducerIdRequest
from pystream.protocol.messages.list_transactions import ListTransactionsRequest
from pystream.protocol.messages.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)

NO_DURATION = -1


@dataclass(frozen=True, slots=True)
class TransactionListing:
    """A transaction that a coordinator knows of."""

    transactional_id: str
    producer_id: int
    state: str  # Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort, Dead


@dataclass(frozen=True, slots=True)
class TransactionDescription:
    """A transaction with its partitions; `start_time_ms` is None when none is under way."""

    transactional_id: str
    coordinator_id: int
    state: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    start_time_ms: int | None
    partitions: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class AbortTransaction:
    """A transaction that hangs on one partition, by what `describe_producers` tells of it."""

    partition: TopicPartition
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int


@dataclass(frozen=True, slots=True)
class FencedProducer:
    """The producer id and epoch that older producers of a transactional id are now behind."""

    producer_id: int
    producer_epoch: int


class TransactionOperations(AdminBase):
    """Operations on transactions."""

    async def list_transactions(
        self,
        *,
        states: Iterable[str] = (),
        producer_ids: Iterable[int] = (),
        longer_than_ms: int | None = None,
        transactional_id_pattern: str | None = None,
        timeout_ms: int | None = None,
    ) -> list[TransactionListing]:
        """The transactions of all coordinators that match every filter given."""
        request = ListTransactionsRequest(
            state_filters=listed(states),
            producer_id_filters=listed(producer_ids),
            duration_filter=NO_DURATION if longer_than_ms is None else longer_than_ms,
            transactional_id_pattern=transactional_id_pattern,
        )
        lowest = 2 if transactional_id_pattern is not None else 1 if longer_than_ms is not None else 0

        async def ask(asked: Asked, nodes: list[int]) -> dict[int, list[TransactionListing] | PystreamError]:
            response = await asked.ask(request, lowest=lowest)
            raise_for(response.error_code, None, "list_transactions")
            listings = [
                TransactionListing(told.transactional_id, told.producer_id, told.transaction_state)
                for told in response.transaction_states
            ]
            return dict.fromkeys(nodes, listings)

        found = await self._everywhere("list_transactions", ask, timeout_ms=timeout_ms)
        return [listing for listings in found.values() for listing in listings]

    async def describe_transactions(
        self, transactional_ids: Iterable[str], *, timeout_ms: int | None = None
    ) -> Results[str, TransactionDescription]:
        """State and partitions of transactions, by their coordinators."""
        route = ToCoordinators[str](self.cluster, CoordinatorKind.TRANSACTION, str)

        async def ask(asked: Asked, ids: list[str]) -> dict[str, TransactionDescription | PystreamError]:
            response = await asked.ask(DescribeTransactionsRequest(transactional_ids=ids))
            found: dict[str, TransactionDescription | PystreamError] = {}
            for told in response.transaction_states:
                description = TransactionDescription(
                    told.transactional_id,
                    asked.node_id,
                    told.transaction_state,
                    told.producer_id,
                    told.producer_epoch,
                    told.transaction_timeout_ms,
                    told.transaction_start_time_ms if told.transaction_start_time_ms >= 0 else None,
                    frozenset(TopicPartition(each.topic, p) for each in told.topics for p in each.partitions),
                )
                found[told.transactional_id] = outcome(told.error_code, None, description)
            return found

        return await self._each("describe_transactions", transactional_ids, route, ask, timeout_ms=timeout_ms)

    async def abort_transaction(self, transaction: AbortTransaction, *, timeout_ms: int | None = None) -> None:
        """Write an abort marker to one partition, for a transaction that its coordinator has forgotten."""
        partition = transaction.partition
        marker = WritableTxnMarker(
            producer_id=transaction.producer_id,
            producer_epoch=transaction.producer_epoch,
            coordinator_epoch=transaction.coordinator_epoch,
            transaction_result=False,
            topics=[WritableTxnMarkerTopic(name=partition.topic, partition_indexes=[partition.partition])],
        )

        async def ask(asked: Asked, group: list[TopicPartition]) -> dict[TopicPartition, PystreamError | None]:
            response = await asked.ask(WriteTxnMarkersRequest(markers=[marker]))
            return {
                TopicPartition(topic.name, told.partition_index): outcome(told.error_code, None, None)
                for each in response.markers
                for topic in each.topics
                for told in topic.partitions
            }

        route = ToLeaders[TopicPartition](self.cluster, lambda each: each)
        results = await self._each("abort_transaction", [partition], route, ask, timeout_ms=timeout_ms)
        results.checked()

    async def fence_producers(
        self, transactional_ids: Iterable[str], *, timeout_ms: int | None = None
    ) -> Results[str, FencedProducer]:
        """Abort what these transactional ids have under way, and shut out whoever uses them now."""
        route = ToCoordinators[str](self.cluster, CoordinatorKind.TRANSACTION, str)

        async def ask(asked: Asked, ids: list[str]) -> dict[str, FencedProducer | PystreamError]:
            found: dict[str, FencedProducer | PystreamError] = {}
            for transactional_id in ids:  # the request has room for one
                request = InitProducerIdRequest(
                    transactional_id=transactional_id, transaction_timeout_ms=max(asked.timeout_ms, 1)
                )
                told = await asked.ask(request)
                fenced = FencedProducer(told.producer_id, told.producer_epoch)
                found[transactional_id] = outcome(told.error_code, None, fenced)
            return found

        return await self._each("fence_producers", transactional_ids, route, ask, timeout_ms=timeout_ms)

    async def force_terminate_transaction(self, transactional_id: str, *, timeout_ms: int | None = None) -> None:
        """Abort a transaction that is under way or prepared (KIP-939)."""
        (await self.fence_producers([transactional_id], timeout_ms=timeout_ms)).checked()
