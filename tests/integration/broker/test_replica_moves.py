"""Replicas that move between two log directories while clients write and read: nothing lost, nothing twice."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from pystream.common.error_codes import LOG_DIR_NOT_FOUND, NONE, UNKNOWN_TOPIC_OR_PARTITION
from pystream.protocol.messages.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirTopic,
)
from pystream.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from pystream.protocol.messages.describe_log_dirs import DescribableLogDirTopic, DescribeLogDirsRequest
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

PARTITIONS = 3
PATIENCE_S = 60.0
VALUE_BYTES = 1_000
MOVES = 6


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    settings = {
        "log.dirs": f"{tmp_path / 'one'},{tmp_path / 'two'}",
        "transaction.state.log.num.partitions": str(PARTITIONS),
    }
    with BrokerProcess(tmp_path / "data", settings) as started:
        yield started


@pytest.fixture
def directories(tmp_path: Path) -> list[str]:
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def create(broker: BrokerProcess, topic: str, **configs: str) -> None:
    found = [CreatableTopicConfig(name=name.replace("_", "."), value=value) for name, value in configs.items()]
    asked = CreatableTopic(name=topic, num_partitions=PARTITIONS, replication_factor=1, configs=found)
    with RawClient(broker.port) as client:
        assert client.call(CreateTopicsRequest(topics=[asked], timeout_ms=30_000), 7).topics[0].error_code == NONE


def alter(broker: BrokerProcess, path: str, topic: str, partitions: list[int]) -> list[int]:
    asked = AlterReplicaLogDir(path=path, topics=[AlterReplicaLogDirTopic(name=topic, partitions=partitions)])
    with RawClient(broker.port) as client:
        (result,) = client.call(AlterReplicaLogDirsRequest(dirs=[asked]), 2).results
    return [partition.error_code for partition in result.partitions]


def places(broker: BrokerProcess, topic: str) -> list[tuple[str, int, bool]]:
    """(directory, partition, whether it is a copy in the making)."""
    asked = [DescribableLogDirTopic(topic=topic, partitions=list(range(PARTITIONS)))]
    with RawClient(broker.port) as client:
        results = client.call(DescribeLogDirsRequest(topics=asked), 4).results
    return [(r.log_dir, p.partition_index, p.is_future_key) for r in results for t in r.topics for p in t.partitions]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came about"


class Load(threading.Thread):
    """Produces numbered records to all partitions until told to stop; notes which ones were acknowledged."""

    def __init__(self, broker: BrokerProcess, topic: str, **settings: object) -> None:
        super().__init__()
        self.acknowledged: set[bytes] = set()
        self.errors: list[KafkaError] = []
        self._topic = topic
        self._stopped = threading.Event()
        self._producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 1, **settings})

    def run(self) -> None:
        number = 0
        while not self._stopped.is_set():
            value = b"%012d" % number
            try:
                self._producer.produce(
                    self._topic, value.ljust(VALUE_BYTES), partition=number % PARTITIONS, on_delivery=self._delivered
                )
            except BufferError:  # the broker has been away for long
                self._producer.poll(0.1)
                continue
            number += 1
            self._producer.poll(0 if number % 100 else 0.005)
        self._producer.flush(PATIENCE_S)

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged.add(message.value()[:12])
        else:
            self.errors.append(error)


def read(broker: BrokerProcess, topic: str, count: int) -> dict[int, list[bytes]]:
    """The first `count` records of all partitions, and whatever more came with them."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    found: dict[int, list[bytes]] = defaultdict(list)
    deadline = time.monotonic() + PATIENCE_S
    while sum(map(len, found.values())) < count:
        assert time.monotonic() < deadline, f"{sum(map(len, found.values()))} of {count} records came"
        for message in consumer.consume(10_000, 1.0):
            assert message.error() is None
            found[message.partition()].append(message.value()[:12])
    consumer.close()
    return found


class Transactions(threading.Thread):
    """Transactions of one record per partition until told to stop, every fifth aborted; notes what was committed."""

    def __init__(self, broker: BrokerProcess, topic: str) -> None:
        super().__init__()
        self.committed: set[bytes] = set()
        self.failure: KafkaException | None = None
        self._topic = topic
        self._stopped = threading.Event()
        self._producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "moving", "linger.ms": 0})

    def run(self) -> None:
        try:
            self._producer.init_transactions(PATIENCE_S)
            number = 0
            while not self._stopped.is_set():
                self._one(number)
                number += 1
        except KafkaException as error:
            self.failure = error

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _one(self, number: int) -> None:
        values = [b"%012d" % (number * PARTITIONS + partition) for partition in range(PARTITIONS)]
        self._producer.begin_transaction()
        for partition, value in enumerate(values):
            self._producer.produce(self._topic, value, partition=partition)
        if number % 5 == 4:
            self._producer.abort_transaction(PATIENCE_S)
        else:
            self._producer.commit_transaction(PATIENCE_S)
            self.committed.update(values)


@pytest.mark.parametrize("idempotent", [True, False])
def test_nothing_is_lost_or_doubled_while_replicas_move_under_load(
    broker: BrokerProcess, directories: list[str], idempotent: bool
):
    create(broker, "moving", segment_bytes="1048576")
    load = Load(broker, "moving", **{"enable.idempotence": idempotent})
    load.start()
    reader: dict[int, list[bytes]] = {}
    try:
        for number in range(MOVES):
            target = directories[number % 2]
            enough = len(load.acknowledged) + 1_000
            until(lambda enough=enough: len(load.acknowledged) >= enough)
            assert alter(broker, target, "moving", list(range(PARTITIONS))) == [NONE] * PARTITIONS
            wanted = [(target, partition, False) for partition in range(PARTITIONS)]
            until(lambda wanted=wanted: places(broker, "moving") == wanted)
            if number == MOVES // 2:
                reader = read(broker, "moving", enough)
    finally:
        load.stop()

    assert load.errors == []
    found = read(broker, "moving", len(load.acknowledged))
    assert Counter(value for values in found.values() for value in values) == Counter(load.acknowledged)
    if idempotent:
        assert all(values == sorted(values) for values in found.values())
    assert all(found[partition][: len(values)] == values for partition, values in reader.items())
    assert "replica not moved" not in broker.log_path.read_text()


def test_a_kill_while_replicas_move_leaves_what_was_acknowledged(broker: BrokerProcess, directories: list[str]):
    create(broker, "killed", segment_bytes="1048576")
    load = Load(broker, "killed", **{"enable.idempotence": True})
    load.start()
    try:
        for number in range(MOVES):
            enough = len(load.acknowledged) + 2_000
            until(lambda enough=enough: len(load.acknowledged) >= enough)
            assert alter(broker, directories[number % 2], "killed", list(range(PARTITIONS))) == [NONE] * PARTITIONS
            if number % 2:
                until(lambda: not any(is_future for _, _, is_future in places(broker, "killed")))
            broker.kill()
            broker.start()
            assert sorted(partition for _, partition, _ in places(broker, "killed")) == list(range(PARTITIONS))
    finally:
        load.stop()

    assert load.errors == []
    found = read(broker, "killed", len(load.acknowledged))
    assert Counter(value for values in found.values() for value in values) == Counter(load.acknowledged)
    assert all(values == sorted(values) for values in found.values())


@pytest.mark.parametrize("moved", ["transactional", "__transaction_state"])
def test_transactions_go_on_while_the_partitions_they_need_move(
    broker: BrokerProcess, directories: list[str], moved: str
):
    create(broker, "transactional")
    load = Transactions(broker, "transactional")
    load.start()
    try:
        for number in range(MOVES):
            enough = len(load.committed) + 20 * PARTITIONS
            until(lambda enough=enough: len(load.committed) >= enough or load.failure is not None)
            target = directories[number % 2]
            assert alter(broker, target, moved, list(range(PARTITIONS))) == [NONE] * PARTITIONS
            wanted = [(target, partition, False) for partition in range(PARTITIONS)]
            until(lambda wanted=wanted: places(broker, moved) == wanted)
    finally:
        load.stop()

    assert load.failure is None
    found = read(broker, "transactional", len(load.committed))
    assert Counter(value for values in found.values() for value in values) == Counter(load.committed)
    assert "replica not moved" not in broker.log_path.read_text()


def test_a_partition_that_is_not_there_yet_is_made_where_it_was_wanted(broker: BrokerProcess, directories: list[str]):
    for number, path in enumerate(directories):
        topic = f"later-{number}"
        assert alter(broker, path, topic, [0, 1, 2]) == [UNKNOWN_TOPIC_OR_PARTITION] * 3
        create(broker, topic)
        assert places(broker, topic) == [(path, partition, False) for partition in range(PARTITIONS)]


def test_a_directory_that_is_none_is_refused(broker: BrokerProcess, directories: list[str]):
    create(broker, "staying")
    before = places(broker, "staying")
    assert alter(broker, f"{directories[0]}/inside", "staying", [0]) == [LOG_DIR_NOT_FOUND]
    assert alter(broker, directories[1], "staying", [PARTITIONS]) == [UNKNOWN_TOPIC_OR_PARTITION]
    assert places(broker, "staying") == before
