"""SaslHandshake (key 17), versions 0-1: which SASL mechanism a client wants to log in with.

Every listener is PLAINTEXT, where nobody logs in: ILLEGAL_SASL_STATE and no mechanisms, as Kafka answers there.

    1    the exchange goes on in SaslAuthenticate requests (KIP-152)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import ILLEGAL_SASL_STATE
from pystream.protocol.messages.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse

REQUEST = SaslHandshakeRequest


def handle(context: BrokerContext, call: Call, request: SaslHandshakeRequest) -> SaslHandshakeResponse:
    return failed(request, ILLEGAL_SASL_STATE, "")


def failed(request: SaslHandshakeRequest, code: int, message: str) -> SaslHandshakeResponse:
    return SaslHandshakeResponse(error_code=code)
