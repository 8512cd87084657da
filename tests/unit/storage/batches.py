"""Record batches for the tests of the log."""

from __future__ import annotations

import struct

from pystream._native.record_builder import RecordBatchBuilder


def batch(
    count: int = 1,
    *,
    timestamp: int = 1_000,
    size: int = 10,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    transactional: bool = False,
    codec: int = 0,
    fill: bytes = b"v",
) -> bytes:
    """One batch of `count` records with values of `size` bytes, one millisecond apart."""
    builder = RecordBatchBuilder(
        codec=codec, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, transactional=transactional
    )
    for number in range(count):
        builder.append(fill * size, timestamp=timestamp + number)
    return builder.build()


def marker(producer_id: int, epoch: int, *, commit: bool, timestamp: int = 1_000, coordinator_epoch: int = 0) -> bytes:
    """The control batch that ends a transaction."""
    builder = RecordBatchBuilder(producer_id=producer_id, producer_epoch=epoch, transactional=True, control=True)
    builder.append(
        struct.pack(">hi", 0, coordinator_epoch), key=struct.pack(">hh", 0, int(commit)), timestamp=timestamp
    )
    return builder.build()


def offsets(data: bytes) -> list[tuple[int, int]]:
    """(base offset, last offset) of every batch in `data`."""
    found = []
    position = 0
    while position < len(data):
        base, length = struct.unpack_from(">qi", data, position)
        found.append((base, base + struct.unpack_from(">i", data, position + 23)[0]))
        position += length + 12
    return found
