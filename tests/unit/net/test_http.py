from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pystream.common.metrics import Registry
from pystream.net.http import HttpLimits, HttpServer, application, operations_routes

LIMITS = HttpLimits(
    maximum_connections=3,
    maximum_head_bytes=2_048,
    maximum_body_bytes=1_000,
    head_timeout_ms=30_000,
    body_timeout_ms=30_000,
    idle_timeout_ms=30_000,
    stop_timeout_ms=1_000,
)
WITHOUT_PATIENCE_FOR_HEADS = dataclasses.replace(LIMITS, head_timeout_ms=150)
WITHOUT_PATIENCE_FOR_BODIES = dataclasses.replace(LIMITS, body_timeout_ms=150)
Scenario = Callable[[int], Awaitable[None]]


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def fail(request: Request) -> Response:
    raise KeyError("a bug in a route")


def serve(scenario: Scenario, *, healthy: bool = True, limits: HttpLimits = LIMITS) -> None:
    """Run a scenario against a server on a free port, given as its argument."""

    async def within_loop() -> None:
        registry = Registry()
        registry.counter("requests_total", "Requests.").labels().add(3)
        routes = [
            *operations_routes(registry.exposition, lambda: (healthy, {"node_id": 1})),
            Route("/echo", echo, methods=["POST"]),
            Route("/fail", fail),
        ]
        server = HttpServer(application(routes), limits=limits)
        port = await server.start()
        try:
            await scenario(port)
        finally:
            await server.stop()

    asyncio.run(within_loop())


async def exchange(port: int, request: bytes, *, half_close: bool = False) -> bytes:
    """Everything the server answers until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if half_close:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


async def answer_or_reset(port: int, request: bytes) -> bytes:
    """As `exchange`; nothing when the server resets the connection."""
    try:
        return await exchange(port, request)
    except ConnectionResetError:
        return b""


async def get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    answer = await exchange(port, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


def test_metrics_are_served_as_prometheus_reads_them() -> None:
    async def scenario(port: int) -> None:
        status, headers, body = await get(port, "/metrics")
        assert status == 200
        assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b"requests_total 3\n" in body
        assert "date" in headers
        assert "server" not in headers

    serve(scenario)


@pytest.mark.parametrize(("healthy", "status", "word"), [(True, 200, "ok"), (False, 503, "failing")])
def test_health_is_a_status_and_its_details(healthy: bool, status: int, word: str) -> None:
    async def scenario(port: int) -> None:
        answered, _, body = await get(port, "/health")
        assert (answered, json.loads(body)) == (status, {"status": word, "node_id": 1})

    serve(scenario, healthy=healthy)


def test_what_no_route_serves_is_refused_as_json() -> None:
    async def scenario(port: int) -> None:
        status, _, body = await get(port, "/nothing")
        assert (status, json.loads(body)) == (404, {"error_code": 404, "message": "Not Found"})

    serve(scenario)


def test_the_server_listens_on_loopback_unless_told_otherwise() -> None:
    async def scenario(port: int) -> None:
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.2", port)

    serve(scenario)


def test_a_body_that_fits_is_served() -> None:
    async def scenario(port: int) -> None:
        body = b"x" * LIMITS.maximum_body_bytes
        head = f"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        assert (await exchange(port, head.encode() + body)).endswith(body)

    serve(scenario)


@pytest.mark.parametrize("length", ["1001", "9" * 19])
def test_a_body_whose_told_length_is_too_large_is_refused_unread(length: str) -> None:
    async def scenario(port: int) -> None:
        head = f"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
        assert (await exchange(port, head.encode())).startswith(b"HTTP/1.1 413 ")

    serve(scenario)


def test_a_body_of_untold_length_is_refused_when_it_grows_too_large() -> None:
    async def scenario(port: int) -> None:
        head = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        chunk = b"200\r\n" + b"x" * 0x200 + b"\r\n"
        assert (await exchange(port, head + chunk + chunk)).startswith(b"HTTP/1.1 413 ")

    serve(scenario)


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def scenario(port: int) -> None:
        head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf"
        assert (await exchange(port, head)).startswith(b"HTTP/1.1 408 ")

    serve(scenario, limits=WITHOUT_PATIENCE_FOR_BODIES)


@pytest.mark.parametrize("head", [b"", b"GET /metrics HTTP/1.1\r\nhost: "])
def test_a_head_that_does_not_arrive_closes_the_connection(head: bytes) -> None:
    async def scenario(port: int) -> None:
        assert await answer_or_reset(port, head) == b""

    serve(scenario, limits=WITHOUT_PATIENCE_FOR_HEADS)


def test_a_head_that_is_too_large_is_refused() -> None:
    async def scenario(port: int) -> None:
        head = b"GET /metrics HTTP/1.1\r\nx: " + b"y" * 10_000
        assert (await exchange(port, head)).startswith(b"HTTP/1.1 400 ")

    serve(scenario)


@pytest.mark.parametrize("noise", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00" * 9 + b"\r\n\r\n"])
def test_noise_is_refused_and_others_do_not_notice(noise: bytes) -> None:
    async def scenario(port: int) -> None:
        assert (await exchange(port, noise)).startswith(b"HTTP/1.1 400 ")
        assert (await get(port, "/health"))[0] == 200

    serve(scenario)


def test_connections_above_the_limit_are_closed_and_the_others_go_on() -> None:
    async def scenario(port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(LIMITS.maximum_connections)]
        try:
            assert await answer_or_reset(port, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n") == b""
            reader, writer = held[0]
            writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        finally:
            for _, writer in held:
                writer.close()

    serve(scenario)


def test_a_bug_in_a_route_is_an_error_of_that_request_alone() -> None:
    async def scenario(port: int) -> None:
        assert (await get(port, "/fail"))[0] == 500
        assert (await get(port, "/health"))[0] == 200

    serve(scenario)


def test_a_connection_serves_requests_one_after_another() -> None:
    async def scenario(port: int) -> None:
        request = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
        last = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        assert (await exchange(port, request + request + last)).count(b"HTTP/1.1 200 ") == 3

    serve(scenario)


def test_a_taken_port_is_an_error_of_the_caller() -> None:
    async def scenario(port: int) -> None:
        with pytest.raises(OSError, match="in use"):
            await HttpServer(application([]), port=port).start()

    serve(scenario)


def test_a_stopped_server_can_be_stopped_again() -> None:
    async def scenario() -> None:
        server = HttpServer(application([]))
        await server.start()
        await server.stop()
        await server.stop()

    asyncio.run(scenario())
