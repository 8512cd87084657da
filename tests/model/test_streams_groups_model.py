"""Random schedules of streams groups: threads that are slow, crash, lose answers; topics that change; restarts.

What must hold at every step: no active task has two owners, no process has a task twice, threads only work on what is
theirs, epochs do not go back, the log read anew gives the group as it is. At the end everything is in good hands.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from pystream.coordinator.group.streams.group import StreamsGroup
from pystream.coordinator.group.streams.tasks import each
from tests.support.group_rig import GROUP, REBALANCE_TIMEOUT_MS
from tests.support.schedules import PORTIONS, play_portion
from tests.support.streams_rig import JOINING, LEAVING, NOTHING, WORD_COUNT, Owned, StreamsRig, task_ids, tasks

SCHEDULES, FULL_SCHEDULES = 260, 100_000
STEPS = 30
SESSION_TIMEOUT_MS = 45_000
FIRST_ASSIGNMENT_DELAY_MS = 3_000


class Thread:
    """What it works on, and what it has been told. It takes its time to give tasks up."""

    def __init__(self, number: int, process: str, chance: random.Random) -> None:
        self.member_id = f"thread-{number}"
        self.process = process
        self.chance = chance
        self.is_running = False
        self.is_prompt = False  # says with every heartbeat what it has
        self.rejoin()

    def rejoin(self) -> None:
        """Fenced, or new: it has nothing."""
        self.epoch = JOINING
        self.working_on: tuple[Owned, Owned] = (NOTHING, NOTHING)
        self.told: tuple[Owned, Owned] = (NOTHING, NOTHING)
        self.must_say_all = True

    def give_up(self) -> None:
        self.working_on = (self.working_on[0] & self.told[0], self.working_on[1] & self.told[1])

    def request(self) -> dict[str, Any]:
        owned = {
            "active_tasks": task_ids(self.working_on[0]),
            "standby_tasks": task_ids(self.working_on[1]),
            "warmup_tasks": [],
        }
        if self.epoch == JOINING:
            return {
                **owned,
                "topology": WORD_COUNT,
                "process_id": self.process,
                "rebalance_timeout_ms": REBALANCE_TIMEOUT_MS,
            }
        return owned if self.must_say_all or self.is_prompt or self.chance.random() < 0.7 else {}

    def take(self, response: Any) -> None:
        if response.error_code:
            self.rejoin()
            return
        self.epoch, self.must_say_all = response.member_epoch, False
        if response.active_tasks is not None:
            self.told = (tasks(response.active_tasks), tasks(response.standby_tasks))
        self.working_on = (self.working_on[0] | self.told[0], self.working_on[1] | self.told[1])


class Schedule:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rig = StreamsRig()
        self.rig.set_group(
            streams_num_standby_replicas=self.chance.randint(0, 2),
            streams_initial_rebalance_delay_ms=self.chance.choice((0, FIRST_ASSIGNMENT_DELAY_MS)),
        )
        self.threads = [
            Thread(number, f"process-{self.chance.randint(0, 2)}", self.chance)
            for number in range(self.chance.randint(1, 5))
        ]
        self.epochs: dict[str, int] = {}
        if self.chance.random() < 0.8:
            self.rig.topics.put("words", self.chance.randint(1, 5))

    def run(self) -> None:
        steps = [self.beat] * 12 + [self.give_up] * 4 + [self.start] * 4
        steps += [self.stop, self.crash, self.change_topics, self.change_standbys, self.pass_time, self.restart]
        for _ in range(STEPS):
            self.chance.choice([*steps, self.fail])()
            self.check()
        self.settle()

    # What happens

    def some(self, *, running: bool) -> Thread | None:
        found = [thread for thread in self.threads if thread.is_running is running]
        return self.chance.choice(found) if found else None

    def beat(self) -> None:
        thread = self.some(running=True)
        if thread is not None:
            self.send(thread, answer_is_lost=self.chance.random() < 0.1)

    def send(self, thread: Thread, *, answer_is_lost: bool = False) -> None:
        if thread.epoch == JOINING:
            thread.rejoin()
        reply = self.rig.heartbeat(thread.member_id, thread.epoch, **thread.request())
        self.rig.create_topics(reply)
        if answer_is_lost:
            thread.must_say_all = True
        else:
            thread.take(reply.response)

    def give_up(self) -> None:
        thread = self.some(running=True)
        if thread is not None:
            thread.give_up()

    def start(self) -> None:
        thread = self.some(running=False)
        if thread is not None:
            thread.is_running = True
            thread.rejoin()
            self.send(thread)

    def stop(self) -> None:
        thread = self.some(running=True)
        if thread is not None:
            self.rig.heartbeat(thread.member_id, LEAVING)
            thread.rejoin()
            thread.is_running = False

    def crash(self) -> None:
        thread = self.some(running=True)
        if thread is not None:
            thread.rejoin()
            thread.is_running = False

    def change_topics(self) -> None:
        """The source grows or goes. Internal topics no longer fit then, so they go too, as an operator would do it."""
        found = self.rig.topics.by_name("words")
        for name in ("repartition", "changelog"):
            self.rig.topics.drop(name)
        if found is not None and self.chance.random() < 0.3:
            self.rig.topics.drop("words")
        else:
            self.rig.topics.put("words", (found.partition_count if found else 0) + self.chance.randint(1, 2))

    def change_standbys(self) -> None:
        self.rig.set_group(streams_num_standby_replicas=self.chance.randint(0, 2))

    def pass_time(self) -> None:
        self.rig.advance(self.chance.choice((1_000, 4_000, SESSION_TIMEOUT_MS // 2, SESSION_TIMEOUT_MS + 1)))

    def restart(self) -> None:
        self.rig.reload()

    def fail(self) -> None:
        """What a request writes does not get into the log: its sender gets an error, the shard is loaded anew."""
        thread = self.some(running=True)
        if thread is not None:
            written = len(self.rig.log)
            self.send(thread, answer_is_lost=True)
            del self.rig.log[written:]
            self.rig.reload()
            self.epochs.clear()

    # What must hold

    def group(self) -> StreamsGroup | None:
        return self.rig.shard.groups.get(GROUP)  # type: ignore[return-value]

    def check(self) -> None:
        group = self.group()
        if group is None:
            return
        active: Counter[Any] = Counter()
        in_process: Counter[Any] = Counter()
        for member in group.members.values():
            for held in (member.assigned, member.pending_revocation):
                mine = list(each(held.active))
                active.update(mine)
                in_process.update((member.process_id, task) for task in (*mine, *each(held.standby)))
        assert not [task for task, count in active.items() if count > 1], "two owners"
        assert not [task for task, count in in_process.items() if count > 1], "twice in one process"
        for thread in self.threads:
            member = group.members.get(thread.member_id)
            if member is not None and thread.epoch in (member.member_epoch, member.previous_member_epoch):
                held = {*each(member.assigned.active), *each(member.pending_revocation.active)}
                assert thread.working_on[0] <= held, f"{thread.member_id} works on others' tasks"
        now = {"": group.group_epoch} | {m.member_id: m.member_epoch for m in group.members.values()}
        for name, epoch in now.items():
            assert epoch >= self.epochs.get(name, epoch) or epoch == JOINING, f"{name or 'group'} went back"
        self.epochs = now
        if self.chance.random() < 0.2:
            replayed = self.rig.as_in_the_log().groups.get(GROUP)
            assert isinstance(replayed, StreamsGroup)
            assert state_of(group) == state_of(replayed)

    def settle(self) -> None:
        """Everybody is well again."""
        if self.rig.topics.by_name("words") is None:
            self.rig.topics.put("words", 3)
        self.rig.advance(SESSION_TIMEOUT_MS - 1)
        running = [thread for thread in self.threads if thread.is_running]
        for thread in running:
            thread.is_prompt = True
            self.send(thread)
        self.rig.advance(4_000)  # who is silent goes; the first assignment is made
        quiet_ms = 0
        for _ in range(40):
            before = [(thread.epoch, thread.told, thread.working_on) for thread in self.threads]
            for thread in running:
                self.send(thread)
                thread.give_up()
            self.rig.advance(500)
            self.check()
            is_quiet = before == [(thread.epoch, thread.told, thread.working_on) for thread in self.threads]
            quiet_ms = quiet_ms + 500 if is_quiet else 0
            if quiet_ms > FIRST_ASSIGNMENT_DELAY_MS:
                break
        group = self.group()
        if not running:
            assert group is None or group.is_empty()
            return
        assert group is not None
        assert sorted(group.members) == sorted(thread.member_id for thread in running)
        assert group.state_name(self.rig.now_ms) == "Stable"
        words = self.rig.topics.by_name("words")
        assert words is not None
        everything = [(name, index) for name in "01" for index in range(words.partition_count)]
        assert sorted(task for thread in running for task in thread.working_on[0]) == everything
        replicas = min(self.rig.settings.streams_num_standby_replicas, len({thread.process for thread in running}) - 1)
        copies = Counter(task for thread in running for task in thread.working_on[1])
        assert copies == Counter({task: replicas for task in everything if task[0] == "1" and replicas})


def state_of(group: StreamsGroup) -> dict[str, Any]:
    """Everything that a restart must bring back."""
    return {
        "epochs": (group.group_epoch, group.target_epoch, group.metadata_hash, group.validated_topology_epoch),
        "configs": dict(group.assignment_configs),
        "topology": group.topology,
        "members": group.members,
        "targets": group.targets,
    }


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_random_schedules_keep_every_promise(full: bool, portion: int) -> None:
    play_portion(lambda seed: Schedule(seed).run(), portion, FULL_SCHEDULES if full else SCHEDULES)
