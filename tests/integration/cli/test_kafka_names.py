"""Kafka's tools by their names: what is done and what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from pystream.cli.commands import TOOLS
from pystream.cli.kafka.configs import parse_pairs
from pystream.cli.kafka.users import java_double
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


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.0, "0.0"),
        (5, "5.0"),
        (9_999_999.5, "9999999.5"),
        (10_000_000.0, "1.0E7"),
        (104_857_600.0, "1.048576E8"),
        (0.001, "0.001"),
        (0.0005, "5.0E-4"),
        (-1.25e-7, "-1.25E-7"),
        (float("inf"), "Infinity"),
        (float("nan"), "NaN"),
    ],
)
def test_a_rate_is_written_as_java_writes_it(number: float, written: str):
    assert java_double(number) == written


def test_a_transaction_is_ended_by_its_id_and_its_producer_shut_out(
    tool: Command, pystream: Command, broker: BrokerProcess
):
    topic, name = fresh("tool"), fresh("hangs")
    pystream("topics", "create", topic, "--partitions", "1")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, b"never seen")
    assert producer.flush(60) == 0
    assert "Ongoing" in tool("kafka-transactions", "describe", "--transactional-id", name).out

    ended = tool("kafka-transactions", "forceTerminateTransaction", "--transactionalId", name)

    assert (ended.code, ended.out, ended.err) == (0, "", "")
    with pytest.raises(KafkaException):
        producer.commit_transaction(60)
    assert pystream("consume", topic, "-e", "-q", "--committed").out == ""


def test_a_setting_that_the_client_refuses_has_the_name_of_javas_exception(tool: Command):
    refused = tool("kafka-console-producer", "--topic", "a", "--batch-size", "-1")

    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        "org.apache.kafka.common.config.ConfigException: Invalid value -1 for configuration batch.size: Value must be "
        "at least 0\n"
    )


def partition_of(group: str) -> int:
    """Of the topic of offsets: Java's hash of a text."""
    code = 0
    for letter in group:
        code = (31 * code + ord(letter)) & 0xFFFFFFFF
    return min(code, 2**32 - code) % 50


def test_records_about_share_groups_are_read_by_their_formatter(tool: Command, pystream: Command, produce: Produce):
    group, topic, offsets = fresh("queue"), fresh("tool"), "__consumer_offsets"
    pystream("topics", "create", topic, "--partitions", "1")
    produce(topic, 1)
    tool("kafka-configs", "--alter", "--group", group, "--add-config", "share.auto.offset.reset=earliest")
    tool("kafka-console-share-consumer", "--topic", topic, "--group", group, "--max-messages", "1")
    place = str(partition_of(group))
    written = pystream("consume", offsets, "-p", place, "-e", "-q", "-f", r"%K\n").out.count("\n")

    told = tool(
        "kafka-console-consumer",
        *("--topic", offsets, "--partition", place, "--offset", "earliest"),
        *("--max-messages", str(written)),
        *("--formatter", "org.apache.kafka.tools.consumer.ShareGroupMessageFormatter"),
    )

    assert told.code == 0
    assert f'{{"key":{{"type":11,"data":{{"groupId":"{group}"}}}},"value":{{"version":0,"data":{{"epoch":' in told.out
    assert '"type":2,' not in told.out


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


def test_a_topic_that_cannot_be_consumed_is_told_with_the_reason(tool: Command):
    refused = tool("kafka-console-consumer", "--topic", "a b")

    assert (refused.code, refused.out) == (1, "")
    assert refused.err.endswith(
        "InvalidTopicException: The request attempted to perform an operation on an invalid topic.\n"
    )
