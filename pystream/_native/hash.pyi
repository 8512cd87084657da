"""murmur2 as Kafka's partitioner computes it, and xxHash64."""

from typing_extensions import Buffer

def murmur2(data: Buffer) -> int:
    """Kafka's 32-bit murmur2 of `data`, signed as in Java."""

def partition_for_key(key: Buffer, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a record with this key.

    That is (murmur2(key) & 0x7FFFFFFF) % partitions.
    """

def xxhash64(data: Buffer, seed: int = 0) -> int:
    """XXH64 of `data`."""
