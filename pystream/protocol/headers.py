"""The headers in front of every request and response.

    request   api_key int16 | api_version int16 | correlation_id int32 | client_id nullable string
              | tagged fields (header 2)
    response  correlation_id int32 | tagged fields (header 1)

The client id keeps its old form in header 2. A frame here has no length in front: that belongs to the connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pystream._native.wire import Reader, Writer
from pystream.protocol.api_keys import request_header_version, response_header_version
from pystream.protocol.message import Message

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(slots=True, kw_only=True)
class RequestHeader:
    """What a request says of itself before its body."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None

    @staticmethod
    def parse(frame: Buffer) -> tuple[RequestHeader, Reader]:
        """The header, and a reader that stands at the body. A key that Kafka does not have is taken to have header 1.

        Raises MalformedInput.
        """
        reader = Reader(frame)
        header = RequestHeader(
            api_key=reader.int16(),
            api_version=reader.int16(),
            correlation_id=reader.int32(),
            client_id=reader.nullable_string(),
        )
        if request_header_version(header.api_key, header.api_version) > 1:
            reader.skip_tagged_fields()
        return header, reader

    def write(self, writer: Writer) -> None:
        """Append the header; the version of the header follows from key and version."""
        writer.int16(self.api_key)
        writer.int16(self.api_version)
        writer.int32(self.correlation_id)
        writer.nullable_string(self.client_id)
        if request_header_version(self.api_key, self.api_version) > 1:
            writer.no_tagged_fields()


def response_header(writer: Writer, api_key: int, api_version: int, correlation_id: int) -> None:
    """Append the header of the response to a request of this key and version."""
    writer.int32(correlation_id)
    if response_header_version(api_key, api_version) > 0:
        writer.no_tagged_fields()


def read_response_header(reader: Reader, api_key: int, api_version: int) -> int:
    """The correlation id; `reader` then stands at the body. Raises MalformedInput."""
    correlation_id = reader.int32()
    if response_header_version(api_key, api_version) > 0:
        reader.skip_tagged_fields()
    return correlation_id


def encode_request(header: RequestHeader, request: Message) -> bytes:
    """Header and body, without a length in front."""
    writer = Writer()
    header.write(writer)
    request.write(writer, header.api_version)
    return writer.getvalue()


def encode_response(api_key: int, api_version: int, correlation_id: int, response: Message) -> bytes:
    """Header and body, without a length in front."""
    writer = Writer()
    response_header(writer, api_key, api_version, correlation_id)
    response.write(writer, api_version)
    return writer.getvalue()
