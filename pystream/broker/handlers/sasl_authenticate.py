"""SaslAuthenticate (key 36), versions 0-2: one step of a login.

Every listener is PLAINTEXT, where nobody logs in: ILLEGAL_SASL_STATE, as Kafka answers there.

    1    how long the login lasts (KIP-368)
    2    flexible
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import ILLEGAL_SASL_STATE
from pystream.protocol.messages.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse

REQUEST = SaslAuthenticateRequest


def handle(context: BrokerContext, call: Call, request: SaslAuthenticateRequest) -> SaslAuthenticateResponse:
    return failed(
        request,
        ILLEGAL_SASL_STATE,
        f"SaslAuthenticate request received on listener {call.listener}, which asks for no login",
    )


def failed(request: SaslAuthenticateRequest, code: int, message: str) -> SaslAuthenticateResponse:
    return SaslAuthenticateResponse(error_code=code, error_message=message)
