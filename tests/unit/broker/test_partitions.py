"""Records deleted and leader epochs looked up, through their handlers."""

from __future__ import annotations

import pytest

from pystream.common.error_codes import (
    FENCED_LEADER_EPOCH,
    INVALID_TOPIC_EXCEPTION,
    NONE,
    OFFSET_OUT_OF_RANGE,
    POLICY_VIOLATION,
    UNKNOWN_LEADER_EPOCH,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import KafkaStorageError
from pystream.common.model import TopicPartition
from pystream.metadata.image import Delta
from pystream.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from pystream.protocol.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from pystream.protocol.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from tests.support.cold_rig import ColdRig, run_cold

END = 10


async def create(rig: ColdRig, name: str = "orders", **configs: str) -> None:
    """A topic of one partition that holds the offsets 0 to END - 1."""
    settings = [CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()]
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=settings)
    await rig.call(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
    rig.logs.get(name, 0).native.end_offset = END


async def delete_records(rig: ColdRig, topic: str, offset: int, partition: int = 0, version: int = 2):
    partitions = [DeleteRecordsPartition(partition_index=partition, offset=offset)]
    request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name=topic, partitions=partitions)], timeout_ms=10_000)
    result = (await rig.call(request, version)).topics[0].partitions[0]
    return result.error_code, result.low_watermark


@pytest.mark.parametrize("version", range(3))
@pytest.mark.parametrize(("offset", "low_watermark"), [(6, 6), (-1, END), (0, 0), (END, END)])
def test_records_below_an_offset_are_deleted(version: int, offset: int, low_watermark: int):
    async def scenario(rig: ColdRig):
        await create(rig)
        return await delete_records(rig, "orders", offset, version=version)

    assert run_cold(scenario) == (NONE, low_watermark)


def test_an_offset_that_is_deleted_already_changes_nothing():
    async def scenario(rig: ColdRig):
        await create(rig)
        await delete_records(rig, "orders", 6)
        return await delete_records(rig, "orders", 3)

    assert run_cold(scenario) == (NONE, 6)


@pytest.mark.parametrize(
    ("topic", "partition", "offset", "code"),
    [
        ("orders", 0, END + 1, OFFSET_OUT_OF_RANGE),
        ("orders", 0, -2, OFFSET_OUT_OF_RANGE),
        ("orders", 1, 0, UNKNOWN_TOPIC_OR_PARTITION),
        ("missing", 0, 0, UNKNOWN_TOPIC_OR_PARTITION),
        ("compacted", 0, 0, POLICY_VIOLATION),
        ("__consumer_offsets", 0, 0, INVALID_TOPIC_EXCEPTION),
        ("__transaction_state", 0, 0, UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_records_that_cannot_be_deleted_are_answered_with_why(topic: str, partition: int, offset: int, code: int):
    async def scenario(rig: ColdRig):
        await create(rig)
        await create(rig, "compacted", cleanup_policy="compact")
        await rig.coordinators.internal_topics.ensure("__consumer_offsets")
        return await delete_records(rig, topic, offset, partition)

    assert run_cold(scenario) == (code, -1)


async def epoch_end(rig: ColdRig, topic: str, *, leader_epoch: int, current: int = -1, version: int = 4):
    partitions = [OffsetForLeaderPartition(partition=0, current_leader_epoch=current, leader_epoch=leader_epoch)]
    request = OffsetForLeaderEpochRequest(topics=[OffsetForLeaderTopic(topic=topic, partitions=partitions)])
    result = (await rig.call(request, version)).topics[0].partitions[0]
    return result.error_code, result.leader_epoch, result.end_offset


@pytest.mark.parametrize("version", range(2, 5))
def test_the_end_of_the_running_epoch_is_the_end_of_the_log(version: int):
    async def scenario(rig: ColdRig):
        await create(rig)
        return await epoch_end(rig, "orders", leader_epoch=0, version=version)

    assert run_cold(scenario) == (NONE, 0, END)


@pytest.mark.parametrize(
    ("topic", "current", "code"),
    [
        ("orders", 0, NONE),
        ("orders", 1, UNKNOWN_LEADER_EPOCH),
        ("orders", -2, FENCED_LEADER_EPOCH),
        ("missing", 0, UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_a_client_with_another_idea_of_the_leader_is_told(topic: str, current: int, code: int):
    async def scenario(rig: ColdRig):
        await create(rig)
        return await epoch_end(rig, topic, leader_epoch=0, current=current)

    assert run_cold(scenario)[0] == code


def test_a_partition_whose_log_opens_at_the_second_attempt_is_usable_again():
    async def scenario(rig: ColdRig):
        def failing(*_arguments):
            raise KafkaStorageError("the disk is away")

        create_log, rig.logs.create = rig.logs.create, failing
        topic = CreatableTopic(name="orders", num_partitions=1, replication_factor=1)
        await rig.call(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 7)
        seen = [dict(rig.applier.unusable), dict(rig.plane.partitions)]
        rig.logs.create = create_log
        for _ in range(2):
            image = rig.applier.image
            hosted = (image.topics["orders"], image.topics["orders"].partitions[0])
            rig.applier.submit(Delta(changed_partitions=(hosted,)), image)
            await rig.applier.caught_up()
        return [*seen, dict(rig.applier.unusable), list(rig.plane.partitions)]

    before, in_plane_before, after, in_plane_after = run_cold(scenario)
    assert before == {TopicPartition("orders", 0): "the disk is away"}
    assert in_plane_before == {}
    assert (after, in_plane_after) == ({}, [("orders", 0)])
