"""ListPartitionReassignments (key 46), version 0: partitions whose replicas are on the move (KIP-455).

Without topics it is about all. A partition that is not moving, or that does not exist, is not in the answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from pystream.broker.context import BrokerContext, Call
from pystream.metadata.image import ClusterImage, PartitionImage
from pystream.protocol.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)

REQUEST = ListPartitionReassignmentsRequest


def handle(
    context: BrokerContext, call: Call, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    moving = [
        (name, [_ongoing(partition) for partition in partitions if partition.adding or partition.removing])
        for name, partitions in _asked(context.image(), request)
    ]
    return ListPartitionReassignmentsResponse(
        error_message=None,
        topics=[OngoingTopicReassignment(name=name, partitions=found) for name, found in moving if found],
    )


def failed(request: ListPartitionReassignmentsRequest, code: int, message: str) -> ListPartitionReassignmentsResponse:
    return ListPartitionReassignmentsResponse(error_code=code, error_message=message)


def _asked(
    image: ClusterImage, request: ListPartitionReassignmentsRequest
) -> Iterator[tuple[str, list[PartitionImage]]]:
    if request.topics is None:
        for topic in image.topics.values():
            yield topic.name, list(topic.partitions)
        return
    for asked in request.topics:
        found = [image.partition(asked.name, index) for index in asked.partition_indexes]
        yield asked.name, [partition for partition in found if partition is not None]


def _ongoing(partition: PartitionImage) -> OngoingPartitionReassignment:
    return OngoingPartitionReassignment(
        partition_index=partition.index,
        replicas=list(partition.replicas),
        adding_replicas=list(partition.adding),
        removing_replicas=list(partition.removing),
    )
