"""`kafka-console-consumer`, as Kafka's ConsoleConsumer: records to standard output."""

from __future__ import annotations

import random
import re
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
    from pystream.client.sync.consumer import Consumer

EARLIEST: Final = -2
LATEST: Final = -1
TOOL: Final = Tool(
    "kafka-console-consumer",
    "This tool helps to read data from Kafka topics and outputs it to standard output.",
    (
        value("topic", "The topic to consume on.", "topic"),
        value("include", "Regular expression of the topics to consume.", "Java regex (String)"),
        value("partition", "The partition to consume, from its end unless --offset is given.", "partition", int),
        value("offset", "A number, earliest, or latest; with --partition.", "consume offset", str, "latest"),
        value("command-property", "A setting of the consumer, key=value.", "consumer_prop"),
        former("consumer-property", "command-property", "consumer_prop", leads=True),
        value("command-config", "A file of those settings; --command-property is stronger.", "config file"),
        former("consumer.config", "command-config", "config file"),
        value("formatter", "Kafka's own formatters, by their class names.", "class", str, DEFAULT),
        value("formatter-property", FORMATTER_DOC, "prop"),
        former("property", "formatter-property", "prop", leads=True),
        value("formatter-config", "A file of those; --formatter-property is stronger.", "config file"),
        flag("from-beginning", "Begin with the first record where there is no committed offset."),
        value("max-messages", "How many records to consume before exiting.", "num_messages", int),
        value("timeout-ms", "Exit when no record came for so long.", "timeout_ms", int),
        flag("skip-message-on-error", "Go on after a record that cannot be printed."),
        value("bootstrap-server", "REQUIRED: The server(s) to connect to.", "server to connect to"),
        value("key-deserializer", "The same as --formatter-property key.deserializer=.", "deserializer for key"),
        value("value-deserializer", "The same for values.", "deserializer for values"),
        flag("enable-systest-events", "Say when the consumer has stopped."),
        value("isolation-level", "read_committed leaves out what was aborted.", "String", str, "read_uncommitted"),
        value("group", "The consumer group id of the consumer.", "consumer group id"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work)


def work(given: Given) -> None:
    from pystream.client.sync.consumer import Consumer

    check(given)
    settings = settings_of(given)
    start_of(given)
    out = standard_output()
    writer = formatter_of(given, out)
    with Consumer(settings) as consumer:
        _Reader(consumer, writer, out, given).print_all()


def check(given: Given) -> None:
    """Raises WrongUsage for options that do not go together."""
    if given.has("topic") == given.has("include"):
        raise WrongUsage("Exactly one of the following arguments is required: [topic], [include]")
    if given.has("partition"):
        if not given.has("topic"):
            raise WrongUsage("The topic is required when partition is specified.")
        if given.has("from-beginning") and given.has("offset"):
            raise WrongUsage("Options from-beginning and offset cannot be specified together.")
    elif given.has("offset"):
        raise WrongUsage("The partition is required when offset is specified.")
    given.require("bootstrap-server")
    for number in ("partition", "max-messages", "timeout-ms"):
        given.value(number)


def settings_of(given: Given) -> dict[str, Any]:
    """The consumer's settings."""
    from pystream.client.config import ConsumerConfig

    from_file, extra = load(given.value("command-config")), pairs(given.values("command-property"))
    group = one_group(given, from_file, extra, "consumer.config")
    if group is not None and given.has("partition"):
        raise WrongUsage("Options group and partition cannot be specified together.")
    settings: dict[str, Any] = from_file | extra
    reset = settings.get("auto.offset.reset")
    if given.has("from-beginning") and reset not in (None, "earliest"):
        raise WrongUsage(
            f"Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
        )
    settings.setdefault("auto.offset.reset", "earliest" if given.has("from-beginning") else "latest")
    settings["bootstrap.servers"] = given.value("bootstrap-server")
    settings.setdefault("client.id", "console-consumer")
    if given.has("isolation-level") or "isolation.level" not in settings:
        settings["isolation.level"] = given.value("isolation-level")
    if group is not None:
        settings["group.id"] = group
    else:
        settings["group.id"] = f"console-consumer-{random.randrange(100_000)}"
        settings.setdefault("enable.auto.commit", "false")
    settings.setdefault("group.protocol", "classic")
    return for_client(ConsumerConfig, settings)


def start_of(given: Given) -> int:
    """Where the partition is begun: an offset, EARLIEST or LATEST."""
    if not given.has("offset"):
        return EARLIEST if given.has("from-beginning") else LATEST
    text: str = given.value("offset")
    named = {"earliest": EARLIEST, "latest": LATEST}.get(text.lower())
    if named is not None:
        return named
    if not re.fullmatch(r"\+?\d+", text):
        raise WrongUsage(
            f"The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a "
            "non-negative long."
        )
    return int(text)


class _Reader(Printer):
    """Prints what a consumer reads."""

    def __init__(self, consumer: Consumer, writer: Writer, out: BinaryIO, given: Given) -> None:
        super().__init__(consumer, writer, out, given)
        self._consumer = consumer

    def begin(self) -> None:
        topic, partition = self._given.value("topic"), self._given.value("partition")
        if topic is None:
            self._consumer.subscribe(pattern=self._given.value("include"))
        elif partition is None:
            self._consumer.subscribe([topic])
        else:
            self._consumer.assign([(topic, partition)])
            self._consumer.seek((topic, partition), start_of(self._given))

    def printed(self, batch: RecordBatch, start: int, stop: int) -> None:
        pass  # their offsets count as read

    def not_printed(self, message: Record, error: PystreamError) -> None:
        if not self._given.has("skip-message-on-error"):
            self._consumer.seek((message.topic, message.partition), message.offset + 1)  # the rest is still to be read
            raise error
        print(f"Error processing message, skipping this message: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
