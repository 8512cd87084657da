"""The records that a group of every new protocol has: five kinds, of message classes of its own.

    member        what it is and wants
    group epoch   and what it was made from
    target        of one member
    target epoch
    current       assignment of one member

A kind's own module `records` makes and reads them; what is the same in all of them is here. Each function gives the key
and the value for `effects.write`; a `no_...` gives a tombstone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pystream.coordinator.group.modern.member import ModernMember

KeyValue = tuple[Any, Any | None]
M = TypeVar("M", bound=ModernMember)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordKinds:
    """The key classes of one kind of groups, generated from Kafka's messages; `..._value`: the value class."""

    member: type[Any]
    group_epoch: type[Any]
    target: type[Any]
    target_epoch: type[Any]
    target_epoch_value: type[Any]
    current_assignment: type[Any]

    def no_member(self, group_id: str, member_id: str) -> KeyValue:
        return self.member(group_id=group_id, member_id=member_id), None

    def no_group_epoch(self, group_id: str) -> KeyValue:
        return self.group_epoch(group_id=group_id), None

    def no_target(self, group_id: str, member_id: str) -> KeyValue:
        return self.target(group_id=group_id, member_id=member_id), None

    def epoch_of_target(self, group_id: str, epoch: int) -> KeyValue:
        return self.target_epoch(group_id=group_id), self.target_epoch_value(assignment_epoch=epoch)

    def no_target_epoch(self, group_id: str) -> KeyValue:
        return self.target_epoch(group_id=group_id), None

    def no_current_assignment(self, group_id: str, member_id: str) -> KeyValue:
        return self.current_assignment(group_id=group_id, member_id=member_id), None


class Records(Protocol[M]):
    """What the module `records` of a kind has."""

    KINDS: RecordKinds

    def current_assignment_of(self, group_id: str, member: M, /) -> KeyValue: ...

    def with_metadata(self, before: M, value: Any, /) -> M:
        """The member as the record says it is; how far it has come stays."""
        ...

    def with_current_assignment(self, before: M, value: Any | None, /) -> M:
        """The member with what the record says it has; nothing after a tombstone."""
        ...

    def target_of(self, value: Any, /) -> Any:
        """The target assignment in a record of one."""
        ...
