"""What share partitions need of the floors above: the logs of the partitions that this broker leads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Bounds(NamedTuple):
    """Where a log begins and ends for readers, and in which epoch this broker leads it."""

    leader_epoch: int
    log_start_offset: int
    high_watermark: int
    last_stable_offset: int

    def end(self, *, committed: bool) -> int:
        """Up to where a share group reads."""
        return self.last_stable_offset if committed else self.high_watermark


class FetchedBatch(NamedTuple):
    """A record batch, and where it lies in what was read. Not `is_deliverable`: control records, or aborted ones."""

    first: int
    last: int
    position: int
    size_bytes: int
    is_deliverable: bool


class Fetched(NamedTuple):
    """Whole batches as they lie in the log."""

    records: bytes
    batches: Sequence[FetchedBatch]


class ShareLog(Protocol):
    """Reads logs of partitions. All but `read` and `offset_for_time` answer at once."""

    def topic_name(self, topic_id: bytes) -> str:
        """Raises UnknownTopicId."""
        ...

    def bounds(self, topic: str, partition: int) -> Bounds:
        """Raises UnknownTopicOrPartition, NotLeaderOrFollower, KafkaStorageError."""
        ...

    def available_bytes(self, topic: str, partition: int, *, offset: int, limit_offset: int, max_bytes: int) -> int:
        """How much `read` would give."""
        ...

    async def read(
        self, topic: str, partition: int, *, offset: int, limit_offset: int, max_bytes: int, committed: bool
    ) -> Fetched:
        """Batches from the one that holds `offset` on, at least one. `committed`: aborted ones are not deliverable."""
        ...

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The first record at or after a time; the log's end when there is none."""
        ...

    def watch(self, topic: str, partition: int, moved: Callable[[], None]) -> Callable[[], None]:
        """Call `moved` whenever readers can read further. What is returned ends it."""
        ...
