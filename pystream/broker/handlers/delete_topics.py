"""DeleteTopics (key 20), versions 1-6: topics by name, from version 6 also by id.

Each topic succeeds or fails by itself and is answered once. The answer waits until this broker has taken the topic's
partitions away, at most timeout_ms; their files follow. An id that is not known is UNKNOWN_TOPIC_ID; an item with both
name and id, or with neither, is INVALID_REQUEST. Where topics cannot be deleted all are TOPIC_DELETION_DISABLED.

    3    error TOPIC_DELETION_DISABLED in place of INVALID_REQUEST
    4    flexible
    5    error message, error THROTTLING_QUOTA_EXCEEDED (KIP-599)
    6    topic ids (KIP-516)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call, in_time
from pystream.common.error_codes import NONE, REQUEST_TIMED_OUT
from pystream.common.errors import InvalidRequest, RequestTimedOut, TopicDeletionDisabled
from pystream.common.model import ZERO_UUID
from pystream.controller.requests import TopicOutcome
from pystream.protocol.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)

REQUEST = DeleteTopicsRequest
FIRST_VERSION_WITH_DELETION_DISABLED = 3


async def handle(context: BrokerContext, call: Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    if not context.config.controller.delete_topic_enable:
        if call.api_version < FIRST_VERSION_WITH_DELETION_DISABLED:
            raise InvalidRequest("This version does not support topic deletion.")
        raise TopicDeletionDisabled()
    quota = context.client_quotas.mutations(call.client_id, strict=call.api_version >= 5)
    refused = [outcome for topic in request.topics if (outcome := _ambiguous(topic)) is not None]
    clear = [topic for topic in request.topics if _ambiguous(topic) is None]
    names = [*request.topic_names, *(topic.name for topic in clear if topic.name is not None)]
    topic_ids = [topic.topic_id for topic in clear if topic.name is None]

    async def delete() -> list[TopicOutcome]:
        outcomes = await context.topics.delete_topics(names=names, topic_ids=topic_ids, charge=quota.charge)
        await context.applier.caught_up()
        return [*refused, *outcomes]

    try:
        outcomes = await in_time(delete(), request.timeout_ms)
    except RequestTimedOut as error:
        return failed(request, REQUEST_TIMED_OUT, str(error))
    return DeleteTopicsResponse(
        throttle_time_ms=quota.throttle_ms, responses=[_result(outcome) for outcome in outcomes]
    )


def failed(request: DeleteTopicsRequest, code: int, message: str) -> DeleteTopicsResponse:
    asked: list[tuple[str | None, bytes]] = [(name, ZERO_UUID) for name in request.topic_names]
    asked += [(topic.name, topic.topic_id) for topic in request.topics]
    return DeleteTopicsResponse(
        responses=[
            DeletableTopicResult(name=name, topic_id=topic_id, error_code=code, error_message=message)
            for name, topic_id in dict.fromkeys(asked)
        ]
    )


def _ambiguous(topic: DeleteTopicState) -> TopicOutcome | None:
    """The outcome of an item that does not say which topic it means."""
    if (topic.name is None) != (topic.topic_id == ZERO_UUID):
        return None
    complaint = (
        "Neither topic name nor id were specified."
        if topic.name is None
        else "You may not specify both topic name and topic id."
    )
    return TopicOutcome(topic.name, InvalidRequest(complaint), topic.topic_id)


def _result(outcome: TopicOutcome) -> DeletableTopicResult:
    return DeletableTopicResult(
        name=outcome.name,
        topic_id=outcome.topic_id,
        error_code=NONE if outcome.error is None else outcome.error.code,
        error_message=None if outcome.error is None else str(outcome.error),
    )
