"""The client's native core: appending (the sender's share with it), and what becomes of fetched bytes."""

from __future__ import annotations

from micro.samples import random_bytes

from pystream._native.accumulator import Accumulator
from pystream._native.column_source import ColumnSource
from pystream._native.message_batch import MessageBatch
from pystream._native.record_builder import RecordBatchBuilder

RECORDS = 10_000
PER_BATCH = 100
PARTITIONS = 4
LATER = 1 << 40


class Append:
    """10,000 records into batches of 16 KiB, which are finished and answered; divide by 10,000 for one."""

    params = ((100, 1000), ("none", "key"))
    param_names = ("value bytes", "key")

    def setup(self, size: int, key: str) -> None:
        self.value = random_bytes(size)
        self.values: list[bytes | None] = [self.value] * RECORDS
        self.key = None if key == "none" else b"account-1"
        self.keys: list[bytes | None] | None = None if key == "none" else [self.key] * RECORDS
        self.column = ColumnSource.fixed(random_bytes(size) * RECORDS, size)
        self.key_column = None if key == "none" else ColumnSource.fixed(b"account-1" * RECORDS, 9)
        self.buffer = Accumulator(limit_bytes=64 << 20, delivery_timeout_ms=LATER * 2)
        self.buffer.set_topic("t", PARTITIONS)
        self.bulk = Accumulator(limit_bytes=64 << 20, bulk_bytes=1_000_000, delivery_timeout_ms=LATER * 2)
        self.bulk.set_topic("t", PARTITIONS)

    def send(self, buffer: Accumulator | None = None) -> None:
        buffer = buffer or self.buffer
        while ready := buffer.ready(LATER):
            for topic, partition in ready:
                batch = buffer.drain(topic, partition, LATER)
                if batch is not None:
                    buffer.complete(batch, 0)

    def time_append(self, size: int, key: str) -> None:
        append, value, record_key = self.buffer.append, self.value, self.key
        for _ in range(RECORDS):
            append("t", value, record_key)
        self.send()

    def time_append_and_keep_deliveries(self, size: int, key: str) -> None:
        append, value, record_key = self.buffer.append, self.value, self.key
        kept = [append("t", value, record_key) for _ in range(RECORDS)]
        self.send()
        del kept

    def time_append_many(self, size: int, key: str) -> None:
        self.buffer.append_many("t", self.values, self.keys)
        self.send()

    def time_append_columns(self, size: int, key: str) -> None:
        self.buffer.append_columns("t", self.column, self.key_column)
        self.send()

    def time_append_columns_to_large_batches(self, size: int, key: str) -> None:
        self.bulk.append_columns("t", self.column, self.key_column)
        self.send(self.bulk)


class Fetched:
    """10,000 records in batches of 100, uncompressed; decoding is part of all."""

    params = ((100, 1000),)
    param_names = ("value bytes",)

    def setup(self, size: int) -> None:
        batches = []
        for base_offset in range(0, RECORDS, PER_BATCH):
            builder = RecordBatchBuilder(base_offset=base_offset)
            builder.extend([random_bytes(size)] * PER_BATCH, timestamps=1)
            batches.append(builder.build())
        self.data = b"".join(batches)

    def time_iterate(self, size: int) -> None:
        for _ in MessageBatch(self.data, "t", 0):
            pass

    def time_iterate_values(self, size: int) -> None:
        for message in MessageBatch(self.data, "t", 0):
            message.value  # noqa: B018

    def time_to_columns(self, size: int) -> None:
        MessageBatch(self.data, "t", 0).decode()

    def time_to_columns_without_crc(self, size: int) -> None:
        MessageBatch(self.data, "t", 0, check_crc=False).decode()

    def time_gather_values(self, size: int) -> None:
        MessageBatch(self.data, "t", 0).gather_values()
