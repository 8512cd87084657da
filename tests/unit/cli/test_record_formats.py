"""What `produce` reads and what `consume -f` means, without a broker."""

from __future__ import annotations

import io

import pytest

from pystream.cli.records.bounds import Bounds
from pystream.cli.records.sources import Reading, Rows, rows_of
from pystream.cli.records.text import unescaped
from pystream.cli.records.writers import Format
from pystream.common.errors import InvalidRequest, MalformedInput


def read(data: bytes, **options: object) -> list[Rows]:
    return list(rows_of(io.BytesIO(data), Reading(**options), lambda _: None))  # type: ignore[arg-type]


class Slow(io.RawIOBase):
    """A pipe whose writer is slow: gives one piece at a time."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int = -1) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", b"plain"),
        (r"\n\r\t\0", b"\n\r\t\0"),
        (r"\x41\x0a|", b"A\n|"),
        (r"a\\nb", b"a\\nb"),
        (r"\q", b"q"),
        ("é", "é".encode()),
    ],
)
def test_escapes_are_those_of_kcat(text: str, expected: bytes):
    assert unescaped(text) == expected


def test_a_backslash_at_the_end_is_refused():
    with pytest.raises(InvalidRequest, match="escape"):
        unescaped("a\\")


@pytest.mark.parametrize(
    ("text", "template", "columns"),
    [
        ("%s", b"%b", ["s"]),
        (r"%t[%p]:%o\n", b"a%%b[3]:%d\n", ["o"]),
        ("100%% %K %k", b"100%% %d %b", ["K", "k"]),
        ("%%%%s", b"%%%%s", []),
        ("%%%s", b"%%%b", ["s"]),
        ("", b"", []),
    ],
)
def test_a_format_becomes_a_template(text: str, template: bytes, columns: list[str]):
    made = Format.parse(text)

    assert made.template("a%b", 3) == template
    assert made.columns() == columns


@pytest.mark.parametrize("text", ["%q", "a%", "%s %", "%%%"])
def test_a_token_that_does_not_exist_is_refused(text: str):
    with pytest.raises(InvalidRequest, match="%"):
        Format.parse(text)


def test_lines_come_as_they_are_written():
    pieces = [b"one\ntw", b"o\n\nthr", b"ee"]

    chunks = list(rows_of(Slow(pieces), Reading(), lambda _: None))  # type: ignore[arg-type]

    assert [chunk.values for chunk in chunks] == [[b"one"], [b"two", b""], [b"three"]]


def test_keys_come_before_the_delimiter():
    (rows,) = read(b"k1::v1\nno key\n::empty\n", key_delimiter=b"::")

    assert rows.keys == [b"k1", None, b""]
    assert rows.values == [b"v1", b"no key", b"empty"]


def test_empty_is_null_where_that_is_asked_for():
    (rows,) = read(b"k:\n:v\n", key_delimiter=b":", empty_is_null=True)

    assert (rows.keys, rows.values) == ([b"k", None], [None, b"v"])


def test_raw_is_one_record():
    (rows,) = read(b"a\nb\n", format="raw")

    assert rows.values == [b"a\nb\n"]


def test_envelopes_have_texts_bytes_headers_and_times():
    (rows,) = read(
        b'{"key": "k", "payload": {"a": 1}, "headers": ["h", "v", "n", null], "ts": 5}\n\n'
        b'{"payload_base64": "AP8=", "headers": {"x": 1}}\n',
        format="json",
    )

    assert rows.keys == [b"k", None]
    assert rows.values == [b'{"a": 1}', b"\x00\xff"]
    assert rows.headers == [[("h", b"v"), ("n", None)], [("x", b"1")]]
    assert rows.timestamps == [5, -1]


def test_a_payload_that_is_null_is_a_tombstone():
    (rows,) = read(b'{"key": "k", "payload": null, "topic": "t", "partition": 0, "offset": 3}\n', format="json")

    assert rows.values == [None]


def test_what_comes_before_a_fault_is_given_as_it_is_of_a_slow_pipe():
    chunks = rows_of(
        io.BytesIO(b'{"payload": "a"}\n{"payload": "b"}\n{"a": 1}\n'), Reading(format="json"), lambda _: None
    )

    assert next(chunks).values == [b"a", b"b"]
    with pytest.raises(MalformedInput, match="line 3"):
        next(chunks)


def test_columns_of_csv_and_ndjson():
    (rows,) = read(b"id,amount\nc1,2\nc2,3\n", format="csv", key_column="id")
    (fields,) = read(b'{"id": "c1", "amount": 2}\n', format="ndjson", key_column="id", value_column="amount")

    assert rows.keys == [b"c1", b"c2"]
    assert rows.values == [b'{"id": "c1", "amount": "2"}', b'{"id": "c2", "amount": "3"}']
    assert (fields.keys, fields.values) == ([b"c1"], [b"2"])


@pytest.mark.parametrize(
    ("data", "options", "complaint"),
    [
        (b'{"payload": "a"}\n{"payload"\n', {"format": "json"}, "line 2"),
        (b"[1]\n", {"format": "json"}, "line 1: expected an object"),
        (b'{"payload_base64": "!"}\n', {"format": "json"}, "payload_base64"),
        (b'{"payload": "a", "headers": ["a"]}\n', {"format": "json"}, "line 1: zip"),
        (b'{"a": 1}\n', {"format": "json"}, "line 1: no payload; did you mean --format ndjson"),
        (b'{"key": "k", "ts": 5}\n', {"format": "json"}, "line 1: no payload"),
        (b'{"paylaod": "a"}\n', {"format": "json"}, "line 1: no envelope has 'paylaod'; did you mean payload"),
        (b'{"payload": "a", "kye": "k"}\n', {"format": "json"}, "'kye'; did you mean key"),
        (b'{"a": 1}\n', {"format": "ndjson", "key_column": "id"}, "no field 'id'"),
        (b"nonsense\n", {"format": "ndjson"}, "line 1"),
        (b"[" * 100_000, {"format": "ndjson"}, "line 1"),
        (b"a,b\n1\n", {"format": "csv"}, "line 2"),
        (b"a,b\n1,2,3\n", {"format": "csv"}, "line 2"),
        (b"a\n\xff\n", {"format": "csv"}, "decode"),
        (b"no arrow", {"format": "arrow"}, "arrow"),
        (b"no parquet", {"format": "parquet"}, "parquet"),
    ],
    ids=str,
)
def test_what_does_not_parse_is_said_with_its_line(data: bytes, options: dict[str, str], complaint: str):
    with pytest.raises(MalformedInput, match=complaint):
        read(data, **options)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InvalidRequest, match="'nope'; there are a, b"):
        read(b"a,b\n1,2\n", format="csv", value_column="nope")


@pytest.mark.parametrize("texts", [("tomorrow",), ("--5",), ("s@",), ("e@x",), ("1", "2"), ("e@1", "e@2")])
def test_an_offset_that_is_none_is_refused(texts: tuple[str, ...]):
    with pytest.raises(InvalidRequest):
        Bounds.parse(texts, to_end=False)
