"""DeleteRecords (key 21), versions 0-2: forget everything below an offset.

Offset -1 means the high watermark. The log start offset moves at once and durably, whole segments below it go. An
offset above the high watermark or below -1 is OFFSET_OUT_OF_RANGE; one at or below the log start changes nothing. A
topic that is only compacted is refused with POLICY_VIOLATION, an internal one with INVALID_TOPIC_EXCEPTION; one whose
cleanup.policy is empty can lose its records in no other way.

    1    only throttling after the answer (KIP-219)
    2    flexible
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import KAFKA_STORAGE_ERROR, NONE
from pystream.common.errors import (
    InvalidTopic,
    KafkaError,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    PolicyViolation,
    UnknownTopicOrPartition,
)
from pystream.common.model import NO_OFFSET, is_internal
from pystream.protocol.messages.delete_records import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)
from pystream.storage.config import COMPACT, DELETE

REQUEST = DeleteRecordsRequest
HIGH_WATERMARK = -1


async def handle(context: BrokerContext, call: Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    topics = []
    for topic in request.topics:
        partitions = [
            await _delete(context, topic.name, asked.partition_index, asked.offset) for asked in topic.partitions
        ]
        topics.append(DeleteRecordsTopicResult(name=topic.name, partitions=partitions))
    return DeleteRecordsResponse(topics=topics)


def failed(request: DeleteRecordsRequest, code: int, message: str) -> DeleteRecordsResponse:
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResult(
                name=topic.name,
                partitions=[
                    DeleteRecordsPartitionResult(
                        partition_index=asked.partition_index, low_watermark=NO_OFFSET, error_code=code
                    )
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


async def _delete(context: BrokerContext, topic: str, partition: int, offset: int) -> DeleteRecordsPartitionResult:
    try:
        _check_topic(context, topic, partition)
        _, high_watermark, _, _, _ = context.plane.partition_state(topic, partition)
        target = high_watermark if offset == HIGH_WATERMARK else offset
        if not 0 <= target <= high_watermark:
            raise OffsetOutOfRange(f"{topic}-{partition}: offset {offset} is not within 0..{high_watermark}")
        low_watermark = await context.executor.run(context.logs.delete_records, topic, partition, target)
        context.plane.advance_start_offset(topic, partition)
    except KafkaError as error:
        return DeleteRecordsPartitionResult(partition_index=partition, low_watermark=NO_OFFSET, error_code=error.code)
    except KeyError:  # the plane does not have it: its log cannot be used, or its topic has just been deleted
        code = KAFKA_STORAGE_ERROR
        return DeleteRecordsPartitionResult(partition_index=partition, low_watermark=NO_OFFSET, error_code=code)
    return DeleteRecordsPartitionResult(partition_index=partition, low_watermark=low_watermark, error_code=NONE)


def _check_topic(context: BrokerContext, topic: str, partition: int) -> None:
    """Raises the KafkaError that the client is to be told, when records of the partition cannot be deleted."""
    image = context.image()
    found = image.partition(topic, partition)
    if found is None:
        raise UnknownTopicOrPartition(f"there is no partition {topic}-{partition}")
    if is_internal(topic):
        raise InvalidTopic(f"records of internal topic {topic} cannot be deleted")
    if found.leader != context.config.node_id:
        raise NotLeaderOrFollower(f"{topic}-{partition} is led by broker {found.leader}")
    cleanup_policy = context.settings.log_config(image.topics[topic].configs, image).cleanup_policy
    if COMPACT in cleanup_policy and DELETE not in cleanup_policy:
        raise PolicyViolation(f"cleanup.policy of {topic} does not contain delete")
