"""Partitions: offsets, deleting records, producers, elections, reassignments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from numbers import Integral
from typing import Any, Final, TypeVar

from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.results import Results, outcome, raise_for
from pystream.client.admin.routes import ToLeaders, ToNodes
from pystream.client.given import ByPartition, as_partitions, by_partition, listed
from pystream.common.error_codes import ELECTION_NOT_NEEDED, NONE
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition
from pystream.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from pystream.protocol.messages.delete_records import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from pystream.protocol.messages.describe_producers import DescribeProducersRequest, TopicRequest
from pystream.protocol.messages.elect_leaders import ElectLeadersRequest, TopicPartitions
from pystream.protocol.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from pystream.protocol.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
)

T = TypeVar("T")
CLIENT: Final = -1  # the replica id of who is no replica
HIGH_WATERMARK: Final = -1  # delete all records that are committed

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6
OFFSET_NAMES: Final = {
    "latest": LATEST,
    "earliest": EARLIEST,
    "max-timestamp": MAX_TIMESTAMP,
    "earliest-local": EARLIEST_LOCAL,
    "latest-tiered": LATEST_TIERED,
    "earliest-pending-upload": EARLIEST_PENDING_UPLOAD,
}
OFFSET_VERSIONS: Final = {MAX_TIMESTAMP: 7, EARLIEST_LOCAL: 8, LATEST_TIERED: 9, EARLIEST_PENDING_UPLOAD: 11}


class IsolationLevel(IntEnum):
    """Whether LATEST is the high watermark or the last stable offset."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


class ElectionType(IntEnum):
    """Which leader is elected: the first replica, or any that is alive, at the risk of losing records."""

    PREFERRED = 0
    UNCLEAN = 1


@dataclass(frozen=True, slots=True)
class ListedOffset:
    """An offset with the timestamp and epoch of its record; -1 for what there is not."""

    offset: int
    timestamp: int
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class ActiveProducer:
    """A producer that a partition remembers; -1 as start of its transaction for none."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp: int
    coordinator_epoch: int
    current_transaction_start_offset: int


@dataclass(frozen=True, slots=True)
class Reassignment:
    """A partition on its way to other replicas."""

    replicas: tuple[int, ...]
    adding_replicas: tuple[int, ...]
    removing_replicas: tuple[int, ...]


class PartitionOperations(AdminBase):
    """Operations on partitions."""

    async def list_offsets(
        self,
        partitions: ByPartition[int | str] | ByPartition[int],
        *,
        isolation_level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
        timeout_ms: int | None = None,
    ) -> Results[TopicPartition, ListedOffset]:
        """An offset of each partition: LATEST, EARLIEST, MAX_TIMESTAMP … or of the first record at or after a time.

        Names do too: {("orders", 0): "latest"}.
        """
        wanted = {each: _offset_spec(spec) for each, spec in by_partition(partitions).items()}
        lowest = max((OFFSET_VERSIONS.get(spec, 0) for spec in wanted.values()), default=0)
        if isolation_level is IsolationLevel.READ_COMMITTED:
            lowest = max(lowest, 2)

        async def ask(asked: Asked, group: list[TopicPartition]) -> dict[TopicPartition, ListedOffset | PystreamError]:
            request = ListOffsetsRequest(
                replica_id=CLIENT,
                isolation_level=isolation_level,
                topics=[
                    ListOffsetsTopic(name=topic, partitions=each)
                    for topic, each in by_topic(
                        group,
                        lambda each: ListOffsetsPartition(partition_index=each.partition, timestamp=wanted[each]),
                    ).items()
                ],
                timeout_ms=asked.timeout_ms,
            )
            response = await asked.ask(request, lowest=lowest)
            return {
                TopicPartition(topic.name, told.partition_index): outcome(
                    told.error_code, None, ListedOffset(told.offset, told.timestamp, told.leader_epoch)
                )
                for topic in response.topics
                for told in topic.partitions
            }

        return await self._each("list_offsets", wanted, self._leaders(), ask, timeout_ms=timeout_ms)

    async def delete_records(
        self, before: ByPartition[int], *, timeout_ms: int | None = None
    ) -> Results[TopicPartition, int]:
        """Delete what is below the given offsets (HIGH_WATERMARK: everything); gives the new log start offsets."""
        wanted = by_partition(before)

        async def ask(asked: Asked, group: list[TopicPartition]) -> dict[TopicPartition, int | PystreamError]:
            request = DeleteRecordsRequest(
                topics=[
                    DeleteRecordsTopic(name=topic, partitions=each)
                    for topic, each in by_topic(
                        group,
                        lambda each: DeleteRecordsPartition(partition_index=each.partition, offset=wanted[each]),
                    ).items()
                ],
                timeout_ms=asked.timeout_ms,
            )
            response = await asked.ask(request)
            return {
                TopicPartition(topic.name, told.partition_index): outcome(told.error_code, None, told.low_watermark)
                for topic in response.topics
                for told in topic.partitions
            }

        return await self._each("delete_records", wanted, self._leaders(), ask, timeout_ms=timeout_ms)

    async def describe_producers(
        self,
        partitions: Iterable[tuple[str, int]],
        *,
        broker_id: int | None = None,
        timeout_ms: int | None = None,
    ) -> Results[TopicPartition, tuple[ActiveProducer, ...]]:
        """The producers that each partition remembers, at its leader or at the replica on `broker_id`."""

        async def ask(
            asked: Asked, group: list[TopicPartition]
        ) -> dict[TopicPartition, tuple[ActiveProducer, ...] | PystreamError]:
            topics = by_topic(group, lambda each: each.partition)
            request = DescribeProducersRequest(
                topics=[TopicRequest(name=topic, partition_indexes=each) for topic, each in topics.items()]
            )
            response = await asked.ask(request)
            found: dict[TopicPartition, tuple[ActiveProducer, ...] | PystreamError] = {}
            for topic in response.topics:
                for told in topic.partitions:
                    producers = tuple(
                        ActiveProducer(
                            each.producer_id,
                            each.producer_epoch,
                            each.last_sequence,
                            each.last_timestamp,
                            each.coordinator_epoch,
                            each.current_txn_start_offset,
                        )
                        for each in told.active_producers
                    )
                    place = TopicPartition(topic.name, told.partition_index)
                    found[place] = outcome(told.error_code, told.error_message, producers)
            return found

        route = self._leaders() if broker_id is None else ToNodes(self.cluster, lambda _: broker_id)
        return await self._each("describe_producers", as_partitions(partitions), route, ask, timeout_ms=timeout_ms)

    async def elect_leaders(
        self,
        election_type: ElectionType = ElectionType.PREFERRED,
        partitions: Iterable[tuple[str, int]] | None = None,
        *,
        timeout_ms: int | None = None,
    ) -> Results[TopicPartition, bool]:
        """Elect leaders of the given partitions, or of all where there is something to elect.

        True where one was elected, False where it led already.
        """
        wanted = None if partitions is None else by_topic(partitions, lambda each: each.partition)
        topics = None if wanted is None else [TopicPartitions(topic=t, partitions=p) for t, p in wanted.items()]
        response = await self._once(
            "elect_leaders",
            lambda ms: ElectLeadersRequest(election_type=election_type, topic_partitions=topics, timeout_ms=ms),
            route=self._controller(),
            lowest=1 if election_type is ElectionType.UNCLEAN else 0,
            timeout_ms=timeout_ms,
        )
        found: dict[TopicPartition, bool | PystreamError] = {}
        for topic in response.replica_election_results:
            for told in topic.partition_result:
                needed = told.error_code != ELECTION_NOT_NEEDED
                code = told.error_code if needed else NONE
                found[TopicPartition(topic.topic, told.partition_id)] = outcome(code, told.error_message, needed)
        return Results(found)

    async def alter_partition_reassignments(
        self,
        reassignments: ByPartition[Sequence[int] | None],
        *,
        allow_replication_factor_change: bool = True,
        timeout_ms: int | None = None,
    ) -> Results[TopicPartition, None]:
        """Move partitions to other replicas, the preferred leader first; None cancels a move under way."""
        wanted = by_partition(reassignments)

        def reassignable(each: TopicPartition) -> ReassignablePartition:
            replicas = wanted[each]
            return ReassignablePartition(partition_index=each.partition, replicas=listed(replicas))

        async def ask(asked: Asked, group: list[TopicPartition]) -> dict[TopicPartition, PystreamError | None]:
            topics = by_topic(group, reassignable)
            request = AlterPartitionReassignmentsRequest(
                topics=[ReassignableTopic(name=topic, partitions=each) for topic, each in topics.items()],
                timeout_ms=asked.timeout_ms,
                allow_replication_factor_change=allow_replication_factor_change,
            )
            response = await asked.ask(request, lowest=0 if allow_replication_factor_change else 1)
            raise_for(response.error_code, response.error_message, "alter_partition_reassignments")
            return {
                TopicPartition(topic.name, told.partition_index): outcome(told.error_code, told.error_message, None)
                for topic in response.responses
                for told in topic.partitions
            }

        return await self._each("alter_partition_reassignments", wanted, self._controller(), ask, timeout_ms=timeout_ms)

    async def list_partition_reassignments(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, timeout_ms: int | None = None
    ) -> dict[TopicPartition, Reassignment]:
        """The moves under way, of the given partitions or of all."""
        wanted = None if partitions is None else by_topic(partitions, lambda each: each.partition)
        topics = (
            None
            if wanted is None
            else [ListPartitionReassignmentsTopics(name=t, partition_indexes=p) for t, p in wanted.items()]
        )
        response = await self._once(
            "list_partition_reassignments",
            lambda ms: ListPartitionReassignmentsRequest(timeout_ms=ms, topics=topics),
            route=self._controller(),
            timeout_ms=timeout_ms,
        )
        return {
            TopicPartition(topic.name, told.partition_index): Reassignment(
                tuple(told.replicas), tuple(told.adding_replicas), tuple(told.removing_replicas)
            )
            for topic in response.topics
            for told in topic.partitions
        }

    def _leaders(self) -> ToLeaders[TopicPartition]:
        return ToLeaders(self.cluster, lambda partition: partition)


def _offset_spec(given: Any) -> int:
    """A timestamp, or the number of a name. Raises TypeError."""
    if isinstance(given, Integral):
        return int(given)
    if given not in OFFSET_NAMES:
        raise TypeError(f"an offset is a timestamp or one of {', '.join(OFFSET_NAMES)}, not {given!r}")
    return OFFSET_NAMES[given]


def by_topic(partitions: Iterable[tuple[str, int]], make: Callable[[TopicPartition], T]) -> dict[str, list[T]]:
    """What `make` gives for each partition, by topic: the shape of most requests."""
    found: dict[str, list[T]] = {}
    for partition in as_partitions(partitions):
        found.setdefault(partition.topic, []).append(make(partition))
    return found
