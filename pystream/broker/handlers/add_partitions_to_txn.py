"""AddPartitionsToTxn (key 24), versions 0-5: partitions join a transaction, or are asked whether they have.

All or nothing: when one partition does not exist it is told so, and the others are OPERATION_NOT_ATTEMPTED.

    1    throttle time has meaning
    2    error PRODUCER_FENCED; INVALID_PRODUCER_EPOCH before
    3    flexible
    4    between brokers: many transactions, each may be only verified (KIP-890)
    5    error TRANSACTION_ABORTABLE
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import (
    INVALID_PRODUCER_EPOCH,
    INVALID_REQUEST,
    NONE,
    OPERATION_NOT_ATTEMPTED,
    PRODUCER_FENCED,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import KafkaError
from pystream.coordinator.transaction.shard import Identity
from pystream.coordinator.transaction.state import FIRST_BUMPING_VERSION
from pystream.protocol.messages.add_partitions_to_txn import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
)

REQUEST = AddPartitionsToTxnRequest
FIRST_VERSION_WITH_FENCED = 2
FIRST_BATCHED_VERSION = 4

Codes = Mapping[tuple[str, int], int]


async def handle(context: BrokerContext, call: Call, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse:
    if call.api_version >= FIRST_BATCHED_VERSION:
        results = await asyncio.gather(*(_one(context, call, each) for each in request.transactions))
        return AddPartitionsToTxnResponse(results_by_transaction=results)
    asked = AddPartitionsToTxnTransaction(
        transactional_id=request.v3_and_below_transactional_id,
        producer_id=request.v3_and_below_producer_id,
        producer_epoch=request.v3_and_below_producer_epoch,
        topics=request.v3_and_below_topics,
    )
    result = await _one(context, call, asked)
    return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=result.topic_results)


def failed(request: AddPartitionsToTxnRequest, code: int, message: str) -> AddPartitionsToTxnResponse:
    """Both forms at once: a client reads the one of its version."""
    return AddPartitionsToTxnResponse(
        results_by_topic_v3_and_below=_results(request.v3_and_below_topics, {}, code),
        error_code=code,
        results_by_transaction=[
            AddPartitionsToTxnResult(
                transactional_id=each.transactional_id, topic_results=_results(each.topics, {}, code)
            )
            for each in request.transactions
        ],
    )


async def _one(context: BrokerContext, call: Call, asked: AddPartitionsToTxnTransaction) -> AddPartitionsToTxnResult:
    places = frozenset((topic.name, partition) for topic in asked.topics for partition in topic.partitions)
    unknown = [place for place in places if not context.coordinators.transaction_ports.exists(*place)]
    codes: Codes = {}
    code = NONE
    if asked.transactional_id == "":
        code = INVALID_REQUEST
    elif unknown:
        codes = dict.fromkeys(unknown, UNKNOWN_TOPIC_OR_PARTITION)
        code = OPERATION_NOT_ATTEMPTED
    else:
        producer = Identity(asked.producer_id, asked.producer_epoch)
        try:
            if asked.verify_only:
                codes = await context.transactions.verify_partitions(asked.transactional_id, producer, places)
            else:
                version = FIRST_BUMPING_VERSION if call.api_version >= FIRST_BATCHED_VERSION else 0
                code = await context.transactions.add_partitions(
                    asked.transactional_id, producer, places, client_version=version
                )
        except KafkaError as error:
            code = error.code
    if code == PRODUCER_FENCED and call.api_version < FIRST_VERSION_WITH_FENCED:
        code = INVALID_PRODUCER_EPOCH
    return AddPartitionsToTxnResult(
        transactional_id=asked.transactional_id, topic_results=_results(asked.topics, codes, code)
    )


def _results(
    topics: Iterable[AddPartitionsToTxnTopic], codes: Codes, otherwise: int
) -> list[AddPartitionsToTxnTopicResult]:
    return [
        AddPartitionsToTxnTopicResult(
            name=topic.name,
            results_by_partition=[
                AddPartitionsToTxnPartitionResult(
                    partition_index=partition,
                    partition_error_code=codes.get((topic.name, partition), otherwise),
                )
                for partition in topic.partitions
            ],
        )
        for topic in topics
    ]
