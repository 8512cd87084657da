"""`pystream logs import`, on a log directory that a broker of ours has left: it is in Kafka's form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.broker_process import ROOT, BrokerProcess

TOPIC = "taken-over"
RECORDS = 500
SECONDS = 30


def log_import(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pystream.cli.main", "logs", "import", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def write(bootstrap: str, start: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "lz4"})
    for number in range(start, start + RECORDS):
        producer.produce(TOPIC, value=b"%d" % number, partition=0)
    assert producer.flush(SECONDS) == 0


def read(bootstrap: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    values = []
    while len(values) < count:
        (message,) = consumer.consume(1, SECONDS)
        assert message.error() is None
        values.append(message.value())
    consumer.close()
    return values


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The directory of a broker that has written records and stopped."""
    with BrokerProcess(tmp_path / "source", {"num.partitions": "2"}) as broker:
        write(broker.bootstrap, 0)
    return tmp_path / "source"


def test_imported_records_are_read_and_written_on(source: Path, tmp_path: Path) -> None:
    imported = log_import(source, "--data-dir", tmp_path / "data")
    assert (imported.returncode, imported.stdout) == (0, f"{TOPIC}: 2 partitions\n"), imported.stderr

    with BrokerProcess(tmp_path / "data") as broker:
        write(broker.bootstrap, RECORDS)
        assert read(broker.bootstrap, 2 * RECORDS) == [b"%d" % number for number in range(2 * RECORDS)]


def test_a_topic_is_not_imported_twice(source: Path, tmp_path: Path) -> None:
    assert log_import(source, "--data-dir", tmp_path / "data").returncode == 0
    again = log_import(source, "--data-dir", tmp_path / "data")
    assert again.returncode == 1
    assert again.stderr == f"pystream logs import: Topic '{TOPIC}' already exists.\n"


def test_nothing_is_imported_beside_a_running_broker(source: Path, tmp_path: Path) -> None:
    with BrokerProcess(tmp_path / "data"):
        refused = log_import(source, "--data-dir", tmp_path / "data")
    assert refused.returncode == 1
    assert "in use by another process" in refused.stderr


def test_an_invalid_topic_setting_is_refused_before_anything_is_copied(source: Path, tmp_path: Path) -> None:
    refused = log_import(source, "--data-dir", tmp_path / "data", "--topic-config", "retention.ms=soon")
    assert refused.returncode == 1
    assert "retention.ms" in refused.stderr
    assert not list((tmp_path / "data").glob(f"{TOPIC}-*"))
