"""OffsetFetch (key 9), versions 1-10: what groups have committed. Offset -1: nothing.

2    an error of the whole group; topics null: all partitions that the group has offsets for
3    throttle time
5    leader epoch (KIP-320)
6    flexible
7    require_stable: UNSTABLE_OFFSET_COMMIT while a transaction may change the offset (KIP-447)
8    many groups, a result each (KIP-709)
9    member id and epoch of groups of the consumer protocol (KIP-848)
10   topics by id only
"""

from __future__ import annotations

from collections.abc import Sequence

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import NONE, UNKNOWN_TOPIC_ID
from pystream.common.model import NO_LEADER_EPOCH, NO_OFFSET
from pystream.metadata.image import ClusterImage
from pystream.protocol.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

REQUEST = OffsetFetchRequest
GROUP_ERROR_VERSION = 2
MANY_GROUPS_VERSION = 8
TOPIC_ID_VERSION = 10


async def handle(context: BrokerContext, call: Call, request: OffsetFetchRequest) -> OffsetFetchResponse:
    if call.api_version < MANY_GROUPS_VERSION:
        (found,) = await context.groups.fetch_offsets([_single(request)], require_stable=request.require_stable)
        return _single_response(call, request, found)
    image = context.image()
    groups = list(request.groups)
    if call.api_version < TOPIC_ID_VERSION:
        found_groups = await context.groups.fetch_offsets(groups, require_stable=request.require_stable)
        return OffsetFetchResponse(groups=found_groups)
    asked = [group.topics for group in groups]
    for group in groups:
        if group.topics is not None:
            group.topics = [topic for topic in group.topics if _name(image, topic)]
    found_groups = await context.groups.fetch_offsets(groups, require_stable=request.require_stable)
    for found_group, topics in zip(found_groups, asked, strict=True):
        if found_group.error_code == NONE:
            found_group.topics = _with_ids(image, topics, found_group.topics)
    return OffsetFetchResponse(groups=found_groups)


def failed(request: OffsetFetchRequest, code: int, message: str) -> OffsetFetchResponse:
    """All forms at once: a result for each partition (1), for the group (2-7), for each group (8 and later)."""
    return OffsetFetchResponse(
        error_code=code,
        topics=_failed_topics(request, code),
        groups=[OffsetFetchResponseGroup(group_id=group.group_id, error_code=code) for group in request.groups],
    )


def _single(request: OffsetFetchRequest) -> OffsetFetchRequestGroup:
    topics = None
    if request.topics is not None:
        topics = [OffsetFetchRequestTopics(name=t.name, partition_indexes=t.partition_indexes) for t in request.topics]
    return OffsetFetchRequestGroup(group_id=request.group_id, topics=topics)


def _single_response(call: Call, request: OffsetFetchRequest, group: OffsetFetchResponseGroup) -> OffsetFetchResponse:
    if group.error_code != NONE:
        topics = _failed_topics(request, group.error_code) if call.api_version < GROUP_ERROR_VERSION else []
        return OffsetFetchResponse(error_code=group.error_code, topics=topics)
    topics = [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(
                    partition_index=partition.partition_index,
                    committed_offset=partition.committed_offset,
                    committed_leader_epoch=partition.committed_leader_epoch,
                    metadata=partition.metadata,
                    error_code=partition.error_code,
                )
                for partition in topic.partitions
            ],
        )
        for topic in group.topics
    ]
    return OffsetFetchResponse(topics=topics)


def _failed_topics(request: OffsetFetchRequest, code: int) -> list[OffsetFetchResponseTopic]:
    return [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(
                    partition_index=partition,
                    committed_offset=NO_OFFSET,
                    committed_leader_epoch=NO_LEADER_EPOCH,
                    metadata="",
                    error_code=code,
                )
                for partition in topic.partition_indexes
            ],
        )
        for topic in request.topics or ()
    ]


def _name(image: ClusterImage, topic: OffsetFetchRequestTopics) -> bool:
    """Whether the topic's id is known; it learns its name."""
    found = image.topics_by_id.get(topic.topic_id)
    topic.name = "" if found is None else found.name
    return found is not None


def _with_ids(
    image: ClusterImage,
    asked: Sequence[OffsetFetchRequestTopics] | None,
    found: Sequence[OffsetFetchResponseTopics],
) -> list[OffsetFetchResponseTopics]:
    """One result for each topic asked for, in the request's order; of all topics those that still have an id."""
    if asked is None:
        for topic in found:
            known = image.topics.get(topic.name)
            if known is not None:
                topic.topic_id = known.topic_id
        return [topic for topic in found if topic.name in image.topics]
    results = iter(found)
    return [next(results) if topic.name else _unknown_id(topic) for topic in asked]


def _unknown_id(topic: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics:
    return OffsetFetchResponseTopics(
        topic_id=topic.topic_id,
        partitions=[
            OffsetFetchResponsePartitions(
                partition_index=partition,
                committed_offset=NO_OFFSET,
                committed_leader_epoch=NO_LEADER_EPOCH,
                metadata="",
                error_code=UNKNOWN_TOPIC_ID,
            )
            for partition in topic.partition_indexes
        ],
    )
