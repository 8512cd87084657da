"""A damaged log: the broker serves what is sound and refuses writes, an operator verifies and repairs."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.broker_process import ROOT, BrokerProcess

TIMEOUT_SECONDS = 60.0
RECORDS = 50


def pystream(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pystream.cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)


def produce(broker: BrokerProcess, value: str) -> KafkaError | None:
    """How the broker answers one record of acks=all."""
    outcomes: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "retries": 0, "linger.ms": 0})
    producer.produce("orders", value, partition=0, on_delivery=lambda error, _: outcomes.append(error))
    producer.flush(TIMEOUT_SECONDS)
    return outcomes[0]


def first_value(broker: BrokerProcess) -> bytes:
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": uuid.uuid4().hex, "enable.auto.commit": False}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition("orders", 0, 0)])
    try:
        message = consumer.poll(TIMEOUT_SECONDS)
        assert message is not None
        assert message.error() is None
        return message.value()
    finally:
        consumer.close()


def all_values(broker: BrokerProcess, *, end: int) -> list[bytes]:
    """Of every record below the offset `end`, in order."""
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": uuid.uuid4().hex, "enable.auto.commit": False}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition("orders", 0, 0)])
    values: list[bytes] = []
    try:
        while True:
            message = consumer.poll(TIMEOUT_SECONDS)
            assert message is not None
            assert message.error() is None
            values.append(message.value())
            if message.offset() == end - 1:
                return values
    finally:
        consumer.close()


def test_damage_is_served_around_verified_and_cut_on_command(make_broker: Callable[..., BrokerProcess], tmp_path: Path):
    data_dir = tmp_path / "data"
    broker = make_broker().start()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result(TIMEOUT_SECONDS)
    for number in range(RECORDS):
        assert produce(broker, f"value {number}") is None
    assert "in use" in pystream("log", "verify", str(data_dir)).stderr
    broker.kill()
    (segment,) = (data_dir / "orders-0").glob("*.log")
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 0x10
    segment.write_bytes(damaged)

    verified = pystream("log", "verify", str(data_dir), "orders")
    broker.start()
    refused, served = produce(broker, "refused"), first_value(broker)
    with urllib.request.urlopen(f"{broker.metrics_url}/health", timeout=TIMEOUT_SECONDS) as response:
        health = json.load(response)
    broker.terminate()
    repaired = pystream("log", "repair", str(data_dir), "orders-0", "--truncate")
    again = pystream("log", "verify", str(data_dir), "--records")
    broker.start()

    assert (verified.returncode, "orders-0: DAMAGED" in verified.stdout) == (1, True)
    assert refused is not None
    assert refused.code() == KafkaError.KAFKA_STORAGE_ERROR
    assert served == b"value 0"
    assert (health["status"], health["offline_partitions"]) == ("ok", 1)
    assert (repaired.returncode, "lost+found" in repaired.stdout) == (0, True)
    assert (again.returncode, "orders-0: ok" in again.stdout) == (0, True)
    assert produce(broker, "taken again") is None
    assert first_value(broker) == b"value 0"
    assert broker.terminate() == 0


def test_consumers_pass_over_what_a_salvaged_log_has_lost(make_broker: Callable[..., BrokerProcess], tmp_path: Path):
    broker = make_broker().start()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result(TIMEOUT_SECONDS)
    for number in range(RECORDS):
        assert produce(broker, f"value {number}") is None
    broker.kill()
    (segment,) = (tmp_path / "data" / "orders-0").glob("*.log")
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2 + 65] ^= 0x10  # inside the records of one of them
    segment.write_bytes(damaged)

    repaired = pystream("log", "repair", str(tmp_path / "data"), "orders-0", "--salvage")
    broker.start()
    taken = produce(broker, "taken again")
    values = all_values(broker, end=RECORDS + 1)

    assert (repaired.returncode, "1 offsets are lost" in repaired.stdout) == (0, True)
    assert taken is None
    assert len([value for value in range(RECORDS) if f"value {value}".encode() not in values]) == 1
    assert values[-1] == b"taken again"
    assert broker.terminate() == 0


def test_an_epoch_that_the_controller_never_gave_is_damage_and_is_put_right_on_command(
    make_broker: Callable[..., BrokerProcess], tmp_path: Path
):
    broker = make_broker().start()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result(TIMEOUT_SECONDS)
    for number in range(RECORDS):
        assert produce(broker, f"value {number}") is None
    broker.kill()
    (tmp_path / "data" / "recovery-point-offset-checkpoint").unlink(missing_ok=True)
    (segment,) = (tmp_path / "data" / "orders-0").glob("*.log")
    data = bytearray(segment.read_bytes())
    last = (RECORDS - 1) * (len(data) // (RECORDS - 1))  # a place inside the last batch
    while int.from_bytes(data[last : last + 8], "big") != RECORDS - 1 or data[last + 16] != 2:
        last -= 1
    data[last + 14] ^= 0x10  # of its leader epoch, which lies outside the checksum
    segment.write_bytes(data)

    broker.start()
    refused, served = produce(broker, "refused"), first_value(broker)
    broker.terminate()
    verified = pystream("log", "verify", str(tmp_path / "data"), "orders")
    repaired = pystream("log", "repair", str(tmp_path / "data"), "orders-0", "--salvage")
    broker.start()
    taken = produce(broker, "taken again")
    values = all_values(broker, end=RECORDS + 1)

    assert refused is not None
    assert refused.code() == KafkaError.KAFKA_STORAGE_ERROR
    assert served == b"value 0"
    assert (verified.returncode, "orders-0: DAMAGED" in verified.stdout) == (1, True), verified.stdout
    assert repaired.returncode == 0, repaired.stderr
    assert taken is None
    assert values == [*(f"value {number}".encode() for number in range(RECORDS)), b"taken again"]
    assert broker.terminate() == 0


def test_what_is_not_there_is_one_sentence_and_exit_code_two(tmp_path: Path):
    (tmp_path / "orders-0").mkdir()

    for arguments in (
        ("verify", str(tmp_path / "nothing")),
        ("verify", str(tmp_path), "payments"),
        ("repair", str(tmp_path), "orders", "--truncate"),
        ("repair", str(tmp_path), "orders-0"),
    ):
        result = pystream("log", *arguments)
        assert (result.returncode, "Traceback" in result.stderr) == (2, False), result.stderr
        assert result.stderr
