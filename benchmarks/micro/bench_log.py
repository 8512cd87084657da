"""The log of a partition on a real file system: append, find, read, open again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from micro.samples import random_bytes

from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder

BATCHES = 1000
KEPT_BYTES = 64 << 20


def batch_of(records: int, value_size: int) -> bytes:
    builder = RecordBatchBuilder()
    builder.extend([random_bytes(value_size)] * records, timestamps=1_700_000_000_000)
    return builder.build()


class OnDisk:
    """A log in a folder of its own; `os` flushing, so that the disk is not what is measured."""

    def make(self) -> LocalLog:
        self.folder = Path(tempfile.mkdtemp(prefix="asv-log-"))
        return LocalLog.open(str(self.folder), "bench-0", flush_policy="os")

    def teardown(self, *_: object) -> None:
        self.log.close()
        shutil.rmtree(self.folder)


class Append(OnDisk):
    """One batch a call, from Python. The log is cut back whenever it has grown by 64 MiB."""

    params = ((1, 16, 990),)
    param_names = ("records of 1 KB",)

    def setup(self, records: int) -> None:
        self.log = self.make()
        self.batch = batch_of(records, 1000)

    def time_append(self, records: int) -> None:
        self.log.append(self.batch)
        if self.log.size_bytes > KEPT_BYTES:
            self.log.truncate_to(0)


class Read(OnDisk):
    """1,000 batches of 16 records, looked into in the middle."""

    def setup(self) -> None:
        self.log = self.make()
        batch = batch_of(16, 1000)
        for _ in range(BATCHES):
            self.log.append(batch)
        self.middle = self.log.end_offset // 2

    def time_find_range(self) -> None:
        self.log.read_range(offset=self.middle, max_bytes=1 << 20)

    def time_read_1_mb(self) -> None:
        self.log.read(offset=self.middle, max_bytes=1 << 20)

    def time_offset_for_timestamp(self) -> None:
        self.log.offset_for_timestamp(1_700_000_000_000)


class Open(OnDisk):
    """Opening 16 MB of log: after a clean close, and with every batch to be checked."""

    params = ((True, False),)
    param_names = ("clean",)

    def setup(self, clean: bool) -> None:
        self.log = self.make()
        batch = batch_of(16, 1000)
        for _ in range(BATCHES):
            self.log.append(batch)
        self.log.close(clean=True)

    def time_open(self, clean: bool) -> None:
        self.log = LocalLog.open(str(self.folder), "bench-0", clean=clean, flush_policy="os")
        self.log.close(clean=True)
