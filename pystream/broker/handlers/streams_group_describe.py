"""StreamsGroupDescribe (key 89), version 0: topology, epochs, members and tasks of streams groups (KIP-1071).

One result for each group id; GROUP_ID_NOT_FOUND for a group of another kind too. UNSUPPORTED_VERSION while
`streams.version` is 0.

    0    flexible from the start
"""

from __future__ import annotations

from pystream.broker.authorized_operations import ALL_ON_GROUP, NOT_ASKED
from pystream.broker.context import BrokerContext, Call
from pystream.broker.features import check_protocol
from pystream.coordinator.group.group import GroupKind
from pystream.protocol.messages.streams_group_describe import (
    DescribedGroup,
    StreamsGroupDescribeRequest,
    StreamsGroupDescribeResponse,
)

REQUEST = StreamsGroupDescribeRequest


async def handle(
    context: BrokerContext, call: Call, request: StreamsGroupDescribeRequest
) -> StreamsGroupDescribeResponse:
    check_protocol(context, GroupKind.STREAMS, "streams.version")
    groups = await context.groups.describe_streams_groups(request.group_ids)
    for group in groups:
        group.authorized_operations = ALL_ON_GROUP if request.include_authorized_operations else NOT_ASKED
    return StreamsGroupDescribeResponse(groups=groups)


def failed(request: StreamsGroupDescribeRequest, code: int, message: str) -> StreamsGroupDescribeResponse:
    return StreamsGroupDescribeResponse(
        groups=[
            DescribedGroup(group_id=group_id, error_code=code, error_message=message, authorized_operations=NOT_ASKED)
            for group_id in request.group_ids
        ]
    )
