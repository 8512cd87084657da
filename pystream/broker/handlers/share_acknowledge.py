"""ShareAcknowledge (key 79), versions 1-2: a member of a share group says what became of records that it has.

Types: 0 gap, 1 accept, 2 release, 3 reject, 4 renew. All of a partition's acknowledgements count, or none:
INVALID_RECORD_STATE when a record is not the member's, INVALID_REQUEST when they are not well formed.

    1    first one (KIP-932)
    2    renewal of locks (KIP-1222)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.broker.coordination.leader_hints import with_leaders
from pystream.protocol.messages import share_acknowledge
from pystream.protocol.messages.share_acknowledge import (
    PartitionData,
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareAcknowledgeTopicResponse,
)

REQUEST = ShareAcknowledgeRequest


async def handle(context: BrokerContext, call: Call, request: ShareAcknowledgeRequest) -> ShareAcknowledgeResponse:
    response = await context.shares.service.acknowledge(request)
    answer: ShareAcknowledgeResponse = with_leaders(
        context.image(), lambda: context.reachable_brokers(call.listener), response, share_acknowledge
    )
    return answer


def failed(request: ShareAcknowledgeRequest, code: int, message: str) -> ShareAcknowledgeResponse:
    return ShareAcknowledgeResponse(
        error_code=code,
        error_message=message,
        responses=[
            ShareAcknowledgeTopicResponse(
                topic_id=topic.topic_id,
                partitions=[
                    PartitionData(partition_index=asked.partition_index, error_code=code, error_message=message)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )
