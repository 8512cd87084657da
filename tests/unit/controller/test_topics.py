from __future__ import annotations

import asyncio

import pytest

from pystream.common import errors
from pystream.common.model import ZERO_UUID, random_uuid
from pystream.controller.config import ControllerConfig
from pystream.controller.requests import FoundTopic, MorePartitions, NewTopic
from pystream.metadata import records
from pystream.metadata.image import difference
from pystream.metadata.records import PartitionRecord
from pystream.metadata.store import Put
from tests.support.controller import ControllerKit, with_controller

THREE_BROKERS = [(1, "a"), (2, "b"), (3, "a")]


async def create(kit: ControllerKit, *topics: NewTopic) -> list[errors.KafkaError | None]:
    return [outcome.error for outcome in await kit.topics.create_topics(topics)]


def test_a_created_topic_is_in_the_image_when_the_answer_comes() -> None:
    async def scenario(kit: ControllerKit) -> None:
        (outcome,) = await kit.topics.create_topics(
            [NewTopic(name="orders", partitions=3, configs=[("retention.ms", "5")])]
        )
        assert (outcome.error, outcome.partitions, outcome.replication_factor) == (None, 3, 1)
        topic = kit.image.topics["orders"]
        assert topic.topic_id == outcome.topic_id != ZERO_UUID
        assert topic.configs == {"retention.ms": "5"}
        assert [(p.index, p.leader, p.isr) for p in topic.partitions] == [(n, 1, (1,)) for n in range(3)]

    with_controller(scenario)


def test_what_a_request_leaves_open_comes_from_the_configuration() -> None:
    async def scenario(kit: ControllerKit) -> None:
        (outcome,) = await kit.topics.create_topics([NewTopic(name="t")])
        assert (outcome.partitions, outcome.replication_factor) == (4, 2)

    with_controller(
        scenario, brokers=THREE_BROKERS, config=ControllerConfig(num_partitions=4, default_replication_factor=2)
    )


def test_validating_only_answers_the_same_and_changes_nothing() -> None:
    async def scenario(kit: ControllerKit) -> None:
        before = kit.store.revision
        outcomes = await kit.topics.create_topics(
            [NewTopic(name="t", partitions=2), NewTopic(name="a b")], validate_only=True
        )
        assert [(o.partitions, type(o.error)) for o in outcomes] == [(2, type(None)), (-1, errors.InvalidTopic)]
        assert outcomes[0].topic_id == ZERO_UUID
        assert kit.store.revision == before

    with_controller(scenario)


@pytest.mark.parametrize(
    ("topic", "error", "message"),
    [
        (NewTopic(name="__cluster_metadata"), errors.TopicAuthorizationFailed, "Topic authorization failed."),
        (NewTopic(name="exists"), errors.TopicAlreadyExists, "Topic 'exists' already exists."),
        (NewTopic(name="ex.ists"), errors.InvalidTopic, "Topic 'ex.ists' collides with existing topic: ex_ists"),
        (
            NewTopic(name="__consumer_offsets"),
            errors.InvalidTopic,
            "Topic name is reserved for the cluster itself: '__consumer_offsets'",
        ),
        (
            NewTopic(name="t", partitions=0),
            errors.InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            NewTopic(name="t", partitions=-2),
            errors.InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            NewTopic(name="t", replication_factor=0),
            errors.InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            NewTopic(name="t", replication_factor=4),
            errors.InvalidReplicationFactor,
            "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because "
            "only 3 broker(s) are registered.",
        ),
        (NewTopic(name="t", configs=[("nope", "1")]), errors.InvalidConfig, "Unknown topic config name: nope"),
        (
            NewTopic(name="t", configs=[("retention.ms", None), ("segment.ms", None)]),
            errors.InvalidConfig,
            "Null value not supported for topic configs: retention.ms,segment.ms",
        ),
        (
            NewTopic(name="t", configs=[("retention.ms", "x")]),
            errors.InvalidConfig,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            NewTopic(name="t", partitions=1, assignments=[(0, [1])]),
            errors.InvalidRequest,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            NewTopic(name="t", replication_factor=1, assignments=[(0, [1])]),
            errors.InvalidRequest,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ),
        (
            NewTopic(name="t", assignments=[(0, [1]), (0, [2])]),
            errors.InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            NewTopic(name="t", assignments=[(0, [1]), (2, [2])]),
            errors.InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            NewTopic(name="t", assignments=[(0, [])]),
            errors.InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            NewTopic(name="t", assignments=[(0, [9])]),
            errors.InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            NewTopic(name="t", assignments=[(0, [1, 1])]),
            errors.InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            NewTopic(name="t", assignments=[(0, [1, 2]), (1, [1])]),
            errors.InvalidReplicaAssignment,
            "The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with "
            "previous partitions, which have 2 replica(s).",
        ),
        (
            NewTopic(name="t", partitions=10_001),
            errors.PolicyViolation,
            "Excessively large number of partitions per request: 10001, at most 10000.",
        ),
    ],
)
def test_what_cannot_be_created_is_refused_in_kafkas_words(
    topic: NewTopic, error: type[errors.KafkaError], message: str
) -> None:
    async def scenario(kit: ControllerKit) -> None:
        await kit.topics.create_topics([NewTopic(name="exists"), NewTopic(name="ex_ists")])
        before = kit.store.revision
        (refusal,) = await create(kit, topic)
        assert type(refusal) is error
        assert str(refusal) == message
        assert kit.store.revision == before

    with_controller(scenario, brokers=THREE_BROKERS)


def test_one_bad_topic_does_not_fail_its_neighbours() -> None:
    async def scenario(kit: ControllerKit) -> None:
        outcomes = await create(kit, NewTopic(name="a"), NewTopic(name="b c"), NewTopic(name="d"))
        assert [type(error) for error in outcomes] == [type(None), errors.InvalidTopic, type(None)]
        assert set(kit.image.topics) == {"a", "d"}

    with_controller(scenario)


def test_a_name_mentioned_twice_is_refused_once_and_not_created() -> None:
    async def scenario(kit: ControllerKit) -> None:
        outcomes = await kit.topics.create_topics([NewTopic(name=name) for name in ("a", "b", "a")])
        assert [(o.name, o.error and str(o.error)) for o in outcomes] == [("a", "Duplicate topic name."), ("b", None)]
        assert set(kit.image.topics) == {"b"}

    with_controller(scenario)


def test_topics_of_one_request_collide_with_one_another() -> None:
    async def scenario(kit: ControllerKit) -> None:
        outcomes = await create(kit, NewTopic(name="a.b"), NewTopic(name="a_b"))
        assert [error and str(error) for error in outcomes] == [None, "Topic 'a_b' collides with existing topic: a.b"]

    with_controller(scenario)


def test_internal_topics_are_created_by_the_cluster_itself() -> None:
    async def scenario(kit: ControllerKit) -> None:
        (outcome,) = await kit.topics.create_topics([NewTopic(name="__consumer_offsets", partitions=50)], internal=True)
        assert outcome.error is None

    with_controller(scenario)


def test_partitions_of_a_request_and_of_the_cluster_are_bounded() -> None:
    async def scenario(kit: ControllerKit) -> None:
        outcomes = await create(kit, NewTopic(name="a", partitions=6), NewTopic(name="b", partitions=5))
        assert [type(error) for error in outcomes] == [type(None), errors.PolicyViolation]
        outcomes = await create(kit, NewTopic(name="b", partitions=7))
        assert str(outcomes[0]) == "The cluster has 6 partitions; 7 more would exceed max.partitions=12."

    with_controller(scenario, config=ControllerConfig(maximum_partitions_per_request=10, maximum_partitions=12))


def test_a_manual_assignment_is_taken_as_it_is() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, NewTopic(name="t", assignments=[(1, [3, 2]), (0, [2, 1])]))
        assert [(p.replicas, p.leader) for p in kit.image.topics["t"].partitions] == [((2, 1), 2), ((3, 2), 3)]

    with_controller(scenario, brokers=THREE_BROKERS)


def test_two_controllers_cannot_both_create_a_topic() -> None:
    async def scenario(kit: ControllerKit) -> None:
        name_key = records.topic_name_key("t")
        creating = asyncio.ensure_future(kit.topics.create_topics([NewTopic(name="t")]))
        await kit.store.transaction([], [Put(name_key, b"of the other one")])
        (outcome,) = await creating
        assert isinstance(outcome.error, errors.TopicAlreadyExists)

    with_controller(scenario)


def test_a_controller_that_was_replaced_writes_nothing() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await kit.store.transaction([], [Put("pid-block", b"0 x")])
        kit.store.expire(1)
        (error,) = await create(kit, NewTopic(name="t"))
        assert isinstance(error, errors.NotController)
        assert await kit.store.get(records.topic_name_key("t")) is None

    with_controller(scenario)


def test_a_lost_reply_of_a_creation_is_resolved_by_reading() -> None:
    async def scenario(kit: ControllerKit) -> None:
        kit.store.faults.lose_reply = 1
        assert await create(kit, NewTopic(name="done")) == [None]
        kit.store.faults.lose_request = 1
        (error,) = await create(kit, NewTopic(name="lost"))
        assert isinstance(error, errors.RequestTimedOut)
        assert set(kit.image.topics) == {"done"}

    with_controller(scenario)


def test_an_unreachable_store_is_a_retriable_error() -> None:
    async def scenario(kit: ControllerKit) -> None:
        kit.store.faults.unavailable = True
        (error,) = await create(kit, NewTopic(name="t"))
        assert error is not None
        assert error.retriable

    with_controller(scenario)


def test_a_full_disk_below_the_store_is_an_error_of_the_storage() -> None:
    async def scenario(kit: ControllerKit) -> None:
        kit.store.faults.full = True
        (error,) = await create(kit, NewTopic(name="t"))
        assert isinstance(error, errors.KafkaStorageError)
        assert error.retriable

    with_controller(scenario)


# --- growth


def test_a_grown_topic_keeps_what_it_had() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, NewTopic(name="t", partitions=2, replication_factor=2, configs=[("retention.ms", "5")]))
        before = kit.image
        (outcome,) = await kit.topics.create_partitions([MorePartitions(name="t", count=5)])
        assert outcome.error is None
        after = kit.image.topics["t"]
        assert len(after.partitions) == 5
        assert after.partitions[:2] == before.topics["t"].partitions
        assert all(len(p.replicas) == 2 for p in after.partitions)
        assert after.configs == {"retention.ms": "5"}
        assert [p.index for _, p in difference(before, kit.image).changed_partitions] == [2, 3, 4]

    with_controller(scenario, brokers=THREE_BROKERS)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (MorePartitions(name="no", count=3), errors.UnknownTopicOrPartition, None),
        (MorePartitions(name="t", count=2), errors.InvalidPartitions, "Topic already has 2 partition(s)."),
        (
            MorePartitions(name="t", count=1),
            errors.InvalidPartitions,
            "The topic t currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            MorePartitions(name="t", count=4, assignments=[[1]]),
            errors.InvalidReplicaAssignment,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            MorePartitions(name="t", count=3, assignments=[[1, 2]]),
            errors.InvalidReplicaAssignment,
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with "
            "previous partitions, which have 1 replica(s).",
        ),
    ],
)
def test_growth_that_is_none_is_refused_in_kafkas_words(
    request_: MorePartitions, error: type[errors.KafkaError], message: str | None
) -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, NewTopic(name="t", partitions=2))
        (outcome,) = await kit.topics.create_partitions([request_])
        assert type(outcome.error) is error
        assert message is None or str(outcome.error) == message
        assert len(kit.image.topics["t"].partitions) == 2

    with_controller(scenario, brokers=THREE_BROKERS)


def test_added_partitions_can_be_assigned_by_hand_or_only_validated() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, NewTopic(name="t", assignments=[(0, [1])]))
        more = MorePartitions(name="t", count=3, assignments=[[3], [2]])
        (outcome,) = await kit.topics.create_partitions([more], validate_only=True)
        assert (outcome.error, len(kit.image.topics["t"].partitions)) == (None, 1)
        await kit.topics.create_partitions([more])
        assert [p.leader for p in kit.image.topics["t"].partitions] == [1, 3, 2]

    with_controller(scenario, brokers=THREE_BROKERS)


# --- deletion


def test_a_deleted_topic_leaves_nothing_behind() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, NewTopic(name="t", partitions=250, configs=[("retention.ms", "5")]))
        topic = kit.image.topics["t"]
        state = records.encode_partition(PartitionRecord(1, 1, 1, (1,), (1,)))
        for index in range(250):
            await kit.store.transaction([], [Put(records.partition_key(topic.topic_id, index), state)])
        before = {item.key for item in (await kit.store.range("")).items}
        (outcome,) = await kit.topics.delete_topics(names=["t"])
        assert (outcome.name, outcome.topic_id, outcome.error) == ("t", topic.topic_id, None)
        left = {item.key for item in (await kit.store.range("")).items}
        assert len(before - left) == 253
        assert left == {"brokers/1", "cluster-id", "controller", "features"}
        assert "t" not in kit.image.topics

    with_controller(scenario)


def test_a_topic_is_deleted_by_its_id_and_its_name_is_free_again() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, NewTopic(name="t"))
        first = kit.image.topics["t"].topic_id
        (outcome,) = await kit.topics.delete_topics(topic_ids=[first])
        assert (outcome.name, outcome.error) == ("t", None)
        assert await create(kit, NewTopic(name="t")) == [None]
        assert kit.image.topics["t"].topic_id != first
        (stale,) = await kit.topics.delete_topics(topic_ids=[first])
        assert isinstance(stale.error, errors.UnknownTopicId)

    with_controller(scenario)


def test_deletions_that_make_no_sense_are_refused_each_by_itself() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, *(NewTopic(name=name) for name in ("a", "b", "c")))
        a, unknown = kit.image.topics["a"].topic_id, random_uuid()
        outcomes = await kit.topics.delete_topics(names=["a", "b", "b", "no"], topic_ids=[a, unknown])
        assert [(o.name, type(o.error)) for o in outcomes] == [
            ("a", errors.InvalidRequest),
            ("b", errors.InvalidRequest),
            ("no", errors.UnknownTopicOrPartition),
            ("a", errors.InvalidRequest),
            (None, errors.UnknownTopicId),
        ]
        assert set(kit.image.topics) == {"a", "b", "c"}

    with_controller(scenario)


def test_deletion_can_be_switched_off() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, NewTopic(name="t"))
        (outcome,) = await kit.topics.delete_topics(names=["t"])
        assert isinstance(outcome.error, errors.TopicDeletionDisabled)
        assert "t" in kit.image.topics

    with_controller(scenario, config=ControllerConfig(delete_topic_enable=False))


def test_garbage_of_an_interrupted_deletion_is_collected() -> None:
    async def scenario(kit: ControllerKit) -> None:
        await create(kit, NewTopic(name="lives", configs=[("retention.ms", "5")]))
        state = records.encode_partition(PartitionRecord(1, 1, 1, (1,), (1,)))
        gone = random_uuid()
        kept = records.partition_key(kit.image.topics["lives"].topic_id, 0)
        await kit.store.transaction(
            [],
            [
                Put(kept, state),
                Put(records.partition_key(gone, 0), state),
                Put(records.partition_key(gone, 1), state),
                Put(records.topic_config_key(gone), records.encode_mapping("values", {"retention.ms": "1"})),
            ],
        )
        assert await kit.topics.collect_garbage() == 3
        assert await kit.topics.collect_garbage() == 0
        assert await kit.store.get(kept) is not None

    with_controller(scenario)


def test_found_topics_keep_their_ids_and_start_with_the_defaults() -> None:
    async def scenario(kit: ControllerKit) -> None:
        known = random_uuid()
        found = [
            FoundTopic(name="known", topic_id=known, partitions=3),
            FoundTopic(name="__consumer_offsets", topic_id=ZERO_UUID, partitions=1),
        ]
        outcomes = await kit.topics.adopt_topics(found, node_id=1)
        assert [outcome.error for outcome in outcomes] == [None, None]
        topic = kit.image.topics["known"]
        assert (topic.topic_id, [p.replicas for p in topic.partitions], topic.configs) == (known, [(1,)] * 3, {})
        assert kit.image.topics["__consumer_offsets"].topic_id != ZERO_UUID

    with_controller(scenario)
