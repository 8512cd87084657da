"""DescribeConfigs (key 32), versions 1-4: every setting of topics, of this broker and its loggers, of groups.

    topic (2)           all topic keys with their broker-wide synonyms
    broker (4)          all keys of this broker; with an empty name those set for all brokers
    broker logger (8)   the level of each logger
    client metrics (16) all keys of a subscription to metrics of clients (KIP-714)
    group (32)          all keys of a group with their broker-wide synonyms (KIP-848)

Empty or null keys ask for all. A secret's value is null. Settings that only a start can change are read-only.

    1    source and synonyms instead of "is default" (KIP-226)
    2    throttling after the answer (KIP-219)
    3    type and documentation (KIP-569)
    4    flexible
"""

from __future__ import annotations

import functools

from pystream.broker.context import BrokerContext, Call
from pystream.broker.monitoring import loggers
from pystream.common.config import ConfigSource, ConfigType, Explained
from pystream.common.errors import InvalidRequest, KafkaError, UnknownTopicOrPartition
from pystream.common.model import validate_topic_name
from pystream.controller.requests import ResourceType
from pystream.protocol.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

REQUEST = DescribeConfigsRequest


def handle(context: BrokerContext, call: Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    return DescribeConfigsResponse(results=[_describe(context, request, resource) for resource in request.resources])


def failed(request: DescribeConfigsRequest, code: int, message: str) -> DescribeConfigsResponse:
    return DescribeConfigsResponse(results=[_failed(resource, code, message) for resource in request.resources])


def shown(
    explained: Explained, *, read_only: bool, synonyms: bool = False, documentation: bool = False
) -> DescribeConfigsResourceResult:
    """One setting as the response carries it."""
    key = explained.key
    return DescribeConfigsResourceResult(
        name=key.name,
        value=explained.text,
        read_only=read_only,
        config_source=int(explained.source),
        is_sensitive=key.sensitive,
        synonyms=[
            DescribeConfigsSynonym(name=setting.name, value=setting.text, source=int(setting.source))
            for setting in (explained.settings if synonyms else ())
        ],
        config_type=int(key.type),
        documentation=key.doc if documentation else None,
    )


def _describe(
    context: BrokerContext, request: DescribeConfigsRequest, resource: DescribeConfigsResource
) -> DescribeConfigsResult:
    try:
        configs = _configs(context, request, resource)
    except KafkaError as error:
        return _failed(resource, error.code, str(error))
    if resource.configuration_keys:
        wanted = set(resource.configuration_keys)
        configs = [config for config in configs if config.name in wanted]
    return DescribeConfigsResult(
        error_message=None,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=configs,
    )


def _configs(
    context: BrokerContext, request: DescribeConfigsRequest, resource: DescribeConfigsResource
) -> list[DescribeConfigsResourceResult]:
    name = resource.resource_name
    image = context.image()
    synonyms, documentation = request.include_synonyms, request.include_documentation
    if resource.resource_type == ResourceType.TOPIC:
        validate_topic_name(name)
        topic = image.topics.get(name)
        if topic is None:
            raise UnknownTopicOrPartition()
        show = functools.partial(shown, read_only=False, synonyms=synonyms, documentation=documentation)
        return context.settings.show_topic(topic.configs, image, form=(synonyms, documentation), show=show)
    if resource.resource_type == ResourceType.BROKER:
        return [
            shown(explained, read_only=not explained.key.dynamic, synonyms=synonyms, documentation=documentation)
            for explained in context.settings.explain_broker(name, image)
        ]
    if resource.resource_type in (ResourceType.GROUP, ResourceType.CLIENT_METRICS):
        is_group = resource.resource_type == ResourceType.GROUP
        if not name:
            raise InvalidRequest(f"{'Group' if is_group else 'Client metrics subscription'} name must not be empty")
        settings = context.settings
        found = settings.explain_group(name, image) if is_group else settings.explain_client_metrics(name, image)
        return [
            shown(explained, read_only=False, synonyms=synonyms, documentation=documentation) for explained in found
        ]
    if resource.resource_type == ResourceType.BROKER_LOGGER:
        if not name:
            raise InvalidRequest("Broker id must not be empty")
        if not context.settings.is_this_broker(name):
            raise InvalidRequest(f"Unexpected broker id, expected {context.config.node_id} but received {name}")
        return [
            DescribeConfigsResourceResult(
                name=logger,
                value=level,
                config_source=int(ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG),
                config_type=int(ConfigType.STRING),
                documentation=None,
            )
            for logger, level in loggers.levels().items()
        ]
    raise InvalidRequest(f"Unsupported resource type: {resource.resource_type}")


def _failed(resource: DescribeConfigsResource, code: int, message: str) -> DescribeConfigsResult:
    return DescribeConfigsResult(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=[],
    )
