"""Appending to a producer's buffer, from any thread: one record, a list of them, or columns."""

from collections.abc import Iterable
from typing import TypeAlias

from typing_extensions import Buffer

from pystream._native.column_source import ColumnSource, HeaderColumn
from pystream._native.delivery import Deliveries, Delivery

_Headers: TypeAlias = Iterable[tuple[str | bytes, Buffer | None]]

class Appender:
    """The half of an Accumulator that any thread may use: topics and append*()."""

    # topics
    def set_topic(self, topic: str, partitions: int, unavailable: Iterable[int] = ()) -> None:
        """Make the topic known, or change it; partitions never become fewer.

        Records without key go round the partitions that are not `unavailable` (those without leader).
        """
    def partition_count(self, topic: str) -> int:
        """0 for a topic that set_topic() has not made known."""

    # appending, from any thread
    def append(
        self,
        topic: str,
        value: Buffer | None,
        key: Buffer | None = None,
        headers: _Headers | None = None,
        partition: int = -1,
        timestamp_ms: int = -1,
    ) -> Delivery | None:
        """Add one record; None when the memory is full: wait for `on_memory`, then try again.

        Partition -1: by murmur2 of the key, or sticky without a key (KIP-794).  Timestamp -1: now.
        Raises UnknownTopicOrPartition before set_topic() knows them, MessageTooLarge above max_request_bytes (or above
        the limit), InvalidTimestamp, Closed after close(), ClientForked in a child process.
        """
    def append_many(
        self,
        topic: str,
        values: Iterable[bytes | None],
        keys: Iterable[bytes | None] | None = None,
        *,
        partition: int = -1,
        timestamps: int | Buffer = -1,
        headers: _Headers | None = None,
        row_headers: HeaderColumn | None = None,
        start: int = 0,
    ) -> Deliveries:
        """Add a record for each value from `start` on; values and keys are bytes or None; `headers` go with each.

        Those of `row_headers` go with their row, in front of them.

        `timestamps`: one for all, or int64s by the buffer protocol; -1 is now.  Ends before the first row that the
        memory has no room for or that append() would refuse: see Deliveries.taken.  When that is row `start` itself,
        `taken` is 0 for want of memory, and for all else it raises as append() does.
        """
    def append_columns(
        self,
        topic: str,
        values: ColumnSource,
        keys: ColumnSource | None = None,
        *,
        partition: int = -1,
        timestamps: int | Buffer = -1,
        headers: _Headers | None = None,
        row_headers: HeaderColumn | None = None,
        start: int = 0,
    ) -> Deliveries:
        """The same for columns: without a Python object a record, and without the GIL."""
