"""DescribeProducers (key 61), version 0: who has written to a partition, and whose transactions are open (KIP-664)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import NONE
from pystream.common.errors import KafkaError, NotLeaderOrFollower, UnknownTopicOrPartition
from pystream.common.model import validate_topic_name
from pystream.protocol.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)

if TYPE_CHECKING:
    from pystream.storage.partition_log import PartitionLog

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
    try:
        log = _log(context, topic, partition)
    except KafkaError as error:
        return PartitionResponse(partition_index=partition, error_code=error.code, error_message=str(error))
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
    return PartitionResponse(partition_index=partition, error_code=NONE, error_message=None, active_producers=producers)


def _log(context: BrokerContext, topic: str, partition: int) -> PartitionLog:
    """The partition's log, which this broker leads. Raises the KafkaError that the client is to be told."""
    validate_topic_name(topic)
    found = context.image().partition(topic, partition)
    if found is None:
        raise UnknownTopicOrPartition()
    log = context.logs.get(topic, partition)
    if log is None or found.leader != context.config.node_id:
        raise NotLeaderOrFollower()
    return log
