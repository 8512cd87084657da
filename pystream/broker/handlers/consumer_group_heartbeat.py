"""ConsumerGroupHeartbeat (key 68), versions 0-1: a member of a consumer group joins, reconciles and leaves (KIP-848).

Epoch 0 joins, -1 leaves, -2 leaves for a while (static members). UNSUPPORTED_VERSION while `group.version` is 0.

    0    flexible from the start
    1    regular expressions (RE2); the member makes its id up itself (KIP-1082)
"""

from __future__ import annotations

from collections.abc import Awaitable

from pystream.broker.context import BrokerContext, Call
from pystream.broker.features import check_protocol
from pystream.coordinator.group.group import GroupKind
from pystream.protocol.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)

REQUEST = ConsumerGroupHeartbeatRequest


def handle(
    context: BrokerContext, call: Call, request: ConsumerGroupHeartbeatRequest
) -> ConsumerGroupHeartbeatResponse | Awaitable[ConsumerGroupHeartbeatResponse]:
    check_protocol(context, GroupKind.CONSUMER, "group.version")
    reply: ConsumerGroupHeartbeatResponse | Awaitable[ConsumerGroupHeartbeatResponse] = (
        context.groups.consumer_group_heartbeat(call.caller(), request)
    )
    return reply


def failed(request: ConsumerGroupHeartbeatRequest, code: int, message: str) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=code, error_message=message)
