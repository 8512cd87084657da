"""ListConfigResources (key 74), versions 0-1: what has, or may have, settings (KIP-714, KIP-1142).

client metrics (16)              subscriptions that have settings
group (32)                       groups that have settings
topic (2), broker (4), broker logger (8)    all there are

0    client metrics only
1    the types asked for; none: all types
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import UNSUPPORTED_VERSION
from pystream.controller.requests import ResourceType
from pystream.metadata.image import ClusterImage
from pystream.protocol.messages.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

REQUEST = ListConfigResourcesRequest
FIRST_VERSION_WITH_TYPES = 1
TYPES = (
    ResourceType.TOPIC,
    ResourceType.BROKER,
    ResourceType.BROKER_LOGGER,
    ResourceType.CLIENT_METRICS,
    ResourceType.GROUP,
)


def handle(context: BrokerContext, call: Call, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    asked: tuple[int, ...] = (ResourceType.CLIENT_METRICS,)
    if call.api_version >= FIRST_VERSION_WITH_TYPES:
        asked = tuple(dict.fromkeys(request.resource_types)) or TYPES
    if not set(asked) <= set(TYPES):
        return failed(request, UNSUPPORTED_VERSION, "")
    image = context.image()
    return ListConfigResourcesResponse(
        config_resources=[
            ConfigResource(resource_name=name, resource_type=kind) for kind in asked for name in _names(image, kind)
        ]
    )


def failed(request: ListConfigResourcesRequest, code: int, message: str) -> ListConfigResourcesResponse:
    return ListConfigResourcesResponse(error_code=code)


def _names(image: ClusterImage, kind: int) -> list[str]:
    if kind == ResourceType.TOPIC:
        return list(image.topics)
    if kind in (ResourceType.BROKER, ResourceType.BROKER_LOGGER):
        return [str(node_id) for node_id in image.brokers]
    return list(image.configs_of_groups if kind == ResourceType.GROUP else image.configs_of_client_metrics)
