"""Rows of send_batch as the accumulator takes them: lists of bytes, or columns over the buffers of NumPy and Arrow.

    list, tuple                               bytes or None each
    NumPy S, V, 2-D uint8                     fixed width; S without the zeros at its end, as NumPy reads it
    NumPy object                              as a list
    Arrow binary, string, large_, fixed       nulls are nulls; chunked too; also what `to_arrow()` gives (Polars)
    Arrow table or record batch               columns value (which must be there), key, headers, partition, timestamp

Headers are columns too, without an object for each row, as

    a dict, name to value                     the same ones for every row
    Arrow map<text, binary>                   or list, large_list of struct<name, value>, whatever its fields' names;
                                              names and values binary or text; a null list is no headers
    a list of what `send` takes               for each row one, or None: such rows are appended one by one

For serializers the rows come as Python objects, some at a time: whatever the list, the array or the column holds.
NumPy and Arrow are imported only where they were given.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import index
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from pystream._native.column_source import ColumnSource, HeaderColumn
from pystream.client.headers import RowHeaders, header_complaint, pairs_of
from pystream.client.producer.records import ANY_PARTITION, NOW

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from pystream.client.headers import Pairs

ROWS_AT_ONCE: Final = 1_000  # that serializers are given
TABLE_COLUMNS: Final = ("value", "key", "headers", "partition", "timestamp")
ARROW_MILLISECONDS: Final = "ms"
_COLUMNS: Final = ("values", "keys", "headers", "timestamps", "partitions")

Column: TypeAlias = "ColumnSource | list[bytes | None]"


@dataclass(frozen=True, slots=True)
class Rows:
    """What one call of the accumulator takes. Values and keys are both lists, or both columns."""

    values: Column
    keys: Column | None = None
    headers: HeaderColumn | Sequence[Any] | None = None  # a sequence: of each row, which are appended one by one
    timestamps: int | Buffer = NOW
    partition: int = ANY_PARTITION
    common: Pairs | None = None  # headers of all rows


class GivenRows(NamedTuple):
    """The columns as the caller has them; timestamps and partitions are one for all or one for each row."""

    values: Any
    keys: Any = None
    headers: Any = None
    timestamps: Any = None
    partitions: Any = None
    common: Pairs | None = None


def given_rows(
    values: Any, *, keys: Any = None, headers: Any = None, timestamps: Any = None, partitions: Any = None
) -> GivenRows:
    """What send_batch was given. Raises TypeError and ValueError for what does not fit."""
    common: Pairs | None = None
    if isinstance(headers, Mapping):
        headers, common = None, pairs_of(headers)
    elif isinstance(headers, RowHeaders):
        headers, common = headers
    wrong = header_complaint(common)
    if wrong is not None:
        raise wrong
    given = GivenRows(
        _plain(values, "values"),
        None if keys is None else _plain(keys, "keys"),
        None if headers is None else _plain(headers, "headers"),
        _numbers(timestamps, "timestamps are milliseconds since 1970"),
        _numbers(partitions, "partitions are ints"),
        common,
    )
    for name, column in zip(("keys", "headers", "timestamps", "partitions"), given[1:5], strict=True):
        if column is not None and not isinstance(column, int) and len(column) != len(given.values):
            raise ValueError(f"{len(column)} {name} for {len(given.values)} values")
    return given


def rows_of(given: GivenRows) -> Iterator[Rows]:
    """The rows, cut where Arrow's chunks end, and gathered by partition where there is one for each.

    Raises TypeError and ValueError for what does not fit.
    """
    for piece in _pieces(given):
        for partition, part in _by_partition(piece):
            yield _rows(part, partition)


def object_rows_of(given: GivenRows, *, keys: bool, values: bool) -> Iterator[GivenRows]:
    """At most ROWS_AT_ONCE rows each, as lists: `keys` and `values` say which are objects, else they are bytes."""
    if _is_table(given.values):
        import pyarrow

        given = _out_of_table(pyarrow, given)
    for start in range(0, len(given.values), ROWS_AT_ONCE):
        part = given._replace(**{name: _slice(getattr(given, name), start) for name in _COLUMNS})
        yield part._replace(
            values=_objects(part.values) if values else _listed(part.values),
            keys=None if part.keys is None else _objects(part.keys) if keys else _listed(part.keys),
            headers=None if part.headers is None else _objects(part.headers),
        )


# ---- what was given


def _plain(given: Any, what: str) -> Any:
    """Polars and pandas as Arrow, NumPy or lists; other rows as a list, where they are none."""
    if hasattr(given, "to_arrow"):
        return given.to_arrow()
    kind = type(given).__module__.partition(".")[0]
    if kind == "pandas":
        if hasattr(given, "columns"):
            raise TypeError("a pandas DataFrame has no binary columns: give its columns one by one, or an Arrow table")
        return given.tolist()
    if kind == "numpy" and given.ndim > 0:
        return given.tolist() if given.dtype.kind == "O" else given
    if isinstance(given, list | tuple) or kind == "pyarrow":
        return given
    if isinstance(given, str | bytes | bytearray | memoryview | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"send_batch takes rows of {what}, found a {type(given).__name__}; send takes a single record")
    return list(given)


def _numbers(given: Any, what: str) -> Any:
    """None, an int, Arrow, NumPy, or a sequence."""
    if given is None or isinstance(given, int):
        return given
    if hasattr(given, "__index__") and not getattr(given, "shape", ()):
        return index(given)
    if isinstance(given, array):
        return given
    try:
        return _plain(given, what)
    except TypeError:
        raise TypeError(f"{what}: one for all, or one for each row; found {type(given).__name__}") from None


def _is_arrow(given: Any) -> bool:
    return type(given).__module__.partition(".")[0] == "pyarrow"


def _is_table(given: Any) -> bool:
    return _is_arrow(given) and hasattr(given, "column_names")


def _pieces(given: GivenRows) -> Iterator[GivenRows]:
    """Each with columns of Arrow in one chunk, or without Arrow."""
    if not any(map(_is_arrow, given[:5])):
        yield given
        return
    import pyarrow

    if isinstance(given.values, pyarrow.Array) and all(map(_is_for_all, given[1:5])):
        yield given  # a table of it would take longer than its rows
        return
    for batch in _table(pyarrow, given).to_batches():
        found = [batch.column(name) if name in batch.schema.names else None for name in TABLE_COLUMNS]
        yield _given_of(found, given)


def _out_of_table(pyarrow: Any, given: GivenRows) -> GivenRows:
    """The columns of a table, and those beside it."""
    table = _table(pyarrow, given)
    return _given_of([table.column(name) if name in table.column_names else None for name in TABLE_COLUMNS], given)


def _given_of(found: list[Any], given: GivenRows) -> GivenRows:
    value, key, headers, partition, timestamp = found
    return GivenRows(
        value,
        key,
        headers,
        given.timestamps if timestamp is None else timestamp,
        given.partitions if partition is None else partition,
        given.common,
    )


def _table(pyarrow: Any, given: GivenRows) -> Any:
    values = given.values
    if isinstance(values, pyarrow.RecordBatch):
        values = pyarrow.Table.from_batches([values])
    if not isinstance(values, pyarrow.Table):
        values = pyarrow.table({"value": _arrow(pyarrow, values)})
    unknown = sorted(set(values.column_names) - set(TABLE_COLUMNS))
    if unknown or "value" not in values.column_names:
        raise ValueError(
            f"a table has the columns {', '.join(TABLE_COLUMNS)}, of which value must be there; found "
            f"{', '.join(values.column_names)}: rename or select them"
        )
    beside = {
        "key": given.keys,
        "headers": given.headers,
        "timestamp": given.timestamps,
        "partition": given.partitions,
    }
    for name, column in beside.items():
        if _is_for_all(column):
            continue
        if name in values.column_names:
            raise ValueError(f"{name}s are given twice: in the table, and beside it")
        values = values.append_column(name, _arrow(pyarrow, column))
    return values


def _is_for_all(column: Any) -> bool:
    """Whether it is none, or one for all rows."""
    return column is None or isinstance(column, int)


def _arrow(pyarrow: Any, column: Any) -> Any:
    return column if _is_arrow(column) else pyarrow.array(column)


# ---- by partition


def _by_partition(given: GivenRows) -> Iterator[tuple[int, GivenRows]]:
    """(partition, rows) in the order of the rows within each."""
    partitions = given.partitions
    if partitions is None or isinstance(partitions, int):
        yield ANY_PARTITION if partitions is None else partitions, given
        return
    if _is_arrow(partitions):
        partitions = partitions.fill_null(ANY_PARTITION).to_pylist()
    elif hasattr(partitions, "tolist"):
        partitions = partitions.tolist()
    places: dict[Any, list[int]] = {}
    for row, partition in enumerate(partitions):
        places.setdefault(ANY_PARTITION if partition is None else partition, []).append(row)
    for partition, chosen in places.items():
        if not isinstance(partition, int):
            raise TypeError(f"partitions are ints; row {chosen[0]} has a {type(partition).__name__}")
        yield (
            partition,
            GivenRows(
                _take(given.values, chosen),
                _take(given.keys, chosen),
                _take(given.headers, chosen),
                _take(given.timestamps, chosen),
                partition,
                given.common,
            ),
        )


def _take(column: Any, chosen: list[int]) -> Any:
    if _is_for_all(column):
        return column
    if hasattr(column, "take"):  # Arrow, NumPy
        return column.take(chosen) if _is_arrow(column) else column[chosen]
    return [column[row] for row in chosen]


# ---- as the accumulator takes it


def _rows(given: GivenRows, partition: int) -> Rows:
    rows = Rows(_column(given.values), None, None, _times(given.timestamps), partition, given.common)
    if given.headers is not None and _is_arrow(given.headers):
        rows = replace(rows, headers=_header_column(given.headers) if len(given.headers) else None)
    elif given.headers is not None:
        listed = None if given.keys is None else _listed(given.keys)
        return replace(rows, values=_listed(given.values), keys=listed, headers=list(given.headers))
    if given.keys is None:
        return rows
    keys = _column(given.keys)
    if isinstance(keys, list) and not isinstance(rows.values, list):
        keys = _source_of(keys)
    elif isinstance(rows.values, list) and not isinstance(keys, list):
        rows = replace(rows, values=_source_of(rows.values))
    return replace(rows, keys=keys)


def _column(given: Any) -> Column:
    if isinstance(given, list):
        return given
    if _is_arrow(given):
        return _arrow_column(given)
    if type(given).__module__ == "numpy":
        return _numpy_column(given)
    return list(given)


def _numpy_column(given: Any) -> Column:
    kind, shape = given.dtype.kind, given.shape
    if kind in "SV" and len(shape) == 1 and given.dtype.itemsize > 0:
        import numpy

        rows = numpy.ascontiguousarray(given)
        return ColumnSource.fixed(rows.view(numpy.uint8).data, given.dtype.itemsize, strip=kind == "S", rows=shape[0])
    if given.dtype.str in ("|u1", "|i1") and len(shape) == 2 and shape[1] > 0:
        import numpy

        return ColumnSource.fixed(numpy.ascontiguousarray(given).data, shape[1], rows=shape[0])
    raise TypeError(f"NumPy rows are S, V or two-dimensional uint8, these are {given.dtype} of shape {shape}")


def _arrow_column(given: Any) -> Column:
    from pyarrow import types

    kind = given.type
    if types.is_fixed_size_binary(kind) and kind.byte_width > 0:
        validity, data = given.buffers()
        return ColumnSource.fixed(data, kind.byte_width, validity, start=given.offset, rows=len(given))
    is_large = types.is_large_binary(kind) or types.is_large_string(kind)
    if not is_large and not types.is_binary(kind) and not types.is_string(kind):
        import pyarrow

        try:
            return _arrow_column(given.cast(pyarrow.large_binary()))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
            raise TypeError(f"Arrow rows are binary or text, these are {kind}: encode them first") from error
    validity, offsets, data = given.buffers()
    if len(given) == 0:
        return []
    plain = memoryview(offsets).cast("B")
    places = plain.cast("q") if is_large else plain.cast("i")
    return ColumnSource.variable(
        data if data is not None else b"", places, validity, start=given.offset, rows=len(given)
    )


def _header_column(given: Any) -> HeaderColumn:
    """Of Arrow's lists of (name, value)."""
    from pyarrow import types

    kind = given.type
    entries = given.values if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind) else None
    if entries is None or not types.is_struct(entries.type) or entries.type.num_fields != 2:
        raise TypeError(f"a column of headers is a map, or a list of structs of name and value; this one is {kind}")
    if entries.null_count > 0:
        raise ValueError("a header is null: leave it out of its row's list")
    offsets = memoryview(given.buffers()[1]).cast("B").cast("q" if types.is_large_list(kind) else "i")
    names, values = (_text_column(entries.field(place)) for place in range(2))
    return HeaderColumn.listed(names, values, offsets, given.buffers()[0], start=given.offset, rows=len(given))


def _text_column(given: Any) -> ColumnSource:
    column = _arrow_column(given)
    return column if isinstance(column, ColumnSource) else _source_of(column)


def _source_of(rows: list[bytes | None]) -> ColumnSource:
    """A list as a column."""
    present = [row if row is not None else b"" for row in rows]
    offsets = array("q", accumulate(map(len, present), initial=0))
    validity = bytearray((len(rows) + 7) // 8)
    for number, row in enumerate(rows):
        if row is not None:
            validity[number >> 3] |= 1 << (number & 7)
    return ColumnSource.variable(b"".join(present), offsets, validity)


def _listed(given: Any) -> list[Any]:
    """One object a row."""
    if _is_arrow(given):
        rows = given.to_pylist()
        return [row.encode() if isinstance(row, str) else row for row in rows]
    if hasattr(given, "tolist"):
        return [bytes(row) for row in given]
    return list(given)


def _objects(given: Any) -> list[Any]:
    """One object a row, whatever it is."""
    if _is_arrow(given):
        rows: list[Any] = given.to_pylist()
        return rows
    if hasattr(given, "tolist"):
        return given.tolist() if given.ndim == 1 and given.dtype.kind != "V" else [bytes(row) for row in given]
    return list(given)


def _slice(column: Any, start: int) -> Any:
    """ROWS_AT_ONCE rows of it."""
    if column is None or isinstance(column, int):
        return column
    return column.slice(start, ROWS_AT_ONCE) if _is_arrow(column) else column[start : start + ROWS_AT_ONCE]


def _times(given: Any) -> int | Buffer:
    """An int, or int64 milliseconds of each row."""
    if given is None:
        return NOW
    if isinstance(given, int):
        return given
    if _is_arrow(given):
        import pyarrow

        if pyarrow.types.is_timestamp(given.type):
            given = given.cast(pyarrow.timestamp(ARROW_MILLISECONDS, given.type.tz), safe=False)
        return array("q", given.cast(pyarrow.int64()).fill_null(NOW).to_numpy(zero_copy_only=False).tobytes())
    if type(given).__module__ == "numpy":
        whole = given.astype("datetime64[ms]") if given.dtype.kind == "M" else given
        return array("q", whole.astype("int64").tobytes())
    try:
        return given if isinstance(given, array) and given.typecode == "q" else array("q", given)
    except TypeError:
        return array("q", _whole_times(given))


def _whole_times(given: Iterable[Any]) -> list[int]:
    times = []
    for row, time in enumerate(given):
        if time is not None and not hasattr(time, "__index__"):
            raise TypeError(
                f"timestamps are milliseconds since 1970 as ints; row {row} has a {type(time).__name__}: of a datetime "
                "give round(when.timestamp() * 1000)"
            )
        times.append(NOW if time is None else index(time))
    return times
