"""What the transaction coordinator needs of this broker: its partitions, its markers, its image of the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pystream._native.wire import Reader
from pystream.broker.coordination.coordinator_log import marker_bytes
from pystream.common.error_codes import KAFKA_STORAGE_ERROR, NONE, REQUEST_TIMED_OUT, UNKNOWN_TOPIC_OR_PARTITION
from pystream.common.errors import KafkaError, PystreamError
from pystream.common.logging import get_logger
from pystream.common.model import CONSUMER_OFFSETS_TOPIC, TRANSACTION_STATE_TOPIC
from pystream.coordinator.ports import MarkerBatch
from pystream.coordinator.transaction.coordinator import TransactionCoordinator, question_of
from pystream.protocol.messages.add_partitions_to_txn import AddPartitionsToTxnRequest

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.applier import ImageApplier
    from pystream.common.clock import Clock
    from pystream.coordinator.group.coordinator import GroupCoordinator

logger = get_logger(__name__)

Place = tuple[str, int]  # topic, partition

COMMIT_TIMEOUT_S = 5.0  # a marker that is not on the disk by then is written once more
QUESTION_VERSION = 5  # of AddPartitionsToTxnRequest, in the data plane's questions
FEATURE = "transaction.version"


class Waiting:
    """Markers of one transaction that are appended and not committed yet."""

    __slots__ = ("future", "places")

    def __init__(self, places: set[Place]) -> None:
        self.places = places
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def committed(self, place: Place) -> None:
        self.places.discard(place)
        if not self.places:
            self.end()

    def end(self) -> None:
        """Nobody is waited for any longer, whatever is left of `places`."""
        if not self.future.done():
            self.future.set_result(None)


class MarkerLog:
    """Appends markers to partitions of any topic and tells when they are committed."""

    def __init__(self, plane: DataPlane, clock: Clock, is_watched: Callable[[str, int], bool]) -> None:
        """`is_watched`: whether others are told of the partition by the same watch of the data plane."""
        self._plane = plane
        self._clock = clock
        self._is_watched = is_watched
        self._waiting: dict[Place, list[tuple[int, Waiting]]] = {}

    async def write(self, places: Iterable[Place], marker: MarkerBatch, transaction_version: int) -> dict[Place, int]:
        """An error code for each place. After REQUEST_TIMED_OUT the marker is in the log all the same."""
        batch = marker_bytes(marker, self._clock.now_ms())
        codes: dict[Place, int] = {}
        open_ends: dict[Place, int] = {}
        for place in places:
            codes[place] = self._append(place, batch, transaction_version, open_ends)
        if open_ends:
            waiting = Waiting(set(open_ends))
            for place, end_offset in open_ends.items():
                self._waiting.setdefault(place, []).append((end_offset, waiting))
            timeout = asyncio.get_running_loop().call_later(COMMIT_TIMEOUT_S, waiting.end)
            try:
                await waiting.future
            finally:
                timeout.cancel()
            for place in waiting.places:
                codes[place] = REQUEST_TIMED_OUT
                self._keep(place, [entry for entry in self._waiting.get(place, ()) if entry[1] is not waiting])
        return codes

    def moved(self, topic: str, partition: int, high_watermark: int) -> None:
        """The data plane's word: everything below is committed."""
        place = (topic, partition)
        waiting = self._waiting.get(place)
        if waiting is None:
            return
        for end_offset, those in waiting:
            if end_offset <= high_watermark:
                those.committed(place)
        self._keep(place, [entry for entry in waiting if entry[0] > high_watermark])

    def waits_for(self, topic: str, partition: int) -> bool:
        """Whether a marker in the partition is not committed yet."""
        return (topic, partition) in self._waiting

    def look_again(self) -> None:
        """The data plane could not say which partitions have moved."""
        for place in list(self._waiting):
            try:
                self.moved(*place, self._plane.high_watermark(*place))
            except KeyError:
                self._keep(place, [])  # removed: who waits is told by the time-out

    def _append(self, place: Place, batch: bytes, transaction_version: int, open_ends: dict[Place, int]) -> int:
        """An error code; the place is added to `open_ends` while the marker is not committed."""
        topic, partition = place
        try:
            _, end_offset = self._plane.append(topic, partition, batch, transaction_version=transaction_version)
            if self._plane.high_watermark(topic, partition) < end_offset:
                self._plane.watch(topic, partition)
                if self._plane.high_watermark(topic, partition) < end_offset:
                    open_ends[place] = end_offset
                elif place not in self._waiting and not self._is_watched(topic, partition):
                    self._plane.unwatch(topic, partition)
        except KeyError:
            return UNKNOWN_TOPIC_OR_PARTITION
        except KafkaError as error:
            return error.code
        except (PystreamError, OSError) as error:
            logger.limited("marker not written", topic=topic, partition=partition, error=error)
            return KAFKA_STORAGE_ERROR
        return NONE

    def _keep(self, place: Place, left: list[tuple[int, Waiting]]) -> None:
        if left:
            self._waiting[place] = left
            return
        self._waiting.pop(place, None)
        if self._is_watched(*place):
            return
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
        is_watched: Callable[[str, int], bool],
    ) -> None:
        self.markers = MarkerLog(plane, clock, is_watched)
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

    async def write_markers(
        self, places: Sequence[Place], marker: MarkerBatch, transaction_version: int
    ) -> dict[Place, int]:
        offsets = [place for place in places if place[0] == CONSUMER_OFFSETS_TOPIC]
        if not offsets:
            return await self.markers.write(places, marker, transaction_version)
        others = [place for place in places if place[0] != CONSUMER_OFFSETS_TOPIC]
        group_codes = asyncio.gather(*(self._write_group_marker(partition, marker) for _, partition in offsets))
        codes = await self.markers.write(others, marker, transaction_version)
        return {**codes, **dict(zip(offsets, await group_codes, strict=True))}

    async def _write_group_marker(self, partition: int, marker: MarkerBatch) -> int:
        try:
            await self._groups.runtime.write_marker(
                partition,
                marker.producer_id,
                marker.producer_epoch,
                committed=marker.committed,
                coordinator_epoch=marker.coordinator_epoch,
            )
        except KafkaError as error:
            return error.code
        return NONE

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
