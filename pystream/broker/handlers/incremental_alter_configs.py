"""IncrementalAlterConfigs (key 44), versions 0-1: single settings of topics, brokers and loggers (KIP-339).

    set (0), delete (1: back to the default), append (2) and subtract (3), for lists

Each resource succeeds or fails whole and is answered in its place; one that is named twice is INVALID_REQUEST in both.
Changes are durable, and in force on this broker when they are answered: logs are reconfigured while they run. Settings
of one broker can be changed by that broker. Broker loggers change at once and only until the process ends.

    1    flexible
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from pystream.broker.context import BrokerContext, Call
from pystream.broker.monitoring import loggers
from pystream.common.errors import InvalidRequest, KafkaError
from pystream.controller.requests import Alteration, AlterOperation, ConfigAlteration, ConfigOutcome, ResourceType
from pystream.protocol.messages.incremental_alter_configs import (
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

REQUEST = IncrementalAlterConfigsRequest
BROKER_LOGGER = ResourceType.BROKER_LOGGER
DELETE = AlterOperation.DELETE


async def handle(
    context: BrokerContext, call: Call, request: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse:
    stored = [resource for resource in request.resources if resource.resource_type != BROKER_LOGGER]
    outcomes = await context.configs.incremental_alter_configs(
        [_alteration(resource) for resource in stored], validate_only=request.validate_only
    )
    await context.applier.caught_up()
    loggers_of = Counter(each.resource_name for each in request.resources if each.resource_type == BROKER_LOGGER)
    rest = iter(outcomes)
    return IncrementalAlterConfigsResponse(
        responses=[
            _alter_loggers(context, resource, loggers_of[resource.resource_name], validate_only=request.validate_only)
            if resource.resource_type == BROKER_LOGGER
            else _result(next(rest))
            for resource in request.resources
        ]
    )


def failed(request: IncrementalAlterConfigsRequest, code: int, message: str) -> IncrementalAlterConfigsResponse:
    return IncrementalAlterConfigsResponse(
        responses=[
            AlterConfigsResourceResponse(
                error_code=code,
                error_message=message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            for resource in request.resources
        ]
    )


def _alteration(resource: AlterConfigsResource) -> ConfigAlteration:
    return ConfigAlteration(
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        alterations=[Alteration(config.name, config.config_operation, config.value) for config in resource.configs],
    )


def _result(outcome: ConfigOutcome) -> AlterConfigsResourceResponse:
    return AlterConfigsResourceResponse(
        error_code=0 if outcome.error is None else outcome.error.code,
        error_message=None if outcome.error is None else str(outcome.error),
        resource_type=outcome.resource_type,
        resource_name=outcome.resource_name,
    )


def _alter_loggers(
    context: BrokerContext, resource: AlterConfigsResource, mentions: int, *, validate_only: bool
) -> AlterConfigsResourceResponse:
    error: KafkaError | None = None
    try:
        if mentions > 1:
            raise InvalidRequest("Each resource must appear at most once.")
        names = [config.name for config in resource.configs]
        if len(set(names)) != len(names):
            raise InvalidRequest("Error due to duplicate config keys")
        nulls = [each.name for each in resource.configs if each.value is None and each.config_operation != DELETE]
        if nulls:
            raise InvalidRequest(f"Null value not supported for : {', '.join(nulls)}")
        if not context.settings.is_this_broker(resource.resource_name, noun="Node"):
            raise InvalidRequest(
                f"Unexpected node id. Expected {context.config.node_id}, but received {resource.resource_name}"
            )
        changes = [_logger_change(config.name, config.config_operation, config.value) for config in resource.configs]
        for change in () if validate_only else changes:
            change()
    except KafkaError as caught:
        error = caught
    return _result(ConfigOutcome(resource.resource_type, resource.resource_name, error))


def _logger_change(name: str, operation: int, level: str | None) -> Callable[[], None]:
    """What to do, everything checked."""
    if operation == AlterOperation.SET and level is not None:
        loggers.check(name, level)
        return lambda: loggers.set_level(name, level)
    if operation == DELETE:
        loggers.check(name, None)
        loggers.check_removable(name)
        return lambda: loggers.unset_level(name)
    shown = AlterOperation(operation).name if operation in set(AlterOperation) else f"Unknown ({operation})"
    raise InvalidRequest(f"{shown} operation is not allowed for the BROKER_LOGGER resource")
