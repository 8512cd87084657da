"""`kafka-get-offsets`, as Kafka's GetOffsetShell: topic:partition:offset of each partition."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.failures import java_text
from pystream.cli.kafka.options import Given, Mistake, Tool, flag, value
from pystream.cli.kafka.tool import admin_of, included, serve
from pystream.client.admin.partitions import OFFSET_NAMES
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

TIME_HELP: Final = " / ".join(f"{number} or {name}" for name, number in OFFSET_NAMES.items())
RULE: Final = re.compile(r"([^:,]*)(?::(?:([0-9]*)|(?:([0-9]*)-([0-9]*))))?")
TOOL: Final = Tool(
    "kafka-get-offsets",
    "An interactive shell for getting topic-partition offsets.",
    (
        value("bootstrap-server", "REQUIRED. The server(s) to connect to.", "HOST1:PORT1,...,HOST3:PORT3"),
        value(
            "topic-partitions",
            "Topics by regular expression, each with its partitions: a number, or 0-3 (without 3), 5-, -3.",
            "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
        ),
        value("topic", "The topic, a regular expression; else all.", "topic"),
        value("partitions", "Partition numbers, separated by commas; else all.", "partition ids"),
        value("time", "The first offset at or after this time.", f"<timestamp> / {TIME_HELP}", str, "latest"),
        value("command-config", "Property file containing configs to be passed to Admin Client.", "config file"),
        flag("exclude-internal-topics", "By default, internal topics are included."),
    ),
)

Filter = Callable[[str, int | None], bool]  # of a topic; with a partition, of that


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; always leaves by SystemExit."""
    serve(TOOL, arguments, work, failed="Error occurred: ", parsing="Error occurred: ")


def work(given: Given) -> None:
    with admin_of(given, client_id="GetOffsetShell") as admin:
        if given.has("topic-partitions") and (given.has("topic") or given.has("partitions")):
            raise Mistake("--topic-partitions cannot be used with --topic or --partitions")
        timestamp = timestamp_of(given.value("time"))
        wanted = _partitions(admin, filter_of(given), internal=not given.has("exclude-internal-topics"))
        offsets = admin.list_offsets(dict.fromkeys(wanted, timestamp))
    for place in sorted(wanted, key=str):
        found = offsets[place]
        if isinstance(found, PystreamError):
            said = f"Skip getting offsets for topic-partition {place} due to error: {java_text(found)}"
            print(said, file=sys.stderr)
        elif found.offset >= 0:
            print(f"{place.topic}:{place.partition}:{found.offset}")


def timestamp_of(text: str) -> int:
    """What ListOffsets takes. Raises Mistake."""
    if text in OFFSET_NAMES:
        return OFFSET_NAMES[text]
    if not re.fullmatch(r"[+-]?\d+", text):
        raise Mistake(f"Malformed time argument {text}. Please use {TIME_HELP}, or a specified long format timestamp")
    return int(text)


def filter_of(given: Given) -> Filter:
    """Which partitions are meant. Raises Mistake."""
    if given.has("topic-partitions"):
        rules = list(map(_rule, given.value("topic-partitions").split(",")))
        return lambda topic, partition: any(rule(topic, partition) for rule in rules)
    pattern = given.value("topic")
    text = given.value("partitions") or ""
    try:
        numbers = frozenset(map(int, text.split(","))) if text else frozenset()
    except ValueError:
        raise Mistake(
            f"--partitions expects a comma separated list of numeric partition ids, but received: {text}"
        ) from None
    return lambda topic, partition: (
        bool(included(pattern, [topic])) and (partition is None or not numbers or partition in numbers)
    )


def _rule(text: str) -> Filter:
    match = RULE.fullmatch(text)
    if match is None:
        raise Mistake(f"Invalid rule specification: {text}")
    topic_pattern, one, low, high = match.groups()
    if one:
        lowest, above = int(one), int(one) + 1
    else:
        lowest, above = int(low or 0), int(high) if high else sys.maxsize
    return lambda topic, partition: (
        bool(included(topic_pattern or ".*", [topic])) and (partition is None or lowest <= partition < above)
    )


def _partitions(admin: AdminClient, meant: Filter, *, internal: bool) -> list[TopicPartition]:
    topics = [name for name in admin.list_topics(include_internal=internal) if meant(name, None)]
    described = admin.describe_topics(topics).checked()
    found = [
        TopicPartition(name, each.partition)
        for name, topic in described.items()
        for each in topic.partitions
        if meant(name, each.partition)
    ]
    if not found:
        raise Mistake("Could not match any topic-partitions with the specified filters")
    return found


if __name__ == "__main__":
    main()
