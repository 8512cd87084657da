"""Consumer groups of the new protocol (KIP-848) with librdkafka and the Java client: shares, take-over, migration.

The tests that need short time-outs or restart the broker run on one of our own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from tests.conformance.members import MemberProcess, Partition, confluent_member, java_member, share, wait_until
from tests.support.broker_process import BrokerProcess

SETTINGS = {
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "500",
    # Both first members belong in one round: in a second one librdkafka's cooperative-sticky leader gives assignments
    # user data, and no group with such is upgraded, here or by Kafka.
    "group.initial.rebalance.delay.ms": "3000",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
}
PARTITIONS = 6
SECONDS = 120
CLIENTS: dict[str, Callable[[str, dict[str, str]], MemberProcess]] = {
    "librdkafka": confluent_member,
    "java": java_member,
}
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif("PYSTREAM_TEST_BOOTSTRAP" in os.environ, reason="runs on a broker of its own"),
]


class Rig:
    """A broker, and groups of member processes that end with the test."""

    def __init__(self, broker: BrokerProcess, stack: ExitStack) -> None:
        self.broker = broker
        self.stack = stack
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        self._names = (f"{os.urandom(3).hex()}-{n}" for n in itertools.count())

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._names)}"

    def topic(self, stem: str = "topic", partitions: int = PARTITIONS) -> str:
        return self.create(self.name(stem), partitions)

    def create(self, name: str, partitions: int) -> str:
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1)
        self.admin.create_topics([topic])[name].result(SECONDS)
        return name

    def produce(self, topic: str, each: int, partitions: int = PARTITIONS) -> None:
        """`each` records to every partition."""
        failures: list[object] = []
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        for partition in range(partitions):
            for n in range(each):
                producer.produce(
                    topic, b"%d" % n, partition=partition, on_delivery=lambda error, _: error and failures.append(error)
                )
        assert producer.flush(SECONDS) == 0
        assert failures == []

    def member(self, client: str, topic: str, group: str, protocol: str = "consumer", **more: str) -> MemberProcess:
        settings = {
            "bootstrap.servers": self.broker.bootstrap,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": "false",
            **{key.replace("_", "."): value for key, value in more.items()},
        }
        if protocol == "classic":
            settings |= {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}
            if client == "librdkafka":
                settings["partition.assignment.strategy"] = "cooperative-sticky"
            else:
                strategy = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
                settings["partition.assignment.strategy"] = strategy
        if client == "librdkafka":
            settings["topic.metadata.refresh.interval.ms"] = "1000"
        return self.stack.enter_context(CLIENTS[client](topic, settings))

    def group_of_long_sessions(self) -> str:
        """A group's name; its members may be away for a minute."""
        group = self.name("group")
        entry = ConfigEntry("consumer.session.timeout.ms", "60000", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(SECONDS)
        return group

    def group_type(self, group: str) -> str:
        listed = self.admin.list_consumer_groups(request_timeout=SECONDS).result()
        return next(str(found.type) for found in listed.valid if found.group_id == group)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with BrokerProcess(tmp_path / "data", SETTINGS) as broker, ExitStack() as stack:
        yield Rig(broker, stack)


def partitions(topic: str, count: int = PARTITIONS) -> set[Partition]:
    return {(topic, index) for index in range(count)}


def read(members: list[MemberProcess], topic: str) -> dict[int, set[int]]:
    """The offsets of each partition that members have read, all together."""
    found: dict[int, set[int]] = {}
    for member in members:
        for name, partition, offset in member.read:
            if name == topic:
                found.setdefault(partition, set()).add(offset)
    return found


def everything(topic: str, each: int) -> dict[int, set[int]]:
    return {partition: set(range(each)) for partition in range(PARTITIONS)}


@pytest.mark.parametrize("client", CLIENTS)
def test_members_share_a_topic_and_take_over_from_one_that_is_killed(rig, client):
    topic, group = rig.topic(), rig.name("group")
    rig.produce(topic, 20)
    members = [rig.member(client, topic, group) for _ in range(3)]
    wait_until(members, lambda: share(members, partitions(topic)), SECONDS, "three members share")
    killed, *left = members
    killed.kill()
    wait_until(left, lambda: share(left, partitions(topic)), SECONDS, "two members share")
    rig.produce(topic, 20)
    wait_until(left, lambda: read(members, topic) == everything(topic, 40), SECONDS, "everything is read")
    left[0].leave()
    wait_until(left[1:], lambda: left[1].assigned == partitions(topic), SECONDS, "one member has all")
    assert [member.errors for member in members] == [[], [], []]


def test_a_group_goes_on_where_it_has_committed(rig):
    topic, group = rig.topic(), rig.name("group")
    rig.produce(topic, 10)
    first = rig.member("librdkafka", topic, group)
    wait_until([first], lambda: read([first], topic) == everything(topic, 10), SECONDS, "the first has read")
    first.leave()
    rig.produce(topic, 5)
    second = rig.member("java", topic, group)
    new = {partition: set(range(10, 15)) for partition in range(PARTITIONS)}
    wait_until([second], lambda: len(second.read) >= 5 * PARTITIONS, SECONDS, "the second has read")
    assert read([second], topic) == new


@pytest.mark.parametrize("client", CLIENTS)
def test_a_regular_expression_finds_topics_that_come_later(rig, client):
    stem, group = rig.name("some"), rig.name("group")
    first = rig.create(f"{stem}-1", 2)
    rig.topic("other")
    member = rig.member(client, f"^{stem}-.*", group)
    wait_until([member], lambda: member.assigned == partitions(first, 2), SECONDS, "the first topic is assigned")
    later = rig.create(f"{stem}-2", 3)
    both = partitions(first, 2) | partitions(later, 3)
    wait_until([member], lambda: member.assigned == both, SECONDS, "the later topic is assigned")


@pytest.mark.parametrize("client", CLIENTS)
def test_members_outlive_a_broker_that_is_killed(rig, client):
    topic, group = rig.topic(), rig.name("group")
    rig.produce(topic, 10)
    members = [rig.member(client, topic, group) for _ in range(2)]
    wait_until(members, lambda: share(members, partitions(topic)), SECONDS, "both share")
    wait_until(members, lambda: read(members, topic) == everything(topic, 10), SECONDS, "everything is read")
    shares = [set(member.assigned) for member in members]
    rig.broker.kill()
    rig.broker.start()
    rig.produce(topic, 10)
    wait_until(members, lambda: read(members, topic) == everything(topic, 20), SECONDS, "what came later is read")
    assert [member.assigned for member in members] == shares
    assert all(count == 1 for member in members for count in member.read.values())


@pytest.mark.parametrize(("old", "new"), [("librdkafka", "java"), ("java", "librdkafka")])
def test_a_group_is_migrated_and_back_member_by_member(rig, old, new):
    topic, group = rig.topic(), rig.name("group")
    rig.produce(topic, 10)
    everybody: list[MemberProcess] = []

    def start(client: str, protocol: str) -> MemberProcess:
        everybody.append(rig.member(client, topic, group, protocol))
        return everybody[-1]

    def shared(members: list[MemberProcess], what: str) -> None:
        wait_until(members, lambda: share(members, partitions(topic)), SECONDS, what)

    classic = [start(old, "classic"), start(old, "classic")]
    shared(classic, "classic members share")
    assert "CLASSIC" in rig.group_type(group)
    first = start(new, "consumer")
    shared([*classic, first], "a member of the new protocol shares with classic ones")
    assert "CONSUMER" in rig.group_type(group)
    classic[0].leave()
    second = start(new, "consumer")
    shared([classic[1], first, second], "two of each")
    classic[1].leave()
    shared([first, second], "only new ones")
    rig.produce(topic, 10)
    back = start(old, "classic")
    shared([first, second, back], "a classic one comes back")
    first.leave()
    shared([second, back], "one of each")
    second.leave()
    shared([back], "only a classic one")
    assert "CLASSIC" in rig.group_type(group)
    rig.produce(topic, 10)
    wait_until([back], lambda: read(everybody, topic) == everything(topic, 30), SECONDS, "everything is read")
    assert [member.errors for member in everybody] == [[]] * len(everybody)


def test_a_static_member_that_comes_back_has_what_it_had(rig):
    topic, group = rig.topic(), rig.group_of_long_sessions()
    members = [rig.member("librdkafka", topic, group, group_instance_id=f"i{n}") for n in range(2)]
    wait_until(members, lambda: share(members, partitions(topic)), SECONDS, "both share")
    had = set(members[1].assigned)
    members[1].leave()
    again = rig.member("librdkafka", topic, group, group_instance_id="i1")
    wait_until([members[0], again], lambda: again.assigned == had, SECONDS, "it has what it had")
    assert members[0].assigned == partitions(topic) - had


def test_the_group_is_described(rig):
    topic, group = rig.topic(), rig.name("group")
    member = rig.member("librdkafka", topic, group, client_id="somebody")
    wait_until([member], lambda: member.assigned == partitions(topic), SECONDS, "it has all")
    described = rig.admin.describe_consumer_groups([group], request_timeout=SECONDS)[group].result()
    assert (described.type.name, described.state.name) == ("CONSUMER", "STABLE")
    assert described.partition_assignor == "uniform"
    (found,) = described.members
    assert found.client_id == "somebody"
    assert {(p.topic, p.partition) for p in found.assignment.topic_partitions} == partitions(topic)
    assert {(p.topic, p.partition) for p in found.target_assignment.topic_partitions} == partitions(topic)
