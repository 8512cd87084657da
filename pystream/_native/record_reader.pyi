"""Reads the records of record batches v2, one by one or by time.

Source: KIP-98 (format), KIP-32 (timestamps), KIP-79 and KIP-734 (offsets by timestamp).
"""

from collections.abc import Iterable
from typing import Self, final

from typing_extensions import Buffer

@final
class Record:
    """One record: what the producer sent, with the offset and the timestamp that its batch gives it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    def __init__(
        self,
        offset: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]] = (),
    ) -> None: ...

@final
class RecordReader:
    """Iterates over the records of all whole batches in `data`, control batches left out unless asked for.

    The CRC of each batch is checked first.  `limit` bounds what one batch may become (0: compression.limit_for() its
    size).  Raises CorruptRecordBatch, MalformedInput, LimitExceeded or UnsupportedCompressionType where a batch is at
    fault; what follows the last whole batch is left alone, as a fetch answer may end in the middle of one.
    """

    def __new__(cls, data: Buffer, *, limit: int = 0, include_control: bool = False) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Record: ...

def find_timestamp(
    batch: Buffer, timestamp_ms: int, *, from_offset: int = 0, limit_offset: int = ...
) -> tuple[int, int] | None:
    """(timestamp, offset) of the first record at or after `timestamp_ms` within the offsets; None without one."""

def find_max_timestamp(batch: Buffer, *, from_offset: int = 0, limit_offset: int = ...) -> tuple[int, int] | None:
    """(timestamp, offset) of the first record with the highest timestamp within the offsets; None without one."""

def check(batch: Buffer, *, limit: int = 0, require_keys: bool = False) -> None:
    """Read every record of a batch; raise unless all are well formed, numbered without gaps and, if asked, keyed."""
