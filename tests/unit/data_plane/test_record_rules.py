"""What of a producer's records and header is taken as it is, put right or refused, record by record."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pystream._native.crc32c import crc32c
from tests.unit.data_plane.conftest import PlaneUnderTest, batch
from tests.unit.data_plane.requests import produce

LIST_TOO_LARGE, INVALID_TIMESTAMP, INVALID_RECORD = 18, 32, 87
DAY_MS = 86_400_000
NOW_MS = time.time_ns() // 1_000_000  # a day is near enough to it, 400 days are not


def sealed(data: bytes, position: int, value: bytes) -> bytes:
    """The batch with other bytes at `position`, under a CRC that is right."""
    changed = bytearray(data)
    changed[position : position + len(value)] = value
    changed[17:21] = crc32c(bytes(changed[21:])).to_bytes(4, "big")
    return bytes(changed)


@pytest.mark.parametrize("told", [-1, 1, NOW_MS + 400 * DAY_MS], ids=["none", "early", "late"])
def test_a_header_with_another_highest_time_than_its_records_is_put_right(plane: PlaneUnderTest, told: int) -> None:
    plane.logs[0].update_config(flush_policy="os", timestamp_after_max_ms=DAY_MS)
    sent = batch(b"a", b"b", timestamp=NOW_MS)
    with plane.client() as client:
        answer = client.call(produce((0, sealed(sent, 35, told.to_bytes(8, "big", signed=True)))), 9)
    assert answer.responses[0].partition_responses[0].error_code == 0
    assert plane.logs[0].read(offset=0)[16:] == sent[16:]
    assert plane.logs[0].offset_for_timestamp(NOW_MS + 1) == (NOW_MS + 1, 1, 0)


def test_a_time_too_late_does_not_pass_behind_a_header_that_hides_it(plane: PlaneUnderTest) -> None:
    plane.logs[0].update_config(flush_policy="os", timestamp_after_max_ms=DAY_MS)
    late = batch(b"a", timestamp=NOW_MS + 400 * DAY_MS)
    with plane.client() as client:
        answer = client.call(produce((0, sealed(late, 35, NOW_MS.to_bytes(8, "big")))), 9)
    part = answer.responses[0].partition_responses[0]
    assert (part.error_code, [error.batch_index for error in part.record_errors]) == (INVALID_TIMESTAMP, [0])
    assert plane.logs[0].end_offset == 0


@pytest.mark.parametrize("codec", [0, 1])
def test_only_the_broker_says_that_a_time_is_that_of_the_append(plane: PlaneUnderTest, codec: int) -> None:
    """Source: LogValidator.validateTimestamp; where the producer's times count they are kept, as CreateTime."""
    sent = batch(b"a", b"b", timestamp=NOW_MS, codec=codec)
    forged = sealed(sealed(sent, 22, bytes([codec | 8])), 35, (NOW_MS - 5).to_bytes(8, "big"))
    plane.logs[1].update_config(flush_policy="os", log_append_time=True)
    with plane.client() as client:
        answer = client.call(produce((0, forged), (1, forged)), 9)
    assert [part.error_code for part in answer.responses[0].partition_responses] == [0, INVALID_TIMESTAMP]
    assert plane.logs[0].read(offset=0)[16:] == sent[16:]
    assert plane.logs[1].end_offset == 0


def test_an_answer_tells_of_so_many_refused_records_only(plane: PlaneUnderTest) -> None:
    """A small compressed batch can stand for millions of records, all of which break a rule."""
    plane.logs[0].update_config(flush_policy="os", require_keys=True)
    plane.logs[1].update_config(flush_policy="os", require_keys=True)
    many = batch(*[b""] * 6_000, codec=1)
    with plane.client() as client:
        answer = client.call(produce((0, many), (1, many), (1, many)), 9)
    parts = answer.responses[0].partition_responses
    assert [(part.error_code, len(part.record_errors)) for part in parts] == [
        (INVALID_RECORD, 6_000),
        (INVALID_RECORD, 4_000),
        (INVALID_RECORD, 0),
    ]
    assert [part.record_errors[-1].batch_index for part in parts[:2]] == [5_999, 3_999]


def test_a_batch_that_no_segment_may_hold_is_refused(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(segment_bytes=1 << 14)
    with plane.client() as client:
        answer = client.call(produce((0, batch(b"v" * (1 << 14))), (1, batch(b"v" * 16_000))), 9)
    assert [part.error_code for part in answer.responses[0].partition_responses] == [LIST_TOO_LARGE, 0]
    assert plane.logs[0].end_offset == 0


def test_a_batch_counts_against_the_segment_as_its_topic_stores_it(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(segment_bytes=1 << 14)
    plane.logs[0].update_config(flush_policy="os", segment_bytes=1 << 14, codec="gzip")
    packed = batch(b"v" * (1 << 14), codec=1)
    plane.logs[1].update_config(flush_policy="os", segment_bytes=1 << 14, codec="uncompressed")
    with plane.client() as client:
        answer = client.call(produce((0, batch(b"v" * (1 << 14))), (1, packed)), 9)
    assert [part.error_code for part in answer.responses[0].partition_responses] == [0, LIST_TOO_LARGE]
