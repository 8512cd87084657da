"""Handlers of operations on the cluster and its brokers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pystream.client.admin.routes import ask_metadata
from pystream.client.operations.cluster import (
    Broker,
    Cluster,
    Feature,
    LogDirectory,
    QuorumMember,
    ReplicaSize,
)
from pystream.client.operations.declaration import Answer
from pystream.client.operations.handlers.answers import answer

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient
    from pystream.client.admin.log_dirs import LogDir

NO_LEADER: Final = -1


async def describe(admin: AdminClient) -> Answer:
    """Counts of one answer to Metadata."""
    told = await admin.describe_cluster()
    response = await admin.cluster.retrying("describe cluster", lambda _: ask_metadata(admin.cluster, None))
    partitions = [each for topic in response.topics for each in topic.partitions]
    return Answer(
        [
            Cluster(
                told.cluster_id,
                told.controller_id,
                len(told.nodes),
                len(response.topics),
                len(partitions),
                sum(each.leader_id == NO_LEADER for each in partitions),
                sum(len(each.isr_nodes) < len(each.replica_nodes) for each in partitions),
            )
        ]
    )


async def brokers(admin: AdminClient) -> Answer:
    """By id."""
    told = await admin.describe_cluster()
    return Answer(
        [
            Broker(node.node_id, node.host, node.port, node.rack, node.node_id == told.controller_id)
            for node in sorted(told.nodes)
        ]
    )


async def features(admin: AdminClient) -> Answer:
    """Those that the cluster uses, and those that a broker supports."""
    told = await admin.describe_features()
    return Answer(
        [
            Feature(
                name,
                told.finalized[name].maximum if name in told.finalized else 0,
                told.supported[name].minimum if name in told.supported else 0,
                told.supported[name].maximum if name in told.supported else 0,
                told.finalized_epoch,
            )
            for name in sorted({*told.finalized, *told.supported})
        ]
    )


async def quorum(admin: AdminClient) -> Answer:
    """The leader first."""
    told = await admin.describe_metadata_quorum()
    voters = {each.replica_id for each in told.voters}
    end = max((each.log_end_offset for each in (*told.voters, *told.observers)), default=0)

    def member(replica_id: int) -> str:
        if replica_id == told.leader_id:
            return "leader"
        return "follower" if replica_id in voters else "observer"

    rows = [
        QuorumMember(
            each.replica_id,
            member(each.replica_id),
            each.log_end_offset,
            end - each.log_end_offset,
            each.last_fetch_timestamp,
            each.last_caught_up_timestamp,
            told.leader_epoch,
            told.high_watermark,
            [str(endpoint) for endpoint in told.endpoints.get(each.replica_id, ())],
        )
        for each in (*told.voters, *told.observers)
    ]
    return Answer(sorted(rows, key=lambda row: (("leader", "follower", "observer").index(row.role), row.node)))


async def log_dirs(admin: AdminClient, *, broker: Sequence[int], topic: Sequence[str]) -> Answer:
    """Of all brokers, or of those named; with the replicas of all topics, or of those named."""
    results = await admin.describe_log_dirs(list(broker) or None)
    told = answer(results, lambda number, dirs: [_directory(number, each, frozenset(topic)) for each in dirs.values()])
    return Answer([row for rows in told.rows for row in rows], told.failures)


def _directory(broker: int, told: LogDir, topics: frozenset[str]) -> LogDirectory:
    partitions = [
        ReplicaSize(place.topic, place.partition, info.size_bytes, info.offset_lag, info.is_future)
        for place, info in sorted(told.replicas.items())
        if not topics or place.topic in topics
    ]
    return LogDirectory(
        told.path,
        broker,
        len(partitions),
        sum(each.size_bytes for each in partitions),
        told.total_bytes,
        told.usable_bytes,
        None if told.error is None else str(told.error),
        partitions,
    )
