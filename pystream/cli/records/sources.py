"""Records from streams: what `produce --format` names.

lines     one record a line, with -K its key before the delimiter
raw       each file, or all of standard input, is one record
json      one envelope a line, as `consume -J` writes it: {"key": .., "payload": .., "headers": [..], "ts": ..}
ndjson    one JSON value a line; columns are its fields
csv       one record a row; the first row names the columns
arrow     an Arrow IPC stream or file
parquet   a Parquet file

Of formats with columns a record is the whole row as a JSON object, or --value-column; --key-column is its key. They
come in chunks, each a list or a column that the producer takes at once.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, Final

from pystream.client.given import nearest
from pystream.common.errors import InvalidRequest, LimitExceeded, MalformedInput

FORMATS: Final = ("lines", "raw", "json", "ndjson", "csv", "arrow", "parquet")
COLUMNAR: Final = ("ndjson", "csv", "arrow", "parquet")
CHUNK_BYTES: Final = 1 << 20
CHUNK_ROWS: Final = 10_000
LONGEST_LINE_BYTES: Final = 128 << 20
PAYLOADS: Final = frozenset(("payload", "payload_base64", "value", "value_base64"))
ENVELOPE: Final = PAYLOADS | {  # what `consume -J` writes and reads, and what kcat -J writes
    *("key", "key_base64", "headers", "ts", "tstype", "topic", "partition", "offset", "broker"),
    *("key_error", "payload_error", "key_schema_id", "value_schema_id"),
}
NO_JSON: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
NEEDS_ARROW: Final = "this format needs pyarrow: pip install pyarrow"


@dataclass(frozen=True, slots=True)
class Rows:
    """What one call of Producer.send_batch takes."""

    values: Any
    keys: Any = None
    headers: list[list[tuple[str, bytes | None]]] | None = None
    timestamps: list[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a stream is read."""

    format: str = "lines"
    delimiter: bytes = b"\n"
    key_delimiter: bytes | None = None
    empty_is_null: bool = False
    key_column: str | None = None
    value_column: str | None = None


def rows_of(stream: BinaryIO, reading: Reading, count: Callable[[int], object]) -> Iterator[Rows]:
    """The records of one stream; `count` is told the bytes read. Raises MalformedInput, LimitExceeded, OSError."""
    if reading.format == "lines":
        for lines in _lines(stream, reading.delimiter, count):
            yield _keyed(lines, reading)
    elif reading.format == "raw":
        whole = stream.read()
        count(len(whole))
        yield _keyed([whole], reading)
    elif reading.format == "json":
        yield from _numbered(_lines(stream, b"\n", count), _envelopes)
    elif reading.format == "ndjson":
        yield from _numbered(_lines(stream, b"\n", count), lambda line: _objects(line, reading))
    elif reading.format == "csv":
        yield from _csv(stream, reading, count)
    else:
        yield from _arrow(stream, reading, count)


def _lines(stream: BinaryIO, delimiter: bytes, count: Callable[[int], object]) -> Iterator[list[bytes]]:
    """What lies between the delimiters, as it comes: a slow writer's lines do not wait for a full chunk."""
    read = getattr(stream, "read1", stream.read)
    left = b""
    while chunk := read(CHUNK_BYTES):
        count(len(chunk))
        *whole, left = (left + chunk).split(delimiter)
        if whole:
            yield whole
        if len(left) > LONGEST_LINE_BYTES:
            raise LimitExceeded(f"no delimiter in {len(left)} bytes; -D names another one, --format raw takes it whole")
    if left:
        yield [left]


def _keyed(lines: list[bytes], reading: Reading) -> Rows:
    values: list[bytes | None] = list(lines)
    keys: list[bytes | None] | None = None
    if reading.key_delimiter is not None:
        parts = [line.partition(reading.key_delimiter) for line in lines]
        keys = [key if found else None for key, found, _ in parts]
        values = [value if found else key for key, found, value in parts]
    if reading.empty_is_null:
        values = [value or None for value in values]
        keys = None if keys is None else [key or None for key in keys]
    return Rows(values, keys)


def _numbered(chunks: Iterable[list[bytes]], parse: Callable[[list[bytes]], Rows]) -> Iterator[Rows]:
    """Rows of lines that must be JSON. Raises MalformedInput with the number of the line that is not."""
    number = 0
    for lines in chunks:
        written = [line for line in lines if line.strip()]
        try:
            rows = parse(written)
        except NO_JSON:
            yield from _before_the_first_fault(lines, number, parse)
            raise
        yield rows
        number += len(lines)


def _before_the_first_fault(lines: list[bytes], number: int, parse: Callable[[list[bytes]], Rows]) -> Iterator[Rows]:
    """What is good is a record, as it is where lines come one by one. Then raises MalformedInput."""
    good: list[bytes] = []
    for place, line in enumerate(lines, number + 1):
        if not line.strip():
            continue
        try:
            parse([line])
        except NO_JSON as error:
            if good:
                yield parse(good)
            raise MalformedInput(f"line {place}: {error}") from None
        good.append(line)


def _envelopes(lines: list[bytes]) -> Rows:
    parsed = [json.loads(line) for line in lines]
    if not all(isinstance(each, dict) for each in parsed):
        raise ValueError("expected an object with payload, key, headers and ts, as `consume -J` writes it")
    for each in parsed:
        _check_envelope(each)
    headers = [_headers(each.get("headers")) for each in parsed]
    times = [each.get("ts", -1) for each in parsed]
    return Rows(
        [_bytes_of(each, "payload" if "payload" in each or "payload_base64" in each else "value") for each in parsed],
        [_bytes_of(each, "key") for each in parsed],
        headers if any(headers) else None,
        times if any(time >= 0 for time in times) else None,
    )


def _check_envelope(envelope: dict[str, Any]) -> None:
    """Raises ValueError where there is no payload, which is no tombstone, and for a key that no envelope has."""
    unknown = {name: nearest(name, ENVELOPE) for name in sorted(envelope.keys() - ENVELOPE)}
    if PAYLOADS.isdisjoint(envelope) and not any(unknown.values()):
        raise ValueError('no payload; did you mean --format ndjson? A tombstone says so: "payload": null')
    for name, near in unknown.items():
        raise ValueError(f"no envelope has {name!r}{near}")


def _bytes_of(envelope: dict[str, Any], name: str) -> bytes | None:
    encoded = envelope.get(f"{name}_base64")
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ValueError(f"{name}_base64: {error}") from None
    return _cell(envelope.get(name))


def _headers(given: Any) -> list[tuple[str, bytes | None]]:
    """A flat list of names and values, as kcat has it, or an object."""
    if not given:
        return []
    pairs = given.items() if isinstance(given, dict) else zip(given[::2], given[1::2], strict=True)
    return [(str(name), _cell(value)) for name, value in pairs]


def _cell(value: Any) -> bytes | None:
    """A JSON value as a record has it: texts as they are, others as JSON."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()


def _objects(lines: list[bytes], reading: Reading) -> Rows:
    if reading.key_column is None and reading.value_column is None:
        for line in lines:
            json.loads(line)
        return Rows(list(lines))
    parsed = [json.loads(line) for line in lines]
    values = lines if reading.value_column is None else [_cell(_field(each, reading.value_column)) for each in parsed]
    keys = None if reading.key_column is None else [_cell(_field(each, reading.key_column)) for each in parsed]
    return Rows(list(values), keys)


def _field(row: Any, name: str) -> Any:
    if not isinstance(row, dict) or name not in row:
        raise ValueError(f"has no field {name!r}")
    return row[name]


def _csv(stream: BinaryIO, reading: Reading, count: Callable[[int], object]) -> Iterator[Rows]:
    buffered = io.BufferedReader(_Counting(stream, count), CHUNK_BYTES)
    reader = csv.DictReader(io.TextIOWrapper(buffered, encoding="utf-8", newline=""), strict=True)
    try:
        _check_columns(reader.fieldnames or [], reading)
        while rows := list(islice(reader, CHUNK_ROWS)):
            for row in rows:
                if None in row or None in row.values():
                    raise MalformedInput(f"line {reader.line_num}: a row of another length than the first")
            yield Rows(
                [_cell(row if reading.value_column is None else row[reading.value_column]) for row in rows],
                None if reading.key_column is None else [_cell(row[reading.key_column]) for row in rows],
            )
    except (csv.Error, UnicodeDecodeError) as error:
        raise MalformedInput(f"line {reader.line_num}: {error}") from None


def _check_columns(names: Sequence[str], reading: Reading) -> None:
    """Raises InvalidRequest for a column that is not there."""
    for column in (reading.key_column, reading.value_column):
        if column is not None and column not in names:
            raise InvalidRequest(f"there is no column {column!r}; there are {', '.join(names)}")


class _Counting(io.RawIOBase):
    """A stream whose reads are counted."""

    def __init__(self, stream: BinaryIO, count: Callable[[int], object]) -> None:
        self._stream = stream
        self._count = count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._count(len(data))
        return len(data)


def _arrow(stream: BinaryIO, reading: Reading, count: Callable[[int], object]) -> Iterator[Rows]:
    try:
        import pyarrow
    except ImportError:
        raise InvalidRequest(NEEDS_ARROW) from None
    try:
        for batch in _arrow_batches(stream, reading.format):
            count(batch.nbytes)
            yield _arrow_rows(batch, reading)
    except pyarrow.ArrowInvalid as error:
        raise MalformedInput(f"not {reading.format}: {error}") from None


def _arrow_batches(stream: BinaryIO, kind: str) -> Iterator[Any]:
    from pyarrow import BufferReader, ipc

    if kind == "parquet":
        from pyarrow import parquet

        yield from parquet.ParquetFile(stream if stream.seekable() else BufferReader(stream.read())).iter_batches()
        return
    source = BufferReader(stream.read()) if stream.seekable() else stream
    if isinstance(source, BufferReader) and source.read(6) == b"ARROW1":
        file = ipc.open_file(source)
        yield from (file.get_batch(number) for number in range(file.num_record_batches))
        return
    if isinstance(source, BufferReader):
        source.seek(0)
    yield from ipc.open_stream(source)


def _arrow_rows(batch: Any, reading: Reading) -> Rows:
    _check_columns(batch.schema.names, reading)
    if reading.value_column is None:
        values: Any = [json.dumps(row, default=_written, ensure_ascii=False).encode() for row in batch.to_pylist()]
    else:
        values = _binary(batch.column(reading.value_column))
    return Rows(values, None if reading.key_column is None else _binary(batch.column(reading.key_column)))


def _binary(column: Any) -> Any:
    """Texts and bytes as they are; of other types what their values are written as."""
    from pyarrow import types

    kind = column.type
    if any(test(kind) for test in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)):
        return column
    if types.is_string(kind) or types.is_large_string(kind):
        return column
    return [value if value is None else _cell(_plain(value)) for value in column.to_pylist()]


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return json.loads(json.dumps(value, default=_written))


def _written(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
