"""What administrators are answered when they ask wrongly: Kafka's codes and words, one result for each item asked for.

Every test here passes on Apache Kafka too (PYSTREAM_TEST_BOOTSTRAP).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pystream.common import error_codes as codes
from pystream.common.model import ZERO_UUID
from pystream.protocol.message import Message
from pystream.protocol.messages import alter_client_quotas as alter_quotas
from pystream.protocol.messages import alter_configs as replace
from pystream.protocol.messages import alter_partition_reassignments as reassign
from pystream.protocol.messages import create_partitions, delete_records
from pystream.protocol.messages import create_topics as create
from pystream.protocol.messages import delete_topics as delete
from pystream.protocol.messages import describe_client_quotas as quotas
from pystream.protocol.messages import describe_configs as describe
from pystream.protocol.messages import elect_leaders as elect
from pystream.protocol.messages import incremental_alter_configs as alter
from pystream.protocol.messages.describe_cluster import DescribeClusterRequest
from pystream.protocol.messages.describe_producers import DescribeProducersRequest
from pystream.protocol.messages.describe_producers import TopicRequest as ProducersTopic
from pystream.protocol.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    TopicRequest,
)
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic
from pystream.protocol.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest
from tests.support.raw_client import RawClient

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND = 0, 1, 2
TIMEOUT_MS = 60_000
ALL_ON_TOPIC = 0b1101_1111_1000  # READ to DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS

NewTopicName = Callable[..., str]


@pytest.fixture
def client(bootstrap: str) -> Iterator[RawClient]:
    host, _, port = bootstrap.rpartition(":")
    with RawClient(int(port), host) as opened:
        yield opened


@pytest.fixture
def broker_id(client: RawClient) -> int:
    (broker,) = client.call(DescribeClusterRequest(), 2).brokers
    node_id: int = broker.broker_id
    return node_id


def topic_id_of(client: RawClient, name: str) -> bytes:
    request = MetadataRequest(topics=[MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
    topic_id: bytes = client.call(request, 12).topics[0].topic_id
    return topic_id


def told(result: Any) -> tuple[int, str | None]:
    return result.error_code, result.error_message


# -- topics


def creation(name: str, **configs: str) -> create.CreateTopicsRequest:
    settings = [create.CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()]
    topic = create.CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=settings)
    return create.CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS, validate_only=True)


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        (
            {"min_compaction_lag_ms": "10", "max_compaction_lag_ms": "5"},
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
        ),
        (
            {"remote_storage_enable": "true"},
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage.",
        ),
        (
            {"leader_replication_throttled_replicas": "0:1,one"},
            "Invalid value [0:1, one] for configuration leader.replication.throttled.replicas: "
            "leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following "
            "format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
    ],
)
def test_settings_that_cannot_be_together_are_refused_at_creation(
    client: RawClient, configs: dict[str, str], words: str
) -> None:
    (result,) = client.call(creation("never-made", **configs), 7).topics
    assert told(result) == (codes.INVALID_CONFIG, words)
    assert list(result.configs) == []


def test_an_item_that_does_not_say_which_topic_is_refused_alone(client: RawClient, new_topic: NewTopicName) -> None:
    kept, gone = new_topic("kept"), new_topic("gone")
    items = [
        delete.DeleteTopicState(name=None, topic_id=ZERO_UUID),
        delete.DeleteTopicState(name=kept, topic_id=os.urandom(16)),
        delete.DeleteTopicState(name=gone, topic_id=ZERO_UUID),
    ]
    answer = client.call(delete.DeleteTopicsRequest(topics=items, timeout_ms=TIMEOUT_MS), 6)
    assert {result.name: told(result) for result in answer.responses} == {
        None: (codes.INVALID_REQUEST, "Neither topic name nor id were specified."),
        kept: (codes.INVALID_REQUEST, "You may not specify both topic name and topic id."),
        gone: (codes.NONE, None),
    }


def test_a_topic_named_by_name_and_by_id_is_not_deleted(client: RawClient, new_topic: NewTopicName) -> None:
    topic = new_topic("twice")
    topic_id = topic_id_of(client, topic)
    items = [delete.DeleteTopicState(name=topic), delete.DeleteTopicState(name=None, topic_id=topic_id)]
    answer = client.call(delete.DeleteTopicsRequest(topics=items, timeout_ms=TIMEOUT_MS), 6)
    assert {told(result) for result in answer.responses} == {
        (codes.INVALID_REQUEST, "The provided topic name maps to an ID that was already supplied.")
    }
    assert topic_id_of(client, topic) == topic_id


def test_records_of_a_topic_without_any_cleanup_can_be_deleted(client: RawClient, new_topic: NewTopicName) -> None:
    topic = new_topic("kept-for-ever", **{"cleanup.policy": ""})
    partition = delete_records.DeleteRecordsPartition(partition_index=0, offset=-1)
    asked = delete_records.DeleteRecordsTopic(name=topic, partitions=[partition])
    answer = client.call(delete_records.DeleteRecordsRequest(topics=[asked], timeout_ms=TIMEOUT_MS), 2)
    (result,) = answer.topics[0].partitions
    assert (result.error_code, result.low_watermark) == (codes.NONE, 0)


def test_the_operations_on_a_topic_that_is_not_there_are_told(client: RawClient) -> None:
    request = MetadataRequest(
        topics=[MetadataRequestTopic(name="no-such-topic")],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=True,
    )
    (topic,) = client.call(request, 12).topics
    assert (topic.error_code, topic.topic_authorized_operations) == (codes.UNKNOWN_TOPIC_OR_PARTITION, ALL_ON_TOPIC)
    (paged,) = client.call(DescribeTopicPartitionsRequest(topics=[TopicRequest(name="no-such-topic")]), 0).topics
    assert (paged.error_code, paged.topic_authorized_operations) == (codes.UNKNOWN_TOPIC_OR_PARTITION, ALL_ON_TOPIC)


def test_the_metadata_log_is_not_made_for_who_asks_for_it(client: RawClient) -> None:
    request = MetadataRequest(topics=[MetadataRequestTopic(name="__cluster_metadata")], allow_auto_topic_creation=True)
    (topic,) = client.call(request, 12).topics
    assert topic.error_code == codes.UNKNOWN_TOPIC_OR_PARTITION


def test_a_page_begins_at_a_topic_that_was_asked_for(client: RawClient, new_topic: NewTopicName) -> None:
    topic = new_topic("paged")
    cursor = DescribeTopicPartitionsRequestCursor(topic_name="0", partition_index=0)
    answer = client.call(DescribeTopicPartitionsRequest(topics=[TopicRequest(name=topic)], cursor=cursor), 0)
    assert [(each.name, each.error_code) for each in answer.topics] == [(topic, codes.INVALID_REQUEST)]


# -- settings


def alteration(kind: int, name: str, *changes: tuple[str, int, str | None]) -> alter.AlterConfigsResource:
    configs = [alter.AlterableConfig(name=key, config_operation=what, value=value) for key, what, value in changes]
    return alter.AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)


def altered(client: RawClient, *resources: alter.AlterConfigsResource) -> list[Any]:
    return list(client.call(alter.IncrementalAlterConfigsRequest(resources=resources), 1).responses)


def described(client: RawClient, kind: int, name: str, key: str) -> list[Any]:
    resource = describe.DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=[key])
    (result,) = client.call(describe.DescribeConfigsRequest(resources=[resource]), 4).results
    assert result.error_code == codes.NONE, result
    return list(result.configs)


def test_a_resource_that_is_named_twice_is_refused_twice_and_its_neighbours_are_changed(
    client: RawClient, new_topic: NewTopicName
) -> None:
    twice, once = new_topic("twice"), new_topic("once")
    results = altered(
        client,
        alteration(TOPIC, twice, ("flush.ms", SET, "1")),
        alteration(TOPIC, once, ("flush.ms", SET, "2")),
        alteration(TOPIC, twice, ("segment.ms", SET, "3")),
    )
    refused = (codes.INVALID_REQUEST, "Each resource must appear at most once.")
    assert sorted((result.resource_name == twice, *told(result)) for result in results) == [
        (False, codes.NONE, None),
        (True, *refused),
        (True, *refused),
    ]
    assert described(client, TOPIC, once, "flush.ms")[0].value == "2"
    assert described(client, TOPIC, twice, "flush.ms")[0].value == str(2**63 - 1)


def test_replacing_settings_of_topics_that_cannot_be(client: RawClient) -> None:
    resources = [replace.AlterConfigsResource(resource_type=TOPIC, resource_name=name) for name in ("", "a b", "nope")]
    answer = client.call(replace.AlterConfigsRequest(resources=resources), 2)
    assert {result.resource_name: result.error_code for result in answer.responses} == {
        "": codes.INVALID_REQUEST,
        "a b": codes.INVALID_TOPIC_EXCEPTION,
        "nope": codes.UNKNOWN_TOPIC_OR_PARTITION,
    }


def test_a_change_is_held_against_what_the_topic_has_already(client: RawClient, new_topic: NewTopicName) -> None:
    topic = new_topic("lagging", **{"min.compaction.lag.ms": "10"})
    (result,) = altered(client, alteration(TOPIC, topic, ("max.compaction.lag.ms", SET, "5")))
    assert told(result) == (
        codes.INVALID_CONFIG,
        "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
    )


REFUSED = [
    (TOPIC, "", ("flush.ms", SET, "1"), codes.INVALID_REQUEST, "Default topic resources are not allowed."),
    (
        GROUP,
        "",
        ("share.isolation.level", SET, "read_committed"),
        codes.INVALID_REQUEST,
        "Default group resources are ",
    ),
    (
        GROUP,
        "g",
        ("share.auto.offset.reset", SET, "soon"),
        codes.INVALID_CONFIG,
        "Invalid value soon for configuration",
    ),
    (CLIENT_METRICS, "", ("metrics", SET, "*"), codes.INVALID_REQUEST, "Subscription name can't be empty"),
    (
        CLIENT_METRICS,
        "m",
        ("no.such", SET, "*"),
        codes.INVALID_REQUEST,
        "Unknown client metrics configuration: no.such",
    ),
    (
        CLIENT_METRICS,
        "m",
        ("interval.ms", SET, "9"),
        codes.INVALID_REQUEST,
        "Invalid value 9 for interval.ms, interval ",
    ),
    (CLIENT_METRICS, "m", ("match", SET, "x=y"), codes.INVALID_CONFIG, "Illegal client matching pattern: x=y"),
    (CLIENT_METRICS, "m", ("match", SET, "client_id=["), codes.INVALID_CONFIG, "Illegal client matching pattern: "),
    (BROKER, "999", ("log.cleaner.threads", SET, "2"), codes.INVALID_REQUEST, "Unexpected broker id, expected "),
    (BROKER, "-1", ("log.cleaner.threads", SET, "2"), codes.INVALID_REQUEST, "Unexpected broker id, expected "),
    (
        BROKER,
        "one",
        ("log.cleaner.threads", SET, "2"),
        codes.INVALID_REQUEST,
        "Node id must be an integer, but it is: ",
    ),
    (BROKER_LOGGER, "", ("root", SET, "INFO"), codes.INVALID_REQUEST, "Node id must be an integer, but it is: "),
    (BROKER_LOGGER, "999", ("root", SET, "INFO"), codes.INVALID_REQUEST, "Unexpected node id. Expected "),
    (1, "x", ("a", SET, "b"), codes.INVALID_REQUEST, "Unknown resource type 1"),
    (99, "x", ("a", SET, "b"), codes.INVALID_REQUEST, "Unknown resource type 99"),
]


@pytest.mark.parametrize(("kind", "name", "change", "code", "words"), REFUSED)
def test_a_change_that_cannot_be_is_refused_in_kafkas_words(
    client: RawClient, kind: int, name: str, change: tuple[str, int, str], code: int, words: str
) -> None:
    (result,) = altered(client, alteration(kind, name, change))
    assert (result.error_code, result.resource_type, result.resource_name) == (code, kind, name)
    assert result.error_message.startswith(words)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (("root", DELETE, None), codes.INVALID_REQUEST, "Removing the log level of the root logger is not allowed"),
        (
            ("root", APPEND, "INFO"),
            codes.INVALID_REQUEST,
            "APPEND operation is not allowed for the BROKER_LOGGER resource",
        ),
        (("root", SET, None), codes.INVALID_REQUEST, "Null value not supported for : root"),
        (
            ("root", SET, "LOUD"),
            codes.INVALID_CONFIG,
            "Cannot set the log level of root to LOUD as it is not a supported log level. "
            "Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
        ),
    ],
)
def test_a_level_that_cannot_be_is_refused_in_kafkas_words(
    client: RawClient, broker_id: int, change: tuple[str, int, str | None], code: int, words: str
) -> None:
    (result,) = altered(client, alteration(BROKER_LOGGER, str(broker_id), change))
    assert told(result) == (code, words)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max.connections", "0"),
        ("max.connections.per.ip", "0"),
        ("log.retention.ms", "0"),
        ("group.consumer.session.timeout.ms", "1"),
        ("num.io.threads", "900"),
    ],
)
def test_settings_of_all_brokers_that_nobody_can_live_with_are_refused(client: RawClient, key: str, value: str) -> None:
    (result,) = altered(client, alteration(BROKER, "", (key, SET, value)))
    assert result.error_code == codes.INVALID_REQUEST
    assert key in result.error_message


def test_a_logger_resource_that_is_named_twice_is_refused_twice(client: RawClient, broker_id: int) -> None:
    resource = alteration(BROKER_LOGGER, str(broker_id), ("root", SET, "INFO"))
    assert [result.error_code for result in altered(client, resource, resource)] == [codes.INVALID_REQUEST] * 2


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (GROUP, "Group name must not be empty"),
        (CLIENT_METRICS, "Client metrics subscription name must not be empty"),
        (BROKER_LOGGER, "Broker id must not be empty"),
    ],
)
def test_nothing_is_described_without_a_name(client: RawClient, kind: int, words: str) -> None:
    resource = describe.DescribeConfigsResource(resource_type=kind, resource_name="", configuration_keys=None)
    (result,) = client.call(describe.DescribeConfigsRequest(resources=[resource]), 4).results
    assert told(result) == (codes.INVALID_REQUEST, words)


# -- leaders, replicas, producers


def test_elections_and_reassignments_name_what_is_missing(client: RawClient, new_topic: NewTopicName) -> None:
    topic = new_topic("elected")
    wanted = [elect.TopicPartitions(topic=name, partitions=[9]) for name in (topic, "nope")]
    elected = client.call(elect.ElectLeadersRequest(topic_partitions=wanted, timeout_ms=TIMEOUT_MS), 2)
    assert {each.topic: told(each.partition_result[0]) for each in elected.replica_election_results} == {
        topic: (codes.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {topic}-9"),
        "nope": (codes.UNKNOWN_TOPIC_OR_PARTITION, "No such topic as nope"),
    }

    partition = reassign.ReassignablePartition(partition_index=9, replicas=[1])
    moves = [reassign.ReassignableTopic(name=name, partitions=[partition]) for name in (topic, "nope")]
    moved = client.call(reassign.AlterPartitionReassignmentsRequest(topics=moves, timeout_ms=TIMEOUT_MS), 1)
    assert {each.name: told(each.partitions[0]) for each in moved.responses} == {
        topic: (codes.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {topic}:9."),
        "nope": (codes.UNKNOWN_TOPIC_OR_PARTITION, "Unable to find a topic named nope."),
    }


def test_producers_of_a_topic_that_cannot_be(client: RawClient) -> None:
    topics = [ProducersTopic(name=name, partition_indexes=[0]) for name in ("a b", "nope")]
    answer = client.call(DescribeProducersRequest(topics=topics), 0)
    assert {topic.name: topic.partitions[0].error_code for topic in answer.topics} == {
        "a b": codes.INVALID_TOPIC_EXCEPTION,
        "nope": codes.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert all(topic.partitions[0].error_message for topic in answer.topics)


# -- quotas, features


@pytest.mark.parametrize(
    ("components", "code", "words"),
    [
        (
            [("user", 2, "x")],
            codes.INVALID_REQUEST,
            "Request specified MATCH_TYPE_SPECIFIED, but also specified a match",
        ),
        ([("user", 1, "x")], codes.INVALID_REQUEST, "Request specified MATCH_TYPE_DEFAULT, but also specified a match"),
        (
            [("user", 0, None)],
            codes.INVALID_REQUEST,
            "Request specified MATCH_TYPE_EXACT, but set match string to null.",
        ),
        (
            [("user", 2, None)] * 2,
            codes.INVALID_REQUEST,
            "Entity type user cannot appear more than once in the filter.",
        ),
        ([("", 2, None)], codes.INVALID_REQUEST, "Invalid empty entity type."),
        ([("colour", 2, None)], codes.UNSUPPORTED_VERSION, "Unsupported entity type colour"),
    ],
)
def test_a_filter_of_quotas_that_makes_no_sense_is_refused(
    client: RawClient, components: list[tuple[str, int, str | None]], code: int, words: str
) -> None:
    parts = [quotas.ComponentData(entity_type=kind, match_type=how, match=name) for kind, how, name in components]
    answer = client.call(quotas.DescribeClientQuotasRequest(components=parts), 1)
    assert (answer.error_code, answer.entries) == (code, None)
    assert answer.error_message.startswith(words)


def set_quota(client: RawClient, client_id: str, key: str, rate: float | None) -> None:
    entity = [alter_quotas.AlterClientQuotasRequestEntityData(entity_type="client-id", entity_name=client_id)]
    change = alter_quotas.OpData(key=key, value=rate or 0.0, remove=rate is None)
    entry = alter_quotas.AlterClientQuotasRequestEntryData(entity=entity, ops=[change])
    (result,) = client.call(alter_quotas.AlterClientQuotasRequest(entries=[entry]), 1).entries
    assert result.error_code == codes.NONE, result


def test_changes_of_topics_are_refused_once_their_quota_is_overdrawn(client: RawClient, bootstrap: str) -> None:
    """The change that overdraws it is made at once; what cannot be done anyway costs nothing."""
    client_id = f"hasty-{os.urandom(4).hex()}"
    host, _, port = bootstrap.rpartition(":")
    set_quota(client, client_id, "controller_mutation_rate", 0.01)
    with RawClient(int(port), host) as hasty:

        def call(request: Message, version: int) -> Any:
            hasty.socket.sendall(hasty.frame(request, version, client_id))
            return hasty.receive()

        topic = create_partitions.CreatePartitionsTopic(name="no-such-topic", count=900, assignments=None)
        unknown = call(create_partitions.CreatePartitionsRequest(topics=[topic], timeout_ms=TIMEOUT_MS), 3)
        first = call(creation("made-at-once"), 7)
        second = call(creation("made-too-soon"), 7)
    set_quota(client, client_id, "controller_mutation_rate", None)

    assert (unknown.results[0].error_code, unknown.throttle_time_ms) == (codes.UNKNOWN_TOPIC_OR_PARTITION, 0)
    assert (first.topics[0].error_code, first.throttle_time_ms) == (codes.NONE, 0)
    assert second.topics[0].error_code == codes.THROTTLING_QUOTA_EXCEEDED
    assert 0 < second.throttle_time_ms <= 89_000


def test_who_has_used_too_much_of_the_brokers_time_waits_a_second_at_most(
    client: RawClient, bootstrap: str, broker_id: int
) -> None:
    """However far above the quota: a member of a group that waited longer would lose its place."""
    client_id = f"busy-{os.urandom(4).hex()}"
    host, _, port = bootstrap.rpartition(":")
    resource = describe.DescribeConfigsResource(
        resource_type=BROKER, resource_name=str(broker_id), configuration_keys=None
    )
    set_quota(client, client_id, "request_percentage", 0.0001)
    with RawClient(int(port), host) as busy:
        request = describe.DescribeConfigsRequest(resources=[resource])
        busy.socket.sendall(busy.frame(request, 4, client_id))
        throttle_ms = busy.receive().throttle_time_ms
    set_quota(client, client_id, "request_percentage", None)

    assert 0 < throttle_ms <= 1_000


@pytest.mark.parametrize(
    ("name", "level", "words"),
    [
        ("no.such.feature", 1, "Local controller "),
        ("no.such.feature", 0, "Feature no.such.feature not found."),
        ("transaction.version", 9, "Local controller "),
        ("metadata.version", 0, "Local controller "),
        ("transaction.version", -1, "A feature version cannot be less than 0."),
    ],
)
def test_a_level_that_no_feature_has_fails_the_whole_update(
    client: RawClient, name: str, level: int, words: str
) -> None:
    update = FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=1)
    request = UpdateFeaturesRequest(feature_updates=[update], timeout_ms=TIMEOUT_MS, validate_only=True)
    answer = client.call(request, 2)
    assert answer.error_code == codes.INVALID_UPDATE_VERSION
    assert answer.error_message.startswith(
        "The update failed for all features since the following feature had an error: "
        f"Invalid update version {level} for feature {name}. {words}"
    )
