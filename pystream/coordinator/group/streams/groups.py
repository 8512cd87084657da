"""StreamsGroups: the streams part of a shard: records, sessions, and the steps that heartbeats and time-outs share.

Timers: ("streams-session" | "streams-rebalance", group id, member id), ("streams-initial", group id). The last one
holds the first assignment of an empty group back, so that a starting application is all there when it is made.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from pystream.common.errors import GroupIdNotFound, StreamsInvalidTopology
from pystream.common.logging import get_logger
from pystream.coordinator.group.group import Group
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.group.streams import records
from pystream.coordinator.group.streams.assignor import Worker, assign_tasks
from pystream.coordinator.group.streams.config import StreamsGroupConfig
from pystream.coordinator.group.streams.group import StreamsGroup
from pystream.coordinator.group.streams.member import MemberState, StreamsMember
from pystream.coordinator.group.streams.reconciliation import Goal, reconcile
from pystream.coordinator.group.streams.tasks import NO_TASKS, Tasks, indexes_of
from pystream.coordinator.group.streams.topology import ConfiguredTopology, configure
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.group_settings import SettingsOfGroup
from pystream.coordinator.machine import Effects, Record
from pystream.protocol.coordinator_records.streams_group_current_member_assignment import (
    StreamsGroupCurrentMemberAssignmentKey,
)
from pystream.protocol.coordinator_records.streams_group_member_metadata import StreamsGroupMemberMetadataKey
from pystream.protocol.coordinator_records.streams_group_metadata import StreamsGroupMetadataKey
from pystream.protocol.coordinator_records.streams_group_target_assignment_member import (
    StreamsGroupTargetAssignmentMemberKey,
)
from pystream.protocol.coordinator_records.streams_group_target_assignment_metadata import (
    StreamsGroupTargetAssignmentMetadataKey,
)
from pystream.protocol.coordinator_records.streams_group_topology import StreamsGroupTopologyKey

logger = get_logger(__name__)

SESSION, REBALANCE, INITIAL = "streams-session", "streams-rebalance", "streams-initial"
NO_TARGET_EPOCH = -1  # of a group whose target has been deleted: the group itself follows
STANDBY_REPLICAS = "num.standby.replicas"


class StreamsGroups:
    """See the head of this module."""

    def __init__(
        self, shard: GroupShard, config: StreamsGroupConfig, catalog: TopicCatalog, settings_of: SettingsOfGroup
    ) -> None:
        self.shard = shard
        self.config = config
        self.catalog = catalog
        self.settings_of = settings_of

    # The shard's part

    def replays(self) -> Mapping[type, Replay]:
        return {
            StreamsGroupMemberMetadataKey: self._replay_member,
            StreamsGroupTopologyKey: self._replay_topology,
            StreamsGroupMetadataKey: self._replay_group_epoch,
            StreamsGroupTargetAssignmentMemberKey: self._replay_target,
            StreamsGroupTargetAssignmentMetadataKey: self._replay_target_epoch,
            StreamsGroupCurrentMemberAssignmentKey: self._replay_current_assignment,
        }

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """Groups write nothing in transactions."""

    def loaded(self, now_ms: int, effects: Effects) -> None:
        """Every member has a whole session time-out from now on."""
        for group in list(self.shard.groups.values()):
            if isinstance(group, StreamsGroup):
                for member in list(group.members.values()):
                    self.expect_heartbeat(group, member, now_ms)
                    if member.state is MemberState.UNREVOKED_TASKS:
                        self._expect_revocation(group, member, now_ms)

    def unloaded(self, effects: Effects) -> None:
        """Nobody waits here: every heartbeat is answered as it comes."""

    # Groups

    def find(self, group_id: str) -> StreamsGroup:
        """Raises GroupIdNotFound, also for a group of another kind."""
        group = self.shard.group(group_id)
        if not isinstance(group, StreamsGroup):
            raise GroupIdNotFound(f"Group {group_id} is not a streams group.")
        return group

    def written(self, group_id: str) -> StreamsGroup:
        """The group that records just written have made."""
        group = self.shard.groups[group_id]
        assert isinstance(group, StreamsGroup)
        return group

    def assignment_configs(self, group_id: str) -> dict[str, str]:
        """What the assignment depends on besides members and topology."""
        return {STANDBY_REPLICAS: str(self.settings_of(group_id).streams_num_standby_replicas)}

    # Steps of a heartbeat

    def configured(self, group: StreamsGroup) -> ConfiguredTopology:
        """The topology worked out for the topics as they are. Raises StreamsInvalidTopology."""
        assert group.topology is not None, "written with the first member"
        version = self.catalog.version()
        if group.configured is None or group.topics_checked != version:
            before = group.configured
            group.configured = configure(group.topology, self.catalog)
            group.topics_checked = version
            if before is None or before.trouble != group.configured.trouble:
                trouble = group.configured.trouble
                detail = "none" if trouble is None else trouble.detail
                logger.info("streams topology", group=group.group_id, epoch=group.topology.epoch, trouble=detail)
        return group.configured

    def advance_group_epoch(self, group: StreamsGroup, effects: Effects, *, changed: bool) -> None:
        """A new group epoch when members, topics or configs have changed. `changed`: the members have."""
        configured = self.configured(group)
        validated = configured.epoch if configured.is_ready() else -1
        configs = self.assignment_configs(group.group_id)
        if (
            changed
            or configured.metadata_hash != group.metadata_hash
            or validated != group.validated_topology_epoch
            or configs != group.assignment_configs
        ):
            # A new group begins at 2: an empty first assignment is told as epoch 1.
            epoch = group.group_epoch + 1 if group.group_epoch else 2
            self.write_epoch(group, epoch, effects, validated=validated, configs=configs)
            logger.info("streams group epoch", group=group.group_id, epoch=epoch)

    def write_epoch(
        self, group: StreamsGroup, epoch: int, effects: Effects, *, validated: int, configs: Mapping[str, str]
    ) -> None:
        metadata_hash = group.metadata_hash if group.configured is None else group.configured.metadata_hash
        effects.write(
            *records.group_epoch(
                group.group_id,
                epoch,
                metadata_hash=metadata_hash,
                validated_topology_epoch=validated,
                configs=configs,
            )
        )

    def delay_first_assignment(self, group: StreamsGroup, now_ms: int) -> None:
        """The group gets its first member: wait a while for more before tasks are given out."""
        delay_ms = self.settings_of(group.group_id).streams_initial_rebalance_delay_ms
        key = (INITIAL, group.group_id)
        if delay_ms > 0 and self.shard.timers.deadline_of(key) is None:
            end = functools.partial(self._end_delay, group.group_id)
            self.shard.timers.schedule(key, now_ms + delay_ms, end)

    def is_delayed(self, group: StreamsGroup) -> bool:
        """Whether the first assignment is still held back."""
        return self.shard.timers.deadline_of((INITIAL, group.group_id)) is not None

    def _end_delay(self, group_id: str, now_ms: int, effects: Effects) -> None:
        group = self.shard.groups.get(group_id)
        if not isinstance(group, StreamsGroup) or not group.members or group.topology is None:
            return
        try:
            self.advance_group_epoch(group, effects, changed=False)
        except StreamsInvalidTopology as error:
            logger.warning("streams topology is invalid", group=group_id, error=error)
            return  # the next heartbeat is told
        self.advance_target(group, effects)

    def advance_target(self, group: StreamsGroup, effects: Effects) -> None:
        """A new target assignment when the group epoch has moved on; empty while the topology cannot run."""
        if group.group_epoch <= group.target_epoch or group.configured is None:
            return
        targets: Mapping[str, Tasks] = {}
        if group.configured.is_ready():
            workers = {m: Worker(member.process_id, group.target_of(m)) for m, member in group.members.items()}
            replicas = int(group.assignment_configs.get(STANDBY_REPLICAS, "0"))
            targets = assign_tasks(workers, group.configured.subtopologies, replicas)
        for member_id in group.members:
            tasks = targets.get(member_id, NO_TASKS)
            if group.targets.get(member_id) != tasks:
                effects.write(*records.target(group.group_id, member_id, tasks))
        effects.write(*records.target_epoch(group.group_id, group.group_epoch))
        logger.info("streams group target", group=group.group_id, epoch=group.group_epoch, members=len(group.members))

    def advance_member(
        self,
        group: StreamsGroup,
        member: StreamsMember,
        owned: Tasks | None,
        now_ms: int,
        effects: Effects,
        *,
        delayed: bool,
    ) -> StreamsMember:
        """The member one step nearer to its target; while the first assignment is `delayed`, that is nothing at all."""
        epoch = max(1, group.target_epoch) if delayed else group.target_epoch
        if member.is_reconciled_to(epoch):
            return member
        goal = Goal(
            epoch=epoch,
            target=NO_TASKS if delayed else group.target_of(member.member_id),
            owned=owned,
            is_active=group.is_active,
            process_has=functools.partial(group.process_has, member.process_id),
        )
        after = reconcile(member, goal)
        if after == member:
            return member
        effects.write(*records.current_assignment_of(group.group_id, after))
        if after.state is MemberState.UNREVOKED_TASKS:
            self._expect_revocation(group, after, now_ms)
        else:
            self.shard.timers.cancel((REBALANCE, group.group_id, member.member_id))
        return group.members[member.member_id]

    # Members that go

    def fence(self, group: StreamsGroup, member: StreamsMember, effects: Effects) -> None:
        """Let a member go; the others share its tasks with the next epoch."""
        group_id = group.group_id
        self.cancel_timers(group, member.member_id)
        effects.write(*records.no_current_assignment(group_id, member.member_id))
        effects.write(*records.no_target(group_id, member.member_id))
        effects.write(*records.no_member(group_id, member.member_id))
        effects.write(
            *records.group_epoch(
                group_id,
                group.group_epoch + 1,
                metadata_hash=group.metadata_hash,
                validated_topology_epoch=group.validated_topology_epoch,
                configs=group.assignment_configs,
            )
        )

    # Time-outs

    def expect_heartbeat(self, group: StreamsGroup, member: StreamsMember, now_ms: int) -> None:
        """The member has been heard of; it is let go unless it is again within the session time-out."""
        timeout_ms = self.settings_of(group.group_id).streams_session_timeout_ms
        expire = functools.partial(self._expire, group.group_id, member.member_id, "its session expired")
        self.shard.timers.schedule((SESSION, group.group_id, member.member_id), now_ms + timeout_ms, expire)

    def cancel_timers(self, group: Group, member_id: str) -> None:
        for timer in (SESSION, REBALANCE):
            self.shard.timers.cancel((timer, group.group_id, member_id))

    def _expire(self, group_id: str, member_id: str, reason: str, now_ms: int, effects: Effects) -> None:
        group = self.shard.groups.get(group_id)
        member = group.members.get(member_id) if isinstance(group, StreamsGroup) else None
        if isinstance(group, StreamsGroup) and member is not None:
            logger.info("streams group member fenced", group=group_id, member=member_id, reason=reason)
            self.fence(group, member, effects)

    def _expect_revocation(self, group: StreamsGroup, member: StreamsMember, now_ms: int) -> None:
        """The member has its rebalance time-out to give up what it must."""
        group_id, member_id, epoch = group.group_id, member.member_id, member.member_epoch

        def expire(later_ms: int, effects: Effects) -> None:
            now_group = self.shard.groups.get(group_id)
            now_member = now_group.members.get(member_id) if isinstance(now_group, StreamsGroup) else None
            if now_member is not None and now_member.member_epoch == epoch:
                self._expire(group_id, member_id, "it did not give up its tasks in time", later_ms, effects)

        deadline_ms = now_ms + member.rebalance_timeout_ms
        self.shard.timers.schedule((REBALANCE, group_id, member_id), deadline_ms, expire)

    # Replay

    def _of(self, group_id: str, *, make: bool) -> StreamsGroup | None:
        """The group that a record is about. A classic one that only held offsets gives way, as no record made it."""
        group = self.shard.groups.get(group_id)
        if isinstance(group, StreamsGroup):
            return group
        if not make:
            return None
        if group is not None and not group.is_empty():
            logger.warning("record of a streams group for a group of another kind", group=group_id, kind=group.kind)
            return None
        made = self.shard.groups[group_id] = StreamsGroup(group_id)
        return made

    def _replay_member(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is None:
            group.drop_member(key.member_id)
            return
        before = group.members.get(key.member_id) or StreamsMember(member_id=key.member_id)
        group.put_member(records.with_metadata(before, value))

    def _replay_current_assignment(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is None:
            return
        before = group.members.get(key.member_id)
        if before is None and value is None:
            return
        group.put_member(records.with_current_assignment(before or StreamsMember(member_id=key.member_id), value))

    def _replay_topology(self, record: Record) -> None:
        group = self._of(record.key.group_id, make=record.value is not None)
        if group is not None:
            group.topology, group.configured = record.value, None

    def _replay_group_epoch(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is None:
            for member_id in group.members:
                self.cancel_timers(group, member_id)
            self.shard.timers.cancel((INITIAL, key.group_id))
            del self.shard.groups[key.group_id]
            return
        group.group_epoch, group.metadata_hash = value.epoch, value.metadata_hash
        group.validated_topology_epoch = value.validated_topology_epoch
        group.assignment_configs = {entry.key: entry.value for entry in value.last_assignment_configs or ()}

    def _replay_target(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self._of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is None:
            group.targets.pop(key.member_id, None)
        else:
            group.targets[key.member_id] = Tasks(
                indexes_of(value.active_tasks), indexes_of(value.standby_tasks), indexes_of(value.warmup_tasks)
            )

    def _replay_target_epoch(self, record: Record) -> None:
        group = self._of(record.key.group_id, make=record.value is not None)
        if group is not None:
            group.target_epoch = NO_TARGET_EPOCH if record.value is None else record.value.assignment_epoch


def streams_groups(shard: GroupShard) -> StreamsGroups:
    """The streams part of a shard."""
    return shard.part(StreamsGroups)
