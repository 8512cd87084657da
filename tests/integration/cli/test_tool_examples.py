"""Every one of Kafka's tools has an example in its help, and the example does what it says on a real broker."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystream.cli.commands import TOOLS
from pystream.cli.kafka.examples import EXAMPLES
from tests.support import ports
from tests.support.broker_process import ROOT, BrokerProcess

SECONDS = 120
SETTINGS = {
    "node.id": "1",
    "num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.share.min.heartbeat.interval.ms": "100",
    "group.share.heartbeat.interval.ms": "200",
}
# what the last example of a tool prints; (code, pattern) where it does not end with 0
PRINTED: dict[str, str | tuple[int, str]] = {
    "kafka-topics": r"Topic: orders\tTopicId: \S+\tPartitionCount: 1",
    "kafka-configs": r"retention.ms=86400000 .*\n  segment.ms=3600000",
    "kafka-consumer-groups": r"readers +orders +0 +\d+",
    "kafka-console-producer": r"^$",
    "kafka-console-consumer": r"(\S+\n){3}",
    "kafka-acls": (1, "Authorizer"),
    "kafka-groups": r"readers +",
    "kafka-share-groups": r"workers +orders +0 +\d+",
    "kafka-get-offsets": r"^orders:0:[01]$",
    "kafka-delete-records": r"partition: orders-0\tlow_watermark: 1",
    "kafka-log-dirs": r'"partition":"orders-0"',
    "kafka-cluster": r"^Cluster ID: \S{22}$",
    "kafka-metadata-quorum": r"LeaderId: +1",
    "kafka-console-share-consumer": r"\S+",
    "kafka-transactions": r"TransactionalId\s+Coordinator",
    "kafka-features": r"Feature: metadata.version",
    "kafka-broker-api-versions": r"Produce\(0\): ",
    "kafka-leader-election": r"^(Valid replica already elected|Successfully completed|$)",
    "kafka-client-metrics": r"interval.ms=60000",
    "kafka-reassign-partitions": r"Proposed partition reassignment configuration",
    "kafka-replica-verification": r": max lag is 0 for partition orders-0 at offset \d+ among 1 partitions",
    "kafka-producer-perf-test": r"1000 records sent, ",
    "kafka-consumer-perf-test": r"start.time, end.time, data.consumed.in.MB",
    "kafka-share-consumer-perf-test": r"start.time, end.time, data.consumed.in.MB",
    "kafka-e2e-latency": r"Percentiles: 50th = \d+",
    "kafka-verifiable-producer": r'"name":"shutdown_complete"|"name": "shutdown_complete"',
    "kafka-verifiable-consumer": r'"name":"shutdown_complete"|"name": "shutdown_complete"',
    "kafka-dump-log": r"payload: one",
    "kafka-storage": r"^Formatting ",
    "kafka-streams-groups": r"^GROUP +STATE",
    "kafka-streams-application-reset": r"orders",
    "kafka-delegation-tokens": (1, "SASL|authenticat"),
    "kafka-server-start": r"^$",
    "kafka-server-stop": r"^$",
}
RUN_ON = ("kafka-server-start", "kafka-server-stop", "kafka-replica-verification")  # each has a test of its own
ORDER = ("kafka-console-producer", "kafka-share-groups")  # before the others, which find what these leave


class Owner:
    """Of a port."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the examples are run: with a broker, and the files that they name."""
    folder, first, second = tmp_path_factory.mktemp("examples"), Owner(), Owner()
    with BrokerProcess(folder / "data", SETTINGS) as broker:
        (folder / "bootstrap").write_text(broker.bootstrap)
        (folder / "records.txt").write_text("a\tone\nb\ttwo\nc\tthree\nd\tfour\n")
        (folder / "client.properties").write_text("")
        (folder / "topics.json").write_text('{"version":1,"topics":[{"topic":"orders"}]}')
        deleted = {"version": 1, "partitions": [{"topic": "orders", "partition": 0, "offset": 1}]}
        (folder / "offsets.json").write_text(json.dumps(deleted))
        (folder / "server.properties").write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
            f"listeners=PLAINTEXT://127.0.0.1:{ports.port_for(first)},"
            f"CONTROLLER://127.0.0.1:{ports.port_for(second)}\nlog.dirs=server\n"
        )
        b = f"--bootstrap-server {broker.bootstrap}"
        assert run(folder, f"kafka-topics {b} --create --topic orders --partitions 1").returncode == 0
        for tool in ORDER:
            assert run(folder, EXAMPLES[tool][0]).returncode == 0
        reset = f"kafka-consumer-groups {b} --reset-offsets --group readers --topic orders --to-earliest --execute"
        assert run(folder, reset).returncode == 0
        yield folder


def run(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """As it is written, on the broker of the test."""
    written, _, source = line.partition(" < ")
    words = shlex.split(written.replace("localhost:9092", (folder / "bootstrap").read_text()))
    return subprocess.run(
        [sys.executable, "-m", "pystream.cli.main", *words],
        cwd=folder,
        input=(folder / source).read_text() if source else "",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=SECONDS,
        check=False,
    )


def test_every_tool_has_an_example_and_a_test_of_it():
    assert list(EXAMPLES) == list(TOOLS)
    assert list(PRINTED) == list(TOOLS)


@pytest.mark.parametrize("tool", TOOLS)
def test_help_ends_with_the_examples(tool: str, folder: Path):
    helped = run(folder, f"{tool} --help")

    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.endswith("\nExamples:\n" + "".join(f"  {line}\n" for line in EXAMPLES[tool]))


@pytest.mark.unsanitized
@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool not in RUN_ON])
def test_an_example_does_what_it_says(tool: str, folder: Path):
    *before, last = EXAMPLES[tool]
    expected = PRINTED[tool]
    code, pattern = expected if isinstance(expected, tuple) else (0, expected)

    for line in before:
        done = run(folder, line)
        assert done.returncode == 0, done.stdout + done.stderr
    done = run(folder, last)

    assert done.returncode == code, done.stdout + done.stderr
    assert re.search(pattern, done.stdout + (done.stderr if code else ""), re.MULTILINE), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.unsanitized
def test_the_examples_of_servers_start_and_stop_one(folder: Path, tmp_path: Path):
    node_id = str(os.getpid())
    (tmp_path / "bootstrap").write_text((folder / "bootstrap").read_text())
    text = (folder / "server.properties").read_text().replace("node.id=1", f"node.id={node_id}")
    (tmp_path / "server.properties").write_text(text)

    (start,), (stop,) = EXAMPLES["kafka-server-start"], EXAMPLES["kafka-server-stop"]
    assert run(tmp_path, start).returncode == 0
    stopped = run(tmp_path, stop.replace("--node-id 1", f"--node-id {node_id}"))

    assert (stopped.returncode, stopped.stdout) == (0, "")


@pytest.mark.unsanitized
def test_the_example_that_verifies_replicas_does_so_until_it_is_stopped(folder: Path):
    tool = "kafka-replica-verification"
    line = f"{EXAMPLES[tool][0]} --report-interval-ms 1 --max-wait-ms 10"
    words = shlex.split(line.replace("localhost:9092", (folder / "bootstrap").read_text()))
    command = [sys.executable, "-m", "pystream.cli.main", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    ) as process:
        assert process.stdout is not None
        started, first = process.stdout.readline(), process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)

    assert "verification process is started" in started
    assert re.search(str(PRINTED[tool]), first)
    assert (process.returncode, "Traceback" in err) == (130, False)
