"""ShareGroup and its members, as they are in memory: what the records say, and nothing that acts on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pystream.common.errors import GroupIdNotFound, NonEmptyGroup
from pystream.coordinator.group.group import GroupKind
from pystream.coordinator.machine import Effects
from pystream.protocol.coordinator_records.share_group_current_member_assignment import (
    ShareGroupCurrentMemberAssignmentKey,
)
from pystream.protocol.coordinator_records.share_group_member_metadata import ShareGroupMemberMetadataKey
from pystream.protocol.coordinator_records.share_group_metadata import ShareGroupMetadataKey
from pystream.protocol.coordinator_records.share_group_state_partition_metadata import (
    ShareGroupStatePartitionMetadataKey,
)
from pystream.protocol.coordinator_records.share_group_target_assignment_member import (
    ShareGroupTargetAssignmentMemberKey,
)
from pystream.protocol.coordinator_records.share_group_target_assignment_metadata import (
    ShareGroupTargetAssignmentMetadataKey,
)

JOINING_EPOCH = 0
LEAVING_EPOCH = -1
EMPTY, STABLE = "Empty", "Stable"

Assignment = Mapping[bytes, frozenset[int]]  # topic id -> partitions


@dataclass(slots=True)
class ShareMember:
    """A member. `previous_epoch`: with which it may still come when the answer that raised its epoch was lost."""

    member_id: str
    epoch: int = 0
    previous_epoch: int = -1
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    subscribed: tuple[str, ...] = ()
    assigned: Assignment = field(default_factory=dict)


@dataclass(slots=True)
class TopicPartitions:
    """Partitions of a topic whose states exist, or are being made."""

    name: str
    partitions: frozenset[int]


@dataclass(slots=True)
class StoredPartitions:
    """Which share partitions have a stored state. Those being deleted had one and are going to have none."""

    initializing: dict[bytes, TopicPartitions] = field(default_factory=dict)
    initialized: dict[bytes, TopicPartitions] = field(default_factory=dict)
    deleting: dict[bytes, str] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not (self.initializing or self.initialized or self.deleting)

    def all_of(self) -> dict[bytes, TopicPartitions]:
        """Whatever may have a state, by topic id."""
        found = dict(self.initialized)
        for topic_id, topic in self.initializing.items():
            known = found[topic_id].partitions if topic_id in found else frozenset()
            found[topic_id] = TopicPartitions(topic.name, known | topic.partitions)
        return found


class ShareGroup:
    """A share group: a `Group`. `initializing_since_ms` and `metadata_version` may be forgotten by a restart."""

    kind = GroupKind.SHARE

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.epoch = 0
        self.metadata_hash = 0
        self.assignment_epoch = 0
        self.members: dict[str, ShareMember] = {}
        self.target: dict[str, Assignment] = {}
        self.stored = StoredPartitions()
        self.initializing_since_ms: dict[bytes, int] = {}
        self.metadata_version: int | None = None

    # as everybody may ask

    def state_name(self, now_ms: int) -> str:
        return EMPTY if self.is_empty() else STABLE

    def protocol_type(self) -> str:
        return "share"

    def is_empty(self) -> bool:
        return not self.members

    def is_subscribed_to(self, topic: str) -> bool:
        return any(topic in member.subscribed for member in self.members.values())

    def check_offset_commit(
        self,
        member_id: str,
        group_instance_id: str | None,
        generation_or_epoch: int,
        *,
        transactional: bool,
        api_version: int,
    ) -> None:
        raise GroupIdNotFound(f"Group {self.group_id} is not a consumer group.")

    def check_offset_fetch(self, member_id: str | None, member_epoch: int, now_ms: int) -> None:
        raise GroupIdNotFound(f"Group {self.group_id} is not a consumer group.")

    def check_offset_delete(self) -> None:
        raise GroupIdNotFound(f"Group {self.group_id} is not a consumer group.")

    def check_delete(self) -> None:
        if self.members:
            raise NonEmptyGroup(f"Group {self.group_id} in {STABLE} state.")

    def expires(self) -> bool:
        """It goes only when it is deleted."""
        return False

    def retention_base_ms(self, commit_timestamp_ms: int) -> int | None:
        """It has no committed offsets."""
        return None

    def write_tombstones(self, effects: Effects) -> None:
        group_id = self.group_id
        for member_id in list(self.members):
            for key in member_keys(group_id, member_id):
                effects.write(key, None)
        effects.write(ShareGroupTargetAssignmentMetadataKey(group_id=group_id), None)
        if not self.stored.is_empty():
            effects.write(ShareGroupStatePartitionMetadataKey(group_id=group_id), None)
        effects.write(ShareGroupMetadataKey(group_id=group_id), None)

    # as its own machine asks

    def subscribed_topics(self) -> frozenset[str]:
        return frozenset(name for member in self.members.values() for name in member.subscribed)

    def assigned_partitions(self) -> dict[bytes, set[int]]:
        """What the target assignment gives out, to whomever."""
        found: dict[bytes, set[int]] = {}
        for assignment in self.target.values():
            for topic_id, partitions in assignment.items():
                found.setdefault(topic_id, set()).update(partitions)
        return found


def member_keys(
    group_id: str, member_id: str
) -> Iterator[ShareGroupCurrentMemberAssignmentKey | ShareGroupTargetAssignmentMemberKey | ShareGroupMemberMetadataKey]:
    """The keys of a member's records, in the order in which they are deleted."""
    yield ShareGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id)
    yield ShareGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id)
    yield ShareGroupMemberMetadataKey(group_id=group_id, member_id=member_id)
