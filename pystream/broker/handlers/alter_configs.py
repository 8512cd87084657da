"""AlterConfigs (key 33), versions 0-2: all settings of a resource at once; what is not named goes back to its default.

Each resource succeeds or fails whole and is answered in its place; one that is named twice is INVALID_REQUEST in both.
Deprecated by IncrementalAlterConfigs, and still used by old clients and tools. Broker loggers cannot be altered so.

    1    only throttling after the answer (KIP-219)
    2    flexible
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.controller.requests import ConfigReplacement
from pystream.protocol.messages.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)

REQUEST = AlterConfigsRequest


async def handle(context: BrokerContext, call: Call, request: AlterConfigsRequest) -> AlterConfigsResponse:
    outcomes = await context.configs.alter_configs(
        [
            ConfigReplacement(
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
                configs=[(config.name, config.value) for config in resource.configs],
            )
            for resource in request.resources
        ],
        validate_only=request.validate_only,
    )
    await context.applier.caught_up()
    return AlterConfigsResponse(
        responses=[
            AlterConfigsResourceResponse(
                error_code=0 if outcome.error is None else outcome.error.code,
                error_message=None if outcome.error is None else str(outcome.error),
                resource_type=outcome.resource_type,
                resource_name=outcome.resource_name,
            )
            for outcome in outcomes
        ]
    )


def failed(request: AlterConfigsRequest, code: int, message: str) -> AlterConfigsResponse:
    return AlterConfigsResponse(
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
