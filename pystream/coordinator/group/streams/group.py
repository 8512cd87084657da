"""A streams group: its members, its topology, where the members are to get to, who has which task. Changed by replay.

NotReady      the topology cannot run: topics are missing, or do not fit
Assigning     the target assignment is not made yet
Reconciling   members are on their way to it      Stable   they have got there      Empty   nobody is in
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pystream.common.errors import NonEmptyGroup, StaleMemberEpoch, UnknownMemberId, UnsupportedVersion
from pystream.coordinator.group.group import GroupKind, PartitionCheck
from pystream.coordinator.group.streams import records
from pystream.coordinator.group.streams.member import StreamsMember
from pystream.coordinator.group.streams.tasks import NO_TASKS, AssignedTasks, Task, Tasks, each
from pystream.coordinator.group.streams.topology import ConfiguredTopology, subtopology_reading
from pystream.coordinator.machine import Effects
from pystream.protocol.coordinator_records.streams_group_topology import StreamsGroupTopologyValue

PROTOCOL_TYPE = "streams"
FIRST_OFFSET_COMMIT_WITH_EPOCHS = 9
NOT_VALIDATED = -1


@dataclass(slots=True, eq=False)
class StreamsGroup:
    """What follows `configured` is not written down: a restart works it out anew, or forgets it.

    `topics_checked`: the version of the topics by which the group epoch was last checked. `endpoint_epoch` counts what
    members are told of each other's endpoints. `shutdown_asked_by`: a member that wants the whole application to end.
    """

    group_id: str
    group_epoch: int = 0
    target_epoch: int = 0
    metadata_hash: int = 0
    validated_topology_epoch: int = NOT_VALIDATED
    assignment_configs: Mapping[str, str] = field(default_factory=dict)
    topology: StreamsGroupTopologyValue | None = None
    members: dict[str, StreamsMember] = field(default_factory=dict)
    targets: dict[str, Tasks] = field(default_factory=dict)
    configured: ConfiguredTopology | None = None
    topics_checked: int | None = None
    endpoint_epoch: int = 0
    shutdown_asked_by: str | None = None
    _active: dict[Task, dict[str, str]] = field(default_factory=dict)  # task -> member id -> process id
    _passive: dict[Task, dict[str, str]] = field(default_factory=dict)  # standby and warm-up

    @property
    def kind(self) -> GroupKind:
        return GroupKind.STREAMS

    def state_name(self, now_ms: int) -> str:
        if not self.members:
            return "Empty"
        if self.topology is None or self.topology.epoch != self.validated_topology_epoch:
            return "NotReady"
        if self.group_epoch > self.target_epoch:
            return "Assigning"
        if all(member.is_reconciled_to(self.target_epoch) for member in self.members.values()):
            return "Stable"
        return "Reconciling"

    def protocol_type(self) -> str:
        return PROTOCOL_TYPE

    def is_empty(self) -> bool:
        return not self.members

    def is_subscribed_to(self, topic: str) -> bool:
        if not self.members or self.topology is None:
            return False
        return subtopology_reading(self.topology, topic) is not None

    def member(self, member_id: str) -> StreamsMember:
        """Raises UnknownMemberId."""
        member = self.members.get(member_id)
        if member is None:
            raise UnknownMemberId(f"Member {member_id} is not a member of group {self.group_id}.")
        return member

    def target_of(self, member_id: str) -> Tasks:
        return self.targets.get(member_id, NO_TASKS)

    def is_active(self, task: Task) -> bool:
        """Whether some member has the task as active, or has not given it up yet."""
        return task in self._active

    def process_has(self, process_id: str, task: Task) -> bool:
        """Whether a member of the process has the task in any role, or has not given it up yet."""
        return any(process_id in holders.get(task, {}).values() for holders in (self._active, self._passive))

    # What may be done from outside

    def check_offset_commit(
        self,
        member_id: str,
        group_instance_id: str | None,
        generation_or_epoch: int,
        *,
        transactional: bool,
        api_version: int,
    ) -> PartitionCheck | None:
        """Commits of an earlier epoch are good for tasks that the member has had since then or before."""
        if generation_or_epoch < 0 and not self.members:
            return None
        if transactional and generation_or_epoch < 0 and not member_id and group_instance_id is None:
            return None
        member = self.member(member_id)
        if not transactional and api_version < FIRST_OFFSET_COMMIT_WITH_EPOCHS:
            raise UnsupportedVersion(
                f"OffsetCommit version {FIRST_OFFSET_COMMIT_WITH_EPOCHS} or above must be used "
                "by members using the streams group protocol"
            )
        if generation_or_epoch == member.member_epoch:
            return None
        if generation_or_epoch > member.member_epoch:
            raise StaleMemberEpoch(
                f"Received member epoch {generation_or_epoch} is newer than current member epoch {member.member_epoch}."
            )
        return self._check_of_each_task(member, generation_or_epoch)

    def _check_of_each_task(self, member: StreamsMember, received: int) -> PartitionCheck:
        topology = self.topology
        if topology is None:
            raise StaleMemberEpoch("Topology is not available for offset commit validation.")

        def check(topic: str, topic_id: bytes, partition: int) -> None:
            subtopology = subtopology_reading(topology, topic)
            if subtopology is None:
                raise StaleMemberEpoch(f"Topic {topic} is not in the topology.")
            name = subtopology.subtopology_id
            for tasks in (member.assigned, member.pending_revocation):
                epoch = tasks.active.get(name, {}).get(partition)
                if epoch is not None and received >= epoch:
                    return
                if epoch is not None:
                    raise StaleMemberEpoch(
                        f"Received member epoch {received} is older than assignment epoch {epoch} "
                        f"for task {name}-{partition}."
                    )
            raise StaleMemberEpoch(f"Task {name}-{partition} is not assigned or pending revocation for member.")

        return check

    def check_offset_fetch(self, member_id: str | None, member_epoch: int, now_ms: int) -> None:
        if member_id is None and member_epoch < 0:
            return
        member = self.member(member_id or "")
        if member.member_epoch != member_epoch:
            raise StaleMemberEpoch(
                f"The received member epoch {member_epoch} does not match the expected member epoch "
                f"{member.member_epoch}."
            )

    def check_offset_delete(self) -> None:
        """Offsets of topics that no task reads may always be deleted."""

    def check_delete(self) -> None:
        if self.members:
            raise NonEmptyGroup()

    def expires(self) -> bool:
        return True

    def retention_base_ms(self, commit_timestamp_ms: int) -> int | None:
        return commit_timestamp_ms

    def write_tombstones(self, effects: Effects) -> None:
        members = list(self.members)
        for member_id in members:
            effects.write(*records.no_current_assignment(self.group_id, member_id))
        for member_id in list(self.targets):
            effects.write(*records.no_target(self.group_id, member_id))
        effects.write(*records.no_target_epoch(self.group_id))
        for member_id in members:
            effects.write(*records.no_member(self.group_id, member_id))
        # The topology before the group, so that no tombstone makes a group of what is left.
        effects.write(*records.no_topology(self.group_id))
        effects.write(*records.no_group_epoch(self.group_id))

    # Replay: what one record changes

    def put_member(self, member: StreamsMember) -> None:
        self._release(self.members.get(member.member_id))
        self.members[member.member_id] = member
        for tasks in (member.assigned, member.pending_revocation):
            for holders, held in self._roles(tasks):
                for task in held:
                    holders.setdefault(task, {})[member.member_id] = member.process_id

    def drop_member(self, member_id: str) -> None:
        self._release(self.members.pop(member_id, None))
        if not self.members:
            self.shutdown_asked_by = None

    def _release(self, member: StreamsMember | None) -> None:
        if member is None:
            return
        for tasks in (member.assigned, member.pending_revocation):
            for holders, held in self._roles(tasks):
                for task in held:
                    found = holders.get(task, {})
                    found.pop(member.member_id, None)
                    if not found:
                        holders.pop(task, None)

    def _roles(self, tasks: AssignedTasks) -> Iterator[tuple[dict[Task, dict[str, str]], Iterable[Task]]]:
        yield self._active, each(tasks.active)
        yield self._passive, each(tasks.standby)
        yield self._passive, each(tasks.warmup)
