"""The cluster itself: brokers, features, the quorum of controllers, and this client's own number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pystream.client.admin.acls import AclOperation, operations_of
from pystream.client.admin.base import AdminBase
from pystream.client.admin.results import Results, outcome, raise_for
from pystream.client.cluster.metadata import Node
from pystream.client.cluster.retry import Deadline
from pystream.client.given import listed, mapped
from pystream.common.errors import PystreamError, UnknownServerError
from pystream.common.model import CLUSTER_METADATA_TOPIC, Endpoint
from pystream.protocol.messages.add_raft_voter import AddRaftVoterRequest, Listener
from pystream.protocol.messages.describe_cluster import DescribeClusterRequest
from pystream.protocol.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    ReplicaState,
)
from pystream.protocol.messages.get_telemetry_subscriptions import GetTelemetrySubscriptionsRequest
from pystream.protocol.messages.remove_raft_voter import RemoveRaftVoterRequest
from pystream.protocol.messages.unregister_broker import UnregisterBrokerRequest
from pystream.protocol.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest

FENCED_SINCE: Final = 2  # version of DescribeCluster


class UpgradeType(IntEnum):
    """How far a feature's level may go down."""

    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


@dataclass(frozen=True, slots=True)
class ClusterDescription:
    """The cluster's brokers; fenced ones too where they were asked for."""

    cluster_id: str
    controller_id: int
    nodes: tuple[Node, ...]
    fenced: frozenset[int]
    authorized_operations: frozenset[AclOperation] | None


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Lowest and highest level."""

    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class FeatureMetadata:
    """The features that the cluster has switched on, as of an epoch, and those that the broker could."""

    finalized: Mapping[str, VersionRange]
    finalized_epoch: int | None
    supported: Mapping[str, VersionRange]


@dataclass(frozen=True, slots=True)
class FeatureUpdate:
    """A level to bring a feature to; 0 switches it off."""

    max_version_level: int
    upgrade_type: UpgradeType = UpgradeType.UPGRADE


@dataclass(frozen=True, slots=True)
class QuorumReplica:
    """One voter or observer; -1 for times that the leader does not know."""

    replica_id: int
    directory_id: bytes
    log_end_offset: int
    last_fetch_timestamp: int
    last_caught_up_timestamp: int


@dataclass(frozen=True, slots=True)
class QuorumInfo:
    """The controllers' quorum, as its leader sees it."""

    leader_id: int
    leader_epoch: int
    high_watermark: int
    voters: tuple[QuorumReplica, ...]
    observers: tuple[QuorumReplica, ...]
    endpoints: Mapping[int, tuple[Endpoint, ...]]


class ClusterOperations(AdminBase):
    """Operations on the cluster."""

    async def describe_cluster(
        self,
        *,
        include_authorized_operations: bool = False,
        include_fenced_brokers: bool = False,
        timeout_ms: int | None = None,
    ) -> ClusterDescription:
        """Id, controller and brokers."""
        response = await self._once(
            "describe_cluster",
            DescribeClusterRequest(
                include_cluster_authorized_operations=include_authorized_operations,
                include_fenced_brokers=include_fenced_brokers,
            ),
            lowest=FENCED_SINCE if include_fenced_brokers else 0,
            timeout_ms=timeout_ms,
        )
        return ClusterDescription(
            response.cluster_id,
            response.controller_id,
            tuple(Node(each.broker_id, each.host, each.port, each.rack) for each in response.brokers),
            frozenset(each.broker_id for each in response.brokers if each.is_fenced),
            operations_of(response.cluster_authorized_operations),
        )

    async def describe_features(
        self, *, broker_id: int | None = None, timeout_ms: int | None = None
    ) -> FeatureMetadata:
        """Features of the cluster and of some broker, or the one given."""

        async def work(_: Deadline) -> FeatureMetadata:
            cluster = self.cluster
            connection = await (cluster.any_broker() if broker_id is None else cluster.connection_to(broker_id))
            told = connection.features
            if told is None:
                raise UnknownServerError(f"{connection.name} told nothing of its features")
            known = told.finalized_features_epoch >= 0
            return FeatureMetadata(
                {
                    each.name: VersionRange(each.min_version_level, each.max_version_level)
                    for each in (told.finalized_features if known else ())
                },
                told.finalized_features_epoch if known else None,
                {each.name: VersionRange(each.min_version, each.max_version) for each in told.supported_features},
            )

        return await self.cluster.retrying("describe_features", work, timeout_ms=timeout_ms)

    async def update_features(
        self,
        updates: Mapping[str, FeatureUpdate],
        *,
        validate_only: bool = False,
        timeout_ms: int | None = None,
    ) -> Results[str, None]:
        """Bring features to other levels, or with `validate_only` say whether they could be brought there."""
        mapped(updates, '{"metadata.version": FeatureUpdate(30)}')

        def request(ms: int) -> UpdateFeaturesRequest:
            return UpdateFeaturesRequest(
                timeout_ms=ms,
                feature_updates=[
                    FeatureUpdateKey(
                        feature=name,
                        max_version_level=update.max_version_level,
                        allow_downgrade=update.upgrade_type is not UpgradeType.UPGRADE,
                        upgrade_type=update.upgrade_type,
                    )
                    for name, update in updates.items()
                ],
                validate_only=validate_only,
            )

        response = await self._once(
            "update_features",
            request,
            route=self._controller(),
            lowest=1 if validate_only else 0,
            timeout_ms=timeout_ms,
        )
        found: dict[str, PystreamError | None] = dict.fromkeys(updates)
        for told in response.results:
            found[told.feature] = outcome(told.error_code, told.error_message, None)
        return Results(found)

    async def describe_metadata_quorum(self, *, timeout_ms: int | None = None) -> QuorumInfo:
        """Who leads the controllers, and how far the others have come."""
        partition = [DescribeQuorumRequestPartitionData(partition_index=0)]
        request = DescribeQuorumRequest(
            topics=[DescribeQuorumRequestTopicData(topic_name=CLUSTER_METADATA_TOPIC, partitions=partition)]
        )
        response = await self._once("describe_metadata_quorum", request, timeout_ms=timeout_ms)
        told = next((each for topic in response.topics for each in topic.partitions), None)
        if told is None:
            raise UnknownServerError("the broker told nothing of the quorum")
        raise_for(told.error_code, told.error_message, "describe_metadata_quorum")
        return QuorumInfo(
            told.leader_id,
            told.leader_epoch,
            told.high_watermark,
            tuple(map(_replica, told.current_voters)),
            tuple(map(_replica, told.observers)),
            {
                node.node_id: tuple(Endpoint(each.name, each.host, each.port) for each in node.listeners)
                for node in response.nodes
            },
        )

    async def add_raft_voter(
        self,
        voter_id: int,
        voter_directory_id: bytes,
        endpoints: Iterable[Endpoint],
        *,
        cluster_id: str | None = None,
        timeout_ms: int | None = None,
    ) -> None:
        """Make a controller a voter of the quorum."""
        listeners = [Listener(name=each.listener, host=each.host, port=each.port) for each in listed(endpoints)]
        await self._once(
            "add_raft_voter",
            lambda ms: AddRaftVoterRequest(
                cluster_id=cluster_id,
                timeout_ms=ms,
                voter_id=voter_id,
                voter_directory_id=voter_directory_id,
                listeners=listeners,
            ),
            timeout_ms=timeout_ms,
        )

    async def remove_raft_voter(
        self,
        voter_id: int,
        voter_directory_id: bytes,
        *,
        cluster_id: str | None = None,
        timeout_ms: int | None = None,
    ) -> None:
        """Take a controller out of the quorum."""
        request = RemoveRaftVoterRequest(
            cluster_id=cluster_id, voter_id=voter_id, voter_directory_id=voter_directory_id
        )
        await self._once("remove_raft_voter", request, timeout_ms=timeout_ms)

    async def unregister_broker(self, broker_id: int, *, timeout_ms: int | None = None) -> None:
        """Forget a broker that will not come back."""
        request = UnregisterBrokerRequest(broker_id=broker_id)
        await self._once(f"unregister_broker {broker_id}", request, route=self._controller(), timeout_ms=timeout_ms)

    async def client_instance_id(self, *, timeout_ms: int | None = None) -> bytes:
        """The 16-byte id under which brokers know this client's metrics (KIP-714)."""
        if self._reporter is not None:
            return await self._reporter.client_instance_id(timeout_ms)
        if self._client_instance_id is None:
            response = await self._once("client_instance_id", GetTelemetrySubscriptionsRequest(), timeout_ms=timeout_ms)
            self._client_instance_id = response.client_instance_id
        return self._client_instance_id


def _replica(told: ReplicaState) -> QuorumReplica:
    return QuorumReplica(
        told.replica_id,
        told.replica_directory_id,
        told.log_end_offset,
        told.last_fetch_timestamp,
        told.last_caught_up_timestamp,
    )
