"""DescribeShareGroupOffsets (key 90), versions 0-1: where share groups begin in their partitions, and how far behind.

No topics named: all of which the group has a state. A partition without one begins at -1.

    0    first one (KIP-932)
    1    lag (KIP-1226)
"""

from __future__ import annotations

import asyncio

from pystream.broker.context import BrokerContext, Call
from pystream.common.model import NO_OFFSET
from pystream.protocol.messages.describe_share_group_offsets import (
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsResponse,
    DescribeShareGroupOffsetsResponseGroup,
    DescribeShareGroupOffsetsResponsePartition,
    DescribeShareGroupOffsetsResponseTopic,
)

REQUEST = DescribeShareGroupOffsetsRequest


async def handle(
    context: BrokerContext, call: Call, request: DescribeShareGroupOffsetsRequest
) -> DescribeShareGroupOffsetsResponse:
    groups = await asyncio.gather(*(context.shares.groups.describe_offsets(group) for group in request.groups))
    return DescribeShareGroupOffsetsResponse(groups=groups)


def failed(request: DescribeShareGroupOffsetsRequest, code: int, message: str) -> DescribeShareGroupOffsetsResponse:
    return DescribeShareGroupOffsetsResponse(
        groups=[
            DescribeShareGroupOffsetsResponseGroup(
                group_id=group.group_id,
                error_code=code,
                error_message=message,
                topics=[
                    DescribeShareGroupOffsetsResponseTopic(
                        topic_name=topic.topic_name,
                        partitions=[
                            DescribeShareGroupOffsetsResponsePartition(
                                partition_index=partition,
                                start_offset=NO_OFFSET,
                                error_code=code,
                                error_message=message,
                            )
                            for partition in topic.partitions
                        ],
                    )
                    for topic in group.topics or ()
                ],
            )
            for group in request.groups
        ]
    )
