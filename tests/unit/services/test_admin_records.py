"""What RecordService keeps of records, and the producer that it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pystream.client.admin.results import Results
from pystream.client.grpc.messages import records_pb2
from pystream.client.grpc.status import error_of
from pystream.client.producer import aio
from pystream.common.clock import SystemClock
from pystream.common.errors import ClusterAuthorizationFailed, MessageTooLarge, PystreamError
from pystream.services.admin.config import AdminServerConfig
from pystream.services.admin.records import Records, _Kept


def record(time_ms: int, size: int = 0) -> records_pb2.Record:
    return records_pb2.Record(timestamp_ms=time_ms, offset=time_ms, value=records_pb2.Payload(data=bytes(size)))


def kept_times(kept: _Kept) -> list[int]:
    return [each.timestamp_ms for each in kept.in_order()]


def test_the_newest_are_kept_whatever_their_order():
    kept = _Kept(3, 1 << 20, newest=True)
    for time_ms in (5, 1, 9, 3, 7):
        kept.add(record(time_ms))

    assert (kept_times(kept), kept.truncated, kept.is_enough) == ([5, 7, 9], False, False)


def test_the_first_are_kept_and_then_it_is_enough():
    kept = _Kept(2, 1 << 20, newest=False)
    for time_ms in (5, 1, 9):
        kept.add(record(time_ms))

    assert (kept_times(kept), kept.is_enough) == ([1, 5], True)


@pytest.mark.parametrize(("newest", "expected"), [(True, [2, 3]), (False, [0, 1])])
def test_more_bytes_than_an_answer_may_hold_are_left_out(newest: bool, expected: list[int]):
    kept = _Kept(100, 2_500, newest=newest)
    for time_ms in range(4):
        kept.add(record(time_ms, 1_000))

    assert (kept_times(kept), kept.truncated) == (expected, True)


def test_one_record_is_kept_however_large():
    kept = _Kept(10, 100, newest=True)
    kept.add(record(1, 1_000))

    assert kept_times(kept) == [1]


class Refusing:
    """A producer that raises whatever is next."""

    made = 0
    closed = 0
    errors: Iterator[PystreamError]

    def __init__(self, _: object) -> None:
        type(self).made += 1

    async def send(self, *_: object) -> Any:
        raise next(self.errors)

    async def close(self, _: float) -> None:
        type(self).closed += 1


class Topics:
    """An admin client that knows every topic."""

    async def describe_topics(self, topics: list[str]) -> Results[str, None]:
        return Results(dict.fromkeys(topics))


def test_a_producer_that_failed_for_good_is_given_up_and_one_that_refused_a_record_is_not(
    monkeypatch: pytest.MonkeyPatch,
):
    class Producer(Refusing):
        errors = iter((MessageTooLarge("one"), ClusterAuthorizationFailed("for good"), MessageTooLarge("one")))

    monkeypatch.setattr(aio, "Producer", Producer)
    request = records_pb2.ProduceRecordsRequest(topic="t", records=[{}])
    told = []

    async def work() -> None:
        records: Any = Records(Topics(), AdminServerConfig.from_settings({}), SystemClock())  # type: ignore[arg-type]
        for _ in range(3):
            (result,) = (await records.produce(request)).results
            told.append((type(error_of(result.error)).__name__, Producer.made, Producer.closed))
        await records.close()

    asyncio.run(work())

    assert told == [("MessageTooLarge", 1, 0), ("ClusterAuthorizationFailed", 1, 1), ("MessageTooLarge", 2, 1)]
    assert Producer.closed == 2
