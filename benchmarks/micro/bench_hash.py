"""Hashes of keys and of blocks."""

from __future__ import annotations

from micro.samples import SIZES, random_bytes

from pystream._native.hash import murmur2, partition_for_key, xxhash64


class Hash:
    params = ((16, *SIZES),)
    param_names = ("bytes",)

    def setup(self, size: int) -> None:
        self.data = random_bytes(size)

    def time_murmur2(self, size: int) -> None:
        murmur2(self.data)

    def time_partition_for_key(self, size: int) -> None:
        partition_for_key(self.data, 12)

    def time_xxhash64(self, size: int) -> None:
        xxhash64(self.data)
