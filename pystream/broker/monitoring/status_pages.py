"""`/metrics` and `/health` of a broker, on a listener of their own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from pystream.broker.listeners import parse_address

if TYPE_CHECKING:
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.net.http import Health, HttpServer


class StatusPages:
    """Served once started; `address` is host:port, empty while nothing is served.

    `exposition` is called on a storage thread: with many partitions its text is long, and clients do not wait for it.
    """

    def __init__(self, *, exposition: Callable[[], str], health: Health, executor: StorageExecutor) -> None:
        self.address = ""
        self._exposition = exposition
        self._health = health
        self._executor = executor
        self._server: HttpServer | None = None

    async def start(self, listener: str) -> None:
        """Listen on `http://HOST:PORT`; nowhere when it is empty. Raises OSError when the address is taken.

        The HTTP kit is imported here, off the loop: it takes a tenth of a second that clients need not wait for.
        """
        if not listener:
            return
        await self._executor.run(import_module, "pystream.net.http")
        from pystream.net.http import HttpServer, application, operations_routes

        where = parse_address(listener)
        routes = operations_routes(lambda: self._executor.run(self._exposition), self._health)
        self._server = HttpServer(application(routes), host=where.host, port=where.port)
        port = await self._server.start()
        self.address = f"[{where.host}]:{port}" if ":" in where.host else f"{where.host}:{port}"

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
            self._server = None
