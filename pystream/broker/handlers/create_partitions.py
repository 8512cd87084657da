"""CreatePartitions (key 37), versions 0-3: topics grow to a number of partitions.

Each topic succeeds or fails by itself and is answered once: librdkafka aborts its process on an empty list. The answer
waits until this broker takes records for the new partitions, at most timeout_ms.

    1    only throttling after the answer (KIP-219)
    2    flexible
    3    error THROTTLING_QUOTA_EXCEEDED (KIP-599)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call, in_time
from pystream.common.error_codes import NONE, REQUEST_TIMED_OUT
from pystream.common.errors import RequestTimedOut
from pystream.controller.requests import MorePartitions, TopicOutcome
from pystream.protocol.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)

REQUEST = CreatePartitionsRequest


async def handle(context: BrokerContext, call: Call, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
    quota = context.client_quotas.mutations(call.client_id, strict=call.api_version >= 3)

    async def grow() -> list[TopicOutcome]:
        outcomes = await context.topics.create_partitions(
            [_more(topic) for topic in request.topics], validate_only=request.validate_only, charge=quota.charge
        )
        await context.applier.caught_up()
        return outcomes

    try:
        outcomes = await in_time(grow(), request.timeout_ms)
    except RequestTimedOut as error:
        return failed(request, REQUEST_TIMED_OUT, str(error))
    return CreatePartitionsResponse(
        throttle_time_ms=quota.throttle_ms,
        results=[
            CreatePartitionsTopicResult(
                name=outcome.name or "",
                error_code=NONE if outcome.error is None else outcome.error.code,
                error_message=None if outcome.error is None else str(outcome.error),
            )
            for outcome in outcomes
        ],
    )


def failed(request: CreatePartitionsRequest, code: int, message: str) -> CreatePartitionsResponse:
    names = dict.fromkeys(topic.name for topic in request.topics)
    return CreatePartitionsResponse(
        results=[CreatePartitionsTopicResult(name=name, error_code=code, error_message=message) for name in names]
    )


def _more(topic: CreatePartitionsTopic) -> MorePartitions:
    assignments = None if topic.assignments is None else [assigned.broker_ids for assigned in topic.assignments]
    return MorePartitions(name=topic.name, count=topic.count, assignments=assignments)
