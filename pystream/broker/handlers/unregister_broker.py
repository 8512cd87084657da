"""UnregisterBroker (key 64), version 0: forget a broker that is gone for good (KIP-631).

A registration ends with the broker's lease, so a broker that does not run is registered no longer:
BROKER_ID_NOT_REGISTERED. One that runs must be stopped: INVALID_REQUEST.
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.errors import BrokerIdNotRegistered, InvalidRequest
from pystream.protocol.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse

REQUEST = UnregisterBrokerRequest


def handle(context: BrokerContext, call: Call, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse:
    if request.broker_id in context.image().brokers:
        raise InvalidRequest(f"Broker {request.broker_id} is running: it leaves the cluster when it is stopped.")
    raise BrokerIdNotRegistered(f"Broker ID {request.broker_id} is not currently registered")


def failed(request: UnregisterBrokerRequest, code: int, message: str) -> UnregisterBrokerResponse:
    return UnregisterBrokerResponse(error_code=code, error_message=message)
