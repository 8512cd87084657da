"""Applications for the HTTP server: Starlette's routes, bounded bodies, and the two routes that every process has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pystream.common.metrics import CONTENT_TYPE

Health = Callable[[], tuple[bool, Mapping[str, object]]]

TOO_LARGE: Final = 413
TOO_SLOW: Final = 408
UNHEALTHY: Final = 503
MAXIMUM_LENGTH_DIGITS: Final = 18


def application(routes: Sequence[BaseRoute]) -> ASGIApp:
    """The routes, and JSON `{"error_code": …, "message": …}` for what no route serves."""
    return Starlette(routes=routes, exception_handlers={HTTPException: _refusal})


def operations_routes(exposition: Callable[[], str | Awaitable[str]], health: Health) -> list[Route]:
    """`/metrics` in Prometheus' text format, and `/health`: 200 or 503 with the state as JSON.

    `exposition` may give its text later: where it is long, it is better made on another thread than the loop's.
    `health()` tells whether all is well, and details that are shown to whoever asks.
    """

    async def metrics(request: Request) -> Response:
        text = exposition()
        return Response(text if isinstance(text, str) else await text, headers={"content-type": CONTENT_TYPE})

    async def healthy(request: Request) -> Response:
        well, details = health()
        return JSONResponse({"status": "ok" if well else "failing", **details}, status_code=200 if well else UNHEALTHY)

    return [Route("/metrics", metrics), Route("/health", healthy)]


def bounded(application: ASGIApp, *, maximum_body_bytes: int, body_timeout_s: float) -> ASGIApp:
    """`application` behind limits on the body's size and on the time that it may take to arrive.

    A body that is too large is refused before it is read where its length is told, and while it is read where not.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        body = _Body(receive, maximum_body_bytes, body_timeout_s)
        answer = _Answer(send)
        try:
            body.check_length(scope)
            await application(scope, body.receive, answer.send)
        except _Refused as refused:
            if not answer.started:
                await _as_json(refused)(scope, receive, answer.send)

    return serve


class _Refused(HTTPException):
    """Starlette answers it where a route was reading; `bounded` where no route has begun."""

    def __init__(self, status: int) -> None:
        detail = "request too large" if status == TOO_LARGE else "request too slow"
        super().__init__(status, detail, headers={"connection": "close"})


class _Body:
    """Counts what arrives and how long it takes."""

    def __init__(self, receive: Receive, maximum_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._left_bytes = maximum_bytes
        self._ends_at = asyncio.get_running_loop().time() + timeout_s
        self._whole = False

    def check_length(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length" and (len(value) > MAXIMUM_LENGTH_DIGITS or int(value) > self._left_bytes):
                raise _Refused(TOO_LARGE)

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends_at):
                message = await self._receive()
        except TimeoutError as error:
            raise _Refused(TOO_SLOW) from error
        self._left_bytes -= len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._left_bytes < 0:
            raise _Refused(TOO_LARGE)
        return message


class _Answer:
    """Remembers whether a response has begun, and dates it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            date = formatdate(time.time(), usegmt=True).encode("ascii")
            message = {**message, "headers": [*message.get("headers", ()), (b"date", date)]}
        await self._send(message)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _as_json(error)


def _as_json(error: HTTPException) -> Response:
    return JSONResponse(
        {"error_code": error.status_code, "message": error.detail},
        status_code=error.status_code,
        headers=dict(error.headers or {}),
    )
