"""A coordinator's topic, written and read through the data plane and the logs of this broker.

marker    key: version int16 = 0 | type int16: 0 abort, 1 commit       value: version int16 = 0 | epoch int32
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pystream._native.batch import Header, parse_headers
from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.record_reader import RecordReader
from pystream.common.errors import InvalidProducerEpoch, MalformedInput, NotLeaderOrFollower, UnknownTopicOrPartition
from pystream.coordinator.ports import Batch, DataBatch, LogSlice, MarkerBatch

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.common.clock import Clock
    from pystream.storage.log_manager import LogManager
    from pystream.storage.partition_log import PartitionLog

READ_BYTES = 1 << 20
ABORT, COMMIT = 0, 1
_MARKER_KEY = struct.Struct(">hh")
_MARKER_VALUE = struct.Struct(">hi")


class CoordinatorLog:
    """PartitionWriter and PartitionReader of one topic."""

    def __init__(
        self,
        topic: str,
        *,
        plane: DataPlane,
        logs: LogManager,
        executor: StorageExecutor,
        clock: Clock,
        codec: int = 0,
    ) -> None:
        self._topic = topic
        self._plane = plane
        self._logs = logs
        self._executor = executor
        self._clock = clock
        self._codec = codec

    def append(self, partition: int, batches: Sequence[Batch]) -> int:
        now_ms = self._clock.now_ms()
        encoded = b"".join(batch_bytes(batch, now_ms, self._codec) for batch in batches)
        try:
            _, end_offset = self._plane.append(self._topic, partition, encoded)
        except KeyError as error:
            raise UnknownTopicOrPartition(f"{self._topic}-{partition}") from error
        return end_offset

    def check_producer(self, partition: int, producer_id: int, producer_epoch: int) -> None:
        known_epoch = self._log(partition).native.producer_epoch(producer_id)
        if producer_epoch < known_epoch:
            raise InvalidProducerEpoch(f"{self._topic}-{partition}: epoch {producer_epoch}, expected {known_epoch}")

    def high_watermark(self, partition: int) -> int:
        try:
            return self._plane.high_watermark(self._topic, partition)
        except KeyError as error:
            raise UnknownTopicOrPartition(f"{self._topic}-{partition}") from error

    def watch(self, partition: int) -> None:
        """Be told when the partition's high watermark moves. Raises NotLeaderOrFollower when it is not here."""
        try:
            self._plane.watch(self._topic, partition)
        except KeyError as error:
            raise NotLeaderOrFollower(f"{self._topic}-{partition}") from error

    def bounds(self, partition: int) -> tuple[int, int]:
        log = self._log(partition)
        return log.native.start_offset, log.native.end_offset

    async def read(self, partition: int, offset: int) -> LogSlice:
        return await self._executor.run(self._read, partition, offset)

    def _read(self, partition: int, offset: int) -> LogSlice:
        """On a storage thread."""
        log = self._log(partition)
        data = log.native.read(offset=offset, max_bytes=READ_BYTES)
        headers = parse_headers(data)
        if not headers:
            return LogSlice((), log.native.end_offset)  # compacted away to its end
        return LogSlice(list(_batches(data, headers, offset)), headers[-1].next_offset)

    def _log(self, partition: int) -> PartitionLog:
        log = self._logs.get(self._topic, partition)
        if log is None:
            raise UnknownTopicOrPartition(f"{self._topic}-{partition}")
        return log


def batch_bytes(batch: Batch, now_ms: int, codec: int = 0) -> bytes:
    """The record batch v2 that is appended; markers are never compressed."""
    if isinstance(batch, MarkerBatch):
        return marker_bytes(batch, now_ms)
    builder = RecordBatchBuilder(
        codec=codec,
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        transactional=batch.producer_id >= 0,
    )
    builder.extend([value for _, value in batch.records], timestamps=now_ms, keys=[key for key, _ in batch.records])
    return builder.build()


def marker_bytes(marker: MarkerBatch, now_ms: int) -> bytes:
    builder = RecordBatchBuilder(
        producer_id=marker.producer_id, producer_epoch=marker.producer_epoch, transactional=True, control=True
    )
    builder.append(
        _MARKER_VALUE.pack(0, marker.coordinator_epoch),
        key=_MARKER_KEY.pack(0, COMMIT if marker.committed else ABORT),
        timestamp=now_ms,
    )
    return builder.build()


def _batches(data: bytes, headers: list[Header], offset: int) -> Iterator[Batch]:
    """The batches that `data` consists of; records below `offset` were deleted and are left out."""
    view = memoryview(data)
    position = 0
    for header in headers:
        batch = view[position : position + header.size]
        position += header.size
        if header.is_control:
            yield from _marker(header, batch)
            continue
        records = [(found.key, found.value) for found in RecordReader(batch) if found.offset >= offset]
        kept = [(key, value) for key, value in records if key is not None]
        if len(kept) < len(records):
            raise MalformedInput(f"record without a key in the batch at offset {header.base_offset}")
        if header.is_transactional:
            yield DataBatch(kept, header.producer_id, header.producer_epoch)
        else:
            yield DataBatch(kept)


def _marker(header: Header, batch: memoryview) -> Iterator[MarkerBatch]:
    """The transaction marker that a control batch holds; other control records are none of a coordinator's business."""
    for record in RecordReader(batch, include_control=True):
        if record.key is None or len(record.key) < _MARKER_KEY.size or record.value is None:
            raise MalformedInput(f"control record at offset {record.offset} has no type")
        _, kind = _MARKER_KEY.unpack_from(record.key)
        if kind in (ABORT, COMMIT):
            if len(record.value) < _MARKER_VALUE.size:
                raise MalformedInput(f"transaction marker at offset {record.offset} is cut short")
            _, epoch = _MARKER_VALUE.unpack_from(record.value)
            yield MarkerBatch(header.producer_id, header.producer_epoch, kind == COMMIT, epoch)
