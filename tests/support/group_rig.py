"""A shard of groups without a runtime: operations run at once, records go to a list, time is turned by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from pystream.common.model import ZERO_UUID
from pystream.coordinator.group.classic.groups import ClassicGroups
from pystream.coordinator.group.classic.join import join_group
from pystream.coordinator.group.classic.requests import heartbeat, leave_group, sync_group
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.offset_requests import (
    commit_offsets,
    commit_offsets_in_transaction,
    delete_offsets,
    fetch_offsets,
)
from pystream.coordinator.group.parts import GroupConfigs, make_group_shard
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.group_settings import GroupSettings
from pystream.coordinator.machine import NO_TICKET, Effects, Record
from pystream.coordinator.ports import TopicFacts
from pystream.protocol.coordinator_records.codec import RecordCodec
from pystream.protocol.messages.consumer_protocol_subscription import ConsumerProtocolSubscription
from pystream.protocol.messages.heartbeat import HeartbeatRequest
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from pystream.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from pystream.protocol.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from pystream.protocol.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from pystream.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from pystream.protocol.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)

GROUP = "group"
START_MS = 1_700_000_000_000
SESSION_TIMEOUT_MS = 10_000
REBALANCE_TIMEOUT_MS = 60_000


def subscription(*topics: str) -> bytes:
    """A consumer's metadata of version 1."""
    return b"\x00\x01" + ConsumerProtocolSubscription(topics=list(topics)).encode(1)


class Topics:
    """The topics that there are: `ports.TopicMetadata`. An id is made of the name and of how often it was created."""

    def __init__(self) -> None:
        self.version = 1
        self._topics: dict[str, TopicFacts] = {}
        self._created = 0

    def put(self, name: str, partitions: int) -> bytes:
        """Create a topic, or give it more partitions; its id."""
        self.version += 1
        before = self._topics.get(name)
        if before is None:
            self._created += 1
        topic_id = before.topic_id if before else self._created.to_bytes(2, "big") + name.encode()[:14].ljust(14, b".")
        self._topics[name] = TopicFacts(name, topic_id, partitions, (frozenset(),) * partitions)
        return topic_id

    def drop(self, name: str) -> None:
        self.version += 1
        self._topics.pop(name, None)

    def by_name(self, name: str) -> TopicFacts | None:
        return self._topics.get(name)

    def by_id(self, topic_id: bytes) -> TopicFacts | None:
        return next((topic for topic in self._topics.values() if topic.topic_id == topic_id), None)

    def names(self) -> list[str]:
        return list(self._topics)


class _Reader:
    """A shard that follows a log."""

    def __init__(self, shard: GroupShard) -> None:
        self.shard = shard
        self._records = self._markers = 0  # how many it has read

    def read(self, log: list[Record], markers: list[tuple[int, int, bool]]) -> None:
        for end, producer_id, committed in markers[self._markers :]:
            self._replay(log, end)
            self.shard.end_transaction(producer_id, committed)
        self._markers = len(markers)
        self._replay(log, len(log))

    def _replay(self, log: list[Record], end: int) -> None:
        for record in log[self._records : end]:
            self.shard.replay(record)
        self._records = end


class GroupRig:
    """`answers` holds what each ticket was told; a second answer to one ticket fails the test."""

    def __init__(self, configs: GroupConfigs | None = None) -> None:
        self.configs = configs or GroupConfigs()
        self.topics = Topics()
        self.settings = GroupSettings()
        self.now_ms = START_MS
        self.log: list[Record] = []
        self.markers: list[tuple[int, int, bool]] = []  # (records before it, producer id, committed)
        self.answers: dict[int, Any] = {}
        self.asked: set[int] = set()
        self._codec = RecordCodec("__consumer_offsets")
        self._tickets = itertools.count(1)
        self._suffixes = itertools.count(1)
        self._reader: _Reader | None = None
        self.shard = self._empty_shard()
        self.apply(lambda effects: self.shard.loaded(self.now_ms, effects))

    def configure_classic(self, **changes: int) -> None:
        """Change settings for the shards that are loaded from now on, and for this one."""
        self.configs = replace(self.configs, classic=replace(self.configs.classic, **changes))
        self.shard.part(ClassicGroups).config = self.configs.classic

    def _empty_shard(self) -> GroupShard:
        shard = make_group_shard(
            0, self.configs, topics=lambda: self.topics, settings_of=lambda group_id: self.settings
        )
        shard.part(ClassicGroups).member_suffix = lambda: str(next(self._suffixes))
        return shard

    # what a runtime does

    def apply(self, work: Callable[[Effects], None]) -> None:
        effects = Effects(self.shard.replay)
        work(effects)
        for record in effects.records:
            self._codec.encode(record.key, record.value)  # what cannot be written would cost the whole shard
        self.log += effects.records
        for answer in effects.answers:
            assert answer.ticket in self.asked, f"ticket {answer.ticket} was never given"
            assert answer.ticket not in self.answers, f"ticket {answer.ticket} answered twice"
            self.answers[answer.ticket] = answer.response

    def submit(self, operation: Callable[..., None], *arguments: Any) -> int:
        """Run an operation; returns the ticket of its answer."""
        ticket = next(self._tickets)
        self.asked.add(ticket)
        self.apply(lambda effects: operation(self.shard, ticket, self.now_ms, effects, *arguments))
        return ticket

    def call(self, operation: Callable[..., None], *arguments: Any) -> Any:
        """Run an operation that is answered at once."""
        return self.answers[self.submit(operation, *arguments)]

    def tell(self, operation: Callable[..., None], *arguments: Any) -> None:
        """Run an operation that nobody waits for."""
        self.apply(lambda effects: operation(self.shard, NO_TICKET, self.now_ms, effects, *arguments))

    def advance(self, ms: int) -> None:
        """Let time pass; what is due runs at its own moment."""
        end_ms = self.now_ms + ms
        while (due_ms := self.shard.timers.next_deadline_ms()) is not None and due_ms <= end_ms:
            self.now_ms = max(due_ms, self.now_ms)
            for operation in self.shard.timers.due(self.now_ms):
                self.apply(lambda effects, timed=operation: timed(self.now_ms, effects))
        self.now_ms = end_ms

    def end_transaction(self, producer_id: int, *, committed: bool) -> None:
        self.markers.append((len(self.log), producer_id, committed))
        self.shard.end_transaction(producer_id, committed)

    def loaded_from_log(self) -> GroupShard:
        """A fresh shard that has read the log, not yet loaded."""
        reader = _Reader(self._empty_shard())
        reader.read(self.log, self.markers)
        return reader.shard

    def as_in_the_log(self) -> GroupShard:
        """The same shard each time, which reads only what is new: for checks after every step. To be looked at only."""
        if self._reader is None:
            self._reader = _Reader(self._empty_shard())
        self._reader.read(self.log, self.markers)
        return self._reader.shard

    def reload(self) -> None:
        """The coordinator starts anew: who waited is told, and the shard comes from its log."""
        self._reader = None  # the log may have been cut
        self.apply(self.shard.unloaded)
        self.shard = self.loaded_from_log()
        self.apply(lambda effects: self.shard.loaded(self.now_ms, effects))

    # classic requests

    def join(
        self,
        member_id: str = "",
        *,
        group_id: str = GROUP,
        instance_id: str | None = None,
        protocols: dict[str, bytes] | None = None,
        protocol_type: str = "consumer",
        client_id: str = "client",
        version: int = 3,
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
        rebalance_timeout_ms: int = REBALANCE_TIMEOUT_MS,
    ) -> int:
        """The ticket of a JoinGroup; of version 3 unless told: without MEMBER_ID_REQUIRED."""
        protocols = {"range": subscription("topic")} if protocols is None else protocols
        request = JoinGroupRequest(
            group_id=group_id,
            session_timeout_ms=session_timeout_ms,
            rebalance_timeout_ms=rebalance_timeout_ms,
            member_id=member_id,
            group_instance_id=instance_id,
            protocol_type=protocol_type,
            protocols=[JoinGroupRequestProtocol(name=name, metadata=data) for name, data in protocols.items()],
        )
        return self.submit(join_group, Caller(version, client_id, "/127.0.0.1"), request)

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group_id: str = GROUP,
        instance_id: str | None = None,
        protocol_type: str | None = None,
        protocol_name: str | None = None,
    ) -> int:
        """The ticket of a SyncGroup."""
        request = SyncGroupRequest(
            group_id=group_id,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance_id,
            protocol_type=protocol_type,
            protocol_name=protocol_name,
            assignments=[
                SyncGroupRequestAssignment(member_id=other, assignment=data)
                for other, data in (assignments or {}).items()
            ],
        )
        return self.submit(sync_group, Caller(5, "client", "/127.0.0.1"), request)

    def beat(self, member_id: str, generation: int, *, group_id: str = GROUP, instance_id: str | None = None) -> int:
        """The error code of a Heartbeat."""
        request = HeartbeatRequest(
            group_id=group_id, generation_id=generation, member_id=member_id, group_instance_id=instance_id
        )
        code: int = self.call(heartbeat, Caller(4, "client", "/127.0.0.1"), request).error_code
        return code

    def leave(self, *member_ids: str, group_id: str = GROUP, instance_ids: tuple[str, ...] = ()) -> LeaveGroupResponse:
        members = [MemberIdentity(member_id=member_id) for member_id in member_ids]
        members += [MemberIdentity(member_id="", group_instance_id=instance) for instance in instance_ids]
        request = LeaveGroupRequest(group_id=group_id, members=members)
        response: LeaveGroupResponse = self.call(leave_group, Caller(5, "client", "/127.0.0.1"), request)
        return response

    def stable_group(self, members: int = 2, **join: Any) -> tuple[list[str], int]:
        """A stable group of dynamic members; their ids, the leader's first, and the generation."""
        tickets = [self.join(**join) for _ in range(members)]
        self.advance(self.configs.classic.initial_rebalance_delay_ms * 3)
        joined: list[JoinGroupResponse] = [self.answers[ticket] for ticket in tickets]
        joined.sort(key=lambda response: response.member_id != response.leader)
        generation = joined[0].generation_id
        member_ids = [response.member_id for response in joined]
        group_id = join.get("group_id", GROUP)
        for member_id in member_ids[1:]:
            self.sync(member_id, generation, group_id=group_id)
        self.sync(member_ids[0], generation, {m: b"for " + m.encode() for m in member_ids}, group_id=group_id)
        return member_ids, generation

    # offsets

    def commit(
        self,
        offsets: dict[tuple[str, int], int],
        member_id: str = "",
        generation: int = -1,
        *,
        group_id: str = GROUP,
        instance_id: str | None = None,
        metadata: str | None = "",
        leader_epoch: int = -1,
        retention_ms: int = -1,
        version: int = 9,
        topic_id: bytes = ZERO_UUID,
    ) -> int:
        """The error code of an OffsetCommit; that all its partitions share it is checked.

        The topics are there from here on: the broker lets no other through.
        """
        self._make_topics(offsets)
        topics = [
            OffsetCommitRequestTopic(
                name=topic,
                topic_id=topic_id,
                partitions=[
                    OffsetCommitRequestPartition(
                        partition_index=partition,
                        committed_offset=offset,
                        committed_metadata=metadata,
                        committed_leader_epoch=leader_epoch,
                    )
                ],
            )
            for (topic, partition), offset in offsets.items()
        ]
        request = OffsetCommitRequest(
            group_id=group_id,
            member_id=member_id,
            generation_id_or_member_epoch=generation,
            group_instance_id=instance_id,
            retention_time_ms=retention_ms,
            topics=topics,
        )
        response = self.call(commit_offsets, Caller(version, "client", "/127.0.0.1"), request)
        found = [(t.name, p.partition_index, p.error_code) for t in response.topics for p in t.partitions]
        assert [place[:2] for place in found] == list(offsets)
        (code,) = {place[2] for place in found}
        return int(code)

    def commit_in_transaction(
        self,
        producer_id: int,
        offsets: dict[tuple[str, int], int],
        member_id: str = "",
        generation: int = -1,
        *,
        group_id: str = GROUP,
        version: int = 3,
    ) -> int:
        """The error code of a TxnOffsetCommit. The topics are there from here on."""
        self._make_topics(offsets)
        topics = [
            TxnOffsetCommitRequestTopic(
                name=topic,
                partitions=[TxnOffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)],
            )
            for (topic, partition), offset in offsets.items()
        ]
        request = TxnOffsetCommitRequest(
            transactional_id="transactional",
            group_id=group_id,
            producer_id=producer_id,
            producer_epoch=0,
            generation_id=generation,
            member_id=member_id,
            topics=topics,
        )
        response = self.call(commit_offsets_in_transaction, Caller(version, "client", "/127.0.0.1"), request)
        (code,) = {p.error_code for t in response.topics for p in t.partitions}
        return int(code)

    def _make_topics(self, places: Iterable[tuple[str, int]]) -> None:
        for topic in {topic for topic, _ in places}:
            if self.topics.by_name(topic) is None:
                self.topics.put(topic, 1)

    def fetch(
        self,
        *places: tuple[str, int],
        group_id: str = GROUP,
        require_stable: bool = False,
        topic_id: bytes = ZERO_UUID,
    ) -> dict[tuple[str, int], tuple[int, int, str, int]]:
        """(offset, leader epoch, metadata, error code) of each place, or of all there are."""
        topics = [
            OffsetFetchRequestTopics(name=topic, topic_id=topic_id, partition_indexes=[partition])
            for topic, partition in places
        ]
        request = OffsetFetchRequestGroup(group_id=group_id, topics=topics or None)
        response = self.call(fetch_offsets, request, require_stable)
        assert response.error_code == 0
        return {
            (t.name, p.partition_index): (p.committed_offset, p.committed_leader_epoch, p.metadata, p.error_code)
            for t in response.topics
            for p in t.partitions
        }

    def offset(self, topic: str, partition: int, *, group_id: str = GROUP) -> int:
        """What is committed; -1: nothing."""
        return self.fetch((topic, partition), group_id=group_id)[topic, partition][0]

    def delete_offsets(self, *places: tuple[str, int], group_id: str = GROUP) -> Any:
        topics = [
            OffsetDeleteRequestTopic(name=topic, partitions=[OffsetDeleteRequestPartition(partition_index=partition)])
            for topic, partition in places
        ]
        return self.call(delete_offsets, OffsetDeleteRequest(group_id=group_id, topics=topics))
