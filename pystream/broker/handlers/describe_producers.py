"""DescribeProducers (key 61), version 0: who has written to a partition, and whose transactions are open (KIP-664)."""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import NONE, NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION
from pystream.protocol.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)

REQUEST = DescribeProducersRequest


async def handle(context: BrokerContext, call: Call, request: DescribeProducersRequest) -> DescribeProducersResponse:
    return DescribeProducersResponse(
        topics=[
            TopicResponse(
                name=topic.name,
                partitions=[_one(context, topic.name, partition) for partition in topic.partition_indexes],
            )
            for topic in request.topics
        ]
    )


def failed(request: DescribeProducersRequest, code: int, message: str) -> DescribeProducersResponse:
    return DescribeProducersResponse(
        topics=[
            TopicResponse(
                name=topic.name,
                partitions=[
                    PartitionResponse(partition_index=partition, error_code=code, error_message=message or None)
                    for partition in topic.partition_indexes
                ],
            )
            for topic in request.topics
        ]
    )


def _one(context: BrokerContext, topic: str, partition: int) -> PartitionResponse:
    found = context.image().topics.get(topic)
    if found is None or not 0 <= partition < len(found.partitions):
        return PartitionResponse(partition_index=partition, error_code=UNKNOWN_TOPIC_OR_PARTITION)
    log = context.logs.get(topic, partition)
    if log is None or found.partitions[partition].leader != context.config.node_id:
        return PartitionResponse(partition_index=partition, error_code=NOT_LEADER_OR_FOLLOWER)
    remembered = log.native.producers()
    producers = [
        ProducerState(
            producer_id=producer_id,
            producer_epoch=epoch,
            last_sequence=last_sequence,
            last_timestamp=timestamp,
            coordinator_epoch=coordinator_epoch,
            current_txn_start_offset=first_offset,
        )
        for producer_id, epoch, last_sequence, _, _, timestamp, coordinator_epoch, first_offset in remembered
    ]
    return PartitionResponse(partition_index=partition, error_code=NONE, active_producers=producers)
