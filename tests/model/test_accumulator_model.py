"""The accumulator between random work and a network that loses things, against what a log must look like.

The broker keeps Kafka's rule for idempotent producers: a batch is appended when its sequence follows the last one
of its epoch, answered as a duplicate when it is there already, refused as out of order otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pystream._native import batch as batch_header
from pystream._native.accumulator import Accumulator
from pystream._native.delivery import Delivery, ProducerBatch
from pystream._native.record_reader import RecordReader
from pystream.common import errors

LIMIT_BYTES = 60_000
SPLIT_BYTES = 8_000  # what the parts of one batch take above it
MAX_IN_FLIGHT = 5
PRODUCER_ID = 9
LATER = 1 << 40


@dataclass
class Log:
    """One partition on the broker."""

    values: list[bytes | None] = field(default_factory=list)
    epoch: int = -1
    next_sequence: int = 0
    seen: dict[tuple[int, int], int] = field(default_factory=dict)

    def append(self, data: bytes) -> int:
        """The base offset; raises what Kafka answers."""
        header = batch_header.validate(data)
        key = (header.producer_epoch, header.base_sequence)
        if key in self.seen:
            return self.seen[key]
        if header.producer_epoch < self.epoch:
            raise errors.InvalidProducerEpoch(f"{header.producer_epoch} after {self.epoch}")
        expected = self.next_sequence if header.producer_epoch == self.epoch else 0
        if header.base_sequence != expected:
            raise errors.OutOfOrderSequenceNumber(f"{header.base_sequence} instead of {expected}")
        self.epoch, self.next_sequence = header.producer_epoch, expected + header.record_count
        self.seen[key] = len(self.values)
        self.values += [record.value for record in RecordReader(data)]
        return self.seen[key]


class World:
    """One producer, its network and its broker; `draw` decides what goes wrong."""

    def __init__(self, data: st.DataObject, partitions: int, codec: int) -> None:
        self.data = data
        self.buffer = Accumulator(
            limit_bytes=LIMIT_BYTES,
            batch_bytes=400,
            codec=codec,
            max_request_bytes=2_000,
            delivery_timeout_ms=LATER * 8,
        )
        self.buffer.set_topic("t", partitions)
        self.buffer.set_producer(PRODUCER_ID, 0)
        self.logs = [Log() for _ in range(partitions)]
        self.flying: list[tuple[ProducerBatch, bytes]] = []
        self.sent: list[tuple[bytes, Delivery]] = []
        self.order: dict[int, list[bytes]] = {partition: [] for partition in range(partitions)}
        self.number = 0
        self.splits = 0

    def choose(self, *choices: object) -> object:
        return self.data.draw(st.sampled_from(choices))

    def value(self) -> bytes:
        self.number += 1
        return b"%d:" % self.number + bytes(self.data.draw(st.integers(0, 300)))

    def append(self) -> None:
        value = self.value()
        partition = self.data.draw(st.integers(0, len(self.logs) - 1))  # the sticky partitioner goes by chance
        key = self.choose(None, b"a", b"b", b"c")
        delivery = self.buffer.append("t", value, key, partition=partition if key is None else -1)
        if delivery is not None:
            self.sent.append((value, delivery))
            self.order[delivery.partition].append(value)

    def append_many(self) -> None:
        partition = self.data.draw(st.integers(0, len(self.logs) - 1))
        values = [self.value() for _ in range(self.data.draw(st.integers(1, 8)))]
        taken = self.buffer.append_many("t", values, partition=partition).taken
        self.order[partition] += values[:taken]

    def send(self) -> None:
        for topic, partition in self.buffer.ready(LATER):
            while self.buffer.in_flight(topic, partition) < MAX_IN_FLIGHT:
                batch = self.buffer.drain(topic, partition, LATER)
                if batch is None:
                    break
                self.flying.append((batch, bytes(batch)))

    def answer(self) -> None:
        """A partition's first request in flight reaches the broker, or not, and its answer the producer, or not."""
        if not self.flying:
            return
        partition = self.flying[0][0].partition
        if self.choose(True, False):
            partition = self.flying[-1][0].partition
        batch, data = next(flight for flight in self.flying if flight[0].partition == partition)
        self.flying.remove((batch, data))
        fate = self.choose("appended", "appended", "lost", "answer lost", "too large")
        if fate == "lost":
            self.buffer.retry(batch)
        elif fate != "too large" or (batch.producer_epoch, batch.base_sequence) in self.logs[partition].seen:
            self.reach_broker(batch, data, is_answered=fate == "appended")
        elif self.buffer.split(batch) == 0:
            self.buffer.retry(batch)
        else:
            self.splits += 1

    def reach_broker(self, batch: ProducerBatch, data: bytes, *, is_answered: bool) -> None:
        try:
            base_offset = self.logs[batch.partition].append(data)
        except errors.OutOfOrderSequenceNumber:
            self.buffer.retry(batch)
            return
        if is_answered:
            self.buffer.complete(batch, base_offset)
        else:
            self.buffer.retry(batch)

    def settle(self) -> None:
        """Everything is delivered in the end."""
        self.buffer.begin_flush()
        for _ in range(10_000):
            self.send()
            if not self.flying:
                break
            batch, data = self.flying.pop(0)
            self.reach_broker(batch, data, is_answered=True)
        self.buffer.end_flush()

    def check(self) -> None:
        assert self.buffer.used_bytes <= LIMIT_BYTES + SPLIT_BYTES * self.splits
        assert self.buffer.in_flight_batches == len(self.flying)
        incomplete = sum(batch.record_count for batch in self.buffer.incomplete())
        flying = sum(batch.record_count for batch, _ in self.flying)
        assert self.buffer.queued_records == incomplete - flying

    def check_end(self) -> None:
        for partition, log in enumerate(self.logs):
            assert log.values == self.order[partition]
        for value, delivery in self.sent:
            assert delivery.done()
            assert self.logs[delivery.partition].values[delivery.offset] == value
        assert (self.buffer.used_bytes, self.buffer.queued_records, self.buffer.in_flight_batches) == (0, 0, 0)


@given(st.data(), st.integers(1, 3), st.sampled_from((0, 0, 4)))
def test_each_record_is_in_the_log_once_and_in_order_whatever_is_lost(data, partitions, codec):
    world = World(data, partitions, codec)
    steps = (world.append, world.append, world.append, world.append_many, world.send, world.answer, world.answer)
    for _ in range(data.draw(st.integers(1, 50))):
        world.choose(*steps)()
        world.check()
    world.settle()
    world.check_end()
