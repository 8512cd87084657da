"""SyncGroup (key 14), versions 0-5: the leader of a classic group brings the assignment, every member fetches its own.

1    throttle time
3    group instance id: static members (KIP-345)
4    flexible
5    protocol type and name, checked when they are there, and answered (KIP-559)
"""

from __future__ import annotations

from collections.abc import Awaitable

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import INCONSISTENT_GROUP_PROTOCOL
from pystream.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

REQUEST = SyncGroupRequest
CHECKED_PROTOCOL_VERSION = 5


def handle(
    context: BrokerContext, call: Call, request: SyncGroupRequest
) -> SyncGroupResponse | Awaitable[SyncGroupResponse]:
    if call.api_version >= CHECKED_PROTOCOL_VERSION and (
        request.protocol_type is None or request.protocol_name is None
    ):
        return failed(request, INCONSISTENT_GROUP_PROTOCOL, "")
    reply: SyncGroupResponse | Awaitable[SyncGroupResponse] = context.groups.sync_group(call.caller(), request)
    return reply


def failed(request: SyncGroupRequest, code: int, message: str) -> SyncGroupResponse:
    return SyncGroupResponse(error_code=code)
