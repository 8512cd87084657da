"""What a broker sends on a client's connection, in pieces: answers or typed errors, and nobody is left waiting.

input: options, size of the pieces - 1 (larger where there were too many), then bytes; the first correlation id is 1
options: low 3 bits which requests wait for an answer; 8: the bytes are one answer, behind the right size and id
"""

from __future__ import annotations

import asyncio
import atexit
import struct
from typing import Any, Final

from pystream.common.errors import PystreamError
from pystream.net.connection import Connection, ConnectionSettings
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.catalogue import request_class, response_class
from pystream.protocol.headers import encode_response
from pystream.protocol.message import Message
from pystream.protocol.messages.index import INDEX

LARGEST_FRAME: Final = 1 << 16
MOST_PIECES: Final = 16
FRAMED: Final = 8
WAITING: Final = [
    [ApiKey.API_VERSIONS],
    [ApiKey.METADATA, ApiKey.FIND_COORDINATOR],
    [ApiKey.FETCH],
    [ApiKey.PRODUCE],
    [ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP, ApiKey.HEARTBEAT],
    [ApiKey.CONSUMER_GROUP_HEARTBEAT, ApiKey.OFFSET_COMMIT, ApiKey.OFFSET_FETCH],
    [ApiKey.SHARE_FETCH, ApiKey.SHARE_ACKNOWLEDGE, ApiKey.SHARE_GROUP_HEARTBEAT],
    [ApiKey.LIST_OFFSETS, ApiKey.OFFSET_FOR_LEADER_EPOCH, ApiKey.INIT_PRODUCER_ID, ApiKey.DESCRIBE_CLUSTER],
]


class Socket:
    """Takes options."""

    def setsockopt(self, *_: object) -> None:
        return


class Transport:
    """Takes what is sent and lets go of it."""

    def __init__(self) -> None:
        self.is_closed = False

    def get_extra_info(self, _: str) -> Socket:
        return Socket()

    def write(self, _: object) -> None:
        return

    def writelines(self, _: object) -> None:
        return

    def abort(self) -> None:
        self.is_closed = True


def seeds() -> list[bytes]:
    inputs = [bytes([0, 3]) + b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes([2, 255]) + struct.pack(">i", -1)]
    for choice, keys in enumerate(WAITING):
        frames = b""
        for number, key in enumerate(keys):
            version = INDEX[key].requests[1]
            body = encode_response(key, version, number + 1, response_class(key)())
            frames += struct.pack(">i", len(body)) + body
            if number == 0:
                inputs.append(bytes([choice | FRAMED, 255]) + body[4:])
        inputs += [bytes([choice, 0]) + frames, bytes([choice, 6]) + frames, bytes([choice, 255]) + frames]
    return inputs


class Loop(asyncio.SelectorEventLoop):
    """Nobody runs it, so it keeps no timers: those of millions of inputs would take all memory, cancelled or not."""

    def call_at(self, when: float, callback: Any, *arguments: Any, context: Any = None) -> asyncio.TimerHandle:
        return asyncio.TimerHandle(when, callback, arguments, self, context)


def feed(connection: Connection, stream: bytes, step: int) -> None:
    """As an event loop does: into the buffer that is offered, at most `step` bytes a time."""
    step = max(step, -(-len(stream) // MOST_PIECES))
    position = 0
    while position < len(stream) and connection.failure is None:
        buffer = connection.get_buffer(step)
        size = min(len(buffer), step, len(stream) - position)
        assert size > 0, "no room for what comes"
        buffer[:size] = stream[position : position + size]
        position += size
        connection.buffer_updated(size)


_loop = Loop()
atexit.register(_loop.close)


def check(data: bytes) -> None:
    if len(data) < 3:
        return
    options, step, stream = data[0], data[1] + 1, data[2:]
    if options & FRAMED:
        stream = struct.pack(">ii", len(stream) + 4, 1) + stream
    keys = WAITING[options & 7]
    connection = Connection("broker", ConnectionSettings(largest_frame_bytes=LARGEST_FRAME), _loop)
    transport: Any = Transport()
    connection.connection_made(transport)
    requests: list[Message] = [request_class(key)() for key in keys]
    futures = [connection.request(request, INDEX[key].requests[1]) for key, request in zip(keys, requests, strict=True)]
    feed(connection, stream, step)
    assert transport.is_closed == (connection.failure is not None)
    assert connection.failure is None or isinstance(connection.failure, PystreamError)
    connection.connection_lost(None)
    for key, future in zip(keys, futures, strict=True):
        assert future.done()
        error = future.exception()
        assert (
            isinstance(error, PystreamError) if error is not None else isinstance(future.result(), response_class(key))
        )
    assert connection.in_flight == 0
    assert connection._timer is None
