"""Random schedules of groups whose members speak both protocols: they come, go, crash, and the coordinator restarts.

The group changes between classic and consumer as it goes. At every step no partition has two owners in a consumer
group, and the log read anew gives the group as it is. At the end, once everybody sends heartbeats again, everything is
assigned exactly once, and the group is of the kind that its members make it.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from pystream.common.error_codes import ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS
from pystream.coordinator.group.classic.state import ClassicGroup
from pystream.coordinator.group.consumer.group import ConsumerGroup, partitions_held
from tests.model.test_consumer_groups_model import state_of
from tests.support.classic_client import NOTHING as NOTHING_NAMED
from tests.support.classic_client import ClassicClient
from tests.support.consumer_rig import JOINING, NOTHING, ConsumerRig, RigMember
from tests.support.group_rig import GROUP
from tests.support.schedules import PORTIONS, play_portion

SCHEDULES, FULL_SCHEDULES = 200, 20_000
STEPS = 40
PARTITIONS = 5
TOPIC = "topic"


class Schedule:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rig = ConsumerRig()
        self.rig.topics.put(TOPIC, PARTITIONS)
        self.cooperative = self.chance.random() < 0.5  # one group cannot have both kinds
        self.new: list[RigMember] = []
        self.old: list[ClassicClient] = []
        self.numbers = iter(range(1_000))

    def run(self) -> None:
        steps = [self.beat_new] * 6 + [self.beat_old] * 8 + [self.pass_time] * 4
        steps += [self.start_new, self.start_old, self.start_old, self.stop_new, self.stop_old]
        steps += [self.crash, self.restart]
        for _ in range(STEPS):
            self.chance.choice(steps)()
            self.check()
        self.settle()

    # What happens

    def start_new(self) -> None:
        if len(self.new) < 3:
            member = self.rig.member(f"new-{next(self.numbers)}", TOPIC)
            self.new.append(member)
            self.join_new(member)

    def start_old(self) -> None:
        if len(self.old) < 3:
            self.old.append(ClassicClient(self.rig, TOPIC, cooperative=self.cooperative).join())

    def stop_new(self) -> None:
        if self.new:
            member = self.new.pop(self.chance.randrange(len(self.new)))
            self.rig.heartbeat(member.member_id, -1)

    def stop_old(self) -> None:
        if self.old:
            client = self.old.pop(self.chance.randrange(len(self.old)))
            client.look()
            if client.member_id:
                self.rig.leave(client.member_id)

    def crash(self) -> None:
        members = [*self.new, *self.old]
        if members:
            gone = self.chance.choice(members)
            self.new = [member for member in self.new if member is not gone]
            self.old = [client for client in self.old if client is not gone]

    def join_new(self, member: RigMember) -> None:
        member.epoch, member.assigned = JOINING, NOTHING
        member.join()

    def beat_new(self) -> None:
        if self.new:
            self.look_after_new(self.chance.choice(self.new))

    def look_after_new(self, member: RigMember) -> None:
        if member.beat().error_code:
            self.join_new(member)

    def beat_old(self) -> None:
        if self.old:
            self.look_after_old(self.chance.choice(self.old))

    def look_after_old(self, client: ClassicClient) -> None:
        """A heartbeat; what has gone wrong since is put right as consumers do."""
        client.look()
        if not client.errors:
            client.beat()
        if not client.errors:
            return
        if not set(client.errors) <= {REBALANCE_IN_PROGRESS}:
            client.assigned, client.generation = NOTHING_NAMED, -1
            if set(client.errors) - {REBALANCE_IN_PROGRESS, ILLEGAL_GENERATION}:
                client.member_id = ""
        client.errors.clear()
        if not client.is_waiting:
            client.join()

    def pass_time(self) -> None:
        self.rig.advance(self.chance.choice((100, 1_000, 4_000, 11_000)))

    def restart(self) -> None:
        self.rig.reload()

    # What must hold

    def check(self) -> None:
        group = self.rig.shard.groups.get(GROUP)
        if isinstance(group, ConsumerGroup):
            owners = Counter(partition for member in group.members.values() for partition in partitions_held(member))
            assert not [partition for partition, count in owners.items() if count > 1], "two owners"
            replayed = self.rig.as_in_the_log().groups[GROUP]
            assert isinstance(replayed, ConsumerGroup)
            assert state_of(group) == state_of(replayed)
        elif isinstance(group, ClassicGroup):
            assert isinstance(self.rig.as_in_the_log().groups[GROUP], ClassicGroup)

    def settle(self) -> None:
        """Everybody is well again: one heartbeat each second, for longer than any time-out."""
        for _ in range(150):
            for member in self.new:
                self.look_after_new(member)
            for client in self.old:
                self.look_after_old(client)
            self.rig.advance(1_000)
        self.check()
        group = self.rig.shard.groups.get(GROUP)
        if not self.new and not self.old:
            assert group is None or group.is_empty()
            return
        if self.new:
            assert isinstance(group, ConsumerGroup)
            assert group.state_name(self.rig.now_ms) == "Stable"
            assert group.count_of_classic_members() == len(self.old)
        else:
            assert isinstance(group, ClassicGroup)
            assert group.state_name(self.rig.now_ms) == "Stable"
        topic = self.rig.topics.by_name(TOPIC)
        assert topic is not None
        given = [partition for member in self.new for partition in member.assigned]
        given += [(topic.topic_id, index) for client in self.old for _, index in client.assigned]
        assert sorted(given) == [(topic.topic_id, index) for index in range(PARTITIONS)]


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_groups_of_both_protocols_keep_every_promise(full: bool, portion: int) -> None:
    play_portion(lambda seed: Schedule(seed).run(), portion, FULL_SCHEDULES if full else SCHEDULES)
