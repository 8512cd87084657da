"""Positions in a log as users write them, and the offsets that they stand for.

start, earliest     end, latest     1000     @2026-11-22T10:00:00Z     @1732269600000     @-1h     +10     -10
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Final

from pystream.client.admin.partitions import EARLIEST, LATEST, ListedOffset
from pystream.common.errors import InvalidRequest, PystreamError, UnknownTopicOrPartition
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
AGE: Final = re.compile(r"-(\d+)(ms|s|m|h|d|w)")
NO_RECORD: Final = -1  # the offset that brokers answer for a time after the last record


class Anchor(Enum):
    """What a position counts from."""

    START = "start"
    END = "end"
    OFFSET = "offset"
    TIME = "time"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Position:
    """`value` is an offset, a time in ms, or how far from the committed offset."""

    anchor: Anchor
    value: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first offset of a log and the one after its last."""

    start: int
    end: int

    def clamped(self, offset: int) -> int:
        """The nearest offset that there is."""
        return min(max(offset, self.start), self.end)


def parse_position(text: str, *, now_ms: int | None = None) -> Position:
    """What the text means. Raises InvalidRequest for one that means nothing."""
    if text in ("start", "earliest", "end", "latest"):
        return Position(Anchor.START if text in ("start", "earliest") else Anchor.END)
    if text.startswith("@"):
        return Position(Anchor.TIME, _time_ms(text[1:], time.time_ns() // 1_000_000 if now_ms is None else now_ms))
    if re.fullmatch(r"[+-]\d{1,19}", text):
        return Position(Anchor.COMMITTED, int(text))
    if re.fullmatch(r"\d{1,19}", text):
        return Position(Anchor.OFFSET, int(text))
    raise InvalidRequest(f"{text!r} is no position: expected start, end, an offset, +N, -N, or @TIME")


def _time_ms(text: str, now_ms: int) -> int:
    if age := AGE.fullmatch(text):
        return now_ms - int(age[1]) * UNITS_MS[age[2]]
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            f"@{text} is no time: expected milliseconds, an age as -1h, or 2026-11-22T10:00:00Z"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def parse_partitions(texts: Iterable[str]) -> dict[str, list[int] | None]:
    """["orders", "audit:0,1"] -> {"orders": None, "audit": [0, 1]}; None stands for all."""
    found: dict[str, list[int] | None] = {}
    for text in texts:
        topic, colon, numbers = text.partition(":")
        if not topic or (colon and not re.fullmatch(r"\d+(,\d+)*", numbers)):
            raise InvalidRequest(f"{text!r}: expected TOPIC or TOPIC:0,1")
        chosen = [int(number) for number in numbers.split(",")] if colon else None
        before = found.get(topic, [])
        found[topic] = None if chosen is None or before is None else [*before, *chosen]
    return found


async def partitions_of(admin: AdminClient, wanted: Mapping[str, list[int] | None]) -> list[TopicPartition]:
    """The partitions meant. Raises UnknownTopicOrPartition for one that there is not."""
    described = (await admin.describe_topics(wanted)).checked()
    found = []
    for topic, chosen in wanted.items():
        there = [each.partition for each in described[topic].partitions]
        if missing := sorted(set(chosen or ()) - set(there)):
            raise UnknownTopicOrPartition(f"topic {topic!r} has no partition {', '.join(map(str, missing))}")
        found += [TopicPartition(topic, number) for number in (there if chosen is None else sorted(set(chosen)))]
    return found


async def bounds_of(
    admin: AdminClient, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, Bounds | PystreamError]:
    """First offset and the one after the last, or why they cannot be told."""
    wanted = list(partitions)
    starts = await admin.list_offsets(dict.fromkeys(wanted, EARLIEST))
    ends = await admin.list_offsets(dict.fromkeys(wanted, LATEST))
    return {
        each: starts.failed.get(each)
        or ends.failed.get(each)
        or Bounds(starts.result(each).offset, ends.result(each).offset)
        for each in wanted
    }


async def offsets_at(
    admin: AdminClient,
    position: Position,
    bounds: Mapping[TopicPartition, Bounds],
    committed: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int | PystreamError]:
    """The offset of the position in each partition, within its log; shifts need a committed offset."""
    times: Mapping[TopicPartition, ListedOffset | PystreamError] = {}
    if position.anchor is Anchor.TIME:
        times = await admin.list_offsets(dict.fromkeys(bounds, position.value))

    def offset(partition: TopicPartition, log: Bounds) -> int | PystreamError:
        if position.anchor is Anchor.START:
            return log.start
        if position.anchor is Anchor.END:
            return log.end
        if position.anchor is Anchor.OFFSET:
            return log.clamped(position.value)
        if position.anchor is Anchor.COMMITTED:
            if partition not in committed:
                return InvalidRequest(f"{partition} has no committed offset to count from")
            return log.clamped(committed[partition] + position.value)
        found = times[partition]
        if isinstance(found, PystreamError):
            return found
        return log.end if found.offset == NO_RECORD else log.clamped(found.offset)

    return {partition: offset(partition, log) for partition, log in bounds.items()}
