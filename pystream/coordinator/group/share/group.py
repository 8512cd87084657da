"""A share group: its members, what they are to read, which partitions have a state. Changed by replay alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from pystream.common.errors import GroupIdNotFound
from pystream.coordinator.group.assignors.model import Assignment
from pystream.coordinator.group.group import GroupKind
from pystream.coordinator.group.modern.group import ModernGroup
from pystream.coordinator.group.share import records
from pystream.coordinator.group.share.member import ShareMember
from pystream.coordinator.group.share.partitions import StoredPartitions
from pystream.coordinator.machine import Effects


@dataclass(slots=True, eq=False)
class ShareGroup(ModernGroup[ShareMember, Assignment]):
    """`initializing_since_ms` may be forgotten by a restart. It commits no offsets: its states tell what is read."""

    KINDS = records.KINDS
    kind = GroupKind.SHARE

    stored: StoredPartitions = field(default_factory=StoredPartitions)
    initializing_since_ms: dict[bytes, int] = field(default_factory=dict)

    def state_name(self, now_ms: int) -> str:
        return "Stable" if self.members else "Empty"

    def protocol_type(self) -> str:
        return "share"

    def is_subscribed_to(self, topic: str) -> bool:
        return any(topic in member.subscribed for member in self.members.values())

    def subscribed_topics(self) -> frozenset[str]:
        return frozenset(name for member in self.members.values() for name in member.subscribed)

    def assigned_partitions(self) -> dict[bytes, set[int]]:
        """What the target assignment gives out, to whomever."""
        found: dict[bytes, set[int]] = {}
        for assignment in self.targets.values():
            for topic_id, partitions in assignment.items():
                found.setdefault(topic_id, set()).update(partitions)
        return found

    # What may be done from outside

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

    def expires(self) -> bool:
        """It goes only when it is deleted."""
        return False

    def retention_base_ms(self, commit_timestamp_ms: int) -> int | None:
        """It has no committed offsets."""
        return None

    def write_own_tombstones(self, effects: Effects) -> None:
        if not self.stored.is_empty():
            effects.write(*records.no_states(self.group_id))
