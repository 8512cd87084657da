"""DescribeTransactions (key 65), version 0: the state of transactional ids, one result for each (KIP-664)."""

from __future__ import annotations

import asyncio

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import INVALID_REQUEST, TRANSACTIONAL_ID_NOT_FOUND
from pystream.common.errors import KafkaError
from pystream.protocol.messages.describe_transactions import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    TopicData,
    TransactionState,
)

REQUEST = DescribeTransactionsRequest


async def handle(
    context: BrokerContext, call: Call, request: DescribeTransactionsRequest
) -> DescribeTransactionsResponse:
    states = await asyncio.gather(*(_one(context, each) for each in request.transactional_ids))
    return DescribeTransactionsResponse(transaction_states=states)


def failed(request: DescribeTransactionsRequest, code: int, message: str) -> DescribeTransactionsResponse:
    return DescribeTransactionsResponse(
        transaction_states=[_failed(transactional_id, code) for transactional_id in request.transactional_ids]
    )


async def _one(context: BrokerContext, transactional_id: str) -> TransactionState:
    if not transactional_id:
        return _failed(transactional_id, INVALID_REQUEST)
    try:
        found = await context.transactions.describe(transactional_id)
    except KafkaError as error:
        return _failed(transactional_id, error.code)
    if found is None:
        return _failed(transactional_id, TRANSACTIONAL_ID_NOT_FOUND)
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(found.partitions):
        topics.setdefault(topic, []).append(partition)
    return TransactionState(
        transactional_id=transactional_id,
        transaction_state=found.state.label,
        transaction_timeout_ms=found.timeout_ms,
        transaction_start_time_ms=found.start_ms,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        topics=[TopicData(topic=topic, partitions=partitions) for topic, partitions in topics.items()],
    )


def _failed(transactional_id: str, code: int) -> TransactionState:
    return TransactionState(transactional_id=transactional_id, error_code=code)
