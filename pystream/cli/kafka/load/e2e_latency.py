"""`kafka-e2e-latency`, as Kafka's EndToEndLatency: how long a record takes from the producer to a consumer.

By named options, or as before 4.2: BROKERS TOPIC RECORDS ACKS SIZE [PROPERTIES].
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.load.figures import now_ms
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage, value
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.tool import admin_client, serve
from pystream.common.errors import UnknownTopicOrPartition

if TYPE_CHECKING:
    from pystream.client.sync.consumer import Consumer
    from pystream.client.sync.producer import Producer

POLL_SECONDS: Final = 60.0
NAMES: Final = ("bootstrap-server", "topic", "num-records", "producer-acks", "record-size", "command-config")
POSITIONS: Final = "bootstrap-server topic num-records producer-acks record-size [optional] command-config"
TOOL: Final = Tool(
    "kafka-e2e-latency",
    "This tool measures end-to-end latency in Kafka by sending messages and timing their reception.",
    (
        value("bootstrap-server", "REQUIRED: The brokers to connect to.", "bootstrap-server"),
        value("topic", "REQUIRED: The topic to use for the test.", "topic-name"),
        value("num-records", "REQUIRED: The number of messages to send.", "count", int),
        value("producer-acks", "REQUIRED: 1 or all.", "producer-acks"),
        value("record-size", "REQUIRED: Bytes of a message.", "bytes", int),
        value("record-key-size", "Bytes of its key; none by default.", "bytes", int, 0, bare=True),
        value("num-headers", "Headers of a message.", "count", int, 0, bare=True),
        value("record-header-key-size", "Bytes of a header's name.", "bytes", int, 0, bare=True),
        value("record-header-size", "Bytes of a header's value; -1 for null.", "bytes", int, 0, bare=True),
        value("command-config", "Properties of the clients.", "config-file", bare=True),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, _named(sys.argv[1:] if arguments is None else list(arguments)), work)


def _named(words: list[str]) -> list[str]:
    """The named options that positions stand for."""
    if not words or any(word.startswith("--") for word in words):
        return words
    if len(words) not in (5, 6):
        print(
            f"Invalid number of arguments. Expected 5 or 6 positional arguments, but got {len(words)}. "
            f"Usage: {POSITIONS}",
            file=sys.stderr,
        )
        raise SystemExit(1)
    print(
        "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use named "
        f"arguments instead: {', '.join(f'--{name}' for name in NAMES)}"
    )
    return [f"--{name}={word}" for name, word in zip(NAMES, words, strict=False)]


def work(given: Given) -> None:
    from pystream.client.config import ConsumerConfig, ProducerConfig
    from pystream.client.sync.consumer import Consumer
    from pystream.client.sync.producer import Producer

    check(given)
    settings: dict[str, Any] = load(given.value("command-config"))
    settings["bootstrap.servers"] = given.value("bootstrap-server")
    mine = {
        "group.id": f"test-group-{now_ms()}",
        "enable.auto.commit": "false",
        "auto.offset.reset": "latest",
        "fetch.max.wait.ms": "0",
    }
    writes = {"linger.ms": "0", "acks": given.value("producer-acks"), "max.block.ms": str(2**63 - 1)}
    with (
        Consumer(for_client(ConsumerConfig, settings | mine)) as consumer,
        Producer(for_client(ProducerConfig, settings | writes)) as producer,
    ):
        _begin(given, settings, consumer)
        latencies = _measure(given, consumer, producer)
    _print(latencies)


def check(given: Given) -> None:
    """Raises WrongUsage for options that cannot be."""
    given.require(*NAMES[:-1])
    if given.value("producer-acks") not in ("1", "all"):
        raise WrongUsage(
            "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' "
            "or 'all'."
        )
    if given.value("num-records") <= 0:
        raise WrongUsage("Value for --num-records must be a positive integer.")
    if given.value("record-size") < 0:
        raise WrongUsage("Value for --record-size must be a non-negative integer.")


def _begin(given: Given, settings: dict[str, Any], consumer: Consumer) -> None:
    """Make the topic if it is not there, and stand at the end of its partitions."""
    topic = given.value("topic")
    with admin_client(given.value("bootstrap-server"), settings) as admin:
        described = admin.describe_topics([topic])[topic]
        if isinstance(described, UnknownTopicOrPartition):
            from pystream.client.admin.topics import NewTopic

            print(f'Topic "{topic}" does not exist. Will create topic with 1 partition(s) and replication factor = 1')
            admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)]).checked()
        partitions = [(topic, each.partition) for each in admin.describe_topics([topic]).result(topic).partitions]
    consumer.assign(partitions)
    consumer.seek_to_end(partitions)
    for partition in partitions:
        consumer.position(partition)


def _measure(given: Given, consumer: Consumer, producer: Producer) -> list[int]:
    """Nanoseconds of each record."""
    chosen = random.Random(0)
    sizes = [given.value(name) for name in ("record-size", "record-key-size", "record-header-key-size")]
    headers_size = given.value("record-header-size")
    latencies = []
    for number in range(given.value("num-records")):
        message, key, name = (bytes([chosen.randrange(65, 91)]) * size for size in sizes)
        header = None if headers_size < 0 else b"H" * headers_size
        headers = [(name.decode(), header)] * given.value("num-headers")
        begin = time.perf_counter_ns()
        producer.send(given.value("topic"), message, key or None, headers or None).result()
        messages = consumer.poll(POLL_SECONDS)
        elapsed = time.perf_counter_ns() - begin
        _compare(message, messages)
        if number % 1_000 == 0:
            print(f"{number}\t{elapsed / 1e6}")
        latencies.append(elapsed)
    consumer.commit()
    return latencies


def _compare(sent: bytes, read: Sequence[Any]) -> None:
    if not read:
        raise Mistake(f"poll() timed out before finding a result (timeout:[{round(POLL_SECONDS * 1_000)}ms])")
    if read[0].value != sent:
        raise Mistake(f"The message value read [{read[0].value!r}] did not match the message value sent [{sent!r}]")
    if len(read) != 1:
        raise Mistake(f"Only one result was expected during this test. We found [{len(read)}]")


def _print(latencies: list[int]) -> None:
    print(f"Avg latency: {sum(latencies) / len(latencies) / 1e6:.4f} ms")
    ordered = sorted(latency // 1_000_000 for latency in latencies)
    p50, p99, p999 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99, 0.999))
    print(f"Percentiles: 50th = {p50}, 99th = {p99}, 99.9th = {p999}")


if __name__ == "__main__":
    main()
