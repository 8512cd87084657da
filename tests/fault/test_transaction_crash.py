"""kill -9 inside of transactions, of the broker and of the producer: read_committed never sees a part of one.

Every record says to which transaction it belongs, its number there, and how many there are. A reader follows all the
while, through every restart; in the end confluent-kafka reads the whole topic once more. Both must see each committed
transaction whole, in order and once; none that was aborted; and of those whose end nobody was told, all or nothing.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import confluent_kafka
import pytest

import pystream
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition
from pystream.testing import ProcessBroker, broker

TOPIC = "t"
PARTITIONS = 3
PLACES = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
ROUNDS = 4
FULL_ROUNDS = 100
TRANSACTIONS_A_ROUND = 6
MOST_RECORDS = 400
LONGEST_DELAY_S = 0.03
SECONDS = 120
PRODUCER = """
import random, sys, pystream
from tests.fault.test_transaction_crash import send_one
bootstrap, first, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
generator = random.Random(seed)
producer = pystream.Producer(bootstrap_servers=bootstrap, transactional_id="crashing", linger_ms=1)
producer.init_transactions()
number = first
while True:
    print("began", number, flush=True)
    producer.begin_transaction()
    send_one(producer, number, generator.randint(1, 400))
    if generator.random() < 0.3:
        producer.abort_transaction()
        print("aborted", number, flush=True)
    else:
        producer.commit_transaction()
        print("committed", number, flush=True)
    number += 1
"""


@pytest.fixture
def b() -> Iterator[ProcessBroker]:
    with broker(process=True) as made:
        made.create_topic(TOPIC, PARTITIONS)
        yield made


def send_one(producer: pystream.Producer, number: int, size: int) -> None:
    for index in range(size):
        producer.send(TOPIC, b"%d %d %d" % (number, index, size), partition=index % PARTITIONS)


class Reader:
    """Reads committed records in a thread, across restarts of the broker, until it is told where the end is."""

    def __init__(self, bootstrap: str) -> None:
        self.values: dict[int, list[bytes]] = defaultdict(list)
        self._bootstrap = bootstrap
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._reading = self._pool.submit(self._read)

    def _read(self) -> None:
        settings = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
        with pystream.Consumer(bootstrap_servers=self._bootstrap, **settings) as consumer:
            consumer.assign(PLACES)
            while not self._stopping.is_set():
                self._take(consumer, 0.1)
            ends = consumer.end_offsets(PLACES)
            while any(consumer.position(place) < ends[place] for place in PLACES):
                self._take(consumer, 1.0)

    def _take(self, consumer: pystream.Consumer, timeout: float) -> None:
        for message in consumer.poll(timeout=timeout):
            self.values[message.partition].append(message.value)

    def finished(self) -> dict[int, list[bytes]]:
        """What it has read to the end of the log, by partition."""
        self._stopping.set()
        self._reading.result(SECONDS)
        self._pool.shutdown()
        return self.values


def read_by_confluent(bootstrap: str) -> dict[int, list[bytes]]:
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "check",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign(
        [confluent_kafka.TopicPartition(TOPIC, p, confluent_kafka.OFFSET_BEGINNING) for p in range(PARTITIONS)]
    )
    values: dict[int, list[bytes]] = defaultdict(list)
    at_end: set[int] = set()
    while len(at_end) < PARTITIONS:
        message = consumer.poll(SECONDS)
        assert message is not None
        if message.error() is None:
            values[message.partition()].append(message.value())
        else:
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            at_end.add(message.partition())
    consumer.close()
    return values


def check(values: dict[int, list[bytes]], told: dict[int, str], context: str) -> None:
    """No transaction torn, doubled or out of order; none but those that were committed, or may have been."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for partition, read in values.items():
        rows = [tuple(map(int, value.split())) for value in read]
        assert rows == sorted(rows), f"partition {partition} is out of order, {context}"
        for number, index, size in rows:
            found[number].append((index, size))
    for number, rows in found.items():
        size = rows[0][1]
        assert sorted(rows) == [(index, size) for index in range(size)], f"transaction {number} is torn, {context}"
        assert told[number] != "aborted", f"transaction {number} was aborted, {context}"
    missing = [number for number, end in told.items() if end == "committed" and number not in found]
    assert missing == [], f"committed transactions are missing, {context}"


class Crash:
    """Kills and restarts the broker, in a thread, a moment after it is told to."""

    def __init__(self, b: ProcessBroker, delay_s: float) -> None:
        self._broker = b
        self._delay_s = delay_s
        self._never = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._thread.join(SECONDS)
        assert self._broker.is_running

    def _run(self) -> None:
        self._never.wait(self._delay_s)
        self._broker.kill()
        self._broker.start()


class Writer:
    """Transactions one after the other by one producer, which is replaced where it says that it cannot go on."""

    def __init__(self, bootstrap: str, generator: random.Random) -> None:
        self.told: dict[int, str] = {}
        self.producers = 0
        self._bootstrap = bootstrap
        self._generator = generator
        self.producer = self._new()

    def _new(self) -> pystream.Producer:
        self.producers += 1
        producer = pystream.Producer(bootstrap_servers=self._bootstrap, transactional_id="writing", linger_ms=1)
        producer.init_transactions()
        return producer

    def write(self, crash: Crash | None) -> None:
        """One transaction; with a crash somewhere in it."""
        number, size = len(self.told), self._generator.randint(1, MOST_RECORDS)
        end = "aborted" if self._generator.random() < 0.3 else "committed"
        self.told[number] = "unknown"
        try:
            self.producer.begin_transaction()
            if crash is not None:
                crash.begin()
            send_one(self.producer, number, size)
            if end == "committed":
                self.producer.commit_transaction()
            else:
                self.producer.abort_transaction()
            self.told[number] = end
        except PystreamError:
            self._recover(number)

    def _recover(self, number: int) -> None:
        """It was told: an abort makes it go on, or it is fenced and another one takes over."""
        try:
            self.producer.abort_transaction()
            self.told[number] = "aborted"
        except PystreamError:
            self.producer.close()
            self.producer = self._new()


def test_no_torn_or_aborted_transaction_is_seen_when_the_broker_dies(b: ProcessBroker, full: bool):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    reader = Reader(b.bootstrap)
    writer = Writer(b.bootstrap, generator)
    rounds = FULL_ROUNDS if full else ROUNDS
    for _ in range(rounds):
        crash_in = generator.randrange(TRANSACTIONS_A_ROUND)
        crash = Crash(b, generator.random() * LONGEST_DELAY_S)
        for turn in range(TRANSACTIONS_A_ROUND):
            writer.write(crash if turn == crash_in else None)
        crash.end()
    writer.producer.close()
    assert len(writer.told) == rounds * TRANSACTIONS_A_ROUND
    assert "committed" in writer.told.values()
    print(f"{writer.producers} producers, {Counter(writer.told.values())}")
    check(reader.finished(), writer.told, f"seed {seed}")
    check(read_by_confluent(b.bootstrap), writer.told, f"confluent-kafka, seed {seed}")


def test_a_producer_that_dies_leaves_nothing_of_its_transaction(b: ProcessBroker, full: bool):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    reader = Reader(b.bootstrap)
    told: dict[int, str] = {}
    for _ in range(FULL_ROUNDS if full else ROUNDS):
        lines = run_and_kill(b.bootstrap, len(told), generator)
        for state, number in (line.split() for line in lines):
            told[int(number)] = "unknown" if state == "began" else state
    with pystream.Producer(bootstrap_servers=b.bootstrap, transactional_id="crashing") as last:
        last.init_transactions()
    assert "committed" in told.values()
    check(reader.finished(), told, f"seed {seed}")
    check(read_by_confluent(b.bootstrap), told, f"confluent-kafka, seed {seed}")


def run_and_kill(bootstrap: str, first: int, generator: random.Random) -> list[str]:
    """What a producer said until it was killed, somewhere behind its first few transactions."""
    arguments = [bootstrap, str(first), str(generator.randrange(1 << 32))]
    process = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(generator.randint(3, 12))]
    threading.Event().wait(generator.random() * LONGEST_DELAY_S)
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    return [line for line in lines if line.endswith("\n")]
