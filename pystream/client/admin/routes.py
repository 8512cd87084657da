"""Which broker each item of an operation is for, and what is forgotten when one sends it away."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from pystream.client.admin.results import error_of
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.cluster.metadata import Node
from pystream.client.cluster.retry import is_retriable
from pystream.common.error_codes import NONE
from pystream.common.errors import (
    CoordinatorNotAvailable,
    KafkaError,
    LeaderNotAvailable,
    NetworkFailure,
    NotController,
    NotCoordinator,
    PystreamError,
    UnknownTopicOrPartition,
)
from pystream.common.model import NO_BROKER, TopicPartition
from pystream.net.connection import Connection
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse

K = TypeVar("K", bound=Hashable)

ANYWHERE: Final = -1
UNKNOWN_TOPIC_RETRIES: Final = 4  # a topic that was just created reaches all brokers within that
METADATA_WITHOUT_CREATION: Final = 4  # the first version that can be asked not to create topics

Groups = tuple[dict[int, list[K]], dict[K, PystreamError]]


class Route(Generic[K]):
    """To any broker."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def groups(self, items: list[K]) -> Groups[K]:
        """Items by target, and those that have none with their errors."""
        return {ANYWHERE: items}, {}

    async def connection(self, target: int) -> Connection:
        """To a target that `groups` gave."""
        return await self.cluster.any_broker()

    def failed(self, item: K, error: PystreamError) -> None:
        """An item got this error: forget what it shows to be wrong."""

    def worth_retrying(self, error: PystreamError, failures: int) -> bool:
        """Whether an item with this error is tried again, after `failures` rounds."""
        return is_retriable(error) and not isinstance(error, UnknownTopicOrPartition)


class ToController(Route[K]):
    """To the controller, or the broker that hands on to it."""

    async def connection(self, target: int) -> Connection:
        return await self.cluster.controller()

    def failed(self, item: K, error: PystreamError) -> None:
        if isinstance(error, NotController | NetworkFailure):
            self.cluster.refresh_soon()


class ToNodes(Route[K]):
    """To the broker that `node_of` says."""

    def __init__(self, cluster: Cluster, node_of: Callable[[K], int]) -> None:
        super().__init__(cluster)
        self._node_of = node_of

    async def groups(self, items: list[K]) -> Groups[K]:
        found: dict[int, list[K]] = {}
        errors: dict[K, PystreamError] = {}
        for item in items:
            try:
                found.setdefault(self._node_of(item), []).append(item)
            except PystreamError as error:
                errors[item] = error
        return found, errors

    async def connection(self, target: int) -> Connection:
        return await (self.cluster.any_broker() if target == ANYWHERE else self.cluster.connection_to(target))


class ToLeaders(Route[K]):
    """To the leader of the partition that `partition_of` says."""

    def __init__(self, cluster: Cluster, partition_of: Callable[[K], TopicPartition]) -> None:
        super().__init__(cluster)
        self._partition_of = partition_of

    async def groups(self, items: list[K]) -> Groups[K]:
        leaders = await leaders_of(self.cluster, {self._partition_of(item).topic for item in items})
        found: dict[int, list[K]] = {}
        errors: dict[K, PystreamError] = {}
        for item in items:
            partition = self._partition_of(item)
            leader = leaders[partition.topic]
            if isinstance(leader, PystreamError):
                errors[item] = leader
            elif partition.partition not in leader:
                errors[item] = UnknownTopicOrPartition(f"{partition}: the topic has {len(leader)} partitions")
            elif leader[partition.partition] == NO_BROKER:
                errors[item] = LeaderNotAvailable(f"{partition} has no leader now")
            else:
                found.setdefault(leader[partition.partition], []).append(item)
        return found, errors

    async def connection(self, target: int) -> Connection:
        return await self.cluster.connection_to(target)

    def worth_retrying(self, error: PystreamError, failures: int) -> bool:
        return _worth_retrying(error, failures)


class ToCoordinators(Route[K]):
    """To the coordinator of the key that `key_of` says."""

    def __init__(self, cluster: Cluster, kind: CoordinatorKind, key_of: Callable[[K], str]) -> None:
        super().__init__(cluster)
        self._kind = kind
        self._key_of = key_of
        self._nodes: dict[int, Node] = {}

    async def groups(self, items: list[K]) -> Groups[K]:
        coordinators = await self.cluster.coordinators.find_all(self._kind, map(self._key_of, items))
        found: dict[int, list[K]] = {}
        errors: dict[K, PystreamError] = {}
        for item in items:
            node = coordinators[self._key_of(item)]
            if isinstance(node, KafkaError):
                errors[item] = node
            else:
                self._nodes[node.node_id] = node
                found.setdefault(node.node_id, []).append(item)
        return found, errors

    async def connection(self, target: int) -> Connection:
        return await self.cluster.connections.get(self._nodes[target])

    def failed(self, item: K, error: PystreamError) -> None:
        if isinstance(error, NotCoordinator | CoordinatorNotAvailable | NetworkFailure):
            self.cluster.coordinators.forget(self._kind, self._key_of(item))

    def worth_retrying(self, error: PystreamError, failures: int) -> bool:
        return _worth_retrying(error, failures)


def _worth_retrying(error: PystreamError, failures: int) -> bool:
    """A topic may be new to the broker asked, but not for long."""
    return is_retriable(error) and (failures < UNKNOWN_TOPIC_RETRIES or not isinstance(error, UnknownTopicOrPartition))


async def leaders_of(cluster: Cluster, topics: set[str]) -> dict[str, dict[int, int] | PystreamError]:
    """For each topic the leader of each partition, or the topic's error."""
    response = await ask_metadata(cluster, [MetadataRequestTopic(name=name) for name in sorted(topics)])
    found: dict[str, dict[int, int] | PystreamError] = {}
    brokers = {broker.node_id for broker in response.brokers}
    for told in response.topics:
        name = told.name or ""
        if told.error_code != NONE:
            found[name] = error_of(told.error_code, what=f"topic {name!r}")
        else:
            leaders = {p.partition_index: p.leader_id for p in told.partitions}
            found[name] = {index: leader if leader in brokers else NO_BROKER for index, leader in leaders.items()}
    return {name: found.get(name, UnknownTopicOrPartition(f"topic {name!r}: left out")) for name in topics}


async def ask_metadata(
    cluster: Cluster,
    topics: list[MetadataRequestTopic] | None,
    *,
    lowest: int = METADATA_WITHOUT_CREATION,
    authorized_operations: bool = False,
) -> MetadataResponse:
    """One request for topics, all for None, that neither creates nor tracks them; it also tells who the brokers are."""
    request = MetadataRequest(
        topics=topics,
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=authorized_operations,
    )
    response: MetadataResponse = await cluster.ask(request, lowest_version=lowest)
    cluster.note_brokers(response)
    return response
