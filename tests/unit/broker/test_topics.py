"""Topics created, grown, deleted and shown, through their handlers."""

from __future__ import annotations

import pytest

from pystream.common.error_codes import (
    INVALID_CONFIG,
    INVALID_PARTITIONS,
    INVALID_REPLICATION_FACTOR,
    INVALID_REQUEST,
    INVALID_TOPIC_EXCEPTION,
    LEADER_NOT_AVAILABLE,
    NONE,
    REQUEST_TIMED_OUT,
    TOPIC_ALREADY_EXISTS,
    TOPIC_DELETION_DISABLED,
    UNKNOWN_TOPIC_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import KafkaStorageError
from pystream.common.model import ZERO_UUID
from pystream.protocol.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from pystream.protocol.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from pystream.protocol.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from pystream.protocol.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    TopicRequest,
)
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from tests.support.cold_rig import ColdRig, run_cold

HIGHEST = 7


def topic(name: str, partitions: int = 1, replicas: int = 1, **configs: str) -> CreatableTopic:
    settings = [CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()]
    return CreatableTopic(name=name, num_partitions=partitions, replication_factor=replicas, configs=settings)


async def create(rig: ColdRig, *topics: CreatableTopic, version: int = HIGHEST, **rest):
    request = CreateTopicsRequest(topics=topics, timeout_ms=rest.pop("timeout_ms", 10_000), **rest)
    return (await rig.call(request, version)).topics


async def names(rig: ColdRig) -> list[str]:
    response = await rig.call(MetadataRequest(topics=None), 12)
    return sorted(found.name for found in response.topics)


@pytest.mark.parametrize("version", range(2, 8))
def test_a_topic_is_created_and_the_plane_is_told_before_the_answer(version: int):
    async def scenario(rig: ColdRig):
        (result,) = await create(rig, topic("orders", partitions=3), version=version)
        return result, dict(rig.plane.partitions), rig.context.image().topics["orders"]

    result, partitions, image = run_cold(scenario)

    assert (result.name, result.error_code, result.error_message) == ("orders", NONE, None)
    assert sorted(partitions) == [("orders", 0), ("orders", 1), ("orders", 2)]
    assert all(told["topic_id"] == image.topic_id and told["leader"] for told in partitions.values())
    assert version < 5 or (result.num_partitions, result.replication_factor) == (3, 1)
    assert version < 7 or result.topic_id == image.topic_id


def test_defaults_of_the_cluster_fill_in_what_is_not_said():
    async def scenario(rig: ColdRig):
        return await create(rig, topic("orders", partitions=-1, replicas=-1))

    (result,) = run_cold(scenario, {"num.partitions": "4"})

    assert result.num_partitions == 4


def test_the_settings_of_a_new_topic_are_answered_with_their_source():
    async def scenario(rig: ColdRig):
        return await create(rig, topic("orders", retention_ms="5"))

    (result,) = run_cold(scenario, {"log.segment.bytes": "2000000"})
    shown = {config.name: (config.value, config.config_source) for config in result.configs}

    assert shown["retention.ms"] == ("5", 1)
    assert shown["segment.bytes"] == ("2000000", 4)
    assert shown["cleanup.policy"] == ("delete", 5)


def test_each_topic_of_a_request_succeeds_or_fails_by_itself():
    async def scenario(rig: ColdRig):
        await create(rig, topic("there"))
        results = await create(
            rig,
            topic("good"),
            topic("there"),
            topic("bad/name"),
            topic("none", partitions=0),
            topic("many", replicas=3),
            topic("odd", retention_ms="soon"),
            topic("unknown", no_such_key="1"),
            topic("twice"),
            topic("twice"),
        )
        return {result.name: result.error_code for result in results}, await names(rig)

    codes, existing = run_cold(scenario)

    assert codes == {
        "good": NONE,
        "there": TOPIC_ALREADY_EXISTS,
        "bad/name": INVALID_TOPIC_EXCEPTION,
        "none": INVALID_PARTITIONS,
        "many": INVALID_REPLICATION_FACTOR,
        "odd": INVALID_CONFIG,
        "unknown": INVALID_CONFIG,
        "twice": INVALID_REQUEST,
    }
    assert existing == ["good", "there"]


def test_replicas_can_be_assigned_by_hand():
    async def scenario(rig: ColdRig):
        assignments = [CreatableReplicaAssignment(partition_index=index, broker_ids=[1]) for index in (1, 0)]
        by_hand = CreatableTopic(name="orders", num_partitions=-1, replication_factor=-1, assignments=assignments)
        return await create(rig, by_hand)

    (result,) = run_cold(scenario)

    assert (result.error_code, result.num_partitions) == (NONE, 2)


def test_validating_creates_nothing():
    async def scenario(rig: ColdRig):
        results = await create(rig, topic("orders"), topic("bad/name"), validate_only=True)
        return [result.error_code for result in results], await names(rig), rig.plane.partitions

    assert run_cold(scenario) == ([NONE, INVALID_TOPIC_EXCEPTION], [], {})


def test_a_creation_that_takes_too_long_is_answered_and_happens_all_the_same():
    async def scenario(rig: ColdRig):
        (result,) = await create(rig, topic("orders"), timeout_ms=0)
        await rig.context.applied(rig.store.revision if hasattr(rig.store, "revision") else 0)
        (again,) = await create(rig, topic("orders"))
        return result.error_code, again.error_code

    assert run_cold(scenario) == (REQUEST_TIMED_OUT, TOPIC_ALREADY_EXISTS)


@pytest.mark.parametrize("version", range(14))
def test_asking_for_a_missing_topic_creates_it(version: int):
    async def scenario(rig: ColdRig):
        return await rig.call(MetadataRequest(topics=[MetadataRequestTopic(name="orders")]), version)

    response = run_cold(scenario, {"num.partitions": "2"})

    (found,) = response.topics
    assert (found.name, found.error_code) == ("orders", NONE)
    assert [partition.leader_id for partition in found.partitions] == [1, 1]
    assert [(broker.node_id, broker.host, broker.port) for broker in response.brokers] == [(1, "127.0.0.1", 9092)]


@pytest.mark.parametrize(
    ("settings", "allowed"), [({"auto.create.topics.enable": "false"}, True), ({}, False)], ids=["broker", "client"]
)
def test_a_missing_topic_is_not_created_when_it_may_not_be(settings: dict[str, str], allowed: bool):
    async def scenario(rig: ColdRig):
        request = MetadataRequest(topics=[MetadataRequestTopic(name="orders")], allow_auto_topic_creation=allowed)
        return (await rig.call(request, 12)).topics, await names(rig)

    (result,), existing = run_cold(scenario, settings)

    assert (result.error_code, existing) == (UNKNOWN_TOPIC_OR_PARTITION, [])


def test_a_name_that_no_topic_may_have_is_refused_by_itself():
    async def scenario(rig: ColdRig):
        topics = [MetadataRequestTopic(name=name) for name in ("orders", "bad/name", "orders")]
        return (await rig.call(MetadataRequest(topics=topics), 12)).topics

    assert [(found.name, found.error_code) for found in run_cold(scenario)] == [
        ("orders", NONE),
        ("bad/name", INVALID_TOPIC_EXCEPTION),
    ]


def test_an_auto_created_name_that_collides_says_so():
    async def scenario(rig: ColdRig):
        await create(rig, topic("a.b"))
        return (await rig.call(MetadataRequest(topics=[MetadataRequestTopic(name="a_b")]), 12)).topics

    (result,) = run_cold(scenario)

    assert result.error_code == INVALID_TOPIC_EXCEPTION


def test_topics_are_found_by_id_and_unknown_ids_are_named():
    async def scenario(rig: ColdRig):
        (created,) = await create(rig, topic("orders"))
        ids = [created.topic_id, b"\x07" * 16]
        topics = [MetadataRequestTopic(name=None, topic_id=topic_id) for topic_id in ids]
        return (await rig.call(MetadataRequest(topics=topics), 12)).topics

    known, unknown = run_cold(scenario)

    assert (known.name, known.error_code) == ("orders", NONE)
    assert (unknown.name, unknown.topic_id, unknown.error_code) == (None, b"\x07" * 16, UNKNOWN_TOPIC_ID)


@pytest.mark.parametrize(("version", "topics"), [(0, ()), (1, None), (12, None)])
def test_all_topics_are_asked_for(version: int, topics: tuple[()] | None):
    async def scenario(rig: ColdRig):
        await create(rig, topic("a"), topic("b"))
        return (await rig.call(MetadataRequest(topics=topics), version)).topics

    assert sorted(found.name for found in run_cold(scenario)) == ["a", "b"]


def test_no_topics_are_asked_for_with_an_empty_list():
    async def scenario(rig: ColdRig):
        await create(rig, topic("a"))
        return (await rig.call(MetadataRequest(topics=()), 12)).topics

    assert run_cold(scenario) == []


def test_authorized_operations_hold_only_operations_that_exist():
    async def scenario(rig: ColdRig):
        await create(rig, topic("a"))
        request = MetadataRequest(
            topics=None, include_topic_authorized_operations=True, include_cluster_authorized_operations=True
        )
        return await rig.call(request, 10)

    response = run_cold(scenario)

    bits = {bit for bit in range(32) if response.topics[0].topic_authorized_operations >> bit & 1}
    assert bits == {3, 4, 5, 6, 7, 8, 10, 11}
    assert {bit for bit in range(32) if response.cluster_authorized_operations >> bit & 1} == {5, 7, 8, 9, 10, 11, 12}


@pytest.mark.parametrize("version", range(1, 7))
def test_a_topic_is_deleted_and_the_plane_forgets_it_before_the_answer(version: int):
    async def scenario(rig: ColdRig):
        await create(rig, topic("orders", partitions=2), topic("kept"))
        request = DeleteTopicsRequest(
            topic_names=["orders"], topics=[DeleteTopicState(name="orders")], timeout_ms=10_000
        )
        response = await rig.call(request, version)
        return response.responses, sorted(rig.plane.partitions), sorted(rig.logs.logs)

    (result,), partitions, logs = run_cold(scenario)

    assert (result.name, result.error_code) == ("orders", NONE)
    assert partitions == logs == [("kept", 0)]


def test_deletion_answers_every_item_once():
    async def scenario(rig: ColdRig):
        (created,) = await create(rig, topic("orders"))
        items = [
            DeleteTopicState(name=None, topic_id=created.topic_id),
            DeleteTopicState(name=None, topic_id=b"\x07" * 16),
            DeleteTopicState(name="missing", topic_id=ZERO_UUID),
        ]
        response = await rig.call(DeleteTopicsRequest(topics=items, timeout_ms=10_000), 6)
        return [(result.name, result.error_code) for result in response.responses]

    assert sorted(run_cold(scenario), key=str) == sorted(
        [("orders", NONE), (None, UNKNOWN_TOPIC_ID), ("missing", UNKNOWN_TOPIC_OR_PARTITION)], key=str
    )


def test_deletion_can_be_switched_off():
    async def scenario(rig: ColdRig):
        await create(rig, topic("orders"))
        response = await rig.call(DeleteTopicsRequest(topic_names=["orders"], timeout_ms=10_000), 5)
        return response.responses[0].error_code, await names(rig)

    assert run_cold(scenario, {"delete.topic.enable": "false"}) == (TOPIC_DELETION_DISABLED, ["orders"])


def test_a_name_can_be_used_again_at_once_under_a_new_id():
    async def scenario(rig: ColdRig):
        (first,) = await create(rig, topic("orders"))
        await rig.call(DeleteTopicsRequest(topic_names=["orders"], timeout_ms=10_000), 5)
        (second,) = await create(rig, topic("orders"))
        return first.topic_id, second.topic_id, rig.plane.partitions["orders", 0]["topic_id"]

    first, second, told = run_cold(scenario)

    assert first != second
    assert told == second


@pytest.mark.parametrize("version", range(4))
def test_a_topic_grows(version: int):
    async def scenario(rig: ColdRig):
        await create(rig, topic("orders"))
        topics = [CreatePartitionsTopic(name=name, count=3, assignments=None) for name in ("orders", "missing")]
        response = await rig.call(CreatePartitionsRequest(topics=topics, timeout_ms=10_000), version)
        return [(result.name, result.error_code) for result in response.results], sorted(rig.plane.partitions)

    results, partitions = run_cold(scenario)

    assert results == [("orders", NONE), ("missing", UNKNOWN_TOPIC_OR_PARTITION)]
    assert partitions == [("orders", 0), ("orders", 1), ("orders", 2)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_topic_does_not_shrink(count: int):
    async def scenario(rig: ColdRig):
        await create(rig, topic("orders", partitions=2))
        topics = [CreatePartitionsTopic(name="orders", count=count, assignments=None)]
        return (await rig.call(CreatePartitionsRequest(topics=topics, timeout_ms=10_000), 3)).results[0]

    assert run_cold(scenario).error_code == INVALID_PARTITIONS


def test_partitions_are_described_page_by_page():
    async def scenario(rig: ColdRig):
        await create(rig, topic("a", partitions=2), topic("b", partitions=3))
        pages, cursor = [], None
        while True:
            request = DescribeTopicPartitionsRequest(response_partition_limit=2, cursor=cursor)
            response = await rig.call(request, 0)
            pages.append([(t.name, [p.partition_index for p in t.partitions]) for t in response.topics])
            if response.next_cursor is None:
                return pages
            cursor = DescribeTopicPartitionsRequestCursor(
                topic_name=response.next_cursor.topic_name, partition_index=response.next_cursor.partition_index
            )

    assert run_cold(scenario) == [[("a", [0, 1])], [("b", [0, 1])], [("b", [2])]]


def test_describing_partitions_answers_every_name():
    async def scenario(rig: ColdRig):
        await create(rig, topic("a"))
        topics = [TopicRequest(name=name) for name in ("missing", "a", "bad/name")]
        response = await rig.call(DescribeTopicPartitionsRequest(topics=topics), 0)
        return [(found.name, found.error_code) for found in response.topics]

    assert run_cold(scenario) == [
        ("a", NONE),
        ("bad/name", INVALID_TOPIC_EXCEPTION),
        ("missing", UNKNOWN_TOPIC_OR_PARTITION),
    ]


def test_a_partition_whose_log_cannot_be_made_has_no_leader_and_its_neighbours_do(monkeypatch: pytest.MonkeyPatch):
    async def scenario(rig: ColdRig):
        make = rig.logs.create

        def fails_for_one(name: str, partition: int, *rest):
            if partition == 1:
                raise KafkaStorageError("the disk is gone")
            return make(name, partition, *rest)

        monkeypatch.setattr(rig.logs, "create", fails_for_one)
        await create(rig, topic("orders", partitions=3))
        shown = (await rig.call(MetadataRequest(topics=None), 12)).topics[0]
        await rig.call(DeleteTopicsRequest(topic_names=["orders"], timeout_ms=10_000), 5)
        return {p.partition_index: (p.error_code, p.leader_id) for p in shown.partitions}, rig.plane.partitions

    shown, left = run_cold(scenario)

    assert shown == {0: (NONE, 1), 1: (LEADER_NOT_AVAILABLE, -1), 2: (NONE, 1)}
    assert left == {}
