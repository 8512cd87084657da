"""What assignors are given and give: partitions by topic id, members with their subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

Assignment = Mapping[bytes, frozenset[int]]  # topic id -> partitions, none of them empty; never changed in place

NO_PARTITIONS: Final[Assignment] = MappingProxyType({})


class Subscriber(NamedTuple):
    """A member as assignors see it: what it takes, and what it was to have until now."""

    topics: frozenset[bytes]
    assigned: Assignment
    instance_id: str | None = None


Subscribers = Mapping[str, Subscriber]
PartitionCount = Callable[[bytes], int]  # of a topic that exists; subscribers only name those
Assignor = Callable[[Subscribers, PartitionCount], dict[str, Assignment]]


def subscribe_to_the_same(subscribers: Subscribers) -> bool:
    """Whether all members take the same topics."""
    topics = {subscriber.topics for subscriber in subscribers.values()}
    return len(topics) <= 1


def frozen(assignment: Mapping[bytes, set[int]]) -> Assignment:
    """The assignment that a builder ends with; topics without partitions are left out."""
    return {topic_id: frozenset(partitions) for topic_id, partitions in assignment.items() if partitions}


def size_of(assignment: Assignment) -> int:
    """How many partitions it holds."""
    return sum(map(len, assignment.values()))
