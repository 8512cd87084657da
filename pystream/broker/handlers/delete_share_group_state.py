"""DeleteShareGroupState (key 86), version 0: forget the stored state of share partitions; no state is no error.

0    first one (KIP-932)
"""

from __future__ import annotations

import asyncio

from pystream.broker.context import BrokerContext, Call
from pystream.coordinator.share.state import ShareKey
from pystream.protocol.messages.delete_share_group_state import (
    DeleteShareGroupStateRequest,
    DeleteShareGroupStateResponse,
    DeleteStateResult,
    PartitionData,
    PartitionResult,
)

REQUEST = DeleteShareGroupStateRequest


async def handle(
    context: BrokerContext, call: Call, request: DeleteShareGroupStateRequest
) -> DeleteShareGroupStateResponse:
    async def one(topic_id: bytes, asked: PartitionData) -> PartitionResult:
        result = await context.shares.states.delete(ShareKey(request.group_id, topic_id, asked.partition))
        return PartitionResult(
            partition=asked.partition, error_code=result.error_code, error_message=result.error_message
        )

    return DeleteShareGroupStateResponse(
        results=[
            DeleteStateResult(
                topic_id=topic.topic_id,
                partitions=await asyncio.gather(*(one(topic.topic_id, asked) for asked in topic.partitions)),
            )
            for topic in request.topics
        ]
    )


def failed(request: DeleteShareGroupStateRequest, code: int, message: str) -> DeleteShareGroupStateResponse:
    return DeleteShareGroupStateResponse(
        results=[
            DeleteStateResult(
                topic_id=topic.topic_id,
                partitions=[
                    PartitionResult(partition=asked.partition, error_code=code, error_message=message)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
