"""EndTxn (key 26), versions 0-5: a transaction is committed or aborted.

Answered once the decision is committed; the markers follow. A repeated request is answered like the first one.

    1    throttle time has meaning
    2    error PRODUCER_FENCED; INVALID_PRODUCER_EPOCH before
    3    flexible
    4    error TRANSACTION_ABORTABLE (KIP-890)
    5    transactions of version 2: the answer says with which id and epoch the producer goes on
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import INVALID_PRODUCER_EPOCH, INVALID_REQUEST, PRODUCER_FENCED
from pystream.common.model import NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from pystream.coordinator.transaction.shard import Identity
from pystream.coordinator.transaction.state import FIRST_BUMPING_VERSION
from pystream.protocol.messages.end_txn import EndTxnRequest, EndTxnResponse

REQUEST = EndTxnRequest
FIRST_VERSION_WITH_FENCED = 2
FIRST_VERSION_WITH_BUMP = 5


async def handle(context: BrokerContext, call: Call, request: EndTxnRequest) -> EndTxnResponse:
    if not request.transactional_id:
        return failed(request, INVALID_REQUEST, "")
    result = await context.transactions.end(
        request.transactional_id,
        Identity(request.producer_id, request.producer_epoch),
        commit=request.committed,
        client_version=FIRST_BUMPING_VERSION if call.api_version >= FIRST_VERSION_WITH_BUMP else 0,
    )
    code = result.error
    if code == PRODUCER_FENCED and call.api_version < FIRST_VERSION_WITH_FENCED:
        code = INVALID_PRODUCER_EPOCH
    return EndTxnResponse(error_code=code, producer_id=result.producer_id, producer_epoch=result.producer_epoch)


def failed(request: EndTxnRequest, code: int, message: str) -> EndTxnResponse:
    return EndTxnResponse(error_code=code, producer_id=NO_PRODUCER_ID, producer_epoch=NO_PRODUCER_EPOCH)
