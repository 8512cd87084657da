"""The uniform assignor: members' shares differ by at most one partition, and as few partitions as possible move.

Balance comes first. Where all members take the same topics it is exact. Where they do not, each topic's partitions are
moved from its most loaded subscriber to its least loaded one until no move helps, or ROUNDS rounds have passed: the
loads of any two members who share a topic then differ by at most one, as far as the fuller one's partitions of that
topic reach. Source: KIP-848; what it promises is what Apache Kafka's UniformAssignor promises, the choice among equals
is its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from pystream.coordinator.group.assignors.model import (
    Assignment,
    PartitionCount,
    Subscribers,
    frozen,
    subscribe_to_the_same,
)

NAME = "uniform"
ROUNDS = 16  # each about halves what is out of balance


def assign_uniformly(subscribers: Subscribers, partitions_of: PartitionCount) -> dict[str, Assignment]:
    """The new assignment of every member."""
    if subscribe_to_the_same(subscribers):
        return _same_topics(subscribers, partitions_of)
    return _Mixed(subscribers, partitions_of).assign()


def _same_topics(subscribers: Subscribers, partitions_of: PartitionCount) -> dict[str, Assignment]:
    if not subscribers:
        return {}
    topics = next(iter(subscribers.values())).topics
    counts = {topic_id: partitions_of(topic_id) for topic_id in sorted(topics)}
    share, extras = divmod(sum(counts.values()), len(subscribers))
    taken: set[tuple[bytes, int]] = set()
    kept = {member_id: _keep(subscriber.assigned, counts, taken) for member_id, subscriber in subscribers.items()}
    quotas = {}
    for member_id, partitions in kept.items():  # who already has more than the others gets what is over
        has_extra = extras > 0 and len(partitions) > share
        quotas[member_id] = share + has_extra
        extras -= has_extra
    for member_id in quotas:
        if extras and quotas[member_id] == share:
            quotas[member_id] += 1
            extras -= 1
    for member_id, partitions in kept.items():
        taken.difference_update(partitions[quotas[member_id] :])
        del partitions[quotas[member_id] :]
    free = [(topic_id, index) for topic_id, count in counts.items() for index in range(count)]
    left = iter([partition for partition in free if partition not in taken])
    assignments: dict[str, Assignment] = {}
    for member_id, subscriber in subscribers.items():
        missing = quotas[member_id] - len(kept[member_id])
        partitions = kept[member_id] + [next(left) for _ in range(missing)]
        assignments[member_id] = _unless_equal(subscriber.assigned, partitions)
    return assignments


def _keep(assigned: Assignment, counts: dict[bytes, int], taken: set[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """What a member has that still exists, is subscribed to and nobody else has; notes it as taken."""
    kept = [
        (topic_id, index)
        for topic_id in sorted(assigned)
        for index in sorted(assigned[topic_id])
        if index < counts.get(topic_id, 0) and (topic_id, index) not in taken
    ]
    taken.update(kept)
    return kept


def _unless_equal(before: Assignment, partitions: Iterable[tuple[bytes, int]]) -> Assignment:
    """`partitions` as an assignment: the one from before when nothing changes."""
    assignment: dict[bytes, set[int]] = {}
    for topic_id, index in partitions:
        assignment.setdefault(topic_id, set()).add(index)
    after = frozen(assignment)
    return before if after == before else after


class _Mixed:
    """Members who take different topics."""

    def __init__(self, subscribers: Subscribers, partitions_of: PartitionCount) -> None:
        self._subscribers = subscribers
        self._takers: dict[bytes, list[str]] = {}
        for member_id, subscriber in subscribers.items():
            for topic_id in subscriber.topics:
                self._takers.setdefault(topic_id, []).append(member_id)
        counts = {topic_id: partitions_of(topic_id) for topic_id in self._takers}
        # The topics that leave least choice last: they mend what the others have left uneven.
        self._topics = sorted(counts, key=lambda t: (-counts[t] / len(self._takers[t]), len(self._takers[t]), t))
        self._owners: dict[bytes, list[str | None]] = {topic_id: [None] * counts[topic_id] for topic_id in self._topics}
        self._load = dict.fromkeys(subscribers, 0)

    def assign(self) -> dict[str, Assignment]:
        self._keep_what_is_assigned()
        for topic_id in self._topics:
            self._give_out(topic_id)
        for _ in range(ROUNDS):
            if not sum([self._even_out(topic_id) for topic_id in self._topics]):
                break
        assigned: dict[str, list[tuple[bytes, int]]] = {member_id: [] for member_id in self._subscribers}
        for topic_id, owners in self._owners.items():
            for index, owner in enumerate(owners):
                if owner is not None:
                    assigned[owner].append((topic_id, index))
        return {
            member_id: _unless_equal(subscriber.assigned, assigned[member_id])
            for member_id, subscriber in self._subscribers.items()
        }

    def _keep_what_is_assigned(self) -> None:
        for member_id, subscriber in self._subscribers.items():
            for topic_id in subscriber.topics & subscriber.assigned.keys():
                owners = self._owners[topic_id]
                for index in subscriber.assigned[topic_id]:
                    if index < len(owners) and owners[index] is None:
                        owners[index] = member_id
                        self._load[member_id] += 1

    def _give_out(self, topic_id: bytes) -> None:
        """Each partition without an owner to the topic's least loaded subscriber."""
        owners = self._owners[topic_id]
        free = [index for index, owner in enumerate(owners) if owner is None]
        if not free:
            return
        least_loaded = [(self._load[member_id], place) for place, member_id in enumerate(self._takers[topic_id])]
        heapq.heapify(least_loaded)
        for index in free:
            load, place = least_loaded[0]
            heapq.heapreplace(least_loaded, (load + 1, place))
            member_id = self._takers[topic_id][place]
            owners[index] = member_id
            self._load[member_id] = load + 1

    def _even_out(self, topic_id: bytes) -> int:
        """Move partitions from the most to the least loaded subscribers of one topic; how many were moved."""
        owners, takers = self._owners[topic_id], self._takers[topic_id]
        loads = [self._load[member_id] for member_id in takers]
        if max(loads) - min(loads) <= 1:
            return 0
        owned: dict[str, list[int]] = {}
        for index, owner in enumerate(owners):
            if owner is not None:
                owned.setdefault(owner, []).append(index)
        least_loaded = [(self._load[member_id], place) for place, member_id in enumerate(takers)]
        most_loaded = [(-load, place) for load, place in least_loaded if owned.get(takers[place])]
        heapq.heapify(least_loaded)
        heapq.heapify(most_loaded)
        moved = 0
        # A member's load only sinks on the one heap and only rises on the other: it is never both until they meet.
        while most_loaded and -most_loaded[0][0] - least_loaded[0][0] > 1:
            load, place = most_loaded[0]
            giver = takers[place]
            index = owned[giver].pop()
            self._load[giver] -= 1
            if owned[giver]:
                heapq.heapreplace(most_loaded, (load + 1, place))
            else:
                heapq.heappop(most_loaded)
            low, low_place = least_loaded[0]
            heapq.heapreplace(least_loaded, (low + 1, low_place))
            taker = takers[low_place]
            owners[index] = taker
            self._load[taker] += 1
            moved += 1
        return moved
