"""The HTTP server: uvicorn's protocol inside the loop of the process, with limits on everything a client can send.

    server = HttpServer(application([...]), host="127.0.0.1", port=8080)
    port = await server.start()
    await server.stop()

    a client may                     at most                                   or else
    open connections                 maximum_connections                       closed at once
    send a request's head            maximum_head_bytes, within head_timeout   400; closed
    send a request's body            maximum_body_bytes, within body_timeout   413; 408
    keep an idle connection          idle_timeout                              closed

uvicorn's own main loop, which wakes ten times a second, and its signal handlers are not used: an idle server costs
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from pystream.common.logging import get_logger
from pystream.common.model import Endpoint
from pystream.net.http.application import bounded

logger = get_logger(__name__)

LOOPBACK: Final = "127.0.0.1"
BACKLOG: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one client, and all of them together, may cost."""

    maximum_connections: int = 256
    maximum_head_bytes: int = 16 << 10
    maximum_body_bytes: int = 1 << 20
    head_timeout_ms: int = 10_000
    body_timeout_ms: int = 30_000
    idle_timeout_ms: int = 30_000
    stop_timeout_ms: int = 5_000


class HttpServer:
    """Serves one ASGI application on one address."""

    def __init__(
        self, application: ASGIApp, *, host: str = LOOPBACK, port: int = 0, limits: HttpLimits | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._limits = limits or HttpLimits()
        self._server = uvicorn.Server(self._configured(application))
        self._socket: socket.socket | None = None

    async def start(self) -> int:
        """Listen. Returns the port, which the system chooses for port 0. Raises OSError when the address is taken."""
        self._socket = _bound(self._host, self._port)
        self._port = self._socket.getsockname()[1]
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what clients do wrong is logged here, limited
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[self._socket])
        logger.info("http listening", endpoint=Endpoint("http", self._host, self._port))
        return self._port

    async def stop(self) -> None:
        """Close the address, let running requests end for `stop_timeout_ms`, close what is left."""
        if self._socket is not None:
            await self._server.shutdown(sockets=[self._socket])
            self._socket = None

    def _configured(self, application: ASGIApp) -> uvicorn.Config:
        limits = self._limits

        class Protocol(_BoundedProtocol):
            """uvicorn wants a class, so the limits are bound to one."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(limits, *args, **kwargs)

        return uvicorn.Config(
            bounded(
                application, maximum_body_bytes=limits.maximum_body_bytes, body_timeout_s=limits.body_timeout_ms / 1_000
            ),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=limits.maximum_head_bytes,
            timeout_keep_alive=max(1, limits.idle_timeout_ms // 1_000),
            timeout_graceful_shutdown=max(1, limits.stop_timeout_ms // 1_000),
        )


class _BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with a bound on connections and on the time that a request's head may take."""

    def __init__(self, limits: HttpLimits, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.maximum_connections:
            logger.limited("http connection refused", peer=self.client, connections=len(self.connections))
            transport.abort()
            return
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_arrived()
        elif self._deadline is None:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        logger.limited("malformed http request", peer=self.client[0] if self.client else None)
        super().send_400_response(msg)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self._limits.head_timeout_ms / 1_000, self.transport.abort)

    def _head_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(listening.close)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.setblocking(False)
        undo.pop_all()
    return listening
