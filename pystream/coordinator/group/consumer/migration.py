"""Online migration (KIP-848): a classic group becomes a consumer group when the first member of the new protocol joins,
and a classic one again when the last of them has gone. `group.consumer.migration.policy` says whether.

    classic group, generation 7                      consumer group, epochs 7
      member: assignment, protocols      ──────>       member: target and current assignment, epoch 7, protocols
                                         <──────

Members that speak the classic protocol stay in: they are asked to join again, and are served by `classic_members`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pystream.common.error_codes import REBALANCE_IN_PROGRESS
from pystream.common.errors import GroupIdNotFound, MalformedInput
from pystream.common.logging import get_logger
from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment
from pystream.coordinator.group.classic.groups import ClassicGroups
from pystream.coordinator.group.classic.state import ClassicGroup, ClassicMember, ClassicState
from pystream.coordinator.group.consumer import records
from pystream.coordinator.group.consumer.group import PROTOCOL_TYPE, ConsumerGroup
from pystream.coordinator.group.consumer.groups import ConsumerGroups
from pystream.coordinator.group.consumer.member import ClassicMetadata, ClassicProtocol, ConsumerMember
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.machine import Effects
from pystream.protocol.consumer_protocol import (
    read_assignment,
    read_subscription,
    subscription_version,
    write_assignment,
)
from pystream.protocol.coordinator_records.group_metadata import GroupMetadataKey, GroupMetadataValue
from pystream.protocol.messages.consumer_protocol_assignment import ConsumerProtocolAssignment, TopicPartition

logger = get_logger(__name__)


class NamedPartitions(Protocol):
    """Partitions of one topic, as subscriptions and assignments name them."""

    topic: str
    partitions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What a classic group is going to be: `group` is not in the shard yet."""

    classic: ClassicGroup
    group: ConsumerGroup

    def write(self, groups: ConsumerGroups, now_ms: int, effects: Effects) -> ConsumerGroup:
        """Make it so; requests that wait in the classic group are told to join again. The group as it is then."""
        classic_groups = groups.shard.part(ClassicGroups)
        for waiting in self.classic.members.values():
            classic_groups.answer_join_error(
                self.classic, waiting, REBALANCE_IN_PROGRESS, effects, member_id=waiting.member_id
            )
            classic_groups.answer_sync_error(waiting, REBALANCE_IN_PROGRESS, effects)
        self.classic.write_tombstones(effects)
        group_id, planned = self.group.group_id, self.group
        for member in planned.members.values():
            effects.write(*records.member(group_id, member))
        effects.write(*records.group_epoch(group_id, planned.group_epoch, planned.metadata_hash))
        for member_id, assignment in planned.targets.items():
            effects.write(*records.target(group_id, member_id, assignment))
        effects.write(*records.KINDS.epoch_of_target(group_id, planned.target_epoch))
        for member in planned.members.values():
            effects.write(*records.current_assignment_of(group_id, member))
        group = groups.written(group_id)
        for member in group.members.values():
            groups.expect_heartbeat(group, member, now_ms)
        logger.info("classic group became a consumer group", group=group_id, members=len(group.members))
        return group


def upgrade_of(classic: ClassicGroup, groups: ConsumerGroups) -> Upgrade:
    """Writes nothing. Raises GroupIdNotFound, as Kafka does, for a group that cannot or may not be upgraded."""
    begin = f"Cannot upgrade classic group {classic.group_id} to consumer group because"
    if not groups.config.may_upgrade:
        raise GroupIdNotFound(f"{begin} online upgrade is disabled.")
    if not classic.of_consumers():
        raise GroupIdNotFound(f"{begin} the group does not use the consumer embedded protocol.")
    if len(classic.members) > groups.config.max_size:
        raise GroupIdNotFound(f"{begin} the group size exceeds the consumer group maximum size.")
    generation = classic.generation
    group = ConsumerGroup(classic.group_id, group_epoch=generation, target_epoch=generation)
    try:
        for member in classic.members.values():
            upgraded = _upgraded(member, classic, groups.catalog)
            group.put_member(upgraded)
            group.targets[upgraded.member_id] = upgraded.assigned
    except MalformedInput as error:
        raise GroupIdNotFound(f"{begin} the embedded consumer protocol is malformed.") from error
    group.metadata_hash = groups.catalog.fingerprint(group.subscribed_names())
    return Upgrade(classic, group)


def _upgraded(member: ClassicMember, classic: ClassicGroup, catalog: TopicCatalog) -> ConsumerMember:
    """The member with what the classic group has assigned to it. Raises MalformedInput or GroupIdNotFound."""
    subscription = read_subscription(member.metadata(classic.protocol_name or classic.select_protocol()))
    assigned = NO_PARTITIONS
    if member.assignment:
        assignment = read_assignment(member.assignment)
        if assignment.user_data:
            raise GroupIdNotFound(
                f"Cannot upgrade classic group {classic.group_id} to consumer group because an unsupported custom "
                "assignor is in use. Please refer to the documentation or switch to a default assignor before "
                "re-attempting the upgrade."
            )
        assigned = by_id(assignment.assigned_partitions, catalog)
    return ConsumerMember(
        member_id=member.member_id,
        member_epoch=classic.generation,
        previous_member_epoch=classic.generation,
        instance_id=member.group_instance_id,
        rack_id=subscription.rack_id or None,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=frozenset(subscription.topics),
        assigned=assigned,
        classic=ClassicMetadata(
            member.session_timeout_ms, tuple(ClassicProtocol(name, metadata) for name, metadata in member.protocols)
        ),
    )


def downgrade_without(
    groups: ConsumerGroups, group: ConsumerGroup, leaving: Iterable[ConsumerMember], now_ms: int, effects: Effects
) -> bool:
    """Make the group a classic one when only such members stay and it may; whether it is one now.

    It rebalances at once, so that what the leaving members had is given out.
    """
    gone = {member.member_id for member in leaving}
    staying = [member for member in group.members.values() if member.member_id not in gone]
    if not staying or not may_downgrade(groups, group, staying):
        return False
    _become_classic(groups, group, staying, now_ms, effects, rebalance=True)
    return True


def may_downgrade(groups: ConsumerGroups, group: ConsumerGroup, staying: list[ConsumerMember]) -> bool:
    """Whether a classic group can be made of those who stay."""
    if any(not member.uses_classic_protocol for member in staying):
        return False
    if not groups.config.may_downgrade:
        logger.info("consumer group stays: downgrade is disabled", group=group.group_id)
        return False
    if len(staying) > groups.shard.part(ClassicGroups).config.max_size:
        logger.info("consumer group stays: it is over group.max.size", group=group.group_id, members=len(staying))
        return False
    return True


def downgrade(groups: ConsumerGroups, group: ConsumerGroup, now_ms: int, effects: Effects, *, rebalance: bool) -> None:
    """Make a classic group of a consumer group all of whose members speak the classic protocol."""
    _become_classic(groups, group, list(group.members.values()), now_ms, effects, rebalance=rebalance)


def _become_classic(
    groups: ConsumerGroups,
    group: ConsumerGroup,
    staying: list[ConsumerMember],
    now_ms: int,
    effects: Effects,
    *,
    rebalance: bool,
) -> None:
    """What the members are to have is the assignment of the generation; protocols they offered stay theirs.

    Where the group rebalances, the log has an empty group of this generation: only so does a start that comes before
    the rebalance is through make the members join again. Kafka writes them down, and forgets the rebalance then.
    """
    planned = ClassicGroup(group.group_id)
    for member in staying:
        planned.add(_downgraded(member))
    planned.generation = group.group_epoch
    planned.protocol_name = planned.select_protocol()
    planned.state_timestamp_ms = now_ms
    for member in staying:
        made = planned.members[member.member_id]
        assignment = by_name(group.target_of(member.member_id), groups.catalog)
        made.assignment = write_assignment(assignment, subscription_version(made.metadata(planned.protocol_name)))
    group.write_tombstones(effects)
    effects.write(
        GroupMetadataKey(group=group.group_id), _without_members(planned) if rebalance else _with_all(planned)
    )
    classic_groups = groups.shard.part(ClassicGroups)
    classic = classic_groups.find(group.group_id)
    assert classic is not None, "just written"
    for made in planned.members.values():
        if made.member_id in classic.members:
            classic.set_protocols(classic.members[made.member_id], made.protocols)
        else:
            classic.add(made)
        classic_groups.expect_heartbeat(classic, classic.members[made.member_id], now_ms)
    logger.info("consumer group became a classic group", group=group.group_id, members=len(staying))
    if rebalance:
        classic.protocol_name = planned.protocol_name
        classic.move_to(ClassicState.STABLE, now_ms)
        classic_groups.prepare_rebalance(classic, now_ms, effects, "the last member of the consumer protocol has gone")


def _with_all(planned: ClassicGroup) -> GroupMetadataValue:
    return planned.record({member.member_id: member.assignment for member in planned.members.values()})


def _without_members(planned: ClassicGroup) -> GroupMetadataValue:
    empty = ClassicGroup(planned.group_id)
    empty.protocol_type_name = planned.protocol_type_name
    empty.generation = planned.generation
    empty.state_timestamp_ms = planned.state_timestamp_ms
    return empty.record({})


def _downgraded(member: ConsumerMember) -> ClassicMember:
    assert member.classic is not None, "only members of the classic protocol stay"
    return ClassicMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        session_timeout_ms=member.classic.session_timeout_ms,
        protocol_type=PROTOCOL_TYPE,
        protocols=tuple((protocol.name, protocol.metadata) for protocol in member.classic.protocols),
    )


def by_name(assignment: Assignment, catalog: TopicCatalog) -> ConsumerProtocolAssignment:
    """The assignment as members of the classic protocol read it; topics that are gone are left out."""
    found = [(topic, indexes) for topic_id, indexes in assignment.items() if (topic := catalog.by_id(topic_id))]
    return ConsumerProtocolAssignment(
        assigned_partitions=[
            TopicPartition(topic=topic.name, partitions=sorted(indexes))
            for topic, indexes in sorted(found, key=lambda pair: pair[0].name)
        ]
    )


def by_id(partitions: Iterable[NamedPartitions], catalog: TopicCatalog) -> Assignment:
    """What members of the classic protocol name, by topic id; topics that are gone are left out."""
    found: dict[bytes, frozenset[int]] = {}
    for entry in partitions:
        topic = catalog.by_name(entry.topic)
        if topic is not None and entry.partitions:
            found[topic.topic_id] = found.get(topic.topic_id, frozenset()) | frozenset(entry.partitions)
    return found
