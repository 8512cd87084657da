"""StreamsGroupHeartbeat at the edge of the broker: internal topics are created, and what cannot be is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from pystream.broker.handlers import streams_group_heartbeat as handler
from pystream.common.errors import InvalidTopic, TopicAlreadyExists
from pystream.coordinator.group.streams.heartbeat import Reply
from pystream.coordinator.group.streams.topology import InternalTopic, Status
from pystream.protocol.messages.streams_group_heartbeat import Status as StatusMessage
from pystream.protocol.messages.streams_group_heartbeat import (
    StreamsGroupHeartbeatRequest,
    StreamsGroupHeartbeatResponse,
)


class Broker:
    """As much of a broker as the handler sees: a coordinator with one answer, a controller that fails as told."""

    def __init__(self, errors: dict[str, Exception]) -> None:
        self.errors = errors
        self.created: list[Any] = []
        self.groups = self.topics = self
        self.config = SimpleNamespace(coordinator=SimpleNamespace(rebalance_protocols=("streams",)))

    def image(self) -> Any:
        return SimpleNamespace(features={"streams.version": 1})

    async def streams_group_heartbeat(self, caller: Any, request: Any) -> Reply:
        missing = StatusMessage(status_code=Status.MISSING_INTERNAL_TOPICS, status_detail="Internal topics are missing")
        topics = (
            InternalTopic("app-changelog", 3, 0, (("cleanup.policy", "compact"),)),
            InternalTopic("app-repartition", 2, 1, ()),
        )
        return Reply(StreamsGroupHeartbeatResponse(member_id="m", status=[missing]), topics)

    async def create_topics(self, topics: list[Any]) -> list[Any]:
        self.created = topics
        return [SimpleNamespace(name=topic.name, error=self.errors.get(topic.name)) for topic in topics]


def heartbeat(errors: dict[str, Exception]) -> tuple[Broker, str]:
    broker = Broker(errors)
    call: Any = SimpleNamespace(caller=lambda: None)
    context: Any = broker
    response = asyncio.run(handler.handle(context, call, StreamsGroupHeartbeatRequest(group_id="app")))
    return broker, response.status[0].status_detail


def test_missing_internal_topics_are_created_as_the_application_wants_them():
    broker, detail = heartbeat({})
    made = {topic.name: (topic.partitions, topic.replication_factor, topic.configs) for topic in broker.created}
    assert made == {
        "app-changelog": (3, -1, [("cleanup.policy", "compact")]),
        "app-repartition": (2, 1, []),
    }
    assert detail == "Internal topics are missing"


def test_a_topic_that_somebody_else_has_created_meanwhile_is_no_failure():
    _, detail = heartbeat({"app-changelog": TopicAlreadyExists()})
    assert detail == "Internal topics are missing"


def test_what_could_not_be_created_is_told_to_the_application():
    _, detail = heartbeat({"app-changelog": InvalidTopic("no such name")})
    assert detail == "Internal topics are missing; Creation failed: app-changelog (no such name)."
