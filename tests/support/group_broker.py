"""A broker of one topic and one group, of one member at most, whose answers a test can change.

async with GroupBroker() as broker:
    async with broker.consumer(group_protocol="classic") as consumer: ...
    broker.codes[ApiKey.HEARTBEAT] = [REBALANCE_IN_PROGRESS]       # of the next answers, in turn; then NONE again
    broker.silent.add(ApiKey.OFFSET_COMMIT)                        # not answered while it is in there
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from pystream.client.aio import Consumer
from pystream.common.error_codes import NONE
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.consumer_protocol import write_assignment
from pystream.protocol.message import Message
from pystream.protocol.messages import (
    consumer_group_heartbeat,
    consumer_protocol_assignment,
    join_group,
    offset_commit,
    offset_fetch,
)
from pystream.protocol.messages.heartbeat import HeartbeatResponse
from pystream.protocol.messages.leave_group import LeaveGroupResponse
from pystream.protocol.messages.metadata import MetadataResponse
from pystream.protocol.messages.sync_group import SyncGroupResponse
from tests.support.misbehaving_broker import QUICK, TOPIC, TOPIC_ID, MisbehavingBroker, fetched, records
from tests.support.scripted_broker import Peer

MEMBER: Final = "member-1"
GROUP: Final = "group"
HEARTBEAT_MS: Final = 10
BUSY: Final[dict[str, Any]] = {**QUICK, "heartbeat_interval_ms": HEARTBEAT_MS, "session_timeout_ms": 6_000}


class GroupBroker(MisbehavingBroker):
    """Partition 0 of TOPIC holds `data`; whoever asks for more waits."""

    def __init__(self) -> None:
        super().__init__(ApiKey.FETCH)
        self.data = records()
        self.codes: dict[ApiKey, list[int]] = {}
        self.topic_codes: dict[str, int] = {}  # what Metadata says of a topic
        self.silent: set[ApiKey] = set()
        self.committed: list[int] = []
        self.partitions = [0]  # what the next member to join gets
        self.generation = 0
        self.leads = True
        self.skips_assignment = False
        self._heard = asyncio.Event()
        self.on(ApiKey.FETCH, self._fetch)
        self.on(ApiKey.JOIN_GROUP, self._join)
        self.on(ApiKey.SYNC_GROUP, self._sync)
        self.on(ApiKey.HEARTBEAT, lambda _: HeartbeatResponse(error_code=self.code(ApiKey.HEARTBEAT)))
        self.on(ApiKey.LEAVE_GROUP, lambda _: LeaveGroupResponse())
        self.on(ApiKey.CONSUMER_GROUP_HEARTBEAT, self._consumer_heartbeat)
        self.on(ApiKey.OFFSET_COMMIT, self._commit)
        self.on(ApiKey.OFFSET_FETCH, self._committed)

    def consumer(self, **settings: Any) -> Consumer:
        """A consumer in the group that makes haste."""
        given = {"group_id": GROUP, "auto_offset_reset": "earliest", **BUSY, **settings}
        if given.get("group_protocol") == "consumer":
            given.pop("heartbeat_interval_ms")
            given.pop("session_timeout_ms")
        return Consumer(bootstrap_servers=self.bootstrap, **given)

    def code(self, key: ApiKey) -> int:
        """The next error code for a key."""
        waiting = self.codes.get(key)
        return waiting.pop(0) if waiting else NONE

    async def heard(self, key: ApiKey, count: int) -> None:
        """Return once a key was asked for so often."""
        await self.until(lambda: len(self.asked(key)) >= count)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once that is so, looked at with each request."""
        while not holds():
            self._heard.clear()
            await self._heard.wait()

    async def serve(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            key = ApiKey(peer.header.api_key)
            self.requests.append((key, request))
            self._heard.set()
            if key in self.silent:
                continue
            response = self._answers.get(key, lambda _: None)(request)
            if response is not None:
                await peer.answer(response)

    def _metadata(self) -> MetadataResponse:
        told = super()._metadata()
        for topic in told.topics:
            topic.error_code = self.topic_codes.get(topic.name or "", NONE)
            topic.partitions = [] if topic.error_code else topic.partitions
        return told

    def _fetch(self, request: Any) -> Message | None:
        wanted = [part.fetch_offset for topic in request.topics for part in topic.partitions]
        code = self.code(ApiKey.FETCH)
        if code != NONE:
            return fetched(error_code=code)
        return fetched(self.data) if wanted == [0] else None

    def _join(self, request: Any) -> join_group.JoinGroupResponse:
        code = self.code(ApiKey.JOIN_GROUP)
        if code != NONE:
            return join_group.JoinGroupResponse(error_code=code, member_id=request.member_id)
        self.generation += 1
        protocol = request.protocols[0]
        member = join_group.JoinGroupResponseMember(
            member_id=MEMBER, group_instance_id=request.group_instance_id, metadata=protocol.metadata
        )
        return join_group.JoinGroupResponse(
            generation_id=self.generation,
            protocol_type=request.protocol_type,
            protocol_name=protocol.name,
            leader=MEMBER if self.leads else "another",
            skip_assignment=self.skips_assignment,
            member_id=MEMBER,
            members=[member] if self.leads else [],
        )

    def _sync(self, request: Any) -> SyncGroupResponse:
        code = self.code(ApiKey.SYNC_GROUP)
        part = consumer_protocol_assignment.TopicPartition(topic=TOPIC, partitions=self.partitions)
        assignment = consumer_protocol_assignment.ConsumerProtocolAssignment(assigned_partitions=[part])
        return SyncGroupResponse(error_code=code, assignment=b"" if code else write_assignment(assignment, 1))

    def _consumer_heartbeat(self, request: Any) -> consumer_group_heartbeat.ConsumerGroupHeartbeatResponse:
        code = self.code(ApiKey.CONSUMER_GROUP_HEARTBEAT)
        if code != NONE:
            return consumer_group_heartbeat.ConsumerGroupHeartbeatResponse(error_code=code)
        if request.member_epoch == 0:
            self.generation += 1
        part = consumer_group_heartbeat.ConsumerGroupHeartbeatResponseTopicPartitions(
            topic_id=TOPIC_ID, partitions=self.partitions
        )
        assignment = consumer_group_heartbeat.Assignment(topic_partitions=[part])
        return consumer_group_heartbeat.ConsumerGroupHeartbeatResponse(
            member_id=request.member_id,
            member_epoch=self.generation,
            heartbeat_interval_ms=HEARTBEAT_MS,
            assignment=assignment if request.member_epoch == 0 else None,
        )

    def _commit(self, request: Any) -> offset_commit.OffsetCommitResponse:
        code = self.code(ApiKey.OFFSET_COMMIT)
        topics = []
        for topic in request.topics:
            parts = []
            for part in topic.partitions:
                if code == NONE:
                    self.committed.append(part.committed_offset)
                parts.append(
                    offset_commit.OffsetCommitResponsePartition(partition_index=part.partition_index, error_code=code)
                )
            topics.append(
                offset_commit.OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=parts)
            )
        return offset_commit.OffsetCommitResponse(topics=topics)

    def _committed(self, request: Any) -> offset_fetch.OffsetFetchResponse:
        groups = [
            offset_fetch.OffsetFetchResponseGroup(
                group_id=group.group_id,
                topics=[
                    offset_fetch.OffsetFetchResponseTopics(
                        name=topic.name,
                        partitions=[
                            offset_fetch.OffsetFetchResponsePartitions(
                                partition_index=index, committed_offset=self.committed[-1] if self.committed else 0
                            )
                            for index in topic.partition_indexes
                        ],
                    )
                    for topic in group.topics
                ],
            )
            for group in request.groups
        ]
        return offset_fetch.OffsetFetchResponse(groups=groups)
