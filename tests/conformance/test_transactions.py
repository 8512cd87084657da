"""Transactions of version 2 (the Java client's) and of version 1 (aiokafka's), and Kafka's own tool for them."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.conformance import java
from tests.conformance.conftest import NewTopicName

SECONDS = 90
ROUNDS = 9
# every third round is aborted
COMMITTED = [f"{{0}}-{round}-{part}" for round in range(ROUNDS) if round % 3 != 2 for part in "ab"]

pytestmark = pytest.mark.timeout(300)


def run(program: str, *arguments: str, classes: str = "") -> str:
    path = os.pathsep.join([classes, java.class_path()]) if classes else java.class_path()
    command = [*java.command(), "-cp", path, program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


def transactions(*arguments: str) -> list[str]:
    """What our Java program prints."""
    return run("Transactions", *arguments, classes=str(java.compiled("Transactions"))).splitlines()


def tool(bootstrap: str, *arguments: str) -> list[list[str]]:
    """The lines of kafka-transactions.sh without its head, as words."""
    out = run("org.apache.kafka.tools.TransactionsCommand", "--bootstrap-server", bootstrap, *arguments)
    return [line.split() for line in out.splitlines()[1:] if line.strip()]


def test_the_java_client_commits_aborts_copies_and_is_fenced(bootstrap: str, new_topic: NewTopicName) -> None:
    source, target = new_topic("source", partitions=2), new_topic("target")
    name = f"id-{source}"
    expected = sorted(value.format(name) for value in COMMITTED)
    transactions("rounds", bootstrap, source, name, str(ROUNDS))
    assert transactions("read", bootstrap, source, str(len(expected))) == expected
    transactions("copy", bootstrap, source, target, f"group-{source}", f"copy-{source}", str(len(expected)))
    assert transactions("read", bootstrap, target, str(len(expected))) == expected
    assert transactions("fence", bootstrap, source, name) == ["fenced"]
    offsets = Consumer({"bootstrap.servers": bootstrap, "group.id": f"group-{source}"}).committed(
        [TopicPartition(source, 0), TopicPartition(source, 1)], SECONDS
    )
    # records and markers: six committed and three aborted rounds, whether or not the last marker was passed
    assert all(place.offset >= 2 * (ROUNDS - 1) - 1 for place in offsets)
    ((_, described, producer_id, epoch, state, *_),) = tool(bootstrap, "describe", "--transactional-id", name)
    assert (described, state) == (name, "CompleteCommit")
    # version 2 raises the epoch at every end; the fencing init and its abort add three
    assert int(epoch) >= ROUNDS + 3
    listed = {line[0]: line[2:] for line in tool(bootstrap, "list")}
    assert listed[name] == [producer_id, "CompleteCommit"]


def test_the_tool_finds_and_aborts_a_transaction_that_hangs(bootstrap: str, new_topic: NewTopicName) -> None:
    topic = new_topic("hanging")
    settings = {"bootstrap.servers": bootstrap, "transactional.id": f"hang-{topic}", "transaction.timeout.ms": 600_000}
    hanging = Producer(settings)
    hanging.init_transactions(SECONDS)
    hanging.begin_transaction()
    hanging.produce(topic, b"open", partition=0)
    hanging.flush(SECONDS)
    (producer,) = tool(bootstrap, "describe-producers", "--topic", topic, "--partition", "0")
    assert producer[-1] == "0"  # where its open transaction begins
    run(
        "org.apache.kafka.tools.TransactionsCommand",
        *("--bootstrap-server", bootstrap, "abort", "--topic", topic, "--partition", "0", "--start-offset", "0"),
    )
    (producer,) = tool(bootstrap, "describe-producers", "--topic", topic, "--partition", "0")
    assert producer[-1] == "None"


def test_aiokafka_commits_and_aborts(bootstrap: str, new_topic: NewTopicName) -> None:
    topic = new_topic("aio")

    async def work() -> list[bytes]:
        from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
        from aiokafka import TopicPartition as Place

        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"id-{topic}")
        await producer.start()
        for number in range(6):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"%d" % number, partition=0)
            if number % 2:
                await producer.abort_transaction()
            else:
                await producer.commit_transaction()
        await producer.stop()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        await consumer.start()
        consumer.assign([Place(topic, 0)])
        await consumer.seek_to_beginning()
        values = [(await asyncio.wait_for(consumer.getone(), SECONDS)).value for _ in range(3)]
        await consumer.stop()
        return values

    assert asyncio.run(work()) == [b"0", b"2", b"4"]
