"""DeleteShareGroupOffsets (key 92), version 0: a share group without members forgets where it is in topics (KIP-932).

NON_EMPTY_GROUP while it has members, UNKNOWN_TOPIC_OR_PARTITION for a topic in which it is nowhere.

    0    first one
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.protocol.messages.delete_share_group_offsets import (
    DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse,
    DeleteShareGroupOffsetsResponseTopic,
)

REQUEST = DeleteShareGroupOffsetsRequest


async def handle(
    context: BrokerContext, call: Call, request: DeleteShareGroupOffsetsRequest
) -> DeleteShareGroupOffsetsResponse:
    return DeleteShareGroupOffsetsResponse(responses=await context.shares.groups.delete_offsets(request))


def failed(request: DeleteShareGroupOffsetsRequest, code: int, message: str) -> DeleteShareGroupOffsetsResponse:
    return DeleteShareGroupOffsetsResponse(
        error_code=code,
        error_message=message,
        responses=[
            DeleteShareGroupOffsetsResponseTopic(topic_name=topic.topic_name, error_code=code, error_message=message)
            for topic in request.topics
        ],
    )
