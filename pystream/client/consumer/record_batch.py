"""Records of one partition as columns: NumPy and Arrow look at the memory that was received."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from pystream._native.message_batch import Message, MessageBatch
from pystream._native.record_columns import Column

if TYPE_CHECKING:
    import numpy
    import pandas
    import polars
    import pyarrow
    from typing_extensions import Buffer


class RecordBatch(Sequence[Message]):
    """Rows `start` to before `stop` of what was fetched.

    Offsets, timestamps and the places of keys and values are arrays over memory that is shared with the consumer's
    answer: nothing is copied, and it lives as long as the batch or any of its arrays does. As a sequence it gives
    Messages, made when asked for.

    With deserializers `keys`, `values`, the messages and `to_pandas` are what they made; all else stays bytes.
    """

    __slots__ = ("_batch", "_decoded", "_start", "_stop")

    def __init__(self, batch: MessageBatch, start: int, stop: int, decoded: list[Any] | None = None) -> None:
        """`decoded`: the messages of these rows, as deserializers made them."""
        self._batch = batch
        self._start = start
        self._stop = stop
        self._decoded = decoded

    @property
    def topic(self) -> str:
        return self._batch.topic

    @property
    def partition(self) -> int:
        return self._batch.partition

    @property
    def next_offset(self) -> int:
        """The consumer's position behind this batch."""
        return self._batch.next_offset if self._stop == len(self._batch) else self._batch[self._stop - 1].offset + 1

    @property
    def size_bytes(self) -> int:
        """Of the keys and values together."""
        import numpy

        sizes = self._view(self._batch.key_sizes), self._view(self._batch.value_sizes)
        return sum(int(numpy.maximum(numpy.asarray(column), 0).sum(dtype=numpy.int64)) for column in sizes)

    # --- columns ------------------------------------------------------------------------------------------------------

    @property
    def data(self) -> Buffer:
        """The bytes that `key_starts` and `value_starts` count from."""
        return self._batch.data

    @property
    def offsets(self) -> memoryview:
        """int64 each."""
        return self._view(self._batch.offsets)

    @property
    def timestamps(self) -> memoryview:
        """int64 each: milliseconds, -1 for none."""
        return self._view(self._batch.timestamps)

    @property
    def key_starts(self) -> memoryview:
        """int32 each: key i is data[key_starts[i]:][:key_sizes[i]]."""
        return self._view(self._batch.key_starts)

    @property
    def key_sizes(self) -> memoryview:
        """int32 each; -1 is null."""
        return self._view(self._batch.key_sizes)

    @property
    def value_starts(self) -> memoryview:
        """int32 each: value i is data[value_starts[i]:][:value_sizes[i]]."""
        return self._view(self._batch.value_starts)

    @property
    def value_sizes(self) -> memoryview:
        """int32 each; -1 is null."""
        return self._view(self._batch.value_sizes)

    def keys(self) -> list[Any]:
        """The keys as Python objects: bytes or None, or what the deserializer made of them."""
        if self._decoded is not None:
            return [message.key for message in self._decoded]
        return self._batch.keys()[self._start : self._stop]

    def values(self) -> list[Any]:
        """The values as Python objects: bytes or None, or what the deserializer made of them."""
        if self._decoded is not None:
            return [message.value for message in self._decoded]
        return self._batch.values()[self._start : self._stop]

    def headers(self, row: int) -> tuple[tuple[str, bytes | None], ...]:
        """The headers of one row."""
        return self._batch.headers(self._row(row))

    def _view(self, column: Column) -> memoryview:
        whole = memoryview(column)
        return whole if self._stop - self._start == len(column) else whole[self._start : self._stop]

    # --- hand-over to libraries, which are imported here --------------------------------------------------------------

    def to_numpy(self) -> dict[str, numpy.ndarray[Any, Any]]:
        """All columns as arrays, none copied: offset, timestamp, key_start, key_size, value_start, value_size and data.

        Where all values have one size and follow one another at one distance, as fixed-width records do, numpy's own
        strides make a matrix of them: see `value_matrix`.
        """
        import numpy

        return {
            "offset": numpy.asarray(self.offsets),
            "timestamp": numpy.asarray(self.timestamps),
            "key_start": numpy.asarray(self.key_starts),
            "key_size": numpy.asarray(self.key_sizes),
            "value_start": numpy.asarray(self.value_starts),
            "value_size": numpy.asarray(self.value_sizes),
            "data": numpy.frombuffer(memoryview(self.data), dtype=numpy.uint8),
        }

    def value_matrix(self) -> numpy.ndarray[Any, Any]:
        """Values of one size as a matrix of bytes, a row each; `.view("S100")` or a record dtype reads it as that.

        Copied only when the values do not lie at one distance. Raises ValueError for nulls and sizes that differ.
        """
        import numpy

        columns = self.to_numpy()
        starts, sizes, data = columns["value_start"], columns["value_size"], columns["data"]
        if len(self) == 0:
            return numpy.empty((0, 0), dtype=numpy.uint8)
        size = int(sizes[0])
        if size < 0 or not bool((sizes == size).all()):
            raise ValueError(f"{self.topic}-{self.partition}: values differ in size, or some are null; use to_arrow()")
        steps = numpy.diff(starts)
        step = int(steps[0]) if len(steps) else max(size, 1)
        if len(steps) == 0 or bool((steps == step).all()):
            first = data[int(starts[0]) :]
            return numpy.lib.stride_tricks.as_strided(first, (len(self), size), (step, 1), writeable=False)
        return data[starts[:, None] + numpy.arange(size)]

    def to_arrow(self) -> pyarrow.RecordBatch:
        """offset, timestamp[ms], key and value as Arrow: the first two without a copy, the bytes gathered in one.

        Timestamps of -1 stay what they are, a millisecond before 1970.
        """
        import pyarrow

        count = len(self)
        offsets = pyarrow.Array.from_buffers(pyarrow.int64(), count, [None, pyarrow.py_buffer(self.offsets)])
        times = pyarrow.Array.from_buffers(pyarrow.timestamp("ms"), count, [None, pyarrow.py_buffer(self.timestamps)])
        gathered = (
            self._batch.gather_keys(self._start, self._stop),
            self._batch.gather_values(self._start, self._stop),
        )
        columns = [
            pyarrow.Array.from_buffers(
                pyarrow.large_binary(),
                count,
                [
                    None if part.validity is None else pyarrow.py_buffer(part.validity),
                    pyarrow.py_buffer(part.offsets),
                    pyarrow.py_buffer(part.data),
                ],
                null_count=part.null_count,
            )
            for part in gathered
        ]
        return pyarrow.RecordBatch.from_arrays([offsets, times, *columns], ["offset", "timestamp", "key", "value"])

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame of offset, timestamp, key and value; keys and values are Python objects."""
        import numpy
        import pandas

        return pandas.DataFrame(
            {
                "offset": numpy.asarray(self.offsets),
                "timestamp": numpy.asarray(self.timestamps).view("datetime64[ms]"),
                "key": pandas.Series(self.keys(), dtype=object),
                "value": pandas.Series(self.values(), dtype=object),
            }
        )

    def to_polars(self) -> polars.DataFrame:
        """A DataFrame of offset, timestamp, key and value, by way of Arrow."""
        import polars

        frame = polars.from_arrow(self.to_arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame

    # --- a sequence of messages ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if self._decoded is not None:
            decoded: Message | list[Message] = self._decoded[index]
            return decoded
        if isinstance(index, slice):
            return [self._batch[self._start + row] for row in range(*index.indices(len(self)))]
        return self._batch[self._row(index)]

    def __iter__(self) -> Iterator[Message]:
        if self._decoded is not None:
            return iter(self._decoded)
        if len(self) == len(self._batch):
            return iter(self._batch)
        return iter(self._batch.messages(self._start, self._stop))

    def _row(self, index: int) -> int:
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._start + row

    def __repr__(self) -> str:
        if len(self) == 0:
            return f"RecordBatch({self.topic}-{self.partition}, empty)"
        return f"RecordBatch({self.topic}-{self.partition}, offsets {self.offsets[0]} to {self.offsets[-1]})"
