"""A client without any cleverness: frames over one socket, for tests that must say exactly what goes over the wire."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Any

from pystream._native.wire import Reader, Writer
from pystream.protocol.api_keys import response_header_version
from pystream.protocol.catalogue import response_class
from pystream.protocol.headers import RequestHeader
from pystream.protocol.message import Message

ANSWER_TIMEOUT_S = 60.0


class RawClient:
    """One connection. `send` and `receive` may be used out of step: answers come in the order of the requests."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S)
        self._correlation_id = 0
        self._expected: list[tuple[int, int, int]] = []

    def frame(self, request: Message, version: int, client_id: str | None = "raw") -> bytes:
        """The whole frame with its length; its answer is expected from here on."""
        self._correlation_id += 1
        writer = Writer()
        header = RequestHeader(
            api_key=request.API_KEY, api_version=version, correlation_id=self._correlation_id, client_id=client_id
        )
        header.write(writer)
        body = writer.getvalue() + request.encode(version)
        self._expected.append((request.API_KEY, version, self._correlation_id))
        return struct.pack(">i", len(body)) + body

    def send(self, request: Message, version: int) -> None:
        self.socket.sendall(self.frame(request, version))

    def expect_nothing(self) -> None:
        """The last request has no answer (acks=0)."""
        self._expected.pop()

    def receive(self) -> Any:
        """The answer to the oldest request that has none yet."""
        api_key, version, correlation_id = self._expected.pop(0)
        (size,) = struct.unpack(">i", self.exactly(4))
        reader = Reader(self.exactly(size))
        assert reader.int32() == correlation_id
        if response_header_version(api_key, version) > 0:
            reader.skip_tagged_fields()
        response = response_class(api_key).read(reader, version)
        reader.finish()
        return response

    def call(self, request: Message, version: int) -> Any:
        self.send(request, version)
        return self.receive()

    def exactly(self, size: int) -> bytes:
        parts = []
        while size > 0:
            part = self.socket.recv(size)
            if not part:
                raise ConnectionError(f"the broker closed the connection with {size} bytes of an answer missing")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def is_closed_by_peer(self) -> bool:
        """Waits for the end of the stream; what arrives before it is dropped."""
        try:
            while self.socket.recv(65536):
                continue
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
