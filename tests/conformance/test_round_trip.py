"""What a real client wrote comes back byte for byte: to the same client, and to every other one.

Default: 20,000 records per client and codec. `--full` (PYSTREAM_TEST_FULL=1): a million.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.conformance import wire
from tests.conformance.clients import CLIENTS, Client
from tests.conformance.conftest import NewTopicName
from tests.conformance.records import CODECS, PARTITIONS, Placed, Record, feed, generate

DEFAULT_RECORDS = 20_000
FULL_RECORDS = 1_000_000
CROSS_RECORDS_PER_CODEC = 500
SLOWEST_RECORDS_PER_SECOND = 2_000
CLOCK_SLACK_MS = 60_000

# reading and writing a million records takes the slowest client longer than the limit of other tests
pytestmark = pytest.mark.timeout(3_600)

ClientOf = Callable[[str], Client]


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
        assert abs(got.record.timestamp_ms - time.time() * 1_000) < CLOCK_SLACK_MS + time_for(FULL_RECORDS) * 1_000
        expected = expected._replace(timestamp_ms=got.record.timestamp_ms)
    assert got.record == expected, f"partition {got.partition}, offset {got.offset}"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_reads_back_what_it_wrote(
    name: str, codec: str, bootstrap: str, new_topic: NewTopicName, client_of: ClientOf, full: bool
) -> None:
    client = client_of(name)
    count = FULL_RECORDS if full else DEFAULT_RECORDS
    topic = new_topic(f"{name}-{codec}", partitions=PARTITIONS)

    write(client, bootstrap, topic, codec, count)

    expected = [map(client.writes, generate(partition, count // PARTITIONS)) for partition in range(PARTITIONS)]
    read_and_compare(client, bootstrap, topic, expected, count)
    stored = wire.stored_codecs(bootstrap, topic, partition=0)
    assert codec in stored
    assert stored <= {codec, "none"}, "a client leaves out a compression that does not pay, and takes no other"


@pytest.fixture(scope="module")
def written_by(bootstrap: str, new_topic: NewTopicName, client_of: ClientOf) -> Callable[[str], str]:
    """The topic that a client has filled, codec after codec; filled on first use."""
    topics: dict[str, str] = {}

    def topic_of(name: str) -> str:
        if name not in topics:
            topic = new_topic(f"cross-{name}", partitions=PARTITIONS)
            for codec in CODECS:
                write(client_of(name), bootstrap, topic, codec, CROSS_RECORDS_PER_CODEC)
            topics[name] = topic
        return topics[name]

    return topic_of


@pytest.mark.parametrize("reader", CLIENTS)
@pytest.mark.parametrize("writer", CLIENTS)
def test_a_client_reads_what_another_wrote(
    writer: str, reader: str, bootstrap: str, written_by: Callable[[str], str], client_of: ClientOf
) -> None:
    def again(partition: int) -> Iterator[Record]:
        for _ in CODECS:
            yield from map(client_of(writer).writes, generate(partition, CROSS_RECORDS_PER_CODEC // PARTITIONS))

    expected = [again(partition) for partition in range(PARTITIONS)]
    read_and_compare(client_of(reader), bootstrap, written_by(writer), expected, CROSS_RECORDS_PER_CODEC * len(CODECS))
