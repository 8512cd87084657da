"""A consumer's offsets on their way into a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from pystream.client.given import check_committable
from pystream.protocol.messages.txn_offset_commit import TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic

OffsetsToSend: TypeAlias = Mapping[tuple[str, int], Any]
"""(topic, partition) -> the offset to read next, or what has `offset`, `leader_epoch` and `metadata`."""


def committed_topics(offsets: OffsetsToSend) -> list[TxnOffsetCommitRequestTopic]:
    """As the request has them. Raises TypeError, ValueError for what is no offset."""
    by_topic: dict[str, list[TxnOffsetCommitRequestPartition]] = {}
    for (topic, partition), given in offsets.items():
        check_committable((topic, partition), getattr(given, "offset", given))
        leader_epoch = getattr(given, "leader_epoch", None)
        by_topic.setdefault(topic, []).append(
            TxnOffsetCommitRequestPartition(
                partition_index=partition,
                committed_offset=given if isinstance(given, int) else given.offset,
                committed_leader_epoch=-1 if leader_epoch is None else leader_epoch,
                committed_metadata=getattr(given, "metadata", None) or "",
            )
        )
    return [TxnOffsetCommitRequestTopic(name=name, partitions=found) for name, found in by_topic.items()]


def group_fields(group: Any) -> dict[str, Any]:
    """A group's name, or what a consumer's `group_metadata()` gives, as fields of the request."""
    if isinstance(group, str):
        return {"group_id": group}
    return {
        "group_id": group.group_id,
        "generation_id": group.generation_id,
        "member_id": group.member_id,
        "group_instance_id": group.group_instance_id,
    }
