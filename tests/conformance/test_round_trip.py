"""What a real client wrote comes back byte for byte: to the same client, and to every other one.

Default: 20,000 records per client and codec. `--full` (PYSTREAM_TEST_FULL=1): a million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conformance import wire
from tests.conformance.clients import CLIENTS, Client
from tests.conformance.compare import read_and_compare, write
from tests.conformance.conftest import NewTopicName
from tests.conformance.records import CODECS, PARTITIONS, Record, generate

DEFAULT_RECORDS = 20_000
FULL_RECORDS = 1_000_000
CROSS_RECORDS_PER_CODEC = 500

# reading and writing a million records takes the slowest client longer than the limit of other tests
pytestmark = pytest.mark.timeout(3_600)

ClientOf = Callable[[str], Client]


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
