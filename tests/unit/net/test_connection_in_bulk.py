"""How a client's connection sends and receives much: in large pieces, several requests together."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream.common.errors import Disconnected, RequestTimedOut
from pystream.net.connection import Connection, ConnectionSettings
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.metadata import MetadataRequest, MetadataResponse
from tests.support.scripted_broker import Peer, ScriptedBroker, frame

TEST_SECONDS = 20
LATE_MS = 3_000  # a time-out that a test waits for; it bounds the agreement on versions too, on a busy machine


def run(script: Callable[[Peer], Awaitable[None]], client: Callable[[Connection], Awaitable[None]], **settings: Any):
    """Run `client` with a connection that has agreed on versions, against `script`."""

    async def whole() -> None:
        async def scripted(peer: Peer) -> None:
            await peer.agree()
            await script(peer)

        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.script = scripted
            connection = await Connection.open("127.0.0.1", broker.port, ConnectionSettings(**settings))
            try:
                await client(connection)
            finally:
                await connection.close()

    asyncio.run(whole())


async def ask(connection: Connection) -> Any:
    return await connection.request(MetadataRequest(topics=[]))


def cluster(name: str) -> MetadataResponse:
    return MetadataResponse(cluster_id=name)


async def silence(peer: Peer) -> None:
    await peer.gone()


@pytest.mark.parametrize("pieces", [1, 7, 300])
def test_a_large_answer_in_pieces_and_a_small_one_behind_it_arrive(pieces: int):
    """The system wakes the client for much at a time only; nothing may be left waiting for more than what comes."""
    payload = bytes(range(256)) * 10_000

    async def script(peer: Peer) -> None:
        await peer.request()
        whole = frame(struct.pack(">i", peer.header.correlation_id) + payload)
        step = len(whole) // pieces + 1
        for start in range(0, len(whole), step):
            await peer.send(whole[start : start + step])
        await peer.request()
        await peer.answer(cluster("small"))
        await peer.gone()

    async def client(connection: Connection) -> None:
        version = connection.version_of(ApiKey.METADATA, highest=8)
        body = [MetadataRequest(topics=[]).encode(version)]
        assert await connection.request_raw(ApiKey.METADATA, version, body) == payload
        assert (await ask(connection)).cluster_id == "small"

    run(script, client)


def test_a_connection_that_breaks_within_a_large_answer_is_noticed():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(frame(bytes(1_000_000))[:100_000])

    async def client(connection: Connection) -> None:
        with pytest.raises(Disconnected):
            await ask(connection)

    run(script, client)


def test_requests_that_were_held_back_go_out_together_and_each_is_answered_at_once():
    async def script(peer: Peer) -> None:
        for number in range(3):
            await peer.request()
            await peer.answer(cluster(str(number)))
        await peer.gone()

    async def client(connection: Connection) -> None:
        version = connection.version_of(ApiKey.METADATA)
        body = [MetadataRequest(topics=[]).encode(version), bytes(0)]
        found: list[str | None] = []
        came = asyncio.Event()

        def then(answer: memoryview | None, error: Exception | None) -> None:
            assert error is None
            assert answer is not None
            found.append(MetadataResponse.decode(answer, version).cluster_id)
            if len(found) == 3:
                came.set()

        connection.hold_back()
        for _ in range(3):
            connection.ask_raw(ApiKey.METADATA, version, body, then)
        connection.let_go()
        await came.wait()
        assert found == ["0", "1", "2"]

    run(script, client)


def test_whoever_is_called_with_an_answer_is_told_when_the_connection_breaks():
    async def script(peer: Peer) -> None:
        await peer.request()

    async def client(connection: Connection) -> None:
        told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        version = connection.version_of(ApiKey.METADATA)
        body = [MetadataRequest(topics=[]).encode(version)]
        connection.ask_raw(ApiKey.METADATA, version, body, lambda answer, error: told.set_result(error))
        assert isinstance(await told, Disconnected)

    run(script, client)


def test_whoever_is_called_with_an_answer_is_told_when_it_is_late():
    async def client(connection: Connection) -> None:
        told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        version = connection.version_of(ApiKey.METADATA)
        body = [MetadataRequest(topics=[]).encode(version)]
        connection.ask_raw(ApiKey.METADATA, version, body, lambda answer, error: told.set_result(error))
        assert isinstance(await told, RequestTimedOut)

    run(silence, client, request_timeout_ms=LATE_MS)
