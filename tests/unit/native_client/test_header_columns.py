"""Headers of many rows without an object for each: lists of names and values."""

from __future__ import annotations

import random
from array import array

import pytest

from pystream._native.column_source import ColumnSource, HeaderColumn
from tests.support.sending import accumulator, drained, only, records_of

Headers = tuple[tuple[str, bytes | None], ...]


def column(rows: list[bytes | None]) -> ColumnSource:
    offsets, data, validity = array("i", [0]), b"", bytearray(len(rows) // 8 + 1)
    for number, row in enumerate(rows):
        data += row or b""
        offsets.append(len(data))
        validity[number >> 3] |= (row is not None) << (number & 7)
    return ColumnSource.variable(data, offsets, validity)


def listed(rows: list[Headers | None], kind: str = "i") -> HeaderColumn:
    offsets, names, values = array(kind, [0]), [], []
    validity = bytearray(len(rows) // 8 + 1)
    for number, row in enumerate(rows):
        names += [name.encode() for name, _ in row or ()]
        values += [value for _, value in row or ()]
        offsets.append(len(names))
        validity[number >> 3] |= (row is not None) << (number & 7)
    return HeaderColumn.listed(column([*names]), column(values), offsets, validity, rows=len(rows))


def test_headers_of_all_rows_come_behind_those_of_each():
    buffer = accumulator()
    rows: list[Headers | None] = [(("a", b"1"),), None, ()]
    headers = [("source", b"web"), (b"none", None)]
    taken = buffer.append_columns("t", column([b"x", b"y", b"z"]), headers=headers, row_headers=listed(rows)).taken
    assert taken == 3
    found = [record.headers for record in records_of(only(buffer))]
    assert found == [(*(row or ()), ("source", b"web"), ("none", None)) for row in rows]


@pytest.mark.parametrize("kind", ["i", "q"])
def test_each_row_gets_the_headers_of_its_list(kind):
    rows: list[Headers | None] = [(("a", b"1"),), None, (), (("b", None), ("a", b"2" * 300)), (("c", b""),)] * 30
    buffer = accumulator()
    values: list[bytes | None] = [b"%d" % number for number in range(len(rows))]
    taken = buffer.append_columns("t", column(values), row_headers=listed(rows, kind), partition=0).taken
    assert taken == len(rows)
    found = [record.headers for batch in drained(buffer) for record in records_of(batch)]
    assert found == [row or () for row in rows]


def test_a_cut_out_of_a_header_column_begins_where_it_says():
    names, values = column([b"a", b"b", b"c"]), column([b"1", b"2", b"3"])
    headers = HeaderColumn.listed(names, values, array("i", [0, 1, 2, 3]), start=1, rows=2)
    buffer = accumulator()
    buffer.append_columns("t", column([b"x", b"y"]), row_headers=headers)
    assert [record.headers for record in records_of(only(buffer))] == [(("b", b"2"),), (("c", b"3"),)]


@pytest.mark.parametrize("offsets", [[0, 4], [2, 1], [-1, 0]])
def test_headers_outside_their_columns_are_refused(offsets):
    headers = HeaderColumn.listed(column([b"a"] * 3), column([b"1"] * 3), array("i", offsets))
    with pytest.raises(ValueError, match="row 0"):
        accumulator().append_columns("t", column([b"x"]), row_headers=headers)


def test_a_header_without_a_name_is_refused_with_its_row():
    headers = HeaderColumn.listed(column([b"a", None]), column([b"1", b"2"]), array("i", [0, 1, 2]))
    buffer = accumulator()
    assert buffer.append_columns("t", column([b"x", b"y"]), row_headers=headers).taken == 1
    with pytest.raises(ValueError, match="row 1"):
        buffer.append_columns("t", column([b"x", b"y"]), row_headers=headers, start=1)


def test_header_columns_of_another_length_are_refused():
    with pytest.raises(ValueError, match="2 names of headers, and 1 values"):
        HeaderColumn.listed(column([b"a", b"b"]), column([b"1"]), array("i", [0, 1]))
    headers = HeaderColumn.listed(column([b"a"]), column([b"1"]), array("i", [0, 1]))
    with pytest.raises(ValueError, match="headers of 1 rows for 2 values"):
        accumulator().append_columns("t", column([b"x", b"y"]), row_headers=headers)


@pytest.mark.parametrize("seed", range(8))
def test_rows_of_any_kind_are_the_records_that_append_would_have_made(seed):
    """Keys, values, timestamps and headers, of sizes where lengths take one byte more, over several batches."""
    chance = random.Random(seed)
    sizes = (0, 1, 62, 63, 64, 65, 126, 127, 128, 8_190, 8_191, 8_192, 8_193)

    def field() -> bytes | None:
        return None if chance.random() < 0.1 else chance.randbytes(chance.choice(sizes))

    count = 700
    values = [field() for _ in range(count)]
    keys = [field() for _ in range(count)] if seed & 1 else None
    times = [chance.randrange(0, 1 << 42) for _ in range(count)] if seed & 2 else [5_000] * count
    rows: list[Headers] = [
        tuple((f"name {n}", field()) for n in range(chance.choice((0, 1, 3)))) if seed & 4 else () for _ in range(count)
    ]
    many, single = (accumulator(batch_bytes=60_000, limit_bytes=1 << 30) for _ in range(2))
    taken = many.append_columns(
        "t",
        column(values),
        None if keys is None else column(keys),
        row_headers=listed([*rows]) if seed & 4 else None,
        partition=0,
        timestamps=array("q", times) if seed & 2 else times[0],
    ).taken
    assert taken == count
    for number in range(count):
        key = None if keys is None else keys[number]
        single.append("t", values[number], key, [*rows[number]], 0, times[number])
    found, expected = ([record for batch in drained(each) for record in records_of(batch)] for each in (many, single))
    plain = [(record.key, record.value, record.headers, record.timestamp) for record in found]
    assert plain == [(record.key, record.value, record.headers, record.timestamp) for record in expected]
