"""Random schedules of consumer groups: members that are slow, crash, lose answers; topics that change; restarts.

What must hold at every step: no partition has two owners; what a client works on is its own in the coordinator's eyes;
epochs do not go back; the log read anew, compacted or not, gives the group as it is. At the end, once everybody sends
heartbeats again, everybody has its target, everything is assigned, and shares are even.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from pystream.coordinator.group.consumer.group import ConsumerGroup, partitions_held
from pystream.coordinator.machine import Record
from pystream.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatResponse
from tests.support.consumer_rig import AWAY, JOINING, LEAVING, NOTHING, ConsumerRig, Partitions, from_message
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS
from tests.support.schedules import PORTIONS, play_portion

SCHEDULES, FULL_SCHEDULES = 400, 100_000
STEPS = 30
SESSION_TIMEOUT_MS = 45_000
TOPICS = ("a", "b", "c")
SUBSCRIPTIONS: tuple[dict[str, Any], ...] = (
    {"topics": ["a"]},
    {"topics": ["a", "b"]},
    {"topics": ["a", "b", "c"]},
    {"topics": []},
    {"regex": "[ab]"},
    {"regex": "."},
)


class Client:
    """A consumer: what it works on, and what it has been told. It takes its time to give partitions up."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.number = number
        self.chance = chance
        self.generation = 0  # of its member id: a static member that comes back has another one
        self.instance_id = f"static-{number}" if chance.random() < 0.3 else None
        self.assignor = chance.choice((None, None, "uniform", "range"))
        self.subscription: dict[str, Any] = chance.choice(SUBSCRIPTIONS)
        self.is_running = False
        self.is_away = False
        self.is_prompt = False  # says with every heartbeat what it has
        self.epoch = JOINING
        self.working_on: Partitions = NOTHING
        self.told: Partitions = NOTHING
        self.must_say_all = True

    @property
    def member_id(self) -> str:
        return f"member-{self.number}-{self.generation}"

    def start(self) -> None:
        if self.instance_id is None or self.is_away:
            self.generation += 1
        self.is_running, self.is_away = True, False
        self.rejoin()

    def rejoin(self) -> None:
        """Fenced, or new: it has nothing."""
        self.epoch, self.working_on, self.told, self.must_say_all = JOINING, NOTHING, NOTHING, True

    def give_up(self) -> None:
        """Done with what it is no longer to have."""
        self.working_on &= self.told

    def request(self) -> dict[str, Any]:
        if self.must_say_all or self.epoch == JOINING:
            return {
                "owned": self.working_on,
                "topics": self.subscription.get("topics"),
                "regex": self.subscription.get("regex", "" if self.epoch != JOINING else None),
                "assignor": self.assignor,
                "rebalance_timeout_ms": REBALANCE_TIMEOUT_MS,
            } | ({"topics": []} if "regex" in self.subscription else {})
        return {"owned": self.working_on} if self.is_prompt or self.chance.random() < 0.7 else {}

    def take(self, response: ConsumerGroupHeartbeatResponse) -> None:
        if response.error_code:
            self.rejoin()
            return
        self.epoch, self.must_say_all = response.member_epoch, False
        if response.assignment is not None:
            self.told = from_message(response.assignment.topic_partitions)
        self.working_on |= self.told


class Schedule:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rig = ConsumerRig()
        self.clients = [Client(number, self.chance) for number in range(self.chance.randint(1, 4))]
        self.epochs: dict[str, int] = {}
        for name in TOPICS[: self.chance.randint(1, 3)]:
            self.rig.topics.put(name, self.chance.randint(1, 7))

    def run(self) -> None:
        steps = [self.beat] * 12 + [self.give_up] * 4 + [self.start] * 4
        steps += [self.stop, self.crash, self.subscribe, self.change_topics, self.pass_time, self.restart, self.fail]
        for _ in range(STEPS):
            self.chance.choice(steps)()
            if self.chance.random() < 0.8:
                self.rig.advance(0)  # what is due at once has its turn
            self.check()
        self.settle()

    # What happens

    def some(self, *, running: bool) -> Client | None:
        found = [client for client in self.clients if client.is_running is running]
        return self.chance.choice(found) if found else None

    def beat(self) -> None:
        client = self.some(running=True)
        if client is not None:
            self.send(client, answer_is_lost=self.chance.random() < 0.1)

    def send(self, client: Client, *, answer_is_lost: bool = False) -> None:
        if client.epoch == JOINING:
            client.rejoin()
        response = self.rig.heartbeat(
            client.member_id, client.epoch, instance_id=client.instance_id, **client.request()
        )
        if answer_is_lost:
            client.must_say_all = True
        else:
            client.take(response)

    def give_up(self) -> None:
        client = self.some(running=True)
        if client is not None:
            client.give_up()

    def start(self) -> None:
        client = self.some(running=False)
        if client is not None:
            client.start()
            self.send(client)

    def stop(self) -> None:
        client = self.some(running=True)
        if client is not None:
            client.is_away = client.instance_id is not None and self.chance.random() < 0.6
            epoch = AWAY if client.is_away else LEAVING
            self.rig.heartbeat(client.member_id, epoch, instance_id=client.instance_id)
            client.rejoin()
            client.is_running = False

    def crash(self) -> None:
        client = self.some(running=True)
        if client is not None:
            client.rejoin()
            client.is_running = False

    def subscribe(self) -> None:
        client = self.some(running=True)
        if client is not None:
            client.subscription = self.chance.choice(SUBSCRIPTIONS)
            client.must_say_all = True

    def change_topics(self) -> None:
        name = self.chance.choice(TOPICS)
        topic = self.rig.topics.by_name(name)
        if topic is not None and self.chance.random() < 0.3:
            self.rig.topics.drop(name)
        else:
            self.rig.topics.put(name, (topic.partition_count if topic else 0) + self.chance.randint(1, 3))

    def pass_time(self) -> None:
        self.rig.advance(self.chance.choice((1_000, 11_000, SESSION_TIMEOUT_MS // 2, SESSION_TIMEOUT_MS + 1)))

    def restart(self) -> None:
        self.rig.reload()

    def fail(self) -> None:
        """What a request writes does not get into the log: its sender gets an error, the shard is loaded anew."""
        client = self.some(running=True)
        if client is not None:
            written = len(self.rig.log)
            self.send(client, answer_is_lost=True)
            del self.rig.log[written:]
            self.rig.reload()
            self.epochs.clear()

    # What must hold

    def group(self) -> ConsumerGroup | None:
        return self.rig.shard.groups.get(GROUP)  # type: ignore[return-value]

    def check(self) -> None:
        group = self.group()
        if group is None:
            return
        owners = Counter(partition for member in group.members.values() for partition in partitions_held(member))
        assert not [partition for partition, count in owners.items() if count > 1], "two owners"
        for client in self.clients:
            member = group.members.get(client.member_id)
            if member is not None and client.epoch in (member.member_epoch, member.previous_member_epoch):
                assert client.working_on <= set(partitions_held(member)), f"{client.member_id} works on others' things"
        assert group.target_epoch <= group.group_epoch
        now = {"": group.group_epoch} | {m.member_id: m.member_epoch for m in group.members.values()}
        for name, epoch in now.items():
            assert epoch >= self.epochs.get(name, epoch) or epoch in (AWAY, JOINING), f"{name or 'group'} went back"
            assert epoch <= group.group_epoch
        self.epochs = now
        if self.chance.random() < 0.1:
            assert state_of(group) == state_of(self.rig.as_in_the_log().groups.get(GROUP))
            assert state_of(group) == state_of(self.replayed(self.compacted()))

    def replayed(self, log: list[Record]) -> ConsumerGroup | None:
        live, self.rig.log = self.rig.log, log
        shard = self.rig.loaded_from_log()
        self.rig.log = live
        return shard.groups.get(GROUP)  # type: ignore[return-value]

    def compacted(self) -> list[Record]:
        """The log with a part of it compacted: the last record of each key, tombstones perhaps gone."""
        cut = self.chance.randint(0, len(self.rig.log))
        last = {(type(record.key), record.key.encode(0)): place for place, record in enumerate(self.rig.log[:cut])}
        drops_tombstones = self.chance.random() < 0.5
        head = [
            record
            for place, record in enumerate(self.rig.log[:cut])
            if last[type(record.key), record.key.encode(0)] == place and not (drops_tombstones and record.value is None)
        ]
        return head + self.rig.log[cut:]

    def settle(self) -> None:
        """Everybody is well again: the group comes to rest, with everything in good hands."""
        self.rig.advance(SESSION_TIMEOUT_MS - 1)
        for client in self.clients:
            client.is_prompt = True
            if client.is_running:
                self.send(client)
        self.rig.advance(11_000)  # who is silent goes; regular expressions may be looked up again
        for _ in range(20):
            before = [(client.epoch, client.working_on) for client in self.clients]
            for client in self.clients:
                if client.is_running:
                    self.send(client)
                    client.give_up()
            self.rig.advance(0)
            self.check()
            if before == [(client.epoch, client.working_on) for client in self.clients]:
                break
        group = self.group()
        running = [client for client in self.clients if client.is_running]
        if not running:
            assert group is None or all(m.member_epoch == AWAY for m in group.members.values()) or group.is_empty()
            return
        assert group is not None
        assert sorted(group.members) == sorted(client.member_id for client in running)
        assert group.state_name(self.rig.now_ms) == "Stable"
        for client in running:
            target = group.target_of(client.member_id)
            assert client.working_on == {(t, index) for t, indexes in target.items() for index in indexes}
        topics = [topic for name in group.subscribed_names() if (topic := self.rig.topics.by_name(name)) is not None]
        everything = {(topic.topic_id, index) for topic in topics for index in range(topic.partition_count)}
        assert set().union(*(client.working_on for client in running)) == everything
        same = len({group.names_of(member) for member in group.members.values()}) == 1
        if same and group.preferred_assignor() in (None, "uniform"):
            loads = [len(client.working_on) for client in running]
            assert max(loads) - min(loads) <= 1, loads


def state_of(group: ConsumerGroup | None) -> dict[str, Any] | None:
    """Everything that a restart must bring back."""
    if group is None:
        return None
    return {
        "epochs": (group.group_epoch, group.target_epoch, group.metadata_hash),
        "members": group.members,
        "static": group.static_members,
        "targets": group.targets,
        "regexes": group.regexes,
        "owners": {p: group.owner_of(*p) for m in group.members.values() for p in partitions_held(m)},
        "names": group.subscribed_names(),
        "wanted": dict(group.regexes_wanted()),
        "assignor": group.preferred_assignor(),
    }


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_random_schedules_keep_every_promise(full: bool, portion: int) -> None:
    play_portion(lambda seed: Schedule(seed).run(), portion, FULL_SCHEDULES if full else SCHEDULES)
