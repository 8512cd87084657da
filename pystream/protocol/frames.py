"""Whole frames as a client writes and reads them, without the length in front, which belongs to the connection."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pystream._native.kept_memory import Block
from pystream._native.wire import Reader, Writer
from pystream.common.error_codes import UNSUPPORTED_VERSION
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.catalogue import response_class
from pystream.protocol.headers import RequestHeader, read_response_header
from pystream.protocol.message import Message

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Block", "decode_response", "request_frame", "response_body"]

_INT16: Final = struct.Struct(">h")


def request_frame(header: RequestHeader, request: Message | None) -> bytes:
    """Header and body; the header alone where there is no `request`, for a body that is encoded already."""
    writer = Writer()
    header.write(writer)
    if request is not None:
        request.write(writer, header.api_version)
    return writer.getvalue()


def response_body(frame: Buffer, api_key: int, version: int) -> memoryview:
    """A view of what follows the header. Raises MalformedInput."""
    reader = Reader(frame)
    read_response_header(reader, api_key, version)
    return memoryview(frame)[reader.position :]


def decode_response(frame: Buffer, api_key: int, version: int) -> Message:
    """The response that `frame` is, to its last byte. Records are views into `frame`. Raises MalformedInput.

    A broker that refuses a version of ApiVersions answers in version 0. Source: KIP-511.
    """
    reader = Reader(frame)
    read_response_header(reader, api_key, version)
    if api_key == ApiKey.API_VERSIONS and reader.remaining >= _INT16.size:
        (error_code,) = _INT16.unpack_from(frame, reader.position)
        version = 0 if error_code == UNSUPPORTED_VERSION else version
    response = response_class(api_key).read(reader, version)
    reader.finish()
    return response
