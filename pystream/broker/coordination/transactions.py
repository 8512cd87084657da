"""What the transaction coordinator needs of this broker: its partitions, its markers, its image of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pystream._native.wire import Reader
from pystream.broker.coordination.coordinator_log import marker_bytes
from pystream.common.errors import (
    KafkaError,
    KafkaStorageError,
    PystreamError,
    RequestTimedOut,
    UnknownTopicOrPartition,
)
from pystream.common.model import CONSUMER_OFFSETS_TOPIC, TRANSACTION_STATE_TOPIC
from pystream.coordinator.ports import MarkerBatch
from pystream.coordinator.transaction.coordinator import TransactionCoordinator, question_of
from pystream.protocol.messages.add_partitions_to_txn import AddPartitionsToTxnRequest

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.applier import ImageApplier
    from pystream.common.clock import Clock
    from pystream.coordinator.group.coordinator import GroupCoordinator

COMMIT_TIMEOUT_S = 5.0  # a marker that is not on the disk by then is written once more
QUESTION_VERSION = 5  # of AddPartitionsToTxnRequest, in the data plane's questions
FEATURE = "transaction.version"


class MarkerLog:
    """Appends markers to partitions of any topic and tells when they are committed."""

    def __init__(self, plane: DataPlane, clock: Clock) -> None:
        self._plane = plane
        self._clock = clock
        self._waiting: dict[tuple[str, int], list[tuple[int, asyncio.Future[None]]]] = {}

    async def write(self, topic: str, partition: int, marker: MarkerBatch, transaction_version: int) -> None:
        """Raises KafkaError. After RequestTimedOut the marker is in the log all the same."""
        place = (topic, partition)
        try:
            batch = marker_bytes(marker, self._clock.now_ms())
            _, end_offset = self._plane.append(topic, partition, batch, transaction_version=transaction_version)
            if self._is_committed(place, end_offset):
                return
            self._plane.watch(topic, partition)
            if self._is_committed(place, end_offset):
                return
        except KeyError as error:
            raise UnknownTopicOrPartition(f"{topic}-{partition}") from error
        except KafkaError:
            raise
        except (PystreamError, OSError) as error:
            raise KafkaStorageError(f"{topic}-{partition}: {error}") from error
        await self._committed(place, end_offset)

    def moved(self, topic: str, partition: int, high_watermark: int) -> None:
        """The data plane's word: everything below is committed."""
        place = (topic, partition)
        waiting = self._waiting.get(place)
        if waiting is None:
            return
        for end_offset, future in waiting:
            if end_offset <= high_watermark and not future.done():
                future.set_result(None)
        left = [entry for entry in waiting if entry[0] > high_watermark]
        if left:
            self._waiting[place] = left
        else:
            self._forget(place)

    def look_again(self) -> None:
        """The data plane could not say which partitions have moved."""
        for topic, partition in list(self._waiting):
            try:
                self.moved(topic, partition, self._plane.partition_state(topic, partition)[1])
            except KeyError:
                self._forget((topic, partition))  # removed: who waits is told by the time-out

    def _is_committed(self, place: tuple[str, int], end_offset: int) -> bool:
        return self._plane.partition_state(*place)[1] >= end_offset

    async def _committed(self, place: tuple[str, int], end_offset: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place, []).append((end_offset, future))
        done, _ = await asyncio.wait([future], timeout=COMMIT_TIMEOUT_S)
        if not done:
            left = [entry for entry in self._waiting.get(place, ()) if entry[1] is not future]
            if left:
                self._waiting[place] = left
            else:
                self._forget(place)
            raise RequestTimedOut(f"{place[0]}-{place[1]}: a marker is not committed")

    def _forget(self, place: tuple[str, int]) -> None:
        self._waiting.pop(place, None)
        try:
            self._plane.unwatch(*place)
        except KeyError:
            return  # removed, and the watch with it


class BrokerTransactionPorts:
    """TransactionPorts of this broker. `groups` ends transactions in the offsets topic: its shards must hear of it."""

    def __init__(
        self,
        plane: DataPlane,
        clock: Clock,
        applier: ImageApplier,
        groups: GroupCoordinator,
        next_producer_id: Callable[[], Awaitable[int]],
    ) -> None:
        self.markers = MarkerLog(plane, clock)
        self._plane = plane
        self._applier = applier
        self._groups = groups
        self._next_producer_id = next_producer_id

    def exists(self, topic: str, partition: int) -> bool:
        found = self._applier.image.topics.get(topic)
        return found is not None and 0 <= partition < len(found.partitions)

    def permit(self, topic: str, partition: int, producer_id: int, producer_epoch: int) -> None:
        try:
            self._plane.permit_transaction(topic, partition, producer_id, producer_epoch)
        except KeyError:
            return  # not here: whoever leads it asks for itself

    def write_marker(
        self, topic: str, partition: int, marker: MarkerBatch, transaction_version: int
    ) -> Awaitable[None]:
        if topic == CONSUMER_OFFSETS_TOPIC:
            return self._write_group_marker(partition, marker)
        return self.markers.write(topic, partition, marker, transaction_version)

    async def _write_group_marker(self, partition: int, marker: MarkerBatch) -> None:
        await self._groups.runtime.write_marker(
            partition,
            marker.producer_id,
            marker.producer_epoch,
            committed=marker.committed,
            coordinator_epoch=marker.coordinator_epoch,
        )

    def coordinator_epoch(self, partition: int) -> int:
        topic = self._applier.image.topics.get(TRANSACTION_STATE_TOPIC)
        if topic is None or partition >= len(topic.partitions):
            return 0
        return topic.partitions[partition].leader_epoch

    def transaction_version(self) -> int:
        return self._applier.image.features.get(FEATURE, 0)

    async def next_producer_id(self) -> int:
        return await self._next_producer_id()


async def answer_question(transactions: TransactionCoordinator, frame: bytes) -> int:
    """The error code for a Produce that the data plane holds back; the frame is described at its ControlQueue."""
    reader = Reader(frame)
    produce_version = reader.int16()
    request = AddPartitionsToTxnRequest.read(reader, QUESTION_VERSION)
    question = question_of(produce_version, request.transactions)
    return question if isinstance(question, int) else await transactions.vouch(question)
