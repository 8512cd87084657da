"""What `pystream top` shows: looks at a cluster, and rates from what changed between two of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pystream.client.operations.handlers.groups import describe as describe_groups
from pystream.client.operations.handlers.partitions import list_ as list_partitions
from pystream.client.operations.partitions import PartitionState
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient
    from pystream.client.admin.quorum import ClusterDescription

SHORTEST_SECONDS: Final = 1e-3  # between two looks


@dataclass(frozen=True, slots=True)
class TopicLoad:
    """A topic: records it holds, and how many came in a second."""

    topic: str
    partitions: int
    records: int
    records_per_second: float
    unhealthy: int  # partitions without a leader, or with replicas that are behind


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """A group: how far behind, and how many records it went on by in a second."""

    group: str
    type: str
    state: str
    members: int
    lag: int
    records_per_second: float


@dataclass(frozen=True, slots=True)
class BrokerLoad:
    """A broker, and how full its fullest disk is; None where it does not tell."""

    broker: int
    address: str
    controller: bool
    leads: int
    replicas: int
    disk_percent: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look. `error`: what kept the cluster from being looked at; the rest is empty then."""

    cluster_id: str = ""
    topics: list[TopicLoad] = field(default_factory=list)
    groups: list[GroupLoad] = field(default_factory=list)
    brokers: list[BrokerLoad] = field(default_factory=list)
    error: PystreamError | None = None


class Watcher:
    """Remembers the last look, for the rates of the next."""

    def __init__(self, admin: AdminClient, now: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._now = now
        self._at: float | None = None
        self._ends: dict[str, int] = {}
        self._committed: dict[str, int] = {}

    async def look(self) -> Snapshot:
        """Never raises what the cluster does."""
        try:
            return await self._look()
        except PystreamError as error:
            return Snapshot(error=error)

    async def _look(self) -> Snapshot:
        told = await self._admin.describe_cluster()
        partitions = (await list_partitions(self._admin, topics=[], unhealthy=False, offsets=True)).rows
        now = self._now()
        passed = None if self._at is None else max(now - self._at, SHORTEST_SECONDS)
        self._at = now
        topics = self._topics(partitions, passed)
        groups = await self._groups(passed)
        brokers = await self._brokers(told, partitions)
        return Snapshot(told.cluster_id, topics, groups, brokers)

    def _topics(self, partitions: Iterable[PartitionState], passed: float | None) -> list[TopicLoad]:
        of_topic: dict[str, list[PartitionState]] = {}
        for each in partitions:
            of_topic.setdefault(each.topic, []).append(each)
        rows = []
        before, self._ends = self._ends, {}
        for topic, places in of_topic.items():
            end = sum(place.end_offset or 0 for place in places)
            self._ends[topic] = end
            records = end - sum(place.start_offset or 0 for place in places)
            unhealthy = sum(place.leader < 0 or len(place.in_sync) < len(place.replicas) for place in places)
            rows.append(TopicLoad(topic, len(places), records, _rate(end, before.get(topic), passed), unhealthy))
        return sorted(rows, key=lambda row: (-row.records_per_second, row.topic))

    async def _groups(self, passed: float | None) -> list[GroupLoad]:
        names = [each.group_id for each in await self._admin.list_groups()]
        described = (await describe_groups(self._admin, groups=names)).rows if names else []
        rows = []
        before, self._committed = self._committed, {}
        for group in described:
            committed = sum(each.committed_offset or 0 for each in group.partitions)
            self._committed[group.group] = committed
            lag = sum(each.lag or 0 for each in group.partitions)
            rate = _rate(committed, before.get(group.group), passed)
            rows.append(GroupLoad(group.group, group.type, group.state, len(group.members), lag, rate))
        return sorted(rows, key=lambda row: (-row.lag, row.group))

    async def _brokers(self, told: ClusterDescription, partitions: Sequence[PartitionState]) -> list[BrokerLoad]:
        dirs = (await self._admin.describe_log_dirs([node.node_id for node in told.nodes])).succeeded
        rows = []
        for node in sorted(told.nodes):
            full = [
                100 * (each.total_bytes - each.usable_bytes) // each.total_bytes
                for each in dirs.get(node.node_id, {}).values()
                if each.total_bytes > 0
            ]
            rows.append(
                BrokerLoad(
                    node.node_id,
                    f"{node.host}:{node.port}",
                    node.node_id == told.controller_id,
                    sum(each.leader == node.node_id for each in partitions),
                    sum(node.node_id in each.replicas for each in partitions),
                    max(full, default=None),
                )
            )
        return rows


def _rate(now: int, before: int | None, passed: float | None) -> float:
    """A second; nothing at the first look, and for what went back."""
    return 0.0 if before is None or passed is None else max(now - before, 0) / passed
