"""ReadShareGroupState (key 84), version 0: the stored state of share partitions, for a new leader of theirs.

A leader epoch that is newer than the stored one is stored: older leaders get FENCED_LEADER_EPOCH from then on.

    0    first one (KIP-932)
"""

from __future__ import annotations

import asyncio

from pystream.broker.context import BrokerContext, Call
from pystream.coordinator.share.state import ShareKey
from pystream.protocol.messages.read_share_group_state import (
    PartitionData,
    PartitionResult,
    ReadShareGroupStateRequest,
    ReadShareGroupStateResponse,
    ReadStateResult,
    StateBatch,
)

REQUEST = ReadShareGroupStateRequest


async def handle(
    context: BrokerContext, call: Call, request: ReadShareGroupStateRequest
) -> ReadShareGroupStateResponse:
    async def one(topic_id: bytes, asked: PartitionData) -> PartitionResult:
        key = ShareKey(request.group_id, topic_id, asked.partition)
        result = await context.shares.states.read(key, leader_epoch=asked.leader_epoch)
        return PartitionResult(
            partition=asked.partition,
            error_code=result.error_code,
            error_message=result.error_message,
            state_epoch=result.state.state_epoch,
            start_offset=result.state.start_offset,
            state_batches=[
                StateBatch(first_offset=first, last_offset=last, delivery_state=state, delivery_count=count)
                for first, last, state, count in result.state.batches
            ],
        )

    return ReadShareGroupStateResponse(
        results=[
            ReadStateResult(
                topic_id=topic.topic_id,
                partitions=await asyncio.gather(*(one(topic.topic_id, asked) for asked in topic.partitions)),
            )
            for topic in request.topics
        ]
    )


def failed(request: ReadShareGroupStateRequest, code: int, message: str) -> ReadShareGroupStateResponse:
    return ReadShareGroupStateResponse(
        results=[
            ReadStateResult(
                topic_id=topic.topic_id,
                partitions=[
                    PartitionResult(partition=asked.partition, error_code=code, error_message=message)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
