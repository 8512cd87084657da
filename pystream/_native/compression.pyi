"""gzip, snappy, lz4 and zstd of record batches, with an output limit.

The system's libraries are opened on first use (zlib1g, libsnappy1v5, liblz4-1, libzstd1 on Debian); only the codec
whose library is missing fails.  Source: KIP-110 (zstd), KIP-390 (levels), KIP-57 (lz4 frames).
"""

from enum import IntEnum
from typing import Final

from typing_extensions import Buffer

class Codec(IntEnum):
    """The codec bits of a record batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4

DEFAULT_LIMIT: Final[int]

def is_available(codec: int) -> bool:
    """Whether `codec` is known and its library can be opened."""

def limit_for(size: int, topic_limit: int = 0) -> int:
    """What `size` compressed bytes may become: min(100 MiB, max(16 MiB, 1,000 x size), topic_limit where > 0)."""

def decompress(data: Buffer, codec: int, *, limit: int = ...) -> bytes:
    """The bytes that `data` stands for, at most `limit` of them.  Never takes more than that much memory for them.

    Raises MalformedInput for damaged input, LimitExceeded above the limit or for a zstd window above 8 MiB, and
    UnsupportedCompressionType for an unknown codec or one whose library is not installed.
    """

def compress(data: Buffer, codec: int, *, level: int | None = None) -> bytes:
    """`data` in the framing that Kafka's clients read; `level` None means the codec's own default.

    Levels are those of Kafka's compression.*.level: gzip 1 to 9 (-1 the default), lz4 1 to 17 (9 the default, which is
    the fast compressor; above 2 all others are slow), zstd -131072 to 22 (3 the default); the others have none.  Raises
    ValueError for a level the codec does not have, and UnsupportedCompressionType as decompress() does.
    """

def level_of(codec: int, level: int | None) -> int:
    """The level as the C core takes it, a sentinel for None.  Raises ValueError outside the codec's bounds."""
