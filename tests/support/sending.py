"""An accumulator of one topic, and what a sender does with it."""

from __future__ import annotations

import time

from pystream._native import batch as batch_header
from pystream._native.accumulator import Accumulator
from pystream._native.delivery import ProducerBatch
from pystream._native.record_reader import Record, RecordReader

LATER = 1 << 40
"""Behind every linger and every back-off of these tests."""


def now() -> int:
    return time.monotonic_ns() // 1_000_000


def accumulator(partitions: int = 1, **options: object) -> Accumulator:
    made = Accumulator(**{"delivery_timeout_ms": LATER * 4, **options})
    made.set_topic("t", partitions)
    return made


def records_of(batch: ProducerBatch) -> list[Record]:
    batch_header.validate(bytes(batch))
    return list(RecordReader(batch))


def drained(buffer: Accumulator, now_ms: int = LATER) -> list[ProducerBatch]:
    """Everything that is ready, in flight."""
    found = []
    while ready := buffer.ready(now_ms):
        found += [batch for topic, partition in ready if (batch := buffer.drain(topic, partition, now_ms))]
    return found


def only(buffer: Accumulator) -> ProducerBatch:
    (batch,) = drained(buffer)
    return batch
