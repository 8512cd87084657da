"""`kafka-console-producer`, as Kafka's ConsoleProducer: a record for each line of standard input.

What it could not write it says on standard error, and exits with 1 then (Kafka's exits with 0).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.failures import java_text
from pystream.cli.kafka.options import Given, Tool, WrongUsage, flag, former, pairs, value
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.records.lines import Line, LineReader
from pystream.cli.kafka.tool import bootstrap, serve
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.client.sync.producer import Producer

READER: Final = "org.apache.kafka.tools.LineMessageReader"
# option -> the producer's setting; where it is not given, what is set elsewhere stands, and then its default
SETTINGS: Final = {
    "timeout": "linger.ms",
    "request-required-acks": "acks",
    "request-timeout-ms": "request.timeout.ms",
    "message-send-max-retries": "retries",
    "retry-backoff-ms": "retry.backoff.ms",
    "socket-buffer-size": "send.buffer.bytes",
    "max-memory-bytes": "buffer.memory",
    "batch-size": "batch.size",
    "max-partition-memory-bytes": "batch.size",
    "metadata-expiry-ms": "metadata.max.age.ms",
    "max-block-ms": "max.block.ms",
}
TOOL: Final = Tool(
    "kafka-console-producer",
    "This tool helps to read data from standard input and publish it to Kafka.",
    (
        value("topic", "REQUIRED: The topic name to produce messages to.", "topic"),
        value("bootstrap-server", "REQUIRED: The server(s) to connect to.", "server to connect to"),
        flag("sync", "Send one record after the other, each when the last one is acknowledged."),
        value("compression-codec", "none, gzip, snappy, lz4 or zstd; gzip without a value.", "codec", bare=True),
        value("batch-size", "Bytes of a batch, unless --max-partition-memory-bytes is given.", "size", int, 16_384),
        value("message-send-max-retries", "Retries before a record is given up.", "Integer", int, 3),
        value("retry-backoff-ms", "Wait before a retry.", "Long", int, 100),
        value("timeout", "How long a record waits for others to fill a batch, in ms.", "timeout_ms", int, 1_000),
        value("request-required-acks", "Who must have a record: all, -1, 1 or 0.", "acks", str, "-1"),
        value("request-timeout-ms", "For one request.", "request timeout ms", int, 1_500),
        value("metadata-expiry-ms", "Metadata is renewed after so long.", "metadata expiration interval", int, 300_000),
        value("max-block-ms", "How long a record waits for room or metadata.", "max block on send", int, 60_000),
        value("max-memory-bytes", "Bytes that may wait to be sent.", "total memory in bytes", int, 33_554_432),
        value("max-partition-memory-bytes", "Bytes of a batch.", "memory in bytes per partition", int, 16_384),
        value("line-reader", "Kafka's own, by its class name.", "reader_class", str, READER),
        value("socket-buffer-size", "SO_SNDBUF of connections.", "size", int, 102_400),
        value(
            "reader-property",
            "How lines are read: parse.key=false, parse.headers=false, ignore.error=false, key.separator=\\t, "
            "headers.delimiter=\\t, headers.separator=, headers.key.separator=: null.marker=",
            "prop",
        ),
        former("property", "reader-property", "prop"),
        value("reader-config", "A file of those properties; --reader-property is stronger.", "config file"),
        value("command-property", "A setting of the producer, key=value.", "producer_prop"),
        former("producer-property", "command-property", "producer_prop"),
        value("command-config", "A file of those settings; --command-property is stronger.", "config file"),
        former("producer.config", "command-config", "config file"),
    ),
    renamed="Warning: --{} is deprecated and will be removed in a future version. Use --{} instead.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    from pystream.client.sync.producer import Producer

    given.require("topic")
    reader_class = given.value("line-reader")
    if reader_class not in (READER, READER.rpartition(".")[2]):
        raise WrongUsage(f"{reader_class}: there is no Java here; {READER} is known")
    settings = settings_of(given)
    properties = load(given.value("reader-config")) | pairs(given.values("reader-property"))
    reader = LineReader.of(properties)
    failures: list[PystreamError] = []
    with Producer(settings) as producer:
        _Writer(producer, given.value("topic"), failures, sync=given.has("sync")).write_all(reader)
    if failures:
        raise SystemExit(1)


def settings_of(given: Given) -> dict[str, Any]:
    """The producer's settings."""
    from pystream.client.config import ProducerConfig

    servers = bootstrap(given, required=False)
    settings: dict[str, Any] = load(given.value("command-config")) | pairs(given.values("command-property"))
    settings["bootstrap.servers"] = servers
    settings["compression.type"] = _codec(given)
    settings.setdefault("client.id", "console-producer")
    for option, name in SETTINGS.items():
        if given.has(option) or name not in settings:
            settings[name] = given.value(option)
    return for_client(ProducerConfig, settings)


def _codec(given: Given) -> str:
    if not given.has("compression-codec"):
        return "none"
    codec: str = given.value("compression-codec") or "gzip"
    return codec


class _Writer:
    """Sends what is read, and tells what was not written."""

    def __init__(self, producer: Producer, topic: str, failures: list[PystreamError], *, sync: bool) -> None:
        self._producer = producer
        self._topic = topic
        self._failures = failures
        self._sync = sync

    def write_all(self, reader: LineReader) -> None:
        prompt = sys.stdin.isatty() and sys.stdout.isatty()
        lines = reader.read(sys.stdin.buffer)
        while True:
            if prompt:
                print(">", end="", flush=True)
            line = next(lines, None)
            if line is None:
                return
            self._send(line)

    def _send(self, line: Line) -> None:
        def told(delivery: Any) -> None:
            error = delivery.exception()
            if error is not None:
                self._tell(line, error)

        try:
            delivery = self._producer.send(
                self._topic,
                line.value,
                line.key,
                headers=line.headers or None,
                on_delivery=None if self._sync else told,
            )
        except PystreamError as error:
            if self._sync:
                raise
            self._tell(line, error)
        else:
            if self._sync:
                delivery.result()

    def _tell(self, line: Line, error: PystreamError) -> None:
        self._failures.append(error)
        key, content = ("null" if data is None else f"{len(data)} bytes" for data in (line.key, line.value))
        print(
            f"Error when sending message to topic {self._topic} with key: {key}, value: {content} with error: "
            f"{java_text(error)}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
