"""Decompression of anything by anything: an error or at most the limit, never more; and every codec undoes itself.

input: codec, bytes...      codec + 5 and up: the bytes are compressed first, one of them damaged, if bit 7 is set
"""

from __future__ import annotations

from pystream._native.compression import Codec, compress, decompress, is_available
from pystream.common.errors import PystreamError

LIMIT = 1 << 16
CODECS = [codec for codec in Codec if is_available(codec)]


def seeds() -> list[bytes]:
    text = b"a stream of bytes, a stream of bytes, a stream of bytes" * 4
    direct = [bytes([index]) + compress(text, codec) for index, codec in enumerate(CODECS)]
    return direct + [bytes([len(CODECS) + index]) + text for index in range(len(CODECS))]


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    codec = CODECS[(data[0] & 127) % len(CODECS)]
    given = data[1:]
    if (data[0] & 127) >= len(CODECS):
        packed = bytearray(compress(given, codec))
        if not data[0] & 128:
            assert decompress(packed, codec, limit=LIMIT) == given
            return
        packed[given[0] % len(packed)] ^= 1 + given[-1] % 255
        given = bytes(packed)
    try:
        assert len(decompress(given, codec, limit=LIMIT)) <= LIMIT
    except PystreamError:
        return
