"""Every method of every service against a broker, and what it gives."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import pystream
from pystream.client.grpc import connect, messages
from pystream.client.grpc.calls import Service
from pystream.client.grpc.faces import Admin
from pystream.client.grpc.status import InvalidFields, error_of
from pystream.common.errors import (
    GroupIdNotFound,
    InvalidReplicaAssignment,
    InvalidRequest,
    NetworkFailure,
    NonEmptyGroup,
    SecurityDisabled,
    TransactionalIdNotFound,
    UnknownTopicOrPartition,
)
from tests.integration.services.conftest import fresh
from tests.support.admin_process import AdminProcess
from tests.support.broker_process import BrokerProcess

NAMES: Final = {  # of fields that must be there; None for a name that nobody has
    **dict.fromkeys(("topic", "topics", "group", "groups", "transactional_ids", "names", "name")),
    "type": "topics",
    "before": "1",
    "to": "start",
    "resource": "topic",
    "principal": "User:nobody",
    "operation": "read",
}


@pytest.fixture
def topic(admin: Admin) -> str:
    """A topic with two partitions, known to the cluster."""
    name = fresh("topic")
    admin.topics.create_topics(topics=[name], partitions=2)
    return name


@pytest.fixture
def group(admin: Admin, broker: BrokerProcess, topic: str) -> str:
    """A group without members that has read 2 of 5 records of partition 0."""
    admin.records.produce_records(topic=topic, records=[{"value": {"text": str(n)}, "partition": 0} for n in range(5)])
    name = fresh("group")
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": name})
    consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    consumer.close()
    return name


# --- topics -----------------------------------------------------------------------------------------------------------


def test_topics_are_created_listed_described_and_deleted(admin: Admin):
    name = fresh("orders")

    created = admin.topics.create_topics(topics=[name], partitions=3, config={"retention.ms": "1000"})
    (listed,) = admin.topics.list_topics(pattern=name).results
    (described,) = admin.topics.describe_topics(topics=[name], offsets=True).results
    deleted = admin.topics.delete_topics(topics=[name])

    assert [(each.name, each.partitions) for each in created.results] == [(name, 3)]
    assert (listed.name, listed.partitions, listed.topic_id) == (name, 3, created.results[0].topic_id)
    assert described.configs["retention.ms"].value == "1000"
    assert [(each.partition, each.leader, each.end_offset) for each in described.partitions] == [
        (0, 1, 0),
        (1, 1, 0),
        (2, 1, 0),
    ]
    assert [each.change for each in deleted.results] == ["deleted"]
    assert list(admin.topics.list_topics(pattern=name).results) == []


def test_an_item_that_fails_does_not_keep_the_others_from_being_done(admin: Admin, topic: str):
    other = fresh("other")

    answer = admin.topics.create_topics(topics=[topic, other])

    assert [each.name for each in answer.results] == [other]
    assert [(each.item, each.error.code) for each in answer.failures] == [(topic, 6)]


def test_a_dry_run_changes_nothing(admin: Admin, topic: str):
    name = fresh("dry")

    assert admin.topics.create_topics(topics=[name], dry_run=True).results[0].name == name
    assert admin.topics.delete_topics(topics=[topic], dry_run=True).results[0].change == "would be deleted"

    names = [each.name for each in admin.topics.list_topics().results]
    assert topic in names
    assert name not in names


def test_settings_and_partitions_of_a_topic_are_changed(admin: Admin, topic: str):
    admin.topics.alter_topics(topics=[topic], set={"retention.ms": "5"})
    admin.topics.add_partitions(topics=[topic], total=4)

    (described,) = admin.topics.describe_topics(topics=[topic]).results
    assert (described.configs["retention.ms"].value, len(described.partitions)) == ("5", 4)
    with pytest.raises(InvalidRequest):
        admin.topics.add_partitions(topics=[topic], total=9, add=1)


def test_a_topic_is_trimmed(admin: Admin, topic: str, group: str):
    answer = admin.topics.trim_topic(topic=topic, before="3", partition=[0])

    assert [(each.first_offset, each.start_offset, each.end_offset) for each in answer.results] == [(0, 3, 5)]


def test_a_list_comes_in_pages(admin: Admin):
    stem = fresh("paged")
    admin.topics.create_topics(topics=[f"{stem}-{number}" for number in range(5)])
    names, token, pages = [], "", 0

    while pages == 0 or token:
        page = admin.topics.list_topics(pattern=f"{stem}-.*", page_size=2, page_token=token)
        names += [each.name for each in page.results]
        token, pages = page.next_page_token, pages + 1

    assert (names, pages) == ([f"{stem}-{number}" for number in range(5)], 3)


def test_a_watch_tells_of_topics_that_come(admin: Admin):
    name = fresh("watched")

    with admin.topics.watch_topics(pattern=name, interval_ms=100, timeout=60) as watch:
        assert list(next(watch).results) == []
        admin.topics.create_topics(topics=[name])
        assert [each.name for each in next(watch).results] == [name]


# --- partitions -------------------------------------------------------------------------------------------------------


def test_partitions_are_listed_in_pages_and_stay_where_they_are(admin: Admin, topic: str):
    first = admin.partitions.list_partitions(topics=[topic], offsets=True, page_size=1)
    second = admin.partitions.list_partitions(topics=[topic], page_size=1, page_token=first.next_page_token)
    elected = admin.partitions.elect_leaders(topics=[topic])
    moved = admin.partitions.reassign_partitions(topics=[f"{topic}:0"], replicas=[7])

    assert [(each.partition, each.leader, each.end_offset) for each in first.results] == [(0, 1, 0)]
    assert [(each.partition, each.HasField("end_offset")) for each in second.results] == [(1, False)]
    assert second.next_page_token == ""
    assert len(elected.results) == 2
    assert isinstance(error_of(moved.failures[0].error), InvalidReplicaAssignment)
    assert list(admin.partitions.list_reassignments(topics=[topic]).results) == []


# --- configs ----------------------------------------------------------------------------------------------------------


def test_settings_are_described_and_altered(admin: Admin, topic: str):
    altered = admin.configs.alter_configs(type="topics", names=[topic], set={"retention.ms": "77"})
    described = admin.configs.describe_configs(type="topics", names=[topic], key=["retention.ms"])

    assert [each.change for each in altered.results] == ["set retention.ms=77"]
    assert [(each.name, each.value, each.source) for each in described.results] == [
        ("retention.ms", "77", "DYNAMIC_TOPIC_CONFIG")
    ]
    assert len(admin.configs.describe_configs(type="brokers", names=["1"], all=True).results) > 50


# --- groups -----------------------------------------------------------------------------------------------------------


def test_a_group_is_listed_and_described_with_its_lag(admin: Admin, topic: str, group: str):
    (listed,) = admin.groups.list_groups(pattern=group).results
    (described,) = admin.groups.describe_groups(groups=[group]).results

    assert (listed.group, listed.state) == (group, "Empty")
    assert [(each.topic, each.partition, each.committed_offset, each.lag) for each in described.partitions] == [
        (topic, 0, 2, 3)
    ]


def test_a_watch_tells_of_lag_that_grows(admin: Admin, topic: str, group: str):
    with admin.groups.watch_groups(groups=[group], interval_ms=100, timeout=60) as watch:
        assert next(watch).results[0].partitions[0].lag == 3
        admin.records.produce_records(topic=topic, records=[{"value": {"text": "6"}, "partition": 0}])
        assert next(watch).results[0].partitions[0].lag == 4


def test_offsets_of_a_group_are_reset_and_deleted(admin: Admin, topic: str, group: str):
    reset = admin.groups.reset_offsets(group=group, to="end")
    deleted = admin.groups.delete_offsets(group=group, topic=[topic])

    assert [(each.committed_offset, each.new_offset) for each in reset.results] == [(2, 5)]
    assert [each.name for each in deleted.results] == [f"{topic}-0"]


def test_groups_are_deleted(admin: Admin, group: str):
    answer = admin.groups.delete_groups(groups=[group, fresh("nobody")])

    assert [each.name for each in answer.results] == [group]
    assert [each.error.code for each in answer.failures] == [5]
    with pytest.raises(GroupIdNotFound):
        admin.groups.reset_offsets(group=group, to="start")


def test_a_group_with_members_cannot_be_deleted(admin: Admin, broker: BrokerProcess, topic: str):
    name = fresh("busy")
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": name})
    assigned: list[Any] = []
    consumer.subscribe([topic], on_assign=lambda _, partitions: assigned.append(partitions))
    while not assigned:
        consumer.poll(1)

    (failure,) = admin.groups.delete_groups(groups=[name]).failures
    consumer.close()

    assert isinstance(error_of(failure.error), NonEmptyGroup)


# --- cluster ----------------------------------------------------------------------------------------------------------


def test_the_cluster_is_described(admin: Admin, topic: str):
    cluster = admin.cluster.describe_cluster().result
    (broker,) = admin.cluster.list_brokers().results

    assert (cluster.brokers, cluster.controller, cluster.offline_partitions) == (1, 1, 0)
    assert cluster.topics >= 1
    assert (broker.broker, broker.controller) == (1, True)
    assert "metadata.version" in [each.feature for each in admin.cluster.list_features().results]
    assert [each.role for each in admin.cluster.describe_quorum().results] == ["leader"]


def test_a_watch_of_the_cluster_tells_of_topics_that_come(admin: Admin):
    with admin.cluster.watch_cluster(interval_ms=100, timeout=60) as watch:
        before = next(watch).result.topics
        admin.topics.create_topics(topics=[fresh("more")])
        assert next(watch).result.topics > before


def test_log_directories_show_what_lies_in_them(admin: Admin, topic: str):
    (directory,) = admin.cluster.describe_log_dirs(broker=[1], topic=[topic]).results

    assert [(each.topic, each.partition) for each in directory.partitions] == [(topic, 0), (topic, 1)]
    assert directory.total_bytes > 0


# --- quotas, ACLs, transactions ---------------------------------------------------------------------------------------


def test_quotas_are_set_and_described(admin: Admin):
    user = fresh("user")

    admin.quotas.alter_quota(entity={"user": user}, set={"producer_byte_rate": "1024"})
    (quota,) = admin.quotas.describe_quotas(entity={"user": user}, strict=True).results

    assert (quota.quotas["producer_byte_rate"], quota.parts["user"].value) == (1024.0, user)


def test_a_broker_without_an_authorizer_says_so_of_access_control_lists(admin: Admin):
    name = fresh("secret")

    made = admin.acls.create_acls(resource="topic", name=name, principal=["User:a"], operation=["read", "describe"])
    with pytest.raises(SecurityDisabled):
        admin.acls.list_acls(resource="topic", name=name)
    with pytest.raises(SecurityDisabled):
        admin.acls.delete_acls(resource="topic", name=name)

    assert list(made.results) == []
    assert [error_of(each.error).name for each in made.failures] == ["SECURITY_DISABLED"] * 2


def test_transactions_are_listed_described_and_aborted(admin: Admin, broker: BrokerProcess, topic: str):
    name = fresh("payments")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"1", partition=0)
    producer.flush(30)

    (listed,) = admin.transactions.list_transactions(pattern=name).results
    (described,) = admin.transactions.describe_transactions(transactional_ids=[name]).results
    aborted = admin.transactions.abort_transactions(transactional_ids=[name])

    assert (listed.transactional_id, listed.state) == (name, "Ongoing")
    assert list(described.partitions) == [f"{topic}-0"]
    assert [each.change for each in aborted.results] == ["aborted"]
    (failure,) = admin.transactions.describe_transactions(transactional_ids=[fresh("none")]).failures
    assert isinstance(error_of(failure.error), TransactionalIdNotFound)


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_count_calls(admin: Admin):
    admin.topics.list_topics()

    (metric,) = admin.metrics.list_metrics(pattern="pystream_admin_calls_total").results

    counted = {sample.labels["method"]: sample.value for sample in metric.samples if sample.labels["code"] == "OK"}
    assert counted["TopicService/ListTopics"] >= 1
    names = [each.name for each in admin.metrics.list_metrics(pattern="kafka_admin_client_.*").results]
    assert "kafka_admin_client_request_total" in names
    with pytest.raises(InvalidRequest, match="regular expression"):
        admin.metrics.list_metrics(pattern="(")


def test_metrics_of_brokers_are_told_beside_our_own(broker: BrokerProcess, tmp_path: Path):
    """A source that does not answer takes nothing from the others."""
    here, gone = f"{broker.metrics_url}/metrics", "http://127.0.0.1:1/metrics"
    with (
        AdminProcess(broker.bootstrap, tmp_path / "log", {"metrics.sources": f"{here},{gone}"}) as server,
        connect(server.address) as admin,
    ):
        told = admin.metrics.list_metrics(pattern="kafka_network_requestmetrics_totaltimems|pystream_admin_streams")
        only = admin.metrics.list_metrics(source=here)

        assert {(each.name, each.source) for each in told.results} == {
            ("kafka_network_requestmetrics_totaltimems", here),
            ("pystream_admin_streams", "admin"),
        }
        (histogram,) = (each for each in told.results if each.source == here)
        assert {"_bucket", "_sum", "_count"} == {sample.suffix for sample in histogram.samples}
        (failure,) = told.failures
        assert failure.item == gone
        assert isinstance(error_of(failure.error), NetworkFailure)
        assert {each.source for each in only.results} == {here}
        assert len(only.results) > 20
        with pytest.raises(InvalidFields, match="none of admin, http"):
            admin.metrics.list_metrics(source="http://example.org/")


# --- all of them ------------------------------------------------------------------------------------------------------


def test_errors_of_a_whole_call_are_those_of_the_tree(admin: Admin, topic: str):
    with pytest.raises(UnknownTopicOrPartition):
        admin.topics.trim_topic(topic=fresh("nowhere"), before="1")
    with pytest.raises(InvalidRequest, match="topics: required"):
        admin.topics.create_topics()


def methods() -> list[tuple[str, Any]]:
    """(path, descriptor) of every method of our services."""
    return [
        (f"/{service.full_name}/{method.name}", method)
        for each in sorted(Path(messages.__path__[0]).glob("*_pb2.py"))
        for service in import_module(f"{messages.__name__}.{each.stem}").DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


def test_the_client_has_every_method_and_no_other(admin: Admin):
    offered = {
        f"/pystream.admin.v1.{type(service).__name__}/{''.join(part.capitalize() for part in name.split('_'))}"
        for service in vars(admin).values()
        if isinstance(service, Service)
        for name in vars(type(service))
        if not name.startswith("_")
    }

    assert offered == {path for path, _ in methods()}


@pytest.mark.parametrize(("path", "method"), methods(), ids=[path.rpartition("v1.")[2] for path, _ in methods()])
def test_every_method_answers_to_names_that_nobody_has(server: AdminProcess, path: str, method: Any):
    """Whatever it is: rows, failures, or a status that says what is wrong, and never a fault of the server."""
    request = method.input_type._concrete_class()
    for field in method.input_type.fields:
        if field.type == field.TYPE_STRING and field.message_type is None and field.name in NAMES:
            value = NAMES[field.name] or fresh("nobody")
            if field.is_repeated:
                getattr(request, field.name).append(value)
            else:
                setattr(request, field.name, value)
        elif field.name == "dry_run":
            request.dry_run = True
    with grpc.insecure_channel(server.address) as channel:
        stream = channel.unary_stream(path)(request.SerializeToString(), timeout=30)
        try:
            next(stream)
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        stream.cancel()

    expected = {"OK", "NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"}
    assert code.name in expected


# --- groups of other kinds --------------------------------------------------------------------------------------------


def test_a_share_group_is_described_reset_and_deleted(admin: Admin, broker: BrokerProcess, topic: str):
    name = fresh("queue")
    admin.configs.alter_configs(type="groups", names=[name], set={"share.auto.offset.reset": "earliest"})
    admin.records.produce_records(topic=topic, records=[{"value": {"text": str(n)}, "partition": 0} for n in range(5)])
    with pystream.ShareConsumer({"bootstrap.servers": broker.bootstrap, "group.id": name}) as consumer:
        consumer.subscribe([topic])
        read = 0
        while read < 5:
            read += len(consumer.poll(1))
        (described,) = admin.share_groups.describe_share_groups(groups=[name]).results

    (listed,) = admin.share_groups.list_share_groups(pattern=name).results
    offsets = admin.share_groups.list_share_group_offsets(groups=[name]).results
    planned = admin.share_groups.reset_share_group_offsets(group=name, topic=[topic], to_earliest=True, dry_run=True)
    deleted = admin.share_groups.delete_share_groups(groups=[name])

    assert len(described.members) == 1
    assert listed.group == name
    assert sorted((each.partition, each.end_offset) for each in offsets) == [(0, 5), (1, 0)]
    assert {each.new_offset for each in planned.results} == {0}
    assert [each.name for each in deleted.results] == [name]
