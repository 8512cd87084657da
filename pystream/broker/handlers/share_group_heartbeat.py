"""ShareGroupHeartbeat (key 76), version 1: a member of a share group joins, shows itself, or leaves (KIP-932).

Epoch 0 joins, -1 leaves, any other is the member's own; the answer tells the next one and, when it has changed or was
asked for, what the member is assigned. FENCED_MEMBER_EPOCH and UNKNOWN_MEMBER_ID: it joins anew.

    1    first one
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.coordinator.group.group import Caller
from pystream.protocol.messages.share_group_heartbeat import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse

REQUEST = ShareGroupHeartbeatRequest


async def handle(
    context: BrokerContext, call: Call, request: ShareGroupHeartbeatRequest
) -> ShareGroupHeartbeatResponse:
    caller = Caller(api_version=call.api_version, client_id=call.client_id or "", client_host=f"/{call.peer}")
    return await context.shares.groups.heartbeat(caller, request)


def failed(request: ShareGroupHeartbeatRequest, code: int, message: str) -> ShareGroupHeartbeatResponse:
    return ShareGroupHeartbeatResponse(error_code=code, error_message=message)
