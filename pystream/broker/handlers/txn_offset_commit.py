"""TxnOffsetCommit (key 28), versions 0-5: what a group has read, as part of a transaction.

The offsets are written at once and count when the transaction is committed. A partition that does not exist is answered
with UNKNOWN_TOPIC_OR_PARTITION, the others go on.

    2    leader epoch; before, COORDINATOR_LOAD_IN_PROGRESS is told as COORDINATOR_NOT_AVAILABLE (KAFKA-7296)
    3    flexible; member, generation and group instance id: a fenced member cannot commit (KIP-447)
    4    error TRANSACTION_ABORTABLE (KIP-890)
    5    transactions of version 2: the offsets join the transaction by being committed, without AddOffsetsToTxn
"""

from __future__ import annotations

from collections.abc import Mapping

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import (
    CONCURRENT_TRANSACTIONS,
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    INVALID_TXN_STATE,
    NONE,
    TRANSACTION_ABORTABLE,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import KafkaError
from pystream.common.model import CONSUMER_OFFSETS_TOPIC
from pystream.coordinator.group.coordinator import check_group_id, settled
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.offset_requests import commit_in_transaction_failed
from pystream.coordinator.transaction.shard import Identity
from pystream.protocol.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

REQUEST = TxnOffsetCommitRequest
FIRST_VERSION_WITH_LOADING = 2
FIRST_VERSION_WITH_ABORTABLE = 4
FIRST_IMPLICIT_VERSION = 5


async def handle(context: BrokerContext, call: Call, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse:
    known = TxnOffsetCommitRequest(
        transactional_id=request.transactional_id,
        group_id=request.group_id,
        producer_id=request.producer_id,
        producer_epoch=request.producer_epoch,
        generation_id=request.generation_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        topics=[found for topic in request.topics if (found := _known(context, topic)).partitions],
    )
    codes: dict[tuple[str, int], int] = {}
    if known.topics:
        try:
            response = await _commit(context, call, known)
        except KafkaError as error:
            response = commit_in_transaction_failed(known, error.code)
        codes = {
            (topic.name, partition.partition_index): _told(partition.error_code, call.api_version)
            for topic in response.topics
            for partition in topic.partitions
        }
    return TxnOffsetCommitResponse(topics=[_result(topic, codes) for topic in request.topics])


def failed(request: TxnOffsetCommitRequest, code: int, message: str) -> TxnOffsetCommitResponse:
    return commit_in_transaction_failed(request, code)


async def _commit(context: BrokerContext, call: Call, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse:
    check_group_id(request.group_id)  # before anything joins the transaction
    producer = Identity(request.producer_id, request.producer_epoch)
    await context.coordinators.internal_topics.ensure(CONSUMER_OFFSETS_TOPIC)
    offsets = (CONSUMER_OFFSETS_TOPIC, context.groups.runtime.partition_for(request.group_id))
    code = await context.transactions.join_offsets(
        request.transactional_id, producer, offsets, implicitly=call.api_version >= FIRST_IMPLICIT_VERSION
    )
    if code == NONE and not context.transactions.may_commit_offsets(request.transactional_id, producer, offsets):
        code = CONCURRENT_TRANSACTIONS  # it has ended while we asked
    if code != NONE:
        return commit_in_transaction_failed(request, code)
    # From that look to the append nothing is awaited: no marker comes in between.
    caller = Caller(call.api_version, call.client_id or "", f"/{call.peer}")
    response: TxnOffsetCommitResponse = await settled(context.groups.commit_offsets_in_transaction(caller, request))
    return response


def _known(context: BrokerContext, topic: TxnOffsetCommitRequestTopic) -> TxnOffsetCommitRequestTopic:
    """The topic with those of its partitions that exist."""
    found = context.image().topics.get(topic.name)
    count = 0 if found is None else len(found.partitions)
    kept = [partition for partition in topic.partitions if 0 <= partition.partition_index < count]
    return TxnOffsetCommitRequestTopic(name=topic.name, partitions=kept)


def _told(code: int, version: int) -> int:
    """The code in words that the client's version knows."""
    if code == COORDINATOR_LOAD_IN_PROGRESS and version < FIRST_VERSION_WITH_LOADING:
        return COORDINATOR_NOT_AVAILABLE
    if code == TRANSACTION_ABORTABLE and version < FIRST_VERSION_WITH_ABORTABLE:
        return INVALID_TXN_STATE
    return code


def _result(topic: TxnOffsetCommitRequestTopic, codes: Mapping[tuple[str, int], int]) -> TxnOffsetCommitResponseTopic:
    return TxnOffsetCommitResponseTopic(
        name=topic.name,
        partitions=[
            TxnOffsetCommitResponsePartition(
                partition_index=asked.partition_index,
                error_code=codes.get((topic.name, asked.partition_index), UNKNOWN_TOPIC_OR_PARTITION),
            )
            for asked in topic.partitions
        ],
    )
