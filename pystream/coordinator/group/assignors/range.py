"""The range assignor: each topic's partitions in contiguous ranges, in the order of the members.

    T1 [0 1 2]  T2 [0 1 2]      M0: T1 0-1, T2 0-1
                                M1: T1 2,   T2 2        topics of equal size fall alike: they can be joined

Members with an instance id come first, in its order, so that ranges stay where they are when such a member starts
anew under another member id. Source: KIP-848; behaves as Apache Kafka's RangeAssignor.
"""

from __future__ import annotations

from collections import Counter

from pystream.coordinator.group.assignors.model import Assignment, PartitionCount, Subscriber, Subscribers

NAME = "range"


def assign_ranges(subscribers: Subscribers, partitions_of: PartitionCount) -> dict[str, Assignment]:
    """The new assignment of every member."""
    takers = Counter(topic_id for subscriber in subscribers.values() for topic_id in subscriber.topics)
    next_partition = dict.fromkeys(takers, 0)
    still_to_come = dict(takers)
    assignments: dict[str, Assignment] = {}
    for member_id, subscriber in sorted(subscribers.items(), key=_static_members_first):
        assignment = {}
        for topic_id in subscriber.topics:
            start = next_partition[topic_id]
            # What is left, spread over who is left, rounded up: the first members get the extra partitions.
            left = partitions_of(topic_id) - start
            end = start + -(-left // still_to_come[topic_id])
            still_to_come[topic_id] -= 1
            next_partition[topic_id] = end
            if start < end:
                assignment[topic_id] = frozenset(range(start, end))
        assignments[member_id] = assignment
    return assignments


def _static_members_first(item: tuple[str, Subscriber]) -> tuple[bool, str]:
    member_id, subscriber = item
    return (True, member_id) if subscriber.instance_id is None else (False, subscriber.instance_id)
