"""Apache Kafka's own command-line tools, from its jars, run against the broker as an operator would run them.

Each is the class that the script of the same name in Kafka's bin/ starts; the arguments are those of its documentation.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conformance import java
from tests.conformance.conftest import NewTopicName
from tests.support.broker_process import BrokerProcess

TOOL_SECONDS = 120
TOOLS = {
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
}


class Tools:
    """Runs the tools against one broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def run(self, tool: str, *arguments: str, stdin: str = "", ok: bool = True) -> str:
        """What the tool prints, both streams; it must succeed, or must fail where `ok` is False."""
        where = ["--bootstrap-server", self.bootstrap]
        given = [*arguments, *where] if tool == "kafka-cluster" else [*where, *arguments]
        command = [*java.command(), "-cp", java.class_path(), TOOLS[tool], *given]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TOOL_SECONDS)
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, f"{tool} {' '.join(arguments)}: exit {done.returncode}\n{said[-3_000:]}"
        return said


@pytest.fixture(scope="module")
def tools(bootstrap: str) -> Tools:
    return Tools(bootstrap)


def test_topics_are_created_described_altered_and_deleted(tools: Tools, bootstrap: str) -> None:
    name = "kafka-tools-topic"
    create = ("--create", "--topic", name, "--partitions", "2", "--replication-factor", "1")
    assert f"Created topic {name}." in tools.run("kafka-topics", *create, "--config", "retention.ms=60000")
    assert "already exists" in tools.run("kafka-topics", *create, ok=False)
    tools.run("kafka-topics", "--alter", "--topic", name, "--partitions", "3")
    described = tools.run("kafka-topics", "--describe", "--topic", name)
    assert re.search(r"PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention\.ms=60000", described), described
    assert len(re.findall(r"Partition: \d\s+Leader: 0\s+Replicas: 0\s+Isr: 0", described)) == 3
    assert name in tools.run("kafka-topics", "--list").split()
    tools.run("kafka-topics", "--delete", "--topic", name)
    assert name not in tools.run("kafka-topics", "--list").split()


def test_settings_of_topics_brokers_and_groups_are_altered_and_described(tools: Tools, new_topic: NewTopicName) -> None:
    topic = new_topic("kafka-configs")
    for kind, name, setting in (
        ("topics", topic, "max.message.bytes=65536"),
        ("brokers", "0", "log.roll.ms=86400000"),
        ("groups", "some-group", "consumer.session.timeout.ms=50000"),
    ):
        entity = ("--entity-type", kind, "--entity-name", name)
        altered = tools.run("kafka-configs", *entity, "--alter", "--add-config", setting)
        assert "Completed updating config" in altered
        assert setting in tools.run("kafka-configs", *entity, "--describe")
        tools.run("kafka-configs", *entity, "--alter", "--delete-config", setting.partition("=")[0])
    refused = tools.run(
        "kafka-configs", "--entity-type", "topics", "--entity-name", topic, "--alter", "--add-config",
        "retention.ms=soon", ok=False,
    )  # fmt: skip
    assert "InvalidConfigurationException" in refused


@pytest.mark.slow
def test_users_have_credentials_and_quotas(tools: Tools) -> None:
    user = ("--entity-type", "users", "--entity-name", "ann")
    tools.run("kafka-configs", *user, "--alter", "--add-config", "SCRAM-SHA-256=[iterations=8192,password=secret]")
    tools.run("kafka-configs", *user, "--alter", "--add-config", "producer_byte_rate=1048576")
    described = tools.run("kafka-configs", *user, "--describe")
    assert "SCRAM-SHA-256=iterations=8192" in described
    assert "secret" not in described
    assert re.search(r"producer_byte_rate=1048576(\.0)?", described)


def test_records_go_in_and_out_through_the_consoles_and_offsets_are_told(tools: Tools, new_topic: NewTopicName) -> None:
    topic = new_topic("kafka-console", partitions=2)
    keyed = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    tools.run("kafka-console-producer", "--topic", topic, *keyed, stdin="".join(f"k{i}:v{i}\n" for i in range(20)))
    consumed = tools.run(
        "kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "20", "--timeout-ms", "60000",
        "--group", f"{topic}-group", "--formatter-property", "print.key=true",
    )  # fmt: skip
    pairs = {tuple(line.split("\t")) for line in consumed.splitlines() if "\t" in line}
    assert pairs == {(f"k{i}", f"v{i}") for i in range(20)}
    counted = re.findall(rf"{topic}:\d:(\d+)", tools.run("kafka-get-offsets", "--topic", topic))
    assert sum(map(int, counted)) == 20

    described = tools.run("kafka-consumer-groups", "--describe", "--group", f"{topic}-group")
    rows = re.findall(rf"{topic}-group\s+{topic}\s+\d\s+(\d+)\s+(\d+)\s+(\d+)", described)
    assert sum(int(current) for current, _, _ in rows) == sum(int(end) for _, end, _ in rows) == 20, described
    assert f"{topic}-group" in tools.run("kafka-consumer-groups", "--list")
    assert re.search(rf"{topic}-group\s+Classic\s+consumer", tools.run("kafka-groups", "--list"))
    reset = ("--reset-offsets", "--group", f"{topic}-group", "--topic", topic, "--to-earliest", "--execute")
    tools.run("kafka-consumer-groups", *reset)
    lag = re.findall(
        rf"{topic}-group\s+{topic}\s+\d\s+0\s+(\d+)\s+\1",
        tools.run("kafka-consumer-groups", "--describe", "--group", f"{topic}-group"),
    )
    assert sum(map(int, lag)) == 20
    assert "was successful" in tools.run("kafka-consumer-groups", "--delete", "--group", f"{topic}-group")


def test_the_performance_tools_report_what_they_have_moved(tools: Tools, new_topic: NewTopicName) -> None:
    topic = new_topic("kafka-perf", partitions=2)
    records = 50_000
    produced = tools.run(
        "kafka-producer-perf-test", "--topic", topic, "--num-records", str(records), "--record-size", "100",
        "--throughput", "-1", "--command-property", "acks=all",
    )  # fmt: skip
    assert f"{records} records sent" in produced
    consumed = tools.run(
        "kafka-consumer-perf-test", "--topic", topic, "--num-records", str(records), "--timeout", "60000"
    )
    assert re.search(rf", {records}, ", consumed), consumed


def test_transactions_are_listed_and_described(tools: Tools, new_topic: NewTopicName) -> None:
    topic = new_topic("kafka-transactions")
    name = f"{topic}-id"
    tools.run(
        "kafka-producer-perf-test", "--topic", topic, "--num-records", "1000", "--record-size", "100",
        "--throughput", "-1", "--transactional-id", name, "--transaction-duration-ms", "100",
    )  # fmt: skip
    assert name in tools.run("kafka-transactions", "list")
    assert re.search(
        rf"{name}.*CompleteCommit", tools.run("kafka-transactions", "describe", "--transactional-id", name)
    )
    producers = tools.run("kafka-transactions", "describe-producers", "--topic", topic, "--partition", "0")
    assert re.search(r"^\d+\s+\d+\s+\d+\s+-?\d+\s+\d+\s+None", producers, re.MULTILINE), producers
    assert "ProducerId" in tools.run("kafka-transactions", "find-hanging", "--broker-id", "0")


@pytest.mark.slow
def test_an_operators_other_tools(tools: Tools, new_topic: NewTopicName, tmp_path: Path) -> None:
    topic = new_topic("kafka-operator")
    tools.run("kafka-console-producer", "--topic", topic, stdin="a\nb\nc\n")
    offsets = tmp_path / "offsets.json"
    offsets.write_text(f'{{"partitions": [{{"topic": "{topic}", "partition": 0, "offset": 2}}], "version": 1}}')
    deleted = tools.run("kafka-delete-records", "--offset-json-file", str(offsets))
    assert re.search(rf"partition: {topic}-0\s+low_watermark: 2", deleted)
    assert f'"partition":"{topic}-0"' in tools.run("kafka-log-dirs", "--describe", "--topic-list", topic)
    elected = tools.run("kafka-leader-election", "--election-type", "preferred", "--topic", topic, "--partition", "0")
    assert "already elected" in elected or "Valid replica already" in elected
    moves = tmp_path / "moves.json"
    moves.write_text(f'{{"partitions": [{{"topic": "{topic}", "partition": 0, "replicas": [0]}}], "version": 1}}')
    assert "Successfully started" in tools.run(
        "kafka-reassign-partitions", "--reassignment-json-file", str(moves), "--execute"
    )
    assert "is completed" in tools.run("kafka-reassign-partitions", "--reassignment-json-file", str(moves), "--verify")


@pytest.mark.slow
def test_replicas_move_between_log_directories(tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    with BrokerProcess(tmp_path / "data", {"node.id": "0", "log.dirs": f"{one},{two}"}) as broker:
        tools = Tools(broker.bootstrap)
        tools.run("kafka-topics", "--create", "--topic", "moving", "--partitions", "2", "--replication-factor", "1")
        tools.run("kafka-console-producer", "--topic", "moving", stdin="".join(f"v{number}\n" for number in range(100)))
        moves = tmp_path / "moves.json"
        rows = [f'{{"topic":"moving","partition":{index},"replicas":[0],"log_dirs":["{two}"]}}' for index in range(2)]
        moves.write_text(f'{{"version":1,"partitions":[{",".join(rows)}]}}')
        file = ("--reassignment-json-file", str(moves))
        started = tools.run("kafka-reassign-partitions", *file, "--execute")
        assert started.count(f"Successfully started moving log directory to {two} for replica moving-") == 2
        verified = ""
        while "completed successfully" not in verified or "in progress" in verified:
            verified = tools.run("kafka-reassign-partitions", *file, "--verify")
            assert "failed" not in verified
        assert verified.count("completed successfully") == 2, verified
        (described,) = re.findall(r"^{.*}$", tools.run("kafka-log-dirs", "--describe", "--topic-list", "moving"), re.M)
        (of_broker,) = json.loads(described)["brokers"]
        found = {where["logDir"]: {each["partition"] for each in where["partitions"]} for where in of_broker["logDirs"]}
        consumed = tools.run(
            "kafka-console-consumer", "--topic", "moving", "--from-beginning", "--max-messages", "100",
            "--timeout-ms", "60000",
        )  # fmt: skip
    assert found == {one: set(), two: {"moving-0", "moving-1"}}
    assert {line for line in consumed.splitlines() if line.startswith("v")} == {f"v{number}" for number in range(100)}


@pytest.mark.slow
def test_the_cluster_is_described(tools: Tools) -> None:
    assert re.search(r"LeaderId:\s+0\s", tools.run("kafka-metadata-quorum", "describe", "--status"))
    assert re.search(r"^0\s", tools.run("kafka-metadata-quorum", "describe", "--replication"), re.MULTILINE)
    assert re.search(
        r"Feature: metadata.version\s.*FinalizedVersionLevel: 4.2-IV1", tools.run("kafka-features", "describe")
    )
    assert "Cluster ID: " in tools.run("kafka-cluster", "cluster-id")
    versions = tools.run("kafka-broker-api-versions")
    assert "Produce(0): 0 to 13" in versions
    assert "ConsumerGroupHeartbeat(68): 0 to 1" in versions
    assert "SecurityDisabledException" in tools.run("kafka-acls", "--list", ok=False)


@pytest.mark.slow
def test_subscriptions_to_client_metrics_are_kept(tools: Tools) -> None:
    named = ("--name", "kafka-tools-metrics")
    tools.run(
        "kafka-client-metrics", "--alter", *named, "--metrics", "org.apache.kafka.producer.", "--interval", "1000",
        "--match", "client_id=app-.*",
    )  # fmt: skip
    assert "kafka-tools-metrics" in tools.run("kafka-client-metrics", "--list")
    described = tools.run("kafka-client-metrics", "--describe", *named)
    assert "interval.ms=1000" in described
    tools.run("kafka-client-metrics", "--delete", *named)
    assert "kafka-tools-metrics" not in tools.run("kafka-client-metrics", "--list")
