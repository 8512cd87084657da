"""OffsetCommit, TxnOffsetCommit, OffsetFetch and OffsetDelete on one shard.

Topics carry names; ids, where requests have them, are resolved by whoever calls, and come back as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pystream.common.config import LONG_MAX
from pystream.common.error_codes import (
    GROUP_SUBSCRIBED_TO_TOPIC,
    NONE,
    OFFSET_METADATA_TOO_LARGE,
    UNSTABLE_OFFSET_COMMIT,
)
from pystream.common.errors import GroupIdNotFound, IllegalGeneration, KafkaError, StaleMemberEpoch
from pystream.common.model import NO_LEADER_EPOCH, NO_OFFSET, NO_TIMESTAMP, ZERO_UUID
from pystream.coordinator.group.classic.groups import ClassicGroups
from pystream.coordinator.group.classic.state import ClassicGroup, ClassicState
from pystream.coordinator.group.group import Caller, Group, PartitionCheck
from pystream.coordinator.group.offsets import Offsets
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.coordinator_records.offset_commit import OffsetCommitKey, OffsetCommitValue
from pystream.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from pystream.protocol.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from pystream.protocol.messages.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from pystream.protocol.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)

UNKNOWN_GROUP_VERSION = 9  # from this OffsetCommit on a group that is not there is called so
DEFAULT_RETENTION_TIME = -1


# OffsetCommit


def commit_offsets(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, caller: Caller, request: OffsetCommitRequest
) -> None:
    """Record what a member, or a consumer that is not one, has read."""
    offsets = shard.part(Offsets)
    try:
        check = _check_commit(shard, now_ms, caller, request)
        _check_partitions(offsets, check, request.topics)
    except KafkaError as error:
        effects.answer(ticket, commit_failed(request, error.code))
        return
    expire_ms = NO_TIMESTAMP
    if request.retention_time_ms != DEFAULT_RETENTION_TIME:
        expire_ms = min(now_ms + request.retention_time_ms, LONG_MAX)
    topics = []
    for topic in request.topics:
        results = []
        for asked in topic.partitions:
            code = OFFSET_METADATA_TOO_LARGE if _is_too_large(offsets, asked.committed_metadata) else NONE
            if code == NONE:
                value = OffsetCommitValue(
                    offset=asked.committed_offset,
                    leader_epoch=max(asked.committed_leader_epoch, NO_LEADER_EPOCH),
                    metadata=asked.committed_metadata or "",
                    commit_timestamp=now_ms,
                    expire_timestamp=expire_ms,
                    topic_id=topic.topic_id,
                )
                key = OffsetCommitKey(group=request.group_id, topic=topic.name, partition=asked.partition_index)
                effects.write(key, value)
                shard.metrics.offset_commits += 1
            results.append(OffsetCommitResponsePartition(partition_index=asked.partition_index, error_code=code))
        topics.append(OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=results))
    effects.answer(ticket, OffsetCommitResponse(topics=topics))


def commit_failed(request: OffsetCommitRequest, code: int) -> OffsetCommitResponse:
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponsePartition(partition_index=asked.partition_index, error_code=code)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _check_commit(
    shard: GroupShard, now_ms: int, caller: Caller, request: OffsetCommitRequest
) -> PartitionCheck | None:
    group = shard.groups.get(request.group_id)
    if group is None:
        if request.generation_id_or_member_epoch >= 0:
            raise GroupIdNotFound() if caller.api_version >= UNKNOWN_GROUP_VERSION else IllegalGeneration()
        return None  # of a consumer that never joins: the record makes the group
    check = group.check_offset_commit(
        request.member_id,
        request.group_instance_id,
        request.generation_id_or_member_epoch,
        transactional=False,
        api_version=caller.api_version,
    )
    if isinstance(group, ClassicGroup) and group.state in (ClassicState.STABLE, ClassicState.PREPARING_REBALANCE):
        shard.part(ClassicGroups).expect_heartbeat(group, group.members[request.member_id], now_ms)
    return check


def _check_partitions(
    offsets: Offsets,
    check: PartitionCheck | None,
    topics: Sequence[OffsetCommitRequestTopic | TxnOffsetCommitRequestTopic],
) -> None:
    """All may be committed, or nothing is: what `check` raises for one partition is the answer for all of them."""
    if check is None:
        return
    for topic in topics:
        for asked in topic.partitions:
            if not _is_too_large(offsets, asked.committed_metadata):
                check(topic.name, asked.partition_index)


def _is_too_large(offsets: Offsets, metadata: str | None) -> bool:
    return metadata is not None and len(metadata) > offsets.config.metadata_max_bytes


# TxnOffsetCommit


def commit_offsets_in_transaction(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, caller: Caller, request: TxnOffsetCommitRequest
) -> None:
    """Record what the producer's open transaction commits; it counts from the transaction's marker on."""
    offsets = shard.part(Offsets)
    try:
        _check_commit_in_transaction(shard, caller, request)
    except KafkaError as error:
        effects.answer(ticket, commit_in_transaction_failed(request, error.code))
        return
    topics = []
    for topic in request.topics:
        topic_id = offsets.topic_id_of(topic.name)
        results = []
        for asked in topic.partitions:
            code = OFFSET_METADATA_TOO_LARGE if _is_too_large(offsets, asked.committed_metadata) else NONE
            if code == NONE:
                value = OffsetCommitValue(
                    offset=asked.committed_offset,
                    leader_epoch=max(asked.committed_leader_epoch, NO_LEADER_EPOCH),
                    metadata=asked.committed_metadata or "",
                    commit_timestamp=now_ms,
                    topic_id=topic_id,
                )
                key = OffsetCommitKey(group=request.group_id, topic=topic.name, partition=asked.partition_index)
                effects.write(key, value, producer_id=request.producer_id, producer_epoch=request.producer_epoch)
                shard.metrics.offset_commits += 1
            results.append(TxnOffsetCommitResponsePartition(partition_index=asked.partition_index, error_code=code))
        topics.append(TxnOffsetCommitResponseTopic(name=topic.name, partitions=results))
    effects.answer(ticket, TxnOffsetCommitResponse(topics=topics))


def commit_in_transaction_failed(request: TxnOffsetCommitRequest, code: int) -> TxnOffsetCommitResponse:
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    TxnOffsetCommitResponsePartition(partition_index=asked.partition_index, error_code=code)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _check_commit_in_transaction(shard: GroupShard, caller: Caller, request: TxnOffsetCommitRequest) -> None:
    group = shard.groups.get(request.group_id)
    if group is None:
        if request.generation_id >= 0:
            raise IllegalGeneration()
        return
    try:
        check = group.check_offset_commit(
            request.member_id,
            request.group_instance_id,
            request.generation_id,
            transactional=True,
            api_version=caller.api_version,
        )
        _check_partitions(shard.part(Offsets), check, request.topics)
    except StaleMemberEpoch:
        raise IllegalGeneration() from None


# OffsetFetch


def fetch_offsets(
    shard: GroupShard,
    ticket: Ticket,
    now_ms: int,
    effects: Effects,
    request: OffsetFetchRequestGroup,
    require_stable: bool,
) -> None:
    """What one group has committed: for the partitions asked for, or, `topics` being None, for all it knows."""
    group = shard.groups.get(request.group_id)
    if group is not None:
        try:
            group.check_offset_fetch(request.member_id, request.member_epoch, now_ms)
        except GroupIdNotFound:
            group = None
        except KafkaError as error:
            effects.answer(ticket, OffsetFetchResponseGroup(group_id=request.group_id, error_code=error.code))
            return
    offsets = shard.part(Offsets)
    if request.topics is None:
        topics = _all_offsets(offsets, group, require_stable)
    else:
        topics = [
            _fetched(offsets, group, topic.name, topic.topic_id, topic.partition_indexes, require_stable=require_stable)
            for topic in request.topics
        ]
    effects.answer(ticket, OffsetFetchResponseGroup(group_id=request.group_id, topics=topics))


def _all_offsets(offsets: Offsets, group: Group | None, require_stable: bool) -> Sequence[OffsetFetchResponseTopics]:
    if group is None:
        return ()
    return [
        _fetched(offsets, group, topic, ZERO_UUID, partitions, require_stable=require_stable)
        for topic, partitions in offsets.of_group(group.group_id).items()
    ]


def _fetched(
    offsets: Offsets,
    group: Group | None,
    topic: str,
    topic_id: bytes,
    partitions: Iterable[int],
    *,
    require_stable: bool,
) -> OffsetFetchResponseTopics:
    results = []
    living_id = offsets.topic_id_of(topic) if topic_id == ZERO_UUID else topic_id
    for partition in partitions:
        committed = None if group is None else offsets.of(group.group_id, topic, partition)
        if group is not None and require_stable and offsets.is_unstable(group.group_id, topic, partition):
            results.append(_nothing(partition, UNSTABLE_OFFSET_COMMIT))
        elif committed is None or committed.is_of_another_topic(living_id):
            results.append(_nothing(partition, NONE))
        else:
            results.append(
                OffsetFetchResponsePartitions(
                    partition_index=partition,
                    committed_offset=committed.offset,
                    committed_leader_epoch=committed.leader_epoch,
                    metadata=committed.metadata,
                    error_code=NONE,
                )
            )
    return OffsetFetchResponseTopics(name=topic, topic_id=topic_id, partitions=results)


def _nothing(partition: int, code: int) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(
        partition_index=partition,
        committed_offset=NO_OFFSET,
        committed_leader_epoch=NO_LEADER_EPOCH,
        metadata="",
        error_code=code,
    )


# OffsetDelete


def delete_offsets(
    shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, request: OffsetDeleteRequest
) -> None:
    """Forget offsets of topics that the group does not subscribe to."""
    try:
        group = shard.group(request.group_id)
        group.check_offset_delete()
    except KafkaError as error:
        effects.answer(ticket, OffsetDeleteResponse(error_code=error.code))
        return
    offsets = shard.part(Offsets)
    known = set(offsets.places_of(request.group_id))
    topics = []
    for topic in request.topics:
        code = GROUP_SUBSCRIBED_TO_TOPIC if group.is_subscribed_to(topic.name) else NONE
        asked = [partition.partition_index for partition in topic.partitions]
        if code == NONE:
            places = [place for p in asked if (place := (topic.name, p)) in known]
            shard.metrics.offset_deletions += offsets.delete(request.group_id, places, effects)
        topics.append(
            OffsetDeleteResponseTopic(
                name=topic.name,
                partitions=[OffsetDeleteResponsePartition(partition_index=p, error_code=code) for p in asked],
            )
        )
    effects.answer(ticket, OffsetDeleteResponse(topics=topics))


def topics_deleted(shard: GroupShard, ticket: Ticket, now_ms: int, effects: Effects, names: Collection[str]) -> None:
    """Topics are gone: so is what anybody has committed for them."""
    shard.part(Offsets).topics_deleted(names, now_ms, effects)
