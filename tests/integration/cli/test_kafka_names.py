"""Kafka's tools by their names: what is done and what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pystream.cli.commands import TOOLS
from pystream.cli.kafka.configs import parse_pairs
from pystream.cli.main import main
from pystream.common.errors import InvalidRequest
from tests.integration.cli.conftest import Command, Outcome, Produce, fresh
from tests.support.broker_process import BrokerProcess


@pytest.fixture
def tool(broker: BrokerProcess, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(name: str, *arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as stopped:
            main([name, "--bootstrap-server", broker.bootstrap, *arguments])
        captured = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return Outcome(stopped.value.code, captured.out, captured.err)

    return run


def test_topics_are_created_described_grown_and_deleted(tool: Command):
    name = fresh("tool")

    created = tool("kafka-topics", "--create", "--topic", name, "--partitions", "2", "--config", "segment.ms=60000")
    assert (created.code, created.out) == (0, f"Created topic {name}.\n")
    again = tool("kafka-topics", "--create", "--topic", name)
    assert (again.code, again.out) == (1, f"Error while executing topic command : Topic '{name}' already exists.\n")
    assert tool("kafka-topics", "--create", "--topic", name, "--if-not-exists").code == 0

    assert tool("kafka-topics", "--alter", "--topic", name, "--partitions", "3").code == 0
    head, *lines = tool("kafka-topics", "--describe", "--topic", name).out.splitlines()
    assert head.startswith(f"Topic: {name}\tTopicId: ")
    assert "\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: " in head
    assert "segment.ms=60000" in head
    assert lines[2] == f"\tTopic: {name}\tPartition: 2\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: \tLastKnownElr: "
    assert tool("kafka-topics", "--describe", "--topic", name, "--unavailable-partitions").out == ""

    assert tool("kafka-topics", "--list", "--topic", f"{name},nothing").out == f"{name}\n"
    assert tool("kafka-topics", "--delete", "--topic", name).out == ""
    gone = tool("kafka-topics", "--describe", "--topic", name)
    assert (gone.code, gone.out) == (
        1,
        f"Error while executing topic command : Topic '{name}' does not exist as expected\n",
    )
    assert tool("kafka-topics", "--delete", "--topic", name, "--if-exists").code == 0


def test_settings_and_quotas_are_described_and_altered(tool: Command, tmp_path: Path):
    name = fresh("tool")
    tool("kafka-topics", "--create", "--topic", name)
    topic = ("--entity-type", "topics", "--entity-name", name)

    altered = tool(
        "kafka-configs", "--alter", *topic, "--add-config", "cleanup.policy=[delete,compact],segment.ms=60000"
    )
    assert altered.out == f"Completed updating config for topic {name}.\n"
    tool("kafka-configs", "--alter", *topic, "--delete-config", "segment.ms")
    described = tool("kafka-configs", "--describe", "--topic", name).out.splitlines()
    assert described[0] == f"Dynamic configs for topic {name} are:"
    assert [line.split(" synonyms=")[0] for line in described[1:]] == [
        "  cleanup.policy=delete,compact sensitive=false"
    ]
    assert (
        "synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=delete,compact, DEFAULT_CONFIG:log.cleanup.policy=delete}"
        in (described[1])
    )
    assert "  segment.bytes=" in tool("kafka-configs", "--describe", *topic, "--all").out

    user = fresh("alice")
    (tmp_path / "quotas").write_text("consumer_byte_rate=5\n")
    given = ("--entity-type", "users", "--entity-name", user, "--add-config-file", str(tmp_path / "quotas"))
    assert tool("kafka-configs", "--alter", *given).out == f"Completed updating config for user {user}.\n"
    assert tool("kafka-configs", "--describe", "--user", user).out == (
        f"Quota configs for user-principal '{user}' are consumer_byte_rate=5.0\n"
    )


def test_pairs_may_hold_commas_in_brackets():
    assert parse_pairs("a=1, b=[2,3],c=") == {"a": "1", "b": "2,3", "c": ""}
    with pytest.raises(InvalidRequest, match="key=val"):
        parse_pairs("a")


def test_groups_are_reset_described_and_deleted(tool: Command, pystream: Command, produce: Produce):
    group, topic = fresh("tool"), fresh("tool")
    pystream("topics", "create", topic, "--partitions", "1")
    produce(topic, 10)
    reset = ("kafka-consumer-groups", "--reset-offsets", "--group", group, "--topic", topic)

    planned = tool(*reset, "--to-latest")
    assert planned.out.splitlines() == [
        "",
        f"GROUP           {'TOPIC':<{max(15, len(topic))}} PARTITION  NEW-OFFSET".replace(
            "GROUP          ", "GROUP".ljust(max(15, len(group)))
        ),
        f"{group:<15} {topic:<15} 0          10",
    ]
    assert tool(*reset, "--to-offset", "4", "--execute").code == 0
    assert tool(*reset, "--shift-by", "-1", "--execute").code == 0
    described = tool("kafka-consumer-groups", "--describe", "--group", group)
    assert described.out.splitlines()[2].split() == [group, topic, "0", "3", "10", "7", "-", "-", "-"]
    assert f"Consumer group '{group}' has no active members." in described.err

    assert group in tool("kafka-consumer-groups", "--list").out.splitlines()
    states = tool("kafka-consumer-groups", "--list", "--state").out.splitlines()
    assert states[0].split() == ["GROUP", "STATE"]
    assert [group, "Empty"] in [line.split() for line in states]
    assert tool("kafka-consumer-groups", "--describe", "--group", group, "--state").out.split()[-2:] == ["Empty", "0"]
    assert tool("kafka-consumer-groups", "--delete", "--group", group).out == (
        f"Deletion of requested consumer groups ('{group}') was successful.\n"
    )
    failed = tool("kafka-consumer-groups", "--delete", "--group", group)
    assert failed.code == 1
    assert f"* Group '{group}' could not be deleted due to: " in failed.out


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_has_help_and_refuses_what_it_does_not_know(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as helped:
        main([name, "--help"])
    assert (helped.value.code, "help" in capsys.readouterr().out) == (0, True)

    with pytest.raises(SystemExit) as refused:
        main([name, "--no-such-flag"])
    captured = capsys.readouterr()
    assert (refused.value.code, captured.out) == (1, "")
    assert any(said in captured.err for said in ("no-such-flag", "arguments are required", "USAGE: kafka-server-start"))
