"""Consumer groups of the classic protocol with real clients: rebalances, static members, offsets, restarts."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance import kafka_dump, members
from tests.conformance.conftest import BROKER_SETTINGS, NewTopicName
from tests.conformance.group_members import Members, share
from tests.support.broker_process import BrokerProcess

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka
    from kafka.structs import OffsetAndMetadata

CLIENTS = ("confluent", "kafka-python", "aiokafka")
PARTITIONS = 4
SECONDS, JAVA_SECONDS = 90, 120

pytestmark = pytest.mark.timeout(400)


def produce(bootstrap: str, topic: str, count: int) -> None:
    """`count` records, spread evenly over the partitions."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for number in range(count):
        producer.produce(topic, str(number), partition=number % PARTITIONS)
    assert producer.flush(SECONDS) == 0


def places(count: int, start: int = 0) -> set[tuple[int, int]]:
    """(partition, offset) of records from `start` on, when `produce` made them."""
    return {(number % PARTITIONS, number // PARTITIONS) for number in range(start, start + count)}


@pytest.fixture
def topic(new_topic: NewTopicName) -> str:
    return new_topic("groups", partitions=PARTITIONS)


@pytest.fixture
def group(topic: str) -> str:
    return f"group-of-{topic}"


@pytest.mark.parametrize("client", CLIENTS)
def test_members_share_partitions_as_they_come_and_go_and_die(
    bootstrap: str, topic: str, group: str, client: str
) -> None:
    with Members(bootstrap, topic) as group_members:
        first = group_members.start(client, group)
        group_members.until(lambda: share([first], PARTITIONS))
        second = group_members.start(client, group)
        third = group_members.start(client, group)
        group_members.until(lambda: share([first, second, third], PARTITIONS))
        third.close()
        group_members.until(lambda: share([first, second], PARTITIONS))
        produce(bootstrap, topic, 40)
        group_members.until(lambda: {*first.read, *second.read} == places(40))
        second.kill()
        group_members.until(lambda: share([first], PARTITIONS))
        produce(bootstrap, topic, 20)
        group_members.until(lambda: places(20, start=40) <= set(first.read))
        assert len(first.read) + len(second.read) == 60, "a committed record was read twice"


def test_members_of_several_clients_share_one_group(bootstrap: str, topic: str, group: str) -> None:
    with Members(bootstrap, topic) as group_members:
        everybody = [group_members.start(client, group) for client in CLIENTS]
        group_members.until(lambda: share(everybody, PARTITIONS))
        produce(bootstrap, topic, 40)
        group_members.until(lambda: {place for member in everybody for place in member.read} == places(40))


def test_cooperative_members_keep_what_they_do_not_give_up(bootstrap: str, topic: str, group: str) -> None:
    with Members(bootstrap, topic) as group_members:
        first = group_members.start("confluent", group, strategy="cooperative-sticky")
        group_members.until(lambda: share([first], PARTITIONS))
        second = group_members.start("confluent", group, strategy="cooperative-sticky")
        group_members.until(lambda: share([first, second], PARTITIONS))
        assert len(first.assigned) == len(second.assigned) == PARTITIONS // 2
        second.kill()
        group_members.until(lambda: share([first], PARTITIONS))


@pytest.mark.parametrize("client", ["confluent", "kafka-python"])
def test_a_static_member_that_starts_anew_gets_its_partitions_back_without_a_rebalance(
    bootstrap: str, topic: str, group: str, client: str
) -> None:
    long = {"session_timeout_ms": 60_000}
    with Members(bootstrap, topic) as group_members:
        first = group_members.start(client, group, instance_id="one", **long)
        second = group_members.start(client, group, instance_id="two", **long)
        group_members.until(lambda: share([first, second], PARTITIONS))
        had, rebalances = second.assigned, first.assignments
        second.kill()
        again = group_members.start(client, group, instance_id="two", **long)
        group_members.until(lambda: bool(again.assigned))
        assert (again.assigned, first.assignments) == (had, rebalances)


def test_a_second_member_of_the_same_instance_id_fences_the_first(bootstrap: str, topic: str, group: str) -> None:
    with Members(bootstrap, topic) as group_members:
        first = group_members.start("confluent", group, instance_id="one")
        group_members.until(lambda: share([first], PARTITIONS))
        second = group_members.start("confluent", group, instance_id="one")
        group_members.until(lambda: first.error is not None)
        group_members.until(lambda: share([second], PARTITIONS))
        assert "fenced" in str(first.error).lower()


JAVA_ASSIGNORS = "org.apache.kafka.clients.consumer."


@pytest.mark.parametrize("assignor", ["RangeAssignor", "CooperativeStickyAssignor"])
def test_members_of_the_java_client_share_partitions_and_take_over(
    bootstrap: str, topic: str, group: str, assignor: str
) -> None:
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "group.protocol": "classic",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": "false",
        "session.timeout.ms": "6000",
        "heartbeat.interval.ms": "300",
        "partition.assignment.strategy": JAVA_ASSIGNORS + assignor,
    }
    everything = {(topic, partition) for partition in range(PARTITIONS)}
    with ExitStack() as stack:
        first, second = (stack.enter_context(members.java_member(topic, settings)) for _ in range(2))
        members.wait_until([first, second], lambda: members.share([first, second], everything), JAVA_SECONDS, "shares")
        produce(bootstrap, topic, 40)
        members.wait_until([first, second], lambda: len({*first.read, *second.read}) == 40, JAVA_SECONDS, "all is read")
        second.kill()
        members.wait_until([first], lambda: first.assigned == everything, JAVA_SECONDS, "one has all")
        produce(bootstrap, topic, 20)
        # what the killed one had read and not committed yet is read again
        members.wait_until([first], lambda: len({*first.read, *second.read}) == 60, JAVA_SECONDS, "the rest is read")
        assert first.errors == second.errors == []


def test_groups_are_listed_described_emptied_and_deleted(
    bootstrap: str, admin: AdminClient, topic: str, group: str
) -> None:
    with Members(bootstrap, topic) as group_members:
        first = group_members.start("confluent", group, instance_id="one")
        group_members.until(lambda: share([first], PARTITIONS))
        produce(bootstrap, topic, 8)
        group_members.until(lambda: set(first.read) == places(8))
        listed = {found.group_id: found for found in admin.list_consumer_groups().result(SECONDS).valid}
        assert (listed[group].state.name, listed[group].type.name) == ("STABLE", "CLASSIC")
        described = admin.describe_consumer_groups([group])[group].result(SECONDS)
        (member,) = described.members
        assert (member.group_instance_id, member.host) == ("one", "/127.0.0.1")
        assert [p.partition for p in member.assignment.topic_partitions] == [0, 1, 2, 3]
        asked = [ConsumerGroupTopicPartitions(group)]
        committed = admin.list_consumer_group_offsets(asked)[group].result(SECONDS).topic_partitions
        assert sorted((p.partition, p.offset) for p in committed) == [(p, 2) for p in range(PARTITIONS)]
        with pytest.raises(confluent_kafka.KafkaException, match="not empty"):
            admin.delete_consumer_groups([group])[group].result(SECONDS)
        first.close()
    # a static member stays when its consumer is closed; an administrator takes it out, or its session ends
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        other = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
        other.remove_group_members(group, [kafka.admin.MemberToRemove(group_instance_id="one")])
        other.close()
    altered = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 1, 7)])]
    admin.alter_consumer_group_offsets(altered)[group].result(SECONDS)
    committed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(SECONDS)
    assert {p.partition: p.offset for p in committed.topic_partitions}[1] == 7
    admin.delete_consumer_groups([group])[group].result(SECONDS)
    assert group not in {found.group_id for found in admin.list_consumer_groups().result(SECONDS).valid}


# restarts of our own broker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    if os.environ.get("PYSTREAM_TEST_BOOTSTRAP"):
        pytest.skip("restarts the broker: needs one of our own")
    settings = {**BROKER_SETTINGS, "group.initial.rebalance.delay.ms": "100"}
    with BrokerProcess(tmp_path / "data", settings) as process:
        yield process


def create(broker: BrokerProcess, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(SECONDS)


def restart(broker: BrokerProcess, how: str) -> None:
    if how == "kill -9":
        broker.kill()
    else:
        assert broker.terminate() == 0
    broker.start()


@pytest.mark.parametrize("how", ["stop", "kill -9"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_group_goes_on_where_it_was_after_the_broker_has_restarted(
    broker: BrokerProcess, client: str, how: str
) -> None:
    create(broker, "topic")
    with Members(broker.bootstrap, "topic") as group_members:
        first = group_members.start(client, "group")
        second = group_members.start(client, "group")
        group_members.until(lambda: share([first, second], PARTITIONS))
        produce(broker.bootstrap, "topic", 40)
        group_members.until(lambda: {*first.read, *second.read} == places(40))
        restart(broker, how)
        produce(broker.bootstrap, "topic", 40)
        group_members.until(lambda: places(40, start=40) <= {*first.read, *second.read})
        group_members.until(lambda: share([first, second], PARTITIONS))
        assert len(first.read) + len(second.read) == 80, "a committed record was read twice"


@pytest.mark.parametrize("how", ["stop", "kill -9"])
def test_committed_offsets_metadata_and_leader_epochs_survive_restarts(broker: BrokerProcess, how: str) -> None:
    create(broker, "topic")
    produce(broker.bootstrap, "topic", 40)
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": "group", "enable.auto.commit": False}
    consumer = confluent_kafka.Consumer(settings)
    given = TopicPartition("topic", 0, 7, "of confluent", 0)
    consumer.commit(offsets=[given], asynchronous=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        other = kafka.KafkaConsumer(bootstrap_servers=broker.bootstrap, group_id="group", enable_auto_commit=False)
        place = kafka.TopicPartition("topic", 1)
        other.assign([place])
        other.commit({place: OffsetAndMetadata(9, "of kafka-python", 0)})
        other.close()
    restart(broker, how)
    found = consumer.committed([TopicPartition("topic", p) for p in range(3)], timeout=SECONDS)
    consumer.close()
    assert [(p.offset, p.metadata, p.leader_epoch) for p in found[:2]] == [
        (7, "of confluent", 0),
        (9, "of kafka-python", 0),
    ]
    assert found[2].offset == confluent_kafka.OFFSET_INVALID


def test_kafkas_own_tool_reads_what_groups_have_written(broker: BrokerProcess) -> None:
    create(broker, "topic")
    with Members(broker.bootstrap, "topic") as group_members:
        first = group_members.start("confluent", "group", instance_id="one")
        group_members.until(lambda: share([first], PARTITIONS))
        produce(broker.bootstrap, "topic", 4)
        group_members.until(lambda: set(first.read) == places(4))
    assert broker.terminate() == 0
    segments = [path for path in broker.data_dir.rglob("__consumer_offsets-*/*.log") if path.stat().st_size]
    dumped = kafka_dump.run("--offsets-decoder", files=segments)
    keys = re.findall(r"key: (\{.*?\}) payload: (\{.*\})", dumped)
    decoded = [(json.loads(key), json.loads(value)) for key, value in keys]
    offsets = [(key["data"]["partition"], value["data"]["offset"]) for key, value in decoded if key["type"] == "1"]
    assert {place for place in offsets if place[1] == 1} == {(partition, 1) for partition in range(PARTITIONS)}
    groups = [value["data"] for key, value in decoded if key == {"type": "2", "data": {"group": "group"}}]
    assert [(group["generation"], group["protocolType"]) for group in groups][:1] == [(0, "")]
    stable = groups[-1]
    assert (stable["generation"], stable["protocol"], stable["leader"]) == (
        1,
        "range",
        stable["members"][0]["memberId"],
    )
    assert stable["members"][0]["groupInstanceId"] == "one"
