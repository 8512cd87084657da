"""Share consumers of the Java client in processes of their own, told line by line what to do."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple

from tests.conformance import java

ANSWER_SECONDS = 60
CLOSE_SECONDS = 60
POLL_MS = 500


class Delivery(NamedTuple):
    """A record as the consumer got it."""

    partition: int
    offset: int
    count: int
    value: str

    @property
    def name(self) -> str:
        return f"{self.partition}:{self.offset}"


class ShareMember:
    """A KafkaShareConsumer with explicit acknowledgement."""

    def __init__(self, bootstrap: str, group: str, topic: str, **settings: str) -> None:
        path = os.pathsep.join([str(java.compiled("ShareMember")), java.class_path()])
        told = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            **{k.replace("_", "."): v for k, v in settings.items()},
        }
        command = [
            *java.command(),
            "-cp",
            path,
            "ShareMember",
            topic,
            *(f"{key}={value}" for key, value in told.items()),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *words: str) -> str:
        """The answer to a command. Raises AssertionError when the consumer fails or says nothing."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(words).encode() + b"\n")
        process.stdin.flush()
        readable, _, _ = select.select([process.stdout], [], [], ANSWER_SECONDS)
        assert readable, f"no answer to {words} in {ANSWER_SECONDS} s"
        answer = process.stdout.readline().decode().rstrip("\n")
        assert not answer.startswith("!"), f"{words}: {answer}"
        return answer

    def poll(self, milliseconds: int = POLL_MS) -> list[Delivery]:
        fields = (word.split(":", 3) for word in self.ask("poll", str(milliseconds)).split())
        return [Delivery(int(partition), int(offset), int(count), value) for partition, offset, count, value in fields]

    def poll_until(self, seconds: float = ANSWER_SECONDS) -> list[Delivery]:
        """The first poll that gives records. Raises AssertionError when none does in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.poll()
            if found:
                return found
        raise AssertionError(f"no records in {seconds} s")

    def say(self, what: str, deliveries: Iterable[Delivery]) -> None:
        names = [delivery.name for delivery in deliveries]
        if names:
            assert self.ask(what, *names) == "ok"

    def commit(self) -> str:
        """What became of the acknowledgements of each partition: "0:ok 1:ok"."""
        return self.ask("commit")

    def accept(self, deliveries: Iterable[Delivery]) -> None:
        """Accept and commit. Raises AssertionError unless all of it is done."""
        self.say("accept", deliveries)
        results = self.commit().split()
        assert all(result.endswith(":ok") for result in results), results

    def close(self) -> None:
        """Leave in an orderly way."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(CLOSE_SECONDS) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> ShareMember:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
