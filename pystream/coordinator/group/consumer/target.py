"""The next target assignment: what each member is to have, from what all of them want."""

from __future__ import annotations

from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment, Assignor, Subscriber
from pystream.coordinator.group.consumer.group import ConsumerGroup
from pystream.coordinator.group.topics import TopicCatalog


def next_targets(group: ConsumerGroup, assign: Assignor, catalog: TopicCatalog) -> dict[str, Assignment]:
    """The targets that differ from those the members have; a member that had none gets one, empty or not."""
    ids_of_names: dict[frozenset[str], frozenset[bytes]] = {}
    subscribers = {}
    for member_id, member in group.members.items():
        names = group.names_of(member)
        if names not in ids_of_names:  # most members want the same
            ids_of_names[names] = catalog.ids_of(names)
        subscribers[member_id] = Subscriber(ids_of_names[names], group.target_of(member_id), member.instance_id)
    assigned = assign(subscribers, catalog.partition_count())
    return {
        member_id: assigned.get(member_id, NO_PARTITIONS)
        for member_id in group.members
        if group.targets.get(member_id) != assigned.get(member_id, NO_PARTITIONS)
    }
