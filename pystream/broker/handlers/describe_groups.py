"""DescribeGroups (key 15), versions 0-6: state, members and assignments of classic groups. One result for each id.

A group that is not there, or is of another kind, is "Dead".

    1    throttle time
    3    authorized operations
    4    group instance id: static members (KIP-345)
    5    flexible
    6    GROUP_ID_NOT_FOUND and a message for a group that is not there (KIP-1043)
"""

from __future__ import annotations

from pystream.broker.authorized_operations import ALL_ON_GROUP, NOT_ASKED
from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.describe_groups import (
    DescribedGroup,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)

REQUEST = DescribeGroupsRequest


async def handle(context: BrokerContext, call: Call, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    groups = await context.groups.describe_groups(call.caller(), request.groups)
    for group in groups:
        group.authorized_operations = ALL_ON_GROUP if request.include_authorized_operations else NOT_ASKED
    return DescribeGroupsResponse(groups=groups)


def failed(request: DescribeGroupsRequest, code: int, message: str) -> DescribeGroupsResponse:
    return DescribeGroupsResponse(
        groups=[
            DescribedGroup(group_id=group_id, error_code=code, authorized_operations=NOT_ASKED)
            for group_id in request.groups
        ]
    )
