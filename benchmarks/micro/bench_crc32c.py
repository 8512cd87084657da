"""CRC-32C: every implementation of this processor, against serial and table ones."""

from __future__ import annotations

from micro.samples import SIZES, random_bytes

from pystream._native.crc32c import crc32c_with, implementations


class Checksum:
    params = (list(implementations()), SIZES)
    param_names = ("implementation", "bytes")

    def setup(self, implementation: str, size: int) -> None:
        self.data = random_bytes(size)

    def time_crc32c(self, implementation: str, size: int) -> None:
        crc32c_with(implementation, self.data)
