"""DescribeTopicPartitions (key 75), version 0: partitions of topics, in pages (KIP-966).

Topics come in the order of their names; no names asked for means all. A page holds at most
min(response_partition_limit, max.request.partition.size.limit) partitions; `next_cursor` names the first one that is
left. The cursor sent back skips what lies before it; its topic need not exist any more, but it must be one of the names
asked for. One result for each topic asked for by name, INVALID_TOPIC_EXCEPTION or UNKNOWN_TOPIC_OR_PARTITION included.

    0    flexible from the start
"""

from __future__ import annotations

from collections.abc import Iterator

from pystream.broker.authorized_operations import ALL_ON_TOPIC
from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import (
    INVALID_TOPIC_EXCEPTION,
    LEADER_NOT_AVAILABLE,
    NONE,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import InvalidRequest, InvalidTopic
from pystream.common.model import NO_BROKER, ZERO_UUID, is_internal, validate_topic_name
from pystream.metadata.image import ClusterImage, PartitionImage, TopicImage
from pystream.protocol.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)

REQUEST = DescribeTopicPartitionsRequest


def handle(
    context: BrokerContext, call: Call, request: DescribeTopicPartitionsRequest
) -> DescribeTopicPartitionsResponse:
    cursor = request.cursor
    if cursor is not None:
        if request.topics and cursor.topic_name not in {topic.name for topic in request.topics}:
            raise InvalidRequest(
                f"DescribeTopicPartitionsRequest topic list should contain the cursor topic: {cursor.topic_name}"
            )
        if cursor.partition_index < 0:
            raise InvalidRequest(f"DescribeTopicPartitionsRequest cursor partition must be valid: {cursor}")
    image = context.image()
    limit = min(max(request.response_partition_limit, 1), context.config.max_request_partition_size_limit)
    first_topic, first_partition = (cursor.topic_name, cursor.partition_index) if cursor is not None else ("", 0)
    described: list[DescribeTopicPartitionsResponseTopic] = []
    next_cursor: DescribeTopicPartitionsResponseCursor | None = None
    for name in _names(image, request, first_topic):
        if limit == 0:
            next_cursor = DescribeTopicPartitionsResponseCursor(topic_name=name, partition_index=0)
            break
        topic = image.topics.get(name)
        if topic is None:
            described.append(_unknown(name))
            continue
        start = first_partition if name == first_topic else 0
        page = topic.partitions[start : start + limit]
        described.append(_described(context, call, topic, page))
        limit -= len(page)
        if start + len(page) < len(topic.partitions):
            next_cursor = DescribeTopicPartitionsResponseCursor(topic_name=name, partition_index=start + len(page))
            break
    return DescribeTopicPartitionsResponse(topics=described, next_cursor=next_cursor)


def failed(request: DescribeTopicPartitionsRequest, code: int, message: str) -> DescribeTopicPartitionsResponse:
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(error_code=code, name=topic.name, topic_id=ZERO_UUID, partitions=[])
            for topic in request.topics
        ]
    )


def _names(image: ClusterImage, request: DescribeTopicPartitionsRequest, first: str) -> Iterator[str]:
    names = {topic.name for topic in request.topics} if request.topics else image.topics.keys()
    return iter(sorted(name for name in names if name >= first))


def _described(
    context: BrokerContext, call: Call, topic: TopicImage, page: tuple[PartitionImage, ...]
) -> DescribeTopicPartitionsResponseTopic:
    reachable = {broker.node_id for broker, _ in context.reachable_brokers(call.listener)}

    def describe(partition: PartitionImage) -> DescribeTopicPartitionsResponsePartition:
        leader = context.leader_of(topic.name, partition, reachable)
        return DescribeTopicPartitionsResponsePartition(
            error_code=LEADER_NOT_AVAILABLE if leader == NO_BROKER else NONE,
            partition_index=partition.index,
            leader_id=leader,
            leader_epoch=partition.leader_epoch,
            replica_nodes=partition.replicas,
            isr_nodes=partition.isr,
            eligible_leader_replicas=[],
            last_known_elr=[],
            offline_replicas=[replica for replica in partition.replicas if replica not in reachable],
        )

    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=is_internal(topic.name),
        partitions=[describe(partition) for partition in page],
        topic_authorized_operations=ALL_ON_TOPIC,
    )


def _unknown(name: str) -> DescribeTopicPartitionsResponseTopic:
    try:
        validate_topic_name(name)
        code = UNKNOWN_TOPIC_OR_PARTITION
    except InvalidTopic:
        code = INVALID_TOPIC_EXCEPTION
    return DescribeTopicPartitionsResponseTopic(
        error_code=code,
        name=name,
        topic_id=ZERO_UUID,
        is_internal=is_internal(name),
        partitions=[],
        topic_authorized_operations=ALL_ON_TOPIC,
    )
