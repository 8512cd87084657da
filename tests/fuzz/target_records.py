"""Records inside of batches, compressed or not: three readers that must agree, and none that takes too much memory.

input: codec, count (2 bytes), records...     a header is built around them, so that only the records lie
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

from pystream._native import record_columns, record_reader
from pystream._native.crc32c import crc32c
from pystream._native.record_builder import RecordBatchBuilder, recompress
from pystream.common.errors import PystreamError

Result = TypeVar("Result")
LIMIT = 1 << 16
HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = HEADER.size


def batch_around(codec: int, count: int, records: bytes) -> bytes:
    """A batch whose header is right in everything but, perhaps, the number of its records."""
    size = HEADER_SIZE - 12 + len(records)
    fields = (codec, count - 1, 1000, 2000, -1, -1, -1, count)
    header = bytearray(HEADER.pack(0, size, 0, 2, 0, *fields))
    header[17:21] = crc32c(bytes(header[21:]) + records).to_bytes(4, "big")
    return bytes(header) + records


def seeds() -> list[bytes]:
    inputs = []
    for codec in range(5):
        builder = RecordBatchBuilder(codec=codec)
        for number in range(4):
            builder.append(b"v" * 40 * number, timestamp=1000 + number, key=None, headers=[("header", b"x")] * number)
        inputs.append(bytes([codec]) + (4).to_bytes(2, "big") + bytes(builder.build())[HEADER_SIZE:])
    return inputs


def outcome(call: Callable[[], Result]) -> Result | None:
    """None for input that was refused in an orderly way."""
    try:
        return call()
    except PystreamError:
        return None


def read(batch: bytes) -> list[record_reader.Record]:
    return list(record_reader.RecordReader(batch, limit=LIMIT))


def check(data: bytes) -> None:
    if len(data) < 4:
        return
    codec, other, count = data[0] % 5, data[0] // 5 % 5, max(1, int.from_bytes(data[1:3], "big"))
    batch = batch_around(codec, count, data[3:])
    records = outcome(lambda: read(batch))
    columns = outcome(lambda: record_columns.decode_columns(batch, limit=LIMIT))
    assert (records is None) == (columns is None)
    if records is not None and columns is not None:
        assert [record.value for record in records] == columns.values()
        assert [record.key for record in records] == columns.keys()
        assert [record.headers for record in records] == [columns.headers(row) for row in range(len(columns))]
    outcome(lambda: record_reader.find_timestamp(batch, 1500))
    outcome(lambda: record_reader.find_max_timestamp(batch))
    outcome(lambda: record_reader.check(batch, limit=LIMIT, require_keys=True))
    changed = outcome(lambda: recompress(batch, other, limit=LIMIT))
    if changed is not None:
        assert outcome(lambda: read(changed)) == records
