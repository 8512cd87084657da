"""Decodes record batches v2 to columns: one array per field, over one buffer; numpy takes them without a copy."""

from typing import final

from typing_extensions import Buffer

@final
class Column:
    """An array of int32, int64 or bytes that shows itself by the buffer protocol; numpy.asarray() takes it without a copy."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class RecordColumns:
    """Records as columns over one buffer: value i is data[value_starts[i]:][:value_sizes[i]]; size -1 is null.

    The columns show themselves by the buffer protocol: numpy.asarray(columns.offsets) copies nothing.  `data` is what
    was decoded, or the uncompressed records where a batch was compressed.
    """

    data: Buffer
    offsets: Column
    timestamps: Column
    key_starts: Column
    key_sizes: Column
    value_starts: Column
    value_sizes: Column
    headers_starts: Column
    headers_sizes: Column
    next_offset: int
    consumed: int
    def __len__(self) -> int: ...
    def keys(self) -> list[bytes | None]:
        """The keys, each a bytes object or None."""
    def values(self) -> list[bytes | None]:
        """The values, each a bytes object or None."""
    def headers(self, row: int) -> tuple[tuple[str, bytes | None], ...]:
        """(key, value) of each header of one row."""

def decode_columns(
    data: Buffer, *, from_offset: int = 0, limit: int = ..., check_crc: bool = True, include_control: bool = False
) -> RecordColumns:
    """The records of all whole batches in `data` from `from_offset` on, as columns.

    `limit` bounds what all compressed batches together may become.  `next_offset` is the offset behind the last whole
    batch (-1 without one), `consumed` its end in `data`.  Raises what RecordReader raises; more than 2 GiB of data is a
    ValueError.
    """
