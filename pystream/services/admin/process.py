"""The admin server as a process: signals, the pipes of a supervisor, and what keeps it from starting.

--ready-fd N       one line of JSON is written there once clients can connect:
                   {"pid": 4711, "endpoints": {"gRPC admin": "127.0.0.1:9095"}, "metrics": null}
--lifeline-fd N    end-of-file there means that the supervisor is gone: stop as on SIGTERM
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Final

from pystream.client.grpc.connection import PACKAGES, check_installed
from pystream.common import logging
from pystream.common.errors import PystreamError
from pystream.common.tasks import stop_signals
from pystream.services.admin.config import AdminServerConfig

logger = logging.get_logger(__name__)

NEEDED: Final = (*PACKAGES, "grpc_health.v1", "grpc_reflection.v1alpha")


class ServerStopped(PystreamError):
    """The server ended by itself: a part of it failed."""


def check(settings: Mapping[str, str]) -> None:
    """Raises ClientError where gRPC is not installed, InvalidConfig for a wrong setting."""
    check_installed(NEEDED)
    AdminServerConfig.from_settings(settings)


def run(settings: Mapping[str, str], *, ready_fd: int | None = None, lifeline_fd: int | None = None) -> None:
    """Run until SIGTERM, SIGINT or the end of the lifeline.

    Raises what keeps it from starting (PystreamError, OSError), ServerStopped when a part of it fails later.
    """
    check(settings)
    config = AdminServerConfig.from_settings(settings)
    logging.configure(config.log_level, config.log_format)
    asyncio.run(_run(config, ready_fd, lifeline_fd))


async def _run(config: AdminServerConfig, ready_fd: int | None, lifeline_fd: int | None) -> None:
    from pystream.services.admin.server import AdminServer

    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in stop_signals():
        loop.add_signal_handler(number, stopping.set)
    if lifeline_fd is not None:
        loop.add_reader(lifeline_fd, _watch_lifeline, loop, lifeline_fd, stopping)
    server = AdminServer(config)
    try:
        address = await server.start()
        if ready_fd is not None:
            told = {"pid": os.getpid(), "endpoints": {"gRPC admin": address}, "metrics": server.metrics_address or None}
            with os.fdopen(ready_fd, "w") as pipe:
                pipe.write(json.dumps(told) + "\n")
        await server.wait(stopping)
    finally:
        await server.stop()
    if server.failure is not None:
        raise ServerStopped(f"stopped after a failure: {server.failure}")


def _watch_lifeline(loop: asyncio.AbstractEventLoop, lifeline_fd: int, stopping: asyncio.Event) -> None:
    if os.read(lifeline_fd, 1) == b"":
        loop.remove_reader(lifeline_fd)
        logger.warning("supervisor is gone, stopping")
        stopping.set()
