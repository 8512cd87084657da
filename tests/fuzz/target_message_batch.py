"""A fetch answer's bytes as the consumer reads them: nothing that a broker sends may do more than end the batch.

input: options, aborted producer id, from offset, then batches
options: 1 CRCs made right, 2 aborted transactions, 4 of a share group
"""

from __future__ import annotations

import itertools

from pystream._native.crc32c import crc32c
from pystream._native.message_batch import MessageBatch
from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.record_reader import RecordReader
from pystream.client.share.delivery import AcknowledgeType, deliveries_of, gather, ranges_of
from pystream.common.errors import PystreamError
from pystream.common.model import TopicIdPartition, TopicPartition

LIMIT = 1 << 14
HEADER_SIZE = 61
RIGHT_CRC = 1
WITH_ABORTED = 2
SHARED = 4


def seeds() -> list[bytes]:
    inputs = []
    for codec in range(5):
        batches = b""
        for number in range(3):
            builder = RecordBatchBuilder(
                codec=codec if number else 0, base_offset=2 * number, producer_id=number, producer_epoch=0,
                base_sequence=0, transactional=True, append_time_ms=5 if number == 2 else None,
            )  # fmt: skip
            builder.append(b"v" * 50 * number, timestamp=1, key=b"k", headers=[("h", None)] * number)
            builder.append(None, timestamp=2)
            batches += builder.build()
        marker = RecordBatchBuilder(base_offset=6, producer_id=1, producer_epoch=0, transactional=True, control=True)
        marker.append(bytes(6), timestamp=1, key=bytes(4))
        batches += marker.build()
        inputs.append(bytes([RIGHT_CRC | WITH_ABORTED, 1, codec % 3]) + batches)
        inputs.append(bytes([RIGHT_CRC | SHARED, 7, codec % 3]) + batches)
    return inputs


def with_right_crcs(data: bytes) -> bytes:
    """Damage behind CRCs that fit: otherwise little but the CRC is ever tested."""
    fixed = bytearray(data)
    position = 0
    while position + HEADER_SIZE <= len(fixed):
        size = int.from_bytes(fixed[position + 8 : position + 12], "big", signed=True) + 12
        if size < HEADER_SIZE or position + size > len(fixed):
            break
        crc = crc32c(bytes(fixed[position + 21 : position + size]))
        fixed[position + 17 : position + 21] = crc.to_bytes(4, "big")
        position += size
    return bytes(fixed)


def look_at_all(batch: MessageBatch) -> None:
    """Every way to the records, and that they agree."""
    messages = list(batch)
    assert [message.value for message in messages] == batch.values()
    assert [message.key for message in messages] == batch.keys()
    assert [message.headers for message in messages] == [batch.headers(row) for row in range(len(batch))]
    assert [message.offset for message in messages] == list(memoryview(batch.offsets))
    for message in messages:
        assert message.timestamp_type in (0, 1)
        assert -(1 << 31) <= message.leader_epoch < 1 << 31
    for gathered, fields in ((batch.gather_values(), batch.values()), (batch.gather_keys(), batch.keys())):
        assert bytes(gathered.data) == b"".join(field or b"" for field in fields)
        assert gathered.null_count == fields.count(None)


class Broker:
    """Who gave the records to a share consumer."""

    node_id = 1
    generation = 0


def acknowledge_all(fetched: bytes, first: int, last: int) -> None:
    """A share consumer that acquired these offsets hands out nothing else, and says something of each of them."""
    acquired = [(first, last, 1)]
    batch = MessageBatch(fetched, "t", 0, from_offset=first, limit=LIMIT, acquired=acquired)
    key, place = TopicPartition("t", 0), TopicIdPartition(bytes(16), 0)
    deliveries, runs = deliveries_of(Broker(), key, place, batch, fetched, acquired, expires_at_ms=0)
    offsets = list(memoryview(batch.offsets))
    if offsets != sorted(set(offsets)):
        return  # a broker that repeats itself
    for delivery in deliveries:
        for message in delivery.messages():
            assert first <= message.offset <= last
            assert message.delivery_count == 1
        delivery.say_all(AcknowledgeType.ACCEPT)
    for said in gather(deliveries):
        runs += said.runs
    told = [(each.first, each.last) for each in ranges_of(sorted(runs))]
    assert (told[0][0], told[-1][1]) == (first, last)
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(told))


def check(data: bytes) -> None:
    if len(data) < 3:
        return
    options, producer_id, from_offset = data[:3]
    fetched = with_right_crcs(data[3:]) if options & RIGHT_CRC else data[3:]
    aborted = [(producer_id, 0), (producer_id + 1, from_offset)] if options & WITH_ABORTED else None
    batch = MessageBatch(fetched, "t", 0, from_offset=from_offset, aborted=aborted, limit=LIMIT)
    look_at_all(batch)
    if options & SHARED:
        acknowledge_all(fetched, from_offset, from_offset + producer_id)
    assert batch.next_offset >= from_offset
    assert batch.error is None or isinstance(batch.error, PystreamError)
    if aborted is None and batch.error is None and from_offset == 0:  # batches before it are not looked into
        records = list(RecordReader(fetched))
        assert [(record.offset, record.value) for record in records] == [
            (message.offset, message.value) for message in batch
        ]
