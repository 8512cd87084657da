"""The body of a Produce request in parts, so that batches are sent from where they lie; and the usual answer to it.

    transactional id | acks | timeout | topics: name or id | partitions: index | size, batch
                                                                                 ^ a part of its own

Versions 3 to 13; from 9 on flexible (KIP-482), from 13 on topics go by id (KIP-516).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from pystream._native.delivery import ProducerBatch
from pystream._native.wire import Writer

if TYPE_CHECKING:
    from typing_extensions import Buffer

FLEXIBLE_SINCE: Final = 9
TOPIC_IDS_SINCE: Final = 13
NEWEST: Final = 13  # whose usual answer is known by its size
_INT32: Final = struct.Struct(">i")
_END: Final = b"\x00\x00\x00"  # no tagged fields: of partition, topic, request
# Of one partition that was written: topics 1 + 1 | topic id | partitions 1 + 1 | index | error | base offset | append
# time | log start offset | record errors 0 + 1 | no message | no tags, twice | throttle time | no tags
_WRITTEN: Final = struct.Struct(">B16sBihqqqBBBBiB")
_WRITTEN_MARKS: Final = (2, 2, 0, 1, 0, 0, 0, 0)


class Written(NamedTuple):
    """The answer to a request of one batch that was written."""

    topic_id: bytes
    partition: int
    base_offset: int
    append_time_ms: int
    throttle_time_ms: int


def written(body: Buffer, version: int) -> Written | None:
    """What the answer of a version says, when it is of that kind; None for every other answer."""
    if version != NEWEST or len(memoryview(body)) != _WRITTEN.size:
        return None
    (topics, topic_id, partitions, index, error, base_offset, append_ms, _start, *marks, throttle_ms, tags) = (
        _WRITTEN.unpack(body)
    )
    if (topics, partitions, error, *marks, tags) != _WRITTEN_MARKS:
        return None
    return Written(topic_id, index, base_offset, append_ms, throttle_ms)


def encode_one(
    batch: ProducerBatch, *, transactional_id: str | None, acks: int, timeout_ms: int, topic_id: bytes
) -> list[Buffer]:
    """`encode` in the newest version, for one batch."""
    head = _head(transactional_id, acks, timeout_ms)
    return [head + topic_id + b"\x02" + _INT32.pack(batch.partition) + _varint(batch.size_bytes + 1), batch, _END]


@lru_cache(maxsize=64)
def _head(transactional_id: str | None, acks: int, timeout_ms: int) -> bytes:
    """Down to the number of topics, which is one."""
    writer = Writer()
    writer.compact_nullable_string(transactional_id)
    writer.int16(acks)
    writer.int32(timeout_ms)
    writer.compact_array_count(1)
    return writer.getvalue()


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


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
