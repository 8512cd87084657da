"""Generated codecs of every message: bytes give a message or MalformedInput; what was read is written and read alike.

input: API key, version, direction (a byte each), body...
"""

from __future__ import annotations

from pystream._native.wire import Reader
from pystream.common.errors import PystreamError
from pystream.protocol.catalogue import request_class, response_class
from pystream.protocol.message import Message
from pystream.protocol.messages.index import INDEX

KEYS = sorted(INDEX)
ELEMENT_LIMIT = 10_000


def chosen(data: bytes) -> tuple[type[Message], int]:
    key = KEYS[data[0] % len(KEYS)]
    message = (request_class if data[2] & 1 else response_class)(key)
    versions = sorted(message.READERS)
    return message, versions[data[1] % len(versions)]


def seeds() -> list[bytes]:
    inputs = []
    for index in range(len(KEYS)):
        for direction in (0, 1):
            message, _ = chosen(bytes([index, 0, direction]))
            for nth in {0, len(message.READERS) - 1}:
                head = bytes([index, nth, direction])
                inputs.append(head + message().encode(chosen(head)[1]))
    return inputs


def check(data: bytes) -> None:
    if len(data) < 4:
        return
    message, version = chosen(data)
    try:
        first = message.read(Reader(data[3:], element_limit=ELEMENT_LIMIT), version)
    except PystreamError:
        return
    written = first.encode(version)
    again = message.decode(written, version)
    assert again.encode(version) == written
