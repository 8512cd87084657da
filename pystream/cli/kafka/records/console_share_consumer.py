"""`kafka-console-share-consumer`, as Kafka's ConsoleShareConsumer: records of a share group to standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from pystream.cli.kafka.options import Given, Tool, WrongUsage, flag, former, pairs, value
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.records.formatters import DEFAULT, Record
from pystream.cli.kafka.records.printing import FORMATTER_DOC, Printer, formatter_of, one_group
from pystream.cli.kafka.tool import serve
from pystream.cli.records.reading import standard_output
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.cli.records.writers import Writer
    from pystream.client.consumer.record_batch import RecordBatch
    from pystream.client.sync.share import ShareConsumer

GROUP: Final = "console-share-consumer"
TOOL: Final = Tool(
    "kafka-console-share-consumer",
    "This tool helps to read data from Kafka topics using share groups and outputs it to standard output.",
    (
        value("topic", "The topic to consume from.", "topic"),
        value("command-property", "A setting of the consumer, key=value.", "consumer_prop"),
        former("consumer-property", "command-property", "consumer_prop", leads=True),
        value("command-config", "A file of those settings; --command-property is stronger.", "config file"),
        former("consumer-config", "command-config", "config file", leads=True),
        value("formatter", "Kafka's own formatters, by their class names.", "class", str, DEFAULT),
        value("formatter-property", FORMATTER_DOC, "prop"),
        former("property", "formatter-property", "prop", leads=True),
        value("formatter-config", "A file of those; --formatter-property is stronger.", "config file"),
        value("max-messages", "How many records to consume before exiting.", "num_messages", int),
        value("timeout-ms", "Exit when no record came for so long.", "timeout_ms", int),
        flag("reject-message-on-error", "Reject a record that cannot be printed, and go on."),
        flag("reject", "Reject records as they are printed: the group never sees them again."),
        flag("release", "Release records as they are printed: others get them."),
        value("bootstrap-server", "REQUIRED: The server(s) to connect to.", "server to connect to"),
        value("key-deserializer", "The same as --formatter-property key.deserializer=.", "deserializer for keys"),
        value("value-deserializer", "The same for values.", "deserializer for values"),
        flag("enable-systest-events", "Say when the consumer has stopped."),
        value("group", f"The share group; else {GROUP}.", "share group id"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    from pystream.client.sync.share import ShareConsumer

    check(given)
    settings = settings_of(given)
    out = standard_output()
    writer = formatter_of(given, out)
    with ShareConsumer(settings) as consumer:
        _Taker(consumer, writer, out, given).print_all()


def check(given: Given) -> None:
    """Raises WrongUsage for options that do not go together."""
    if not given.has("topic"):
        raise WrongUsage("--topic is a required argument")
    given.require("bootstrap-server")
    if given.has("reject") and given.has("release"):
        raise WrongUsage("At most one of --reject and --release may be specified.")
    for number in ("max-messages", "timeout-ms"):
        given.value(number)


def settings_of(given: Given) -> dict[str, Any]:
    """The share consumer's settings: each record is acknowledged when it is printed."""
    from pystream.client.config import ShareConsumerConfig

    from_file, extra = load(given.value("command-config")), pairs(given.values("command-property"))
    group = one_group(given, from_file, extra, "consumer-config") or GROUP
    settings: dict[str, Any] = {"client.id": GROUP} | from_file | extra
    settings |= {"bootstrap.servers": given.value("bootstrap-server"), "group.id": group}
    settings["share.acknowledgement.mode"] = "explicit"
    return for_client(ShareConsumerConfig, settings)


class _Taker(Printer):
    """Prints what a share consumer takes."""

    def __init__(self, consumer: ShareConsumer, writer: Writer, out: BinaryIO, given: Given) -> None:
        from pystream.client.share.delivery import AcknowledgeType

        super().__init__(consumer, writer, out, given)
        self._consumer = consumer
        self._rejected = AcknowledgeType.REJECT
        self._done = AcknowledgeType.ACCEPT
        if given.has("reject"):
            self._done = AcknowledgeType.REJECT
        elif given.has("release"):
            self._done = AcknowledgeType.RELEASE

    def begin(self) -> None:
        self._consumer.subscribe([self._given.value("topic")])

    def printed(self, batch: RecordBatch, start: int, stop: int) -> None:
        for offset in batch.offsets[start:stop]:
            self._consumer.acknowledge_offset(batch.topic, batch.partition, offset, self._done)

    def not_printed(self, message: Record, error: PystreamError) -> None:
        if not self._given.has("reject-message-on-error"):
            raise error
        print(f"Error processing message, rejecting this message: {error}", file=sys.stderr)
        self._consumer.acknowledge_offset(message.topic, message.partition, message.offset, self._rejected)


if __name__ == "__main__":
    main()
