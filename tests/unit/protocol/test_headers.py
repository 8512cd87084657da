"""Headers in front of requests and responses."""

from __future__ import annotations

import pytest

from pystream._native.wire import Reader, Writer
from pystream.common.errors import MalformedInput
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.headers import (
    RequestHeader,
    encode_request,
    encode_response,
    read_response_header,
    response_header,
)
from pystream.protocol.messages import request_header as generated
from pystream.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic


def metadata_frame(version: int) -> bytes:
    header = RequestHeader(api_key=ApiKey.METADATA, api_version=version, correlation_id=7, client_id="me")
    return encode_request(header, MetadataRequest(topics=[MetadataRequestTopic(name="t")]))


@pytest.mark.parametrize("version", [0, 8, 9, 13])
def test_a_request_is_parsed_and_the_reader_stands_at_its_body(version: int):
    header, reader = RequestHeader.parse(metadata_frame(version))
    assert (header.api_key, header.api_version, header.correlation_id, header.client_id) == (3, version, 7, "me")
    request = MetadataRequest.read(reader, version)
    reader.finish()
    assert [topic.name for topic in request.topics or ()] == ["t"]


def test_the_client_id_keeps_its_old_form_in_header_2():
    frame = metadata_frame(9)
    assert frame[:14] == b"\x00\x03\x00\x09\x00\x00\x00\x07\x00\x02me\x00\x02"
    theirs = generated.RequestHeader(request_api_key=3, request_api_version=9, correlation_id=7, client_id="me")
    assert frame.startswith(theirs.encode(2))


def test_tagged_fields_of_a_header_are_skipped():
    frame = b"\x00\x12\x00\x03\x00\x00\x00\x01\xff\xff\x01\x05\x02zz" + ApiVersionsRequest().encode(3)
    header, reader = RequestHeader.parse(frame)
    assert header.client_id is None
    assert ApiVersionsRequest.read(reader, 3) == ApiVersionsRequest()


def test_an_api_versions_request_of_the_future_is_recognised():
    header, _ = RequestHeader.parse(b"\x00\x12\x00\x63\x00\x00\x00\x01\x00\x01x\x00what follows is not known")
    assert (header.api_key, header.api_version, header.client_id) == (18, 99, "x")


def test_a_key_that_kafka_does_not_have_still_has_a_header():
    header, reader = RequestHeader.parse(b"\x7f\xff\x00\x00\x00\x00\x00\x01\xff\xff")
    assert (header.api_key, reader.remaining) == (32767, 0)


def test_a_header_cut_anywhere_is_malformed():
    frame = metadata_frame(12)
    for size in range(13):
        with pytest.raises(MalformedInput):
            RequestHeader.parse(frame[:size])


@pytest.mark.parametrize(
    ("key", "version", "data"),
    [
        (ApiKey.METADATA, 8, b"\x00\x00\x00\x07"),
        (ApiKey.METADATA, 9, b"\x00\x00\x00\x07\x00"),
        (ApiKey.API_VERSIONS, 4, b"\x00\x00\x00\x07"),
    ],
)
def test_response_headers(key: int, version: int, data: bytes):
    writer = Writer()
    response_header(writer, key, version, 7)
    assert writer.getvalue() == data
    reader = Reader(data)
    assert read_response_header(reader, key, version) == 7
    reader.finish()


def test_a_response_follows_its_header():
    data = encode_response(ApiKey.API_VERSIONS, 0, 5, ApiVersionsResponse(error_code=35))
    assert data == b"\x00\x00\x00\x05\x00\x23\x00\x00\x00\x00"
