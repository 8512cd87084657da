"""ConsumerGroupDescribe (key 69), versions 0-1: epochs, members, current and target assignments of consumer groups.

One result for each group id; GROUP_ID_NOT_FOUND for a group of another kind too. UNSUPPORTED_VERSION while
`group.version` is 0.

    0    flexible from the start (KIP-848)
    1    member type: whether it speaks the classic protocol (KIP-1099)
"""

from __future__ import annotations

from pystream.broker.authorized_operations import ALL_ON_GROUP, NOT_ASKED
from pystream.broker.context import BrokerContext, Call
from pystream.broker.features import check_protocol
from pystream.coordinator.group.group import GroupKind
from pystream.protocol.messages.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
)

REQUEST = ConsumerGroupDescribeRequest


async def handle(
    context: BrokerContext, call: Call, request: ConsumerGroupDescribeRequest
) -> ConsumerGroupDescribeResponse:
    check_protocol(context, GroupKind.CONSUMER, "group.version")
    groups = await context.groups.describe_consumer_groups(request.group_ids)
    for group in groups:
        group.authorized_operations = ALL_ON_GROUP if request.include_authorized_operations else NOT_ASKED
    return ConsumerGroupDescribeResponse(groups=groups)


def failed(request: ConsumerGroupDescribeRequest, code: int, message: str) -> ConsumerGroupDescribeResponse:
    return ConsumerGroupDescribeResponse(
        groups=[
            DescribedGroup(group_id=group_id, error_code=code, error_message=message, authorized_operations=NOT_ASKED)
            for group_id in request.group_ids
        ]
    )
