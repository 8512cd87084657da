"""OffsetDelete (key 47), version 0: forget offsets of a group for topics that nobody in it subscribes to (KIP-496).

A partition that does not exist is answered with UNKNOWN_TOPIC_OR_PARTITION, one that is subscribed to with
GROUP_SUBSCRIBED_TO_TOPIC.
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import NONE, UNKNOWN_TOPIC_OR_PARTITION
from pystream.coordinator.group.coordinator import settled
from pystream.protocol.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)

REQUEST = OffsetDeleteRequest


async def handle(context: BrokerContext, call: Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
    topics = list(request.topics)
    request.topics = [
        OffsetDeleteRequestTopic(
            name=topic.name, partitions=[p for p in topic.partitions if _exists(context, topic.name, p.partition_index)]
        )
        for topic in topics
    ]
    response: OffsetDeleteResponse = await settled(context.groups.delete_offsets(request))
    if response.error_code == NONE:
        deleted = iter([partition for topic in response.topics for partition in topic.partitions])
        response.topics = [
            OffsetDeleteResponseTopic(
                name=topic.name,
                partitions=[
                    next(deleted)
                    if _exists(context, topic.name, p.partition_index)
                    else OffsetDeleteResponsePartition(
                        partition_index=p.partition_index, error_code=UNKNOWN_TOPIC_OR_PARTITION
                    )
                    for p in topic.partitions
                ],
            )
            for topic in topics
        ]
    return response


def failed(request: OffsetDeleteRequest, code: int, message: str) -> OffsetDeleteResponse:
    return OffsetDeleteResponse(error_code=code)


def _exists(context: BrokerContext, topic: str, partition: int) -> bool:
    return context.image().partition(topic, partition) is not None
