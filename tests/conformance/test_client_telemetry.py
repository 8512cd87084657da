"""Metrics that real clients push of their own accord (KIP-714), and what of them stands on the broker's /metrics."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from pystream.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from tests.conformance import java
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

CLIENT_METRICS = 16
SECONDS = 60
INTERVAL_MS = 1_000
SUBSCRIBED = ("org.apache.kafka.producer.record.", "org.apache.kafka.producer.request.latency.")
SAMPLE = re.compile(
    r'(?P<name>\w+)\{client_id="(?P<client>[^"]*)",.*client_software_name="(?P<software>[^"]*)".*\} (?P<value>.+)'
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """With a subscription of all clients whose id begins with `app-`."""
    with BrokerProcess(tmp_path / "data", {"node.id": "0"}) as started:
        values = {"metrics": ",".join(SUBSCRIBED), "interval.ms": str(INTERVAL_MS), "match": "client_id=app-.*"}
        configs = [AlterableConfig(name=name, value=value) for name, value in values.items()]
        resource = AlterConfigsResource(resource_type=CLIENT_METRICS, resource_name="apps", configs=configs)
        with RawClient(started.port) as client:
            answered = client.call(IncrementalAlterConfigsRequest(resources=[resource]), 1)
        assert [result.error_code for result in answered.responses] == [0]
        yield started


def pushed(broker: BrokerProcess) -> dict[tuple[str, str], dict[str, float]]:
    """Metrics by (client id, name of its software)."""
    with urllib.request.urlopen(f"{broker.metrics_url}/metrics") as response:
        lines = response.read().decode().splitlines()
    found: dict[tuple[str, str], dict[str, float]] = {}
    for sample in filter(None, map(SAMPLE.fullmatch, lines)):
        found.setdefault((sample["client"], sample["software"]), {})[sample["name"]] = float(sample["value"])
    return found


def ended(program: subprocess.Popen[bytes]) -> bool:
    """Whether it has, after a moment."""
    try:
        program.wait(INTERVAL_MS / 5_000)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_the_java_producer_pushes_what_it_is_asked_for(broker: BrokerProcess) -> None:
    records, client = 600, ("app-java", "apache-kafka-java")
    arguments = ("--topic", "t", "--num-records", str(records), "--record-size", "100", "--throughput", "100")
    properties = ("--command-property", f"client.id={client[0]}")
    tool = (*java.command(), "-cp", java.class_path(), "org.apache.kafka.tools.ProducerPerformance")
    seen: list[dict[str, float]] = []
    with subprocess.Popen(
        [*tool, "--bootstrap-server", broker.bootstrap, *arguments, *properties], stdout=subprocess.DEVNULL
    ) as program:
        while not ended(program):
            seen += filter(None, [pushed(broker).get(client)])
    assert program.returncode == 0

    sent = [metrics["org_apache_kafka_producer_record_send_total"] for metrics in seen]
    assert sent == sorted(sent), "a total fell"
    assert 0 < sent[-1] <= records
    assert all(name.startswith("org_apache_kafka_producer_re") for name in seen[-1])


def test_librdkafka_pushes_of_its_own_accord(broker: BrokerProcess) -> None:
    client = ("app-librdkafka", "confluent-kafka-python")
    asked, other = (Producer({"bootstrap.servers": broker.bootstrap, "client.id": name}) for name in (client[0], "not"))
    deadline = time.monotonic() + SECONDS
    while pushed(broker).get(client, {}).get("org_apache_kafka_producer_request_latency_max", 0) == 0:
        assert time.monotonic() < deadline, pushed(broker)
        for producer in (asked, other):
            producer.produce("t", b"value")
            producer.poll(0.01)
    assert [name for name, _ in pushed(broker)] == [client[0]]
    assert asked.flush(SECONDS) == other.flush(SECONDS) == 0
