"""Heartbeat (key 12), versions 0-4: a member of a classic group lives, and learns when the group rebalances.

1    throttle time
3    group instance id: static members (KIP-345)
4    flexible
"""

from __future__ import annotations

from collections.abc import Awaitable

from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse

REQUEST = HeartbeatRequest


def handle(
    context: BrokerContext, call: Call, request: HeartbeatRequest
) -> HeartbeatResponse | Awaitable[HeartbeatResponse]:
    reply: HeartbeatResponse | Awaitable[HeartbeatResponse] = context.groups.heartbeat(call.caller(), request)
    return reply


def failed(request: HeartbeatRequest, code: int, message: str) -> HeartbeatResponse:
    return HeartbeatResponse(error_code=code)
