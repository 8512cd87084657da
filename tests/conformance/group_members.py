"""Members of consumer groups in processes of their own, started, watched, stopped and killed by a test."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 120


class Member:
    """`assigned` is what it has now, `read` every (partition, offset) that it has committed."""

    def __init__(
        self,
        client: str,
        bootstrap: str,
        group: str,
        topic: str,
        options: dict[str, Any],
        changes: queue.Queue[Member],
    ) -> None:
        command = [sys.executable, "-m", "tests.conformance.group_member", client, bootstrap, group, topic]
        self.name = f"{client} {options}"
        self.assigned: list[int] = []
        self.assignments = 0
        self.read: list[tuple[int, int]] = []
        self.error: str | None = None
        self._errors: list[str] = []
        self._process = subprocess.Popen(
            [*command, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.pid = self._process.pid
        self._changes = changes
        self._threads = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._collect_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if "assigned" in event:
                self.assigned = event["assigned"]
                self.assignments += 1
            self.read += [tuple(place) for place in event.get("read", [])]
            self.error = event.get("error", self.error)
            self._changes.put(self)

    def _collect_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)

    def close(self) -> None:
        """Let it close its consumer and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._end()

    def kill(self) -> None:
        """kill -9; harmless when it has ended already."""
        self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait(WAIT_SECONDS)
        for thread in self._threads:
            thread.join(WAIT_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        self.assigned = []

    def description(self) -> str:
        return f"{self.name}: has {self.assigned}, read {len(self.read)}, error {self.error}, {self._errors[-5:]}"


class Members:
    """All members of a test; whoever still runs at its end is killed."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._all: list[Member] = []
        self._changes: queue.Queue[Member] = queue.Queue()

    def __enter__(self) -> Members:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self._all:
            member.kill()

    def start(self, client: str, group: str, **options: Any) -> Member:
        member = Member(client, self._bootstrap, group, self._topic, options, self._changes)
        self._all.append(member)
        return member

    def until(self, holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Wait until something is so; looks again whenever a member says something."""
        deadline = time.monotonic() + seconds
        while not holds():
            left = deadline - time.monotonic()
            try:
                self._changes.get(timeout=max(left, 0.01))
            except queue.Empty:
                described = "\n".join(member.description() for member in self._all)
                raise AssertionError(f"not so after {seconds} s:\n{described}") from None


def share(members: Sequence[Member], partitions: int) -> bool:
    """Whether the members have all partitions between them, each once, and nobody is left without."""
    owned = sorted(partition for member in members for partition in member.assigned)
    return owned == list(range(partitions)) and all(member.assigned for member in members)
