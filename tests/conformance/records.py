"""The records that every client writes and reads, and the file that carries them to programs outside Python.

`generate(partition, count)` gives the same records every time, on every machine, so a reader needs no copy of what was
written: it compares against the generator. Java gets and gives the records as files, big-endian, one after the other:

    partition int32 | offset int64 | timestamp int64 | key blob | value blob | header count int32 | (name, value) ...
    blob = length int32 (-1: null), then that many bytes

The offset is -1 in what is to be written, and the broker's in what was read.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

PARTITIONS = 2
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
SEED = 20_240_229
FIRST_TIMESTAMP_MS = 1_709_208_000_000
NO_OFFSET = -1
LARGE_RECORD_EVERY = 2_000
LARGE_RECORD_BYTES = 60_000
WORDS = (b"stream", b"log", b"offset", b"leader", b"epoch", b"fetch", b"batch", b"broker", b"topic", "流れ".encode())

_FIXED = struct.Struct(">iqq")
_LENGTH = struct.Struct(">i")


class Record(NamedTuple):
    """What a client can set on a record. `timestamp_ms` is None where the client leaves it to its clock."""

    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Placed(NamedTuple):
    """A record and where it is, or where it goes (`offset` is then NO_OFFSET)."""

    partition: int
    offset: int
    record: Record


def generate(partition: int, count: int) -> Iterator[Record]:
    """`count` records: null, empty, random and wordy keys and values, none to three headers, timestamps that step back.

    Key and value are never both null, which kafka-python and aiokafka refuse to send.
    """
    dice = random.Random(SEED + partition)
    timestamp_ms = FIRST_TIMESTAMP_MS
    for index in range(count):
        timestamp_ms += dice.randrange(-20, 100)
        kind = dice.randrange(32)
        key = None if kind < 4 else dice.randbytes(dice.randrange(24))
        value: bytes | None
        if index % LARGE_RECORD_EVERY == LARGE_RECORD_EVERY // 2:
            value = dice.randbytes(64) * (LARGE_RECORD_BYTES // 64)
        elif kind == 4:
            value = None
        elif kind < 8:
            value = dice.randbytes(dice.randrange(120))
        else:
            value = b" ".join(dice.choices(WORDS, k=dice.randrange(20)))
        yield Record(timestamp_ms, key, value, _headers(dice, kind))


def _headers(dice: random.Random, kind: int) -> tuple[tuple[str, bytes | None], ...]:
    if kind & 3:
        return ()
    names = ("trace", "größe", "", "trace")[: dice.randrange(1, 5)]
    return tuple((name, dice.randbytes(dice.randrange(12))) for name in names)


def feed(count: int) -> Iterator[Placed]:
    """`count` records over all partitions, in turns: what a producer is given."""
    streams = [generate(partition, count // PARTITIONS) for partition in range(PARTITIONS)]
    for turn in zip(*streams, strict=True):
        for partition, record in enumerate(turn):
            yield Placed(partition, NO_OFFSET, record)


def write_file(path: Path, placed: Iterable[Placed]) -> None:
    with open(path, "wb") as file:
        for part in placed:
            file.write(encode(part))


def encode(placed: Placed) -> bytes:
    """One record in the form at the head of this module."""
    timestamp_ms = placed.record.timestamp_ms
    assert timestamp_ms is not None
    parts = [_FIXED.pack(placed.partition, placed.offset, timestamp_ms)]
    parts += (_blob(placed.record.key), _blob(placed.record.value), _LENGTH.pack(len(placed.record.headers)))
    for name, value in placed.record.headers:
        parts += (_blob(name.encode()), _blob(value))
    return b"".join(parts)


def _blob(value: bytes | None) -> bytes:
    return _LENGTH.pack(-1) if value is None else _LENGTH.pack(len(value)) + value


def read_file(path: Path) -> Iterator[Placed]:
    with open(path, "rb") as file:
        while fixed := file.read(_FIXED.size):
            partition, offset, timestamp_ms = _FIXED.unpack(fixed)
            key, value = _read_blob(file), _read_blob(file)
            header_count = _read_length(file)
            headers = tuple(_read_header(file) for _ in range(header_count))
            yield Placed(partition, offset, Record(timestamp_ms, key, value, headers))


def _read_header(file: BinaryIO) -> tuple[str, bytes | None]:
    name = _read_blob(file)
    assert name is not None
    return name.decode(), _read_blob(file)


def _read_length(file: BinaryIO) -> int:
    length: int = _LENGTH.unpack(file.read(_LENGTH.size))[0]
    return length


def _read_blob(file: BinaryIO) -> bytes | None:
    length = _read_length(file)
    return None if length < 0 else file.read(length)
