"""ConsumerGroups: the consumer part of a shard: records, sessions, and the steps that heartbeats and time-outs share.

Timers: ("consumer-session" | "consumer-rebalance" | "consumer-join" | "consumer-sync", group id, member id); the last
two are of members that speak the classic protocol. ("consumer-regex", group id): expressions are to be looked up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

from pystream.common.errors import GroupIdNotFound
from pystream.common.logging import get_logger
from pystream.common.model import random_uuid, uuid_text
from pystream.coordinator.group.assignors.model import Assignment
from pystream.coordinator.group.consumer import records
from pystream.coordinator.group.consumer.config import ASSIGNORS, ConsumerGroupConfig
from pystream.coordinator.group.consumer.group import ConsumerGroup, ResolvedRegex
from pystream.coordinator.group.consumer.member import ConsumerMember, MemberState
from pystream.coordinator.group.consumer.reconciliation import Goal, reconcile
from pystream.coordinator.group.consumer.regex import topics_named_by
from pystream.coordinator.group.consumer.target import next_targets
from pystream.coordinator.group.group import Group
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.group_settings import SettingsOfGroup
from pystream.coordinator.machine import Effects, Record
from pystream.protocol.coordinator_records.consumer_group_current_member_assignment import (
    ConsumerGroupCurrentMemberAssignmentKey,
)
from pystream.protocol.coordinator_records.consumer_group_member_metadata import ConsumerGroupMemberMetadataKey
from pystream.protocol.coordinator_records.consumer_group_metadata import ConsumerGroupMetadataKey
from pystream.protocol.coordinator_records.consumer_group_partition_metadata import ConsumerGroupPartitionMetadataKey
from pystream.protocol.coordinator_records.consumer_group_regular_expression import ConsumerGroupRegularExpressionKey
from pystream.protocol.coordinator_records.consumer_group_target_assignment_member import (
    ConsumerGroupTargetAssignmentMemberKey,
)
from pystream.protocol.coordinator_records.consumer_group_target_assignment_metadata import (
    ConsumerGroupTargetAssignmentMetadataKey,
)

logger = get_logger(__name__)

REGEX_REFRESH_MIN_INTERVAL_MS = 10_000
NO_TARGET_EPOCH = -1  # of a group whose target has been deleted: the group itself follows
SESSION, REBALANCE, JOIN, SYNC = "consumer-session", "consumer-rebalance", "consumer-join", "consumer-sync"
REGEX = "consumer-regex"
TIMERS_OF_MEMBER = (SESSION, REBALANCE, JOIN, SYNC)

# Lets members go whose group then becomes a classic one; whether it did. See migration.py
Downgrade = Callable[["ConsumerGroups", ConsumerGroup, Iterable[ConsumerMember], int, Effects], bool]


def random_member_id() -> str:
    return uuid_text(random_uuid())


class ConsumerGroups:
    """See the head of this module. `new_member_id`: for those who come without one; a test may count instead."""

    def __init__(
        self,
        shard: GroupShard,
        config: ConsumerGroupConfig,
        catalog: TopicCatalog,
        settings_of: SettingsOfGroup,
        downgrade: Downgrade,
        *,
        new_member_id: Callable[[], str] = random_member_id,
    ) -> None:
        self.shard = shard
        self.config = config
        self.catalog = catalog
        self.settings_of = settings_of
        self.new_member_id = new_member_id
        self._downgrade = downgrade

    # The shard's part

    def replays(self) -> Mapping[type, Replay]:
        return {
            ConsumerGroupMemberMetadataKey: self._replay_member,
            ConsumerGroupMetadataKey: self._replay_group_epoch,
            ConsumerGroupPartitionMetadataKey: self._replay_partition_metadata,
            ConsumerGroupTargetAssignmentMemberKey: self._replay_target,
            ConsumerGroupTargetAssignmentMetadataKey: self._replay_target_epoch,
            ConsumerGroupCurrentMemberAssignmentKey: self._replay_current_assignment,
            ConsumerGroupRegularExpressionKey: self._replay_regex,
        }

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """Groups write nothing in transactions."""

    def loaded(self, now_ms: int, effects: Effects) -> None:
        """Every member has a whole session time-out from now on."""
        for group in list(self.shard.groups.values()):
            if isinstance(group, ConsumerGroup):
                for member in list(group.members.values()):
                    self.expect_heartbeat(group, member, now_ms)
                    if member.state is MemberState.UNREVOKED_PARTITIONS and not member.uses_classic_protocol:
                        self._expect_revocation(group, member, now_ms)

    def unloaded(self, effects: Effects) -> None:
        """Nobody waits here: every heartbeat is answered as it comes."""

    # Groups

    def find(self, group_id: str) -> ConsumerGroup:
        """Raises GroupIdNotFound, also for a group of another kind."""
        group = self.shard.group(group_id)
        if not isinstance(group, ConsumerGroup):
            raise GroupIdNotFound(f"Group {group_id} is not a consumer group.")
        return group

    def written(self, group_id: str) -> ConsumerGroup:
        """The group that records just written have made."""
        group = self.shard.groups[group_id]
        assert isinstance(group, ConsumerGroup)
        return group

    # Steps of a heartbeat

    def refresh_regexes(self, group: ConsumerGroup, now_ms: int, effects: Effects) -> None:
        """Forget regular expressions that nobody wants any more, and see to it that the others are looked up soon.

        That is not done now: as in Kafka, members learn with a later heartbeat which topics an expression names. New
        expressions are looked up at once, all of them when topics have been created, at most every ten seconds.
        """
        wanted = group.regexes_wanted()
        for expression in [known for known in group.regexes if known not in wanted]:
            effects.write(*records.no_regex(group.group_id, expression))
        if wanted and self._regexes_due(group, now_ms):
            look_up = functools.partial(self._look_up_regexes, group.group_id)
            self.shard.timers.schedule((REGEX, group.group_id), now_ms, look_up)

    def _regexes_due(self, group: ConsumerGroup, now_ms: int) -> list[str]:
        wanted = group.regexes_wanted()
        if not group.regexes:
            return list(wanted)
        resolved = next(iter(group.regexes.values()))  # all were looked up at one time, or later ones since
        age_ms = now_ms - resolved.timestamp_ms
        if age_ms > REGEX_REFRESH_MIN_INTERVAL_MS and (
            resolved.version < self.catalog.newest_topic_version() or age_ms > self.config.regex_refresh_interval_ms
        ):
            return list(wanted)
        return [expression for expression in wanted if expression not in group.regexes]

    def _look_up_regexes(self, group_id: str, now_ms: int, effects: Effects) -> None:
        """A new group epoch when an expression names other topics than before."""
        group = self.shard.groups.get(group_id)
        if not isinstance(group, ConsumerGroup):
            return
        changed = False
        for expression in self._regexes_due(group, now_ms):
            named = topics_named_by(expression, self.catalog.names())
            before = group.regexes.get(expression)
            changed = changed or named != (frozenset() if before is None else before.topics)
            effects.write(
                *records.regex(
                    group_id, expression, topics=sorted(named), version=self.catalog.version(), timestamp_ms=now_ms
                )
            )
        self.advance_group_epoch(group, effects, changed=changed)

    def advance_group_epoch(self, group: ConsumerGroup, effects: Effects, *, changed: bool) -> None:
        """A new group epoch when the members or their topics have changed. `changed`: the members have."""
        version = self.catalog.version()
        if not changed and group.topics_checked == version:
            return
        metadata_hash = self.catalog.fingerprint(group.subscribed_names())
        if changed or metadata_hash != group.metadata_hash:
            effects.write(*records.group_epoch(group.group_id, group.group_epoch + 1, metadata_hash))
            logger.info("consumer group epoch", group=group.group_id, epoch=group.group_epoch)
        if group.has_partition_metadata_record:
            effects.write(*records.no_partition_metadata(group.group_id))
        group.topics_checked = version

    def advance_target(self, group: ConsumerGroup, effects: Effects) -> None:
        """A new target assignment when the group epoch has moved on."""
        if group.group_epoch <= group.target_epoch:
            return
        name = group.preferred_assignor()
        if name not in self.config.assignors:
            name = self.config.assignors[0]
        for member_id, assignment in next_targets(group, ASSIGNORS[name], self.catalog).items():
            effects.write(*records.target(group.group_id, member_id, assignment))
        effects.write(*records.target_epoch(group.group_id, group.group_epoch))
        logger.info("consumer group target", group=group.group_id, epoch=group.group_epoch, assignor=name)

    def advance_member(
        self,
        group: ConsumerGroup,
        member: ConsumerMember,
        owned: Assignment | None,
        now_ms: int,
        effects: Effects,
        *,
        subscription_changed: bool,
    ) -> ConsumerMember:
        """The member one step nearer to its target; it has `owned` now, None when it does not say."""
        if not subscription_changed and member.is_reconciled_to(group.target_epoch):
            return member
        goal = Goal(
            epoch=group.target_epoch,
            target=group.target_of(member.member_id),
            subscribed_topic_ids=self.catalog.ids_of(group.names_of(member)),
            subscription_changed=subscription_changed,
            owned=owned,
            owner_of=group.owner_of,
        )
        after = reconcile(member, goal)
        if after == member:
            return member
        effects.write(*records.current_assignment_of(group.group_id, after))
        if not after.uses_classic_protocol:  # those have time-outs of joining and syncing instead
            if after.state is MemberState.UNREVOKED_PARTITIONS:
                self._expect_revocation(group, after, now_ms)
            else:
                self.shard.timers.cancel((REBALANCE, group.group_id, member.member_id))
        return group.members[member.member_id]

    # Members that go

    def fence(self, group: ConsumerGroup, leaving: Iterable[ConsumerMember], now_ms: int, effects: Effects) -> None:
        """Let members go. When only members of the classic protocol are left, the group may become a classic one."""
        gone = list(leaving)
        if not gone:
            return
        for member in gone:
            self.cancel_timers(group, member.member_id)
        if self._downgrade(self, group, gone, now_ms, effects):
            return
        for member in gone:
            self.write_gone(group, member.member_id, effects)
        for expression in [known for known in group.regexes if known not in group.regexes_wanted()]:
            effects.write(*records.no_regex(group.group_id, expression))
        metadata_hash = self.catalog.fingerprint(group.subscribed_names())
        effects.write(*records.group_epoch(group.group_id, group.group_epoch + 1, metadata_hash))

    def write_gone(self, group: ConsumerGroup, member_id: str, effects: Effects) -> None:
        """The tombstones of a member."""
        effects.write(*records.no_current_assignment(group.group_id, member_id))
        effects.write(*records.no_target(group.group_id, member_id))
        effects.write(*records.no_member(group.group_id, member_id))

    # Time-outs

    def expect_heartbeat(self, group: ConsumerGroup, member: ConsumerMember, now_ms: int) -> None:
        """The member has been heard of; it is let go unless it is again within its session time-out."""
        if member.classic is not None:
            timeout_ms = member.classic.session_timeout_ms
        else:
            timeout_ms = self.settings_of(group.group_id).consumer_session_timeout_ms
        self.fence_after(SESSION, group, member, now_ms + timeout_ms, "its session expired")

    def fence_after(
        self, timer: str, group: ConsumerGroup, member: ConsumerMember, deadline_ms: int, reason: str
    ) -> None:
        """Let the member go at `deadline_ms` unless the timer is put off or cancelled."""
        expire = functools.partial(self._expire, group.group_id, member.member_id, reason)
        self.shard.timers.schedule((timer, group.group_id, member.member_id), deadline_ms, expire)

    def cancel_timers(self, group: Group, member_id: str) -> None:
        for timer in TIMERS_OF_MEMBER:
            self.shard.timers.cancel((timer, group.group_id, member_id))

    def _expire(self, group_id: str, member_id: str, reason: str, now_ms: int, effects: Effects) -> None:
        group = self.shard.groups.get(group_id)
        member = group.members.get(member_id) if isinstance(group, ConsumerGroup) else None
        if isinstance(group, ConsumerGroup) and member is not None:
            logger.info("consumer group member fenced", group=group_id, member=member_id, reason=reason)
            self.fence(group, [member], now_ms, effects)

    def _expect_revocation(self, group: ConsumerGroup, member: ConsumerMember, now_ms: int) -> None:
        """The member has its rebalance time-out to give up what it must."""
        group_id, member_id, epoch = group.group_id, member.member_id, member.member_epoch

        def expire(later_ms: int, effects: Effects) -> None:
            now_group = self.shard.groups.get(group_id)
            now_member = now_group.members.get(member_id) if isinstance(now_group, ConsumerGroup) else None
            if now_member is not None and now_member.member_epoch == epoch:
                self._expire(group_id, member_id, "it did not give up its partitions in time", later_ms, effects)

        deadline_ms = now_ms + member.rebalance_timeout_ms
        self.shard.timers.schedule((REBALANCE, group_id, member_id), deadline_ms, expire)

    # Replay

    def _of(self, group_id: str, *, make: bool) -> ConsumerGroup | None:
        """The group that a record is about. A classic one that only held offsets gives way, as no record made it."""
        group = self.shard.groups.get(group_id)
        if isinstance(group, ConsumerGroup):
            return group
        if not make:
            return None
        if group is not None and not group.is_empty():
            logger.warning("record of a consumer group for a group of another kind", group=group_id, kind=group.kind)
            return None
        made = self.shard.groups[group_id] = ConsumerGroup(group_id)
        return made

    def _replay_member(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is None:
            group.drop_member(key.member_id)
            return
        before = group.members.get(key.member_id) or ConsumerMember(member_id=key.member_id)
        group.put_member(records.with_metadata(before, value))

    def _replay_current_assignment(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is None:
            return
        before = group.members.get(key.member_id)
        if before is None and value is None:
            return
        group.put_member(records.with_current_assignment(before or ConsumerMember(member_id=key.member_id), value))

    def _replay_group_epoch(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is None:
            for member_id in group.members:
                self.cancel_timers(group, member_id)
            self.shard.timers.cancel((REGEX, key.group_id))
            del self.shard.groups[key.group_id]
        else:
            group.group_epoch, group.metadata_hash = value.epoch, value.metadata_hash

    def _replay_partition_metadata(self, record: Record) -> None:
        group = self._of(record.key.group_id, make=record.value is not None)
        if group is not None:
            group.has_partition_metadata_record = record.value is not None

    def _replay_target(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is None:
            group.targets.pop(key.member_id, None)
        else:
            group.targets[key.member_id] = records.assignment_of(value.topic_partitions)

    def _replay_target_epoch(self, record: Record) -> None:
        group = self._of(record.key.group_id, make=record.value is not None)
        if group is not None:
            group.target_epoch = NO_TARGET_EPOCH if record.value is None else record.value.assignment_epoch

    def _replay_regex(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is not None:
            resolved = None if value is None else ResolvedRegex(frozenset(value.topics), value.version, value.timestamp)
            group.put_regex(key.regular_expression, resolved)


def consumer_groups(shard: GroupShard) -> ConsumerGroups:
    """The consumer part of a shard."""
    return shard.part(ConsumerGroups)
