"""A streams group: its topology, and who has which task in which role. Changed by replay alone.

Its state is NotReady while the topology cannot run: topics are missing, or do not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pystream.common.errors import StaleMemberEpoch
from pystream.coordinator.group.group import GroupKind, PartitionCheck
from pystream.coordinator.group.modern.group import ReconcilingGroup
from pystream.coordinator.group.streams import records
from pystream.coordinator.group.streams.member import StreamsMember
from pystream.coordinator.group.streams.tasks import NO_TASKS, AssignedTasks, Task, Tasks, each
from pystream.coordinator.group.streams.topology import ConfiguredTopology, subtopology_reading
from pystream.coordinator.machine import Effects
from pystream.protocol.coordinator_records.streams_group_topology import StreamsGroupTopologyValue

PROTOCOL_TYPE = "streams"
NOT_VALIDATED = -1


@dataclass(slots=True, eq=False)
class StreamsGroup(ReconcilingGroup[StreamsMember, Tasks]):
    """What follows `configured` is not written down: a restart works it out anew, or forgets it.

    `endpoint_epoch` counts what members are told of each other's endpoints. `shutdown_asked_by`: a member that wants
    the whole application to end.
    """

    KINDS = records.KINDS
    kind = GroupKind.STREAMS

    validated_topology_epoch: int = NOT_VALIDATED
    assignment_configs: Mapping[str, str] = field(default_factory=dict)
    topology: StreamsGroupTopologyValue | None = None
    configured: ConfiguredTopology | None = None
    endpoint_epoch: int = 0
    shutdown_asked_by: str | None = None
    _active: dict[Task, dict[str, str]] = field(default_factory=dict)  # task -> member id -> process id
    _passive: dict[Task, dict[str, str]] = field(default_factory=dict)  # standby and warm-up

    def is_ready(self) -> bool:
        return self.topology is not None and self.topology.epoch == self.validated_topology_epoch

    def protocol_type(self) -> str:
        return PROTOCOL_TYPE

    def is_subscribed_to(self, topic: str) -> bool:
        if not self.members or self.topology is None:
            return False
        return subtopology_reading(self.topology, topic) is not None

    def target_of(self, member_id: str) -> Tasks:
        return self.targets.get(member_id, NO_TASKS)

    def is_active(self, task: Task) -> bool:
        """Whether some member has the task as active, or has not given it up yet."""
        return task in self._active

    def process_has(self, process_id: str, task: Task) -> bool:
        """Whether a member of the process has the task in any role, or has not given it up yet."""
        return any(process_id in holders.get(task, {}).values() for holders in (self._active, self._passive))

    # What may be done from outside

    def check_commit(self, member: StreamsMember, received: int) -> PartitionCheck | None:
        """Commits of an earlier epoch are good for tasks that the member has had since then or before."""
        if received == member.member_epoch:
            return None
        if received > member.member_epoch:
            raise StaleMemberEpoch(
                f"Received member epoch {received} is newer than current member epoch {member.member_epoch}."
            )
        return self._check_of_each_task(member, received)

    def _check_of_each_task(self, member: StreamsMember, received: int) -> PartitionCheck:
        topology = self.topology
        if topology is None:
            raise StaleMemberEpoch("Topology is not available for offset commit validation.")

        def check(topic: str, partition: int) -> None:
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

    def write_own_tombstones(self, effects: Effects) -> None:
        effects.write(*records.no_topology(self.group_id))

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
