"""Many rows in one call: lists, Arrow's and NumPy's columns."""

from __future__ import annotations

import gc
import sys

import pytest

from pystream._native.column_source import ColumnSource
from pystream.common import errors
from tests.support.sending import accumulator, drained, only, records_of


def test_rows_of_a_list_are_single_records():
    buffer = accumulator(3)
    values = [b"a", None, b"", b"d" * 300]
    keys = [b"1", b"2", None, b"4"]
    deliveries = buffer.append_many("t", values, keys, timestamps=memoryview(bytearray(32)).cast("q"))
    assert (deliveries.taken, len(deliveries)) == (4, 4)
    found = {(record.key, record.value) for batch in drained(buffer) for record in records_of(batch)}
    assert found == set(zip(keys, values, strict=True))


def test_many_rows_fill_batches_in_order():
    buffer = accumulator(batch_bytes=1_000)
    values = [b"%d" % number for number in range(5_000)]
    buffer.append("t", b"before")
    assert buffer.append_many("t", values).taken == 5_000
    assert [record.value for batch in drained(buffer) for record in records_of(batch)] == [b"before", *values]


def test_spans_say_where_the_rows_went():
    buffer = accumulator(batch_bytes=500)
    deliveries = buffer.append_many("t", [bytes(100)] * 10)
    for place, batch in enumerate(drained(buffer)):
        buffer.complete(batch, 1_000 * place)
    spans = deliveries.result(0)
    assert sum(span.record_count for span in spans) == 10
    assert [span.first_offset for span in spans] == [1_000 * place for place in range(len(spans))]
    assert {(span.topic, span.partition, span.error) for span in spans} == {("t", 0, None)}


def test_arrow_columns_are_read_with_offsets_and_nulls():
    buffer = accumulator()
    offsets = memoryview(bytearray(20)).cast("i")
    for place, offset in enumerate((0, 1, 3, 3, 6)):
        offsets[place] = offset
    column = ColumnSource.variable(b"abbccc", offsets, validity=bytes([0b1011]), start=1)
    assert len(column) == 3
    buffer.append_columns("t", column, timestamps=7)
    assert [(record.value, record.timestamp) for record in records_of(only(buffer))] == [
        (b"bb", 7), (None, 7), (b"ccc", 7)
    ]  # fmt: skip


def test_numpy_columns_are_read_with_and_without_their_padding():
    numpy = pytest.importorskip("numpy")
    texts = numpy.array([b"a", b"bcd", b""])
    for strip, expected in ((True, [b"a", b"bcd", b""]), (False, [b"a\0\0", b"bcd", bytes(3)])):
        buffer = accumulator()
        buffer.append_columns("t", ColumnSource.fixed(texts, 3, strip=strip))
        assert [record.value for record in records_of(only(buffer))] == expected


@pytest.mark.parametrize("wrong", [(-1, 2), (3, 2), (0, 7), (0, 1 << 40)])
def test_an_offset_outside_its_data_is_refused_when_it_is_read(wrong):
    offsets = memoryview(bytearray(24)).cast("q")
    offsets[1], offsets[2] = wrong
    buffer = accumulator()
    column = ColumnSource.variable(b"abcdef", offsets)
    with pytest.raises(ValueError, match="row"):
        buffer.append_columns("t", column, start=1 if wrong[0] >= 0 else 0)


def test_columns_of_different_length_are_refused():
    buffer = accumulator()
    with pytest.raises(ValueError, match="keys"):
        buffer.append_many("t", [b"a", b"b"], [b"k"])
    with pytest.raises(ValueError, match="timestamps"):
        buffer.append_many("t", [b"a", b"b"], timestamps=memoryview(bytearray(8)).cast("q"))
    with pytest.raises(ValueError, match="rows"):
        ColumnSource.fixed(b"abc", 1, start=2, rows=2)
    with pytest.raises(ValueError, match="validity"):
        ColumnSource.fixed(bytes(9), 1, validity=b"\xff")


def test_rows_in_front_of_a_refused_one_stay_taken():
    buffer = accumulator(max_request_bytes=1_000)
    values = [b"a", b"b", bytes(2_000), b"d"]
    assert buffer.append_many("t", values).taken == 2
    with pytest.raises(errors.MessageTooLarge):
        buffer.append_many("t", values, start=2)
    assert buffer.append_many("t", values, start=3).taken == 1
    assert [record.value for record in records_of(only(buffer))] == [b"a", b"b", b"d"]


def test_a_column_in_a_cycle_is_collected_with_what_it_views(monkeypatch: pytest.MonkeyPatch):
    """The collector once cleared the view of the data before its owner gave it back."""
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    data, validity = bytearray(100), bytearray(2)
    cycle: dict[str, object] = {"column": ColumnSource.fixed(memoryview(data), 10, memoryview(validity))}
    cycle["itself"] = cycle
    del cycle
    gc.collect()
    assert unraisable == []
    data.clear()  # raises BufferError while anybody views it
    validity.clear()
