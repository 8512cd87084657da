"""What logs leave behind, as scenes for the probe of recovery: their files, and none of them left cleanly."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder

Scene = list[tuple[str, bytes]]
SMALL = {"segment_bytes": 500, "index_interval_bytes": 64, "flush_policy": "os"}


def batch(count: int, **fields: int | bool) -> bytes:
    builder = RecordBatchBuilder(**fields)
    for number in range(count):
        builder.append(b"value", timestamp=1_000 + number, key=b"k")
    return bytes(builder.build())


def marker(*, commit: bool, **producer: int) -> bytes:
    builder = RecordBatchBuilder(**producer, transactional=True, control=True)
    builder.append(struct.pack(">hi", 0, 0), key=struct.pack(">hh", 0, int(commit)), timestamp=1_000)
    return bytes(builder.build())


def transactions() -> list[bytes]:
    """Two producers: one aborts, one commits and leaves its next transaction open."""
    one, two = {"producer_id": 5, "producer_epoch": 0}, {"producer_id": 6, "producer_epoch": 3}
    return [
        batch(2, **one, base_sequence=0, transactional=True),
        batch(1, **two, base_sequence=0, transactional=True),
        marker(commit=False, **one),
        batch(2, **two, base_sequence=1, transactional=True),
        marker(commit=True, **two),
        batch(3, **one, base_sequence=2),
        batch(1, **two, base_sequence=3, transactional=True),
    ]


def scene(folder: Path, batches: list[bytes], *, clean: bool, flush_every: int) -> Scene:
    """The files of a log that these batches were appended to, under a new leader epoch after every third."""
    log = LocalLog.open(str(folder), **SMALL)
    for number, data in enumerate(batches):
        log.append(data, leader_epoch=number // 3, now_ms=1_000)
        if flush_every and (number + 1) % flush_every == 0:
            log.flush()
    log.close(clean=clean)
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def scenes() -> list[Scene]:
    plain = [batch(1 + number % 3) for number in range(5)]
    idempotent = [batch(2, producer_id=5, producer_epoch=0, base_sequence=2 * number) for number in range(4)]
    packed = [batch(3, codec=1 + number % 4) for number in range(3)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, batches in enumerate(
            (plain, 4 * plain, idempotent, 4 * packed, transactions(), 3 * plain + packed)
        ):
            for clean, flush_every in ((True, 0), (False, 0), (False, 2)):
                path = Path(folder) / f"{number}-{clean}-{flush_every}"
                found.append(scene(path, batches, clean=clean, flush_every=flush_every))
    return found
