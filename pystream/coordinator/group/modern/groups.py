"""ModernGroups: what the parts of a shard for the new protocols share: sessions, steps of members, who goes, replay.

A heartbeat moves a group on, in this order: the member is written, the group epoch moves, the target assignment
follows, the member takes its next step. A kind's own part says when the group epoch moves and what targets are.

Timers: ("KIND-session" | "KIND-rebalance", group id, member id); they go with their member.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from pystream.common.errors import GroupIdNotFound
from pystream.common.logging import get_logger
from pystream.coordinator.group.modern.group import ModernGroup
from pystream.coordinator.group.modern.member import ModernMember
from pystream.coordinator.group.modern.records import Records
from pystream.coordinator.group.shard import GroupShard, Replay
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.group_settings import SettingsOfGroup
from pystream.coordinator.machine import Effects, Record

logger = get_logger(__name__)

G = TypeVar("G", bound=ModernGroup[Any, Any])
M = TypeVar("M", bound=ModernMember)

NO_TARGET_EPOCH = -1  # of a group whose target has been deleted: the group itself follows


class ModernGroups(ABC, Generic[G, M]):
    """See the head of this module. `timers_of_group`, `timers_of_member`: what else a kind plans, under these names."""

    group_class: type[G]
    member_class: type[M]
    records: Records[M]
    timers_of_group: tuple[str, ...] = ()
    timers_of_member: tuple[str, ...] = ()

    def __init__(self, shard: GroupShard, catalog: TopicCatalog, settings_of: SettingsOfGroup) -> None:
        self.shard = shard
        self.catalog = catalog
        self.settings_of = settings_of
        self._kind = self.group_class.kind
        self._session, self._rebalance = f"{self._kind}-session", f"{self._kind}-rebalance"
        self._timers_of_member = (self._session, self._rebalance, *self.timers_of_member)

    # The shard's part

    def replays(self) -> Mapping[type, Replay]:
        kinds = self.records.KINDS
        return {
            kinds.member: self._replay_member,
            kinds.group_epoch: self._replay_group_epoch,
            kinds.target: self._replay_target,
            kinds.target_epoch: self._replay_target_epoch,
            kinds.current_assignment: self._replay_current_assignment,
        }

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """Groups write nothing in transactions."""

    def loaded(self, now_ms: int, effects: Effects) -> None:
        """Every member has a whole session time-out from now on."""
        for group in self.all():
            for member in group.members.values():
                self.expect_heartbeat(group, member, now_ms)
                self._expect_revocation(group, member, now_ms)

    def unloaded(self, effects: Effects) -> None:
        """Nobody waits here: every heartbeat is answered as it comes."""

    # Groups

    def all(self) -> list[G]:
        return [group for group_id in self.shard.groups if (group := self.mine(group_id)) is not None]

    def mine(self, group_id: str) -> G | None:
        """The group of this id; None when there is none, or one of another kind."""
        found: Any = self.shard.groups.get(group_id)
        return found if isinstance(found, self.group_class) else None

    def find(self, group_id: str) -> G:
        """Raises GroupIdNotFound, also for a group of another kind."""
        group = self.mine(group_id)
        if group is None:
            self.shard.group(group_id)
            raise GroupIdNotFound(f"Group {group_id} is not a {self._kind} group.")
        return group

    def written(self, group_id: str) -> G:
        """The group that records just written have made."""
        group = self.mine(group_id)
        assert group is not None
        return group

    # Steps

    @abstractmethod
    def write_next_epoch(self, group: G, effects: Effects) -> None:
        """The next group epoch: who is in has changed."""

    def take_step(self, group: G, member: M, after: M, now_ms: int, effects: Effects) -> M:
        """The member becomes `after`, one step nearer to its target; it must give up in time what it then has to."""
        if after == member:
            return member
        effects.write(*self.records.current_assignment_of(group.group_id, after))
        self._expect_revocation(group, after, now_ms)
        written: M = group.members[member.member_id]
        return written

    # Members that go

    def fence(self, group: G, leaving: Iterable[M], now_ms: int, effects: Effects) -> None:
        """Let members go; the others get what they had with the next epoch."""
        gone = list(leaving)
        if gone:
            for member in gone:
                self.write_gone(group, member.member_id, effects)
            self.write_next_epoch(group, effects)

    def write_gone(self, group: G, member_id: str, effects: Effects) -> None:
        """The tombstones of a member."""
        kinds = self.records.KINDS
        effects.write(*kinds.no_current_assignment(group.group_id, member_id))
        effects.write(*kinds.no_target(group.group_id, member_id))
        effects.write(*kinds.no_member(group.group_id, member_id))

    # Time-outs

    @abstractmethod
    def session_timeout_ms(self, group: G, member: M) -> int:
        """How long the member may be silent."""

    def expect_heartbeat(self, group: G, member: M, now_ms: int) -> None:
        """The member has been heard of; it is let go unless it is again within its session time-out."""
        deadline_ms = now_ms + self.session_timeout_ms(group, member)
        self.fence_after(self._session, group, member, deadline_ms, "its session expired")

    def fence_after(self, timer: str, group: G, member: M, deadline_ms: int, reason: str) -> None:
        """Let the member go at `deadline_ms` unless the timer is put off or cancelled."""
        expire = functools.partial(self._expire, group.group_id, member.member_id, reason)
        self.shard.timers.schedule((timer, group.group_id, member.member_id), deadline_ms, expire)

    def cancel_timers(self, group: G, member_id: str) -> None:
        for timer in self._timers_of_member:
            self.shard.timers.cancel((timer, group.group_id, member_id))

    def _expire(self, group_id: str, member_id: str, reason: str, now_ms: int, effects: Effects) -> None:
        group = self.mine(group_id)
        if group is not None and member_id in group.members:
            logger.info("group member fenced", kind=self._kind, group=group_id, member=member_id, reason=reason)
            self.fence(group, [group.members[member_id]], now_ms, effects)

    def _expect_revocation(self, group: G, member: M, now_ms: int) -> None:
        """The member has its rebalance time-out to give up what it must, if anything, at the epoch that it has."""
        timer, timeout_ms = (self._rebalance, group.group_id, member.member_id), member.revocation_timeout_ms
        if timeout_ms is None:
            self.shard.timers.cancel(timer)
            return
        expire = functools.partial(self._expire_revocation, group.group_id, member.member_id, member.member_epoch)
        self.shard.timers.schedule(timer, now_ms + timeout_ms, expire)

    def _expire_revocation(self, group_id: str, member_id: str, epoch: int, now_ms: int, effects: Effects) -> None:
        group = self.mine(group_id)
        member = None if group is None else group.members.get(member_id)
        if member is not None and member.member_epoch == epoch:
            self._expire(group_id, member_id, "it did not give up in time what it must", now_ms, effects)

    # Replay

    def of(self, group_id: str, *, make: bool) -> G | None:
        """The group that a record is about. A classic one that only held offsets gives way, as no record made it."""
        group = self.mine(group_id)
        if group is not None or not make:
            return group
        other = self.shard.groups.get(group_id)
        if other is not None and not other.is_empty():
            logger.warning("record for a group of another kind", group=group_id, kind=other.kind, record=self._kind)
            return None
        made: Any = self.group_class(group_id)
        self.shard.groups[group_id] = made
        return self.written(group_id)

    def _replay_member(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self.of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is None:
            group.drop_member(key.member_id)
            self.cancel_timers(group, key.member_id)
            return
        before = group.members.get(key.member_id) or self.member_class(member_id=key.member_id)
        group.put_member(self.records.with_metadata(before, value))

    def _replay_current_assignment(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self.of(key.group_id, make=value is not None)
        if group is None:
            return
        before = group.members.get(key.member_id)
        if before is None and value is None:
            return
        before = before or self.member_class(member_id=key.member_id)
        group.put_member(self.records.with_current_assignment(before, value))

    def _replay_group_epoch(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self.of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is not None:
            self.take_epoch(group, value)
            return
        for member_id in group.members:
            self.cancel_timers(group, member_id)
        for timer in self.timers_of_group:
            self.shard.timers.cancel((timer, key.group_id))
        del self.shard.groups[key.group_id]

    def take_epoch(self, group: G, value: Any) -> None:
        """What the record of a group epoch says."""
        group.group_epoch, group.metadata_hash = value.epoch, value.metadata_hash

    def _replay_target(self, record: Record) -> None:
        key, value = record.key, record.value
        group = self.of(key.group_id, make=value is not None)
        if group is None:
            return
        if value is None:
            group.targets.pop(key.member_id, None)
        else:
            group.targets[key.member_id] = self.records.target_of(value)

    def _replay_target_epoch(self, record: Record) -> None:
        group = self.of(record.key.group_id, make=record.value is not None)
        if group is not None:
            group.target_epoch = NO_TARGET_EPOCH if record.value is None else record.value.assignment_epoch
