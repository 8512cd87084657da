"""The wire without a client: frames through a socket, bodies through kio, batch headers by hand.

kio is an independent reading of Kafka's schemas, and strict: it refuses unknown tags, and no byte may be left over.
"""

from __future__ import annotations

import importlib
import io
import socket
import struct
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from kio.serial import entity_reader, entity_writer

from tests.conformance.records import CODECS

TIMEOUT_SECONDS = 120
CORRELATION_ID = 0x5EED
EARLIEST, LATEST, MAX_TIMESTAMP = -2, -1, -3
COORDINATOR_LOAD_IN_PROGRESS = 14
FETCH_MAX_BYTES = 1 << 20
# base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and max timestamp, producer id and
# epoch, base sequence, record count
_BATCH = struct.Struct(">qiibIhiqqqhii")
BATCH_OVERHEAD = 12  # base offset and length, which the length does not count


class Batch(NamedTuple):
    """The header of a record batch, Kafka's names."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def codec(self) -> str:
        return CODECS[self.attributes & 7]


class Connection:
    """One connection; requests are answered in order."""

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT_SECONDS)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *frames: bytes) -> None:
        """Frames without their lengths, in one piece."""
        self._socket.sendall(b"".join(struct.pack(">i", len(frame)) + frame for frame in frames))

    def receive(self) -> bytes:
        """The next answer without its length. Raises ConnectionError when the broker has closed."""
        head = self._file.read(4)
        if len(head) < 4:
            raise ConnectionError("closed by the broker")
        (size,) = struct.unpack(">i", head)
        body = self._file.read(size)
        if len(body) < size:
            raise ConnectionError("closed by the broker within an answer")
        return body

    def call(self, request: Any) -> Any:
        """Send one of kio's request entities and parse the answer, to its last byte."""
        self.send(request_bytes(request))
        return parse_response(type(request), self.receive())


def request_bytes(request: Any) -> bytes:
    """Header and body of one of kio's request entities."""
    kind = type(request)
    header_type = kind.__header_schema__
    header = header_type(
        request_api_key=kind.__api_key__,
        request_api_version=kind.__version__,
        correlation_id=CORRELATION_ID,
        client_id="pystream-conformance",
    )
    buffer = io.BytesIO()
    entity_writer(header_type)(buffer, header)
    entity_writer(kind)(buffer, request)
    return buffer.getvalue()


def parse_response(request_type: type[Any], answer: bytes) -> Any:
    module = importlib.import_module(request_type.__module__.replace(".request", ".response"))
    kind = getattr(module, request_type.__name__.replace("Request", "Response"))
    header, position = entity_reader(kind.__header_schema__)(answer, 0)
    assert header.correlation_id == CORRELATION_ID
    body, size = entity_reader(kind)(answer, position)
    assert position + size == len(answer), f"{len(answer) - position - size} bytes after the answer"
    return body


def fetch(connection: Connection, topic: str, partition: int, offset: int) -> bytes:
    """The record batches of one Fetch, as they are on the wire."""
    request = fetch_request(topic, partition, offset)
    (answered,) = connection.call(request).responses
    (part,) = answered.partitions
    assert part.error_code == 0, part.error_code
    return bytes(part.records or b"")


def fetch_request(
    topic: str,
    partition: int,
    offset: int,
    *,
    max_bytes: int = FETCH_MAX_BYTES,
    partition_max_bytes: int = FETCH_MAX_BYTES,
) -> Any:
    schema: Any = importlib.import_module("kio.schema.fetch.v12.request")
    part = schema.FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=partition_max_bytes)
    return schema.FetchRequest(
        max_wait=timedelta(milliseconds=500),
        min_bytes=1,
        max_bytes=max_bytes,
        topics=(schema.FetchTopic(topic=topic, partitions=(part,)),),
        forgotten_topics_data=(),
    )


def last_batch(connection: Connection, topic: str, partition: int) -> bytes:
    """The last record batch of a partition, as it is on the wire."""
    end = list_offset(connection, topic, partition, LATEST).offset
    return fetch(connection, topic, partition, end - 1)


def produce(connection: Connection, topic: str, partition: int, batch: bytes) -> Any:
    """Send one batch, acks=all; the partition's answer."""
    (answer,) = produce_at_once(connection, topic, partition, [batch])
    return answer


def produce_at_once(connection: Connection, topic: str, partition: int, batches: Sequence[bytes]) -> list[Any]:
    """Send one request for each batch without waiting in between; the partition's answers."""
    schema: Any = importlib.import_module("kio.schema.produce.v9.request")
    requests = []
    for batch in batches:
        part = schema.PartitionProduceData(index=partition, records=batch)
        topics = (schema.TopicProduceData(name=topic, partition_data=(part,)),)
        requests.append(schema.ProduceRequest(acks=-1, timeout=timedelta(seconds=TIMEOUT_SECONDS), topic_data=topics))
    connection.send(*map(request_bytes, requests))
    answers = [parse_response(schema.ProduceRequest, connection.receive()) for _ in requests]
    return [answer.responses[0].partition_responses[0] for answer in answers]


def new_producer_id(connection: Connection) -> int:
    """An idempotent producer's id, of epoch 0. Apache Kafka fetches its first block while it answers "loading"."""
    schema: Any = importlib.import_module("kio.schema.init_producer_id.v4.request")
    request = schema.InitProducerIdRequest(transactional_id=None, transaction_timeout=timedelta(minutes=1))
    answer = connection.call(request)
    while int(answer.error_code) == COORDINATOR_LOAD_IN_PROGRESS:
        answer = connection.call(request)
    assert (int(answer.error_code), answer.producer_epoch) == (0, 0)
    return int(answer.producer_id)


def list_offset(connection: Connection, topic: str, partition: int, timestamp: int) -> Any:
    """What ListOffsets answers for a time in ms, or for EARLIEST, LATEST or MAX_TIMESTAMP."""
    schema: Any = importlib.import_module("kio.schema.list_offsets.v7.request")
    part = schema.ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
    topics = (schema.ListOffsetsTopic(name=topic, partitions=(part,)),)
    request = schema.ListOffsetsRequest(replica_id=-1, isolation_level=0, topics=topics)
    return connection.call(request).topics[0].partitions[0]


def batches(data: bytes) -> Iterator[Batch]:
    """The whole batches in what a Fetch gave; a part of one at the end is left out."""
    position = 0
    while position + _BATCH.size <= len(data):
        batch = Batch(*_BATCH.unpack_from(data, position))
        position += BATCH_OVERHEAD + batch.batch_length
        if position <= len(data):
            yield batch


def stored_codecs(bootstrap: str, topic: str, partition: int) -> set[str]:
    """The codecs of the first stored batches: what a client asked for must be what is in the log."""
    with Connection(bootstrap) as connection:
        return {batch.codec for batch in batches(fetch(connection, topic, partition, 0))}
