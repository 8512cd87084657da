"""A coordinator's topic in memory, for tests: commits at once, in a later turn or when told; fails when told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pystream.common.errors import InvalidProducerEpoch
from pystream.coordinator.machine import NO_PRODUCER_ID
from pystream.coordinator.ports import Batch, DataBatch, LogSlice


def size_of(batch: Batch) -> int:
    """How many offsets it takes: a marker is one record."""
    return len(batch.records) if isinstance(batch, DataBatch) else 1


class MemoryLog:
    """PartitionWriter and PartitionReader. `appends` counts calls.

    With `on_commit`, which is CoordinatorRuntime.committed, what is appended is committed in a later turn of the loop.
    """

    def __init__(self, *, commits_at_once: bool = True) -> None:
        self.commits_at_once = commits_at_once
        self.batches: dict[int, list[Batch]] = {}
        self.appends = 0
        self.reads = 0
        self.append_error: Exception | None = None
        self.append_errors: dict[int, Exception] = {}  # by partition
        self.read_error: Exception | None = None
        self.on_commit: Callable[[int, int], None] | None = None
        self._committed: dict[int, int] = {}

    def append(self, partition: int, batches: Sequence[Batch]) -> int:
        self.appends += 1
        if self.append_error is not None:
            raise self.append_error
        if partition in self.append_errors:
            raise self.append_errors[partition]
        self.batches.setdefault(partition, []).extend(batches)
        if self.commits_at_once:
            self.commit(partition)
        elif self.on_commit is not None:
            asyncio.get_running_loop().call_soon(self._commit_late, partition, self.on_commit)
        return self.end_offset(partition)

    def _commit_late(self, partition: int, on_commit: Callable[[int, int], None]) -> None:
        on_commit(partition, self.commit(partition))

    def check_producer(self, partition: int, producer_id: int, producer_epoch: int) -> None:
        for batch in self.batches.get(partition, ()):
            if batch.producer_id == producer_id > NO_PRODUCER_ID and batch.producer_epoch > producer_epoch:
                raise InvalidProducerEpoch()

    def high_watermark(self, partition: int) -> int:
        return self._committed.get(partition, 0)

    def commit(self, partition: int) -> int:
        """Everything that is in the log is committed; gives the high watermark."""
        self._committed[partition] = self.end_offset(partition)
        return self._committed[partition]

    def end_offset(self, partition: int) -> int:
        return sum(map(size_of, self.batches.get(partition, ())))

    def bounds(self, partition: int) -> tuple[int, int]:
        return 0, self.end_offset(partition)

    async def read(self, partition: int, offset: int) -> LogSlice:
        """One batch at a time."""
        self.reads += 1
        if self.read_error is not None:
            raise self.read_error
        position = 0
        for batch in self.batches[partition]:
            if position == offset:
                return LogSlice([batch], offset + size_of(batch))
            position += size_of(batch)
        raise AssertionError(f"no batch begins at {offset}")
