"""ShareFetch (key 78), versions 1-2: a member of a share group acquires records, and says what became of others.

The answer has the batches as they lie in the log, the ranges of offsets that are the member's from now on with how
often they were delivered, and one result for each partition that was acknowledged. Waits up to max_wait_ms for records.

    1    first one (KIP-932)
    2    exact number of records (KIP-1206), renewal of locks (KIP-1222)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.broker.coordination.leader_hints import with_leaders
from pystream.protocol.messages import share_fetch
from pystream.protocol.messages.share_fetch import (
    PartitionData,
    ShareFetchableTopicResponse,
    ShareFetchRequest,
    ShareFetchResponse,
)

REQUEST = ShareFetchRequest


async def handle(context: BrokerContext, call: Call, request: ShareFetchRequest) -> ShareFetchResponse:
    response = await context.shares.service.fetch(request, call.handle)
    answer: ShareFetchResponse = with_leaders(
        context.image(), lambda: context.reachable_brokers(call.listener), response, share_fetch
    )
    return answer


def failed(request: ShareFetchRequest, code: int, message: str) -> ShareFetchResponse:
    return ShareFetchResponse(
        error_code=code,
        error_message=message,
        responses=[
            ShareFetchableTopicResponse(
                topic_id=topic.topic_id,
                partitions=[
                    PartitionData(partition_index=asked.partition_index, error_code=code, error_message=message)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )
