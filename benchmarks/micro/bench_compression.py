"""The four codecs, on text that compresses like log data."""

from __future__ import annotations

from micro.samples import text_bytes

from pystream._native.compression import Codec, compress, decompress, is_available


class Compression:
    params = ([codec.name.lower() for codec in Codec if codec and is_available(codec)], (16 << 10, 1 << 20))
    param_names = ("codec", "bytes")

    def setup(self, name: str, size: int) -> None:
        self.codec = Codec[name.upper()]
        self.data = text_bytes(size)
        self.compressed = compress(self.data, self.codec)

    def time_compress(self, name: str, size: int) -> None:
        compress(self.data, self.codec)

    def time_decompress(self, name: str, size: int) -> None:
        decompress(self.compressed, self.codec)

    def track_ratio(self, name: str, size: int) -> float:
        return len(self.data) / len(self.compressed)
