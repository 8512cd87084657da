"""The logs of partitions as share groups read them: the port of `coordinator.share`, filled with plane and logs.

Bounds come from the data plane, which knows what is committed; batches are read on a storage thread and go out as they
lie in the log. Nothing here waits in the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pystream._native.batch import Header, parse_headers
from pystream.common.errors import KafkaStorageError, NotLeaderOrFollower, UnknownTopicId, UnknownTopicOrPartition
from pystream.common.model import TopicPartition
from pystream.coordinator.share.ports import Bounds, Fetched, FetchedBatch

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream._native.local_log import LocalLog
    from pystream.broker.applier import ImageApplier
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.storage.log_manager import LogManager

Moved = Callable[[], None]


class BrokerShareLog:
    """A `ShareLog` over this broker's partitions. Lives in the broker's loop."""

    def __init__(
        self,
        *,
        node_id: int,
        logs: LogManager,
        plane: DataPlane,
        applier: ImageApplier,
        executor: StorageExecutor,
        is_watched_elsewhere: Callable[[str, int], bool],
    ) -> None:
        """`is_watched_elsewhere`: whether others are told of a partition by the same watch of the data plane."""
        self._node_id = node_id
        self._logs = logs
        self._plane = plane
        self._applier = applier
        self._executor = executor
        self._is_watched_elsewhere = is_watched_elsewhere
        self._watched: dict[TopicPartition, set[Moved]] = {}

    def topic_name(self, topic_id: bytes) -> str:
        topic = self._applier.image.topics_by_id.get(topic_id)
        if topic is None:
            raise UnknownTopicId()
        return topic.name

    def bounds(self, topic: str, partition: int) -> Bounds:
        found = self._applier.image.partition(topic, partition)
        if found is None:
            raise UnknownTopicOrPartition()
        if found.leader != self._node_id:
            raise NotLeaderOrFollower()
        try:
            start, high_watermark, last_stable, _, leader_epoch = self._plane.partition_state(topic, partition)
        except KeyError:  # its log cannot be used
            raise KafkaStorageError() from None
        return Bounds(leader_epoch, start, high_watermark, last_stable)

    def available_bytes(self, topic: str, partition: int, *, offset: int, limit_offset: int, max_bytes: int) -> int:
        _, size_bytes, _, _ = self._log(topic, partition).read_range(
            offset=offset, limit_offset=limit_offset, max_bytes=max_bytes
        )
        return size_bytes

    async def read(
        self, topic: str, partition: int, *, offset: int, limit_offset: int, max_bytes: int, committed: bool
    ) -> Fetched:
        log = self._log(topic, partition)
        return await self._executor.run(_read, log, offset, limit_offset, max_bytes, committed)

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        bounds = self.bounds(topic, partition)
        found = await self._executor.run(
            _offset_for_time, self._log(topic, partition), timestamp_ms, bounds.high_watermark
        )
        return bounds.high_watermark if found is None else found

    def watch(self, topic: str, partition: int, moved: Moved) -> Callable[[], None]:
        name = TopicPartition(topic, partition)
        watchers = self._watched.setdefault(name, set())
        watchers.add(moved)
        try:
            self._plane.watch(topic, partition)
        except KeyError:  # gone: the reader finds out by itself
            pass

        def unwatch() -> None:
            watchers.discard(moved)
            if not watchers and self._watched.get(name) is watchers:
                del self._watched[name]
                self._end_watch(name)

        return unwatch

    def _end_watch(self, name: TopicPartition) -> None:
        if self._is_watched_elsewhere(*name):
            return
        try:
            self._plane.unwatch(*name)
        except KeyError:
            return  # removed, and the watch with it

    def moved(self, topic: str, partition: int) -> None:
        """The high watermark of a partition has moved, or its leadership: tell who reads it."""
        for tell in list(self._watched.get(TopicPartition(topic, partition), ())):
            tell()

    def watches(self, topic: str, partition: int) -> bool:
        """Whether somebody is to be told when the partition has moved."""
        return TopicPartition(topic, partition) in self._watched

    def all_moved(self) -> None:
        """Nobody knows which: tell everybody."""
        for name in list(self._watched):
            self.moved(*name)

    def _log(self, topic: str, partition: int) -> LocalLog:
        log = self._logs.get(topic, partition)
        if log is None:
            raise KafkaStorageError()
        return log.native


def _read(log: LocalLog, offset: int, limit_offset: int, max_bytes: int, committed: bool) -> Fetched:
    """On a storage thread."""
    records = log.read(offset=offset, limit_offset=limit_offset, max_bytes=max_bytes)
    if not records:
        return Fetched(b"", ())
    headers = parse_headers(records)
    aborted = log.aborted_transactions(offset=offset, limit_offset=limit_offset) if committed else []
    return Fetched(records, _batches(headers, sorted(aborted, key=lambda found: found[1])))


def _batches(headers: list[Header], aborted: list[tuple[int, int]]) -> list[FetchedBatch]:
    """`aborted` are (producer id, first offset), in the order of the offsets. A marker ends its producer's."""
    batches = []
    position = 0
    waiting = iter(aborted)
    coming = next(waiting, None)
    open_producers: set[int] = set()
    for header in headers:
        last = header.next_offset - 1
        while coming is not None and coming[1] <= last:
            open_producers.add(coming[0])
            coming = next(waiting, None)
        if header.is_control:
            open_producers.discard(header.producer_id)
        is_aborted = header.is_transactional and header.producer_id in open_producers
        batches.append(
            FetchedBatch(header.base_offset, last, position, header.size, not (header.is_control or is_aborted))
        )
        position += header.size
    return batches


def _offset_for_time(log: LocalLog, timestamp_ms: int, limit_offset: int) -> int | None:
    """On a storage thread. The first record at or after a time."""
    found = log.offset_for_timestamp(timestamp_ms, limit_offset=limit_offset)
    return None if found is None else found[1]
