"""Metrics that clients push of their own accord (KIP-714): real ones and ours to our broker, ours to Apache Kafka."""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, MetricsData

from pystream.client import AdminClient as OurAdminClient
from pystream.client import Consumer as OurConsumer
from pystream.client import Producer as OurProducer
from pystream.client import ShareConsumer as OurShareConsumer
from pystream.client.admin.configs import ConfigResource, ConfigResourceType
from pystream.client.aio import AdminClient
from pystream.client.metrics.model import MetricName
from pystream.client.metrics.otlp import name_of
from pystream.common.model import uuid_text
from pystream.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from tests.conformance import java
from tests.conformance.kafka_process import KafkaProcess
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient

CLIENT_METRICS = 16
SECONDS = 120
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


# --- our own clients --------------------------------------------------------------------------------------------------

OURS = "pystream"
RECORDS = 50


def test_our_clients_push_to_our_broker(broker: BrokerProcess) -> None:
    deadline = time.monotonic() + SECONDS
    settings = {"bootstrap.servers": broker.bootstrap, "client.id": "app-ours"}
    consumer_settings = {**settings, "auto.offset.reset": "earliest", "group.id": "g"}
    with OurProducer(settings) as producer, OurConsumer(consumer_settings) as consumer:
        for _ in range(RECORDS):
            producer.send("t", b"value")
        producer.flush()
        consumer.subscribe(["t"])
        assert consumer.poll(SECONDS)
        metrics: dict[str, float] = {}
        while metrics.get("org_apache_kafka_producer_record_send_total", 0) < RECORDS:
            assert time.monotonic() < deadline, pushed(broker)
            metrics = pushed(broker).get(("app-ours", OURS), {})
        again = metrics["org_apache_kafka_producer_record_retry_total"]  # a record that is sent again counts again
        assert metrics["org_apache_kafka_producer_record_send_total"] == RECORDS + again
        assert metrics["org_apache_kafka_producer_request_latency_max"] >= 0
        assert {name for name in metrics if not name.startswith("org_apache_kafka_producer_re")} == set()
        assert producer.metrics().value("record-send-total", topic="t") == RECORDS + again
        assert producer.client_instance_id(SECONDS) != consumer.client_instance_id(SECONDS)
    while ("app-ours", OURS) in pushed(broker):
        assert time.monotonic() < deadline, "a client that said good-bye is still there"


def test_our_share_consumer_and_admin_client_push_what_they_measure_of_connections(tmp_path: Path) -> None:
    name = "org_apache_kafka_{}_connection_creation_total"
    with BrokerProcess(tmp_path / "data", {"node.id": "0"}) as started:
        asyncio.run(subscribe_to_all(started.bootstrap))
        deadline = time.monotonic() + SECONDS
        settings = {"bootstrap.servers": started.bootstrap, "client.id": "ours", "enable.metrics.push": True}
        with OurShareConsumer({**settings, "group.id": "s"}) as sharing, OurAdminClient(settings) as admin:
            sharing.subscribe(["t"])
            wanted = {name.format("consumer_share"), name.format("admin_client")}
            while wanted - pushed(started).get(("ours", OURS), {}).keys():
                assert time.monotonic() < deadline, pushed(started)
                sharing.poll(0.1)
                admin.list_topics()
            assert sharing.metrics().value("connection-creation-total") >= 1
            assert sharing.client_instance_id(SECONDS) != admin.client_instance_id()


async def subscribe_to_all(bootstrap: str) -> None:
    async with AdminClient(bootstrap_servers=bootstrap) as admin:
        resource = ConfigResource(ConfigResourceType.CLIENT_METRICS, "all")
        values = {"metrics": "org.apache.kafka.", "interval.ms": "100"}
        (await admin.incremental_alter_configs({resource: values})).checked()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[tuple[KafkaProcess, Path]]:
    """Apache Kafka with a plug-in that writes what is pushed into a file."""
    file = tmp_path / "pushed"
    file.touch()
    settings = {"metric.reporters": "TelemetrySink", "telemetry.sink": str(file)}
    with KafkaProcess(tmp_path / "kafka", settings, plugins=java.compiled("TelemetrySink")) as kafka:
        yield kafka, file


def pushes_in(file: Path) -> dict[str, list[tuple[bool, dict[str, float]]]]:
    """By client: whether each push was the last, and its numbers of the whole client."""
    found: dict[str, list[tuple[bool, dict[str, float]]]] = {}
    for line in file.read_text().rpartition("\n")[0].splitlines():  # the last one may be half written
        client, last, encoded = line.split(" ")
        data = MetricsData()
        data.ParseFromString(base64.b64decode(encoded))
        numbers: dict[str, float] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data.resource_metrics else ():
            shape = metric.WhichOneof("data")
            if shape == "sum":
                assert metric.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
            for point in getattr(metric, shape).data_points:
                if not point.attributes:
                    numbers[metric.name] = point.as_double
        found.setdefault(client, []).append((last == "true", numbers))
    return found


def test_our_clients_push_to_apache_kafka(sink: tuple[KafkaProcess, Path]) -> None:
    kafka, file = sink
    deadline = time.monotonic() + SECONDS

    asyncio.run(subscribe_to_all(kafka.bootstrap))
    settings = {"bootstrap.servers": kafka.bootstrap}
    with OurProducer(settings) as producer, OurConsumer({**settings, "auto.offset.reset": "earliest"}) as consumer:
        sender, reader = (uuid_text(client.client_instance_id(SECONDS)) for client in (producer, consumer))
        for _ in range(RECORDS):
            producer.send("t", b"value", partition=0)
        producer.flush()
        consumer.assign([("t", 0)])
        read = 0
        while read < RECORDS:
            read += len(consumer.poll(SECONDS))
        while not all(len(pushes_in(file).get(client, ())) > 2 for client in (sender, reader)):
            assert time.monotonic() < deadline, pushes_in(file).keys()
    found = pushes_in(file)
    while not all(found[client][-1][0] for client in (sender, reader)):  # nobody waits for long when he says good-bye
        assert time.monotonic() < deadline, found
        found = pushes_in(file)
    for client, total in (
        (sender, "org.apache.kafka.producer.record.send.total"),
        (reader, "org.apache.kafka.consumer.fetch.manager.records.consumed.total"),
    ):
        lasts = [last for last, _ in found[client]]
        assert lasts == [False] * (len(lasts) - 1) + [True]
        again = total.replace("send", "retry")  # a record that is sent again counts again, as in Kafka
        counted = sum(numbers[total] - (numbers[again] if again != total else 0) for _, numbers in found[client])
        assert counted == RECORDS
    assert found[sender][-1][1]["org.apache.kafka.producer.connection.creation.total"] == 0  # a delta


REQUIRED = (  # of clients by KIP-714, under org.apache.kafka
    *(f"org.apache.kafka.producer.connection.creation.{stat}" for stat in ("rate", "total")),
    *(f"org.apache.kafka.producer.node.request.latency.{stat}" for stat in ("avg", "max")),
    *(f"org.apache.kafka.producer.produce.throttle.time.{stat}" for stat in ("avg", "max")),
    *(f"org.apache.kafka.producer.record.queue.time.{stat}" for stat in ("avg", "max")),
    *(f"org.apache.kafka.consumer.connection.creation.{stat}" for stat in ("rate", "total")),
    *(f"org.apache.kafka.consumer.coordinator.commit.latency.{stat}" for stat in ("avg", "max")),
    *(f"org.apache.kafka.consumer.coordinator.rebalance.latency.{stat}" for stat in ("avg", "max", "total")),
    *(f"org.apache.kafka.consumer.fetch.manager.fetch.latency.{stat}" for stat in ("avg", "max")),
    *(f"org.apache.kafka.consumer.node.request.latency.{stat}" for stat in ("avg", "max")),
    "org.apache.kafka.consumer.coordinator.assigned.partitions",
    "org.apache.kafka.consumer.poll.idle.ratio.avg",
)
PRINTED = re.compile(r"^([a-z-]+):([a-z-]+):", re.MULTILINE)


def printed_by(tool: str, *arguments: str) -> set[tuple[str, str]]:
    """Groups and names of the metrics that one of Java's performance tools prints."""
    command = [*java.command(), "-cp", java.class_path(), f"org.apache.kafka.tools.{tool}", *arguments]
    done = subprocess.run([*command, "--print-metrics"], capture_output=True, text=True, timeout=SECONDS, check=True)
    return set(PRINTED.findall(done.stdout))


def test_our_metrics_are_called_as_the_java_clients_call_theirs(broker: BrokerProcess) -> None:
    where = ("--bootstrap-server", broker.bootstrap, "--topic", "t", "--num-records", "10")
    of_producer = printed_by("ProducerPerformance", *where, "--record-size", "10", "--throughput", "-1")
    of_consumer = printed_by("ConsumerPerformance", *where, "--group", "g")
    settings = {"bootstrap.servers": broker.bootstrap}
    with (
        OurProducer(settings) as producer,
        OurConsumer({**settings, "group.id": "ours", "auto.offset.reset": "earliest"}) as consumer,
    ):
        producer.send("t", b"value").result(SECONDS)
        consumer.subscribe(["t"])
        for _ in range(2):
            assert consumer.poll(SECONDS, 1)
        ours = {(key.group, key.name) for client in (producer, consumer) for key in client.metrics()}
    theirs = of_producer | of_consumer
    assert ours - theirs == set()
    assert set(REQUIRED) - {name_of(MetricName(name, group, ())) for group, name in ours} == set()
