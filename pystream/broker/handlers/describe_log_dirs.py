"""DescribeLogDirs (key 35), versions 1-4: what lies in each log directory, and how full its disk is.

Null topics mean all; topics and partitions that are asked for but lie nowhere are not mentioned, as in Kafka. A
directory that failed is answered with KAFKA_STORAGE_ERROR and no topics. Every replica here is the leader, so offset
lags are 0, but for future replicas: copies that AlterReplicaLogDirs has asked for and that are not complete.

    2    flexible
    3    top-level error
    4    size and free space of the directory's disk (KIP-827)
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import KAFKA_STORAGE_ERROR, NONE
from pystream.protocol.messages.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

if TYPE_CHECKING:
    from pystream.storage.partition_log import LogDirDescription
    from pystream.storage.replica_moves import FutureReplica

REQUEST = DescribeLogDirsRequest


async def handle(context: BrokerContext, call: Call, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    described = await context.executor.run(context.logs.describe_dirs)
    wanted = None if request.topics is None else {topic.topic: set(topic.partitions) for topic in request.topics}
    futures = context.moves.futures()
    return DescribeLogDirsResponse(results=[_result(directory, futures, wanted) for directory in described])


def failed(request: DescribeLogDirsRequest, code: int, message: str) -> DescribeLogDirsResponse:
    return DescribeLogDirsResponse(error_code=code, results=[])


def _result(
    directory: LogDirDescription, futures: list[FutureReplica], wanted: dict[str, set[int]] | None
) -> DescribeLogDirsResult:
    rows = [(name, size_bytes, 0, False) for name, size_bytes in directory.partitions.items()]
    if not directory.is_offline:
        copied = [future for future in futures if future.path == directory.path]
        rows += [(future.name, future.size_bytes, future.offset_lag, True) for future in copied]
    topics: dict[str, list[DescribeLogDirsPartition]] = defaultdict(list)
    for name, size_bytes, lag, is_future in sorted(rows):
        if wanted is None or name.partition in wanted.get(name.topic, ()):
            topics[name.topic].append(
                DescribeLogDirsPartition(
                    partition_index=name.partition, partition_size=size_bytes, offset_lag=lag, is_future_key=is_future
                )
            )
    return DescribeLogDirsResult(
        error_code=KAFKA_STORAGE_ERROR if directory.is_offline else NONE,
        log_dir=directory.path,
        topics=[DescribeLogDirsTopic(name=name, partitions=partitions) for name, partitions in topics.items()],
        total_bytes=directory.total_bytes,
        usable_bytes=directory.usable_bytes,
    )
