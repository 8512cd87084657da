"""Moving the offsets of a group of whatever kind: where to, as users may say it, and the way there."""

from __future__ import annotations

import csv
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pystream.client.consumer.durations import duration_ms
from pystream.client.operations.declaration import Answer
from pystream.client.operations.groups import ResetOffset
from pystream.client.operations.handlers.answers import answer, errors_of
from pystream.client.operations.handlers.positions import (
    Anchor,
    Bounds,
    Position,
    bounds_of,
    offsets_at,
    parse_partitions,
    parse_position,
    partitions_of,
)
from pystream.common.errors import GroupIdNotFound, InvalidConfig, InvalidRequest, PystreamError, UnknownMemberId
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient

OFFSET_COLUMNS: Final = ("new_offset", "offset")
Offsets = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """All ways of saying where to; exactly one is meant to be given."""

    to: str | None
    to_earliest: bool
    to_latest: bool
    to_current: bool
    to_offset: int | None
    shift_by: int | None
    to_datetime: str | None
    by_duration: str | None
    from_file: str | None

    def position(self) -> Position | None:
        """None for a file. Raises InvalidRequest for none or several, and for what is no position."""
        given = [name for name in self.__slots__ if getattr(self, name) not in (None, False)]
        if len(given) != 1:
            said = ", ".join(name.replace("_", "-") for name in given) or "nothing"
            raise InvalidRequest(f"say where to in one way, as to, to-earliest or from-file; given: {said}")
        if self.to is not None:
            return parse_position(self.to)
        if self.to_datetime is not None:
            return parse_position(f"@{self.to_datetime}")
        if self.by_duration is not None:
            try:
                return Position(Anchor.TIME, time.time_ns() // 1_000_000 - duration_ms(self.by_duration))
            except InvalidConfig:
                raise InvalidRequest(f"{self.by_duration!r} is no duration: expected PT1H, P1DT12H") from None
        if self.to_offset is not None:
            return Position(Anchor.OFFSET, self.to_offset)
        if self.shift_by is not None:
            return Position(Anchor.COMMITTED, self.shift_by)
        if self.from_file is not None:
            return None
        if self.to_current:
            return Position(Anchor.COMMITTED)
        return Position(Anchor.START if self.to_earliest else Anchor.END)


@dataclass(frozen=True, slots=True)
class Keeper:
    """Where a kind of group keeps its offsets."""

    committed: Callable[[str], Awaitable[Offsets]]  # raises for a group that is none of this kind
    alter: Callable[[str, Offsets], Awaitable[Mapping[TopicPartition, PystreamError | None]]]
    members: Callable[[str], Awaitable[int]]


async def reset(
    admin: AdminClient, keeper: Keeper, group: str, where: Where, topic: Sequence[str], dry_run: bool
) -> Answer:
    """A group that does not exist yet may be given offsets where topics are named. Raises UnknownMemberId."""
    position = where.position()
    named = {} if where.from_file is None else parse_offsets(where.from_file, group)
    committed = await keeper.committed(group)
    if topic:
        partitions = await partitions_of(admin, parse_partitions(topic))
    else:
        partitions = sorted(named) if position is None else sorted(committed)
    if position is None:
        partitions = [each for each in partitions if each in named]
    if not partitions:
        raise GroupIdNotFound(f"group {group!r} has no committed offsets; name its topics")
    if count := await keeper.members(group):
        raise UnknownMemberId(f"group {group!r} has {count} members, whose offsets cannot be reset")
    bounds = await bounds_of(admin, partitions)
    logs = {place: log for place, log in bounds.items() if isinstance(log, Bounds)}
    offsets: Mapping[TopicPartition, int | PystreamError]
    if position is None:
        offsets = {place: log.clamped(named[place]) for place, log in logs.items()}
    else:
        offsets = await offsets_at(admin, position, logs, committed)
    planned = {place: offset for place, offset in offsets.items() if isinstance(offset, int)}
    altered = await keeper.alter(group, planned) if planned and not dry_run else {}
    outcomes: dict[TopicPartition, int | PystreamError] = {**errors_of(bounds), **offsets, **errors_of(altered)}
    return answer(outcomes, lambda place, new: ResetOffset(place.topic, place.partition, committed.get(place), new))


def parse_offsets(text: str, group: str) -> dict[TopicPartition, int]:
    """Offsets of a file: topic,partition,offset, or group,topic,partition,offset as Kafka exports several groups.

    Raises InvalidRequest with the line that is wrong.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    found: dict[TopicPartition, int] = {}
    columns: list[str] = []
    for number, cells in enumerate(csv.reader(lines), 1):
        if number == 1 and "partition" in cells:
            columns = cells
            continue
        try:
            row = _named(cells, columns)
            if row.get("group", group) != group:
                continue
            offset = next(row[name] for name in OFFSET_COLUMNS if name in row)
            found[TopicPartition(row["topic"], int(row["partition"]))] = int(offset)
        except (ValueError, KeyError, StopIteration):
            raise InvalidRequest(f"line {number}: expected topic,partition,offset, found {','.join(cells)}") from None
    if not found:
        raise InvalidRequest(f"the file has no offset of group {group!r}")
    return found


def _named(cells: list[str], columns: list[str]) -> dict[str, str]:
    """Raises ValueError for a row of another length."""
    names: Iterable[str] = columns or ("group", "topic", "partition", "offset")[-len(cells) :]
    return {name: cell.strip() for name, cell in zip(names, cells, strict=True)}


def members_of(results: Mapping[str, Any]) -> int:
    """Of the one group described; none of one that is not there."""
    return sum(0 if isinstance(told, PystreamError) else len(told.members) for told in results.values())
