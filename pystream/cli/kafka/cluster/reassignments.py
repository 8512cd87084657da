"""Reassignments of partitions: the files that say them, and where replicas might go.

{"version": 1, "partitions": [{"topic": "orders", "partition": 0, "replicas": [1, 2], "log_dirs": ["any", "/data"]}]}
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pystream.cli.kafka import documents
from pystream.cli.kafka.options import Mistake
from pystream.client.admin.log_dirs import Replica
from pystream.common.model import TopicPartition

VERSION: Final = 1
ANY: Final = "any"

Assignment = dict[TopicPartition, list[int]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file says: who shall have each partition, and in which directory."""

    partitions: list[tuple[TopicPartition, list[int]]] = field(default_factory=list)
    directories: dict[Replica, str] = field(default_factory=dict)

    @property
    def places(self) -> Assignment:
        """The replicas by partition."""
        return dict(self.partitions)


def parse(text: str) -> Wanted:
    """The content of a file. Raises Mistake."""
    wanted = Wanted()
    for row in documents.rows(_document(text), "partitions"):
        place = TopicPartition(documents.field(row, "topic", str), documents.field(row, "partition", int))
        replicas = _list(row, "replicas", int)
        paths = _list(row, "log_dirs", str) if "log_dirs" in row else [ANY] * len(replicas)
        if len(paths) != len(replicas):
            raise Mistake(
                f"Size of replicas list {replicas} is different from size of log dirs list [{', '.join(paths)}] for "
                f"partition {place}"
            )
        wanted.partitions.append((place, replicas))
        for broker, path in zip(replicas, paths, strict=True):
            if path != ANY:
                wanted.directories[Replica(place.topic, place.partition, broker)] = path
    return wanted


def _document(text: str, name: str = "partitions") -> dict[str, Any]:
    document = documents.parsed(text)
    if document is None:
        raise Mistake("The input string is not a valid JSON")
    if not isinstance(document, dict):
        raise Mistake(f"Expected JSON object, received {json.dumps(document, separators=(',', ':'))}")
    version = document.get("version", VERSION)
    if version != VERSION:
        raise Mistake(f"Not supported version field value {version}")
    return {name: [], **document}


def _list(row: Any, name: str, kind: type[Any]) -> list[Any]:
    if name not in row:
        raise Mistake(f"No such field exists: `{name}`")
    found = row[name]
    if not isinstance(found, list):
        raise Mistake(f"Expected JSON array, received {json.dumps(found, separators=(',', ':'))}")
    for each in found:
        documents.field({name: each}, name, kind)
    return found


def check(wanted: Wanted) -> None:
    """Raises Mistake for what cannot be carried out."""
    if not wanted.partitions:
        raise Mistake("Partition reassignment list cannot be empty")
    if not all(replicas for _, replicas in wanted.partitions):
        raise Mistake("Partition replica list cannot be empty")
    twice = documents.repeated(str(place) for place, _ in wanted.partitions)
    if twice:
        raise Mistake(f"Partition reassignment contains duplicate topic partitions: {','.join(twice)}")
    entries = [
        f"{place} contains multiple entries for {','.join(map(str, documents.repeated(replicas)))}"
        for place, replicas in wanted.partitions
        if documents.repeated(replicas)
    ]
    if entries:
        raise Mistake(f"Partition replica lists may not contain duplicate entries: {'. '.join(entries)}")


def topics_of(text: str) -> list[str]:
    """The topics that a file names: {"topics": [{"topic": "orders"}], "version": 1}. Raises Mistake."""
    names = [documents.field(row, "topic", str) for row in documents.rows(_document(text, "topics"), "topics")]
    twice = documents.repeated(names)
    if twice:
        raise Mistake(f"List of topics to reassign contains duplicate entries: [{', '.join(twice)}]")
    return names


def text_of(
    assignment: Mapping[TopicPartition, Sequence[int]], directories: Mapping[Replica, str] | None = None
) -> str:
    """A file that says this assignment, with the directories that are known."""
    known = directories or {}
    rows = [
        {
            "topic": place.topic,
            "partition": place.partition,
            "replicas": list(replicas),
            "log_dirs": [known.get(Replica(place.topic, place.partition, broker), ANY) for broker in replicas],
        }
        for place, replicas in sorted(assignment.items())
    ]
    return json.dumps({"version": VERSION, "partitions": rows}, separators=(",", ":"))


# --- where replicas might go ------------------------------------------------------------------------------------------


def spread(partitions: int, replicas: int, racks: Mapping[int, str | None]) -> list[list[int]]:
    """Brokers for each partition, the leader first: evenly, and in different racks where racks are known.

    Begins at a random broker, as Kafka does. Raises Mistake for more replicas than brokers.
    """
    if not racks:
        raise Mistake("All brokers are currently fenced.")
    if replicas > len(racks):
        raise Mistake(f"Replication factor: {replicas} larger than available brokers: {len(racks)}")
    order = _alternating(racks)
    start, shift = random.randrange(len(order)), random.randrange(len(order))
    found = []
    for partition in range(partitions):
        if partition and partition % len(order) == 0:
            shift += 1
        found.append(_chosen(order, racks, (partition + start) % len(order), shift, replicas))
    return found


def _alternating(racks: Mapping[int, str | None]) -> list[int]:
    """The brokers, one of each rack in turn."""
    by_rack: dict[str, list[int]] = {}
    for broker, rack in sorted(racks.items()):
        by_rack.setdefault(rack or "", []).append(broker)
    queues = [by_rack[rack] for rack in sorted(by_rack)]
    return [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]


def _chosen(order: Sequence[int], racks: Mapping[int, str | None], first: int, shift: int, replicas: int) -> list[int]:
    """The broker at `first`, and those behind it, others' racks before racks that are taken."""
    chosen = [order[first]]
    others = [order[(first + 1 + (shift + step) % (len(order) - 1)) % len(order)] for step in range(len(order) - 1)]
    while len(chosen) < replicas:
        taken = {racks[broker] for broker in chosen}
        left = [broker for broker in others if broker not in chosen]
        chosen.append(next((broker for broker in left if racks[broker] not in taken), left[0]))
    return chosen


# --- throttles --------------------------------------------------------------------------------------------------------


def throttled(moves: Mapping[TopicPartition, tuple[set[int], set[int]]]) -> dict[str, tuple[str, str]]:
    """For each topic the replicas that send and that receive, as partition:broker lists, of (sources, destinations)."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for place, (sources, destinations) in moves.items():
        senders, receivers = found.setdefault(place.topic, (set(), set()))
        senders.update(f"{place.partition}:{broker}" for broker in sources)
        receivers.update(f"{place.partition}:{broker}" for broker in destinations - sources)
    return {topic: (_joined(senders), _joined(receivers)) for topic, (senders, receivers) in found.items()}


def _joined(parts: Iterable[str]) -> str:
    return ",".join(sorted(parts))
