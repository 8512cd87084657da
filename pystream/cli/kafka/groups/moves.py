"""Offsets to go on at: of a time, within what there is, as a file says."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.groups.resetting import timestamp_of
from pystream.cli.kafka.options import Given, Mistake
from pystream.client.admin.partitions import EARLIEST, LATEST
from pystream.client.consumer.durations import duration_ms
from pystream.common.errors import InvalidConfig
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

# topics that Kafka Streams makes for itself, behind the application's name
INTERNAL: Final = re.compile(
    r".*(-changelog|-repartition|-subscription-registration-topic|-subscription-response-topic"
    r"|.-KTABLE-FK-JOIN-SUBSCRIPTION-(REGISTRATION|RESPONSE)-\d+-topic)"
)

EMPTY_PARTITION: Final = (
    "\nWarn: Partition {0.partition} from topic {0.topic} is empty. Falling back to latest known offset."
)
NOTHING_SO_LATE: Final = (
    "Partition {0.partition} from topic {0.topic} is empty, without a committed record. Falling back to latest known "
    "offset."
)


def listed(admin: AdminClient, places: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
    """What ListOffsets tells; the first error is raised."""
    found = admin.list_offsets(dict.fromkeys(places, timestamp)).checked()
    return {place: each.offset for place, each in found.items()}


def ago_ms(text: str) -> int:
    """Milliseconds of PnDTnHnMnS. Raises Mistake."""
    try:
        return duration_ms(text)
    except InvalidConfig:
        raise Mistake("java.time.format.DateTimeParseException: Text cannot be parsed to a Duration") from None


def at_time(
    admin: AdminClient, places: Sequence[TopicPartition], timestamp: int, said: str = NOTHING_SO_LATE
) -> dict[TopicPartition, int]:
    """The first offsets at or after a time; the end, and a word about it, where nothing is so late."""
    offsets = listed(admin, places, timestamp)
    late = [place for place, offset in offsets.items() if offset < 0]
    for place in late:
        print(said.format(place))
    return offsets | (listed(admin, late, LATEST) if late else {})


def within(
    admin: AdminClient, wanted: Mapping[TopicPartition, int], *, quiet: bool = False
) -> dict[TopicPartition, int]:
    """The nearest offsets that there are, with a word about each that is another."""
    starts, ends = (listed(admin, list(wanted), where) for where in (EARLIEST, LATEST))
    found = {}
    for place, offset in wanted.items():
        if quiet:
            pass
        elif offset >= ends[place]:
            print(f"New offset ({offset}) is higher than latest offset. Value will be set to {ends[place]}")
        elif offset <= starts[place]:
            print(f"New offset ({offset}) is lower than earliest offset. Value will be set to {starts[place]}")
        found[place] = min(max(offset, starts[place]), ends[place])
    return found


def moved_to(
    admin: AdminClient,
    given: Given,
    places: Sequence[TopicPartition],
    committed: Mapping[TopicPartition, int],
    *,
    plan: Mapping[TopicPartition, int] | None = None,
) -> dict[TopicPartition, int]:
    """Where each partition goes on, as the options say; `plan` is what --from-file says."""
    if given.has("to-earliest"):
        return listed(admin, places, EARLIEST)
    if given.has("to-latest"):
        return listed(admin, places, LATEST)
    if given.has("to-datetime"):
        return at_time(admin, places, timestamp_of(given.value("to-datetime")), EMPTY_PARTITION)
    if given.has("by-duration"):
        return at_time(admin, places, time.time_ns() // 1_000_000 - ago_ms(given.value("by-duration")), EMPTY_PARTITION)
    if given.has("to-offset"):
        return within(admin, dict.fromkeys(places, given.value("to-offset")), quiet=True)
    if given.has("from-file"):
        plan = plan_of(given.value("from-file")) if plan is None else plan
        return within(admin, {place: plan[place] for place in places if place in plan}, quiet=True)
    ends = listed(admin, places, LATEST)
    shift = given.value("shift-by") if given.has("shift-by") else 0
    return within(admin, {place: committed.get(place, ends[place]) + shift for place in places}, quiet=True)


def plan_of(path: str, text: str | None = None) -> dict[TopicPartition, int]:
    """What a CSV file of TOPIC,PARTITION,OFFSET says, or the text of one. Raises Mistake."""
    try:
        text = Path(path).read_text(encoding="utf-8") if text is None else text
    except (OSError, UnicodeDecodeError):
        raise Mistake(f"java.io.IOException: Unable to read file {path}") from None
    if not text:
        raise Mistake("java.text.ParseException: Error parsing reset plan CSV file. It is empty,")
    found = {}
    for line in text.rstrip("\n").split("\n"):
        parts = line.split(",")
        if len(parts) != 3 or not parts[1].isdecimal() or not parts[2].isdecimal():
            raise Mistake(
                "java.text.ParseException: Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`."
            )
        found[TopicPartition(parts[0], int(parts[1]))] = int(parts[2])
    return found
