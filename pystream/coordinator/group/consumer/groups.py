"""ConsumerGroups: the consumer part of a shard; what it shares with other kinds is in modern/groups.py.

Timers besides: ("consumer-join" | "consumer-sync", group id, member id), of members that speak the classic protocol;
("consumer-regex", group id): expressions are to be looked up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

from pystream.common.logging import get_logger
from pystream.common.model import random_uuid, uuid_text
from pystream.coordinator.group.assignors.model import Assignment
from pystream.coordinator.group.consumer import records
from pystream.coordinator.group.consumer.config import ASSIGNORS, ConsumerGroupConfig
from pystream.coordinator.group.consumer.group import ConsumerGroup, ResolvedRegex
from pystream.coordinator.group.consumer.member import ConsumerMember
from pystream.coordinator.group.consumer.reconciliation import Goal, reconcile
from pystream.coordinator.group.consumer.regex import topics_named_by
from pystream.coordinator.group.consumer.target import next_targets
from pystream.coordinator.group.modern.groups import ModernGroups
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.group_settings import SettingsOfGroup
from pystream.coordinator.machine import Effects, Record
from pystream.protocol.coordinator_records.consumer_group_partition_metadata import ConsumerGroupPartitionMetadataKey
from pystream.protocol.coordinator_records.consumer_group_regular_expression import ConsumerGroupRegularExpressionKey

logger = get_logger(__name__)

REGEX_REFRESH_MIN_INTERVAL_MS = 10_000
JOIN, SYNC, REGEX = "consumer-join", "consumer-sync", "consumer-regex"

# Lets members go whose group then becomes a classic one; whether it did. See migration.py
Downgrade = Callable[["ConsumerGroups", ConsumerGroup, Iterable[ConsumerMember], int, Effects], bool]


def random_member_id() -> str:
    return uuid_text(random_uuid())


class ConsumerGroups(ModernGroups[ConsumerGroup, ConsumerMember]):
    """See the head of this module. `new_member_id`: for those who come without one; a test may count instead."""

    group_class = ConsumerGroup
    member_class = ConsumerMember
    records = records
    timers_of_group = (REGEX,)
    timers_of_member = (JOIN, SYNC)

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
        super().__init__(shard, catalog, settings_of)
        self.config = config
        self.new_member_id = new_member_id
        self._downgrade = downgrade

    def replays(self) -> Mapping[type, Replay]:
        return {
            **super().replays(),
            ConsumerGroupPartitionMetadataKey: self._replay_partition_metadata,
            ConsumerGroupRegularExpressionKey: self._replay_regex,
        }

    # Steps of a heartbeat

    def refresh_regexes(self, group: ConsumerGroup, now_ms: int, effects: Effects) -> None:
        """Forget regular expressions that nobody wants any more, and see to it that the others are looked up soon.

        That is not done now: as in Kafka, members learn with a later heartbeat which topics an expression names. New
        expressions are looked up at once, all of them when topics have been created, at most every ten seconds.
        """
        self._forget_regexes(group, effects)
        if group.regexes_wanted() and self._regexes_due(group, now_ms):
            look_up = functools.partial(self._look_up_regexes, group.group_id)
            self.shard.timers.schedule((REGEX, group.group_id), now_ms, look_up)

    @staticmethod
    def _forget_regexes(group: ConsumerGroup, effects: Effects) -> None:
        """Those that nobody wants any more."""
        wanted = group.regexes_wanted()
        for expression in [known for known in group.regexes if known not in wanted]:
            effects.write(*records.no_regex(group.group_id, expression))

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
            self._write_epoch(group, metadata_hash, effects)
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
        effects.write(*records.KINDS.epoch_of_target(group.group_id, group.group_epoch))
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
        return self.take_step(group, member, reconcile(member, goal), now_ms, effects)

    # Members that go

    def fence(self, group: ConsumerGroup, leaving: Iterable[ConsumerMember], now_ms: int, effects: Effects) -> None:
        """Let members go. When only members of the classic protocol are left, the group may become a classic one."""
        gone = list(leaving)
        if gone and not self._downgrade(self, group, gone, now_ms, effects):
            super().fence(group, gone, now_ms, effects)

    def write_next_epoch(self, group: ConsumerGroup, effects: Effects) -> None:
        self._forget_regexes(group, effects)
        self._write_epoch(group, self.catalog.fingerprint(group.subscribed_names()), effects)

    def _write_epoch(self, group: ConsumerGroup, metadata_hash: int, effects: Effects) -> None:
        effects.write(*records.group_epoch(group.group_id, group.group_epoch + 1, metadata_hash))
        self.shard.metrics.rebalances[group.kind] += 1

    def session_timeout_ms(self, group: ConsumerGroup, member: ConsumerMember) -> int:
        if member.classic is not None:
            return member.classic.session_timeout_ms
        return self.settings_of(group.group_id).consumer_session_timeout_ms

    # Replay of the records that only consumer groups have

    def _replay_partition_metadata(self, record: Record) -> None:
        group = self.of(record.key.group_id, make=record.value is not None)
        if group is not None:
            group.has_partition_metadata_record = record.value is not None

    def _replay_regex(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self.of(key.group_id, make=value is not None)
        if group is not None:
            resolved = None if value is None else ResolvedRegex(frozenset(value.topics), value.version, value.timestamp)
            group.put_regex(key.regular_expression, resolved)


def consumer_groups(shard: GroupShard) -> ConsumerGroups:
    """The consumer part of a shard."""
    return shard.part(ConsumerGroups)
