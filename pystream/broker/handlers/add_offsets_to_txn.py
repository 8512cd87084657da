"""AddOffsetsToTxn (key 25), versions 0-4: the partition that holds a group's offsets joins a transaction.

1    throttle time has meaning
2    error PRODUCER_FENCED; INVALID_PRODUCER_EPOCH before
3    flexible
4    error TRANSACTION_ABORTABLE (KIP-890); with transactions of version 2 TxnOffsetCommit 5 does it alone
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import INVALID_PRODUCER_EPOCH, INVALID_REQUEST, PRODUCER_FENCED
from pystream.common.model import CONSUMER_OFFSETS_TOPIC
from pystream.coordinator.transaction.shard import Identity
from pystream.protocol.messages.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse

REQUEST = AddOffsetsToTxnRequest
FIRST_VERSION_WITH_FENCED = 2


async def handle(context: BrokerContext, call: Call, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse:
    if not request.transactional_id:
        return failed(request, INVALID_REQUEST, "")
    await context.coordinators.internal_topics.ensure(CONSUMER_OFFSETS_TOPIC)
    offsets = (CONSUMER_OFFSETS_TOPIC, context.groups.runtime.partition_for(request.group_id))
    code = await context.transactions.add_partitions(
        request.transactional_id,
        Identity(request.producer_id, request.producer_epoch),
        frozenset([offsets]),
        client_version=0,
    )
    if code == PRODUCER_FENCED and call.api_version < FIRST_VERSION_WITH_FENCED:
        code = INVALID_PRODUCER_EPOCH
    return AddOffsetsToTxnResponse(error_code=code)


def failed(request: AddOffsetsToTxnRequest, code: int, message: str) -> AddOffsetsToTxnResponse:
    return AddOffsetsToTxnResponse(error_code=code)
