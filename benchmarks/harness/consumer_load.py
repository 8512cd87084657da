"""Members of consumer groups of the new protocol (KIP-848), in place of the classic ones of `group_load`.

A member heartbeats; what it is told to have it has at once, and reports with the next one. ConsumerGroupHeartbeat 1.
"""

from __future__ import annotations

import struct
import time

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.group_load import AGAIN, OK, GroupLoad, Member, compact
from benchmarks.harness.wire import CLIENT_ID, Parser

HEARTBEAT = 68
VERSION = 1
JOINING = 0
REBALANCE_TIMEOUT_MS = 45_000
QUIET_ROUNDS = 2
HEADER = struct.Struct(">ihhih")
NO_TOPIC_PARTITIONS = b"\x01"


class ConsumerLoad(GroupLoad):
    """All members of all groups. A member's `generation` is its epoch."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._owned: dict[Member, bytes] = {}

    def join(self, member: Member) -> None:
        member.member_id = f"{member.group.name}-{member.number}"
        member.generation = JOINING
        self._owned[member] = NO_TOPIC_PARTITIONS
        topics = b"\x02" + compact("bench")
        self._ask(member, REBALANCE_TIMEOUT_MS, topics, NO_TOPIC_PARTITIONS)

    def report(self, member: Member) -> None:
        """A heartbeat that says what the member has."""
        self._ask(member, -1, b"\x00", self._owned[member])

    def beat(self, member: Member) -> None:
        self._send(member, HEARTBEAT, member.heartbeat)

    def _ask(self, member: Member, rebalance_timeout_ms: int, topics: bytes, owned: bytes) -> None:
        self._send(member, HEARTBEAT, _frame(member, rebalance_timeout_ms, topics, owned))

    def _take(self, member: Member, key: int, data: bytes) -> None:
        if key != HEARTBEAT:
            super()._take(member, key, data)
            return
        took_s = time.monotonic() - member.sent_s
        code = int.from_bytes(data[13:15], "big")  # after size, correlation, tags, throttle
        if code in AGAIN:
            member.stable = False
            return
        self._note(self.heartbeats, took_s, code)
        if code != OK:
            raise HarnessError(f"ConsumerGroupHeartbeat of {member.group.name}: code {code}")
        answer = Parser(data)
        answer.position = 15
        for _ in range(2):  # the error message and the member id, both short
            size = max(answer.number(">B"), 1) - 1
            answer.position += size
        epoch, _ = answer.take(">ii")
        if answer.number(">b") >= 0:
            self._owned[member] = data[answer.position : -2]  # the array without the tags of the assignment and the end
            member.stable = False
        elif epoch == member.generation:
            member.stable = True
        if epoch != member.generation or not member.heartbeat:
            member.generation = epoch
            member.heartbeat = _frame(member, -1, b"\x00", b"\x00")

    def form_all(self, timeout_s: float) -> None:
        """Join all members, and let them heartbeat until nobody is told anything new."""
        deadline = time.monotonic() + timeout_s
        members = [member for group in self.groups for member in group.members]
        for member in members:
            self.join(member)
            self.poll(0)
        self.settle(timeout_s)
        quiet = 0
        while quiet < QUIET_ROUNDS:
            for member in members:
                self.report(member) if member.member_id and member.generation else self.join(member)
                self.poll(0)
            self.settle(timeout_s)
            quiet = quiet + 1 if all(member.stable for member in members) else 0
            if time.monotonic() > deadline:
                raise HarnessError(f"members still move after {timeout_s} s")


def _frame(member: Member, rebalance_timeout_ms: int, topics: bytes, owned: bytes) -> bytes:
    body = compact(member.group.name) + compact(member.member_id) + struct.pack(">i", member.generation)
    body += b"\x00\x00" + struct.pack(">i", rebalance_timeout_ms)  # no instance, no rack
    body += topics + b"\x00\x00" + owned + b"\x00"  # no regular expression, no assignor
    rest = CLIENT_ID + b"\x00" + body
    return HEADER.pack(HEADER.size - 4 + len(rest), HEARTBEAT, VERSION, 1, len(CLIENT_ID)) + rest
