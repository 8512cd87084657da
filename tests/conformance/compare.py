"""Writing the generated records through a client, and holding what another gives against them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.conformance.clients import Client
from tests.conformance.records import PARTITIONS, Placed, Record, feed

SLOWEST_RECORDS_PER_SECOND = 2_000
CLOCK_SLACK_MS = 3_600_000


def time_for(count: int) -> float:
    return 60 + count / SLOWEST_RECORDS_PER_SECOND


def write(client: Client, bootstrap: str, topic: str, codec: str, count: int) -> None:
    records = (placed._replace(record=client.writes(placed.record)) for placed in feed(count))
    client.produce(bootstrap, topic, codec, records, seconds=time_for(count))


def read_and_compare(reader: Client, bootstrap: str, topic: str, expected: list[Iterator[Record]], count: int) -> None:
    """Read `count` records, spread evenly over the partitions: each must be the next expected, at the next offset."""
    next_offset = [0] * PARTITIONS
    for got in reader.consume(bootstrap, topic, [count // PARTITIONS] * PARTITIONS, seconds=time_for(count)):
        assert got.offset == next_offset[got.partition]
        next_offset[got.partition] += 1
        same(reader.shows(next(expected[got.partition])), got)
    assert next_offset == [count // PARTITIONS] * PARTITIONS


def same(expected: Record, got: Placed) -> None:
    if expected.timestamp_ms is None:
        assert got.record.timestamp_ms is not None
        assert abs(got.record.timestamp_ms - time.time() * 1_000) < CLOCK_SLACK_MS
        expected = expected._replace(timestamp_ms=got.record.timestamp_ms)
    assert got.record == expected, f"partition {got.partition}, offset {got.offset}"
