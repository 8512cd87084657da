"""The example scripts of confluent-kafka-python and kafka-python, unchanged, on pystream's faces of the libraries.

PYSTREAM_CONFLUENT_SRC and PYSTREAM_KAFKA_PYTHON_SRC name their source trees; without one its tests are skipped.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

RUN_AS = Path(__file__).with_name("run_as.py")
ROOT = RUN_AS.parents[3]
EXAMPLE_SECONDS = 240


def source(variable: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names no source tree")
    return Path(os.environ[variable])


def start(package: str, script: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(RUN_AS), package, str(script), *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(package: str, script: Path, *arguments: str, text: str = "") -> str:
    process = start(package, script, *arguments)
    out, _ = process.communicate(text, timeout=EXAMPLE_SECONDS)
    assert process.returncode == 0, out[-3_000:]
    return out


def confluent(name: str, *arguments: str, text: str = "") -> str:
    return run("confluent_kafka", source("PYSTREAM_CONFLUENT_SRC") / "examples" / name, *arguments, text=text)


@pytest.fixture
def topic(new_topic: Callable[..., str]) -> str:
    return new_topic("example", partitions=2)


def test_confluents_producer_consumer_and_lag(bootstrap: str, topic: str) -> None:
    lines = [f"line {number}" for number in range(50)]
    out = confluent("producer.py", bootstrap, topic, text="\n".join(lines))
    assert out.count("% Message delivered to") == 50
    script = source("PYSTREAM_CONFLUENT_SRC") / "examples" / "consumer.py"
    consumer = start("confluent_kafka", script, "-T", "200", bootstrap, topic, topic)
    assert consumer.stdout is not None
    seen: list[str] = []
    for line in consumer.stdout:
        seen += re.findall(r"^b'(line \d+)'$", line.rstrip())
        if len(seen) == 50 and line.startswith("KAFKA Stats"):  # of a later poll: the last one's offset is stored
            break
    consumer.send_signal(signal.SIGINT)
    rest, _ = consumer.communicate(timeout=EXAMPLE_SECONDS)
    assert sorted(seen) == sorted(lines)
    assert "Aborted by user" in rest
    assert consumer.returncode == 0
    rows = [line.split() for line in confluent("get_watermark_offsets.py", bootstrap, topic, topic).splitlines()[2:]]
    assert sum(int(row[-2]) for row in rows if row[-2] != "-") == 50
    assert [row[-1] for row in rows] == ["0", "0"]


def test_confluents_context_managers(bootstrap: str) -> None:
    out = confluent("context_manager_example.py", bootstrap, f"example-{uuid4()}")
    assert out.count("Message delivered to") == 5
    assert len(re.findall(r"Consumed message: key=key-\d, value=Message \d from", out)) == 5
    assert "All examples completed successfully" in out


def test_confluents_exactly_once_transactions(bootstrap: str, topic: str, new_topic: Callable[..., str]) -> None:
    output = new_topic("example-out")
    confluent("producer.py", bootstrap, topic, text="\n".join(map(str, range(250))))
    partition = "0"
    out = confluent("eos_transactions.py", "-b", bootstrap, "-t", topic, "-o", output, "-p", partition)
    moved = sum(map(int, re.findall(r"transaction with (\d+) messages", out)))
    lag = confluent("get_watermark_offsets.py", bootstrap, f"{topic}-nobody", topic, output).splitlines()[2:]
    ends = {line.split("[")[0].strip() + line.split()[1]: int(line.split()[-1]) for line in lag}
    assert "Reached end of input" in out
    assert moved == ends[f"{topic}[{partition}]"]
    assert ends[f"{output}[0]"] >= moved


def test_confluents_admin_api(bootstrap: str) -> None:
    topic, group = f"example-{uuid4()}", f"example-{uuid4()}"

    def admin(*arguments: str) -> str:
        return confluent("adminapi.py", bootstrap, *arguments)

    assert f"Topic {topic} created" in admin("create_topics", topic)
    assert f'"{topic}" with 3 partition(s)' in admin("list", "topics")
    assert f"Additional partitions created for topic {topic}" in admin("create_partitions", topic, "4")
    assert "configuration successfully altered" in admin(
        "incremental_alter_configs", "TOPIC", topic, "retention.ms=SET:3600000;cleanup.policy=APPEND:compact"
    )
    assert "updated" in admin("delta_alter_configs", "topic", topic, "retention.ms=7200000")
    described = admin("describe_configs", "topic", topic)
    assert re.search(r"retention.ms = 7200000 .*ConfigSource.DYNAMIC_TOPIC_CONFIG", described)
    assert re.search(r"cleanup.policy = delete,compact", described)
    assert "configuration successfully altered" in admin("alter_configs", "topic", topic, "retention.ms=-1")
    assert topic in admin("describe_topics", "1", topic)
    assert "Cluster_id" in admin("describe_cluster", "1")
    confluent("producer.py", bootstrap, topic, text="a\nb\nc")
    assert "Offset :" in admin("list_offsets", "READ_UNCOMMITTED", topic, "0", "LATEST")
    assert "deleted before offset" in admin("delete_records", topic, "0", "0")
    assert "returned 1 result" in admin("elect_leaders", "PREFERRED", topic, "0")
    assert f"{topic} [0]: 0" in admin("alter_consumer_group_offsets", group, topic, "0", "0")
    assert f"{topic} [0]: 0" in admin("list_consumer_group_offsets", group, topic, "0")
    assert group in admin("list_consumer_groups")
    assert f"Group Id: {group}" in admin("describe_consumer_groups", "0", group)
    assert "successfully" in admin("delete_consumer_groups", group)
    assert f"Topic {topic} deleted" in admin("delete_topics", topic)
    refused = admin("delete_topics", topic)
    assert f"Failed to delete topic {topic}" in refused


def test_confluents_admin_api_with_a_logger(bootstrap: str) -> None:
    out = confluent("adminapi_logger.py", bootstrap)
    assert "consumer groups" in out
    assert "0 errors" in out


def until(process: subprocess.Popen[str], *wanted: str) -> str:
    """What it prints until all of this was in it; then it gets Ctrl-C, and ends well."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if all(each in seen for each in wanted):
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=EXAMPLE_SECONDS)
    assert all(each in seen for each in wanted), seen[-3_000:]
    assert process.returncode == 0, rest[-3_000:]
    return seen + rest


def test_confluents_asyncio_clients(bootstrap: str, topic: str) -> None:
    """The producer's transactions go on until the consumer, which begins at the end, has seen some of them."""
    script = source("PYSTREAM_CONFLUENT_SRC") / "examples" / "asyncio_example.py"
    out = until(start("confluent_kafka", script, bootstrap, topic), "Consumed: b'testvalue9'", "Kafka stats:")
    assert re.search(rf"Produced to: {topic} \[\d\] @ \d+", out)
    assert "Stored offsets were committed" in out
    assert "Closed consumer" in out
    assert "Closed producer" in out


@pytest.mark.parametrize("mode", ["", "_context_manager", "_commit_sync", "_commit_async"])
def test_confluents_share_consumers(mode: str, bootstrap: str, topic: str, admin: AdminClient) -> None:
    group = f"{topic}-share"
    resource = ConfigResource(ResourceType.GROUP, group)
    earliest = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    resource.add_incremental_config(earliest)
    admin.incremental_alter_configs([resource])[resource].result(EXAMPLE_SECONDS)
    lines = [f"line {number}" for number in range(20)]
    confluent("producer.py", bootstrap, topic, text="\n".join(lines))
    script = source("PYSTREAM_CONFLUENT_SRC") / "examples" / f"share_consumer{mode}.py"
    consumer = start("confluent_kafka", script, bootstrap, group, topic)
    out = until(consumer, *(f"b'{line}'\n" for line in lines), *(["Committed"] if mode == "_commit_async" else []))
    assert "Error" not in out
    assert "Aborted by user" in out


def test_kafka_pythons_example(bootstrap: str, tmp_path: Path) -> None:
    """Its address is written into it: that is all that is changed."""
    text = (source("PYSTREAM_KAFKA_PYTHON_SRC") / "example.py").read_text()
    assert "localhost:9092" in text
    script = tmp_path / "example.py"
    script.write_text(text.replace("localhost:9092", bootstrap))
    out = run("kafka", script)
    assert out.count("value=b'test'") > 5
    assert out.count("Hola, mundo!") > 5
    assert "ConsumerRecord(topic='my-topic', partition=0" in out
