"""Share groups without a runtime, and the logs of partitions as lists: for tests of the machines of `coordinator`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from pystream.common.clock import ManualClock, SystemClock
from pystream.common.errors import UnknownTopicId, UnknownTopicOrPartition
from pystream.common.tasks import Supervisor
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.share import requests, stored
from pystream.coordinator.group.share.group import ShareGroup
from pystream.coordinator.group_settings import GroupSettings
from pystream.coordinator.machine import Effects, Record
from pystream.coordinator.share.config import SharePartitionConfig
from pystream.coordinator.share.hosted import SharePartitions
from pystream.coordinator.share.ports import Bounds, Fetched, FetchedBatch
from pystream.coordinator.share.service import ShareService
from pystream.coordinator.share.state import ShareKey
from pystream.coordinator.share.state_shard import ShareStateShard
from pystream.coordinator.share.states import ShareStates
from pystream.protocol.messages import share_acknowledge, share_fetch
from pystream.protocol.messages.share_acknowledge import ShareAcknowledgeRequest
from pystream.protocol.messages.share_fetch import ShareFetchRequest, ShareFetchResponse
from pystream.protocol.messages.share_group_heartbeat import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse
from tests.support.group_rig import GROUP, GroupRig

JOINING, LEAVING = 0, -1
TOPIC_ID = bytes(range(16))
KEY = ShareKey(GROUP, TOPIC_ID, 0)


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
        self.states = ShareStateShard(updates_per_snapshot)
        self.now_ms = 1_700_000_000_000
        self.fails_with: Exception | None = None
        self.held: list[tuple[asyncio.Future[Any], Any]] | None = None

    def partition_for(self, key: str) -> int:
        return 0

    def led(self) -> list[int]:
        return [0]

    def shard(self, partition: int) -> ShareStateShard:
        return self.states

    def submit(self, partition: int, operation: Callable[..., None]) -> Any:
        if self.fails_with is not None:
            raise self.fails_with
        effects = Effects(self.states.replay)
        operation(self.states, 1, self.now_ms, effects)
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
        self.states = ShareStateShard(self.updates_per_snapshot)
        for record in self.log:
            self.states.replay(record)


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
        assert timestamp_ms >= 0, "no log takes another time"
        return self.start_offset

    def watch(self, topic: str, partition: int, moved: Callable[[], None]) -> Callable[[], None]:
        self._watchers.append(moved)
        return lambda: self._watchers.remove(moved)


class ServiceRig:
    """A ShareService over a list for a log and a shard of states, in a loop whose time is turned by hand."""

    def __init__(self, supervisor: Supervisor, clock: ManualClock, **settings: Any) -> None:
        self.clock = clock
        self.settings = GroupSettings(share_auto_offset_reset="earliest", **settings)
        self.log = ListLog("topic", TOPIC_ID)
        self.runtime = StateRuntime()
        self.states = ShareStates(self.runtime)
        self.supervisor = supervisor
        self.watched: list[int] = []
        self.start()

    def start(self) -> None:
        """A broker that begins with nothing in memory."""
        self.partitions = SharePartitions(
            log=self.log,
            states=self.states,
            settings=lambda group_id: self.settings,
            config=SharePartitionConfig(),
            clock=self.clock,
            supervisor=self.supervisor,
        )
        self.service = ShareService(self.partitions, self.clock, max_sessions=3, watch=self.watched.append)
        self.supervisor.start("locks", self.partitions.run())

    async def initialize(self, start_offset: int = -1) -> None:
        await self.states.initialize(KEY, state_epoch=0, start_offset=start_offset)

    async def settle(self) -> None:
        """Let every task run as far as it can."""
        for _ in range(50):
            await SystemClock().sleep_ms(0)

    def member(self, name: str, connection: int = 1) -> ServiceMember:
        return ServiceMember(self, name, connection)


class ServiceMember:
    """A member that keeps its session: `fetch` and `acknowledge` carry the next epoch."""

    def __init__(self, rig: ServiceRig, name: str, connection: int) -> None:
        self.rig, self.name, self.connection = rig, name, connection
        self.epoch = 0

    def request(self, said: Iterable[tuple[int, int, int]] = (), **fields: Any) -> ShareFetchRequest:
        batches = [
            share_fetch.AcknowledgementBatch(first_offset=first, last_offset=last, acknowledge_types=[kind])
            for first, last, kind in said
        ]
        partition = share_fetch.FetchPartition(partition_index=0, acknowledgement_batches=batches)
        topics = (
            [share_fetch.FetchTopic(topic_id=TOPIC_ID, partitions=[partition])] if batches or not self.epoch else []
        )
        defaults = {"max_bytes": 1 << 20, "max_records": 500, "batch_size": 500, "share_session_epoch": self.epoch}
        return ShareFetchRequest(group_id=GROUP, member_id=self.name, topics=topics, **{**defaults, **fields})

    async def fetch(self, said: Iterable[tuple[int, int, int]] = (), **fields: Any) -> ShareFetchResponse:
        request = self.request(said, **fields)
        self.epoch += 1
        return await self.rig.service.fetch(request, self.connection)

    async def take(self, **fields: Any) -> list[tuple[int, int, int]]:
        """The ranges (first, last, delivery count) that a fetch gives."""
        return ranges(await self.fetch(**fields))

    async def acknowledge(self, *said: tuple[int, int, int], **fields: Any) -> int:
        """The error code of the partition."""
        batches = [
            share_acknowledge.AcknowledgementBatch(first_offset=first, last_offset=last, acknowledge_types=[kind])
            for first, last, kind in said
        ]
        partition = share_acknowledge.AcknowledgePartition(partition_index=0, acknowledgement_batches=batches)
        request = ShareAcknowledgeRequest(
            group_id=GROUP,
            member_id=self.name,
            topics=[share_acknowledge.AcknowledgeTopic(topic_id=TOPIC_ID, partitions=[partition])],
            **{"share_session_epoch": self.epoch, **fields},
        )
        self.epoch += 1
        response = await self.rig.service.acknowledge(request)
        return response.responses[0].partitions[0].error_code


def ranges(response: ShareFetchResponse) -> list[tuple[int, int, int]]:
    return [
        (found.first_offset, found.last_offset, found.delivery_count)
        for topic in response.responses
        for partition in topic.partitions
        for found in partition.acquired_records
    ]


def run_service(scenario: Callable[[ServiceRig], Any], **settings: Any) -> None:
    """Run `await scenario(rig)`; the share partition has a state that begins with the first record."""

    async def run() -> None:
        clock = ManualClock()
        async with Supervisor("test", clock) as supervisor:
            rig = ServiceRig(supervisor, clock, **settings)
            await rig.initialize()
            await scenario(rig)
            assert supervisor.failure is None

    asyncio.run(run())
