"""The client's side of a connection, against brokers that misbehave."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream.common.error_codes import UNSUPPORTED_VERSION
from pystream.common.errors import (
    Busy,
    Closed,
    ConnectFailed,
    Disconnected,
    LimitExceeded,
    MalformedInput,
    RequestTimedOut,
    UnsupportedVersion,
)
from pystream.net.connection import RECEIVE_BYTES, Connection, ConnectionSettings
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.api_versions import ApiVersion, ApiVersionsResponse
from pystream.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from pystream.protocol.messages.metadata import MetadataRequest, MetadataResponse, MetadataResponseTopic
from tests.support.scripted_broker import Peer, ScriptedBroker, frame

TEST_SECONDS = 120
SOON_MS = 60  # a time-out that a test waits for
HANDSHAKE_MS = 3_000  # one that also bounds the agreement on versions, on a busy machine too

Script = Callable[[Peer], Awaitable[None]]
Client = Callable[[Connection], Awaitable[None]]


def run(script: Script, client: Client, **settings: Any) -> ScriptedBroker:
    """Run `client` with a connection that has agreed on versions, against `script`."""

    async def whole() -> ScriptedBroker:
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
            return broker

    return asyncio.run(whole())


async def ask(connection: Connection, **settings: Any) -> Any:
    return await connection.request(MetadataRequest(topics=[]), **settings)


def cluster(name: str) -> MetadataResponse:
    return MetadataResponse(cluster_id=name)


async def silence(peer: Peer) -> None:
    await peer.gone()


def test_the_highest_version_that_both_sides_have_is_taken():
    async def script(peer: Peer) -> None:
        await peer.request()
        keys = [
            ApiVersion(api_key=ApiKey.METADATA, min_version=0, max_version=7),
            ApiVersion(api_key=ApiKey.FETCH, min_version=0, max_version=2),
            ApiVersion(api_key=ApiKey.PRODUCE, min_version=90, max_version=99),
        ]
        await peer.answer(ApiVersionsResponse(api_keys=keys))
        await peer.request()
        assert peer.header.api_version == 7
        await peer.answer(cluster("old"))
        await peer.gone()

    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.script = script
            connection = await Connection.open("127.0.0.1", broker.port)
            assert (await ask(connection)).cluster_id == "old"
            assert connection.version_of(ApiKey.METADATA, highest=5) == 5
            assert connection.supports(ApiKey.METADATA, 7)
            assert not connection.supports(ApiKey.METADATA, 8)
            for key, reason in ((ApiKey.FETCH, "0 to 2"), (ApiKey.PRODUCE, "90 to 99"), (ApiKey.END_TXN, "not have")):
                with pytest.raises(UnsupportedVersion, match=reason):
                    connection.version_of(key)
            with pytest.raises(UnsupportedVersion, match="needs 8 to 13"):
                connection.version_of(ApiKey.METADATA, lowest=8)
            await connection.close()

    asyncio.run(whole())


@pytest.mark.parametrize("offered", [[], [ApiVersion(api_key=ApiKey.API_VERSIONS, min_version=0, max_version=2)]])
def test_a_broker_that_refuses_our_version_is_asked_in_its_own(offered: list[ApiVersion]):
    async def script(peer: Peer) -> None:
        await peer.request()
        refusal = ApiVersionsResponse(error_code=UNSUPPORTED_VERSION, api_keys=offered)
        await peer.answer(refusal, version=0)
        await peer.request()
        assert peer.header.api_version == (2 if offered else 0)
        known = ApiVersion(api_key=ApiKey.METADATA, min_version=0, max_version=1)
        await peer.answer(ApiVersionsResponse(api_keys=[known]))
        await peer.gone()

    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.script = script
            connection = await Connection.open("127.0.0.1", broker.port)
            assert connection.version_of(ApiKey.METADATA) == 1
            await connection.close()

    asyncio.run(whole())


def test_pipelined_requests_get_their_own_answers():
    async def script(peer: Peer) -> None:
        for number in range(50):
            await peer.request()
            await peer.answer(cluster(str(number)))
        await peer.gone()

    async def client(connection: Connection) -> None:
        futures = [connection.request(MetadataRequest(topics=[])) for _ in range(50)]
        assert connection.in_flight == 50
        assert [(await future).cluster_id for future in futures] == [str(number) for number in range(50)]
        assert connection.in_flight == 0
        assert connection.sent_requests == connection.received_responses == 51

    run(script, client)


def test_answers_that_come_together_or_byte_by_byte_are_cut_right():
    async def script(peer: Peer) -> None:
        held = b""
        for number in range(3):
            await peer.request()
            held += peer.encoded(cluster(f"together {number}"))
        await peer.send(held)
        await peer.request()
        for byte in peer.encoded(cluster("bytes")):
            await peer.send(bytes([byte]))
            await peer.writer.drain()
        await peer.gone()

    async def client(connection: Connection) -> None:
        futures = [connection.request(MetadataRequest(topics=[])) for _ in range(3)]
        assert [(await future).cluster_id for future in futures] == [f"together {number}" for number in range(3)]
        assert (await ask(connection)).cluster_id == "bytes"

    run(script, client)


@pytest.mark.parametrize("extra", [-3, -1, 0, 1, 2 * RECEIVE_BYTES])
def test_frames_around_the_size_of_the_receive_buffer_arrive_whole(extra: int):
    payload = bytes(range(256)) * ((RECEIVE_BYTES + extra) // 256 + 1)
    payload = payload[: RECEIVE_BYTES + extra - 8]

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(frame(struct.pack(">i", peer.header.correlation_id) + payload))
        await peer.gone()

    async def client(connection: Connection) -> None:
        version = connection.version_of(ApiKey.METADATA, highest=8)  # of the old header, whose answers begin at once
        body = [MetadataRequest(topics=[]).encode(version)]
        first, second = (connection.request_raw(ApiKey.METADATA, version, body) for _ in range(2))
        view = await first
        assert view == payload
        assert await second == payload
        assert view == payload

    run(script, client)


def test_a_raw_answer_stays_what_it_was_when_later_ones_come():
    async def script(peer: Peer) -> None:
        for number in range(20):
            await peer.request()
            await peer.answer(cluster(str(number)))
        await peer.gone()

    async def client(connection: Connection) -> None:
        version = connection.version_of(ApiKey.METADATA)
        body = MetadataRequest(topics=[]).encode(version)
        views = [await connection.request_raw(ApiKey.METADATA, version, [body[:1], body[1:]]) for _ in range(20)]
        decoded = [MetadataResponse.decode(view, version).cluster_id for view in views]
        assert decoded == [str(number) for number in range(20)]

    run(script, client)


def test_a_request_in_parts_gives_the_decoded_answer():
    async def script(peer: Peer) -> None:
        request: Any = await peer.request()
        await peer.answer(cluster(request.topics[0].name))
        await peer.gone()

    async def client(connection: Connection) -> None:
        version = connection.version_of(ApiKey.METADATA)
        body = memoryview(MetadataRequest.decode(_asking_for("a"), version).encode(version))
        assert (await connection.request_parts(ApiKey.METADATA, version, [body[:2], body[2:]])).cluster_id == "a"

    def _asking_for(name: str) -> bytes:
        from pystream.protocol.messages.metadata import MetadataRequestTopic

        return MetadataRequest(topics=[MetadataRequestTopic(name=name)]).encode(13)

    run(script, client)


def test_a_request_without_an_answer_leaves_nothing_waiting():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.request()
        await peer.answer(cluster("second"))
        await peer.gone()

    async def client(connection: Connection) -> None:
        version = connection.version_of(ApiKey.METADATA)
        connection.send(ApiKey.METADATA, version, [MetadataRequest(topics=[]).encode(version)])
        assert connection.in_flight == 0
        assert (await ask(connection)).cluster_id == "second"

    run(script, client)


def test_an_answer_cut_off_by_the_end_of_the_connection():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(peer.encoded(cluster("long enough to be cut"))[:-5])
        peer.writer.close()

    async def client(connection: Connection) -> None:
        first, second = (connection.request(MetadataRequest(topics=[])) for _ in range(2))
        for future in (first, second):
            with pytest.raises(Disconnected, match=r"closed the connection.*awaiting Metadata"):
                await future
        assert not connection.is_open
        with pytest.raises(Disconnected, match="used after that"):
            connection.request(MetadataRequest(topics=[]))

    run(script, client)


def test_a_reset_connection():
    async def script(peer: Peer) -> None:
        await peer.request()
        linger = struct.pack("ii", 1, 0)
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        peer.writer.transport.abort()

    async def client(connection: Connection) -> None:
        with pytest.raises(Disconnected):
            await ask(connection)

    run(script, client)


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (frame(b"\x00\x00\x00\x63"), MalformedInput, "correlation id 99, expected 2"),
        (struct.pack(">i", -1), MalformedInput, "a frame of -1 bytes"),
        (struct.pack(">i", 3) + b"abc", MalformedInput, "a frame of 3 bytes"),
        (struct.pack(">i", 2**31 - 1), LimitExceeded, "receive.message.max.bytes"),
        (b"\x15\x03\x03\x00\x02\x02\x0a", MalformedInput, "speaks TLS: set security.protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n", MalformedInput, "is an HTTP server, not a Kafka broker"),
        (frame(b"\x00\x00\x00\x02\x00\xff\xff"), MalformedInput, "the answer to Metadata 13 does not parse"),
    ],
)
def test_bytes_that_do_not_fit_end_the_connection(data: bytes, error: type[Exception], reason: str):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        await peer.gone()

    async def client(connection: Connection) -> None:
        first, second = (connection.request(MetadataRequest(topics=[])) for _ in range(2))
        for future in (first, second):
            with pytest.raises(error, match=reason):
                await future
        assert not connection.is_open

    run(script, client)


def test_an_answer_to_nothing_ends_the_connection():
    async def script(peer: Peer) -> None:
        await peer.send(frame(b"\x00\x00\x00\x07"))
        await peer.gone()

    async def client(connection: Connection) -> None:
        await connection._lost
        assert isinstance(connection.failure, MalformedInput)
        assert "nothing that was asked" in str(connection.failure)

    run(script, client)


def test_a_frame_above_the_bound_is_refused_before_its_bytes_come():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(struct.pack(">i", 1_001))
        await peer.gone()

    async def client(connection: Connection) -> None:
        with pytest.raises(LimitExceeded, match="a frame of 1001 bytes"):
            await ask(connection)

    run(script, client, largest_frame_bytes=1_000)


def test_a_silent_broker_times_out_and_the_requests_behind_are_told():
    async def client(connection: Connection) -> None:
        late = connection.request(MetadataRequest(topics=[]), timeout_ms=SOON_MS)
        behind = connection.request(HeartbeatRequest())
        with pytest.raises(RequestTimedOut, match="no answer to Metadata"):
            await late
        with pytest.raises(Disconnected, match="Metadata was not answered in time"):
            await behind
        assert not connection.is_open

    run(silence, client)


def test_a_shorter_time_out_of_a_later_request_is_heard():
    async def client(connection: Connection) -> None:
        patient = connection.request(MetadataRequest(topics=[]))
        with pytest.raises(RequestTimedOut, match="no answer to Heartbeat"):
            await connection.request(HeartbeatRequest(), timeout_ms=SOON_MS)
        with pytest.raises(Disconnected):
            await patient

    run(silence, client)


def test_a_broker_that_is_slow_but_in_time_is_waited_for():
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.answer(cluster("late"))
        await peer.gone()

    async def client(connection: Connection) -> None:
        future = connection.request(MetadataRequest(topics=[]))
        asyncio.get_running_loop().call_later(SOON_MS / 1000, release.set)
        assert (await future).cluster_id == "late"

    run(script, client)


def test_a_broker_that_throttles_is_given_the_time_that_it_asked_for():
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(HeartbeatResponse(throttle_time_ms=60_000))
        await peer.request()
        await release.wait()
        await peer.answer(HeartbeatResponse())
        await peer.gone()

    told: list[int] = []

    async def client(connection: Connection) -> None:
        connection.on_throttle = told.append
        await connection.request(HeartbeatRequest())
        slow = connection.request(HeartbeatRequest(), timeout_ms=1)
        asyncio.get_running_loop().call_later(SOON_MS / 1000, release.set)
        assert (await slow).error_code == 0

    run(script, client)
    assert told == [60_000, 0]


def test_a_broker_that_never_agrees_on_versions_is_given_up():
    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.script = silence
            with pytest.raises(ConnectFailed, match=r"socket\.connection\.setup\.timeout\.ms"):
                await Connection.open("127.0.0.1", broker.port, ConnectionSettings(setup_timeout_ms=SOON_MS))

    asyncio.run(whole())


def test_a_port_where_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port}.*is a broker listening there"):
        asyncio.run(Connection.open("127.0.0.1", port))


def test_a_broker_that_hangs_up_at_once():
    async def script(peer: Peer) -> None:
        peer.writer.close()

    async def whole() -> None:
        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.script = script
            with pytest.raises(Disconnected):
                await Connection.open("127.0.0.1", broker.port)

    asyncio.run(whole())


def test_a_cancelled_request_gives_up_its_answer_and_not_the_connection():
    async def script(peer: Peer) -> None:
        for name in ("dropped", "kept"):
            await peer.request()
            await peer.answer(cluster(name))
        await peer.gone()

    async def client(connection: Connection) -> None:
        connection.request(MetadataRequest(topics=[])).cancel()
        assert (await ask(connection)).cluster_id == "kept"

    run(script, client)


def test_a_cancelled_request_that_is_never_answered_still_ends_the_connection_in_time():
    async def client(connection: Connection) -> None:
        connection.request(MetadataRequest(topics=[]), timeout_ms=SOON_MS).cancel()
        await connection._lost
        assert isinstance(connection.failure, Disconnected)

    run(silence, client)


def test_opening_that_is_cancelled_leaves_no_connection_behind():
    async def whole() -> None:
        arrived, gone = asyncio.Event(), asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            arrived.set()
            await peer.gone()
            gone.set()

        async with asyncio.timeout(TEST_SECONDS), ScriptedBroker() as broker:
            broker.script = script
            opening = asyncio.create_task(Connection.open("127.0.0.1", broker.port))
            await arrived.wait()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await gone.wait()

    asyncio.run(whole())
    gc.collect()  # an open transport would warn, which fails the test


def test_requests_in_flight_are_bounded():
    async def client(connection: Connection) -> None:
        first = [connection.request(MetadataRequest(topics=[])) for _ in range(3)]
        with pytest.raises(Busy, match="3 requests await their answer"):
            connection.request(MetadataRequest(topics=[]))
        await connection.close()
        for future in first:
            with pytest.raises(Closed):
                await future

    run(silence, client, most_in_flight=3)


def test_closing_tells_whoever_waits_and_may_be_repeated():
    async def client(connection: Connection) -> None:
        future = connection.request(MetadataRequest(topics=[]))
        await connection.close()
        await connection.close()
        connection.abort()
        with pytest.raises(Closed, match="by this client"):
            await future
        with pytest.raises(Closed):
            connection.request(MetadataRequest(topics=[]))
        with pytest.raises(Closed):
            await connection.drained()

    run(silence, client)


def test_what_was_sent_before_closing_arrives():
    sizes: list[int] = []

    async def script(peer: Peer) -> None:
        request: Any = await peer.request()
        sizes.append(len(request.member_id))
        await peer.gone()

    async def client(connection: Connection) -> None:
        version = connection.version_of(ApiKey.HEARTBEAT)
        connection.send(ApiKey.HEARTBEAT, version, [HeartbeatRequest(member_id="m" * 30_000).encode(version)])

    run(script, client)
    assert sizes == [30_000]


def test_a_connection_without_use_closes_itself():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(HeartbeatResponse())
        await peer.gone()

    async def client(connection: Connection) -> None:
        await connection.request(HeartbeatRequest())
        await connection._lost
        assert isinstance(connection.failure, Disconnected)
        assert "without use" in str(connection.failure)

    run(script, client, idle_timeout_ms=SOON_MS, request_timeout_ms=HANDSHAKE_MS)


def test_writers_wait_while_the_broker_does_not_read():
    read_on = asyncio.Event()
    body = [bytes(1 << 20)] * 16

    async def script(peer: Peer) -> None:
        await read_on.wait()
        await peer.gone()

    async def client(connection: Connection) -> None:
        await connection.drained()
        connection.send(ApiKey.PRODUCE, 12, body)
        waiting = asyncio.ensure_future(connection.drained())
        done, _ = await asyncio.wait([waiting], timeout=SOON_MS / 1000)
        assert not done
        read_on.set()
        await waiting

    run(script, client)


def test_a_large_answer_is_decoded_whole():
    topics = [MetadataResponseTopic(name=f"topic-{number}") for number in range(20_000)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(MetadataResponse(topics=topics))
        await peer.gone()

    async def client(connection: Connection) -> None:
        assert [topic.name for topic in (await ask(connection)).topics] == [topic.name for topic in topics]

    run(script, client)
