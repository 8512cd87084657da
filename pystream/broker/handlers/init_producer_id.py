"""InitProducerId (key 22), versions 0-5: an id and an epoch for an idempotent or a transactional producer.

A producer without a transactional id gets a new id with epoch 0 at every call; ids come in blocks from the controller,
so two brokers never give out the same. One with a transactional id gets that id's producer id and an epoch above all
that were given out for it: whoever had one is fenced. A transaction that is still open is aborted first, and the answer
is CONCURRENT_TRANSACTIONS until that is done: the client asks again.

    1    throttle time after the error
    2    flexible
    3    the producer may name its id and epoch, to go on after an error (KIP-360)
    4    error PRODUCER_FENCED; INVALID_PRODUCER_EPOCH before
    5    error TRANSACTION_ABORTABLE (KIP-890)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import INVALID_PRODUCER_EPOCH, INVALID_REQUEST, PRODUCER_FENCED
from pystream.common.model import NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from pystream.coordinator.transaction.shard import Identity
from pystream.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

REQUEST = InitProducerIdRequest
FIRST_EPOCH = 0
FIRST_VERSION_WITH_FENCED = 4


async def handle(context: BrokerContext, call: Call, request: InitProducerIdRequest) -> InitProducerIdResponse:
    if request.transactional_id == "":
        return failed(request, INVALID_REQUEST, "")
    if (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_PRODUCER_EPOCH):
        return failed(request, INVALID_REQUEST, "")
    if request.transactional_id is None:
        producer_id = await context.producer_ids.next_id()
        return InitProducerIdResponse(producer_id=producer_id, producer_epoch=FIRST_EPOCH)
    expected = None
    if request.producer_id != NO_PRODUCER_ID:
        expected = Identity(request.producer_id, request.producer_epoch)
    result = await context.transactions.init_producer(
        request.transactional_id, request.transaction_timeout_ms, expected
    )
    code = result.error
    if code == PRODUCER_FENCED and call.api_version < FIRST_VERSION_WITH_FENCED:
        code = INVALID_PRODUCER_EPOCH
    return InitProducerIdResponse(error_code=code, producer_id=result.producer_id, producer_epoch=result.producer_epoch)


def failed(request: InitProducerIdRequest, code: int, message: str) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=NO_PRODUCER_ID, producer_epoch=NO_PRODUCER_EPOCH)
