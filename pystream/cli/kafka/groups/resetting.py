"""Where groups shall go on: partitions by name, offsets by time, and the table of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream.cli.kafka.options import Mistake
from pystream.client.admin.partitions import LATEST
from pystream.client.operations.handlers.positions import parse_partitions, parse_position
from pystream.common.error_codes import TABLE, UNKNOWN_TOPIC_OR_PARTITION
from pystream.common.errors import InvalidRequest, PystreamError, UnknownTopicOrPartition
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

WIDTH: Final = 15
NARROW: Final = 10


def partitions_of(admin: AdminClient, texts: Sequence[str]) -> list[TopicPartition]:
    """topic, or topic:0,1,2. Raises Mistake for what there is not."""
    try:
        wanted = parse_partitions(texts)
    except InvalidRequest as error:
        raise Mistake(str(error)) from None
    described = admin.describe_topics(wanted)
    found: list[TopicPartition] = []
    missing: list[str] = []
    for topic, numbers in wanted.items():
        told = described[topic]
        if isinstance(told, UnknownTopicOrPartition):
            raise Mistake(TABLE[UNKNOWN_TOPIC_OR_PARTITION].message)
        there = [each.partition for each in described.result(topic).partitions]
        found += [TopicPartition(topic, number) for number in (there if numbers is None else numbers)]
        missing += [f"{topic}-{number}" for number in numbers or [] if number not in there]
    if missing:
        raise Mistake(f'The partitions "{",".join(missing)}" do not exist')
    return sorted(found)


def dated(admin: AdminClient, places: Iterable[TopicPartition], at: int | str) -> dict[TopicPartition, int]:
    """The offset of each partition at EARLIEST, LATEST or a moment as text; the end where nothing is so late."""
    wanted = list(places)
    timestamp = timestamp_of(at) if isinstance(at, str) else at
    offsets = _offsets(admin, wanted, timestamp)
    late = [place for place, offset in offsets.items() if offset < 0]
    for place in late:
        print(
            f"\nWarn: Partition {place.partition} from topic {place.topic} is empty. Falling back to latest known "
            "offset."
        )
    return offsets | (_offsets(admin, late, LATEST) if late else {})


def timestamp_of(text: str) -> int:
    """Milliseconds since 1970 of YYYY-MM-DDThh:mm:ss.sss. Raises Mistake."""
    if "T" not in text:
        raise Mistake(
            "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format"
        )
    try:
        return parse_position(f"@{text}").value
    except InvalidRequest as error:
        raise Mistake(str(error)) from None


def _offsets(admin: AdminClient, places: Sequence[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
    results = admin.list_offsets(dict.fromkeys(places, timestamp))
    for error in results.failed.values():
        if isinstance(error, PystreamError):
            raise error
    return {place: found.offset for place, found in results.succeeded.items()}


def print_new_offsets(groups: Mapping[str, Mapping[TopicPartition, int]]) -> None:
    """A line for each partition, behind the heads; nothing but a line feed without any."""
    rows = [
        (group, place.topic, str(place.partition), str(offset))
        for group, offsets in groups.items()
        for place, offset in sorted(offsets.items())
    ]
    group_width = max([WIDTH, *(len(row[0]) for row in rows)])
    topic_width = max([WIDTH, *(len(row[1]) for row in rows)])
    for group, topic, partition, offset in [("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"), *rows]:
        print(f"\n{group:<{group_width}} {topic:<{topic_width}} {partition:<{NARROW}} {offset}", end="")
    print()
