"""JoinGroup (key 11), versions 0-9: become a member of a classic group; answered when all members have joined.

1    rebalance time-out apart from the session's (KIP-62)
2    throttle time
4    a member without an id is given one with MEMBER_ID_REQUIRED, and joins with it (KIP-394)
5    group instance id: static members (KIP-345)
6    flexible
7    the protocol type in the answer; the protocol name may be null (KIP-559)
8    reason for joining (KIP-800)
9    skip_assignment: a static leader that came back need not assign (KIP-814)
"""

from __future__ import annotations

from collections.abc import Awaitable

from pystream.broker.context import BrokerContext, Call
from pystream.coordinator.group.coordinator import settled
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse

REQUEST = JoinGroupRequest
NULL_PROTOCOL_VERSION = 7


def handle(
    context: BrokerContext, call: Call, request: JoinGroupRequest
) -> JoinGroupResponse | Awaitable[JoinGroupResponse]:
    return _joined(context, call, request)


async def _joined(context: BrokerContext, call: Call, request: JoinGroupRequest) -> JoinGroupResponse:
    response: JoinGroupResponse = await settled(context.groups.join_group(call.caller(), request))
    if response.protocol_name is None and call.api_version < NULL_PROTOCOL_VERSION:
        response.protocol_name = ""
    return response


def failed(request: JoinGroupRequest, code: int, message: str) -> JoinGroupResponse:
    return JoinGroupResponse(error_code=code, member_id=request.member_id)
