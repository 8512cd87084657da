"""Bootstrap servers by the names that their addresses have: client.dns.lookup=resolve_canonical_bootstrap_servers_only.

    kafka.example.com ──▶ 10.0.0.1, 10.0.0.2 ──▶ broker-1.example.com, broker-2.example.com

For TLS and Kerberos, which check a broker's own name behind an alias of many.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any, Protocol

from pystream.common.logging import get_logger

logger = get_logger(__name__)

Address = tuple[str, int]


class Resolver(Protocol):
    """An event loop, as far as it knows names."""

    async def getaddrinfo(self, host: Any, port: Any, *, type: int = 0) -> list[Any]:
        """As socket.getaddrinfo."""
        ...

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """As socket.getnameinfo."""
        ...


async def canonical(servers: Iterable[Address], resolver: Resolver, *, timeout_s: float) -> list[Address] | None:
    """The same servers by their own names, each once; None where one of them cannot be resolved now.

    An address without a name, or with a name that does not lead back to it, stays an address.
    """
    found: dict[Address, None] = {}
    try:
        async with asyncio.timeout(timeout_s):
            for host, port in servers:
                for _, _, _, _, place in await resolver.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                    found[await _name_of(place, resolver), port] = None
    except OSError as error:  # a TimeoutError is one
        logger.warning("bootstrap servers not resolved", error=str(error) or f"not within {timeout_s} s")
        return None
    return list(found)


async def _name_of(place: tuple[Any, ...], resolver: Resolver) -> str:
    address = str(place[0])
    try:
        name, _ = await resolver.getnameinfo(place, socket.NI_NUMERICSERV)
        told = await resolver.getaddrinfo(name, place[1], type=socket.SOCK_STREAM)
    except OSError:
        return address
    return name if any(each[4][0] == address for each in told) else address
