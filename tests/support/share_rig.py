"""Share groups without a runtime, and the logs of partitions as lists: for tests of the machines of `coordinator`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from pystream.common.clock import SystemClock
from pystream.common.errors import UnknownTopicId, UnknownTopicOrPartition
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.share import requests, stored
from pystream.coordinator.group.share.state import ShareGroup
from pystream.coordinator.machine import Effects, Record
from pystream.coordinator.share.ports import Bounds, Fetched, FetchedBatch
from pystream.coordinator.share.state_shard import ShareStateShard
from pystream.protocol.messages.share_group_heartbeat import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse
from tests.support.group_rig import GROUP, GroupRig

JOINING, LEAVING = 0, -1


class ShareGroupRig(GroupRig):
    """Members that show themselves, and a share coordinator that makes every state at once unless told not to."""

    def __init__(self) -> None:
        super().__init__()
        self.makes_states = True

    def beat(
        self, member_id: str, epoch: int, topics: Iterable[str] | None = None, *, group_id: str = GROUP
    ) -> ShareGroupHeartbeatResponse:
        """A heartbeat, answered; what has to be initialised is."""
        request = ShareGroupHeartbeatRequest(
            group_id=group_id,
            member_id=member_id,
            member_epoch=epoch,
            subscribed_topic_names=None if topics is None else list(topics),
        )
        beat = self.call(requests.heartbeat, Caller(1, "client", "/127.0.0.1"), request)
        if beat.to_initialize and self.makes_states:
            self.call(stored.initialized, group_id, beat.to_initialize, {})
        return beat.response

    def join(self, member_id: str, *topics: str) -> int:  # type: ignore[override]
        """Join, and take over what is assigned once the states exist; the member's epoch."""
        epoch = self.beat(member_id, JOINING, topics).member_epoch
        return self.beat(member_id, epoch).member_epoch

    def share_group(self, group_id: str = GROUP) -> ShareGroup:
        group = self.shard.groups[group_id]
        assert isinstance(group, ShareGroup)
        return group

    def assigned(self, member_id: str) -> dict[bytes, frozenset[int]]:
        return dict(self.share_group().members[member_id].assigned)


class StateRuntime:
    """One shard of share states that writes to a list. `held`: answers wait until they are let go."""

    def __init__(self, updates_per_snapshot: int = 500) -> None:
        self.log: list[Record] = []
        self.updates_per_snapshot = updates_per_snapshot
        self.shard = ShareStateShard(updates_per_snapshot)
        self.now_ms = 1_700_000_000_000
        self.fails_with: Exception | None = None
        self.held: list[tuple[asyncio.Future[Any], Any]] | None = None

    def partition_for(self, key: str) -> int:
        return 0

    def submit(self, partition: int, operation: Callable[..., None]) -> Any:
        if self.fails_with is not None:
            raise self.fails_with
        effects = Effects(self.shard.replay)
        operation(self.shard, 1, self.now_ms, effects)
        self.log += effects.records
        (answer,) = effects.answers
        if self.held is None:
            return answer.response
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.held.append((future, answer.response))
        return future

    def let_go(self) -> None:
        """Give the answers that wait."""
        held, self.held = self.held or [], None
        for future, response in held:
            future.set_result(response)

    def reload(self) -> None:
        self.shard = ShareStateShard(self.updates_per_snapshot)
        for record in self.log:
            self.shard.replay(record)


class ListLog:
    """One topic of one partition: `ShareLog`. A batch is so many records; its bytes tell its offsets."""

    def __init__(self, topic: str, topic_id: bytes) -> None:
        self.topic, self.topic_id = topic, topic_id
        self.leader_epoch = 0
        self.batches: list[FetchedBatch] = []
        self.start_offset = self.end_offset = 0
        self._watchers: list[Callable[[], None]] = []

    def append(self, *sizes: int, deliverable: bool = True) -> None:
        for size in sizes:
            first = self.end_offset
            self.end_offset += size
            text = self.bytes_of(first, self.end_offset - 1)
            self.batches.append(FetchedBatch(first, self.end_offset - 1, 0, len(text), deliverable))
        for moved in list(self._watchers):
            moved()

    @staticmethod
    def bytes_of(first: int, last: int) -> bytes:
        return f"[{first}..{last}]".encode()

    def topic_name(self, topic_id: bytes) -> str:
        if topic_id != self.topic_id:
            raise UnknownTopicId()
        return self.topic

    def bounds(self, topic: str, partition: int) -> Bounds:
        if (topic, partition) != (self.topic, 0):
            raise UnknownTopicOrPartition()
        return Bounds(self.leader_epoch, self.start_offset, self.end_offset, self.end_offset)

    def _within(self, offset: int, limit_offset: int) -> list[FetchedBatch]:
        return [batch for batch in self.batches if batch.last >= offset and batch.last < limit_offset]

    def available_bytes(self, topic: str, partition: int, *, offset: int, limit_offset: int, max_bytes: int) -> int:
        return sum(batch.size_bytes for batch in self._within(offset, limit_offset))

    async def read(
        self, topic: str, partition: int, *, offset: int, limit_offset: int, max_bytes: int, committed: bool
    ) -> Fetched:
        await SystemClock().sleep_ms(0)
        records, found = b"", []
        for batch in self._within(offset, limit_offset):
            if found and len(records) + batch.size_bytes > max_bytes:
                break
            found.append(batch._replace(position=len(records)))
            records += self.bytes_of(batch.first, batch.last)
        return Fetched(records, found)

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        return self.start_offset

    def watch(self, topic: str, partition: int, moved: Callable[[], None]) -> Callable[[], None]:
        self._watchers.append(moved)
        return lambda: self._watchers.remove(moved)
