"""A broker that does what a test says, on a real socket: for answers that no real broker gives.

async with ScriptedBroker() as broker:
    broker.on(ApiKey.METADATA, lambda request: MetadataResponse(...))     # else what is missing stays unanswered
    broker.script = lambda peer: ...                                      # or a whole connection by hand
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from pystream.protocol.api_keys import TELEMETRY_KEYS, ApiKey
from pystream.protocol.catalogue import request_class
from pystream.protocol.headers import RequestHeader, encode_response
from pystream.protocol.message import Message
from pystream.protocol.messages.api_versions import ApiVersion, ApiVersionsResponse
from pystream.protocol.messages.index import INDEX
from tests.support import ports

Answer = Callable[[Any], Message | None]


def all_versions() -> ApiVersionsResponse:
    """An answer that has everything this client has, but the push of metrics, which would come unasked."""
    return ApiVersionsResponse(
        api_keys=[
            ApiVersion(api_key=key, min_version=entry.requests[0], max_version=entry.requests[1])
            for key, entry in INDEX.items()
            if key not in TELEMETRY_KEYS
        ]
    )


def frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


class Peer:
    """The broker's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.header = RequestHeader(api_key=0, api_version=0, correlation_id=0, client_id=None)

    async def request(self) -> Message:
        """The next request; its header is in `header`. Raises IncompleteReadError when the client has gone."""
        (size,) = struct.unpack(">i", await self.reader.readexactly(4))
        self.header, reader = RequestHeader.parse(await self.reader.readexactly(size))
        return request_class(self.header.api_key).read(reader, self.header.api_version)

    def encoded(self, response: Message, *, version: int | None = None, correlation_id: int | None = None) -> bytes:
        """The frame of an answer to the last request."""
        header = self.header
        body = encode_response(
            header.api_key,
            header.api_version if version is None else version,
            header.correlation_id if correlation_id is None else correlation_id,
            response,
        )
        return frame(body)

    async def answer(self, response: Message, **changes: int) -> None:
        await self.send(self.encoded(response, **changes))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def agree(self) -> None:
        """Answer the exchange of versions that every connection begins with."""
        await self.request()
        await self.answer(all_versions())

    async def gone(self) -> None:
        """Return when the client has closed the connection; what it still sends is dropped."""
        try:
            while await self.reader.read(65536):
                continue
        except ConnectionError:
            return


class ScriptedBroker:
    """Listens on a free port of 127.0.0.1; each connection runs `script`."""

    def __init__(self) -> None:
        self.script: Callable[[Peer], Awaitable[None]] = self.serve
        self.requests: list[tuple[ApiKey, Message]] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self._answers: dict[int, Answer] = {ApiKey.API_VERSIONS: lambda _: all_versions()}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._peers: set[Peer] = set()
        self.port = ports.port_for(self)

    def on(self, api_key: ApiKey, answer: Answer) -> None:
        """Answer requests of a key so; None leaves one unanswered."""
        self._answers[api_key] = answer

    def asked(self, api_key: ApiKey) -> list[Any]:
        """The requests of a key so far."""
        return [request for key, request in self.requests if key == api_key]

    async def serve(self, peer: Peer) -> None:
        """Answer by the functions that `on` was given."""
        while True:
            request = await peer.request()
            key = ApiKey(peer.header.api_key)
            self.requests.append((key, request))
            response = self._answers.get(key, lambda _: None)(request)
            if response is not None:
                await peer.answer(response)

    async def drop(self) -> None:
        """Break all connections."""
        for peer in self._peers:
            peer.writer.transport.abort()

    async def start(self) -> ScriptedBroker:
        self._server = await asyncio.start_server(self._accept, ports.HOST, self.port)
        return self

    async def stop(self) -> None:
        """Stop listening and break all connections; a later `start` takes the same port."""
        assert self._server is not None
        self._server.close()
        await self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def __aenter__(self) -> ScriptedBroker:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        for failure in self.failures:
            raise failure

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = Peer(reader, writer)
        self._peers.add(peer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.script(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the client has gone, or the test is over
        except Exception as error:
            self.failures.append(error)
            raise
        finally:
            self._peers.discard(peer)
            self._tasks.discard(task)
            writer.close()
