"""Rows of send_batch as the accumulator takes them: lists of bytes, or columns over the buffers of NumPy and Arrow.

    list, tuple                               bytes or None each
    NumPy S, V, 2-D uint8                     fixed width; S without the zeros at its end, as NumPy reads it
    NumPy object                              as a list
    Arrow binary, string, large_, fixed       nulls are nulls; chunked too; also what `to_arrow()` gives (Polars)
    Arrow table or record batch               columns value (which must be there), key, headers, partition, timestamp

NumPy and Arrow are imported only where they were given.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pystream._native.column_source import ColumnSource

if TYPE_CHECKING:
    from typing_extensions import Buffer

ANY_PARTITION: Final = -1
NOW: Final = -1
TABLE_COLUMNS: Final = ("value", "key", "headers", "partition", "timestamp")
ARROW_MILLISECONDS: Final = "ms"

Column: TypeAlias = "ColumnSource | list[bytes | None]"


@dataclass(frozen=True, slots=True)
class Rows:
    """What one call of the accumulator takes. Values and keys are both lists, or both columns."""

    values: Column
    keys: Column | None = None
    headers: Sequence[Any] | None = None  # of each row; such rows are appended one by one
    timestamps: int | Buffer = NOW
    partition: int = ANY_PARTITION


@dataclass(frozen=True, slots=True)
class _Given:
    """The same with columns as the caller has them, and a partition for each row."""

    values: Any
    keys: Any
    headers: Any
    timestamps: Any
    partitions: Any


def rows_of(
    values: Any, *, keys: Any = None, headers: Any = None, timestamps: Any = None, partitions: Any = None
) -> Iterator[Rows]:
    """The rows, cut where Arrow's chunks end, and gathered by partition where `partitions` has one for each.

    `timestamps` and `partitions` are an int for all or one for each row. Raises TypeError and ValueError for what does
    not fit.
    """
    given = _Given(_plain(values), _plain(keys), _plain(headers), _plain(timestamps), _plain(partitions))
    for piece in _pieces(given):
        for partition, part in _by_partition(piece):
            yield _rows(part, partition)


# ---- what was given


def _plain(given: Any) -> Any:
    """Polars and pandas as Arrow, NumPy or lists; everything else as it is."""
    if hasattr(given, "to_arrow"):
        return given.to_arrow()
    kind = type(given).__module__.partition(".")[0]
    if kind == "pandas":
        if hasattr(given, "columns"):
            raise TypeError("a pandas DataFrame has no binary columns: give its columns one by one, or an Arrow table")
        return given.tolist()
    if kind == "numpy":
        return given.tolist() if given.dtype.kind == "O" or given.ndim == 0 else given
    return given


def _is_arrow(given: Any) -> bool:
    return type(given).__module__.partition(".")[0] == "pyarrow"


def _pieces(given: _Given) -> Iterator[_Given]:
    """Each with columns of Arrow in one chunk, or without Arrow."""
    columns = (given.values, given.keys, given.headers, given.timestamps, given.partitions)
    if not any(map(_is_arrow, columns)):
        yield given
        return
    import pyarrow

    table = _table(pyarrow, columns)
    for batch in table.to_batches():
        found = [batch.column(name) if name in table.column_names else None for name in TABLE_COLUMNS]
        value, key, headers, partition, timestamp = found
        yield _Given(
            value,
            key,
            headers,
            given.timestamps if timestamp is None else timestamp,
            given.partitions if partition is None else partition,
        )


def _table(pyarrow: Any, columns: tuple[Any, ...]) -> Any:
    values, keys, headers, timestamps, partitions = columns
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
    beside = {"key": keys, "headers": headers, "timestamp": timestamps, "partition": partitions}
    for name, column in beside.items():
        if column is None or isinstance(column, int):
            continue
        if name in values.column_names:
            raise ValueError(f"{name}s are given twice: in the table, and beside it")
        values = values.append_column(name, _arrow(pyarrow, column))
    return values


def _arrow(pyarrow: Any, column: Any) -> Any:
    return column if _is_arrow(column) else pyarrow.array(column)


# ---- by partition


def _by_partition(given: _Given) -> Iterator[tuple[int, _Given]]:
    """(partition, rows) in the order of the rows within each."""
    partitions = given.partitions
    if partitions is None or isinstance(partitions, int):
        yield ANY_PARTITION if partitions is None else partitions, given
        return
    if _is_arrow(partitions):
        partitions = partitions.fill_null(ANY_PARTITION).to_pylist()
    elif hasattr(partitions, "tolist"):
        partitions = partitions.tolist()
    if len(partitions) != len(given.values):
        raise ValueError(f"{len(partitions)} partitions for {len(given.values)} values")
    places: dict[int, list[int]] = {}
    for row, partition in enumerate(partitions):
        places.setdefault(ANY_PARTITION if partition is None else partition, []).append(row)
    for partition, chosen in places.items():
        yield (
            partition,
            _Given(
                _take(given.values, chosen),
                _take(given.keys, chosen),
                _take(given.headers, chosen),
                _take(given.timestamps, chosen),
                partition,
            ),
        )


def _take(column: Any, chosen: list[int]) -> Any:
    if column is None or isinstance(column, int):
        return column
    if hasattr(column, "take"):  # Arrow, NumPy
        return column.take(chosen) if _is_arrow(column) else column[chosen]
    return [column[row] for row in chosen]


# ---- as the accumulator takes it


def _rows(given: _Given, partition: int) -> Rows:
    rows = Rows(_column(given.values), None, None, _times(given.timestamps), partition)
    if given.headers is not None:
        headers = given.headers.to_pylist() if _is_arrow(given.headers) else list(given.headers)
        listed = None if given.keys is None else _listed(given.keys)
        return replace(rows, values=_listed(given.values), keys=listed, headers=headers)
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
    if isinstance(given, str | bytes | bytearray | memoryview) or not isinstance(given, Iterable):
        raise TypeError(f"send_batch takes rows, found one {type(given).__name__}; send takes a single record")
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
    return array("q", given)
