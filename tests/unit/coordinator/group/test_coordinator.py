"""GroupCoordinator over the runtime, on a log in memory: requests that go to many shards, errors, loading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pystream.common.clock import ManualClock
from pystream.common.error_codes import (
    COORDINATOR_LOAD_IN_PROGRESS,
    GROUP_ID_NOT_FOUND,
    NONE,
    NOT_COORDINATOR,
)
from pystream.common.errors import CoordinatorLoadInProgress, InvalidGroupId, KafkaStorageError, NotCoordinator
from pystream.common.tasks import Supervisor
from pystream.coordinator.group.coordinator import GroupCoordinator, settled
from pystream.coordinator.group.group import Caller
from pystream.coordinator.group.parts import GroupConfigs, make_group_shard
from pystream.coordinator.group_settings import GroupSettings
from pystream.coordinator.runtime import CoordinatorRuntime
from pystream.protocol.messages.heartbeat import HeartbeatRequest
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from pystream.protocol.messages.offset_fetch import OffsetFetchRequestGroup
from tests.support.coordinator_log import MemoryLog
from tests.support.group_rig import Topics

CALLER = Caller(9, "client", "/127.0.0.1")
PARTITIONS = 4
GROUPS = ["alpha", "beta", "gamma", "delta", "epsilon"]


class Rig:
    def __init__(self, supervisor: Supervisor, clock: ManualClock) -> None:
        self.log = MemoryLog(commits_at_once=False)
        self.clock = clock
        self.topics = Topics()
        self.topics.put("topic", 1)
        self.runtime = CoordinatorRuntime(
            "__consumer_offsets",
            lambda partition: make_group_shard(
                partition, GroupConfigs(), topics=lambda: self.topics, settings_of=lambda group_id: GroupSettings()
            ),
            self.log,
            self.log,
            self.clock,
            supervisor,
        )
        self.log.on_commit = self.runtime.committed
        self.runtime.set_partition_count(PARTITIONS)
        self.groups = GroupCoordinator(self.runtime)

    async def load(self, *partitions: int) -> None:
        for partition in partitions or range(PARTITIONS):
            self.runtime.load(partition)
        await turns()

    async def commit(self, group_id: str, offset: int) -> int:
        partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        request = OffsetCommitRequest(
            group_id=group_id,
            generation_id_or_member_epoch=-1,
            topics=[OffsetCommitRequestTopic(name="topic", partitions=[partition])],
        )
        response = await settled(self.groups.commit_offsets(CALLER, request))
        return int(response.topics[0].partitions[0].error_code)


async def turns(count: int = 20) -> None:
    """Let everything that can go on go on."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned: asyncio.Future[None] = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


@asynccontextmanager
async def rig_of_groups() -> AsyncIterator[Rig]:
    clock = ManualClock()
    async with Supervisor("test", clock) as supervisor:
        rig = Rig(supervisor, clock)
        yield rig
        await rig.runtime.stop()


def run(test: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with rig_of_groups() as rig:
            await test(rig)

    asyncio.run(main())


def test_a_request_of_many_groups_has_one_result_for_each_in_order() -> None:
    async def body(rig: Rig) -> None:
        await rig.load()
        for offset, group_id in enumerate(GROUPS):
            assert await rig.commit(group_id, offset) == NONE
        asked = [OffsetFetchRequestGroup(group_id=g, topics=None) for g in [*GROUPS, "ghost"]]
        found = await rig.groups.fetch_offsets(asked, require_stable=False)
        assert [group.group_id for group in found] == [*GROUPS, "ghost"]
        assert [[p.committed_offset for t in group.topics for p in t.partitions] for group in found] == [
            *([offset] for offset in range(len(GROUPS))),
            [],
        ]
        described = await rig.groups.describe_groups(CALLER, [*GROUPS, GROUPS[0]])
        assert [(group.group_id, group.group_state) for group in described] == [
            (group_id, "Empty") for group_id in [*GROUPS, GROUPS[0]]
        ]
        deleted = await rig.groups.delete_groups([GROUPS[1], "ghost", GROUPS[0], GROUPS[1]])
        assert [(result.group_id, result.error_code) for result in deleted] == [
            (GROUPS[1], NONE),
            ("ghost", GROUP_ID_NOT_FOUND),
            (GROUPS[0], NONE),
        ]
        _, listed = await rig.groups.list_groups([" EMPTY "], ["Classic"])
        assert {group.group_id for group in listed} == set(GROUPS[2:])

    run(body)


def test_groups_of_another_broker_fail_alone() -> None:
    async def body(rig: Rig) -> None:
        here = rig.runtime.partition_for("alpha")
        await rig.load(here)
        elsewhere = next(g for g in GROUPS if rig.runtime.partition_for(g) != here)
        described = await rig.groups.describe_groups(CALLER, ["alpha", elsewhere])
        assert [group.error_code for group in described] == [GROUP_ID_NOT_FOUND, NOT_COORDINATOR]
        with pytest.raises(NotCoordinator):
            await rig.commit(elsewhere, 1)
        await rig.commit("alpha", 1)
        assert [group.group_id for group in (await rig.groups.list_groups([], []))[1]] == ["alpha"]

    run(body)


def test_while_a_shard_is_being_read_its_groups_wait_and_heartbeats_do_not_fail() -> None:
    async def body(rig: Rig) -> None:
        for partition in range(PARTITIONS):
            rig.runtime.load(partition)
        heartbeat = HeartbeatRequest(group_id="alpha", member_id="member", generation_id=1)
        assert (await settled(rig.groups.heartbeat(CALLER, heartbeat))).error_code == NONE
        with pytest.raises(CoordinatorLoadInProgress):
            await rig.commit("alpha", 1)
        assert await rig.groups.list_groups([], []) == (COORDINATOR_LOAD_IN_PROGRESS, [])

    run(body)


def test_groups_without_an_id_cannot_be_joined_but_hold_offsets() -> None:
    async def body(rig: Rig) -> None:
        await rig.load()
        with pytest.raises(InvalidGroupId):
            rig.groups.join_group(CALLER, JoinGroupRequest(group_id=""))
        assert await rig.commit("", 1) == NONE

    run(body)


def test_a_group_and_its_offsets_survive_a_restart_of_the_runtime() -> None:
    async def body(rig: Rig) -> None:
        await rig.load()
        protocols = [JoinGroupRequestProtocol(name="range", metadata=b"")]
        request = JoinGroupRequest(
            group_id="alpha", session_timeout_ms=10_000, protocol_type="connect", protocols=protocols
        )
        joining = asyncio.ensure_future(settled(rig.groups.join_group(Caller(3, "client", "/127.0.0.1"), request)))
        await turns()
        rig.clock.advance(3_000)
        await turns()
        assert (await joining).generation_id == 1
        await rig.commit("beta", 5)
        for partition in range(PARTITIONS):
            rig.runtime.unload(partition)
        await rig.load()
        described = await rig.groups.describe_groups(CALLER, ["alpha", "beta"])
        assert [group.group_state for group in described] == ["Empty", "Empty"]  # nobody had synced
        (fetched,) = await rig.groups.fetch_offsets(
            [OffsetFetchRequestGroup(group_id="beta", topics=None)], require_stable=True
        )
        assert fetched.topics[0].partitions[0].committed_offset == 5

    run(body)


def test_a_commit_that_cannot_be_written_fails_and_does_not_count() -> None:
    async def body(rig: Rig) -> None:
        await rig.load()
        await rig.commit("alpha", 1)
        rig.log.append_error = KafkaStorageError()
        with pytest.raises(NotCoordinator):
            await rig.commit("alpha", 2)
        rig.log.append_error = None
        await turns()  # until it waits to read the log again
        rig.clock.advance(1_000)
        await turns()
        asked = [OffsetFetchRequestGroup(group_id="alpha", topics=None)]
        (fetched,) = await rig.groups.fetch_offsets(asked, require_stable=False)
        assert fetched.topics[0].partitions[0].committed_offset == 1

    run(body)


def test_offsets_go_with_their_topic_in_all_shards() -> None:
    async def body(rig: Rig) -> None:
        await rig.load()
        for group_id in GROUPS:
            await rig.commit(group_id, 1)
        rig.groups.topics_deleted(["topic"])
        await turns()
        asked = [OffsetFetchRequestGroup(group_id=group_id, topics=None) for group_id in GROUPS]
        found = await rig.groups.fetch_offsets(asked, require_stable=False)
        assert [list(group.topics) for group in found] == [[]] * len(GROUPS)

    run(body)
