"""The coordinators in a broker: answers that wait for the commit, watches of the data plane, and partitions that go."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from pystream.broker.coordination.share_log import BrokerShareLog
from pystream.common.error_codes import INVALID_PRODUCER_EPOCH, NONE
from pystream.common.model import CONSUMER_OFFSETS_TOPIC
from pystream.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from pystream.protocol.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from tests.support.cold_rig import ColdRig, run_cold

OFFSETS = {"offsets.topic.num.partitions": "2"}
_OFFSET = itertools.count()


async def commit(rig: ColdRig, group_id: str = "g") -> int:
    """The error code of an offset that a consumer commits."""
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=next(_OFFSET))
    topic = OffsetCommitRequestTopic(name="orders", partitions=[partition])
    response = await rig.call(OffsetCommitRequest(group_id=group_id, topics=[topic]), 8)
    return response.topics[0].partitions[0].error_code


async def ready(rig: ColdRig) -> None:
    """With the topics that it takes, and the coordinators loaded."""
    topic = CreatableTopic(name="orders", num_partitions=1, replication_factor=1)
    await rig.call(CreateTopicsRequest(topics=[topic], timeout_ms=5_000), 7)
    await rig.context.coordinators.internal_topics.ensure(CONSUMER_OFFSETS_TOPIC)
    runtime = rig.coordinators.groups.runtime
    while len(list(runtime.active())) < runtime.partition_count:
        await rig.clock.sleep_ms(1)


@pytest.mark.parametrize("commits_late", [True, False])
def test_an_answer_is_given_once_its_records_are_committed(commits_late):
    async def scenario(rig: ColdRig) -> None:
        await ready(rig)
        assert await commit(rig) == NONE
        assert rig.plane.committed == {}

    run_cold(scenario, OFFSETS, commits_late=commits_late)


def test_nothing_is_answered_before_the_commit(monkeypatch):
    async def scenario(rig: ColdRig) -> None:
        await ready(rig)
        held: list[tuple[str, int]] = []
        with monkeypatch.context() as patched:
            patched.setattr(type(rig.plane), "_commit", lambda plane, topic, partition: held.append((topic, partition)))
            answer = asyncio.ensure_future(commit(rig))
            while not held:
                await rig.clock.sleep_ms(0)
            for _ in range(20):
                await rig.clock.sleep_ms(0)
            assert not answer.done()
        rig.plane._commit(*held[0])
        assert await answer == NONE

    run_cold(scenario, OFFSETS)


def test_a_partition_that_is_gone_leaves_the_others_their_answers_when_memory_is_short():
    async def scenario(rig: ColdRig) -> None:
        await ready(rig)
        runtime = rig.coordinators.groups.runtime
        rig.plane.is_short_of_memory = True
        gone = 1 - runtime.partition_for("g")
        rig.plane.remove_partition(CONSUMER_OFFSETS_TOPIC, gone)
        assert await asyncio.wait_for(commit(rig), 60) == NONE

    run_cold(scenario, OFFSETS)


def test_offsets_of_a_fenced_producer_are_refused_without_verification_and_the_groups_stay():
    async def scenario(rig: ColdRig) -> None:
        await ready(rig)
        runtime = rig.coordinators.groups.runtime
        partition = runtime.partition_for("g")
        before = runtime.shard(partition)
        rig.logs.get(CONSUMER_OFFSETS_TOPIC, partition).native.fences[7] = 3
        codes = []
        for epoch in (2, 3):
            asked = TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=1)
            topic = TxnOffsetCommitRequestTopic(name="orders", partitions=[asked])
            request = TxnOffsetCommitRequest(
                transactional_id="t", group_id="g", producer_id=7, producer_epoch=epoch, topics=[topic]
            )
            response = await rig.call(request, 3)
            codes.append(response.topics[0].partitions[0].error_code)
        assert codes == [INVALID_PRODUCER_EPOCH, NONE]
        assert runtime.shard(partition) is before

    run_cold(scenario, {**OFFSETS, "transaction.partition.verification.enable": "false"})


class WatchedPlane:
    """Remembers the one watch that it has for each partition."""

    def __init__(self) -> None:
        self.watched: set[tuple[str, int]] = set()

    def watch(self, topic: str, partition: int) -> None:
        self.watched.add((topic, partition))

    def unwatch(self, topic: str, partition: int) -> None:
        self.watched.remove((topic, partition))


def share_log(plane: WatchedPlane, *, is_watched_elsewhere: bool) -> BrokerShareLog:
    nothing: Any = SimpleNamespace()
    return BrokerShareLog(
        node_id=1,
        logs=nothing,
        plane=plane,  # type: ignore[arg-type]
        applier=nothing,
        executor=nothing,
        is_watched_elsewhere=lambda topic, partition: is_watched_elsewhere,
    )


def test_the_data_plane_is_watched_as_long_as_a_share_group_waits():
    plane = WatchedPlane()
    log = share_log(plane, is_watched_elsewhere=False)
    first, second = (log.watch("orders", 0, moved) for moved in (list, dict))
    first()
    assert plane.watched == {("orders", 0)}
    second()
    assert plane.watched == set()
    second()
    log.watch("orders", 0, list)
    assert plane.watched == {("orders", 0)}


def test_the_watch_of_others_goes_on_behind_a_share_group():
    plane = WatchedPlane()
    share_log(plane, is_watched_elsewhere=True).watch("orders", 0, list)()
    assert plane.watched == {("orders", 0)}
