"""InitializeShareGroupState (key 83), version 0: begin the stored state of share partitions, or begin it anew.

FENCED_STATE_EPOCH when a later state epoch is known. Start offset -1: the first leader finds one.

    0    first one (KIP-932)
"""

from __future__ import annotations

import asyncio

from pystream.broker.context import BrokerContext, Call
from pystream.coordinator.share.state import ShareKey
from pystream.protocol.messages.initialize_share_group_state import (
    InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse,
    InitializeStateResult,
    PartitionData,
    PartitionResult,
)

REQUEST = InitializeShareGroupStateRequest


async def handle(
    context: BrokerContext, call: Call, request: InitializeShareGroupStateRequest
) -> InitializeShareGroupStateResponse:
    async def one(topic_id: bytes, asked: PartitionData) -> PartitionResult:
        key = ShareKey(request.group_id, topic_id, asked.partition)
        result = await context.shares.states.initialize(
            key, state_epoch=asked.state_epoch, start_offset=asked.start_offset
        )
        return PartitionResult(
            partition=asked.partition, error_code=result.error_code, error_message=result.error_message
        )

    return InitializeShareGroupStateResponse(
        results=[
            InitializeStateResult(
                topic_id=topic.topic_id,
                partitions=await asyncio.gather(*(one(topic.topic_id, asked) for asked in topic.partitions)),
            )
            for topic in request.topics
        ]
    )


def failed(request: InitializeShareGroupStateRequest, code: int, message: str) -> InitializeShareGroupStateResponse:
    return InitializeShareGroupStateResponse(
        results=[
            InitializeStateResult(
                topic_id=topic.topic_id,
                partitions=[
                    PartitionResult(partition=asked.partition, error_code=code, error_message=message)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
