"""Builds record batches v2 from single records or from columns, with codec, producer fields and CRC."""

from collections.abc import Iterable
from typing import Self, final

from typing_extensions import Buffer

@final
class RecordBatchBuilder:
    """Collects records and gives one finished batch; then it is empty and can be used again, with the same fields.

    `limit` bounds the uncompressed batch in bytes.  With `append_time_ms` the batch is of LogAppendTime.  The leader
    epoch and the base offset are outside the CRC: the broker stamps them.
    """

    def __new__(
        cls,
        *,
        codec: int = 0,
        level: int | None = None,
        limit: int = 0,
        base_offset: int = 0,
        partition_leader_epoch: int = -1,
        producer_id: int = -1,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        transactional: bool = False,
        control: bool = False,
        append_time_ms: int | None = None,
    ) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def size_bytes(self) -> int:
        """Of the batch so far, before compression."""
    def append(
        self,
        value: Buffer | None,
        *,
        timestamp: int,
        key: Buffer | None = None,
        headers: Iterable[tuple[str | bytes, Buffer | None]] = (),
        offset: int | None = None,
    ) -> int:
        """Add one record; key and value are bytes-like or None.  Returns its offset: `offset`, or the next one.

        Raises MessageTooLarge when the batch would pass the limit (nothing is added then), InvalidTimestamp below -1,
        and MalformedInput when `offset` is not above the last one.
        """
    def extend(
        self, values: list[bytes | None], *, timestamps: int | Buffer, keys: list[bytes | None] | None = None
    ) -> int:
        """Add one record for each of `values` (bytes or None).

        `timestamps` is one for all, or int64s by the buffer protocol.  Returns how many fitted the limit.
        """
    def extend_columns(
        self,
        data: Buffer,
        value_starts: Buffer,
        value_sizes: Buffer,
        timestamps: Buffer,
        *,
        key_starts: Buffer | None = None,
        key_sizes: Buffer | None = None,
    ) -> int:
        """Add one record per row of columns as RecordColumns has them; size -1 is null.

        Returns how many fitted the limit.  Raises ValueError when columns differ in length or a row lies outside
        `data`.
        """
    def build(self) -> bytes:
        """The finished batch; the builder is empty then.  Raises ValueError without records."""

def recompress(batch: Buffer, codec: int, *, level: int | None = None, limit: int = 0) -> bytes:
    """The batch at the start of `batch` with its records in another codec, everything else as it was.

    The batch is validated first; `limit` bounds what its records may become (0: compression.limit_for() their size).
    Raises what validate(), decompress() and compress() raise.
    """
