"""Members of groups in processes of their own, so that they can be killed: confluent-kafka's and the Java client's."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from tests.conformance import java

ROOT = Path(__file__).resolve().parents[2]
CLOSE_SECONDS = 90
Partition = tuple[str, int]


class MemberProcess:
    """`assigned` and `read` are what it has said so far; `look` takes in what it has said since."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.assigned: set[Partition] = set()
        self.read: Counter[tuple[str, int, int]] = Counter()
        self.errors: list[str] = []
        self.refused_commits: list[str] = []
        self._rest = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def fileno(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def look(self) -> None:
        while True:
            try:
                data = os.read(self.fileno(), 1 << 16)
            except BlockingIOError:
                return
            if not data:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take(line.decode())

    def _take(self, line: str) -> None:
        mark, *words = line.split(" ")
        if mark == "+":
            self.assigned.add((words[0], int(words[1])))
        elif mark == "-":
            self.assigned.discard((words[0], int(words[1])))
        elif mark == "r":
            self.read[words[0], int(words[1]), int(words[2])] += 1
        elif mark == "c":
            self.refused_commits.append(" ".join(words))
        else:
            self.errors.append(line)

    def kill(self) -> None:
        """kill -9; what it has said until then is taken in."""
        self._process.kill()
        self._process.wait()
        self.look()
        self.assigned.clear()

    def leave(self) -> None:
        """Close the consumer in an orderly way; what it still says is taken in."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(CLOSE_SECONDS)
        self.look()
        self.assigned.clear()

    def __enter__(self) -> MemberProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def confluent_member(topic: str, settings: dict[str, str]) -> MemberProcess:
    command = [sys.executable, "-m", "tests.conformance.consumer_member", topic]
    return MemberProcess(command + [f"{key}={value}" for key, value in settings.items()])


def java_member(topic: str, settings: dict[str, str]) -> MemberProcess:
    path = os.pathsep.join([str(java.compiled("GroupMember")), java.class_path()])
    command = [*java.command(), "-cp", path, "GroupMember", topic]
    return MemberProcess(command + [f"{key}={value}" for key, value in settings.items()])


def wait_until(members: Iterable[MemberProcess], condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Take in what the members say until `condition` holds. Raises AssertionError after `seconds`."""
    found = list(members)
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for member in found:
            selector.register(member, selectors.EVENT_READ)
        while True:
            for member in found:
                member.look()
            if condition():
                return
            left = deadline - time.monotonic()
            state = [(sorted(member.assigned), sum(member.read.values()), member.errors) for member in found]
            assert left > 0, f"{what}: not within {seconds} s; members (assigned, read, errors): {state}"
            selector.select(min(left, 0.5))


def share(members: Iterable[MemberProcess], everything: set[Partition]) -> bool:
    """Whether the members have all partitions among them, each one once, in even shares."""
    shares = [member.assigned for member in members]
    return (
        sum(map(len, shares)) == len(everything)
        and set().union(*shares) == everything
        and max(map(len, shares)) - min(map(len, shares)) <= 1
    )
