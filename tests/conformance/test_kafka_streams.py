"""Kafka Streams, exactly once: a word count whose broker stops and dies under it, with every count right."""

from __future__ import annotations

import itertools
import os
import random
import selectors
import struct
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path
from types import TracebackType

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance import java
from tests.support.broker_process import BrokerProcess

SECONDS = 120
LINES = 600  # in each of the three parts
PARTITIONS = 2
WORDS = [f"word{number}" for number in range(40)]
SETTINGS = {
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
}

pytestmark = pytest.mark.timeout(600)


class WordCount:
    """The Java program in a process of its own; `said` is what it has printed."""

    def __init__(self, bootstrap: str, directory: Path, protocol: str) -> None:
        self.said: list[str] = []
        program = [*java.command(), "-cp", f"{java.class_path()}:{java.compiled('ExactlyOnce')}", "ExactlyOnce"]
        arguments = [bootstrap, "lines", "counts", "word-count", str(directory), protocol]
        self._process = subprocess.Popen(
            [*program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def until_running(self) -> None:
        """Return once it processes records; what it printed before does not count."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while "state RUNNING" not in self.said:
                assert selector.select(deadline - time.monotonic()), f"not running: {self.said}"
                self.said += os.read(self._process.stdout.fileno(), 1 << 16).decode().splitlines()

    def errors(self) -> list[str]:
        """Stop it; the errors that it has printed."""
        rest, _ = self._process.communicate(timeout=SECONDS)
        self.said += rest.decode().splitlines()
        return [line for line in self.said if line.startswith("error ")]

    def __enter__(self) -> WordCount:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


class Lines:
    """Lines of random words, the same ones in each run, and how often each word was in them."""

    def __init__(self, bootstrap: str) -> None:
        self.words: Counter[str] = Counter()
        self._random = random.Random(4)
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 1})

    def send(self, count: int) -> None:
        """Return when all of them are acknowledged."""
        for number in range(count):
            words = self._random.choices(WORDS, k=5)
            self.words.update(words)
            self._producer.produce("lines", " ".join(words), partition=number % PARTITIONS)
            self._producer.poll(0)
        assert self._producer.flush(SECONDS) == 0


class Counts:
    """The committed output: for each word the counts in the order in which they came."""

    def __init__(self, bootstrap: str) -> None:
        self.found: dict[str, list[int]] = defaultdict(list)
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        self._consumer.assign([TopicPartition("counts", number, OFFSET_BEGINNING) for number in range(PARTITIONS)])

    def read(self, total: int) -> None:
        """Until there are `total` of them."""
        deadline = time.monotonic() + SECONDS
        while sum(map(len, self.found.values())) < total:
            assert time.monotonic() < deadline, f"{sum(map(len, self.found.values()))} of {total} counts came"
            self._take(0.5)

    def rest(self) -> None:
        """What more there is."""
        self._take(3.0)
        self._consumer.close()

    def _take(self, seconds: float) -> None:
        for message in self._consumer.consume(1_000, seconds):
            if message.error() is None:
                (count,) = struct.unpack(">q", message.value())
                self.found[message.key().decode()].append(count)


@pytest.mark.parametrize("protocol", ["classic", pytest.param("streams", marks=pytest.mark.slow)])
def test_words_are_counted_exactly_once_over_a_restart_and_a_kill_of_the_broker(tmp_path: Path, protocol: str) -> None:
    with BrokerProcess(tmp_path / "data", SETTINGS) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        topics = [NewTopic(name, num_partitions=PARTITIONS, replication_factor=1) for name in ("lines", "counts")]
        for created in admin.create_topics(topics).values():
            created.result(SECONDS)
        lines, counts = Lines(broker.bootstrap), Counts(broker.bootstrap)
        with WordCount(broker.bootstrap, tmp_path / "state", protocol) as program:
            program.until_running()
            lines.send(LINES)
            counts.read(lines.words.total() // 2)
            assert broker.terminate() == 0
            broker.start()
            lines.send(LINES)
            counts.read(lines.words.total() * 3 // 4)
            broker.kill()
            broker.start()
            lines.send(LINES)
            counts.read(lines.words.total())
            counts.rest()
            errors = program.errors()

    assert errors == []
    assert {word: len(found) for word, found in counts.found.items()} == lines.words
    wrong = {w: f for w, f in counts.found.items() if any(a + 1 != b for a, b in itertools.pairwise([0, *f]))}
    assert wrong == {}
