"""The shard of groups with members of streams groups: what a Kafka Streams thread does, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.streams.group import StreamsGroup
from pystream.coordinator.group.streams.groups import StreamsGroups
from pystream.coordinator.group.streams.heartbeat import Reply, heartbeat
from pystream.coordinator.group.streams.tasks import Task
from pystream.protocol.messages import streams_group_heartbeat as messages
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS, GroupRig

JOINING, LEAVING = 0, -1
Owned = frozenset[Task]
NOTHING: Owned = frozenset()


def topic(name: str, partitions: int = 0) -> messages.TopicInfo:
    return messages.TopicInfo(name=name, partitions=partitions)


def subtopology(
    name: str,
    *sources: str,
    repartition: Sequence[messages.TopicInfo] = (),
    sinks: Sequence[str] = (),
    changelogs: Sequence[str] = (),
    copartition: Sequence[messages.CopartitionGroup] = (),
) -> messages.Subtopology:
    return messages.Subtopology(
        subtopology_id=name,
        source_topics=list(sources),
        repartition_source_topics=list(repartition),
        repartition_sink_topics=list(sinks),
        state_changelog_topics=[topic(changelog) for changelog in changelogs],
        copartition_groups=list(copartition),
    )


def topology(*subtopologies: messages.Subtopology, epoch: int = 0) -> messages.Topology:
    return messages.Topology(epoch=epoch, subtopologies=list(subtopologies))


WORD_COUNT = topology(
    subtopology("0", "words", sinks=["repartition"]),
    subtopology("1", repartition=[topic("repartition")], changelogs=["changelog"]),
)


class StreamsRig(GroupRig):
    def configure_streams(self, **changes: Any) -> None:
        """Change settings for the shards that are loaded from now on, and for this one."""
        self.configs = replace(self.configs, streams=replace(self.configs.streams, **changes))
        self.shard.part(StreamsGroups).config = self.configs.streams

    def set_group(self, **changes: Any) -> None:
        """Change what all groups go by."""
        self.settings = replace(self.settings, **changes)

    def streams_group(self, group_id: str = GROUP) -> StreamsGroup:
        group = self.shard.groups[group_id]
        assert isinstance(group, StreamsGroup)
        return group

    def heartbeat(self, member_id: str, epoch: int, **says: Any) -> Reply:
        """The answer to one request, whatever it says."""
        request = messages.StreamsGroupHeartbeatRequest(
            **{
                "group_id": GROUP,
                "member_id": member_id,
                "member_epoch": epoch,
                "active_tasks": None,
                "standby_tasks": None,
                "warmup_tasks": None,
                "client_tags": None,
                "task_offsets": None,
                "task_end_offsets": None,
            }
            | says
        )
        reply = self.call(heartbeat, Caller(0, "client", "/127.0.0.1"), request)
        assert isinstance(reply, Reply)
        return reply

    def create_topics(self, reply: Reply) -> None:
        """What the broker does with internal topics that are missing."""
        for missing in reply.to_create:
            self.topics.put(missing.name, missing.partitions)

    def thread(self, member_id: str, process: str | None = None, **options: Any) -> RigThread:
        """A member that has not joined yet; in a process of its own unless told."""
        return RigThread(self, member_id, process or f"process of {member_id}", **options)

    def settle(self, *threads: RigThread, rounds: int = 30) -> None:
        """Heartbeats of all until nothing changes for any of them."""
        self.advance(self.settings.streams_initial_rebalance_delay_ms)
        quiet = 0
        for _ in range(rounds):
            before = [(thread.epoch, thread.active, thread.standby) for thread in threads]
            for thread in threads:
                thread.beat()
            quiet = quiet + 1 if before == [(t.epoch, t.active, t.standby) for t in threads] else 0
            if quiet == 2:
                return
        raise AssertionError(f"still moving after {rounds} rounds of heartbeats")


class RigThread:
    """A well-behaved member: it creates internal topics through its rig, and gives up what it must."""

    def __init__(
        self, rig: StreamsRig, member_id: str, process_id: str, *, topology: messages.Topology = WORD_COUNT, **says: Any
    ) -> None:
        self.rig = rig
        self.member_id = member_id
        self.process_id = process_id
        self.topology = topology
        self.says = says
        self.epoch = JOINING
        self.active: Owned = NOTHING
        self.standby: Owned = NOTHING
        self.status: set[int] = set()
        self.last: messages.StreamsGroupHeartbeatResponse | None = None

    def join(self) -> RigThread:
        self.active = self.standby = NOTHING
        reply = self._send(
            JOINING,
            topology=self.topology,
            process_id=self.process_id,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            **self.says,
        )
        assert reply.response.error_code == 0, reply.response.error_message
        return self

    def beat(self, **says: Any) -> Reply:
        return self._send(self.epoch, **says)

    def leave(self, **says: Any) -> None:
        response = self.rig.heartbeat(self.member_id, LEAVING, **says).response
        assert (response.error_code, response.member_epoch) == (0, LEAVING)

    def _send(self, epoch: int, **says: Any) -> Reply:
        owned = {
            "active_tasks": task_ids(self.active),
            "standby_tasks": task_ids(self.standby),
            "warmup_tasks": [],
        }
        reply = self.rig.heartbeat(self.member_id, epoch, **owned | says)
        self.last = response = reply.response
        if response.error_code == 0:
            self.epoch = response.member_epoch
            self.status = {status.status_code for status in response.status or ()}
            if response.active_tasks is not None:
                self.active, self.standby = tasks(response.active_tasks), tasks(response.standby_tasks)
            self.rig.create_topics(reply)
        return reply


def task_ids(owned: Owned) -> list[messages.StreamsGroupHeartbeatRequestTaskIds]:
    found: dict[str, list[int]] = {}
    for name, index in sorted(owned):
        found.setdefault(name, []).append(index)
    return [
        messages.StreamsGroupHeartbeatRequestTaskIds(subtopology_id=name, partitions=indexes)
        for name, indexes in found.items()
    ]


def tasks(task_ids: Any) -> Owned:
    return frozenset((entry.subtopology_id, index) for entry in task_ids or () for index in entry.partitions)
