"""Where Kafka's default partitioner sends the records of a key, for those who choose partitions themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystream._native.hash import partition_for_key

if TYPE_CHECKING:
    from typing_extensions import Buffer


def partition_of(key: Buffer, partition_count: int) -> int:
    """The partition of a key, by its murmur2: the same in every client of Kafka's own."""
    return partition_for_key(key, partition_count)
