"""Records that the buffer refuses leave nothing behind: no empty batch, and no sender that was not told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pystream._native.accumulator import Accumulator
from pystream._native.column_source import ColumnSource
from pystream.common import errors
from tests.support.sending import LATER, accumulator, drained, now, only, records_of

MAX_REQUEST, MEMORY = 100_000, 400_000
Refused = Callable[[Accumulator, bytes | None], object]


def column(*values: bytes) -> ColumnSource:
    offsets = memoryview(bytearray(4 * (len(values) + 1))).cast("i")
    for place, value in enumerate(values):
        offsets[place + 1] = offsets[place] + len(value)
    return ColumnSource.variable(b"".join(values), offsets)


def bad_time(buffer: Accumulator, key: bytes | None) -> object:
    return buffer.append("t", b"v", key, timestamp_ms=-7)


def bad_time_with_headers(buffer: Accumulator, key: bytes | None) -> object:
    return buffer.append("t", b"v", key, [("h", b"1")] * 100, timestamp_ms=-2)


def bad_time_of_many(buffer: Accumulator, key: bytes | None) -> object:
    return buffer.append_many("t", [b"v"] * 3, None if key is None else [key] * 3, timestamps=-7)


def bad_time_of_columns(buffer: Accumulator, key: bytes | None) -> object:
    keys = None if key is None else column(*[key] * 300)
    return buffer.append_columns("t", column(*[b"v"] * 300), keys, timestamps=-7)


def too_large(buffer: Accumulator, key: bytes | None) -> object:
    return buffer.append("t", bytes(MAX_REQUEST), key)


def too_large_of_many(buffer: Accumulator, key: bytes | None) -> object:
    return buffer.append_many("t", [bytes(MAX_REQUEST)] * 2, None if key is None else [key] * 2)


def too_large_of_columns(buffer: Accumulator, key: bytes | None) -> object:
    return buffer.append_columns("t", column(bytes(MAX_REQUEST)), None if key is None else column(key))


def too_many_headers(buffer: Accumulator, key: bytes | None) -> object:
    return buffer.append("t", b"v", key, [("header", b"value")] * 20_000)


def bad_row(buffer: Accumulator, key: bytes | None) -> object:
    offsets = memoryview(bytearray(12)).cast("i")
    offsets[1], offsets[2] = 9_999, 10_000
    keys = None if key is None else column(key, key)
    return buffer.append_columns("t", ColumnSource.variable(b"ab", offsets), keys)


REFUSALS = [
    bad_time,
    bad_time_with_headers,
    bad_time_of_many,
    bad_time_of_columns,
    too_large,
    too_large_of_many,
    too_large_of_columns,
    too_many_headers,
    bad_row,
]
REASONS = (errors.InvalidTimestamp, errors.MessageTooLarge, ValueError)


def told_buffer() -> tuple[Accumulator, list[int]]:
    """And how often its sender was told."""
    told: list[int] = []
    buffer = accumulator(
        limit_bytes=MEMORY, max_request_bytes=MAX_REQUEST, linger_ms=0, on_ready=lambda: told.append(1)
    )
    return buffer, told


@pytest.mark.parametrize("key", [None, b"key"], ids=["keyless", "keyed"])
@pytest.mark.parametrize("refused", REFUSALS, ids=lambda refused: refused.__name__)
def test_a_refused_record_begins_no_batch(refused: Refused, key: bytes | None):
    buffer, _ = told_buffer()
    with pytest.raises(REASONS):
        refused(buffer, key)
    assert buffer.ready(LATER) == []
    assert (buffer.incomplete(), buffer.used_bytes, buffer.queued_records) == ([], 0, 0)


@pytest.mark.parametrize("key", [None, b"key"], ids=["keyless", "keyed"])
@pytest.mark.parametrize("refused", REFUSALS, ids=lambda refused: refused.__name__)
def test_the_sender_is_told_of_the_record_behind_a_refused_one(refused: Refused, key: bytes | None):
    buffer, told = told_buffer()
    with pytest.raises(REASONS):
        refused(buffer, key)
    told.clear()
    buffer.append("t", b"good", key)
    assert told == [1]
    assert [record.value for record in records_of(only(buffer))] == [b"good"]


@pytest.mark.parametrize("key", [None, b"key"], ids=["keyless", "keyed"])
@pytest.mark.parametrize("refused", REFUSALS, ids=lambda refused: refused.__name__)
def test_a_record_refused_in_the_middle_of_a_batch_leaves_it_as_it_is(refused: Refused, key: bytes | None):
    buffer, _ = told_buffer()
    buffer.append("t", b"before", key)
    with pytest.raises(REASONS):
        refused(buffer, key)
    buffer.append("t", b"behind", key)
    assert [record.value for record in records_of(only(buffer))] == [b"before", b"behind"]


@pytest.mark.parametrize("key", [None, b"key"], ids=["keyless", "keyed"])
def test_rows_end_before_one_with_a_bad_time_and_go_on_behind_it(key: bytes | None):
    buffer, _ = told_buffer()
    times = memoryview(bytearray(8 * 600)).cast("q")
    times[300] = -7
    values = [b"%d" % number for number in range(600)]
    keys = None if key is None else [key] * 600
    assert buffer.append_many("t", values, keys, timestamps=times).taken == 300
    taken = [record.value for batch in drained(buffer) for record in records_of(batch)]
    with pytest.raises(errors.InvalidTimestamp):
        buffer.append_many("t", values, keys, timestamps=times, start=300)
    assert buffer.ready(LATER) == []
    assert buffer.append_many("t", values, keys, timestamps=times, start=301).taken == 299
    rest = [record.value for batch in drained(buffer) for record in records_of(batch)]
    assert taken + rest == values[:300] + values[301:]


def test_what_closed_a_full_batch_tells_the_sender_though_the_next_one_has_no_memory():
    told: list[int] = []
    buffer = accumulator(limit_bytes=9_000, batch_bytes=4_000, linger_ms=60_000, on_ready=lambda: told.append(1))
    buffer.ready(now())
    told.clear()
    while buffer.append("t", bytes(1_000)) is not None:
        pass
    assert told == [1]
    assert buffer.ready(now()) == [("t", 0)]
    assert all(batch.record_count > 0 for batch in drained(buffer))


@pytest.mark.parametrize("size", [MAX_REQUEST + 1, 3 * MAX_REQUEST])
@pytest.mark.parametrize("count", [1, 300])
def test_a_row_that_is_too_large_is_named_with_its_own_size(size: int, count: int):
    buffer, _ = told_buffer()
    values = [bytes(size), *[b""] * (count - 1)]
    with pytest.raises(errors.MessageTooLarge, match=rf"a record of {size + 3} bytes is above .* \({MAX_REQUEST}\)"):
        buffer.append_many("t", values, [b"key"] * count)
    with pytest.raises(errors.MessageTooLarge, match=rf"a record of {size} bytes is above"):
        buffer.append_columns("t", column(*values))
