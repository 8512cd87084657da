"""Kafka's tools that run as processes of their own: servers that start and stop, clients that say what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.conftest import fresh
from tests.support import ports
from tests.support.broker_process import ROOT, BrokerProcess

SECONDS = 60


class Owner:
    """Of a port."""


def tool(name: str, *arguments: str, cwd: Path = ROOT) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pystream.cli.main", name, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=cwd, env=environment)


def said(name: str, *arguments: str, stdin: str = "", cwd: Path = ROOT) -> tuple[int, str, str]:
    with tool(name, *arguments, cwd=cwd) as process:
        out, err = process.communicate(stdin, timeout=SECONDS)
    return process.returncode, out, err


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    found = [json.loads(line) for line in text.splitlines()]
    return [(event.pop("name"), event) for event in found if event.pop("timestamp") > 0]


def test_lines_go_through_two_processes_and_leave_nothing_on_standard_error_but_their_count(broker: BrokerProcess):
    topic = fresh("pipes")
    b = ("--bootstrap-server", broker.bootstrap)
    assert said("kafka-topics", *b, "--create", "--topic", topic, "--partitions", "1")[0] == 0

    assert said("kafka-console-producer", *b, "--topic", topic, stdin="one\ntwo\n\xe9\n") == (0, "", "")
    read = said("kafka-console-consumer", *b, "--topic", topic, "--from-beginning", "--max-messages", "3")
    assert read == (0, "one\ntwo\n\xe9\n", "Processed a total of 3 messages\n")


def test_a_consumer_that_is_told_to_stop_has_committed_what_it_printed(broker: BrokerProcess):
    topic, group = fresh("stopped"), fresh("group")
    b = ("--bootstrap-server", broker.bootstrap)
    said("kafka-topics", *b, "--create", "--topic", topic, "--partitions", "1")
    said("kafka-console-producer", *b, "--topic", topic, stdin="one\ntwo\n")

    with tool("kafka-console-consumer", *b, "--topic", topic, "--group", group, "--from-beginning") as consumer:
        assert consumer.stdout is not None
        assert [consumer.stdout.readline() for _ in range(2)] == ["one\n", "two\n"]
        consumer.terminate()
        assert "Processed a total of 2 messages" in consumer.communicate(timeout=SECONDS)[1]
    assert consumer.returncode == 0
    _, described, _ = said("kafka-consumer-groups", *b, "--describe", "--group", group)
    assert described.splitlines()[-1].split()[:6] == [group, topic, "0", "2", "2", "0"]


LONGS = "org.apache.kafka.common.serialization.LongDeserializer"


def test_what_cannot_be_printed_ends_the_consumer_or_is_passed_over_alone(broker: BrokerProcess):
    topic = fresh("odd")
    b = ("--bootstrap-server", broker.bootstrap, "--topic", topic)
    said("kafka-topics", *b, "--create", "--partitions", "1")
    lines = ["number 1", "odd", "number 2", *("number 3",) * 40, "odd", "number 4"]
    said("kafka-console-producer", *b, stdin="".join(f"{line}\n" for line in lines))
    read = ("kafka-console-consumer", *b, "--from-beginning", "--value-deserializer", LONGS)
    whole = [str(int.from_bytes(line.encode(), "big")) for line in lines if line != "odd"]
    complaint = "Size of data received by LongDeserializer is not 8"

    code, out, err = said(*read, "--skip-message-on-error", "--max-messages", str(len(lines)))
    assert (code, out.splitlines()) == (0, whole)
    assert err.splitlines() == [
        *[f"Error processing message, skipping this message: {complaint}"] * 2,
        f"Processed a total of {len(lines)} messages",
    ]
    code, out, err = said(*read)
    assert (code, out.splitlines()) == (1, whole[:1])
    assert err.splitlines() == [
        "Processed a total of 2 messages",
        f"org.apache.kafka.common.errors.SerializationException: {complaint}",
    ]


def test_a_group_has_not_read_what_comes_behind_a_record_that_ends_its_consumer(broker: BrokerProcess):
    """As Kafka's, which takes back what it has polled and not come to."""
    topic, group = fresh("odd"), fresh("group")
    b = ("--bootstrap-server", broker.bootstrap)
    said("kafka-topics", *b, "--create", "--topic", topic, "--partitions", "1")
    said("kafka-console-producer", *b, "--topic", topic, stdin="number 1\nodd\nnumber 2\nnumber 3\n")

    read = ("kafka-console-consumer", *b, "--topic", topic, "--group", group, "--from-beginning")
    code, out, _ = said(*read, "--value-deserializer", LONGS)

    assert (code, len(out.splitlines())) == (1, 1)
    _, described, _ = said("kafka-consumer-groups", *b, "--describe", "--group", group)
    assert described.splitlines()[-1].split()[:6] == [group, topic, "0", "2", "4", "2"]


def test_a_share_group_is_told_what_could_not_be_printed_and_takes_back_what_is_released(broker: BrokerProcess):
    topic, group = fresh("odd"), fresh("queue")
    b = ("--bootstrap-server", broker.bootstrap)
    said("kafka-topics", *b, "--create", "--topic", topic, "--partitions", "1")
    said("kafka-configs", *b, "--alter", "--group", group, "--add-config", "share.auto.offset.reset=earliest")
    said("kafka-console-producer", *b, "--topic", topic, stdin="number 1\nodd\nnumber 2\n")
    counts = ("--formatter-property", "print.delivery=true", "--max-messages", "3")
    take = ("kafka-console-share-consumer", *b, "--topic", topic, "--group", group, *counts)

    assert said(*take, "--release")[1].splitlines() == [
        f"Delivery:1\t{line}" for line in ("number 1", "odd", "number 2")
    ]
    code, out, err = said(*take, "--value-deserializer", LONGS, "--reject-message-on-error")
    assert (code, [line.split("\t")[0] for line in out.splitlines()]) == (0, ["Delivery:2"] * 2)
    assert "rejecting this message: Size of data" in err


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ((), "v\nnull\n"),
        (("print.value=false",), ""),
        (("print.value=false", "print.key=true", "line.separator=;"), "k;null;"),
        (
            ("print.key=true", "print.offset=true", "null.literal=NIL", "key.separator=%"),
            "Offset:0%k%v\nOffset:1%NIL%NIL\n",
        ),
        (
            ("print.headers=true", "print.partition=true", "headers.separator=;"),
            ("Partition:0\th:1;h:null\tv\nPartition:0\tNO_HEADERS\tnull\n"),
        ),
        (
            ("print.delivery=true", "print.epoch=true"),
            ("Delivery:NOT_PRESENT\tEpoch:NOT_PRESENT\tv\nDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\tnull\n"),
        ),
        (("key.deserializer=StringDeserializer", "value.deserializer=BytesDeserializer"), "v\nnull\n"),
    ],
    ids=str,
)
def test_a_record_is_printed_as_the_properties_say(
    broker: BrokerProcess, two_records: str, properties: tuple[str, ...], expected: str
):
    given = [word for each in properties for word in ("--formatter-property", each)]
    read = ("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", two_records)

    code, out, err = said(*read, "--from-beginning", "--max-messages", "2", *given)

    assert (code, out, err) == (0, expected, "Processed a total of 2 messages\n")


@pytest.fixture(scope="module")
def two_records(broker: BrokerProcess) -> str:
    """A topic with one that has all, and one that has nothing."""
    topic = fresh("two")
    b = ("--bootstrap-server", broker.bootstrap, "--topic", topic)
    said("kafka-topics", *b, "--create", "--partitions", "1")
    said(
        "kafka-console-producer",
        *b,
        *(
            "--reader-property",
            "parse.key=true",
            "--reader-property",
            "parse.headers=true",
            "--reader-property",
            "null.marker=NULL",
        ),
        stdin="h:1,h:NULL\tk\tv\nNULL\tNULL\tNULL\n",
    )
    return topic


def test_verifiable_clients_tell_of_each_record_and_commit(broker: BrokerProcess):
    topic, group = fresh("verifiable"), fresh("group")
    b = ("--bootstrap-server", broker.bootstrap)
    said("kafka-topics", *b, "--create", "--topic", topic, "--partitions", "1")

    code, out, _ = said(
        "kafka-verifiable-producer",
        *(*b, "--topic", topic, "--max-messages", "3", "--value-prefix", "7", "--repeating-keys", "2"),
    )
    place = {"topic": topic, "partition": 0}
    first, *sends, closed, (last_name, figures) = events(out)
    assert (code, first, closed) == (0, ("startup_complete", {}), ("shutdown_complete", {}))
    assert sends == [
        ("producer_send_success", {"key": str(number % 2), "value": f"7.{number}", **place, "offset": number})
        for number in range(3)
    ]
    assert (last_name, figures["sent"], figures["acked"]) == ("tool_data", 3, 3)

    code, out, _ = said(
        "kafka-verifiable-consumer", *b, "--topic", topic, "--group-id", group, "--max-messages", "3", "--verbose"
    )
    told = events(out)
    assert code == 0
    assert [event["value"] for name, event in told if name == "record_data"] == ["7.0", "7.1", "7.2"]
    assert ("partitions_assigned", {"partitions": [place]}) in told
    committed = [event["offsets"] for name, event in told if name == "offsets_committed"]
    assert committed[-1] == [{**place, "offset": 3}]
    assert sum(event["count"] for name, event in told if name == "records_consumed") == 3  # type: ignore[misc]
    assert told[-1] == ("shutdown_complete", {})


def test_a_load_says_with_its_code_that_records_were_refused_and_takes_payloads_of_any_bytes(
    broker: BrokerProcess, tmp_path: Path
):
    topic = fresh("load")
    b = ("--bootstrap-server", broker.bootstrap)
    (tmp_path / "payloads").write_bytes(b"\xff\xfe\n\x80\n")
    load = ("kafka-producer-perf-test", *b, "--topic", topic, "--num-records", "10", "--throughput", "-1")
    payloads = ("--payload-file", str(tmp_path / "payloads"))
    said("kafka-topics", *b, "--create", "--topic", topic, "--partitions", "1")

    code, out, _ = said(*load, *payloads)
    assert (code, "Number of records read: 2" in out, "10 records sent" in out) == (0, True, True)

    said("kafka-configs", *b, "--alter", "--topic", topic, "--add-config", "cleanup.policy=compact")
    code, out, err = said(*load, "--record-size", "10")
    assert (code, "0 records sent" in out) == (1, True)
    assert "Compacted topic cannot accept message without key" in err


@pytest.mark.unsanitized
def test_a_formatted_server_starts_as_that_cluster_and_stops_when_told(tmp_path: Path):
    first, second = Owner(), Owner()
    port, cluster_id, node_id = ports.port_for(first), "c2VydmVyLXN0YXJ0LXN0bw", str(os.getpid())
    settings = {
        "process.roles": "broker,controller",
        "node.id": node_id,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{ports.port_for(second)}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(tmp_path / "data"),
    }
    (tmp_path / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    assert said("kafka-storage", "format", "-t", cluster_id, "-c", "server.properties", cwd=tmp_path)[0] == 0

    with tool("kafka-server-start", "server.properties", "--override", "num.partitions=5", cwd=tmp_path) as server:
        b = ("--bootstrap-server", f"127.0.0.1:{port}")
        assert said("kafka-cluster", "cluster-id", *b)[:2] == (0, f"Cluster ID: {cluster_id}\n")
        assert "num.partitions=5" in said("kafka-configs", *b, "--describe", "--all", "--broker", node_id)[1]
        assert said("kafka-server-stop", "--node-id", f"1{node_id}")[0] == 1
        assert said("kafka-server-stop", "--node-id", node_id) == (0, "", "")
        server.communicate(timeout=SECONDS)
    assert server.returncode == 0


def test_a_server_is_not_started_with_what_is_no_setting():
    usage = "USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*\n"
    assert said("kafka-server-start") == (1, "", usage)
    assert said("kafka-server-start", "nowhere.properties")[:2] == (1, "")
    assert said("kafka-server-start", "README.md", "--override", "novalue") == (
        1,
        "",
        "Missing value for key novalue\n",
    )
