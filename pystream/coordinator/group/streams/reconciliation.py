"""Brings a member one step nearer to its target tasks; see consumer/reconciliation.py for the steps.

An active task is free once nobody has it as active; and a process never has one task twice, in whatever role, as its
state lies in one directory. Source: KIP-1071.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pystream.common.errors import FencedMemberEpoch
from pystream.coordinator.group.modern.member import MemberState
from pystream.coordinator.group.streams.member import StreamsMember
from pystream.coordinator.group.streams.tasks import (
    NO_INDEXES,
    NO_TASKS,
    NOTHING_ASSIGNED,
    AssignedTasks,
    Indexes,
    Task,
    Tasks,
)


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a member is to get to. `owned` is what its request names: None when it does not say."""

    epoch: int
    target: Tasks
    owned: Tasks | None
    is_active: Callable[[Task], bool]  # for whomever
    process_has: Callable[[Task], bool]  # the member's own process, in any role


def reconcile(member: StreamsMember, goal: Goal) -> StreamsMember:
    """The member after its next step: itself when there is none. Raises FencedMemberEpoch for an unknown state."""
    if member.state is MemberState.STABLE:
        return member if member.member_epoch == goal.epoch else _step(member, member.member_epoch, goal)
    if member.state is MemberState.UNREVOKED:
        if _still_has(member.pending_revocation, goal.owned):
            return member
        return _step(member, member.member_epoch + 1, goal)
    if member.state is MemberState.UNKNOWN:
        if goal.owned is None or goal.owned != NO_TASKS:
            raise FencedMemberEpoch(
                "The streams group member is in a unknown state. The member must abandon all its tasks and rejoin."
            )
        return _step(member, goal.epoch, goal)
    return _step(member, member.member_epoch, goal)


def _still_has(tasks: AssignedTasks, owned: Tasks | None) -> bool:
    return owned is None or tasks.shares_any_with(owned)


@dataclass(slots=True)
class _Difference:
    """What of one role is kept, given up and taken."""

    kept: Mapping[str, frozenset[int]]
    given_up: Mapping[str, frozenset[int]]
    taken: Mapping[str, frozenset[int]]
    misses_some: bool

    def all(self) -> Indexes:
        names = self.kept.keys() | self.taken.keys()
        return {name: self.kept.get(name, NO_INDEXES) | self.taken.get(name, NO_INDEXES) for name in names}


def _difference(has: Indexes, target: Indexes, is_free: Callable[[Task], bool]) -> _Difference:
    kept, given_up, taken, misses_some = {}, {}, {}, False
    for name in has.keys() | target.keys():
        has_here, target_here = has.get(name, NO_INDEXES), target.get(name, NO_INDEXES)
        wants = target_here - has_here
        takes = frozenset(index for index in wants if is_free((name, index)))
        misses_some = misses_some or len(takes) < len(wants)
        if both := has_here & target_here:
            kept[name] = both
        if gone := has_here - target_here:
            given_up[name] = gone
        if takes:
            taken[name] = takes
    return _Difference(kept, given_up, taken, misses_some)


def _step(member: StreamsMember, epoch: int, goal: Goal) -> StreamsMember:
    has = member.assigned
    active = _difference(
        {name: frozenset(indexes) for name, indexes in has.active.items()},
        goal.target.active,
        lambda task: not goal.is_active(task) and not goal.process_has(task),
    )
    standby = _difference(has.standby, goal.target.standby, lambda task: not goal.process_has(task))
    warmup = _difference(has.warmup, goal.target.warmup, lambda task: not goal.process_has(task))
    to_give_up = AssignedTasks(_with_epochs(active.given_up, has, 0), standby.given_up, warmup.given_up)
    if not to_give_up.is_empty() and _still_has(to_give_up, goal.owned):
        return replace(
            member,
            state=MemberState.UNREVOKED,
            member_epoch=epoch,
            previous_member_epoch=member.member_epoch,
            assigned=AssignedTasks(_with_epochs(active.kept, has, 0), standby.kept, warmup.kept),
            pending_revocation=to_give_up,
        )
    misses_some = active.misses_some or standby.misses_some or warmup.misses_some
    return replace(
        member,
        state=MemberState.UNRELEASED if misses_some else MemberState.STABLE,
        member_epoch=goal.epoch,
        previous_member_epoch=member.member_epoch,
        assigned=AssignedTasks(_with_epochs(active.all(), has, goal.epoch), standby.all(), warmup.all()),
        pending_revocation=NOTHING_ASSIGNED,
    )


def _with_epochs(indexes: Indexes, has: AssignedTasks, new_epoch: int) -> dict[str, dict[int, int]]:
    """Tasks keep the epoch since which they are assigned; new ones get `new_epoch`."""
    return {
        name: {index: has.active.get(name, {}).get(index, new_epoch) for index in sorted(found)}
        for name, found in indexes.items()
    }
