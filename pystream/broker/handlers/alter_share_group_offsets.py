"""AlterShareGroupOffsets (key 91), version 0: a share group without members begins anew at other offsets (KIP-932).

NON_EMPTY_GROUP while it has members; a group that is not there begins to exist.

    0    first one
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.alter_share_group_offsets import (
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsResponse,
    AlterShareGroupOffsetsResponsePartition,
    AlterShareGroupOffsetsResponseTopic,
)

REQUEST = AlterShareGroupOffsetsRequest


async def handle(
    context: BrokerContext, call: Call, request: AlterShareGroupOffsetsRequest
) -> AlterShareGroupOffsetsResponse:
    return AlterShareGroupOffsetsResponse(responses=await context.shares.groups.alter_offsets(request))


def failed(request: AlterShareGroupOffsetsRequest, code: int, message: str) -> AlterShareGroupOffsetsResponse:
    return AlterShareGroupOffsetsResponse(
        error_code=code,
        error_message=message,
        responses=[
            AlterShareGroupOffsetsResponseTopic(
                topic_name=topic.topic_name,
                partitions=[
                    AlterShareGroupOffsetsResponsePartition(
                        partition_index=asked.partition_index, error_code=code, error_message=message
                    )
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )
