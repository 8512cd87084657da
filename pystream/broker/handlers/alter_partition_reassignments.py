"""AlterPartitionReassignments (key 45), versions 0-1: which brokers shall hold a partition's replicas (KIP-455).

Every partition of this cluster has all its replicas on the brokers that there are, so a reassignment that can be
accepted is one to where the replicas lie already: done at once. Others name brokers that are not there, and are
refused. To cancel a reassignment (null replicas) there is none: NO_REASSIGNMENT_IN_PROGRESS.

    1    whether the number of replicas may change (KIP-860)
"""

from __future__ import annotations

from collections.abc import Sequence

from pystream.broker.context import BrokerContext, Call
from pystream.common.errors import (
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    KafkaError,
    NoReassignmentInProgress,
    UnknownTopicOrPartition,
)
from pystream.metadata.image import ClusterImage, PartitionImage
from pystream.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)

REQUEST = AlterPartitionReassignmentsRequest


def handle(
    context: BrokerContext, call: Call, request: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    image = context.image()
    return AlterPartitionReassignmentsResponse(
        error_message=None,
        allow_replication_factor_change=request.allow_replication_factor_change,
        responses=[
            ReassignableTopicResponse(
                name=topic.name,
                partitions=[
                    _reassigned(image, topic.name, asked, may_grow=request.allow_replication_factor_change)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


def failed(request: AlterPartitionReassignmentsRequest, code: int, message: str) -> AlterPartitionReassignmentsResponse:
    return AlterPartitionReassignmentsResponse(
        error_code=code,
        error_message=message,
        allow_replication_factor_change=request.allow_replication_factor_change,
        responses=[
            ReassignableTopicResponse(
                name=topic.name,
                partitions=[
                    ReassignablePartitionResponse(
                        partition_index=asked.partition_index, error_code=code, error_message=message
                    )
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ],
    )


def _reassigned(
    image: ClusterImage, topic: str, asked: ReassignablePartition, *, may_grow: bool
) -> ReassignablePartitionResponse:
    error: KafkaError | None = None
    try:
        partition = image.partition(topic, asked.partition_index)
        if partition is None:
            if topic not in image.topics:
                raise UnknownTopicOrPartition(f"Unable to find a topic named {topic}.")
            raise UnknownTopicOrPartition(f"Unable to find partition {topic}:{asked.partition_index}.")
        if asked.replicas is None:
            raise NoReassignmentInProgress()
        _check_replicas(image, partition, asked.replicas, may_grow=may_grow)
    except KafkaError as caught:
        error = caught
    return ReassignablePartitionResponse(
        partition_index=asked.partition_index,
        error_code=0 if error is None else error.code,
        error_message=None if error is None else str(error),
    )


def _check_replicas(image: ClusterImage, partition: PartitionImage, replicas: Sequence[int], *, may_grow: bool) -> None:
    """Raises the KafkaError that the client is to be told, unless the replicas lie there already."""
    if not replicas:
        raise InvalidReplicaAssignment("The manual partition assignment includes an empty replica list.")
    for broker in replicas:
        if list(replicas).count(broker) > 1:
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes the broker {broker} more than once."
            )
        if broker not in image.brokers:
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes broker {broker}, but no such broker is registered."
            )
    if len(replicas) != len(partition.replicas) and not may_grow:
        raise InvalidReplicationFactor(
            f"The replication factor is changed from {len(partition.replicas)} to {len(replicas)}"
        )
    if sorted(replicas) != sorted(partition.replicas):
        raise InvalidReplicaAssignment("Replicas cannot be moved between brokers: their logs are not replicated.")
