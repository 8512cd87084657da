"""WriteShareGroupState (key 85), versions 0-1: what has changed in the state of share partitions.

FENCED_STATE_EPOCH and FENCED_LEADER_EPOCH for a leader that others have followed, INVALID_REQUEST for a partition that
was never initialised, and for records in a state that is not stored.

    0    first one (KIP-932)
    1    count of completed deliveries, for lag (KIP-1226)
"""

from __future__ import annotations

import asyncio

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import INVALID_REQUEST
from pystream.coordinator.share.state import STORED_STATES, ShareKey, batches_of
from pystream.coordinator.share.state_shard import Write
from pystream.protocol.messages.write_share_group_state import (
    PartitionData,
    PartitionResult,
    WriteShareGroupStateRequest,
    WriteShareGroupStateResponse,
    WriteStateResult,
)

REQUEST = WriteShareGroupStateRequest


async def handle(
    context: BrokerContext, call: Call, request: WriteShareGroupStateRequest
) -> WriteShareGroupStateResponse:
    async def one(topic_id: bytes, asked: PartitionData) -> PartitionResult:
        if any(batch.delivery_state not in STORED_STATES for batch in asked.state_batches):
            return PartitionResult(partition=asked.partition, error_code=INVALID_REQUEST)
        change = Write(
            state_epoch=asked.state_epoch,
            leader_epoch=asked.leader_epoch,
            start_offset=asked.start_offset,
            delivery_complete_count=asked.delivery_complete_count,
            batches=batches_of(asked.state_batches),
        )
        result = await context.shares.states.write(ShareKey(request.group_id, topic_id, asked.partition), change)
        return PartitionResult(
            partition=asked.partition, error_code=result.error_code, error_message=result.error_message
        )

    return WriteShareGroupStateResponse(
        results=[
            WriteStateResult(
                topic_id=topic.topic_id,
                partitions=await asyncio.gather(*(one(topic.topic_id, asked) for asked in topic.partitions)),
            )
            for topic in request.topics
        ]
    )


def failed(request: WriteShareGroupStateRequest, code: int, message: str) -> WriteShareGroupStateResponse:
    return WriteShareGroupStateResponse(
        results=[
            WriteStateResult(
                topic_id=topic.topic_id,
                partitions=[
                    PartitionResult(partition=asked.partition, error_code=code, error_message=message)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
