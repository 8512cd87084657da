"""Answers that a broker did not give: each request refused with an error code in every item that it asks for.

Keys that the broker answers in Python are refused as their own handlers do; the data plane's three are spelled here.
A Fetch of a session that names no partition is refused as a whole, and its session is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pystream.broker.registry import Registry
from pystream.common.errors import MalformedInput, UnsupportedVersion
from pystream.protocol.api_keys import ApiKey, name_of
from pystream.protocol.catalogue import request_class
from pystream.protocol.headers import RequestHeader, encode_response
from pystream.protocol.message import Message
from pystream.protocol.messages.fetch import FetchableTopicResponse, FetchRequest, FetchResponse
from pystream.protocol.messages.fetch import PartitionData as FetchedPartition
from pystream.protocol.messages.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from pystream.protocol.messages.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)

NOWHERE: Final = -1  # an offset that nothing was given
NO_KEY: Final = -1
MESSAGE: Final = "refused by a test"


def refused_produce(request: ProduceRequest, code: int) -> ProduceResponse:
    return ProduceResponse(
        responses=[
            TopicProduceResponse(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_responses=[
                    PartitionProduceResponse(index=part.index, error_code=code, base_offset=NOWHERE)
                    for part in topic.partition_data
                ],
            )
            for topic in request.topic_data
        ]
    )


def refused_fetch(request: FetchRequest, code: int) -> FetchResponse:
    if not request.topics:
        return FetchResponse(error_code=code)
    return FetchResponse(
        responses=[
            FetchableTopicResponse(
                topic=topic.topic,
                topic_id=topic.topic_id,
                partitions=[
                    FetchedPartition(partition_index=part.partition, error_code=code, high_watermark=NOWHERE)
                    for part in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def refused_list_offsets(request: ListOffsetsRequest, code: int) -> ListOffsetsResponse:
    return ListOffsetsResponse(
        topics=[
            ListOffsetsTopicResponse(
                name=topic.name,
                partitions=[
                    ListOffsetsPartitionResponse(partition_index=part.partition_index, error_code=code)
                    for part in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


PLANE_REFUSALS: Final[dict[int, Callable[[Any, int], Message]]] = {
    ApiKey.PRODUCE: refused_produce,
    ApiKey.FETCH: refused_fetch,
    ApiKey.LIST_OFFSETS: refused_list_offsets,
}
_registry = Registry()


def refusal(frame: bytes, code: int) -> bytes:
    """The answer, without its length, to a request's frame. Raises UnsupportedVersion for what is not offered."""
    header, reader = RequestHeader.parse(frame)
    key, version = header.api_key, header.api_version
    request = request_class(key).read(reader, version)
    if key in PLANE_REFUSALS:
        response = PLANE_REFUSALS[key](request, code)
    else:
        handler = _registry.find(key, version)
        if handler is None:
            raise UnsupportedVersion(f"{name_of(key)} version {version}: a broker does not offer it")
        response = handler.failed(request, code, MESSAGE)
    return encode_response(key, version, header.correlation_id, response)


def refusal_or_none(frame: bytes, code: int) -> bytes | None:
    """As `refusal`; None for a request that cannot be read: the broker has its own answer to that."""
    try:
        return refusal(frame, code)
    except (MalformedInput, UnsupportedVersion):
        return None


def expects_answer(frame: bytes) -> bool:
    """False for a Produce with acks=0. What cannot be read is left to the broker, which closes the connection."""
    try:
        header, reader = RequestHeader.parse(frame)
        if header.api_key != ApiKey.PRODUCE:
            return True
        return ProduceRequest.read(reader, header.api_version).acks != 0
    except (MalformedInput, UnsupportedVersion):
        return True


def asked_by(frame: bytes) -> tuple[int, str | None]:
    """The API key and the client's id of a request; -1 where there is none to be read."""
    try:
        header, _ = RequestHeader.parse(frame)
    except MalformedInput:
        return NO_KEY, None
    return header.api_key, header.client_id
