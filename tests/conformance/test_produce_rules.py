"""What a broker must refuse of a producer, and how; run on Apache Kafka too, whose answers these are.

A refusal is the answer of its partition: the connection serves on, and nothing of the batch is appended.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator

import pytest
from crc32c import crc32c

from tests.conformance import wire
from tests.conformance.clients import kafka_python_batch
from tests.conformance.records import CODECS

NewTopicName = Callable[..., str]

CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
MESSAGE_TOO_LARGE = 10
INVALID_TIMESTAMP = 32
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
INVALID_PRODUCER_EPOCH = 47
INVALID_RECORD = 87
FIRST_MS = 1_700_000_000_000
DAY_MS = 86_400_000
ROWS = [(FIRST_MS, b"key", b"value" * 50)] * 3

MAGIC_POSITION = 16
CRC_POSITION = 17
ATTRIBUTES_POSITION = 21
LAST_OFFSET_DELTA_POSITION = 23
PRODUCER_POSITION = 43


@pytest.fixture
def connection(bootstrap: str) -> Iterator[wire.Connection]:
    with wire.Connection(bootstrap) as opened:
        yield opened


def changed(batch: bytes, position: int, layout: str, *values: int, seal: bool = True) -> bytes:
    """The batch with a field overwritten and, unless `seal` is False, a CRC that fits."""
    copy = bytearray(batch)
    struct.pack_into(layout, copy, position, *values)
    if seal:
        struct.pack_into(">I", copy, CRC_POSITION, crc32c(bytes(copy[ATTRIBUTES_POSITION:])))
    return bytes(copy)


def of_producer(batch: bytes, producer_id: int, producer_epoch: int, base_sequence: int) -> bytes:
    return changed(batch, PRODUCER_POSITION, ">qhi", producer_id, producer_epoch, base_sequence)


def send(connection: wire.Connection, topic: str, batch: bytes) -> tuple[int, int]:
    """Error code and base offset."""
    answer = wire.produce(connection, topic, 0, batch)
    return int(answer.error_code), answer.base_offset


def end_offset(connection: wire.Connection, topic: str) -> int:
    offset: int = wire.list_offset(connection, topic, 0, wire.LATEST).offset
    return offset


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        pytest.param(changed(kafka_python_batch("none", ROWS), 70, ">B", 255, seal=False), CORRUPT_MESSAGE, id="crc"),
        pytest.param(
            changed(kafka_python_batch("none", ROWS), LAST_OFFSET_DELTA_POSITION, ">i", 7), INVALID_RECORD, id="count"
        ),
        pytest.param(
            changed(kafka_python_batch("none", ROWS), ATTRIBUTES_POSITION, ">h", 32), INVALID_RECORD, id="control"
        ),
        pytest.param(b"", INVALID_RECORD, id="nothing"),
        pytest.param(kafka_python_batch("none", ROWS) * 2, INVALID_RECORD, id="two batches"),
        pytest.param(
            kafka_python_batch("none", [(FIRST_MS, b"key", b"v" * 30_000)]), MESSAGE_TOO_LARGE, id="too large"
        ),
    ],
)
def test_an_invalid_batch_is_refused(
    batch: bytes, error: int, connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("refuses", **{"max.message.bytes": "20000"})
    assert send(connection, topic, batch) == (error, -1)
    assert send(connection, topic, kafka_python_batch("none", ROWS)) == (0, 0)


def test_more_replicas_in_sync_than_there_are_cannot_be_asked_for(
    connection: wire.Connection, new_topic: NewTopicName
) -> None:
    """A topic of a larger cluster, settings and all, takes records with acks=all on one broker."""
    topic = new_topic("one-replica", **{"min.insync.replicas": "3"})
    assert send(connection, topic, kafka_python_batch("none", ROWS)) == (0, 0)


def test_a_partition_that_is_not_there_is_unknown(connection: wire.Connection, new_topic: NewTopicName) -> None:
    topic = new_topic("one-partition")
    answer = wire.produce(connection, topic, 1, kafka_python_batch("none", ROWS))
    assert int(answer.error_code) == UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("codec", CODECS)
def test_a_time_too_far_from_the_brokers_is_refused(
    codec: str, connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("times", **{"message.timestamp.before.max.ms": str(DAY_MS)})
    now_ms = int(time.time() * 1_000)
    for far_ms in (now_ms - 2 * DAY_MS, now_ms + 2 * DAY_MS):
        rows = [(now_ms, b"key", b"value"), (far_ms, b"key", b"value")]
        answer = wire.produce(connection, topic, 0, kafka_python_batch(codec, rows))
        assert int(answer.error_code) == INVALID_TIMESTAMP
        assert [error.batch_index for error in answer.record_errors] == [1]
    assert end_offset(connection, topic) == 0


@pytest.mark.parametrize("codec", CODECS)
def test_a_topics_codec_replaces_the_producers(
    codec: str, connection: wire.Connection, new_topic: NewTopicName
) -> None:
    topic = new_topic("recompressed", **{"compression.type": "uncompressed" if codec == "none" else codec})
    for sent in CODECS:
        assert send(connection, topic, kafka_python_batch(sent, ROWS))[0] == 0
    batches = list(wire.batches(wire.fetch(connection, topic, 0, 0)))
    assert [(batch.codec, batch.record_count) for batch in batches] == [(codec, len(ROWS))] * len(CODECS)


def test_a_sequence_goes_on_or_is_refused(connection: wire.Connection, new_topic: NewTopicName) -> None:
    """Of the last five batches a repeat is answered as the first time; a gap and an older epoch are refused."""
    topic = new_topic("sequences")
    batch = kafka_python_batch("none", ROWS)
    producer_id = wire.new_producer_id(connection)
    for number in range(6):
        assert send(connection, topic, of_producer(batch, producer_id, 0, 3 * number)) == (0, 3 * number)
    assert send(connection, topic, of_producer(batch, producer_id, 0, 15)) == (0, 15)
    assert send(connection, topic, of_producer(batch, producer_id, 0, 3)) == (0, 3)
    assert send(connection, topic, of_producer(batch, producer_id, 0, 21))[0] == OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send(connection, topic, of_producer(batch, producer_id, 1, 0)) == (0, 18)
    assert send(connection, topic, of_producer(batch, producer_id, 0, 18))[0] == INVALID_PRODUCER_EPOCH
    assert end_offset(connection, topic) == 21


def test_a_batch_sent_twice_at_once_is_appended_once(connection: wire.Connection, new_topic: NewTopicName) -> None:
    """Both copies are in the broker's hands before either is appended: what a retry after a time-out can do."""
    topic = new_topic("pipelined")
    producer_id = wire.new_producer_id(connection)
    batch = kafka_python_batch("none", ROWS)
    batches = [of_producer(batch, producer_id, 0, sequence) for sequence in (0, 0, 3, 3, 0, 3)]

    answers = [
        (int(answer.error_code), answer.base_offset) for answer in wire.produce_at_once(connection, topic, 0, batches)
    ]

    assert answers == [(0, 0), (0, 0), (0, 3), (0, 3), (0, 0), (0, 3)]
    assert end_offset(connection, topic) == 6
