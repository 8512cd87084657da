"""Bytes in pieces, as sockets deliver them: frames are cut the same however the pieces fall, and no memory stays.

input: size of the pieces, bytes...
"""

from __future__ import annotations

import struct

from tests.fuzz.plane import shared

LARGEST_FRAME = 2048
SMALLEST_FRAME = 8


def seeds() -> list[bytes]:
    frames = [
        struct.pack(">i", size) + bytes(range(256)) * (size // 256) + b"f" * (size % 256) for size in (8, 100, 1500)
    ]
    return [
        b"\x03" + frames[0] * 3,
        b"\x40" + frames[1] + frames[2],
        b"\xff" + frames[2] + struct.pack(">i", -1),
        b"\x01\0\0\0\x07",
    ]


def cut(data: bytes) -> list[bytes]:
    """What is to come out: whole frames up to the first bad length."""
    frames = []
    while len(data) >= 4:
        (size,) = struct.unpack(">i", data[:4])
        if not SMALLEST_FRAME <= size <= LARGEST_FRAME or len(data) < 4 + size:
            break
        frames.append(data[4 : 4 + size])
        data = data[4 + size :]
    return frames


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    step, stream = data[0] + 1, data[1:]
    pieces = [stream[start : start + step] for start in range(0, len(stream), step)]
    probe = shared().probe
    assert probe.frames(pieces, LARGEST_FRAME)[:-1] == cut(stream)
    assert probe.memory_used == 0
