"""Random schedules of one shard of groups, watched by a plain model that knows only what was asked and answered.

A schedule plays a few clients of one classic group, consumers that never join, and producers of transactions; time
passes, clients die and start anew, and the coordinator is loaded from its log at any moment. After each step:

    every request has been answered at most once (the rig sees to it), and with an answer that fits it
    a generation has one leader, one protocol, and each member the assignment that its leader sent
    generations grow, and an accepted commit or heartbeat is of the present one
    offsets are what was last committed and counted, transactions at their markers
    a shard that reads the log is what the running one would have to be after a crash
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from pystream.common.error_codes import (
    ILLEGAL_GENERATION,
    MEMBER_ID_REQUIRED,
    NONE,
    NOT_COORDINATOR,
    REBALANCE_IN_PROGRESS,
)
from pystream.coordinator.group.admin_requests import delete_groups
from pystream.coordinator.group.classic.state import ClassicGroup, ClassicState
from pystream.coordinator.group.offset_requests import topics_deleted
from pystream.coordinator.group.offsets import Offsets
from pystream.coordinator.group.shard import GroupShard
from pystream.protocol.coordinator_records.group_metadata import GroupMetadataKey
from tests.support.group_rig import GROUP, GroupRig, subscription

SIMPLE = "simple"
TOPICS = ("a", "b")
PRODUCERS = (11, 12)
PROTOCOLS: tuple[dict[str, bytes], ...] = (
    {"range": subscription("a")},
    {"range": subscription("a"), "sticky": subscription("a", "b")},
    {"sticky": b"no subscription", "range": subscription("b")},
)
Place = tuple[str, str, int]


@dataclass(eq=False)
class Client:
    """A consumer as its broker sees it; `tickets` are requests whose answers it still looks at."""

    name: str
    instance_id: str | None
    version: int
    member_id: str = ""
    generation: int = -1
    is_leader: bool = False
    assigned: bool = False
    others: list[str] = field(default_factory=list)
    tickets: dict[int, str] = field(default_factory=dict)  # ticket -> "join" or "sync"


@dataclass
class Generation:
    """What is known of one generation since the last load."""

    leader: str
    protocol: str
    members: set[str] = field(default_factory=set)
    assignments: dict[str, bytes] | None = None


class Schedule:
    """One schedule; `run` raises AssertionError where the machine and the model part."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rig = GroupRig()
        self.rig.configure_classic(max_size=self.random.choice([3, 1_000]))
        self.clients = [
            Client(f"client{i}", self.random.choice([None, None, f"static{i}"]), self.random.choice([1, 3, 5, 9]))
            for i in range(4)
        ]
        self.current = 0  # the newest generation that anybody has been told of
        self.generations: dict[int, Generation] = {}
        self.offsets: dict[Place, tuple[int, int]] = {}  # place -> (offset, order of its commit)
        self.pending: dict[int, dict[Place, tuple[int, int]]] = {producer: {} for producer in PRODUCERS}
        self.order = 0
        self.kinds: dict[int, str] = {}
        self.synced_generations: dict[int, int] = {}  # ticket of a SyncGroup -> its generation
        self.steps = (
            (self.act, 40),
            (self.join, 3),
            (self.sync, 3),
            (self.beat, 5),
            (self.commit, 6),
            (self.pass_time, 8),
            (self.leave, 2),
            (self.die, 2),
            (self.lie, 3),
            (self.commit_simple, 2),
            (self.commit_in_transaction, 3),
            (self.end_transaction, 3),
            (self.delete, 1),
            (self.delete_topic, 1),
            (self.reload, 1),
        )

    def run(self, length: int) -> None:
        """Play `length` steps, then let everything end."""
        steps, weights = zip(*self.steps, strict=True)
        for step in self.random.choices(steps, weights, k=length):
            step()
            self.look_at_answers()
            self.check()
        self.rig.advance(24 * 3_600_000)
        self.look_at_answers()
        self.check()
        open_tickets = [ticket for ticket in self.kinds if ticket not in self.rig.answers]
        assert open_tickets == [], "requests that nobody has answered after a day"

    # steps

    def client(self) -> Client:
        return self.random.choice(self.clients)

    def act(self) -> None:
        """A client does what a good client does next."""
        client = self.client()
        if client.tickets:
            return
        if client.generation < 0:
            self._join(client)
        elif not client.assigned:
            self._sync(client)
        else:
            self._beat(client)

    def join(self) -> None:
        client = self.client()
        if client.tickets and self.random.random() < 0.9:
            return  # a client waits for its answer; sometimes its connection breaks and it asks again
        self._join(client)

    def _join(self, client: Client) -> None:
        ticket = self.rig.join(
            client.member_id,
            instance_id=client.instance_id,
            protocols=self.random.choice(PROTOCOLS),
            version=client.version,
            client_id=client.name,
            rebalance_timeout_ms=self.random.choice([10_000, 60_000]),
        )
        client.tickets[ticket] = self.kinds[ticket] = "join"

    def sync(self) -> None:
        client = self.client()
        if client.generation < 0 or (client.tickets and self.random.random() < 0.9):
            return
        self._sync(client)

    def _sync(self, client: Client) -> None:
        assignments = {}
        if client.is_leader:
            assignments = {other: f"{client.generation}:{other}".encode() for other in client.others}
        ticket = self.rig.sync(client.member_id, client.generation, assignments, instance_id=client.instance_id)
        client.tickets[ticket] = self.kinds[ticket] = "sync"
        self.synced_generations[ticket] = client.generation

    def beat(self) -> None:
        self._beat(self.client())

    def _beat(self, client: Client) -> None:
        code = self.rig.beat(client.member_id, client.generation, instance_id=client.instance_id)
        if code in (NONE, REBALANCE_IN_PROGRESS):
            assert client.generation == self.group().generation
        if code != NONE:
            client.assigned = False
            client.generation = -1
        if code not in (NONE, REBALANCE_IN_PROGRESS, ILLEGAL_GENERATION):
            client.member_id = ""

    def commit(self) -> None:
        client = self.client()
        self._commit(client.member_id, client.generation, client.instance_id)

    def lie(self) -> None:
        """A member of a generation that has passed, or is to come, wants to commit."""
        client = self.client()
        generation = max(0, client.generation + self.random.choice([-1, 1, 2]))
        self._commit(client.member_id or "ghost", generation, client.instance_id)

    def _commit(self, member_id: str, generation: int, instance_id: str | None) -> None:
        place = (GROUP, self.random.choice(TOPICS), self.random.randrange(2))
        offset = self.random.randrange(1_000)
        members = self.group().members if GROUP in self.rig.shard.groups else {}
        if self.rig.commit({place[1:]: offset}, member_id, generation, instance_id=instance_id) == NONE:
            if generation < 0:
                assert not members, "only groups without members take offsets of others"
            else:
                assert generation == self.group().generation, "a commit of another generation was accepted"
                assert member_id in members
            self._count(place, offset)

    def commit_simple(self) -> None:
        place = (SIMPLE, self.random.choice(TOPICS), self.random.randrange(2))
        offset = self.random.randrange(1_000)
        assert self.rig.commit({place[1:]: offset}, group_id=SIMPLE) == NONE
        self._count(place, offset)

    def commit_in_transaction(self) -> None:
        place = (self.random.choice([GROUP, SIMPLE]), self.random.choice(TOPICS), self.random.randrange(2))
        producer, offset = self.random.choice(PRODUCERS), self.random.randrange(1_000)
        if self.rig.commit_in_transaction(producer, {place[1:]: offset}, group_id=place[0]) == NONE:
            self.order += 1
            self.pending[producer][place] = (offset, self.order)

    def end_transaction(self) -> None:
        producer, committed = self.random.choice(PRODUCERS), self.random.random() < 0.6
        self.rig.end_transaction(producer, committed=committed)
        ended, self.pending[producer] = self.pending[producer], {}
        for place, found in ended.items():
            if committed and found[1] > self.offsets.get(place, (0, 0))[1]:
                self.offsets[place] = found

    def _count(self, place: Place, offset: int) -> None:
        self.order += 1
        self.offsets[place] = (offset, self.order)

    def pass_time(self) -> None:
        self.rig.advance(self.random.choice([1, 1_000, 3_000, 3_000, 3_000, 9_999, 10_001, 61_000]))

    def leave(self) -> None:
        client = self.client()
        if client.member_id:
            self.rig.leave(client.member_id)
            self._forget(client)

    def die(self) -> None:
        self._forget(self.client())

    @staticmethod
    def _forget(client: Client) -> None:
        """The client starts anew and looks at nothing that it asked before."""
        client.member_id, client.generation = "", -1
        client.is_leader = client.assigned = False
        client.tickets = {}

    def delete(self) -> None:
        group_id = self.random.choice([GROUP, SIMPLE])
        (result,) = self.rig.call(delete_groups, [group_id])
        if result.error_code != NONE:
            return
        self._drop(lambda place: place[0] == group_id)
        if group_id == GROUP:
            self._restart_generations(0)

    def delete_topic(self) -> None:
        topic = self.random.choice(TOPICS)
        self.rig.topics.drop(topic)
        self.rig.tell(topics_deleted, [topic])
        self._drop(lambda place: place[1] == topic)

    def _drop(self, chosen: Any) -> None:
        for places in (self.offsets, *self.pending.values()):
            for place in [place for place in places if chosen(place)]:
                del places[place]

    def reload(self) -> None:
        self.rig.reload()
        recorded = [record.value for record in self.rig.log if record.key == GroupMetadataKey(group=GROUP)]
        durable = recorded[-1].generation if recorded and recorded[-1] is not None else 0
        self._restart_generations(durable)

    def _restart_generations(self, durable: int) -> None:
        """Generations that were never assigned are not recorded: their numbers are given again."""
        self.current = durable
        self.generations = {number: g for number, g in self.generations.items() if number <= durable}
        if durable == 0:
            self.generations = {}

    # what is checked

    def group(self) -> ClassicGroup:
        group = self.rig.shard.groups[GROUP]
        assert isinstance(group, ClassicGroup)
        return group

    def look_at_answers(self) -> None:
        for client in self.clients:
            for ticket in [ticket for ticket in client.tickets if ticket in self.rig.answers]:
                answer = self.rig.answers[ticket]
                if client.tickets.pop(ticket) == "join":
                    self._joined(client, answer)
                else:
                    self._synced(client, self.synced_generations[ticket], answer)

    def _joined(self, client: Client, answer: Any) -> None:
        client.is_leader = client.assigned = False
        if answer.error_code == MEMBER_ID_REQUIRED:
            assert client.instance_id is None
            assert client.version >= 4
            client.member_id, client.generation = answer.member_id, -1
            return
        if answer.error_code != NONE:
            if answer.error_code not in (REBALANCE_IN_PROGRESS, NOT_COORDINATOR):
                client.member_id, client.generation = "", -1
            return
        client.member_id, client.generation = answer.member_id, answer.generation_id
        told = self.generations.get(answer.generation_id)
        if told is None:
            assert answer.generation_id > self.current, "generations do not grow"
            self.current = answer.generation_id
            told = self.generations[self.current] = Generation(answer.leader, answer.protocol_name)
        assert answer.protocol_name == told.protocol, "two protocols in one generation"
        told.members.add(answer.member_id)
        client.others = [member.member_id for member in answer.members]
        client.is_leader = bool(client.others)
        if client.is_leader:
            assert answer.leader == answer.member_id in client.others
            if client.instance_id is None:
                assert answer.leader == told.leader, "two leaders in one generation"

    def _synced(self, client: Client, asked: int, answer: Any) -> None:
        client.assigned = answer.error_code == NONE
        if not client.assigned:
            client.generation = -1
            return
        if answer.assignment:
            generation, member_id = answer.assignment.decode().split(":")
            assert int(generation) == asked, "an assignment of another generation"
            if client.instance_id is None:
                assert member_id == client.member_id, "an assignment of another member"
            else:
                assert member_id.startswith(client.instance_id)

    def check(self) -> None:
        live = self.rig.shard
        self._check_offsets(live)
        fresh = self.rig.as_in_the_log()
        self._check_offsets(fresh)
        assert set(fresh.groups) == set(live.groups)
        for group_id, group in live.groups.items():
            again = fresh.groups[group_id]
            assert isinstance(group, ClassicGroup)
            assert isinstance(again, ClassicGroup)
            self._check_counts(group)
            if group.state in (ClassicState.STABLE, ClassicState.EMPTY):
                assert durable_state(again) == durable_state(group)

    def _check_offsets(self, shard: GroupShard) -> None:
        offsets = shard.part(Offsets)
        found = {
            (group_id, topic, partition): committed.offset
            for group_id in offsets.group_ids()
            for topic, partitions in offsets.of_group(group_id).items()
            for partition, committed in partitions.items()
        }
        assert found == {place: offset for place, (offset, _) in self.offsets.items()}
        assert offsets.count == len(found)
        unstable = {place for places in self.pending.values() for place in places}
        for group_id in (GROUP, SIMPLE):
            for topic in TOPICS:
                for partition in range(2):
                    assert offsets.is_unstable(group_id, topic, partition) == ((group_id, topic, partition) in unstable)

    def _check_counts(self, group: ClassicGroup) -> None:
        """What the group counts as it goes is what can be counted."""
        assert group.awaiting_joins == sum(member.awaiting_join != 0 for member in group.members.values())
        assert set(group.static_members.values()) == {
            member.member_id for member in group.members.values() if member.group_instance_id is not None
        }
        assert group.pending_syncs <= set(group.members)
        assert not group.pending_joins & set(group.members)
        assert (group.leader_id in group.members) or not group.members
        if group.state is ClassicState.EMPTY:
            assert not group.members
        if group.state is not ClassicState.PREPARING_REBALANCE:
            assert group.awaiting_joins == 0, "somebody waits for a rebalance that is not"
        if group.state is not ClassicState.COMPLETING_REBALANCE:
            assert not any(member.awaiting_sync for member in group.members.values())
        for member in group.members.values():
            key = ("classic-session", group.group_id, member.member_id)
            assert self.rig.shard.timers.deadline_of(key) is not None or member.keeps_session()


def durable_state(group: ClassicGroup) -> tuple[object, ...]:
    """What must survive a restart of a group that is stable or empty."""
    members = {
        member.member_id: (
            member.group_instance_id,
            member.assignment,
            member.session_timeout_ms,
            member.rebalance_timeout_ms,
            member.metadata(group.protocol_name),
        )
        for member in group.members.values()
    }
    return (group.state, group.generation, group.protocol_type_name, group.protocol_name, group.leader_id, members)
