"""OffsetForLeaderEpoch (key 23), versions 2-4: where a leader epoch ended: a consumer notices a cut log (KIP-320).

The answer is the largest epoch at or below the one asked for, and its end offset; -1 and -1 when there is none. The
epoch that is still running ends at the log's end.

    2    the client's own idea of the leader epoch: FENCED_LEADER_EPOCH below ours, UNKNOWN_LEADER_EPOCH above
    3    replica id: -1 or -2 is a client
    4    flexible
"""

from __future__ import annotations

from pystream.broker.context import BrokerContext, Call
from pystream.common.error_codes import (
    FENCED_LEADER_EPOCH,
    NOT_LEADER_OR_FOLLOWER,
    UNKNOWN_LEADER_EPOCH,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import KafkaError, KafkaStorageError
from pystream.common.model import NO_LEADER_EPOCH
from pystream.protocol.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)

REQUEST = OffsetForLeaderEpochRequest


def handle(context: BrokerContext, call: Call, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic=topic.topic, partitions=[_answer(context, topic.topic, asked) for asked in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def failed(request: OffsetForLeaderEpochRequest, code: int, message: str) -> OffsetForLeaderEpochResponse:
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[EpochEndOffset(error_code=code, partition=asked.partition) for asked in topic.partitions],
            )
            for topic in request.topics
        ]
    )


def _answer(context: BrokerContext, topic: str, asked: OffsetForLeaderPartition) -> EpochEndOffset:
    try:
        code = _leadership_error(context, topic, asked)
        if code:
            return EpochEndOffset(error_code=code, partition=asked.partition)
        log = context.logs.get(topic, asked.partition)
        if log is None:
            raise KafkaStorageError(f"{topic}-{asked.partition} has no log here")
        running = context.image().partition(topic, asked.partition)
        if running is not None and running.leader_epoch == asked.leader_epoch:  # be anything written in it or not
            epoch, end_offset = asked.leader_epoch, log.native.end_offset
        else:
            epoch, end_offset = log.native.end_offset_for_epoch(asked.leader_epoch)
    except KafkaError as error:
        return EpochEndOffset(error_code=error.code, partition=asked.partition)
    return EpochEndOffset(partition=asked.partition, leader_epoch=epoch, end_offset=end_offset)


def _leadership_error(context: BrokerContext, topic: str, asked: OffsetForLeaderPartition) -> int:
    """0 when this broker leads the partition in the epoch that the client believes in."""
    partition = context.image().partition(topic, asked.partition)
    if partition is None:
        return UNKNOWN_TOPIC_OR_PARTITION
    if partition.leader != context.config.node_id:
        return NOT_LEADER_OR_FOLLOWER
    if asked.current_leader_epoch == NO_LEADER_EPOCH or asked.current_leader_epoch == partition.leader_epoch:
        return 0
    return FENCED_LEADER_EPOCH if asked.current_leader_epoch < partition.leader_epoch else UNKNOWN_LEADER_EPOCH
