"""CreateTopics (key 19), versions 2-7: topics with partitions, replicas and settings of their own.

Each topic succeeds or fails by itself, and is answered once. The answer waits until this broker takes records for what
was created; when that takes longer than timeout_ms, the topic is answered with REQUEST_TIMED_OUT and comes to be all
the same. With validate_only everything is checked and nothing is written.

    4    -1 partitions or replicas: the defaults (KIP-464)
    5    flexible; number of partitions and replicas, and the settings, in the answer (KIP-525)
    6    error THROTTLING_QUOTA_EXCEEDED (KIP-599)
    7    topic id in the answer (KIP-516)
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call, in_time
from pystream.common.config import Explained
from pystream.common.error_codes import NONE, REQUEST_TIMED_OUT
from pystream.common.errors import RequestTimedOut
from pystream.controller.requests import NewTopic, TopicOutcome
from pystream.protocol.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)

REQUEST = CreateTopicsRequest


async def handle(context: BrokerContext, call: Call, request: CreateTopicsRequest) -> CreateTopicsResponse:
    quota = context.client_quotas.mutations(call.client_id, strict=call.api_version >= 6)

    async def create() -> list[TopicOutcome]:
        outcomes = await context.topics.create_topics(
            [_new_topic(topic) for topic in request.topics], validate_only=request.validate_only, charge=quota.charge
        )
        await context.applier.caught_up()
        return outcomes

    try:
        outcomes = await in_time(create(), request.timeout_ms)
    except RequestTimedOut as error:
        return failed(request, REQUEST_TIMED_OUT, str(error))
    return CreateTopicsResponse(
        throttle_time_ms=quota.throttle_ms, topics=[_result(context, outcome) for outcome in outcomes]
    )


def failed(request: CreateTopicsRequest, code: int, message: str) -> CreateTopicsResponse:
    names = dict.fromkeys(topic.name for topic in request.topics)
    return CreateTopicsResponse(
        topics=[CreatableTopicResult(name=name, error_code=code, error_message=message) for name in names]
    )


def _new_topic(topic: CreatableTopic) -> NewTopic:
    return NewTopic(
        name=topic.name,
        partitions=topic.num_partitions,
        replication_factor=topic.replication_factor,
        assignments=[(assigned.partition_index, assigned.broker_ids) for assigned in topic.assignments],
        configs=[(config.name, config.value) for config in topic.configs],
    )


def _result(context: BrokerContext, outcome: TopicOutcome) -> CreatableTopicResult:
    name = outcome.name or ""
    if outcome.error is not None:
        return CreatableTopicResult(name=name, error_code=outcome.error.code, error_message=str(outcome.error))
    return CreatableTopicResult(
        name=name,
        topic_id=outcome.topic_id,
        error_code=NONE,
        error_message=None,
        num_partitions=outcome.partitions,
        replication_factor=outcome.replication_factor,
        configs=context.settings.show_topic(outcome.configs, context.image(), form=CreatableTopicConfigs, show=_shown),
    )


def _shown(explained: Explained) -> CreatableTopicConfigs:
    return CreatableTopicConfigs(
        name=explained.key.name,
        value=explained.text,
        read_only=False,
        config_source=int(explained.source),
        is_sensitive=explained.key.sensitive,
    )
