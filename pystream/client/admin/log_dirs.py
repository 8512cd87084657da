"""Log directories of brokers: what lies where, and moving replicas between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pystream.client.admin.base import AdminBase, Asked
from pystream.client.admin.partitions import by_topic
from pystream.client.admin.results import Results, error_of, outcome, raise_for
from pystream.client.admin.routes import ToNodes
from pystream.client.given import mapped
from pystream.common.error_codes import NONE
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition
from pystream.protocol.messages.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirTopic,
)
from pystream.protocol.messages.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    DescribeLogDirsResult,
)


class Replica(NamedTuple):
    """A partition on one broker."""

    topic: str
    partition: int
    broker_id: int


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """How long a replica's log is and how far behind; `is_future`: a copy that will replace the current one."""

    size_bytes: int
    offset_lag: int
    is_future: bool


@dataclass(frozen=True, slots=True)
class LogDir:
    """A directory; sizes are -1 where the broker does not tell. With an `error` it is offline."""

    path: str
    replicas: Mapping[TopicPartition, ReplicaInfo]
    total_bytes: int
    usable_bytes: int
    error: PystreamError | None


@dataclass(frozen=True, slots=True)
class ReplicaLogDirs:
    """Where a replica lies, and where it moves to; None for nowhere."""

    current_path: str | None
    current_offset_lag: int
    future_path: str | None
    future_offset_lag: int


class LogDirOperations(AdminBase):
    """Operations on log directories."""

    async def describe_log_dirs(
        self,
        broker_ids: Iterable[int] | None = None,
        *,
        partitions: Iterable[tuple[str, int]] | None = None,
        timeout_ms: int | None = None,
    ) -> Results[int, dict[str, LogDir]]:
        """The directories of each broker by path, with all replicas or those of the given partitions."""
        wanted = None if partitions is None else by_topic(partitions, lambda each: each.partition)
        topics = (
            None
            if wanted is None
            else [DescribableLogDirTopic(topic=topic, partitions=each) for topic, each in wanted.items()]
        )
        if broker_ids is None:
            broker_ids = (await self.cluster.retrying("describe_log_dirs", self._fresh, timeout_ms=timeout_ms)).nodes

        async def ask(asked: Asked, group: list[int]) -> dict[int, dict[str, LogDir] | PystreamError]:
            response = await asked.ask(DescribeLogDirsRequest(topics=topics))
            raise_for(response.error_code, None, "describe_log_dirs")
            dirs = {told.log_dir: _log_dir(told) for told in response.results}
            return dict.fromkeys(group, dirs)

        route = ToNodes[int](self.cluster, lambda broker_id: broker_id)
        return await self._each("describe_log_dirs", broker_ids, route, ask, timeout_ms=timeout_ms)

    async def describe_replica_log_dirs(
        self, replicas: Iterable[Replica], *, timeout_ms: int | None = None
    ) -> Results[Replica, ReplicaLogDirs]:
        """Where each replica lies and moves to."""

        async def ask(asked: Asked, group: list[Replica]) -> dict[Replica, ReplicaLogDirs | PystreamError]:
            topics = by_topic([TopicPartition(each.topic, each.partition) for each in group], lambda tp: tp.partition)
            request = DescribeLogDirsRequest(
                topics=[DescribableLogDirTopic(topic=topic, partitions=each) for topic, each in topics.items()]
            )
            response = await asked.ask(request)
            raise_for(response.error_code, None, "describe_replica_log_dirs")
            dirs = [_log_dir(told) for told in response.results if told.error_code == NONE]
            return {replica: _places(dirs, TopicPartition(replica.topic, replica.partition)) for replica in group}

        route = ToNodes[Replica](self.cluster, lambda replica: replica.broker_id)
        return await self._each("describe_replica_log_dirs", replicas, route, ask, timeout_ms=timeout_ms)

    async def alter_replica_log_dirs(
        self, moves: Mapping[Replica, str], *, timeout_ms: int | None = None
    ) -> Results[Replica, None]:
        """Begin to move replicas to other directories of their brokers."""
        mapped(moves, '{Replica("orders", 0, 1): "/data/2"}')

        async def ask(asked: Asked, group: list[Replica]) -> dict[Replica, PystreamError | None]:
            paths: dict[str, list[TopicPartition]] = {}
            for replica in group:
                paths.setdefault(moves[replica], []).append(TopicPartition(replica.topic, replica.partition))
            request = AlterReplicaLogDirsRequest(
                dirs=[
                    AlterReplicaLogDir(
                        path=path,
                        topics=[
                            AlterReplicaLogDirTopic(name=topic, partitions=each)
                            for topic, each in by_topic(partitions, lambda tp: tp.partition).items()
                        ],
                    )
                    for path, partitions in paths.items()
                ]
            )
            response = await asked.ask(request)
            broker_id = group[0].broker_id
            return {
                Replica(topic.topic_name, told.partition_index, broker_id): outcome(told.error_code, None, None)
                for topic in response.results
                for told in topic.partitions
            }

        route = ToNodes[Replica](self.cluster, lambda replica: replica.broker_id)
        return await self._each("alter_replica_log_dirs", moves, route, ask, timeout_ms=timeout_ms)


def _log_dir(told: DescribeLogDirsResult) -> LogDir:
    replicas = {
        TopicPartition(topic.name, each.partition_index): ReplicaInfo(
            each.partition_size, each.offset_lag, each.is_future_key
        )
        for topic in told.topics
        for each in topic.partitions
    }
    error = None if told.error_code == NONE else error_of(told.error_code, what=told.log_dir)
    return LogDir(told.log_dir, replicas, told.total_bytes, told.usable_bytes, error)


def _places(dirs: Iterable[LogDir], partition: TopicPartition) -> ReplicaLogDirs:
    current: tuple[str | None, int] = (None, -1)
    future: tuple[str | None, int] = (None, -1)
    for log_dir in dirs:
        info = log_dir.replicas.get(partition)
        if info is not None and info.is_future:
            future = (log_dir.path, info.offset_lag)
        elif info is not None:
            current = (log_dir.path, info.offset_lag)
    return ReplicaLogDirs(*current, *future)
