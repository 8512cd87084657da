"""Bodies of Fetch 4-18, sessions included: a right body is answered, a malformed one is not.

input: version, body...    bit 7 of the version: the generated codec, which is slow, must agree
"""

from __future__ import annotations

from pystream._native.wire import Reader
from pystream.common.errors import PystreamError
from pystream.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from tests.fuzz.plane import TOPIC, TOPIC_ID, shared

VERSIONS = range(4, 19)


def seeds() -> list[bytes]:
    inputs = []
    for version in VERSIONS:
        for session in ((0, -1), (0, 0), (77, 1)):
            request = FetchRequest(
                max_wait_ms=0,
                min_bytes=1,
                max_bytes=1 << 16,
                isolation_level=session[1] & 1,
                session_id=session[0],
                session_epoch=session[1],
                topics=[
                    FetchTopic(
                        topic=TOPIC,
                        topic_id=TOPIC_ID,
                        partitions=[
                            FetchPartition(partition=index, fetch_offset=index, partition_max_bytes=100)
                            for index in range(3)
                        ],
                    )
                ],
                forgotten_topics_data=[ForgottenTopic(topic=TOPIC, topic_id=TOPIC_ID, partitions=[1])]
                if session[1] > 0
                else [],
            )
            inputs += [bytes([mode + VERSIONS.index(version)]) + request.encode(version) for mode in (0, 128)]
    return inputs


def check(data: bytes) -> None:
    if not data:
        return
    version = VERSIONS[(data[0] & 127) % len(VERSIONS)]
    answer = shared().probe.fetch(data[1:], version)
    if not data[0] & 128:
        return
    try:
        FetchRequest.read(Reader(data[1:]), version)
    except PystreamError:
        assert answer is None, "the native parser took what the generated one refuses"
