"""What the consumer fetched of one partition: columns without copies, or messages, made only when asked for."""

from collections.abc import Iterator, Sequence
from typing import final, overload

from typing_extensions import Buffer

from pystream._native.kept_memory import Block
from pystream._native.record_columns import Column

CREATE_TIME: int
LOG_APPEND_TIME: int
DEFAULT_LIMIT: int

@final
class Message:
    """One message of a MessageBatch.  `key`, `value` and `headers` are made when asked for; it keeps its batch alive."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds; -1 is none."""
    @property
    def timestamp_type(self) -> int:
        """CREATE_TIME or LOG_APPEND_TIME."""
    @property
    def leader_epoch(self) -> int:
        """-1 when the broker did not say."""
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]: ...
    @property
    def delivery_count(self) -> int | None:
        """How often a share group has given it out, this time included; None of a consumer that is in none."""

@final
class MessageBatch(Sequence[Message]):
    """The records of one partition in one fetch answer, decoded on first use, or by decode().

    Left out: records below `from_offset`, control batches, and with `aborted` (producer id, first offset) the records of
    aborted transactions (read_committed).  Damage does not raise: the batch ends before it, and `error` says why.
    `limit` bounds what compressed batches become, together.  `data` is held, not copied.
    `acquired` (first offset, last offset, delivery count) in order is what a share group gave; it leaves nothing out.
    """

    def __new__(
        cls,
        data: Buffer,
        topic: str,
        partition: int,
        *,
        from_offset: int = 0,
        aborted: Sequence[tuple[int, int]] | None = None,
        check_crc: bool = True,
        limit: int = ...,
        acquired: Sequence[tuple[int, int, int]] | None = None,
    ) -> MessageBatch: ...
    def decode(self) -> None:
        """Decode now, without the GIL; nothing when it is done already."""
    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def next_offset(self) -> int:
        """Where to fetch on: behind the last whole batch, left out or not; `from_offset` without one."""
    @property
    def last_leader_epoch(self) -> int:
        """Of the last whole batch; -1 without one."""
    @property
    def error(self) -> Exception | None:
        """CorruptRecordBatch, MalformedInput, LimitExceeded, UnsupportedCompressionType: what stands at `next_offset`."""
    @property
    def size_bytes(self) -> int:
        """Of the data fetched."""
    @property
    def is_decoded(self) -> bool: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Message: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Message]: ...
    def __iter__(self) -> Iterator[Message]: ...
    def messages(self, start: int = 0, stop: int = ...) -> list[Message]:
        """The same as a slice: messages from `start` to before `stop`."""

    # columns; value i is data[value_starts[i]:][:value_sizes[i]], size -1 is null
    @property
    def data(self) -> Buffer:
        """What the starts count from: the data fetched, or the uncompressed records where a batch was compressed."""
    @property
    def offsets(self) -> Column: ...
    @property
    def timestamps(self) -> Column: ...
    @property
    def key_starts(self) -> Column: ...
    @property
    def key_sizes(self) -> Column: ...
    @property
    def value_starts(self) -> Column: ...
    @property
    def value_sizes(self) -> Column: ...
    @property
    def headers_starts(self) -> Column: ...
    @property
    def headers_sizes(self) -> Column: ...
    def keys(self) -> list[bytes | None]: ...
    def values(self) -> list[bytes | None]: ...
    def headers(self, row: int) -> tuple[tuple[str, bytes | None], ...]: ...
    def gather_values(self, start: int = 0, stop: int = ...) -> Gathered:
        """The values of the rows one behind the other, as Arrow's large_binary; one copy, without the GIL."""
    def gather_keys(self, start: int = 0, stop: int = ...) -> Gathered: ...

@final
class Gathered:
    """Three buffers of Arrow's large_binary layout: pa.Array.from_buffers(pa.large_binary(), len(g), [g.validity, g.offsets, g.data])."""

    @property
    def data(self) -> Block: ...
    @property
    def offsets(self) -> Column:
        """len() + 1 int64."""
    @property
    def validity(self) -> bytes | None:
        """None without nulls."""
    @property
    def null_count(self) -> int: ...
    def __len__(self) -> int: ...
