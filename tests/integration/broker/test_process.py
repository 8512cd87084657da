"""A broker's life as a process: start, stop, kill, and what survives them."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from tests.support.broker_process import ROOT, BrokerFailed, BrokerProcess

TIMEOUT_SECONDS = 60.0
RECORDS = 200
MakeBroker = Callable[..., BrokerProcess]


def create(broker: BrokerProcess, name: str, partitions: int = 1, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    settings = {key.replace("_", "."): value for key, value in config.items()}
    futures = admin.create_topics([NewTopic(name, partitions, 1, config=settings)])
    futures[name].result(TIMEOUT_SECONDS)


def produce(broker: BrokerProcess, topic: str, count: int, first: int = 0) -> None:
    """Returns once every record is acknowledged by acks=all."""
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 1})
    for number in range(first, first + count):
        producer.produce(
            topic,
            key=str(number),
            value=f"value {number}",
            partition=0,
            on_delivery=lambda e, _: e and failures.append(e),
        )
    assert producer.flush(TIMEOUT_SECONDS) == 0
    assert failures == []


def consume(broker: BrokerProcess, topic: str, count: int) -> list[str]:
    """The values of the first `count` records of partition 0."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        values: list[str] = []
        while len(values) < count:
            messages = consumer.consume(count - len(values), TIMEOUT_SECONDS)
            assert messages, f"only {len(values)} of {count} records came"
            for message in messages:
                assert message.error() is None, message.error()
                values.append(message.value().decode())
        return values
    finally:
        consumer.close()


def read(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        return response.status, response.read().decode()


def test_records_and_topics_survive_a_clean_stop(make_broker: MakeBroker):
    broker = make_broker().start()
    create(broker, "orders", partitions=3, retention_ms="86400000")
    produce(broker, "orders", RECORDS)

    assert broker.terminate() == 0
    with broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        (topic,) = [t for name, t in admin.list_topics(timeout=TIMEOUT_SECONDS).topics.items() if name == "orders"]
        resource = ConfigResource(ConfigResource.Type.TOPIC, "orders")
        config = admin.describe_configs([resource])[resource].result(TIMEOUT_SECONDS)

        assert len(topic.partitions) == 3
        assert config["retention.ms"].value == "86400000"
        assert consume(broker, "orders", RECORDS) == [f"value {number}" for number in range(RECORDS)]


def test_acknowledged_records_survive_kill_minus_nine(make_broker: MakeBroker):
    broker = make_broker().start()
    create(broker, "orders")
    for round_number in range(3):
        produce(broker, "orders", RECORDS, first=round_number * RECORDS)
        broker.kill()
        broker.start()

    with_all = consume(broker, "orders", 3 * RECORDS)
    assert broker.terminate() == 0
    assert with_all == [f"value {number}" for number in range(3 * RECORDS)]


def test_a_second_broker_on_one_directory_is_refused(make_broker: MakeBroker, tmp_path: Path):
    with make_broker():
        second = make_broker()
        with pytest.raises(BrokerFailed) as refused:
            second.start()

    assert "Traceback" not in str(refused.value)
    assert str(tmp_path / "data") in str(refused.value)


def test_a_port_in_use_is_one_sentence_and_exit_code_one(make_broker: MakeBroker, tmp_path: Path):
    with make_broker() as broker:
        listener = f"PLAINTEXT://{broker.bootstrap}"
        result = subprocess.run(
            [
                *(sys.executable, "-m", "pystream.cli.main", "broker", "--listener", listener),
                *("--data-dir", str(tmp_path / "other"), "--set", "metrics.listener="),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    assert result.returncode == 1
    assert str(broker.port) in result.stderr
    assert "Traceback" not in result.stderr


def test_metrics_and_health_are_served(make_broker: MakeBroker):
    with make_broker() as broker:
        create(broker, "orders")
        produce(broker, "orders", RECORDS)
        _, metrics = read(f"{broker.metrics_url}/metrics")
        status, health = read(f"{broker.metrics_url}/health")

    lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert lines['kafka_server_brokertopicmetrics_messagesin_total{topic="orders"}'] == str(RECORDS)
    assert lines["kafka_server_brokertopicmetrics_messagesin_total"] == str(RECORDS)
    assert lines['kafka_log_log_logendoffset{topic="orders",partition="0"}'] == str(RECORDS)
    assert lines["kafka_server_replicamanager_partitioncount"] == "1"
    assert lines["kafka_server_replicamanager_underminisrpartitioncount"] == "0"
    assert lines["kafka_server_replicamanager_atminisrpartitioncount"] == "1"
    assert int(lines['kafka_network_requestmetrics_requests_total{request="Produce"}']) >= 1
    assert int(lines['kafka_network_requestmetrics_requests_total{request="Metadata"}']) >= 1
    assert (status, json.loads(health)["status"]) == (200, "ok")
