"""librdkafka's partitioners: where the records of a key go must not change with the client."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Final

from pystream.client.producer.partitioning import partition_of

ANY_PARTITION: Final = -1
FNV_OFFSET: Final = 0x811C9DC5
FNV_PRIME: Final = 0x01000193
POSITIVE: Final = 0x7FFFFFFF
WORD: Final = 0xFFFFFFFF


def consistent(key: bytes, partition_count: int) -> int:
    """The CRC-32 of the key."""
    return zlib.crc32(key) % _checked(partition_count)


def murmur2(key: bytes, partition_count: int) -> int:
    """As the Java client has it."""
    return partition_of(key, _checked(partition_count))


def fnv1a(key: bytes, partition_count: int) -> int:
    """FNV-1a of 32 bits, as the Go client Sarama has it: the remainder of a signed number, without its sign."""
    found = FNV_OFFSET
    for byte in key:
        found = (found ^ byte) * FNV_PRIME & WORD
    signed = found - (1 << 32) if found > POSITIVE else found
    return abs(signed) % _checked(partition_count)


def _checked(partition_count: int) -> int:
    if partition_count <= 0:
        raise ValueError("partition_count must be > 0")
    return partition_count


def _anywhere(key: bytes | None, partition_count: int) -> int:
    return random.randrange(partition_count)


def _null_anywhere(of_key: Callable[[bytes, int], int], *, empty_too: bool) -> Callable[[bytes | None, int], int]:
    def partition(key: bytes | None, partition_count: int) -> int:
        if key is None or (empty_too and not key):
            return ANY_PARTITION
        return of_key(key, partition_count)

    return partition


def _always(of_key: Callable[[bytes, int], int]) -> Callable[[bytes | None, int], int]:
    return lambda key, partition_count: of_key(key or b"", partition_count)


PARTITIONERS: Final[dict[str, Callable[[bytes | None, int], int]]] = {
    "random": _anywhere,
    "consistent": _always(consistent),
    "consistent_random": _null_anywhere(consistent, empty_too=True),
    "murmur2": _always(murmur2),
    "murmur2_random": _null_anywhere(murmur2, empty_too=False),
    "fnv1a": _always(fnv1a),
    "fnv1a_random": _null_anywhere(fnv1a, empty_too=False),
}
