"""Share consumers: librdkafka's in this process, the Java client's in processes of their own, told line by line."""

from __future__ import annotations

import os
import select
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import AcknowledgeType, KafkaException, ShareConsumer

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


class ShareMember(ABC):
    """A share consumer with explicit acknowledgement, of any client."""

    @abstractmethod
    def poll(self, milliseconds: int = POLL_MS) -> list[Delivery]: ...

    @abstractmethod
    def say(self, what: str, deliveries: Iterable[Delivery]) -> None:
        """`what`: accept, release, reject, or renew."""

    @abstractmethod
    def commit(self) -> str:
        """What became of the acknowledgements of each partition: "0:ok 1:ok"."""

    @abstractmethod
    def close(self) -> None:
        """Leave in an orderly way."""

    @abstractmethod
    def give_up(self) -> None:
        """End, whatever state it is in."""

    def poll_until(self, seconds: float = ANSWER_SECONDS) -> list[Delivery]:
        """The first poll that gives records. Raises AssertionError when none does in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.poll()
            if found:
                return found
        raise AssertionError(f"no records in {seconds} s")

    def accept(self, deliveries: Iterable[Delivery]) -> None:
        """Accept and commit. Raises AssertionError unless all of it is done."""
        self.say("accept", deliveries)
        results = self.commit().split()
        assert all(result.endswith(":ok") for result in results), results

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_up()


class LibrdkafkaShareMember(ShareMember):
    """confluent-kafka's ShareConsumer. It cannot renew."""

    def __init__(self, bootstrap: str, group: str, topic: str, **settings: str) -> None:
        told = {"bootstrap.servers": bootstrap, "group.id": group, "share.acknowledgement.mode": "explicit"}
        self._consumer: ShareConsumer | None = ShareConsumer(
            {**told, **{key.replace("_", "."): value for key, value in settings.items()}}
        )
        self._topic = topic
        self._consumer.subscribe([topic])

    def poll(self, milliseconds: int = POLL_MS) -> list[Delivery]:
        assert self._consumer is not None
        found = []
        for message in self._consumer.poll(milliseconds / 1_000):
            assert message.error() is None, message.error()
            value = (message.value() or b"").decode()
            found.append(Delivery(message.partition(), message.offset(), message.delivery_count(), value))
        return found

    def say(self, what: str, deliveries: Iterable[Delivery]) -> None:
        assert self._consumer is not None
        for delivery in deliveries:
            kind = AcknowledgeType[what.upper()]
            self._consumer.acknowledge_offset(self._topic, delivery.partition, delivery.offset, kind)

    def commit(self) -> str:
        assert self._consumer is not None
        results = self._consumer.commit_sync(float(ANSWER_SECONDS))
        return " ".join(f"{found.partition}:{_name(error)}" for found, error in results.items())

    def close(self) -> None:
        assert self._consumer is not None
        self._consumer.close()
        self._consumer = None

    def give_up(self) -> None:
        if self._consumer is not None:
            self.close()


def _name(error: KafkaException | None) -> str:
    return "ok" if error is None else str(error.args[0].name())


class JavaShareMember(ShareMember):
    """A KafkaShareConsumer."""

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

    def say(self, what: str, deliveries: Iterable[Delivery]) -> None:
        names = [delivery.name for delivery in deliveries]
        if names:
            assert self.ask(what, *names) == "ok"

    def commit(self) -> str:
        return self.ask("commit")

    def close(self) -> None:
        """Leave in an orderly way."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(CLOSE_SECONDS) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def give_up(self) -> None:
        if self._process.poll() is None:
            self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
