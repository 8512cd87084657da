"""Which share partitions of a group have a stored state: begun, set anew, deleted. Operations on one shard.

    initializing ── the share coordinator has made the state ──▶ initialized ──▶ may be assigned
    initialized ── begin_delete ──▶ deleting ── the share coordinator has forgotten the state ──▶ gone

What is asked of the share coordinator in between is the caller's to do; asked twice it does no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pystream.common.errors import NonEmptyGroup, UnknownTopicOrPartition
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.group.share.group import ShareGroup
from pystream.coordinator.group.share.groups import ShareGroups
from pystream.coordinator.group.share.partitions import StoredPartitions, TopicPartitions
from pystream.coordinator.machine import Effects, Ticket

NOTHING_TO_DELETE = "There is no offset information to delete."


@dataclass(frozen=True, slots=True)
class Alteration:
    """The states that are to be set anew, under a state epoch that fences who used them before."""

    state_epoch: int
    topic_ids: Mapping[str, bytes]  # of the topics that exist
    partition_counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Deletion:
    """The states that are to be deleted, and the topics of which there are none."""

    topics: Mapping[bytes, TopicPartitions]
    refused: Mapping[str, UnknownTopicOrPartition]


def state_epoch(shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, group_id: str) -> None:
    """Answers the epoch under which states of the group are initialised."""
    effects.answer(ticket, shard.part(ShareGroups).find(group_id).group_epoch, at_once=True)


def states_of(shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, group_id: str) -> None:
    """Answers {topic id: TopicPartitions} of those with a state. What is no share group has none, as in Kafka."""
    group = shard.groups.get(group_id)
    effects.answer(ticket, dict(group.stored.initialized) if isinstance(group, ShareGroup) else {})


def initialized(
    shard: GroupShard,
    ticket: Ticket,
    now_ms: int,
    effects: Effects,
    group_id: str,
    done: Mapping[bytes, Collection[int]],
    failed: Mapping[bytes, Collection[int]],
) -> None:
    """States exist from now on, or could not be made and are to be tried again. A group that is gone has none."""
    groups = shard.part(ShareGroups)
    group = shard.groups.get(group_id)
    if isinstance(group, ShareGroup):
        groups.write_stored(group, _moved(groups, group.stored, done, failed), effects)
    effects.answer(ticket, None)


def _moved(
    groups: ShareGroups,
    stored: StoredPartitions,
    done: Mapping[bytes, Collection[int]],
    failed: Mapping[bytes, Collection[int]],
) -> StoredPartitions:
    initializing = dict(stored.initializing)
    for topic_id in {*done, *failed} & set(initializing):
        topic = initializing.pop(topic_id)
        left = topic.partitions - set(done.get(topic_id, ())) - set(failed.get(topic_id, ()))
        if left:
            initializing[topic_id] = TopicPartitions(topic.name, left)
    have = dict(stored.initialized)
    for topic_id, partitions in done.items():
        known, facts = have.get(topic_id), groups.catalog.by_id(topic_id)
        if facts is not None:  # else the topic was deleted meanwhile
            before = known.partitions if known is not None else frozenset()
            have[topic_id] = TopicPartitions(facts.name, before | frozenset(partitions))
    return StoredPartitions(initializing, have, dict(stored.deleting))


def begin_alter(
    shard: GroupShard,
    ticket: Ticket,
    now_ms: int,
    effects: Effects,
    group_id: str,
    topics: Mapping[str, Collection[int]],
) -> None:
    """States of the partitions are about to be set anew; a group that is not there begins. Answers an Alteration.

    Raises GroupIdNotFound for a group of another kind, NonEmptyGroup while it has members.
    """
    groups = shard.part(ShareGroups)
    group = ShareGroup(group_id) if group_id not in shard.groups else groups.find(group_id)
    _check_empty(group)
    groups.write_next_epoch(group, effects)
    group = groups.find(group_id)
    initializing = dict(group.stored.initializing)
    ids, counts = {}, {}
    for name, partitions in topics.items():
        facts = groups.catalog.by_name(name)
        if facts is None:
            continue
        ids[name], counts[name] = facts.topic_id, facts.partition_count
        existing = frozenset(partition for partition in partitions if 0 <= partition < facts.partition_count)
        if existing:
            known = initializing[facts.topic_id].partitions if facts.topic_id in initializing else frozenset()
            initializing[facts.topic_id] = TopicPartitions(name, known | existing)
            group.initializing_since_ms[facts.topic_id] = now_ms
    deleting = {topic_id: name for topic_id, name in group.stored.deleting.items() if topic_id not in initializing}
    groups.write_stored(group, StoredPartitions(initializing, dict(group.stored.initialized), deleting), effects)
    effects.answer(ticket, Alteration(group.group_epoch, ids, counts))


def begin_delete(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, group_id: str, names: Sequence[str] | None
) -> None:
    """States of the topics are about to be deleted; None: all of them. Answers a Deletion.

    Raises GroupIdNotFound, NonEmptyGroup.
    """
    groups = shard.part(ShareGroups)
    group = groups.find(group_id)
    _check_empty(group)
    have = group.stored.all_of()
    for topic_id, name in group.stored.deleting.items():  # begun before, and perhaps not finished
        facts = groups.catalog.by_id(topic_id)
        if facts is not None:
            have.setdefault(topic_id, TopicPartitions(name, frozenset(range(facts.partition_count))))
    refused = {}
    if names is not None:
        by_name = {topic.name: topic_id for topic_id, topic in have.items()}
        for name in names:
            if name not in by_name:
                exists = groups.catalog.by_name(name) is not None
                refused[name] = UnknownTopicOrPartition(NOTHING_TO_DELETE) if exists else UnknownTopicOrPartition()
        have = {by_name[name]: have[by_name[name]] for name in names if name in by_name}
    if have:
        deleting = group.stored.deleting | {topic_id: topic.name for topic_id, topic in have.items()}
        groups.write_stored(group, _without(group.stored, have, deleting), effects)
    effects.answer(ticket, Deletion(have, refused))


def deleted(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, group_id: str, topic_ids: Collection[bytes]
) -> None:
    """States are gone."""
    group = shard.groups.get(group_id)
    if isinstance(group, ShareGroup):
        deleting = {topic_id: name for topic_id, name in group.stored.deleting.items() if topic_id not in topic_ids}
        shard.part(ShareGroups).write_stored(group, _without(group.stored, topic_ids, deleting), effects)
    effects.answer(ticket, None)


def forget_topics(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, topic_ids: Collection[bytes]
) -> None:
    """Topics were deleted: no group has states of them any more."""
    groups = shard.part(ShareGroups)
    for group in groups.all():
        stored = group.stored
        if any(topic_id in found for topic_id in topic_ids for found in (stored.all_of(), stored.deleting)):
            deleting = {topic_id: name for topic_id, name in stored.deleting.items() if topic_id not in topic_ids}
            groups.write_stored(group, _without(stored, topic_ids, deleting), effects)
    effects.answer(ticket, None)


def _without(stored: StoredPartitions, topic_ids: Collection[bytes], deleting: dict[bytes, str]) -> StoredPartitions:
    return StoredPartitions(
        initializing={topic_id: topic for topic_id, topic in stored.initializing.items() if topic_id not in topic_ids},
        initialized={topic_id: topic for topic_id, topic in stored.initialized.items() if topic_id not in topic_ids},
        deleting=deleting,
    )


def _check_empty(group: ShareGroup) -> None:
    if not group.is_empty():
        raise NonEmptyGroup()
