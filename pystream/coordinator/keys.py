"""Which partition of a coordinator's topic is responsible for a key: Java's String.hashCode, as Kafka takes it."""

from __future__ import annotations

import struct

from pystream.common.errors import CoordinatorNotAvailable

REMEMBERED_KEYS = 65_536
_SIGN = 1 << 31


def java_hash(text: str) -> int:
    """String.hashCode: over UTF-16 code units, as an int32."""
    encoded = text.encode("utf-16-be", "surrogatepass")
    total = 0
    for unit in struct.unpack(f">{len(encoded) // 2}H", encoded):
        total = (total * 31 + unit) & 0xFFFFFFFF
    return total - (1 << 32) if total & _SIGN else total


class PartitionKeys:
    """Key -> partition, remembered for as many keys as are asked for at a time."""

    def __init__(self) -> None:
        self._count = 0
        self._known: dict[str, int] = {}

    @property
    def partition_count(self) -> int:
        return self._count

    @partition_count.setter
    def partition_count(self, count: int) -> None:
        if count != self._count:
            self._count = count
            self._known.clear()

    def partition_for(self, key: str) -> int:
        """Raises CoordinatorNotAvailable while the topic does not exist."""
        found = self._known.get(key)
        if found is not None:
            return found
        if self._count == 0:
            raise CoordinatorNotAvailable()
        hashed = java_hash(key)
        partition = 0 if hashed == -_SIGN else abs(hashed) % self._count
        if len(self._known) >= REMEMBERED_KEYS:
            self._known.clear()
        self._known[key] = partition
        return partition
