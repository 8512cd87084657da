"""Members of classic consumer groups, as cheap as Python makes them: one connection each, one epoll, frames made once.

A member joins, syncs, heartbeats and commits; whatever the coordinator tells it (rebalance, another generation) it
does. JoinGroup 3, SyncGroup 2, Heartbeat 4, OffsetCommit 7: every broker since 2.4 speaks them, and there is no second
round of joining.
"""

from __future__ import annotations

import heapq
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.wire import CLIENT_ID, Parser, text

JOIN, HEARTBEAT, LEAVE, SYNC, COMMIT = 11, 12, 13, 14, 8
VERSIONS = {JOIN: 3, HEARTBEAT: 4, SYNC: 2, COMMIT: 7}
OK, COORDINATOR_LOADING, NOT_AVAILABLE, NOT_COORDINATOR, ILLEGAL_GENERATION, REBALANCING = 0, 14, 15, 16, 22, 27
AGAIN = {COORDINATOR_LOADING, NOT_AVAILABLE, NOT_COORDINATOR}
SESSION_MS = 45_000
METADATA = struct.pack(">hi", 0, 1) + text("bench") + struct.pack(">i", -1)  # a subscription to one topic
RECEIVE_BYTES = 1 << 16
RETRY_S = 0.1
POLL_S = 0.05
HEADER = struct.Struct(">ihhih")


def compact(value: str) -> bytes:
    """A compact string of less than 127 bytes."""
    data = value.encode()
    return bytes([len(data) + 1]) + data


def sized(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def frame(key: int, body: bytes) -> bytes:
    tagged = b"\x00" if key == HEARTBEAT else b""
    rest = CLIENT_ID + tagged + body
    return HEADER.pack(HEADER.size - 4 + len(rest), key, VERSIONS[key], 1, len(CLIENT_ID)) + rest


@dataclass(slots=True, eq=False)
class Member:
    """One connection. `asked` is the key of the request that is out, 0 without one."""

    group: Group
    number: int
    socket: socket.socket
    member_id: str = ""
    generation: int = -1
    is_leader: bool = False
    stable: bool = False
    asked: int = 0
    sent_s: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    heartbeat: bytes = b""
    commits: int = 0


@dataclass(slots=True, eq=False)
class Group:
    """All members stable in one generation: it is ready."""

    name: str
    members: list[Member] = field(default_factory=list)
    known: list[str] = field(default_factory=list)  # member ids, as the leader was told

    @property
    def ready(self) -> bool:
        return len({member.generation for member in self.members if member.stable}) == 1 and all(
            member.stable for member in self.members
        )


class Samples:
    """Times of answers in seconds, and how many were not OK."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.errors = 0

    def quantile_ms(self, share: float) -> float:
        if not self.seconds:
            return float("nan")
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e3


class GroupLoad:
    """All members of all groups."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._members: dict[int, Member] = {}
        self._later: list[tuple[float, int, Member, int]] = []  # (when, tie, member, key)
        self._ties = 0
        self.groups: list[Group] = []
        self.heartbeats = Samples()
        self.commits = Samples()
        self.on_answer: Callable[[Member, int, int], None] = lambda member, key, code: None

    def close(self) -> None:
        for member in self._members.values():
            member.socket.close()
        self._epoll.close()

    def add_group(self, name: str, size: int) -> Group:
        group = Group(name)
        for number in range(size):
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            member = Member(group, number, connection)
            group.members.append(member)
            self._members[connection.fileno()] = member
            self._epoll.register(connection.fileno(), select.EPOLLIN)
        self.groups.append(group)
        return group

    # ------------------------------------------------------------------------------------------------ asking

    def join(self, member: Member) -> None:
        group = member.group
        member.stable = False
        body = text(group.name) + struct.pack(">ii", SESSION_MS, SESSION_MS) + text(member.member_id)
        self._send(
            member, JOIN, frame(JOIN, body + text("consumer") + struct.pack(">i", 1) + text("range") + sized(METADATA))
        )

    def sync(self, member: Member) -> None:
        assigned: Sequence[str] = member.group.known if member.is_leader else ()
        body = text(member.group.name) + struct.pack(">i", member.generation) + text(member.member_id)
        body += struct.pack(">i", len(assigned))
        for number, name in enumerate(assigned):
            share = struct.pack(">hi", 0, 1) + text("bench") + struct.pack(">iii", 1, number, -1)
            body += text(name) + sized(share)
        self._send(member, SYNC, frame(SYNC, body))

    def beat(self, member: Member) -> None:
        self._send(member, HEARTBEAT, member.heartbeat)

    def commit(self, member: Member, partitions: int = 1) -> None:
        member.commits += 1
        body = text(member.group.name) + struct.pack(">i", member.generation) + text(member.member_id) + text(None)
        body += struct.pack(">i", 1) + text("bench") + struct.pack(">i", partitions)
        for partition in range(partitions):
            body += struct.pack(">iqi", partition, member.commits, -1) + text("")
        self._send(member, COMMIT, frame(COMMIT, body))

    def _send(self, member: Member, key: int, data: bytes) -> None:
        if member.asked:
            raise HarnessError(f"member {member.number} of {member.group.name} asks twice")
        member.asked = key
        member.sent_s = time.monotonic()
        if member.socket.send(data) != len(data):
            raise HarnessError("a request does not fit the socket's buffer")

    # ------------------------------------------------------------------------------------------------ answers

    def poll(self, timeout_s: float) -> None:
        """Take what has arrived, waiting at most so long, and ask again where it was put off."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, _, member, key = heapq.heappop(self._later)
            (self.join if key == JOIN else self.sync)(member)
        for descriptor, _ in self._epoll.poll(max(timeout_s, 0)):
            member = self._members[descriptor]
            data = member.socket.recv(RECEIVE_BYTES)
            if not data:
                raise HarnessError(f"the broker closed the connection of a member of {member.group.name}")
            if member.received or len(data) < 4 or len(data) != 4 + int.from_bytes(data[:4], "big"):
                member.received += data
                data = bytes(member.received)
                if len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
                    continue
                member.received.clear()
            key, member.asked = member.asked, 0
            self._take(member, key, data)

    def _take(self, member: Member, key: int, data: bytes) -> None:
        took_s = time.monotonic() - member.sent_s
        if key == HEARTBEAT:  # size, correlation, tags, throttle, code
            code = int.from_bytes(data[13:15], "big")
            self._note(self.heartbeats, took_s, code)
            if code in (REBALANCING, ILLEGAL_GENERATION):
                self.join(member)
        elif key == COMMIT:  # the code of the last partition ends the answer
            code = int.from_bytes(data[-2:], "big")
            self._note(self.commits, took_s, code)
        elif key == JOIN:
            code = self._joined(member, Parser(data))
        else:
            code = self._synced(member, Parser(data))
        self.on_answer(member, key, code)

    @staticmethod
    def _note(samples: Samples, took_s: float, code: int) -> None:
        samples.seconds.append(took_s)
        samples.errors += code != OK

    def _joined(self, member: Member, answer: Parser) -> int:
        *_, code, generation = answer.take(">iiihi")
        if code in AGAIN:
            self._put_off(member, JOIN)
            return code
        if code != OK:
            raise HarnessError(f"JoinGroup of {member.group.name}: code {code}")
        answer.text()
        leader = answer.text()
        member.member_id, member.generation = answer.text(), generation
        member.is_leader = leader == member.member_id
        if member.is_leader:
            member.group.known = []
            for _ in range(answer.number(">i")):
                member.group.known.append(answer.text())
                metadata_bytes = answer.number(">i")
                answer.position += metadata_bytes
        body = compact(member.group.name) + struct.pack(">i", generation) + compact(member.member_id) + b"\x00\x00"
        member.heartbeat = frame(HEARTBEAT, body)
        self.sync(member)
        return code

    def _synced(self, member: Member, answer: Parser) -> int:
        *_, code = answer.take(">iiih")
        if code in (REBALANCING, ILLEGAL_GENERATION):
            self.join(member)
        elif code in AGAIN:
            self._put_off(member, SYNC)
        elif code != OK:
            raise HarnessError(f"SyncGroup of {member.group.name}: code {code}")
        else:
            member.stable = True
        return code

    def _put_off(self, member: Member, key: int) -> None:
        self._ties += 1
        heapq.heappush(self._later, (time.monotonic() + RETRY_S, self._ties, member, key))

    # ------------------------------------------------------------------------------------------------ whole groups

    def form(self, groups: Iterable[Group], timeout_s: float) -> None:
        """Join all members of these groups until they are ready."""
        waiting = list(groups)
        deadline = time.monotonic() + timeout_s
        for group in waiting:
            for member in group.members:
                self.join(member)
        while waiting:
            self.poll(POLL_S)
            waiting = [group for group in waiting if not group.ready]
            for group in waiting:  # those who are done learn of a rebalance by their heartbeats
                for member in group.members:
                    if member.stable and not member.asked:
                        self.beat(member)
            if time.monotonic() > deadline:
                raise HarnessError(f"{len(waiting)} groups are not stable after {timeout_s} s")

    def settle(self, timeout_s: float = 30) -> None:
        """Until no request is out."""
        deadline = time.monotonic() + timeout_s
        while any(member.asked for member in self._members.values()):
            self.poll(POLL_S)
            if time.monotonic() > deadline:
                raise HarnessError(f"requests without an answer after {timeout_s} s")

    def paced(self, members: Sequence[Member], rate: float, seconds: float, act: Callable[[Member], None]) -> int:
        """`act` on one member after the other at `rate` a second, whatever the answers do; how many acts.

        A member whose last answer is still out is passed over: it will be its turn again.
        """
        began = time.monotonic()
        count = passed = 0
        while True:
            now = time.monotonic() - began
            due = int(now * rate)
            while count < due:
                member = members[count % len(members)]
                if member.asked or not member.stable:
                    passed += 1
                else:
                    act(member)
                count += 1
            if now >= seconds:
                return count - passed
            self.poll((count + 1) / rate - (time.monotonic() - began))
