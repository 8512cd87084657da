"""ShareGroupHeartbeat and ShareGroupDescribe on one shard.

A heartbeat answers a `Heartbeat`: the response, and the share partitions whose state somebody has to initialise before
they can be assigned: those of subscribed topics that have none, and were not begun within the last
group.share.initialize.retry.interval.ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pystream.common.errors import (
    GroupMaxSizeReached,
    InvalidRequest,
    UnknownMemberId,
)
from pystream.common.logging import get_logger
from pystream.coordinator.group.group import Caller, GroupKind
from pystream.coordinator.group.modern.member import JOINING_EPOCH, LEAVING_EPOCH
from pystream.coordinator.group.modern.requests import describe_each, fenced, refuse_blank
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.group.share import records
from pystream.coordinator.group.share.config import SIMPLE
from pystream.coordinator.group.share.group import ShareGroup
from pystream.coordinator.group.share.groups import ShareGroups
from pystream.coordinator.group.share.member import ShareMember
from pystream.coordinator.group.share.partitions import StoredPartitions, TopicPartitions
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.messages import share_group_describe
from pystream.protocol.messages.share_group_heartbeat import (
    Assignment,
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
)
from pystream.protocol.messages.share_group_heartbeat import TopicPartitions as AssignedPartitions

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat comes to. `to_initialize`: partitions by topic id."""

    response: ShareGroupHeartbeatResponse
    to_initialize: dict[bytes, frozenset[int]] = field(default_factory=dict)


def check_heartbeat(request: ShareGroupHeartbeatRequest) -> None:
    """Raises InvalidRequest for what no member may send."""
    refuse_blank(request.member_id, "MemberId")
    refuse_blank(request.group_id, "GroupId")
    refuse_blank(request.rack_id, "RackId")
    if request.member_epoch == JOINING_EPOCH:
        if not request.subscribed_topic_names:
            raise InvalidRequest("SubscribedTopicNames must be set in first request.")
    elif request.member_epoch < LEAVING_EPOCH:
        raise InvalidRequest("MemberEpoch is invalid.")


def heartbeat(
    shard: GroupShard,
    ticket: Ticket,
    now_ms: int,
    effects: Effects,
    caller: Caller,
    request: ShareGroupHeartbeatRequest,
) -> None:
    """Join, stay or leave. Raises the KafkaError that the member is told."""
    check_heartbeat(request)
    groups = shard.part(ShareGroups)
    if request.member_epoch == LEAVING_EPOCH:
        effects.answer(ticket, _leave(groups, request, now_ms, effects))
        return
    group, member = _member(groups, request)
    asked = replace(
        member,
        rack_id=member.rack_id if request.rack_id is None else request.rack_id,
        client_id=caller.client_id,
        client_host=caller.client_host,
        subscribed=_subscription(member, request),
    )
    is_new = member.member_id not in group.members
    changed = is_new or _identity(asked) != _identity(member)
    subscription_changed = is_new or asked.subscribed != member.subscribed
    if changed:
        effects.write(*records.member(group.group_id, asked))
        group = groups.find(group.group_id)
    _assign(groups, group, effects, subscription_changed=subscription_changed)
    member = group.members[request.member_id]
    before = member.assigned
    if member.member_epoch != group.target_epoch or is_new:
        groups.advance_member(group, member, effects)
        member = group.members[request.member_id]
    to_initialize = _to_initialize(groups, group, now_ms, effects)
    groups.expect_heartbeat(group, member, now_ms)
    tell = request.member_epoch == JOINING_EPOCH or request.subscribed_topic_names is not None
    response = ShareGroupHeartbeatResponse(
        member_id=member.member_id,
        member_epoch=member.member_epoch,
        heartbeat_interval_ms=groups.settings_of(group.group_id).share_heartbeat_interval_ms,
        assignment=_assignment(member) if tell or member.assigned != before else None,
    )
    effects.answer(ticket, Heartbeat(response, to_initialize))


def _leave(groups: ShareGroups, request: ShareGroupHeartbeatRequest, now_ms: int, effects: Effects) -> Heartbeat:
    group = groups.find(request.group_id)
    member = group.member(request.member_id)
    logger.info("share group member left", group=group.group_id, member=request.member_id)
    groups.fence(group, [member], now_ms, effects)
    return Heartbeat(ShareGroupHeartbeatResponse(member_id=request.member_id, member_epoch=LEAVING_EPOCH))


def _member(groups: ShareGroups, request: ShareGroupHeartbeatRequest) -> tuple[ShareGroup, ShareMember]:
    """The group and the member, both new when it joins: not in the shard yet."""
    joins = request.member_epoch == JOINING_EPOCH
    group_id, member_id = request.group_id, request.member_id
    if joins and group_id not in groups.shard.groups:
        return ShareGroup(group_id), ShareMember(member_id=member_id)
    group = groups.find(group_id)
    member = group.members.get(member_id)
    if member is None:
        if not joins:
            raise UnknownMemberId(f"Member {member_id} is not a member of group {group_id}.")
        if len(group.members) >= groups.config.max_size:
            raise GroupMaxSizeReached(
                f"The share group has reached its maximum capacity of {groups.config.max_size} members."
            )
        return group, ShareMember(member_id=member_id)
    if not joins and request.member_epoch not in (member.member_epoch, member.previous_member_epoch):
        raise fenced(GroupKind.SHARE, received=request.member_epoch, known=member.member_epoch)
    return group, member


def _subscription(member: ShareMember, request: ShareGroupHeartbeatRequest) -> tuple[str, ...]:
    names = request.subscribed_topic_names
    return member.subscribed if names is None else tuple(sorted(set(names)))


def _identity(member: ShareMember) -> tuple[object, ...]:
    return member.rack_id, member.client_id, member.client_host, member.subscribed


def _assign(groups: ShareGroups, group: ShareGroup, effects: Effects, *, subscription_changed: bool) -> None:
    """Bump the group epoch when something has changed, and make the assignment that belongs to it."""
    version = groups.catalog.version()
    topics_changed = False
    if group.topics_checked != version:
        topics_changed = groups.catalog.fingerprint(group.subscribed_topics()) != group.metadata_hash
        group.topics_checked = version
    if subscription_changed or topics_changed or groups.is_assignment_behind(group):
        groups.write_next_epoch(group, effects)
    if group.target_epoch < group.group_epoch:
        groups.write_target(group, effects)


def _to_initialize(
    groups: ShareGroups, group: ShareGroup, now_ms: int, effects: Effects
) -> dict[bytes, frozenset[int]]:
    """Partitions of subscribed topics without a state; they are written down as being initialised."""
    stored = group.stored
    missing: dict[bytes, TopicPartitions] = {}
    retry_before_ms = now_ms - groups.config.initialize_retry_interval_ms
    for name in sorted(group.subscribed_topics()):
        topic = groups.catalog.by_name(name)
        if topic is None:
            continue
        have = stored.initialized.get(topic.topic_id)
        begun = stored.initializing.get(topic.topic_id)
        left = frozenset(range(topic.partition_count)) - (have.partitions if have else frozenset())
        if begun is not None and group.initializing_since_ms.get(topic.topic_id, retry_before_ms) > retry_before_ms:
            left -= begun.partitions
        if left:
            missing[topic.topic_id] = TopicPartitions(name, left)
    if not missing:
        return {}
    initializing = dict(stored.initializing)
    for topic_id, topic_partitions in missing.items():
        known = initializing[topic_id].partitions if topic_id in initializing else frozenset()
        initializing[topic_id] = TopicPartitions(topic_partitions.name, known | topic_partitions.partitions)
        group.initializing_since_ms[topic_id] = now_ms
    if initializing != stored.initializing:
        deleting = {topic_id: name for topic_id, name in stored.deleting.items() if topic_id not in missing}
        groups.write_stored(group, StoredPartitions(initializing, stored.initialized, deleting), effects)
    return {topic_id: found.partitions for topic_id, found in missing.items()}


def _assignment(member: ShareMember) -> Assignment:
    return Assignment(
        topic_partitions=[
            AssignedPartitions(topic_id=topic_id, partitions=sorted(partitions))
            for topic_id, partitions in member.assigned.items()
        ]
    )


def describe(shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, group_ids: Sequence[str]) -> None:
    """One DescribedGroup for each id."""
    groups = shard.part(ShareGroups)
    effects.answer(
        ticket,
        describe_each(
            group_ids, lambda group_id: _described(groups, group_id, now_ms), share_group_describe.DescribedGroup
        ),
    )


def _described(groups: ShareGroups, group_id: str, now_ms: int) -> share_group_describe.DescribedGroup:
    group = groups.find(group_id)
    return share_group_describe.DescribedGroup(
        group_id=group_id,
        group_state=group.state_name(now_ms),
        group_epoch=group.group_epoch,
        assignment_epoch=group.target_epoch,
        assignor_name=SIMPLE,
        members=[_described_member(groups, member) for member in group.members.values()],
    )


def _described_member(groups: ShareGroups, member: ShareMember) -> share_group_describe.Member:
    """Topics that were deleted meanwhile are left out."""
    known = ((topic_id, found, groups.catalog.by_id(topic_id)) for topic_id, found in member.assigned.items())
    return share_group_describe.Member(
        member_id=member.member_id,
        rack_id=member.rack_id,
        member_epoch=member.member_epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.subscribed),
        assignment=share_group_describe.Assignment(
            topic_partitions=[
                share_group_describe.TopicPartitions(
                    topic_id=topic_id, topic_name=topic.name, partitions=sorted(partitions)
                )
                for topic_id, partitions, topic in known
                if topic is not None
            ]
        ),
    )
