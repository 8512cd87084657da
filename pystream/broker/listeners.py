"""Listeners: `NAME://HOST:PORT` as Kafka's `listeners` and `advertised.listeners` spell them, checked."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from pystream.common.errors import InvalidConfig

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = ("0.0.0.0", "::")
SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
AVAILABLE_PROTOCOLS = ("PLAINTEXT",)
HIGHEST_PORT = 65_535
_SPELLING = re.compile(
    r"(?P<name>[A-Za-z0-9_-]+)://(?:\[(?P<address>[0-9a-fA-F:.%]+)\]|(?P<host>[^:/\[\]]*)):(?P<port>-?[0-9]+)"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One `NAME://HOST:PORT`."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to bind, and what clients are told. `advertised_port` None: the port that was bound."""

    name: str
    security_protocol: str
    bind_host: str
    bind_port: int
    advertised_host: str
    advertised_port: int | None

    @property
    def misleads(self) -> bool:
        """Whether other machines may connect, and are then sent to themselves: their own loopback address.

        Only where nobody has said what clients are told: behind a container's port, it may be meant.
        """
        return self.advertised_port is None and not is_loopback(self.bind_host) and is_loopback(self.advertised_host)


def parse_address(text: str) -> Address:
    """`PLAINTEXT://localhost:9092`, `SSL://[::1]:0`, `PLAINTEXT://:9092`. Raises InvalidConfig."""
    match = _SPELLING.fullmatch(text.strip())
    if match is None:
        raise InvalidConfig(f"listener {text!r} is not NAME://HOST:PORT")
    port = int(match["port"])
    if not 0 <= port <= HIGHEST_PORT:
        raise InvalidConfig(f"listener {text!r}: port {port} is not within 0..{HIGHEST_PORT}")
    return Address(match["name"].upper(), match["address"] or match["host"] or "", port)


def parse_listeners(
    *,
    listeners: Sequence[str],
    advertised: Sequence[str] | None,
    protocol_map: Sequence[str],
    left_out: Sequence[str],
    public_allowed: bool,
) -> tuple[Listener, ...]:
    """The listeners to open, in their order. Raises InvalidConfig."""
    skipped = {name.upper() for name in left_out}
    bound = [endpoint for endpoint in map(parse_address, listeners) if endpoint.name not in skipped]
    if not bound:
        raise InvalidConfig("listeners names no listener to open")
    _check_distinct(bound)
    told = {endpoint.name: endpoint for endpoint in map(parse_address, advertised or ())}
    names = {endpoint.name for endpoint in bound}
    for name in told:
        if name not in names | skipped:
            raise InvalidConfig(f"advertised.listeners names {name}, which listeners does not")
    protocols = _protocols(protocol_map)
    return tuple(_listener(endpoint, told.get(endpoint.name), protocols, public_allowed) for endpoint in bound)


def check_metrics_listener(text: str) -> str | None:
    """The complaint about a `metrics.listener`, or None."""
    if not text:
        return None
    try:
        endpoint = parse_address(text)
    except InvalidConfig as error:
        return str(error)
    return None if endpoint.name == "HTTP" else f"only http:// is served, got {text!r}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; a name other than localhost counts as public."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_distinct(bound: Sequence[Address]) -> None:
    names = [endpoint.name for endpoint in bound]
    ports = [(endpoint.host, endpoint.port) for endpoint in bound if endpoint.port]
    if len(set(names)) != len(names):
        raise InvalidConfig(f"each listener must have a different name, listeners: {', '.join(map(str, bound))}")
    if len(set(ports)) != len(ports):
        raise InvalidConfig(f"each listener must have a different port, listeners: {', '.join(map(str, bound))}")


def _protocols(protocol_map: Sequence[str]) -> dict[str, str]:
    protocols = {}
    for entry in protocol_map:
        name, colon, protocol = entry.strip().partition(":")
        if not colon or protocol.upper() not in SECURITY_PROTOCOLS:
            raise InvalidConfig(f"listener.security.protocol.map: {entry!r} is not NAME:{'|'.join(SECURITY_PROTOCOLS)}")
        protocols[name.upper()] = protocol.upper()
    return protocols


def _listener(endpoint: Address, told: Address | None, protocols: dict[str, str], public_allowed: bool) -> Listener:
    protocol = protocols.get(endpoint.name)
    if protocol is None:
        raise InvalidConfig(f"no security protocol for listener {endpoint.name} in listener.security.protocol.map")
    if protocol not in AVAILABLE_PROTOCOLS:
        raise InvalidConfig(f"listener {endpoint}: {protocol} is not available; use {', '.join(AVAILABLE_PROTOCOLS)}")
    host = endpoint.host or ("0.0.0.0" if public_allowed else LOOPBACK)
    if not public_allowed and not is_loopback(host):
        raise InvalidConfig(
            f"listener {endpoint} has no authentication and is open to other machines; "
            "bind a loopback address, or set listeners.public.allow=true if that is meant"
        )
    if told is not None and told.host in ("", *EVERY_ADDRESS):
        raise InvalidConfig(f"advertised.listeners: {told} is no address that a client can connect to")
    advertised_host = told.host if told else (socket.getfqdn() if host in EVERY_ADDRESS else host)
    return Listener(endpoint.name, protocol, host, endpoint.port, advertised_host, told.port or None if told else None)
