"""AlterReplicaLogDirs (key 34), versions 1-2: move replicas between the log directories of this broker (KIP-113).

A move goes on after the answer; DescribeLogDirs shows how far it is. To the directory where the replica is: a move
under way is given up. A replica that is not here yet will be made in that directory, and the answer is
REPLICA_NOT_AVAILABLE, or UNKNOWN_TOPIC_OR_PARTITION where there is no such partition, as in Kafka.

    LOG_DIR_NOT_FOUND      no log directory of this broker has this absolute path
    KAFKA_STORAGE_ERROR    that directory, or the replica's log, is offline

    1    the first version
    2    flexible
"""

from __future__ import annotations

from collections import defaultdict

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import NONE
from pystream.common.errors import KafkaError, KafkaStorageError
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition
from pystream.metadata.image import ClusterImage
from pystream.protocol.messages.alter_replica_log_dirs import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)

REQUEST = AlterReplicaLogDirsRequest
logger = get_logger(__name__)


async def handle(
    context: BrokerContext, call: Call, request: AlterReplicaLogDirsRequest
) -> AlterReplicaLogDirsResponse:
    image = context.image()
    codes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for path, topic, partition in _asked(request):
        codes[topic].append((partition, await context.executor.run(_requested, context, image, path, topic, partition)))
    return _response(codes)


def failed(request: AlterReplicaLogDirsRequest, code: int, message: str) -> AlterReplicaLogDirsResponse:
    codes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _, topic, partition in _asked(request):
        codes[topic].append((partition, code))
    return _response(codes)


def _asked(request: AlterReplicaLogDirsRequest) -> list[tuple[str, str, int]]:
    return [
        (directory.path, topic.name, partition)
        for directory in request.dirs
        for topic in directory.topics
        for partition in topic.partitions
    ]


def _requested(context: BrokerContext, image: ClusterImage, path: str, topic: str, partition: int) -> int:
    """On a storage thread. The error code."""
    name = TopicPartition(topic, partition)
    try:
        if name in context.applier.unusable:
            raise KafkaStorageError(f"Partition {name} is offline")
        context.moves.request(topic, partition, path, is_known=image.partition(topic, partition) is not None)
    except KafkaError as error:
        logger.warning("replica not moved", partition=name, path=path, error=error)
        return error.code
    return NONE


def _response(codes: dict[str, list[tuple[int, int]]]) -> AlterReplicaLogDirsResponse:
    return AlterReplicaLogDirsResponse(
        results=[
            AlterReplicaLogDirTopicResult(
                topic_name=topic,
                partitions=[
                    AlterReplicaLogDirPartitionResult(partition_index=partition, error_code=code)
                    for partition, code in partitions
                ],
            )
            for topic, partitions in codes.items()
        ]
    )
