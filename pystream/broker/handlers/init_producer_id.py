"""InitProducerId (key 22), versions 0-5: an id and an epoch for an idempotent producer.

A producer without a transactional id gets a new id with epoch 0 at every call; ids come in blocks from the controller,
so two brokers never give out the same. A transactional id is answered with COORDINATOR_NOT_AVAILABLE: there is no
transaction coordinator in this broker.

    1    throttle time after the error
    2    flexible
    3    the producer may name its id and epoch, to bump it (KIP-360); only transactional producers gain by it
    4    error PRODUCER_FENCED
    5    error TRANSACTION_ABORTABLE (KIP-890)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import COORDINATOR_NOT_AVAILABLE, INVALID_REQUEST
from pystream.common.logging import get_logger
from pystream.common.model import NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from pystream.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

logger = get_logger(__name__)

REQUEST = InitProducerIdRequest
FIRST_EPOCH = 0


async def handle(context: BrokerContext, call: Call, request: InitProducerIdRequest) -> InitProducerIdResponse:
    if request.transactional_id == "":
        return failed(request, INVALID_REQUEST, "")
    if (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_PRODUCER_EPOCH):
        return failed(request, INVALID_REQUEST, "")
    if request.transactional_id is not None:
        logger.limited(
            "transactional producer refused: there is no transaction coordinator",
            transactional_id=request.transactional_id,
            client_id=call.client_id,
        )
        return failed(request, COORDINATOR_NOT_AVAILABLE, "")
    producer_id = await context.producer_ids.next_id()
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=FIRST_EPOCH)


def failed(request: InitProducerIdRequest, code: int, message: str) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=NO_PRODUCER_ID, producer_epoch=NO_PRODUCER_EPOCH)
