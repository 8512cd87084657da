"""StreamsGroups: the streams part of a shard; what it shares with other kinds is in modern/groups.py.

One timer besides: ("streams-initial", group id). It holds the first assignment of an empty group back, so that a
starting application is all there when it is made.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pystream.common.errors import StreamsInvalidTopology
from pystream.common.logging import get_logger
from pystream.coordinator.group.modern.groups import ModernGroups
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.group.streams import records
from pystream.coordinator.group.streams.assignor import Worker, assign_tasks
from pystream.coordinator.group.streams.config import StreamsGroupConfig
from pystream.coordinator.group.streams.group import StreamsGroup
from pystream.coordinator.group.streams.member import StreamsMember
from pystream.coordinator.group.streams.reconciliation import Goal, reconcile
from pystream.coordinator.group.streams.tasks import NO_TASKS, Tasks
from pystream.coordinator.group.streams.topology import ConfiguredTopology, configure
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.group_settings import SettingsOfGroup
from pystream.coordinator.machine import Effects, Record
from pystream.protocol.coordinator_records.streams_group_topology import StreamsGroupTopologyKey

logger = get_logger(__name__)

INITIAL = "streams-initial"
STANDBY_REPLICAS = "num.standby.replicas"


class StreamsGroups(ModernGroups[StreamsGroup, StreamsMember]):
    """See the head of this module."""

    group_class = StreamsGroup
    member_class = StreamsMember
    records = records
    timers_of_group = (INITIAL,)

    def __init__(
        self, shard: GroupShard, config: StreamsGroupConfig, catalog: TopicCatalog, settings_of: SettingsOfGroup
    ) -> None:
        super().__init__(shard, catalog, settings_of)
        self.config = config

    def replays(self) -> Mapping[type, Replay]:
        return {**super().replays(), StreamsGroupTopologyKey: self._replay_topology}

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
            self._write_epoch(
                group, epoch, effects, metadata_hash=configured.metadata_hash, validated=validated, configs=configs
            )
            logger.info("streams group epoch", group=group.group_id, epoch=epoch)

    def _write_epoch(
        self,
        group: StreamsGroup,
        epoch: int,
        effects: Effects,
        *,
        metadata_hash: int,
        validated: int,
        configs: Mapping[str, str],
    ) -> None:
        effects.write(
            *records.group_epoch(
                group.group_id,
                epoch,
                metadata_hash=metadata_hash,
                validated_topology_epoch=validated,
                configs=configs,
            )
        )
        self.shard.metrics.rebalances[group.kind] += 1

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
        effects.write(*records.KINDS.epoch_of_target(group.group_id, group.group_epoch))
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
        return self.take_step(group, member, reconcile(member, goal), now_ms, effects)

    def write_next_epoch(self, group: StreamsGroup, effects: Effects) -> None:
        """Made from the same as the last one, but for the members."""
        self._write_epoch(
            group,
            group.group_epoch + 1,
            effects,
            metadata_hash=group.metadata_hash,
            validated=group.validated_topology_epoch,
            configs=group.assignment_configs,
        )

    def session_timeout_ms(self, group: StreamsGroup, member: StreamsMember) -> int:
        return self.settings_of(group.group_id).streams_session_timeout_ms

    # Replay of what only streams groups have

    def _replay_topology(self, record: Record) -> None:
        group = self.of(record.key.group_id, make=record.value is not None)
        if group is not None:
            group.topology, group.configured = record.value, None

    def take_epoch(self, group: StreamsGroup, value: Any) -> None:
        super().take_epoch(group, value)
        group.validated_topology_epoch = value.validated_topology_epoch
        group.assignment_configs = {entry.key: entry.value for entry in value.last_assignment_configs or ()}


def streams_groups(shard: GroupShard) -> StreamsGroups:
    """The streams part of a shard."""
    return shard.part(StreamsGroups)
