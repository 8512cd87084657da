"""A consumer of the classic protocol on a rig: joins, leads when told to, syncs, sends heartbeats."""

from __future__ import annotations

from typing import Any

from pystream.common.error_codes import MEMBER_ID_REQUIRED, NONE, REBALANCE_IN_PROGRESS
from pystream.protocol.consumer_protocol import (
    read_assignment,
    read_subscription,
    write_assignment,
    write_subscription,
)
from pystream.protocol.messages.consumer_protocol_assignment import ConsumerProtocolAssignment, TopicPartition
from pystream.protocol.messages.consumer_protocol_subscription import ConsumerProtocolSubscription
from pystream.protocol.messages.consumer_protocol_subscription import TopicPartition as OwnedPartition
from tests.support.group_rig import GROUP, GroupRig

NamedPartitions = frozenset[tuple[str, int]]
NOTHING: NamedPartitions = frozenset()


class ClassicClient:
    """`cooperative`: it keeps what it has while it joins; else it gives everything up first."""

    def __init__(
        self,
        rig: GroupRig,
        *topics: str,
        cooperative: bool = False,
        instance_id: str | None = None,
        group_id: str = GROUP,
        version: int = 5,
    ) -> None:
        self.rig = rig
        self.topics = list(topics)
        self.cooperative = cooperative
        self.instance_id = instance_id
        self.group_id = group_id
        self.version = version
        self.member_id = ""
        self.generation = -1
        self.assigned: NamedPartitions = NOTHING
        self.errors: list[int] = []
        self._join_ticket: int | None = None
        self._sync_ticket: int | None = None
        self._leads: Any = None

    @property
    def is_waiting(self) -> bool:
        return self._join_ticket is not None or self._sync_ticket is not None

    @property
    def protocol(self) -> str:
        return "cooperative-sticky" if self.cooperative else "range"

    def join(self) -> ClassicClient:
        """Ask to join; the answer may come at once."""
        if not self.cooperative:
            self.assigned = NOTHING
        topics: dict[str, list[int]] = {}
        for name, index in sorted(self.assigned):
            topics.setdefault(name, []).append(index)
        subscription = ConsumerProtocolSubscription(
            topics=self.topics,
            owned_partitions=[OwnedPartition(topic=name, partitions=found) for name, found in topics.items()],
            generation_id=self.generation,
        )
        self._join_ticket = self.rig.join(
            self.member_id,
            group_id=self.group_id,
            instance_id=self.instance_id,
            protocols={self.protocol: write_subscription(subscription, 2)},
            version=self.version,
        )
        return self.look()

    def look(self) -> ClassicClient:
        """Go on with whatever has been answered meanwhile."""
        if self._join_ticket in self.rig.answers:
            response = self.rig.answers[self._join_ticket]
            self._join_ticket = None
            if response.error_code == MEMBER_ID_REQUIRED:
                self.member_id = response.member_id
                return self.join()
            if response.error_code != NONE:
                self.errors.append(response.error_code)
                return self
            self.member_id, self.generation = response.member_id, response.generation_id
            self._sync(response)
        if self._sync_ticket in self.rig.answers:
            response = self.rig.answers[self._sync_ticket]
            self._sync_ticket = None
            if response.error_code == REBALANCE_IN_PROGRESS:
                return self.join()
            if response.error_code != NONE:
                self.errors.append(response.error_code)
                return self
            self._take(response.assignment)
        return self

    def _take(self, data: bytes) -> None:
        found = read_assignment(data).assigned_partitions if data else []
        after = frozenset((entry.topic, index) for entry in found for index in entry.partitions)
        gives_up = self.assigned - after
        self.assigned = after
        if self.cooperative and gives_up:
            self.join()

    def _sync(self, joined: Any) -> None:
        assignments = self._lead(joined) if joined.leader == self.member_id else None
        self._sync_ticket = self.rig.sync(
            self.member_id, self.generation, assignments, group_id=self.group_id, instance_id=self.instance_id
        )

    def _lead(self, joined: Any) -> dict[str, bytes]:
        """Deal the topics' partitions out, one to each in turn."""
        wants = {member.member_id: set(read_subscription(member.metadata).topics) for member in joined.members}
        shares: dict[str, dict[str, list[int]]] = {member_id: {} for member_id in wants}
        for name in sorted(set().union(*wants.values())):
            topic = self.rig.topics.by_name(name)
            takers = sorted(member_id for member_id in wants if name in wants[member_id])
            for index in range(topic.partition_count if topic else 0):
                shares[takers[index % len(takers)]].setdefault(name, []).append(index)
        return {
            member_id: write_assignment(
                ConsumerProtocolAssignment(
                    assigned_partitions=[TopicPartition(topic=name, partitions=p) for name, p in share.items()]
                ),
                2,
            )
            for member_id, share in shares.items()
        }

    def beat(self) -> int:
        """A heartbeat, unless a request waits; joins again when told to. The error code."""
        self.look()
        if self.is_waiting:
            return NONE
        code = self.rig.beat(self.member_id, self.generation, group_id=self.group_id, instance_id=self.instance_id)
        if code == REBALANCE_IN_PROGRESS:
            self.join()
        elif code != NONE:
            self.errors.append(code)
        return code

    def leave(self) -> None:
        assert self.rig.leave(self.member_id, group_id=self.group_id).error_code == NONE
