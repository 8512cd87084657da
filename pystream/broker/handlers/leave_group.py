"""LeaveGroup (key 13), versions 0-5: members of a classic group go at once.

    1    throttle time
    3    many members, by id or by group instance id, a result each (KIP-345)
    4    flexible
    5    reason for leaving (KIP-800)

Below version 3 one member leaves, and its result is the answer's error.
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import NONE
from pystream.coordinator.group.coordinator import settled
from pystream.protocol.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)

REQUEST = LeaveGroupRequest
MANY_MEMBERS_VERSION = 3


async def handle(context: BrokerContext, call: Call, request: LeaveGroupRequest) -> LeaveGroupResponse:
    if call.api_version < MANY_MEMBERS_VERSION:
        request.members = [MemberIdentity(member_id=request.member_id)]
    response: LeaveGroupResponse = await settled(context.groups.leave_group(call.caller(), request))
    if call.api_version < MANY_MEMBERS_VERSION and response.error_code == NONE and response.members:
        response.error_code = response.members[0].error_code
    return response


def failed(request: LeaveGroupRequest, code: int, message: str) -> LeaveGroupResponse:
    return LeaveGroupResponse(
        error_code=code,
        members=[
            MemberResponse(member_id=member.member_id, group_instance_id=member.group_instance_id, error_code=code)
            for member in request.members
        ],
    )
