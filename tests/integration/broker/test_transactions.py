"""Transactions of real clients on a real broker, through time-outs, zombies and kill -9."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.broker_process import BrokerProcess

TIMEOUT_SECONDS = 60.0
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path / "data", SETTINGS) as running:
        yield running


@pytest.fixture
def new_topic(broker: BrokerProcess) -> Callable[[int], str]:
    def make(partitions: int) -> str:
        name = f"t{uuid.uuid4().hex[:10]}"
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(TIMEOUT_SECONDS)
        return name

    return make


def producer(broker: BrokerProcess, transactional_id: str, **settings: object) -> Producer:
    made = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": transactional_id, **settings})
    made.init_transactions(TIMEOUT_SECONDS)
    return made


def write(made: Producer, topic: str, *values: str, partitions: int = 1) -> None:
    for number, value in enumerate(values):
        made.produce(topic, value.encode(), partition=number % partitions)


def end_offsets(consumer: Consumer, topic: str, partitions: int) -> int:
    places = [TopicPartition(topic, number) for number in range(partitions)]
    return sum(consumer.get_watermark_offsets(place, TIMEOUT_SECONDS, cached=False)[1] for place in places)


def read(broker: BrokerProcess, topic: str, partitions: int, *, committed: bool = True, count: int = 0) -> list[str]:
    """Everything up to the end of the topic as this reader may see it, sorted; the end is looked for anew until there
    are `count`: a commit is answered before its markers are written.
    """
    settings = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": "reader",
        "enable.partition.eof": True,
        "enable.auto.commit": False,
        "isolation.level": "read_committed" if committed else "read_uncommitted",
    }
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    values: list[str] = []
    ended: set[int] = set()
    while len(ended) < partitions or len(values) < count:
        message = consumer.poll(TIMEOUT_SECONDS)
        assert message is not None, "the end of the topic never came"
        if message.error() is None:
            values.append(message.value().decode())
            ended.discard(message.partition())
        else:
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
    consumer.close()
    return sorted(values)


def test_committed_records_are_seen_aborted_and_open_ones_are_not(
    broker: BrokerProcess, new_topic: Callable[[int], str]
) -> None:
    topic = new_topic(2)
    made = producer(broker, "t")
    made.begin_transaction()
    write(made, topic, "c0", "c1", "c2", "c3", partitions=2)
    made.commit_transaction(TIMEOUT_SECONDS)
    made.begin_transaction()
    write(made, topic, "a0", "a1", partitions=2)
    made.flush(TIMEOUT_SECONDS)
    made.abort_transaction(TIMEOUT_SECONDS)
    made.begin_transaction()
    write(made, topic, "o0", "o1", partitions=2)
    made.flush(TIMEOUT_SECONDS)
    assert read(broker, topic, 2) == ["c0", "c1", "c2", "c3"]
    assert read(broker, topic, 2, committed=False) == ["a0", "a1", "c0", "c1", "c2", "c3", "o0", "o1"]
    made.commit_transaction(TIMEOUT_SECONDS)
    assert read(broker, topic, 2, count=6) == ["c0", "c1", "c2", "c3", "o0", "o1"]


def test_a_second_producer_of_the_same_id_fences_the_first(
    broker: BrokerProcess, new_topic: Callable[[int], str]
) -> None:
    topic = new_topic(1)
    first = producer(broker, "t")
    first.begin_transaction()
    write(first, topic, "zombie")
    first.flush(TIMEOUT_SECONDS)
    second = producer(broker, "t")
    second.begin_transaction()
    write(second, topic, "second")
    second.commit_transaction(TIMEOUT_SECONDS)
    write(first, topic, "late")
    with pytest.raises(KafkaException) as refused:
        first.commit_transaction(TIMEOUT_SECONDS)
    assert refused.value.args[0].fatal()
    first.purge()
    assert read(broker, topic, 1, count=1) == ["second"]


def test_a_transaction_that_outlives_its_time_out_is_aborted_and_its_producer_fenced(
    broker: BrokerProcess, new_topic: Callable[[int], str]
) -> None:
    topic = new_topic(1)
    slow = producer(broker, "slow", **{"transaction.timeout.ms": 1_000})
    slow.begin_transaction()
    write(slow, topic, "slow")
    slow.flush(TIMEOUT_SECONDS)
    other = producer(broker, "other")
    other.begin_transaction()
    write(other, topic, "other")
    other.commit_transaction(TIMEOUT_SECONDS)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(TIMEOUT_SECONDS)  # comes when the abort has let the last stable offset go on
    assert message is not None
    assert message.value() == b"other"
    consumer.close()
    with pytest.raises(KafkaException):
        slow.commit_transaction(TIMEOUT_SECONDS)


def test_what_is_read_written_and_remembered_in_one_transaction_counts_once(
    broker: BrokerProcess, new_topic: Callable[[int], str]
) -> None:
    source, target = new_topic(2), new_topic(1)
    feeder = producer(broker, "feeder")
    feeder.begin_transaction()
    write(feeder, source, *(str(number) for number in range(20)), partitions=2)
    feeder.commit_transaction(TIMEOUT_SECONDS)
    settings = {
        "bootstrap.servers": broker.bootstrap,
        "group.id": "copiers",
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    for run in range(2):  # the first copier gives up half-way, with a transaction open
        consumer = Consumer(settings)
        consumer.subscribe([source])
        copier = producer(broker, "copier")
        wanted = 8 if run == 0 else 12
        for copied in range(1, wanted + 1):
            message = consumer.poll(TIMEOUT_SECONDS)
            assert message is not None
            assert message.error() is None, message.error()
            if copied % 4 == 1:
                copier.begin_transaction()
            copier.produce(target, message.value())
            if copied % 4 == 0:
                offsets = consumer.position(consumer.assignment())
                copier.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), TIMEOUT_SECONDS)
                copier.commit_transaction(TIMEOUT_SECONDS)
        if run == 0:
            copier.begin_transaction()
            copier.produce(target, b"lost")
            copier.send_offsets_to_transaction(
                [TopicPartition(source, 0, 10), TopicPartition(source, 1, 10)],
                consumer.consumer_group_metadata(),
                TIMEOUT_SECONDS,
            )
        consumer.close()
    assert read(broker, target, 1, count=20) == sorted(str(number) for number in range(20))
    committed = Consumer(settings).committed([TopicPartition(source, 0), TopicPartition(source, 1)], TIMEOUT_SECONDS)
    assert {place.offset for place in committed} <= {10, 11}  # before or behind the feeder's marker


def test_kill_9_at_any_moment_leaves_whole_transactions(broker: BrokerProcess, new_topic: Callable[[int], str]) -> None:
    """A few runs of: transactions as fast as they go, a kill in the midst of them, and what is then seen."""
    partitions = 3
    topic = new_topic(partitions)
    promised: list[int] = []
    number = 0
    for run in range(3):
        made = producer(broker, f"run-{run}", **{"message.timeout.ms": 10_000, "transaction.timeout.ms": 10_000})
        for count in range(20 + 7 * run):
            number += 1
            made.begin_transaction()
            write(made, topic, *(f"{number}:{part}" for part in range(partitions)), partitions=partitions)
            if count == 19 + 7 * run:
                made.flush(TIMEOUT_SECONDS)
                break
            made.commit_transaction(TIMEOUT_SECONDS)
            promised.append(number)
        broker.kill()
        broker.start()
        made.purge()
        # The next producer of the id ends what was open; what was prepared is finished by then.
        producer(broker, f"run-{run}")
        seen: dict[int, int] = {}
        for value in read(broker, topic, partitions):
            label = int(value.split(":")[0])
            seen[label] = seen.get(label, 0) + 1
        assert set(seen.values()) == {partitions}, "a transaction is torn"
        assert set(promised) <= set(seen)
        assert number not in seen, "a transaction that nobody has committed is seen"
