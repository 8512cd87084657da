"""ReadShareGroupStateSummary (key 87), versions 0-1: where share partitions begin, without the state of their records.

A share partition without a state begins at -1, which is no error.

    0    first one (KIP-932)
    1    count of completed deliveries, for lag (KIP-1226)
"""

from __future__ import annotations

import asyncio

from pystream.broker.context import BrokerContext, Call
from pystream.coordinator.share.state import ShareKey
from pystream.protocol.messages.read_share_group_state_summary import (
    PartitionData,
    PartitionResult,
    ReadShareGroupStateSummaryRequest,
    ReadShareGroupStateSummaryResponse,
    ReadStateSummaryResult,
)

REQUEST = ReadShareGroupStateSummaryRequest


async def handle(
    context: BrokerContext, call: Call, request: ReadShareGroupStateSummaryRequest
) -> ReadShareGroupStateSummaryResponse:
    async def one(topic_id: bytes, asked: PartitionData) -> PartitionResult:
        result = await context.shares.states.summary(ShareKey(request.group_id, topic_id, asked.partition))
        return PartitionResult(
            partition=asked.partition,
            error_code=result.error_code,
            error_message=result.error_message,
            state_epoch=result.state.state_epoch,
            leader_epoch=result.state.leader_epoch,
            start_offset=result.state.start_offset,
            delivery_complete_count=result.state.delivery_complete_count,
        )

    return ReadShareGroupStateSummaryResponse(
        results=[
            ReadStateSummaryResult(
                topic_id=topic.topic_id,
                partitions=await asyncio.gather(*(one(topic.topic_id, asked) for asked in topic.partitions)),
            )
            for topic in request.topics
        ]
    )


def failed(request: ReadShareGroupStateSummaryRequest, code: int, message: str) -> ReadShareGroupStateSummaryResponse:
    return ReadShareGroupStateSummaryResponse(
        results=[
            ReadStateSummaryResult(
                topic_id=topic.topic_id,
                partitions=[
                    PartitionResult(partition=asked.partition, error_code=code, error_message=message)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
