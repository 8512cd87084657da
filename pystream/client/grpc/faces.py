"""The services of one admin server, over one channel."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import grpc
import grpc.aio

from pystream.client.grpc.aio_services.holder import AioServices
from pystream.client.grpc.services.holder import Services
from pystream.common.errors import ClientError


def options(max_answer_bytes: int) -> list[tuple[str, Any]]:
    """Of the channel. Proxies of the environment are for the web, not for a cluster."""
    return [("grpc.max_receive_message_length", max_answer_bytes), ("grpc.enable_http_proxy", 0)]


class Admin(Services):
    """`topics`, `groups`, `records` …: a method for each rpc, keywords for its fields, answers as messages.

    Errors are those of `pystream.common.errors`. `timeout` is in seconds, for the call and for what the server does for
    it. Thread-safe.
    """

    def __init__(self, target: str, *, max_answer_bytes: int) -> None:
        self._channel = grpc.insecure_channel(target, options=options(max_answer_bytes))
        super().__init__(self._channel)

    def close(self) -> None:
        """End what is under way. Harmless when closed."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AioAdmin(AioServices):
    """As `Admin`; its methods are coroutine functions, its streams async iterators. Belongs to one loop."""

    def __init__(self, target: str, *, max_answer_bytes: int) -> None:
        """Raises ClientError outside of a running loop: gRPC would make one of its own, which nobody runs."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ClientError("connect_aio() belongs to a running loop: call it in a coroutine") from None
        self._channel = grpc.aio.insecure_channel(target, options=options(max_answer_bytes))
        super().__init__(self._channel)

    async def close(self) -> None:
        """End what is under way. Harmless when closed."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
