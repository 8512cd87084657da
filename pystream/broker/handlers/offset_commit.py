"""OffsetCommit (key 8), versions 2-10: record what a group has read.

A partition that does not exist is answered with UNKNOWN_TOPIC_OR_PARTITION, the others are committed. The answer comes
when the offsets are stored as safely as acks=all would.

    2    retention time of the offsets, by the client, until 4
    3    throttle time
    5    no retention time: offsets.retention.minutes rules
    6    leader epoch (KIP-320)
    7    group instance id: static members (KIP-345)
    8    flexible
    9    members of groups of the consumer protocol commit with their epoch (KIP-848); GROUP_ID_NOT_FOUND
    10   topics by id only
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import NONE, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION
from pystream.common.errors import KafkaError
from pystream.coordinator.group.coordinator import settled
from pystream.coordinator.group.offset_requests import commit_failed
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

REQUEST = OffsetCommitRequest
TOPIC_ID_VERSION = 10


async def handle(context: BrokerContext, call: Call, request: OffsetCommitRequest) -> OffsetCommitResponse:
    topics = list(request.topics)
    faults = [_faults(context, topic, by_id=call.api_version >= TOPIC_ID_VERSION) for topic in topics]
    known = OffsetCommitRequest(
        group_id=request.group_id,
        generation_id_or_member_epoch=request.generation_id_or_member_epoch,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        retention_time_ms=request.retention_time_ms,
        topics=[
            OffsetCommitRequestTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[p for p, code in zip(topic.partitions, codes, strict=True) if code == NONE],
            )
            for topic, codes in zip(topics, faults, strict=True)
            if NONE in codes
        ],
    )
    committed: list[OffsetCommitResponseTopic] = []
    if known.topics:
        committed = list((await _committed(context, call, known)).topics)
    return OffsetCommitResponse(topics=_merged(topics, faults, committed))


async def _committed(context: BrokerContext, call: Call, known: OffsetCommitRequest) -> OffsetCommitResponse:
    try:
        response: OffsetCommitResponse = await settled(context.groups.commit_offsets(call.caller(), known))
    except KafkaError as error:
        return commit_failed(known, error.code)
    return response


def failed(request: OffsetCommitRequest, code: int, message: str) -> OffsetCommitResponse:
    return commit_failed(request, code)


def _faults(context: BrokerContext, topic: OffsetCommitRequestTopic, *, by_id: bool) -> list[int]:
    """The error code of each partition asked for; the topic learns its name, or its id."""
    image = context.image()
    if by_id:
        found = image.topics_by_id.get(topic.topic_id)
        if found is None:
            return [UNKNOWN_TOPIC_ID] * len(topic.partitions)
        topic.name = found.name
    else:
        found = image.topics.get(topic.name)
        if found is None:
            return [UNKNOWN_TOPIC_OR_PARTITION] * len(topic.partitions)
        topic.topic_id = found.topic_id
    count = len(found.partitions)
    return [NONE if 0 <= asked.partition_index < count else UNKNOWN_TOPIC_OR_PARTITION for asked in topic.partitions]


def _merged(
    topics: list[OffsetCommitRequestTopic], faults: list[list[int]], committed: list[OffsetCommitResponseTopic]
) -> list[OffsetCommitResponseTopic]:
    """One result for each partition asked for, in the request's order; `committed` has those without a fault."""
    results = iter([partition for topic in committed for partition in topic.partitions])
    return [
        OffsetCommitResponseTopic(
            name=topic.name,
            topic_id=topic.topic_id,
            partitions=[
                next(results)
                if code == NONE
                else OffsetCommitResponsePartition(partition_index=asked.partition_index, error_code=code)
                for asked, code in zip(topic.partitions, codes, strict=True)
            ],
        )
        for topic, codes in zip(topics, faults, strict=True)
    ]
