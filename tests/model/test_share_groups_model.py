"""Share groups on random schedules, and their assignor on random groups, against what must always hold."""

from __future__ import annotations

import os
import random

from pystream.common.errors import KafkaError
from pystream.coordinator.group.share import stored
from pystream.coordinator.group.share.assignor import assign
from tests.support.share_rig import JOINING, LEAVING, ShareGroupRig

CASES, FULL_CASES = 300, 20_000
SCHEDULES, FULL_SCHEDULES = 60, 5_000
STEPS = 40
TOPICS = ("alpha", "beta", "gamma")


def first_seed() -> int:
    return int(os.environ.get("PYSTREAM_TEST_SEED", "0"))


def check_assignment(seed: int) -> None:
    source = random.Random(seed)
    topics = {bytes([number]) * 16: source.randint(1, 12) for number in range(source.randint(1, 4))}
    partitions = {topic_id: frozenset(range(count)) for topic_id, count in topics.items()}
    members = [f"member-{number}" for number in range(source.randint(1, 20))]
    same = source.random() < 0.5
    everything = set(topics)
    subscriptions = {
        member: everything if same else set(source.sample(sorted(topics), source.randint(1, len(topics))))
        for member in members
    }
    before = assign({m: s for m, s in subscriptions.items() if source.random() < 0.7}, partitions, {})
    made = assign(subscriptions, partitions, before)
    assert set(made) == set(members)
    held = {member: {(t, p) for t, found in made[member].items() for p in found} for member in members}
    readable = {t for subscribed in subscriptions.values() for t in subscribed}
    expected = {(t, p) for t in readable for p in partitions[t]}
    assert set().union(*held.values()) == expected, "each partition has a member"
    for member in members:
        assert held[member], "each member has a partition"
        assert {t for t, _ in held[member]} <= subscriptions[member]
    if same:
        loads = [len(found) for found in held.values()]
        assert max(loads) - min(loads) <= 1
        sharing = [sum(place in found for found in held.values()) for place in expected]
        assert max(sharing) - min(sharing) <= 1
        assert min(max(loads), max(sharing)) == 1, "nothing is shared that need not be"
    assert assign(subscriptions, partitions, made) == made, "whoever has a partition keeps it"


def test_every_assignment_is_whole_fair_and_stable(full: bool):
    for seed in range(first_seed(), first_seed() + (FULL_CASES if full else CASES)):
        try:
            check_assignment(seed)
        except Exception as error:
            raise AssertionError(f"PYSTREAM_TEST_SEED={seed}: {error}") from error


class Schedule:
    """Members that come, go, fall silent and come back with old epochs; topics that come, grow and go; restarts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rig = ShareGroupRig()
        self.epochs: dict[str, int] = {}
        self.topics: dict[str, int] = {}
        self.ids: dict[str, bytes] = {}
        self.subscriptions: dict[str, list[str]] = {}

    def beat(self, member: str, epoch: int, topics: list[str] | None = None) -> None:
        try:
            response = self.rig.beat(member, epoch, topics)
        except KafkaError:
            self.epochs.pop(member, None)
            return
        if epoch == LEAVING:
            self.epochs.pop(member)
        else:
            assert response.member_epoch >= epoch
            self.epochs[member] = response.member_epoch

    def join(self) -> None:
        member = self.random.choice("abcdef")
        self.subscriptions[member] = self.random.sample(TOPICS, self.random.randint(1, 3))
        self.beat(member, JOINING, self.subscriptions[member])

    def stay(self) -> None:
        for member, epoch in list(self.epochs.items()):
            if self.random.random() < 0.7:
                self.beat(member, epoch)

    def leave(self) -> None:
        if self.epochs:
            self.beat(self.random.choice(sorted(self.epochs)), LEAVING)

    def come_with_an_old_epoch(self) -> None:
        if self.epochs:
            member = self.random.choice(sorted(self.epochs))
            self.beat(member, max(self.epochs[member] - self.random.randint(1, 3), 1))

    def change_topic(self) -> None:
        name = self.random.choice(TOPICS)
        if name in self.topics and self.random.random() < 0.3:
            self.rig.topics.drop(name)
            self.rig.call(stored.forget_topics, [self.ids[name]])
            del self.topics[name]
        else:
            self.topics[name] = self.topics.get(name, 0) + self.random.randint(1, 3)
            self.ids[name] = self.rig.topics.put(name, self.topics[name])

    def pass_time(self) -> None:
        self.rig.advance(self.random.choice([1_000, 20_000, 50_000]))
        group = self.rig.shard.groups.get("group")
        members = self.rig.share_group().members if group is not None else {}
        self.epochs = {member: epoch for member, epoch in self.epochs.items() if member in members}

    def restart(self) -> None:
        before = dict(self.rig.shard.groups)
        self.rig.reload()
        for group_id, group in before.items():
            after = self.rig.share_group(group_id)
            for name in ("group_epoch", "metadata_hash", "target_epoch", "members", "targets", "stored"):
                assert getattr(after, name) == getattr(group, name), name

    def run(self) -> None:
        steps = [self.join, self.stay, self.stay, self.leave, self.change_topic, self.pass_time, self.restart]
        for _ in range(STEPS):
            self.random.choice([*steps, self.come_with_an_old_epoch])()
        self.settle()

    def settle(self) -> None:
        """After a few heartbeats without changes every partition that is subscribed to is with somebody."""
        self.rig.advance(31_000)  # what was begun and never finished is begun again
        members = set(self.rig.share_group().members) if "group" in self.rig.shard.groups else set()
        self.epochs = {member: epoch for member, epoch in self.epochs.items() if member in members}
        for _ in range(4):
            for member, epoch in list(self.epochs.items()):
                self.beat(member, epoch)
        if not self.epochs or set(self.epochs) != members:
            return
        group = self.rig.share_group()
        subscribed = {name for member in group.members.values() for name in member.subscribed} & set(self.topics)
        expected = {(self.ids[name], p) for name in subscribed for p in range(self.topics[name])}
        held = {(t, p) for member in group.members.values() for t, found in member.assigned.items() for p in found}
        assert held == expected
        assert {member.member_epoch for member in group.members.values()} == {group.group_epoch} == {group.target_epoch}


def test_no_schedule_of_a_share_group_leaves_a_partition_behind(full: bool):
    for seed in range(first_seed(), first_seed() + (FULL_SCHEDULES if full else SCHEDULES)):
        try:
            Schedule(seed).run()
        except Exception as error:
            raise AssertionError(f"PYSTREAM_TEST_SEED={seed}: {error}") from error
