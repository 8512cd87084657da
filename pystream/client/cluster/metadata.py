"""A client's picture of the cluster: immutable, replaced as a whole by each answer to Metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pystream.common.error_codes import NONE, UNKNOWN_TOPIC_OR_PARTITION
from pystream.common.model import NO_BROKER, NO_LEADER_EPOCH, ZERO_UUID
from pystream.protocol.messages.metadata import MetadataResponse, MetadataResponseTopic

NOT_ASKED = -2_147_483_648  # authorized operations that were not asked for


class Node(NamedTuple):
    """A broker, as clients reach it. Bootstrap servers have ids below -1 until they are known."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


class Leader(NamedTuple):
    """Who leads a partition, since which epoch."""

    node_id: int
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """One partition. `leader` is NO_BROKER while there is none."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    in_sync_replicas: tuple[int, ...]
    offline_replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """One topic with its partitions in order."""

    name: str
    topic_id: bytes
    is_internal: bool
    partitions: tuple[PartitionInfo, ...]
    authorized_operations: int = NOT_ASKED

    @property
    def partition_count(self) -> int:
        return len(self.partitions)


@dataclass(frozen=True, slots=True)
class ClusterMetadata:
    """What was last heard. Topics that nobody tracks are not in it."""

    cluster_id: str | None = None
    controller_id: int = NO_BROKER
    nodes: Mapping[int, Node] = field(default_factory=dict)
    topics: Mapping[str, TopicInfo] = field(default_factory=dict)
    names: Mapping[bytes, str] = field(default_factory=dict)  # topic id -> name
    failed: Mapping[str, int] = field(default_factory=dict)  # topics that were asked for -> error code

    def leader_of(self, topic: str, partition: int) -> Leader | None:
        """None when there is none, when it is no broker of the cluster, or the partition is not known."""
        found = self.topics.get(topic)
        if found is None or not 0 <= partition < len(found.partitions):
            return None
        info = found.partitions[partition]
        return Leader(info.leader, info.leader_epoch) if info.leader in self.nodes else None

    def topic_by_id(self, topic_id: bytes) -> TopicInfo | None:
        """The topic of an id."""
        name = self.names.get(topic_id)
        return None if name is None else self.topics.get(name)

    def merged(self, response: MetadataResponse, *, whole: bool, kept: Iterable[str] | None = None) -> ClusterMetadata:
        """This picture after a Metadata response. `whole`: it tells of all topics there are.

        What is older than what is known (by leader epoch, of the same topic id) is not believed. Source: KIP-320.
        `kept`: the topics that are still tracked; the others are forgotten.
        """
        topics = {} if whole else dict(self.topics)
        failed = {} if whole else dict(self.failed)
        for told in response.topics:
            if told.name is None:  # asked for by an id that is gone
                continue
            failed.pop(told.name, None)
            if told.error_code != NONE:
                failed[told.name] = told.error_code
                if told.error_code == UNKNOWN_TOPIC_OR_PARTITION:
                    topics.pop(told.name, None)
            if told.partitions:
                topics[told.name] = _topic(told, self.topics.get(told.name))
        if kept is not None:
            known = set(kept)
            topics = {name: topic for name, topic in topics.items() if name in known}
            failed = {name: code for name, code in failed.items() if name in known}
        return ClusterMetadata(
            cluster_id=response.cluster_id or self.cluster_id,
            controller_id=response.controller_id,
            nodes=_nodes(response),
            topics=topics,
            names={t.topic_id: t.name for t in topics.values() if t.topic_id != ZERO_UUID},
            failed=failed,
        )

    def with_brokers(self, response: MetadataResponse) -> ClusterMetadata:
        """This picture with the brokers and the controller that a Metadata response tells of."""
        return replace(
            self,
            cluster_id=response.cluster_id or self.cluster_id,
            controller_id=response.controller_id,
            nodes=_nodes(response),
        )

    def with_leader(self, topic: str, partition: int, leader: Leader, node: Node | None) -> ClusterMetadata:
        """This picture with a newer leader, as Produce and Fetch tell it; unchanged when it is not newer (KIP-951)."""
        found = self.topics.get(topic)
        if found is None or not 0 <= partition < len(found.partitions):
            return self
        info = found.partitions[partition]
        if leader.leader_epoch <= info.leader_epoch or (leader.node_id not in self.nodes and node is None):
            return self
        partitions = list(found.partitions)
        partitions[partition] = replace(info, leader=leader.node_id, leader_epoch=leader.leader_epoch)
        nodes = self.nodes if node is None else {**self.nodes, node.node_id: node}
        changed = replace(found, partitions=tuple(partitions))
        return replace(self, nodes=nodes, topics={**self.topics, topic: changed})


def _nodes(response: MetadataResponse) -> dict[int, Node]:
    return {b.node_id: Node(b.node_id, b.host, b.port, b.rack) for b in response.brokers}


def _topic(told: MetadataResponseTopic, known: TopicInfo | None) -> TopicInfo:
    same = known is not None and known.topic_id == told.topic_id
    partitions: list[PartitionInfo] = []
    for partition in sorted(told.partitions, key=lambda p: p.partition_index):
        if partition.partition_index != len(partitions):
            break  # a gap: what follows cannot be addressed by its number, and is told again
        info = PartitionInfo(
            partition.partition_index,
            partition.leader_id,
            partition.leader_epoch,
            tuple(partition.replica_nodes),
            tuple(partition.isr_nodes),
            tuple(partition.offline_replicas),
        )
        if same and known is not None and len(partitions) < len(known.partitions):
            older = known.partitions[len(partitions)]
            if NO_LEADER_EPOCH < info.leader_epoch < older.leader_epoch:
                info = older
        partitions.append(info)
    return TopicInfo(
        told.name or "", told.topic_id, told.is_internal, tuple(partitions), told.topic_authorized_operations
    )
