"""The body of a Produce request in parts, so that batches are sent from where they lie.

    transactional id | acks | timeout | topics: name or id | partitions: index | size, batch
                                                                                 ^ a part of its own

Versions 3 to 13; from 9 on flexible (KIP-482), from 13 on topics go by id (KIP-516).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pystream._native.delivery import ProducerBatch
from pystream._native.wire import Writer

if TYPE_CHECKING:
    from typing_extensions import Buffer

FLEXIBLE_SINCE: Final = 9
TOPIC_IDS_SINCE: Final = 13


def encode(
    batches: Sequence[ProducerBatch],
    version: int,
    *,
    transactional_id: str | None,
    acks: int,
    timeout_ms: int,
    topic_ids: Mapping[str, bytes],
) -> list[Buffer]:
    """The parts; at most one batch of each partition. `topic_ids` is read from TOPIC_IDS_SINCE on."""
    topics: dict[str, list[ProducerBatch]] = {}
    for batch in batches:
        topics.setdefault(batch.topic, []).append(batch)
    flexible = version >= FLEXIBLE_SINCE
    writer = Writer()
    if flexible:
        writer.compact_nullable_string(transactional_id)
    else:
        writer.nullable_string(transactional_id)
    writer.int16(acks)
    writer.int32(timeout_ms)
    _count(writer, flexible, len(topics))
    parts: list[Buffer] = []
    for topic, of_topic in topics.items():
        if version >= TOPIC_IDS_SINCE:
            writer.uuid(topic_ids[topic])
        elif flexible:
            writer.compact_string(topic)
        else:
            writer.string(topic)
        _count(writer, flexible, len(of_topic))
        for batch in of_topic:
            writer.int32(batch.partition)
            if flexible:
                writer.unsigned_varint(batch.size_bytes + 1)
            else:
                writer.int32(batch.size_bytes)
            parts += (writer.getvalue(), batch)
            writer.clear()
            if flexible:
                writer.no_tagged_fields()
        if flexible:
            writer.no_tagged_fields()
    if flexible:
        writer.no_tagged_fields()
        parts.append(writer.getvalue())
    return parts


def _count(writer: Writer, flexible: bool, count: int) -> None:
    if flexible:
        writer.compact_array_count(count)
    else:
        writer.array_count(count)
