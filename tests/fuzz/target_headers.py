"""Request headers as the control plane meets them: a whole frame of anything.  Input: the frame, without its length."""

from __future__ import annotations

from pystream._native.wire import Writer
from pystream.common.errors import PystreamError
from pystream.protocol.catalogue import request_class
from pystream.protocol.headers import RequestHeader, encode_request
from pystream.protocol.messages.index import INDEX


def seeds() -> list[bytes]:
    inputs = []
    for key in INDEX:
        message = request_class(key)
        header = RequestHeader(api_key=key, api_version=max(message.READERS), correlation_id=7, client_id="client")
        inputs.append(encode_request(header, message()))
    return inputs


def check(data: bytes) -> None:
    try:
        header, body = RequestHeader.parse(data)
    except PystreamError:
        return
    assert body.position <= len(data)
    writer = Writer()
    header.write(writer)
    again, _ = RequestHeader.parse(writer.getvalue())
    assert again == header
