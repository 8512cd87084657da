"""ShareGroupDescribe (key 77), version 1: members, epochs and assignments of share groups (KIP-932).

A group that is not there, or is of another kind, is GROUP_ID_NOT_FOUND in its own result.

    1    first one
"""

from __future__ import annotations

from pystream.broker.authorized_operations import ALL_ON_GROUP
from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.share_group_describe import (
    DescribedGroup,
    ShareGroupDescribeRequest,
    ShareGroupDescribeResponse,
)

REQUEST = ShareGroupDescribeRequest


async def handle(context: BrokerContext, call: Call, request: ShareGroupDescribeRequest) -> ShareGroupDescribeResponse:
    groups = await context.shares.groups.describe(request.group_ids)
    if request.include_authorized_operations:
        for group in groups:
            group.authorized_operations = ALL_ON_GROUP
    return ShareGroupDescribeResponse(groups=groups)


def failed(request: ShareGroupDescribeRequest, code: int, message: str) -> ShareGroupDescribeResponse:
    return ShareGroupDescribeResponse(
        groups=[DescribedGroup(group_id=name, error_code=code, error_message=message) for name in request.group_ids]
    )
