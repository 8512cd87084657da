"""Bodies of ListOffsets 1-11: one result per partition asked for, or a refusal.

input: version, body...    bit 7 of the version: the generated codec, which is slow, must agree
"""

from __future__ import annotations

from pystream._native.wire import Reader
from pystream.common.errors import PystreamError
from pystream.protocol.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from tests.fuzz.plane import TOPIC, shared

VERSIONS = range(1, 12)


def seeds() -> list[bytes]:
    parts = [ListOffsetsPartition(partition_index=index, timestamp=time) for index in (0, 1, 5) for time in (-2, 1001)]
    request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=TOPIC, partitions=parts)])
    return [
        bytes([mode + VERSIONS.index(version)]) + request.encode(version) for version in VERSIONS for mode in (0, 128)
    ]


def check(data: bytes) -> None:
    if not data:
        return
    version = VERSIONS[(data[0] & 127) % len(VERSIONS)]
    answer = shared().probe.list_offsets(data[1:], version)
    if not data[0] & 128:
        return
    try:
        request = ListOffsetsRequest.read(Reader(data[1:]), version)
    except PystreamError:
        assert answer is None, "the native parser took what the generated one refuses"
        return
    if answer is not None:
        response = ListOffsetsResponse.decode(answer[4 + (5 if version >= 6 else 4) :], version)
        asked = [[part.partition_index for part in topic.partitions] for topic in request.topics]
        assert [[part.partition_index for part in topic.partitions] for topic in response.topics] == asked
