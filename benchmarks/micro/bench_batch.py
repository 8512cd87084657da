"""Record batch headers: what an append does to each batch besides copying it."""

from __future__ import annotations

from micro.samples import random_bytes

from pystream._native.batch import parse_headers, stamp, validate
from pystream._native.record_builder import RecordBatchBuilder


def batch_of(records: int, value_size: int) -> bytes:
    builder = RecordBatchBuilder()
    builder.extend([random_bytes(value_size)] * records, timestamps=0)
    return builder.build()


class Header:
    """`records` of 1 KB in a batch: 1, a 16 KB batch, a 1 MB batch."""

    params = ((1, 16, 990),)
    param_names = ("records",)

    def setup(self, records: int) -> None:
        self.batch = bytearray(batch_of(records, 1000))
        self.run = batch_of(1, 100) * 64

    def time_validate(self, records: int) -> None:
        validate(self.batch)

    def time_stamp(self, records: int) -> None:
        stamp(self.batch, 1_000_000, 7)

    def time_parse_64_headers(self, records: int) -> None:
        parse_headers(self.run)
