"""Brings a member one step nearer to its target assignment, and never takes a partition that somebody else has.

    kept = has ∩ target      to give up = has - kept      to take = target - kept, of those that are free

First the member gives up, at the epoch it has; once its heartbeat no longer names what it was to give up, it gets the
target epoch and what is free. Source: KIP-848, "member reconciliation"; KIP-1071 uses the same steps for tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace

from pystream.common.errors import FencedMemberEpoch
from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment
from pystream.coordinator.group.consumer.member import ConsumerMember
from pystream.coordinator.group.modern.member import MemberState

NO_INDEXES: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a member is to get to. `owned` is what its request names: None when it does not say."""

    epoch: int
    target: Assignment
    subscribed_topic_ids: Set[bytes]
    subscription_changed: bool
    owned: Assignment | None
    owner_of: Callable[[bytes, int], str | None]


def reconcile(member: ConsumerMember, goal: Goal) -> ConsumerMember:
    """The member after its next step: itself when there is none. Raises FencedMemberEpoch for an unknown state."""
    if member.state is MemberState.STABLE:
        if member.member_epoch != goal.epoch:
            return _step(member, member.member_epoch, goal)
        return _drop_unsubscribed(member, goal) if goal.subscription_changed else member
    if member.state is MemberState.UNREVOKED and _still_has(member.pending_revocation, goal.owned):
        return _drop_unsubscribed(member, goal) if goal.subscription_changed else member
    if member.state is MemberState.UNKNOWN:
        if goal.owned is None or goal.owned:
            raise FencedMemberEpoch(
                "The consumer group member is in a unknown state. "
                "The member must abandon all its partitions and rejoin."
            )
        return _step(member, goal.epoch, goal)
    return _step(member, member.member_epoch, goal)


def _still_has(assignment: Assignment, owned: Assignment | None) -> bool:
    """Whether the member may still work on some of `assignment`: it does unless it says that it does not."""
    if owned is None:
        return True
    return any(indexes & owned.get(topic_id, NO_INDEXES) for topic_id, indexes in assignment.items())


def _step(member: ConsumerMember, epoch: int, goal: Goal) -> ConsumerMember:
    kept: dict[bytes, frozenset[int]] = {}
    to_give_up: dict[bytes, frozenset[int]] = {}
    to_take: dict[bytes, frozenset[int]] = {}
    something_is_not_free = False
    for topic_id in goal.target.keys() | member.assigned.keys():
        has = member.assigned.get(topic_id, NO_INDEXES)
        target = goal.target.get(topic_id, NO_INDEXES) if topic_id in goal.subscribed_topic_ids else NO_INDEXES
        keeps, gives_up = has & target, has - target
        wants = target - keeps
        # What it was to give up and is to have again is its own: nobody can have taken it meanwhile.
        takes = frozenset(i for i in wants if goal.owner_of(topic_id, i) in (None, member.member_id))
        something_is_not_free = something_is_not_free or len(takes) < len(wants)
        for assignment, indexes in ((kept, keeps), (to_give_up, gives_up), (to_take, takes)):
            if indexes:
                assignment[topic_id] = indexes
    if to_give_up and _still_has(to_give_up, goal.owned):
        return replace(
            member,
            state=MemberState.UNREVOKED,
            member_epoch=epoch,
            previous_member_epoch=member.member_epoch,
            assigned=kept,
            pending_revocation=to_give_up,
        )
    for topic_id, indexes in to_take.items():
        kept[topic_id] = kept.get(topic_id, NO_INDEXES) | indexes
    return replace(
        member,
        state=MemberState.UNRELEASED if something_is_not_free else MemberState.STABLE,
        member_epoch=goal.epoch,
        previous_member_epoch=member.member_epoch,
        assigned=kept,
        pending_revocation=NO_PARTITIONS,
    )


def _drop_unsubscribed(member: ConsumerMember, goal: Goal) -> ConsumerMember:
    """Give up at once what the member no longer subscribes to; the rest follows with the next target."""
    dropped = {t: indexes for t, indexes in member.assigned.items() if t not in goal.subscribed_topic_ids}
    if not dropped:
        return member
    kept = {t: indexes for t, indexes in member.assigned.items() if t not in dropped}
    to_give_up = joined(member.pending_revocation, dropped)
    if _still_has(to_give_up, goal.owned):
        return replace(member, state=MemberState.UNREVOKED, assigned=kept, pending_revocation=to_give_up)
    return replace(member, assigned=kept)


def joined(one: Assignment, other: Assignment) -> Mapping[bytes, frozenset[int]]:
    """The partitions of both."""
    return {t: one.get(t, NO_INDEXES) | other.get(t, NO_INDEXES) for t in one.keys() | other.keys()}
