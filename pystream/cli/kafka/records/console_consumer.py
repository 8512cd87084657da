"""`kafka-console-consumer`, as Kafka's ConsoleConsumer: records to standard output."""

from __future__ import annotations

import random
import re
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pystream.cli.kafka.options import Given, Tool, WrongUsage, flag, former, pairs, value
from pystream.cli.kafka.properties import for_client, load
from pystream.cli.kafka.records.formatters import DEFAULT, Formatter, formatter
from pystream.cli.kafka.tool import serve, silence
from pystream.common.errors import PystreamError, Wakeup

if TYPE_CHECKING:
    from types import FrameType

    from pystream.client.sync.consumer import Consumer

EARLIEST: Final = -2
LATEST: Final = -1
POLL_SECONDS: Final = 0.5  # how soon a stop is noticed
FORMATTER_DOC: Final = (
    "Of the formatter: print.timestamp, print.key, print.offset, print.epoch, print.partition, print.headers, "
    "print.value (true or false), key.separator, line.separator, headers.separator, null.literal, key.deserializer, "
    "value.deserializer, headers.deserializer."
)
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
    start = start_of(given)
    write = formatter_of(given)
    with Consumer(settings) as consumer:
        _Reader(consumer, write, given).read_all(start)


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
    named = [given.value("group"), from_file.get("group.id"), extra.get("group.id")]
    groups = list(dict.fromkeys(name for name in named if name is not None))
    if len(groups) > 1:
        raise WrongUsage(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via "
            f"'--consumer.config') do not match. Detected group ids: {', '.join(map(repr, groups))}"
        )
    if groups and given.has("partition"):
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
    if groups:
        settings["group.id"] = groups[0]
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


def formatter_of(given: Given) -> Formatter:
    """How records are printed."""
    properties = load(given.value("formatter-config"))
    for option in ("key-deserializer", "value-deserializer"):
        if given.value(option):
            properties[option.replace("-", ".")] = given.value(option)
    return formatter(given.value("formatter"), properties | pairs(given.values("formatter-property")))


class _Reader:
    """Prints what comes, until there is enough, nothing comes any more, or it is told to stop."""

    def __init__(self, consumer: Consumer, write: Formatter, given: Given) -> None:
        self._consumer = consumer
        self._write = write
        self._given = given
        self._count = 0

    def read_all(self, start: int) -> None:
        previous = signal.signal(signal.SIGTERM, self._stop)
        try:
            self._begin(start)
            self._read(self._most(), self._patience())
        except Wakeup:
            pass  # SIGTERM: what was printed counts as read
        finally:
            signal.signal(signal.SIGTERM, previous)
            print(f"Processed a total of {self._count} messages", file=sys.stderr)
            if self._given.has("enable-systest-events"):
                print("shutdown_complete")

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._consumer.wakeup()

    def _most(self) -> int | None:
        most: int | None = self._given.value("max-messages")
        return None if most is None or most < 0 else most

    def _patience(self) -> float | None:
        timeout_ms: int | None = self._given.value("timeout-ms")
        return None if timeout_ms is None or timeout_ms < 0 else timeout_ms / 1_000

    def _begin(self, start: int) -> None:
        topic, partition = self._given.value("topic"), self._given.value("partition")
        if topic is None:
            self._consumer.subscribe(pattern=self._given.value("include"))
        elif partition is None:
            self._consumer.subscribe([topic])
        else:
            self._consumer.assign([(topic, partition)])
            self._consumer.seek((topic, partition), start)

    def _read(self, most: int | None, patience: float | None) -> None:
        last = time.monotonic()
        limit = self._consumer.config.max_poll_records
        while most is None or self._count < most:
            left = POLL_SECONDS if patience is None else min(POLL_SECONDS, max(last + patience - time.monotonic(), 0))
            messages = self._consumer.poll(left, limit if most is None else min(limit, most - self._count))
            if messages:
                if not self._print(messages):
                    return
                last = time.monotonic()
            elif patience is not None and time.monotonic() - last >= patience:
                return

    def _print(self, messages: Sequence[Any]) -> bool:
        """Whether standard output still takes it."""
        lines = []
        for message in messages:
            self._count += 1
            try:
                lines.append(self._write(message))
            except PystreamError as error:
                if not self._given.has("skip-message-on-error"):
                    sys.stdout.buffer.write(b"".join(lines))
                    raise
                print(f"Error processing message, skipping this message: {error}", file=sys.stderr)
        try:
            sys.stdout.buffer.write(b"".join(lines))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            print("Unable to write to standard out, closing consumer.", file=sys.stderr)
            silence()
            return False
        return True


if __name__ == "__main__":
    main()
