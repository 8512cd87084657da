"""ListOffsets 1-11 over real sockets."""

from __future__ import annotations

import pytest

from tests.unit.data_plane.conftest import PlaneUnderTest, batch
from tests.unit.data_plane.requests import list_offsets, produce

START = 1_700_000_000_000
UNSUPPORTED_VERSION, UNKNOWN = 35, 3


@pytest.fixture
def filled(plane: PlaneUnderTest) -> PlaneUnderTest:
    with plane.client() as client:
        for number in range(10):
            client.call(produce((0, batch(b"a", b"b", b"c", timestamp=START + 100 * number, codec=number % 5))), 9)
    return plane


@pytest.mark.parametrize("version", range(1, 12))
def test_every_version_tells_first_and_next_offset(filled: PlaneUnderTest, version: int) -> None:
    with filled.client() as client:
        answer = client.call(list_offsets((0, -1), (0, -2), (1, -1)), version)
    assert [part.offset for part in answer.topics[0].partitions] == [30, 0, 0]


def test_a_time_gives_the_first_record_at_or_after_it_inside_compressed_batches_too(filled: PlaneUnderTest) -> None:
    asked = [START, START + 1, START + 102, START + 103, START + 901, START + 903]
    with filled.client() as client:
        answer = client.call(list_offsets(*[(0, timestamp) for timestamp in asked]), 7)
    assert [part.offset for part in answer.topics[0].partitions] == [0, 1, 5, 6, 28, -1]
    assert answer.topics[0].partitions[2].timestamp == START + 102


def test_the_special_times(filled: PlaneUnderTest) -> None:
    with filled.client() as client:
        answer = client.call(list_offsets((0, -3), (0, -4), (0, -5), (0, -6)), 11)
    assert [part.offset for part in answer.topics[0].partitions] == [29, 0, -1, -1]
    assert answer.topics[0].partitions[0].timestamp == START + 902


def test_a_special_time_of_a_later_version_is_refused(filled: PlaneUnderTest) -> None:
    with filled.client() as client:
        answer = client.call(list_offsets((0, -3), (0, -99), (5, -1)), 6)
    assert [part.error_code for part in answer.topics[0].partitions] == [
        UNSUPPORTED_VERSION,
        UNSUPPORTED_VERSION,
        UNKNOWN,
    ]
