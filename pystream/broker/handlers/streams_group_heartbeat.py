"""StreamsGroupHeartbeat (key 88), version 0: a thread of a streams application joins, works, leaves (KIP-1071).

Epoch 0 joins and brings the topology, -1 leaves. Internal topics that are missing are created, and the answer says
MISSING_INTERNAL_TOPICS once more: tasks are given out with a heartbeat after. UNSUPPORTED_VERSION while
`streams.version` is 0.

    0    flexible from the start
"""

from __future__ import annotations

from collections.abc import Sequence

from pystream.broker.context import BrokerContext, Call
from pystream.broker.features import check_protocol
from pystream.common.errors import TopicAlreadyExists
from pystream.controller.requests import NewTopic
from pystream.coordinator.group.group import GroupKind
from pystream.coordinator.group.streams.heartbeat import failed as refused
from pystream.coordinator.group.streams.topology import InternalTopic, Status
from pystream.protocol.messages.streams_group_heartbeat import (
    StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
)

REQUEST = StreamsGroupHeartbeatRequest
BROKER_DEFAULT = -1


async def handle(
    context: BrokerContext, call: Call, request: StreamsGroupHeartbeatRequest
) -> StreamsGroupHeartbeatResponse:
    check_protocol(context, GroupKind.STREAMS, "streams.version")
    reply = await context.groups.streams_group_heartbeat(call.caller(), request)
    if reply.to_create:
        failures = await _create(context, reply.to_create)
        for status in reply.response.status or ():
            if failures and status.status_code == Status.MISSING_INTERNAL_TOPICS:
                status.status_detail += f"; Creation failed: {'; '.join(failures)}."
    return reply.response


def failed(request: StreamsGroupHeartbeatRequest, code: int, message: str) -> StreamsGroupHeartbeatResponse:
    return refused(code, message)


async def _create(context: BrokerContext, topics: Sequence[InternalTopic]) -> list[str]:
    """Create what is missing; what could not be, and why."""
    outcomes = await context.topics.create_topics(
        [
            NewTopic(
                name=topic.name,
                partitions=topic.partitions,
                replication_factor=topic.replication_factor or BROKER_DEFAULT,
                configs=list(topic.configs),
            )
            for topic in topics
        ]
    )
    return [
        f"{outcome.name} ({outcome.error})"
        for outcome in outcomes
        if outcome.error is not None and not isinstance(outcome.error, TopicAlreadyExists)
    ]
