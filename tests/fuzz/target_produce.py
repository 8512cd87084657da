"""Bodies of Produce 3-13: nothing malformed is answered, nothing answered has fewer parts than asked for.

input: version, mode, body...    mode bit 0: the CRC of the first thing that looks like a batch is made right
                                 mode bit 1: the generated codec, which is slow, must agree
"""

from __future__ import annotations

from pystream._native.wire import Reader
from pystream.common.errors import PystreamError
from pystream.protocol.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from tests.fuzz.plane import TOPIC, TOPIC_ID, batch, shared
from tests.fuzz.target_batch import with_right_crc

VERSIONS = range(3, 14)
MAGIC_AT = 16


def seeds() -> list[bytes]:
    inputs = []
    for version in VERSIONS:
        for acks in (1, -1):
            parts = [
                PartitionProduceData(index=0, records=batch(b"value", b"more")),
                PartitionProduceData(
                    index=1, records=batch(b"x", codec=1, producer_id=5, producer_epoch=0, base_sequence=0)
                ),
                PartitionProduceData(index=9, records=None),
            ]
            request = ProduceRequest(
                acks=acks,
                timeout_ms=10,
                topic_data=[TopicProduceData(name=TOPIC, topic_id=TOPIC_ID, partition_data=parts)],
            )
            inputs += [bytes([VERSIONS.index(version), mode]) + request.encode(version) for mode in (0, 1, 2)]
    return inputs


def repaired(body: bytes) -> bytes:
    """Most mutations of a batch only break its checksum: with a right one the checks behind it are reached."""
    at = body.find(b"\x02", MAGIC_AT)
    if at < 0:
        return body
    start = at - MAGIC_AT
    return body[:start] + bytes(with_right_crc(body[start:]))


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    version = VERSIONS[data[0] % len(VERSIONS)]
    body = repaired(data[2:]) if data[1] & 1 else data[2:]
    plane = shared()
    answer = plane.probe.produce(body, version)
    plane.trim()
    if not data[1] & 2:
        return
    try:
        request = ProduceRequest.read(Reader(body), version)
    except PystreamError:
        request = None
    if answer is not None and request is not None:
        response = ProduceResponse.decode(answer[4 + (5 if version >= 9 else 4) :], version)
        asked = [[part.index for part in topic.partition_data] for topic in request.topic_data]
        assert [[part.index for part in topic.partition_responses] for topic in response.responses] == asked
    if request is None:
        assert answer is None, "the native parser took what the generated one refuses"
