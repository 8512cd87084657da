"""The shard of groups with members of consumer groups: what a client of KIP-848 does, without a network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pystream.coordinator.group.consumer.group import ConsumerGroup
from pystream.coordinator.group.consumer.groups import ConsumerGroups
from pystream.coordinator.group.consumer.heartbeat import heartbeat
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.shard import GroupShard
from pystream.protocol.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS, GroupRig

Partitions = frozenset[tuple[bytes, int]]
JOINING, LEAVING, AWAY = 0, -1, -2
NOTHING: Partitions = frozenset()


class ConsumerRig(GroupRig):
    def configure_consumer(self, **changes: Any) -> None:
        """Change settings for the shards that are loaded from now on, and for this one."""
        self.configs = replace(self.configs, consumer=replace(self.configs.consumer, **changes))
        self.shard.part(ConsumerGroups).config = self.configs.consumer

    def _empty_shard(self) -> GroupShard:
        shard = super()._empty_shard()
        shard.part(ConsumerGroups).new_member_id = lambda: f"given-{next(self._suffixes)}"
        return shard

    def consumer_group(self, group_id: str = GROUP) -> ConsumerGroup:
        group = self.shard.groups[group_id]
        assert isinstance(group, ConsumerGroup)
        return group

    def heartbeat(
        self,
        member_id: str,
        epoch: int,
        *,
        group_id: str = GROUP,
        owned: Partitions | None = None,
        topics: list[str] | None = None,
        regex: str | None = None,
        instance_id: str | None = None,
        assignor: str | None = None,
        rebalance_timeout_ms: int = -1,
        client_id: str = "client",
        version: int = 1,
    ) -> ConsumerGroupHeartbeatResponse:
        """The answer to one request, whatever it says."""
        request = ConsumerGroupHeartbeatRequest(
            group_id=group_id,
            member_id=member_id,
            member_epoch=epoch,
            instance_id=instance_id,
            rebalance_timeout_ms=rebalance_timeout_ms,
            subscribed_topic_names=topics,
            subscribed_topic_regex=regex,
            server_assignor=assignor,
            topic_partitions=None if owned is None else as_message(owned),
        )
        response = self.call(heartbeat, Caller(version, client_id, "/127.0.0.1"), request)
        assert isinstance(response, ConsumerGroupHeartbeatResponse)
        return response

    def member(self, member_id: str, *topics: str, **options: Any) -> RigMember:
        """A member that has not joined yet."""
        return RigMember(self, member_id, topics=None if "regex" in options else list(topics), **options)

    def settle(self, *members: RigMember, rounds: int = 20) -> None:
        """Heartbeats of all members until nothing changes for any of them."""
        quiet = 0
        for _ in range(rounds):
            before = [(member.epoch, member.assigned) for member in members]
            for member in members:
                member.beat()
            self.advance(0)  # regular expressions are looked up, which the next heartbeats bring to light
            quiet = quiet + 1 if before == [(member.epoch, member.assigned) for member in members] else 0
            if quiet == 2:
                return
        raise AssertionError(f"still moving after {rounds} rounds of heartbeats")


class RigMember:
    """A well-behaved client: it reports what it has when that has changed, and gives up what it must."""

    def __init__(
        self,
        rig: ConsumerRig,
        member_id: str,
        *,
        topics: list[str] | None = None,
        regex: str | None = None,
        instance_id: str | None = None,
        assignor: str | None = None,
        group_id: str = GROUP,
    ) -> None:
        self.rig = rig
        self.member_id = member_id
        self.topics = topics
        self.regex = regex
        self.instance_id = instance_id
        self.assignor = assignor
        self.group_id = group_id
        self.epoch = JOINING
        self.assigned: Partitions = NOTHING
        self._to_report: Partitions | None = None

    def join(self) -> RigMember:
        """Its first request; the answer has to be without error."""
        response = self._send(
            JOINING,
            owned=NOTHING,
            topics=self.topics,
            regex=self.regex,
            assignor=self.assignor,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        )
        assert response.error_code == 0, response.error_message
        return self

    def beat(self, **says: Any) -> ConsumerGroupHeartbeatResponse:
        """A heartbeat that reports what has changed since the last one."""
        return self._send(self.epoch, owned=self._to_report, **says)

    def subscribe(self, *topics: str) -> ConsumerGroupHeartbeatResponse:
        self.topics = list(topics)
        return self._send(self.epoch, owned=self._to_report, topics=self.topics)

    def leave(self, epoch: int = LEAVING) -> None:
        response = self._send(epoch)
        assert (response.error_code, response.member_epoch) == (0, epoch), response.error_message

    def _send(self, epoch: int, **says: Any) -> ConsumerGroupHeartbeatResponse:
        response = self.rig.heartbeat(
            self.member_id, epoch, group_id=self.group_id, instance_id=self.instance_id, **says
        )
        if response.error_code == 0:
            self.epoch = response.member_epoch
            self._to_report = None
            if response.assignment is not None:
                self.assigned = from_message(response.assignment.topic_partitions)
                self._to_report = self.assigned
        return response


def as_message(partitions: Partitions) -> list[ConsumerGroupHeartbeatRequestTopicPartitions]:
    topics: dict[bytes, list[int]] = {}
    for topic_id, index in sorted(partitions):
        topics.setdefault(topic_id, []).append(index)
    return [ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=t, partitions=p) for t, p in topics.items()]


def from_message(topics: Any) -> Partitions:
    return frozenset((topic.topic_id, index) for topic in topics for index in topic.partitions)
