"""Records in and out of batches: as objects, as lists, as columns."""

from __future__ import annotations

from micro.samples import random_bytes

from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.record_columns import decode_columns
from pystream._native.record_reader import RecordReader, check, find_timestamp

RECORDS = 1000


class Records:
    """1,000 records of a size, uncompressed."""

    params = ((100, 1000),)
    param_names = ("value bytes",)

    def setup(self, size: int) -> None:
        self.values: list[bytes | None] = [random_bytes(size)] * RECORDS
        self.builder = RecordBatchBuilder()
        self.builder.extend(self.values, timestamps=1)
        self.batch = self.builder.build()
        self.columns = decode_columns(self.batch)

    def time_build_by_append(self, size: int) -> None:
        value = self.values[0]
        for _ in range(RECORDS):
            self.builder.append(value, timestamp=1)
        self.builder.build()

    def time_build_from_list(self, size: int) -> None:
        self.builder.extend(self.values, timestamps=1)
        self.builder.build()

    def time_build_from_columns(self, size: int) -> None:
        columns = self.columns
        self.builder.extend_columns(columns.data, columns.value_starts, columns.value_sizes, columns.timestamps)
        self.builder.build()

    def time_read_objects(self, size: int) -> None:
        for _ in RecordReader(self.batch):
            pass

    def time_read_columns(self, size: int) -> None:
        decode_columns(self.batch)

    def time_read_columns_without_crc(self, size: int) -> None:
        decode_columns(self.batch, check_crc=False)

    def time_columns_to_list(self, size: int) -> None:
        self.columns.values()

    def time_check(self, size: int) -> None:
        check(self.batch)

    def time_find_timestamp(self, size: int) -> None:
        find_timestamp(self.batch, 1)
