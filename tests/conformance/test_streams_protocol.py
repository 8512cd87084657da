"""Kafka Streams applications over the streams group protocol (KIP-1071): word counts, take-over, broker restarts."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance import java
from tests.conformance.members import MemberProcess, wait_until
from tests.support.broker_process import BrokerProcess

SETTINGS = {
    "group.streams.min.session.timeout.ms": "1000",
    "group.streams.session.timeout.ms": "6000",
    "group.streams.min.heartbeat.interval.ms": "100",
    "group.streams.heartbeat.interval.ms": "500",
    "group.streams.initial.rebalance.delay.ms": "500",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
}
PARTITIONS = 4
SECONDS = 180
INPUT, OUTPUT, APPLICATION = "lines", "counts", "word-count"
ALL_TASKS = {f"{subtopology}_{index}" for subtopology in (0, 1) for index in range(PARTITIONS)}
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif("PYSTREAM_TEST_BOOTSTRAP" in os.environ, reason="runs on a broker of its own"),
]


class Application(MemberProcess):
    """One process of the word count. `tasks`: what its threads work on."""

    def __init__(self, broker: BrokerProcess, state_dir: Path, **settings: str) -> None:
        self.tasks: set[str] = set()
        self.state = ""
        path = os.pathsep.join([str(java.compiled_streams("WordCount")), java.streams_class_path()])
        told = {
            "bootstrap.servers": broker.bootstrap,
            "application.id": APPLICATION,
            "group.protocol": "streams",
            "state.dir": str(state_dir),
            "num.stream.threads": "2",
            "commit.interval.ms": "200",
            "statestore.cache.max.bytes": "0",
            **{name.replace("_", "."): value for name, value in settings.items()},
        }
        super().__init__(
            [*java.command(), "-cp", path, "WordCount", INPUT, OUTPUT, *(f"{k}={v}" for k, v in told.items())]
        )

    def _take(self, line: str) -> None:
        mark, _, words = line.partition(" ")
        if mark == "s":
            self.state = words
        elif mark == "t":
            self.tasks = set(words.split())
        else:
            self.errors.append(line)


class Rig:
    def __init__(self, broker: BrokerProcess, folder: Path, stack: ExitStack) -> None:
        self.broker = broker
        self.folder = folder
        self.stack = stack
        self.sent: Counter[str] = Counter()
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        topics = [NewTopic(name, num_partitions=PARTITIONS, replication_factor=1) for name in (INPUT, OUTPUT)]
        for created in self.admin.create_topics(topics).values():
            created.result(SECONDS)

    def application(self, name: str, **settings: str) -> Application:
        return self.stack.enter_context(Application(self.broker, self.folder / name, **settings))

    def send(self, lines: int) -> None:
        """Lines of words; `sent` counts what has to come out."""
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        for n in range(lines):
            words = [f"word{n % 17}", f"word{n % 5}", "always"]
            self.sent.update(words)
            producer.produce(INPUT, " ".join(words), partition=n % PARTITIONS)
        assert producer.flush(SECONDS) == 0

    def counts(self) -> dict[str, int]:
        """The last count of each word."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "group.id": "reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )
        found: dict[str, int] = {}
        ends = 0
        consumer.subscribe([OUTPUT])
        while ends < PARTITIONS:
            for message in consumer.consume(1_000, 1.0):
                error = message.error()
                if error is None:
                    (found[message.key().decode()],) = struct.unpack(">q", message.value())
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ends += 1
        consumer.close()
        return found

    def wait_for_counts(self, applications: list[Application]) -> None:
        """Until every word has been counted as often as it was sent. At the end a count too high fails."""
        wait_until(applications, lambda: self.counts() == dict(self.sent), SECONDS, "all words are counted")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with BrokerProcess(tmp_path / "data", SETTINGS) as broker, ExitStack() as stack:
        yield Rig(broker, tmp_path, stack)


def shared(applications: list[Application]) -> bool:
    """Whether the processes have all tasks among them, each one once, and none is idle."""
    tasks = [task for application in applications for task in application.tasks]
    return sorted(tasks) == sorted(ALL_TASKS) and all(application.tasks for application in applications)


def test_words_are_counted_and_processes_share_the_tasks(rig):
    rig.send(200)
    first = rig.application("first")
    wait_until([first], lambda: shared([first]), SECONDS, "one process has all tasks")
    rig.wait_for_counts([first])
    second = rig.application("second")
    wait_until([first, second], lambda: shared([first, second]), SECONDS, "two processes share")
    rig.send(200)
    rig.wait_for_counts([first, second])
    first.leave()
    wait_until([second], lambda: shared([second]), SECONDS, "the second has all tasks")
    rig.send(100)
    rig.wait_for_counts([second])
    assert (first.errors, second.errors) == ([], [])
    created = rig.admin.list_topics(timeout=SECONDS).topics
    for name in ("counts-changelog", "words-repartition"):
        assert len(created[f"{APPLICATION}-{name}"].partitions) == PARTITIONS


@pytest.mark.parametrize("killed", ["process", "broker"])
def test_counts_stay_exact_when_something_is_killed(rig, killed):
    applications = [rig.application(name, processing_guarantee="exactly_once_v2") for name in ("first", "second")]
    rig.send(200)
    wait_until(applications, lambda: shared(applications), SECONDS, "two processes share")
    rig.send(400)
    if killed == "process":
        applications[0].kill()
        applications.pop(0)
    else:
        rig.broker.kill()
        rig.broker.start()
    rig.send(200)
    wait_until(applications, lambda: shared(applications), SECONDS, "whoever is left has all tasks")
    rig.wait_for_counts(applications)


def test_standbys_are_kept_where_the_broker_asks_for_them(rig):
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    group = ConfigResource(
        ResourceType.GROUP,
        APPLICATION,
        incremental_configs=[
            ConfigEntry("streams.num.standby.replicas", "1", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    rig.admin.incremental_alter_configs([group])[group].result(SECONDS)
    applications = [rig.application(name) for name in ("first", "second")]
    rig.send(100)
    wait_until(applications, lambda: shared(applications), SECONDS, "two processes share")
    rig.wait_for_counts(applications)

    def stores(name: str) -> int:
        return len(list((rig.folder / name / APPLICATION).glob("1_*")))

    # active or standby, each has every store
    wait_until(applications, lambda: stores("first") == stores("second") == PARTITIONS, SECONDS, "standbys are made")
