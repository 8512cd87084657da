"""Both ends of the stream: a producer that sends payments and a consumer that reads them back and checks them.

    generator -> Producer.send -> topic, one partition per card -> Consumer.receive -> Received.check

The consumer assigns itself every partition at the offset where it ended before the run, so that a topic may hold
earlier runs and no group is needed. The key is the card: payments of a card stay in order, all together do not.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pystream.client import AdminClient, Consumer, Producer
from pystream.client.admin.topics import NewTopic
from pystream.common.errors import PystreamError, TopicAlreadyExists
from pystream.common.model import TopicPartition
from pystream.demos.payments import generator
from pystream.demos.payments.generator import Payment

REPORT_EVERY = 512  # events between two reports of progress
POLL_EVENTS = 2000
FIRST_ANSWER_SECONDS = 10  # nobody there?
REQUEST_TIMEOUT_SECONDS = 30
SILENCE_SECONDS = 30  # a consumer that hears nothing for so long gives up

# progress(records, bytes) of what was done since the last report
Progress = Callable[[int, int], None]


class DemoFailed(Exception):
    """The stream did not come through: what was expected, and what came."""


@dataclass(slots=True)
class Traffic:
    """How much went one way, and how long it took."""

    records: int = 0
    size_bytes: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        seconds = max(self.seconds, 1e-9)
        return (
            f"{self.records:,} records in {self.seconds:.2f} s: "
            f"{self.records / seconds:,.0f} records/s, {self.size_bytes / seconds / 1e6:.1f} MB/s"
        )


def ensure_topic(bootstrap: str, topic: str, *, partitions: int) -> None:
    """Create the topic unless it is there. Raises DemoFailed when the broker refuses or does not answer.

    Records carry the time of their payment, long past: retention by time would delete them as they come.
    """
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1, configs={"retention.ms": "-1"})
    with AdminClient({"bootstrap.servers": bootstrap}) as admin:
        try:
            admin.create_topics([wanted], timeout_ms=FIRST_ANSWER_SECONDS * 1000).checked()
        except TopicAlreadyExists:
            return
        except PystreamError as error:
            raise DemoFailed(f"cannot create topic {topic} at {bootstrap}: {error}") from None


class PaymentSource:
    """Sends payments to a topic, keyed by card; each is acknowledged by all in-sync replicas, none twice."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._refused: list[BaseException] = []
        self._producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "lz4", "linger.ms": 5})

    def send(self, payments: Iterable[Payment], progress: Progress) -> Traffic:
        """Send all, wait until all are acknowledged. Raises DemoFailed when one was not."""
        traffic = Traffic()
        began = time.perf_counter()
        reported = Traffic()
        for payment in payments:
            line = generator.line(payment)
            self._send(payment["card_id"].encode(), line, payment["ts"])
            traffic.records += 1
            traffic.size_bytes += len(line)
            if traffic.records % REPORT_EVERY == 0:
                progress(traffic.records - reported.records, traffic.size_bytes - reported.size_bytes)
                reported = Traffic(traffic.records, traffic.size_bytes)
        try:
            self._producer.flush(REQUEST_TIMEOUT_SECONDS)
        except PystreamError as error:
            raise DemoFailed(f"payments were not acknowledged: {error}") from None
        progress(traffic.records - reported.records, traffic.size_bytes - reported.size_bytes)
        traffic.seconds = time.perf_counter() - began
        if self._refused:
            reasons = ", ".join(sorted({str(error) for error in self._refused}))
            raise DemoFailed(f"{len(self._refused)} payments were not acknowledged: {reasons}")
        return traffic

    def close(self) -> None:
        """Let go of the connections."""
        self._producer.close(REQUEST_TIMEOUT_SECONDS)

    def _send(self, key: bytes, value: bytes, timestamp_ms: int) -> None:
        """Waits while the client's memory is full."""
        try:
            delivery = self._producer.send(self._topic, value, key, timestamp=timestamp_ms)
        except PystreamError as error:
            raise DemoFailed(f"a payment was not taken: {error}") from None
        delivery.add_callback(self._delivered)

    def _delivered(self, delivery: Any) -> None:
        error = delivery.exception(0)
        if error is not None:
            self._refused.append(error)


@dataclass(slots=True)
class Received:
    """What came back, in the order it came; looked into only when the stream is over."""

    messages: list[tuple[bytes, bytes]] = field(default_factory=list)

    def add(self, key: bytes, value: bytes) -> None:
        self.messages.append((key, value))

    def digest(self) -> str:
        """SHA-256 of the lines in the order they were made."""
        digest = hashlib.sha256()
        for _, value in sorted((number_of(value), value) for _, value in self.messages):
            digest.update(value + b"\n")
        return digest.hexdigest()

    def check(self, *, events: int, digest: str) -> None:
        """Raises DemoFailed unless exactly these events came, each once, each card's in order."""
        seen: set[str] = set()
        last_of_card: dict[bytes, str] = {}
        twice = out_of_order = 0
        for key, value in self.messages:
            number = number_of(value)
            twice += number in seen
            out_of_order += number < last_of_card.get(key, "")
            seen.add(number)
            last_of_card[key] = number
        if (len(seen), twice, out_of_order) != (events, 0, 0):
            raise DemoFailed(
                f"{len(seen):,} of {events:,} payments came back, {twice:,} of them twice, "
                f"{out_of_order:,} out of order on their card"
            )
        if (found := self.digest()) != digest:
            raise DemoFailed(f"what came back has SHA-256 {found}, what was sent has {digest}")


def number_of(line: bytes) -> str:
    """The txn_id of a payment: t0000000 and up, so that text order is the order of making."""
    number: str = json.loads(line)["txn_id"]
    return number


class PaymentSink:
    """Reads a topic from where it ended when this object was made."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._given_up = threading.Event()
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "fetch.max.wait.ms": 100})
        try:
            with AdminClient({"bootstrap.servers": bootstrap}) as admin:
                described = admin.describe_topics([topic], timeout_ms=REQUEST_TIMEOUT_SECONDS * 1000).result(topic)
            partitions = [TopicPartition(topic, each.partition) for each in described.partitions]
            ends = self._consumer.end_offsets(partitions, timeout=REQUEST_TIMEOUT_SECONDS)
            self._consumer.assign(partitions)
            for partition, end in ends.items():
                self._consumer.seek(partition, end)
        except PystreamError as error:
            self._consumer.close()
            raise DemoFailed(f"cannot read topic {topic} at {bootstrap}: {error}") from None

    def give_up(self) -> None:
        """Let receive() end within a second: there is nothing more to come. Safe from another thread."""
        self._given_up.set()

    def receive(self, events: int, progress: Progress) -> tuple[Received, Traffic]:
        """Read so many events, then close. Raises DemoFailed after a long silence or on an error of the broker."""
        received, traffic = Received(), Traffic()
        began = last = time.perf_counter()
        try:
            while traffic.records < events:
                messages = self._consumer.poll(1.0, max_records=min(POLL_EVENTS, events - traffic.records))
                silence_seconds = time.perf_counter() - last
                if not messages and (silence_seconds > SILENCE_SECONDS or self._given_up.is_set()):
                    raise DemoFailed(f"{traffic.records:,} of {events:,} payments came, then silence")
                size_bytes = 0
                for message in messages:
                    value = message.value or b""
                    received.add(message.key or b"", value)
                    size_bytes += len(value)
                if messages:
                    last = time.perf_counter()
                    traffic.records += len(messages)
                    traffic.size_bytes += size_bytes
                    progress(len(messages), size_bytes)
        except PystreamError as error:
            raise DemoFailed(f"the consumer was told: {error}") from None
        finally:
            self._consumer.close()
        traffic.seconds = time.perf_counter() - began
        return received, traffic
