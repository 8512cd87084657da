"""ConsumerGroupDescribe on one shard. Groups of other kinds have describe requests of their own."""

from __future__ import annotations

from collections.abc import Sequence

from pystream.coordinator.group.assignors.model import Assignment
from pystream.coordinator.group.consumer.group import ConsumerGroup
from pystream.coordinator.group.consumer.groups import ConsumerGroups, consumer_groups
from pystream.coordinator.group.consumer.member import ConsumerMember
from pystream.coordinator.group.modern.requests import describe_each
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.messages import consumer_group_describe as messages

CLASSIC_MEMBER, CONSUMER_MEMBER = 0, 1


def describe_consumer_groups(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, group_ids: Sequence[str]
) -> None:
    """One result for each of `group_ids`, in their order."""
    groups = consumer_groups(shard)
    effects.answer(
        ticket,
        describe_each(group_ids, lambda group_id: _described(groups, group_id, now_ms), messages.DescribedGroup),
    )


def _described(groups: ConsumerGroups, group_id: str, now_ms: int) -> messages.DescribedGroup:
    group = groups.find(group_id)
    return messages.DescribedGroup(
        group_id=group_id,
        group_state=group.state_name(now_ms),
        group_epoch=group.group_epoch,
        assignment_epoch=group.target_epoch,
        assignor_name=group.preferred_assignor() or groups.config.assignors[0],
        members=[_member(group, member, groups.catalog) for member in group.members.values()],
    )


def _member(group: ConsumerGroup, member: ConsumerMember, catalog: TopicCatalog) -> messages.Member:
    return messages.Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.member_epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=sorted(member.subscribed_topic_names),
        subscribed_topic_regex=member.subscribed_topic_regex,
        assignment=_assignment(member.assigned, catalog),
        target_assignment=_assignment(group.target_of(member.member_id), catalog),
        member_type=CLASSIC_MEMBER if member.uses_classic_protocol else CONSUMER_MEMBER,
    )


def _assignment(assignment: Assignment, catalog: TopicCatalog) -> messages.Assignment:
    """Topics that are gone are left out."""
    found = [(topic, indexes) for topic_id, indexes in assignment.items() if (topic := catalog.by_id(topic_id))]
    return messages.Assignment(
        topic_partitions=[
            messages.TopicPartitions(topic_id=topic.topic_id, topic_name=topic.name, partitions=sorted(indexes))
            for topic, indexes in sorted(found, key=lambda pair: pair[0].name)
        ]
    )
