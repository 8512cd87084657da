"""Inputs that several benchmarks share. Everything is made from a fixed seed, so that runs can be compared."""

from __future__ import annotations

import random
import struct

SEED = 20_14
SIZES = (100, 1 << 10, 16 << 10, 1 << 20)
"""Bytes of a small record, a page of records, a common batch, a full batch."""


def random_bytes(size: int) -> bytes:
    """`size` bytes that do not compress."""
    return random.Random(SEED).randbytes(size)


def text_bytes(size: int) -> bytes:
    """`size` bytes of JSON lines that compress like log data do."""
    chooser = random.Random(SEED)
    lines = bytearray()
    while len(lines) < size:
        account, amount = chooser.randrange(10_000), chooser.randrange(1_000_000)
        lines += b'{"account": %d, "amount": %d, "currency": "EUR", "state": "accepted"}\n' % (account, amount)
    return bytes(lines[:size])


def varint(value: int) -> bytes:
    """Zig-zag varint, as inside record batches."""
    number = (value << 1) ^ (value >> 63)
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def record_batch(records: int, value: bytes, *, checksum: int = 0) -> bytes:
    """An uncompressed record batch v2 of `records` equal records without keys; `checksum` goes in as it is."""
    parts = []
    for number in range(records):
        body = b"\x00" + varint(0) + varint(number) + varint(-1) + varint(len(value)) + value + varint(0)
        parts.append(varint(len(body)) + body)
    tail = struct.pack(">hiqqqhii", 0, records - 1, 0, 0, -1, -1, -1, records) + b"".join(parts)
    return struct.pack(">qiib", 0, 9 + len(tail), -1, 2) + struct.pack(">I", checksum) + tail
