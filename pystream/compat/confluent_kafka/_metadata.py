"""What list_topics() and list_groups() give."""

from __future__ import annotations

from pystream.client.admin.routes import ask_metadata
from pystream.client.cluster.cluster import Cluster
from pystream.common.error_codes import NONE
from pystream.compat.confluent_kafka._errors import KafkaError
from pystream.protocol.messages.metadata import MetadataRequestTopic, MetadataResponse


class ClusterMetadata:
    """Brokers and topics of a cluster."""

    def __init__(self) -> None:
        self.cluster_id: str | None = None
        self.controller_id = -1
        self.brokers: dict[int, BrokerMetadata] = {}
        self.topics: dict[str, TopicMetadata] = {}
        self.orig_broker_id = -1
        self.orig_broker_name: str | None = None

    def __repr__(self) -> str:
        return f"ClusterMetadata({self.cluster_id})"

    def __str__(self) -> str:
        return str(self.cluster_id)


class BrokerMetadata:
    """Where one broker is."""

    def __init__(self) -> None:
        self.id = -1
        self.host: str | None = None
        self.port = -1

    def __repr__(self) -> str:
        return f"BrokerMetadata({self.id}, {self.host}:{self.port})"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.id}"


class TopicMetadata:
    """One topic with its partitions; `error` is not None where it cannot be told."""

    def __init__(self) -> None:
        self.topic: str | None = None
        self.partitions: dict[int, PartitionMetadata] = {}
        self.error: KafkaError | None = None

    def __repr__(self) -> str:
        error = "" if self.error is None else f", {self.error}"
        return f"TopicMetadata({self.topic}, {len(self.partitions)} partitions{error})"

    def __str__(self) -> str:
        return str(self.topic)


class PartitionMetadata:
    """One partition: its leader, replicas and those in sync."""

    def __init__(self) -> None:
        self.id = -1
        self.leader = -1
        self.replicas: list[int] = []
        self.isrs: list[int] = []
        self.error: KafkaError | None = None

    def __repr__(self) -> str:
        return f"PartitionMetadata({self.id}{'' if self.error is None else f', {self.error}'})"

    def __str__(self) -> str:
        return str(self.id)


class GroupMember:
    """A member of a group, as list_groups() tells it."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.client_id: str | None = None
        self.client_host: str | None = None
        self.metadata: bytes | None = None
        self.assignment: bytes | None = None


class GroupMetadata:
    """A group, as list_groups() tells it."""

    def __init__(self) -> None:
        self.broker: BrokerMetadata | None = None
        self.id: str | None = None
        self.error: KafkaError | None = None
        self.state: str | None = None
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.members: list[GroupMember] = []

    def __repr__(self) -> str:
        return f"GroupMetadata({self.id}{'' if self.error is None else f', {self.error}'})"

    def __str__(self) -> str:
        return str(self.id)


async def list_topics(cluster: Cluster, topic: str | None, timeout: float | None) -> ClusterMetadata:
    """All topics; only one where given, none for the empty name."""
    wanted = None if topic is None else [MetadataRequestTopic(name=topic)] if topic else []
    response = await cluster.retrying(
        "list_topics",
        lambda _: ask_metadata(cluster, wanted),
        timeout_ms=None if timeout is None else round(timeout * 1000),
    )
    return _metadata(response)


def _metadata(response: MetadataResponse) -> ClusterMetadata:
    found = ClusterMetadata()
    found.cluster_id = response.cluster_id
    found.controller_id = response.controller_id
    for told in response.brokers:
        broker = found.brokers[told.node_id] = BrokerMetadata()
        broker.id, broker.host, broker.port = told.node_id, told.host, told.port
    if response.brokers:
        origin = response.brokers[0]
        found.orig_broker_id = origin.node_id
        found.orig_broker_name = f"{origin.host}:{origin.port}/{origin.node_id}"
    for told_topic in response.topics:
        topic = found.topics[told_topic.name or ""] = TopicMetadata()
        topic.topic = told_topic.name
        topic.error = None if told_topic.error_code == NONE else KafkaError(told_topic.error_code)
        for part in sorted(told_topic.partitions, key=lambda part: part.partition_index):
            partition = topic.partitions[part.partition_index] = PartitionMetadata()
            partition.id, partition.leader = part.partition_index, part.leader_id
            partition.replicas, partition.isrs = list(part.replica_nodes), list(part.isr_nodes)
            partition.error = None if part.error_code == NONE else KafkaError(part.error_code)
    return found
