"""Share groups (KIP-932) with librdkafka and the Java client: all acknowledgements, time-outs, restarts, tools.

kafka-python has no share consumer; librdkafka's cannot renew.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pystream.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from pystream.protocol.messages.share_group_describe import ShareGroupDescribeRequest
from tests.conformance import java
from tests.conformance.share_members import Delivery, JavaShareMember, LibrdkafkaShareMember, ShareMember
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient
from tests.support.raw_share import eventually

LOCK_MS = 6_000  # where a test waits for its end; 30 s elsewhere, longer than what is done under a lock
SETTINGS = {
    "group.share.heartbeat.interval.ms": "200",
    "group.share.min.heartbeat.interval.ms": "100",
    "group.share.min.record.lock.duration.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
}
GROUP_RESOURCE = 32
SECONDS = 90
TOOL_SECONDS = 120
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif("PYSTREAM_TEST_BOOTSTRAP" in os.environ, reason="runs on a broker of its own"),
]


class Rig:
    """A broker, topics and groups of fresh names, records numbered from 0."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.broker = broker
        self._names = itertools.count()
        self._run = os.urandom(3).hex()

    def topic(self, partitions: int = 1) -> str:
        name = f"topic-{self._run}-{next(self._names)}"
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])[name].result(SECONDS)
        return name

    def group(self, **configs: str) -> str:
        """A group's name; it begins with the first record unless told otherwise."""
        name = f"group-{self._run}-{next(self._names)}"
        wanted = {"share.auto.offset.reset": "earliest"} | {k.replace("_", "."): v for k, v in configs.items()}
        resource = AlterConfigsResource(
            resource_type=GROUP_RESOURCE,
            resource_name=name,
            configs=[AlterableConfig(name=key, config_operation=0, value=value) for key, value in wanted.items()],
        )
        with RawClient(self.broker.port) as client:
            (answer,) = client.call(IncrementalAlterConfigsRequest(resources=[resource]), 1).responses
        assert answer.error_code == 0, answer.error_message
        return name

    def produce(self, topic: str, count: int, *, first: int = 0, partition: int = 0, at_a_time: int = 1_000) -> None:
        """`at_a_time`: records of one batch at most."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "linger.ms": 50})
        for number in range(first, first + count):
            producer.produce(topic, str(number), partition=partition)
            if number % at_a_time == at_a_time - 1:
                assert producer.flush(SECONDS) == 0
        assert producer.flush(SECONDS) == 0

    def member(self, group: str, topic: str, client: str = "java", **settings: str) -> ShareMember:
        return CLIENTS[client](self.broker.bootstrap, group, topic, **settings)

    def java_member(self, group: str, topic: str) -> JavaShareMember:
        return JavaShareMember(self.broker.bootstrap, group, topic)

    def tool(self, main: str, *arguments: str) -> str:
        """What one of Kafka's own command line tools prints."""
        command = [*java.command(), "-cp", java.class_path(), main, "--bootstrap-server", self.broker.bootstrap]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def assigned(self, group: str) -> int:
        """How many members have partitions."""
        with RawClient(self.broker.port) as client:
            (described,) = client.call(ShareGroupDescribeRequest(group_ids=[group]), 1).groups
        return sum(len(member.assignment.topic_partitions) > 0 for member in described.members)

    def offsets(self, group: str) -> list[list[str]]:
        """GROUP TOPIC PARTITION START-OFFSET LAG, as kafka-share-groups shows them."""
        printed = self.tool(SHARE_GROUPS, "--describe", "--offsets", "--group", group)
        return [line.split() for line in printed.splitlines() if line.startswith(group)]


CLIENTS: dict[str, Callable[..., ShareMember]] = {"librdkafka": LibrdkafkaShareMember, "java": JavaShareMember}
with_each_client = pytest.mark.parametrize("client", CLIENTS)
SHARE_GROUPS = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
CONSOLE_SHARE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleShareConsumer"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with BrokerProcess(tmp_path_factory.mktemp("share") / "data", SETTINGS) as broker:
        yield Rig(broker)


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [int(delivery.value) for delivery in deliveries]


def drain(member: ShareMember, count: int) -> list[Delivery]:
    """Accept records until there were `count` of them."""
    found: list[Delivery] = []
    while len(found) < count:
        got = member.poll_until()
        member.accept(got)
        found += got
    return found


@with_each_client
def test_accepted_records_are_gone_released_ones_come_back_rejected_ones_do_not(rig: Rig, client: str):
    topic, group = rig.topic(), rig.group()
    rig.produce(topic, 10)
    with rig.member(group, topic, client) as member:
        got = member.poll_until()
        assert numbers(got) == list(range(10))
        assert {delivery.count for delivery in got} == {1}
        member.say("accept", got[:4])
        member.say("release", got[4:7])
        member.say("reject", got[7:])
        assert member.commit() == "0:ok"
        again = member.poll_until()
        assert [(int(delivery.value), delivery.count) for delivery in again] == [(4, 2), (5, 2), (6, 2)]
        member.accept(again)
        assert member.poll() == []
        member.close()
    assert rig.offsets(group) == [[group, topic, "0", "10", "0"]]


@with_each_client
def test_a_record_that_is_released_again_and_again_is_given_up_after_five_deliveries(rig: Rig, client: str):
    topic, group = rig.topic(), rig.group()
    rig.produce(topic, 1)
    with rig.member(group, topic, client) as member:
        for count in range(1, 6):
            (delivery,) = member.poll_until()
            assert delivery.count == count
            member.say("release", [delivery])
            assert member.commit() == "0:ok"
        assert member.poll(2_000) == []
        rig.produce(topic, 1, first=1)
        assert [(d.value, d.count) for d in member.poll_until()] == [("1", 1)]


def test_records_whose_lock_has_run_out_go_to_another_member(rig: Rig):
    topic, group = rig.topic(), rig.group(share_record_lock_duration_ms=str(LOCK_MS))
    rig.produce(topic, 3)
    with rig.member(group, topic) as first, rig.member(group, topic) as second:
        got = first.poll_until()
        assert numbers(got) == [0, 1, 2]
        again = second.poll_until()
        assert [(int(delivery.value), delivery.count) for delivery in again] == [(0, 2), (1, 2), (2, 2)]
        first.say("accept", got)
        assert first.commit() == "0:InvalidRecordStateException"
        second.accept(again)


def test_a_renewed_lock_outlives_its_time(rig: Rig):
    topic, group = rig.topic(), rig.group(share_record_lock_duration_ms=str(LOCK_MS))
    rig.produce(topic, 2)
    with rig.member(group, topic) as first, rig.member(group, topic) as second:
        got = first.poll_until()
        for _ in range(3):
            assert second.poll(LOCK_MS // 2) == []
            first.say("renew", got)
            assert first.commit() == "0:ok"
            got = first.poll()  # the client gives renewed records once more, without asking the broker
            assert [(int(delivery.value), delivery.count) for delivery in got] == [(0, 1), (1, 1)]
        first.accept(got)
    assert rig.offsets(group) == [[group, topic, "0", "2", "0"]]


@pytest.mark.parametrize("other", CLIENTS)
def test_two_members_share_one_partition_and_get_each_record_once(rig: Rig, other: str):
    topic, group = rig.topic(), rig.group()
    settings = {"max_poll_records": "20"}
    with rig.member(group, topic, **settings) as first, rig.member(group, topic, other, **settings) as second:
        eventually(lambda: [*first.poll(), *second.poll(), rig.assigned(group)], lambda found: found == [2])
        rig.produce(topic, 400, at_a_time=10)
        found: dict[str, list[int]] = {"first": [], "second": []}
        while len(found["first"]) + len(found["second"]) < 400:
            for name, member in (("first", first), ("second", second)):
                got = member.poll()
                member.accept(got)
                found[name] += numbers(got)
        assert sorted(found["first"] + found["second"]) == list(range(400))
        assert found["first"], "the first member got nothing"
        assert found["second"], "the second member got nothing"


def test_records_of_a_member_that_is_killed_are_free_at_once(rig: Rig):
    topic, group = rig.topic(), rig.group()
    rig.produce(topic, 5)
    with rig.java_member(group, topic) as first, rig.member(group, topic) as second:
        assert len(first.poll_until()) == 5
        second.poll(100)
        first.kill()
        again = second.poll_until(seconds=20)  # sooner than the lock would end
        assert [(int(delivery.value), delivery.count) for delivery in again] == [(n, 2) for n in range(5)]


@pytest.mark.parametrize("stop", ["terminate", "kill"])
def test_what_was_accepted_stays_away_when_the_broker_restarts(rig: Rig, stop: str):
    topic, group = rig.topic(), rig.group()
    rig.produce(topic, 30)
    with rig.member(group, topic, max_poll_records="10", share_acquire_mode="record_limit") as member:
        got = member.poll_until()
        assert numbers(got) == list(range(10))
        member.say("accept", got[:3])
        member.say("reject", got[3:5])
        member.say("release", got[5:7])
        member.say("accept", got[7:])
        assert member.commit() == "0:ok"
        getattr(rig.broker, stop)()
        rig.broker.start()
        found: list[Delivery] = []
        while len(found) < 22:
            again = member.poll_until()
            member.say("accept", again)
            member.commit()
            found += [delivery for delivery in again if delivery.name not in {known.name for known in found}]
        assert sorted(numbers(found)) == [5, 6, *range(10, 30)]
        assert {delivery.count for delivery in found if int(delivery.value) in (5, 6)} <= {2, 3}
        member.close()


@with_each_client
def test_several_partitions_are_read_by_one_member(rig: Rig, client: str):
    topic, group = rig.topic(3), rig.group()
    for partition in range(3):
        rig.produce(topic, 50, first=50 * partition, partition=partition)
    with rig.member(group, topic, client) as member:
        assert sorted(numbers(drain(member, 150))) == list(range(150))
        member.close()
    assert [row[2:] for row in sorted(rig.offsets(group))] == [[str(n), "50", "0"] for n in range(3)]


@with_each_client
def test_only_committed_records_are_given_out_under_read_committed(rig: Rig, client: str):
    topic, group = rig.topic(), rig.group(share_isolation_level="read_committed")
    producer = Producer({"bootstrap.servers": rig.broker.bootstrap, "transactional.id": topic})
    producer.init_transactions(SECONDS)
    for first, end in (
        (0, producer.commit_transaction),
        (5, producer.abort_transaction),
        (10, producer.commit_transaction),
    ):
        producer.begin_transaction()
        for number in range(first, first + 5):
            producer.produce(topic, str(number))
        producer.flush(SECONDS)
        end(SECONDS)
    with rig.member(group, topic, client) as member:
        assert sorted(numbers(drain(member, 10))) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
        assert member.poll() == []
        member.close()


def test_a_group_that_begins_by_duration_skips_what_is_older(rig: Rig):
    topic, group = rig.topic(), rig.group(share_auto_offset_reset="by_duration:PT1H")
    producer = Producer({"bootstrap.servers": rig.broker.bootstrap})
    now_ms = int(time.time() * 1_000)
    for number, age_ms in enumerate((7_200_000, 7_000_000, 60_000, 0)):
        producer.produce(topic, str(number), timestamp=now_ms - age_ms)
        producer.flush(SECONDS)
    with rig.member(group, topic) as member:
        assert sorted(numbers(drain(member, 2))) == [2, 3]


def test_the_tools_list_describe_reset_and_delete(rig: Rig):
    topic, group = rig.topic(), rig.group()
    rig.produce(topic, 8)
    with rig.member(group, topic) as member:
        drain(member, 8)
        assert group in rig.tool(SHARE_GROUPS, "--list").split()
        assert "Stable" in rig.tool(SHARE_GROUPS, "--describe", "--state", "--group", group)
        assert topic in rig.tool(SHARE_GROUPS, "--describe", "--members", "--verbose", "--group", group)
        member.close()
    reset = ("--reset-offsets", "--to-earliest", "--topic", topic, "--group", group, "--execute")
    rig.tool(SHARE_GROUPS, *reset)
    assert rig.offsets(group) == [[group, topic, "0", "0", "8"]]
    printed = rig.tool(
        CONSOLE_SHARE_CONSUMER, "--topic", topic, "--group", group, "--max-messages", "8", "--timeout-ms", "20000"
    )
    assert sorted(printed.split()) == [str(number) for number in range(8)]
    rig.tool(SHARE_GROUPS, "--delete-offsets", "--topic", topic, "--group", group)
    assert rig.offsets(group) == []
    rig.tool(SHARE_GROUPS, "--delete", "--group", group)
    assert group not in rig.tool(SHARE_GROUPS, "--list").split()


def test_the_state_topic_is_read_by_kafkas_own_dump_tool(rig: Rig, tmp_path: Path):
    topic, group = rig.topic(), rig.group()
    rig.produce(topic, 3)
    with rig.member(group, topic) as member:
        drain(member, 3)
        member.close()
    logs = [path for path in rig.broker.data_dir.glob("__share_group_state-*/*.log") if path.stat().st_size]
    command = [*java.command(), "-cp", java.class_path(), "kafka.tools.DumpLogSegments", "--share-group-state-decoder"]
    done = subprocess.run(
        [*command, "--files", ",".join(map(str, logs))],
        capture_output=True,
        text=True,
        timeout=TOOL_SECONDS,
        check=True,
    )
    mine = [line for line in done.stdout.splitlines() if f'"{group}"' in line]
    assert any("snapshotEpoch" in line and "stateEpoch" in line for line in mine)
    assert any('"startOffset":3' in line for line in mine)
