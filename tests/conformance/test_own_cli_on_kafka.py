"""pystream's own command line on Apache Kafka, with an authorizer: what a broker without one cannot be asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.kafka_process import KafkaProcess
from tests.conformance.test_kafka_tools import TOOL_SECONDS

AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
WANTED = """
topics:
  - {name: orders, partitions: 1, configs: {retention.ms: 100000}}
acls:
  - {principal: "User:alice", operations: [read, describe], resource: topic, name: ord, pattern: prefixed}
  - {principal: "User:bob", operation: alter, resource: cluster}
quotas:
  - {entity: {user: alice}, quotas: {producer_byte_rate: 1048576}}
"""
LESS = """
topics: [{name: orders}]
acls: [{principal: "User:bob", operation: alter, resource: cluster}]
quotas: []
"""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaProcess]:
    with KafkaProcess(tmp_path_factory.mktemp("kafka") / "broker", AUTHORIZER) as broker:
        yield broker


def run(kafka: KafkaProcess, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pystream.cli.main", *arguments, "-b", kafka.bootstrap, "--timeout", "60"]
    return subprocess.run(command, input=given, capture_output=True, timeout=TOOL_SECONDS, check=False)


def pystream(kafka: KafkaProcess, *arguments: str, given: bytes = b"", code: int = 0) -> str:
    done = run(kafka, *arguments, given=given)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.decode()


def eventually(kafka: KafkaProcess, wanted: Callable[[str], bool], *arguments: str) -> None:
    """It says what is wanted in the end: Kafka's brokers hear of changes a moment after they were acknowledged."""
    ends_at = time.monotonic() + TOOL_SECONDS
    while (done := run(kafka, *arguments)).returncode or not wanted(done.stdout.decode()):
        assert time.monotonic() < ends_at, done.stdout + done.stderr


def test_acls_are_applied_pruned_and_shown(kafka: KafkaProcess, tmp_path: Path):
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(WANTED)

    planned = json.loads(pystream(kafka, "diff", "-f", str(manifest), "--json", code=1))
    done = json.loads(pystream(kafka, "apply", "-f", str(manifest), "--json"))
    assert len(planned) == len(done) == 5
    eventually(kafka, lambda said: said == "", "diff", "-f", str(manifest), "-o", "name")
    acls = json.loads(pystream(kafka, "acls", "list", "--json"))
    assert [(row["principal"], row["operation"], row["pattern"]) for row in acls] == [
        ("User:bob", "alter", "literal"),
        ("User:alice", "describe", "prefixed"),
        ("User:alice", "read", "prefixed"),
    ]
    entry = ("--resource", "topic", "--name", "other", "--principal", "User:carol", "--operation", "write")
    pystream(kafka, "acls", "create", *entry)
    eventually(kafka, lambda said: "User:carol" in said, "acls", "delete", *entry, "--dry-run")

    manifest.write_text(LESS)
    pystream(kafka, "apply", "-f", str(manifest), "--prune")
    eventually(kafka, lambda said: said == "", "diff", "-f", str(manifest), "--prune", "-o", "name")
    assert [row["principal"] for row in json.loads(pystream(kafka, "acls", "list", "--json"))] == ["User:bob"]
    assert json.loads(pystream(kafka, "quotas", "describe", "--json")) == []


def test_records_go_in_and_come_out_and_groups_move(kafka: KafkaProcess):
    pystream(kafka, "topics", "create", "moved", "--partitions", "1")

    pystream(kafka, "produce", "moved", "-K", ":", given=b"a:1\nb:2\nc:3\n")
    assert pystream(kafka, "consume", "moved", "-e", "-q", "-f", r"%k=%s@%o\n") == "a=1@0\nb=2@1\nc=3@2\n"
    assert pystream(kafka, "consume", "moved", "-G", "readers", "-o", "beginning", "-c", "2") == "1\n2\n"
    pystream(kafka, "groups", "reset-offsets", "readers", "--shift-by", "-1", "--execute")
    assert pystream(kafka, "consume", "moved", "-G", "readers", "-e") == "2\n3\n"


def test_the_doctor_looks_at_everything(kafka: KafkaProcess):
    command = [sys.executable, "-m", "pystream.cli.main", "doctor", "--all", "--json", "-b", kafka.bootstrap]
    done = subprocess.run(command, capture_output=True, timeout=TOOL_SECONDS, check=False)

    found = {row["check"]: row["severity"] for row in json.loads(done.stdout)}
    looked_at = {name: found[name] for name in ("listeners", "versions", "clock", "partitions", "transactions")}
    assert looked_at == dict.fromkeys(looked_at, "ok")
    assert "access" not in found


def test_kafkas_name_adds_what_is_not_there_and_lists_as_kafkas_tool(kafka: KafkaProcess):
    """The words of Kafka 4.2, which says of an entry that is there that it is."""
    base = [sys.executable, "-m", "pystream.cli.main", "kafka-acls", "--bootstrap-server", kafka.bootstrap]
    resource = "ResourcePattern(resourceType=TOPIC, name=named, patternType=LITERAL)"
    entries = [f"(principal=User:dora, host=*, operation={each}, permissionType=ALLOW)" for each in ("READ", "WRITE")]

    def said(*words: str, answer: str = "") -> str:
        done = subprocess.run(
            [*base, *words], input=answer, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def listed(wanted: str) -> str:
        ends_at = time.monotonic() + TOOL_SECONDS
        while (found := said("--list", "--topic", "named")) != wanted:
            assert time.monotonic() < ends_at, found
        return found

    add = ("--add", "--topic", "named", "--allow-principal", "User:dora", "--operation", "read")
    assert said(*add) == f"Adding ACLs for resource `{resource}`: \n \t{entries[0]}\n\n"
    assert listed(f"Current ACLs for resource `{resource}`:\n\t{entries[0]}\n\n")
    assert said(*add, "--operation", "write") == (
        f"Acl (pattern={resource}, entry={entries[0]}) already exists.\n"
        f"Adding ACLs for resource `{resource}`: \n \t{entries[1]}\n\n"
    )
    question = f"Are you sure you want to delete all ACLs for resource filter `{resource}`? (y/n)\n"
    assert said("--remove", "--topic", "named", answer="n\n") == question
    assert said("--remove", "--topic", "named", answer="y\n") == question
    assert listed("") == ""
