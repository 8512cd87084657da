"""Assignors of the classic protocol: plain functions that the leader of a group computes.

    range               of each topic, neighbouring partitions to each member
    roundrobin          partitions dealt out one by one
    sticky              balanced, each member keeps what it had as far as balance allows (eager: all stop meanwhile)
    cooperative-sticky  the same without a stop: what changes hands is first given up, and dealt out in a next round

Source: KIP-54 (sticky), KIP-345 (order of static members), KIP-429 (cooperative), KIP-792 (generations).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from pystream._native.wire import Reader, Writer
from pystream.common.errors import InvalidConfig
from pystream.common.model import TopicPartition

NO_GENERATION: Final = -1

Assignment = dict[str, list[TopicPartition]]
Counts = Mapping[str, int]  # topic -> how many partitions


@dataclass(frozen=True, slots=True)
class Member:
    """What the leader knows of a member."""

    member_id: str
    topics: frozenset[str]
    instance_id: str | None = None
    owned: tuple[TopicPartition, ...] = ()
    generation: int = NO_GENERATION  # in which it got what it owns

    @property
    def rank(self) -> tuple[int, str, str]:
        """Static members first, by their instance's name, which outlives restarts."""
        return (0, self.instance_id, self.member_id) if self.instance_id else (1, "", self.member_id)


@dataclass(frozen=True, slots=True)
class Assignor:
    """One way to assign."""

    name: str
    assign: Callable[[Iterable[Member], Counts], Assignment]
    is_cooperative: bool = False
    writes_user_data: Callable[[Iterable[TopicPartition], int], bytes] = field(default=lambda owned, generation: b"")
    reads_user_data: Callable[[bytes], tuple[tuple[TopicPartition, ...] | None, int]] = field(
        default=lambda data: (None, NO_GENERATION)
    )


def range_assign(members: Iterable[Member], counts: Counts) -> Assignment:
    """Each topic by itself: 7 partitions for 3 members are 0-2, 3-4, 5-6."""
    ranked = sorted(members, key=lambda member: member.rank)
    result: Assignment = {member.member_id: [] for member in ranked}
    for topic in sorted(counts):
        takers = [member for member in ranked if topic in member.topics]
        if not takers:
            continue
        share, longer = divmod(counts[topic], len(takers))
        first = 0
        for place, member in enumerate(takers):
            size = share + (place < longer)
            result[member.member_id] += [TopicPartition(topic, first + step) for step in range(size)]
            first += size
    return result


def roundrobin_assign(members: Iterable[Member], counts: Counts) -> Assignment:
    """All partitions in order, each to the next member that wants its topic."""
    ranked = sorted(members, key=lambda member: member.rank)
    result: Assignment = {member.member_id: [] for member in ranked}
    turn = 0
    for partition in all_partitions(ranked, counts):
        while partition.topic not in ranked[turn % len(ranked)].topics:
            turn += 1
        result[ranked[turn % len(ranked)].member_id].append(partition)
        turn += 1
    return result


def sticky_assign(members: Iterable[Member], counts: Counts) -> Assignment:
    """Balanced within one partition where subscriptions allow, moving as few as that takes."""
    ranked = sorted(members, key=lambda member: member.rank)
    result = _kept(ranked, counts)
    taken = set(chain.from_iterable(result.values()))
    free = [partition for partition in all_partitions(ranked, counts) if partition not in taken]
    if len({member.topics for member in ranked}) <= 1:
        _deal_evenly(ranked, result, free)
    else:
        _deal_and_balance(ranked, result, free)
    return {member_id: sorted(partitions) for member_id, partitions in result.items()}


def cooperative_assign(members: Iterable[Member], counts: Counts) -> Assignment:
    """As sticky, but nobody gets what another member still has: that one gives it up, and all meet again."""
    ranked = list(members)
    owners = {partition: owner for owner, partitions in _kept(ranked, counts).items() for partition in partitions}
    claimed: dict[TopicPartition, set[str]] = {}
    for member in ranked:
        for partition in member.owned:
            claimed.setdefault(partition, set()).add(member.member_id)
    result = sticky_assign(ranked, counts)
    return {
        member_id: [
            partition
            for partition in partitions
            if owners.get(partition, member_id) == member_id and claimed.get(partition, {member_id}) <= {member_id}
        ]
        for member_id, partitions in result.items()
    }


def all_partitions(members: Iterable[Member], counts: Counts) -> list[TopicPartition]:
    """The partitions of the topics that somebody wants, in order."""
    wanted = set().union(*(member.topics for member in members))
    return [TopicPartition(topic, p) for topic in sorted(counts) if topic in wanted for p in range(counts[topic])]


def _kept(ranked: Iterable[Member], counts: Counts) -> Assignment:
    """What each member owns by right: of two that claim one partition, the one of the later generation, or neither."""
    owners: dict[TopicPartition, tuple[int, str | None]] = {}
    for member in ranked:
        for partition in member.owned:
            if partition.topic not in member.topics or not 0 <= partition.partition < counts.get(partition.topic, 0):
                continue
            generation, owner = owners.get(partition, (NO_GENERATION - 1, None))
            if member.generation > generation:
                owners[partition] = (member.generation, member.member_id)
            elif member.generation == generation and owner != member.member_id:
                owners[partition] = (generation, None)
    kept: Assignment = {member.member_id: [] for member in ranked}
    for partition in sorted(owners):
        owner = owners[partition][1]
        if owner is not None:
            kept[owner].append(partition)
    return kept


def _deal_evenly(ranked: list[Member], result: Assignment, free: list[TopicPartition]) -> None:
    """Members that want the same: each has `share`, or one more, of all partitions."""
    total = len(free) + sum(map(len, result.values()))
    share, longer = divmod(total, max(len(ranked), 1))
    for member in sorted(ranked, key=lambda member: -len(result[member.member_id])):
        has = result[member.member_id]
        quota = share + (longer > 0 and len(has) > share)
        longer -= quota > share
        free += has[quota:]
        del has[quota:]
    free.sort()
    pending = iter(free)
    for member in ranked:
        has = result[member.member_id]
        has += islice(pending, max(share - len(has), 0))
    for member in ranked:
        if longer > 0 and len(result[member.member_id]) == share:
            found = next(pending, None)
            if found is not None:
                result[member.member_id].append(found)
                longer -= 1


def _deal_and_balance(ranked: list[Member], result: Assignment, free: list[TopicPartition]) -> None:
    """Members that want different things: the least loaded first, then moves as long as one evens out two members."""
    takers: dict[str, list[str]] = {}
    for topic in {topic for member in ranked for topic in member.topics}:
        takers[topic] = [member.member_id for member in ranked if topic in member.topics]
    for partition in sorted(free, key=lambda p: (len(takers[p.topic]), p)):
        result[min(takers[partition.topic], key=lambda member_id: len(result[member_id]))].append(partition)
    moved = True
    while moved:
        moved = False
        for member_id in sorted(result, key=lambda m: -len(result[m])):
            for partition in list(result[member_id]):
                lightest = min(takers[partition.topic], key=lambda m: len(result[m]))
                if len(result[lightest]) + 1 < len(result[member_id]):
                    result[member_id].remove(partition)
                    result[lightest].append(partition)
                    moved = True


# --- what sticky assignors tell each other in a subscription's user data ----------------------------------------------


def _write_sticky(owned: Iterable[TopicPartition], generation: int) -> bytes:
    topics: dict[str, list[int]] = {}
    for topic, partition in owned:
        topics.setdefault(topic, []).append(partition)
    writer = Writer()
    writer.array_count(len(topics))
    for topic, partitions in topics.items():
        writer.string(topic)
        writer.array_count(len(partitions))
        for partition in partitions:
            writer.int32(partition)
    writer.int32(generation)
    return writer.getvalue()


def _read_sticky(data: bytes) -> tuple[tuple[TopicPartition, ...] | None, int]:
    """topic assignments [topic string, partitions [int32]], generation int32 (missing in version 0)."""
    reader = Reader(data)
    owned = []
    for _ in range(reader.array_count(6)):
        topic = reader.string()
        owned += [TopicPartition(topic, reader.int32()) for _ in range(reader.array_count(4))]
    return tuple(owned), reader.int32() if reader.remaining >= 4 else NO_GENERATION


def _read_generation(data: bytes) -> tuple[None, int]:
    return None, struct.unpack_from(">i", data)[0] if len(data) >= 4 else NO_GENERATION


ASSIGNORS: Final = {
    assignor.name: assignor
    for assignor in (
        Assignor("range", range_assign),
        Assignor("roundrobin", roundrobin_assign),
        Assignor("sticky", sticky_assign, writes_user_data=_write_sticky, reads_user_data=_read_sticky),
        Assignor(
            "cooperative-sticky",
            cooperative_assign,
            is_cooperative=True,
            writes_user_data=lambda owned, generation: struct.pack(">i", generation),
            reads_user_data=_read_generation,
        ),
    )
}


def assignors_of(names: Iterable[str]) -> list[Assignor]:
    """The assignors of partition.assignment.strategy. Raises InvalidConfig for one that is not there."""
    found = []
    for name in names:
        short = JAVA_NAMES.get(name, name)
        if short not in ASSIGNORS:
            raise InvalidConfig(f"partition.assignment.strategy has {name!r}; expected some of {', '.join(ASSIGNORS)}")
        found.append(ASSIGNORS[short])
    if not found:
        raise InvalidConfig(f"partition.assignment.strategy is empty; expected some of {', '.join(ASSIGNORS)}")
    return list({assignor.name: assignor for assignor in found}.values())


JAVA_NAMES: Final = {
    "org.apache.kafka.clients.consumer.RangeAssignor": "range",
    "org.apache.kafka.clients.consumer.RoundRobinAssignor": "roundrobin",
    "org.apache.kafka.clients.consumer.StickyAssignor": "sticky",
    "org.apache.kafka.clients.consumer.CooperativeStickyAssignor": "cooperative-sticky",
}
