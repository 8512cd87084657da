"""Our kafka-topics, kafka-configs and kafka-consumer-groups print what Apache Kafka's print, of the same broker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conformance import java
from tests.conformance.test_kafka_tools import TOOL_SECONDS, TOOLS
from tests.support.broker_process import BrokerProcess

SETTINGS = {"node.id": "1", "group.initial.rebalance.delay.ms": "0"}
SAME = [
    ("kafka-topics", "--list"),
    ("kafka-topics", "--describe", "--topic", "orders"),
    ("kafka-topics", "--create", "--topic", "orders"),
    ("kafka-topics", "--describe", "--topic", "nowhere"),
    ("kafka-configs", "--describe", "--entity-type", "topics", "--entity-name", "orders"),
    ("kafka-configs", "--describe", "--entity-type", "users", "--entity-name", "alice"),
    ("kafka-consumer-groups", "--list"),
    ("kafka-consumer-groups", "--list", "--state"),
    ("kafka-consumer-groups", "--describe", "--group", "billing"),
    ("kafka-consumer-groups", "--reset-offsets", "--group", "billing", "--all-topics", "--to-earliest"),
]
RESET = ("kafka-consumer-groups", "--reset-offsets", "--group", "billing")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("tools") / "data", SETTINGS) as process:
        for arguments in (
            ("kafka-topics", "--create", "--topic", "orders", "--partitions", "3", "--config", "retention.ms=60000"),
            ("kafka-configs", "--alter", "--user", "alice", "--add-config", "producer_byte_rate=1000"),
            (*RESET, "--topic", "orders", "--to-latest", "--execute"),
        ):
            ours(process, arguments)
        yield process


def ours(broker: BrokerProcess, arguments: tuple[str, ...], *, ok: bool = True) -> str:
    name, *rest = arguments
    command = [sys.executable, "-m", "pystream.cli.main", name, "--bootstrap-server", broker.bootstrap, *rest]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS)
    assert done.returncode == 0 or not ok, done.stdout + done.stderr
    return done.stdout


def kafkas(broker: BrokerProcess, arguments: tuple[str, ...]) -> str:
    name, *rest = arguments
    command = [*java.command(), "-cp", java.class_path(), TOOLS[name], "--bootstrap-server", broker.bootstrap, *rest]
    return subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS).stdout


@pytest.mark.parametrize("arguments", SAME, ids=" ".join)
def test_a_tool_prints_what_kafkas_prints(broker: BrokerProcess, arguments: tuple[str, ...]):
    """Whatever their order: Kafka's comes from hash maps."""
    expected = sorted(kafkas(broker, arguments).splitlines())

    assert expected != []
    assert sorted(ours(broker, arguments, ok=False).splitlines()) == expected
