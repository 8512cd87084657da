"""The simple assignor: which members of a share group read which partitions.

    more partitions than members   each partition has one member,   members differ by one partition at most
    more members than partitions   each member has one partition,   partitions differ by one member at most

as far as all members subscribe to the same topics. Whoever has a partition keeps it when that costs no balance.
Source: what KIP-932 asks of its SimpleAssignor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from pystream.common.model import TopicIdPartition

BALANCING_ROUNDS = 8  # with different subscriptions one move may make room for another

Partitions = Mapping[bytes, Set[int]]  # topic id -> partitions


def assign(
    subscriptions: Mapping[str, Set[bytes]], partitions: Partitions, current: Mapping[str, Partitions]
) -> dict[str, dict[bytes, frozenset[int]]]:
    """The partitions of each member. `partitions`: those that may be assigned; `current`: what members have now."""
    work = _Work(subscriptions, partitions, current)
    if work.is_good_as_it_is():
        return {member_id: dict(_kept(current.get(member_id, {}))) for member_id in work.held}
    work.give_each_partition_a_member()
    work.balance()
    work.give_each_member_a_partition()
    return {member_id: _by_topic(held) for member_id, held in work.held.items()}


class _Work:
    """An assignment in the making."""

    def __init__(
        self, subscriptions: Mapping[str, Set[bytes]], partitions: Partitions, current: Mapping[str, Partitions]
    ) -> None:
        self.held: dict[str, set[TopicIdPartition]] = {member_id: set() for member_id in sorted(subscriptions)}
        self._readers: dict[bytes, list[str]] = {}
        self._current = current
        for member_id in self.held:
            for topic_id in subscriptions[member_id]:
                self._readers.setdefault(topic_id, []).append(member_id)
        self._subscriptions = subscriptions
        self._partitions = [
            TopicIdPartition(topic_id, partition)
            for topic_id in sorted(partitions)
            if topic_id in self._readers
            for partition in sorted(partitions[topic_id])
        ]
        self._sharing = dict.fromkeys(self._partitions, 0)

    def is_good_as_it_is(self) -> bool:
        """Whether what members have is whole; fair, too, as far as all subscribe to the same."""
        sharing = dict.fromkeys(self._partitions, 0)
        loads = []
        for member_id in self.held:
            held = [(t, p) for t, found in self._current.get(member_id, {}).items() for p in found]
            if any(place not in sharing or place[0] not in self._subscriptions[member_id] for place in held):
                return False
            if not held and self._readable(member_id):
                return False
            loads.append(len(held))
            for topic_id, partition in held:
                sharing[TopicIdPartition(topic_id, partition)] += 1
        if not all(sharing.values()):
            return False
        if len({frozenset(subscribed) for subscribed in self._subscriptions.values()}) != 1:
            return True
        members_of_each = list(sharing.values()) or [0]
        even = max(loads) - min(loads) <= 1 and max(members_of_each) - min(members_of_each) <= 1
        return even and min(max(loads), max(members_of_each)) <= 1

    def give_each_partition_a_member(self) -> None:
        left = []
        for partition in self._partitions:
            holders = [member_id for member_id in self._readers[partition.topic_id] if self._has(member_id, partition)]
            if holders:
                self._give(self._least_loaded(holders), partition)
            else:
                left.append(partition)
        for partition in left:
            self._give(self._least_loaded(self._readers[partition.topic_id]), partition)

    def balance(self) -> None:
        """Move partitions to members that have at least two fewer."""
        for _ in range(BALANCING_ROUNDS):
            moved = False
            for member_id in sorted(self.held, key=lambda member: -len(self.held[member])):
                for partition in sorted(self.held[member_id]):
                    other = self._least_loaded(self._readers[partition.topic_id])
                    if len(self.held[other]) + 2 > len(self.held[member_id]):
                        continue
                    self.held[member_id].discard(partition)
                    self.held[other].add(partition)
                    moved = True
            if not moved:
                return

    def give_each_member_a_partition(self) -> None:
        """Members that are left over share partitions with others."""
        idle = [member_id for member_id, held in self.held.items() if not held]
        late = []
        for member_id in idle:
            mine = [partition for partition in self._readable(member_id) if self._has(member_id, partition)]
            room = [partition for partition in mine if self._sharing[partition] < self._most(member_id)]
            if room:
                self._give(member_id, min(room, key=lambda partition: self._sharing[partition]))
            else:
                late.append(member_id)
        for member_id in late:
            readable = self._readable(member_id)
            if readable:
                self._give(member_id, min(readable, key=lambda partition: self._sharing[partition]))

    def _most(self, member_id: str) -> int:
        """How many members share a partition when all of this member's partitions are shared evenly."""
        readable = self._readable(member_id)
        readers = {reader for topic_id in self._subscriptions[member_id] for reader in self._readers[topic_id]}
        return -(-len(readers) // max(len(readable), 1))

    def _readable(self, member_id: str) -> list[TopicIdPartition]:
        return [partition for partition in self._partitions if partition.topic_id in self._subscriptions[member_id]]

    def _has(self, member_id: str, partition: TopicIdPartition) -> bool:
        """Whether the member has the partition as things were before."""
        return partition.partition in self._current.get(member_id, {}).get(partition.topic_id, ())

    def _least_loaded(self, members: Iterable[str]) -> str:
        return min(members, key=lambda member_id: len(self.held[member_id]))

    def _give(self, member_id: str, partition: TopicIdPartition) -> None:
        self.held[member_id].add(partition)
        self._sharing[partition] += 1


def _kept(assigned: Partitions) -> Iterator[tuple[bytes, frozenset[int]]]:
    return ((topic_id, frozenset(found)) for topic_id, found in sorted(assigned.items()) if found)


def _by_topic(held: Iterable[TopicIdPartition]) -> dict[bytes, frozenset[int]]:
    topics: dict[bytes, set[int]] = {}
    for topic_id, partition in held:
        topics.setdefault(topic_id, set()).add(partition)
    return {topic_id: frozenset(found) for topic_id, found in sorted(topics.items())}
