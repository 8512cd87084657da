"""Ports of servers that tests start in other processes, held against everybody else.

A port that was free a moment ago is given away to the next socket that asks for any: another worker's broker, or a
connection. Here the number is kept by a socket that is bound and never listens: nobody is given it, whoever connects to
it is refused, and a server that binds it by name with SO_REUSEADDR (ours and Java's do) gets it, again and again.
"""

from __future__ import annotations

import atexit
import functools
import socket
import weakref

HOST = "127.0.0.1"


def hold(port: int = 0) -> socket.socket:
    """A port of 127.0.0.1, any or this one, until the socket is closed. Raises OSError when it is taken."""
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((HOST, port))
    except OSError:
        held.close()
        raise
    return held


def port_for(owner: object) -> int:
    """A port that is held for as long as `owner` lives."""
    held = hold()
    weakref.finalize(owner, held.close)
    return int(held.getsockname()[1])


@functools.cache
def nobodys(number: int = 0) -> int:
    """A port of 127.0.0.1 that refuses connections for as long as this process lives; each `number` is another one."""
    kept = hold()
    atexit.register(kept.close)
    return int(kept.getsockname()[1])


class HeldPorts:
    """Ports at fixed distances, as `--port-offset` makes them: `offset` is added to each of `bases`.

    with HeldPorts(KAFKA_PORT, METRICS_PORT) as held: ... held.offset
    """

    def __init__(self, *bases: int) -> None:
        self._bases = bases
        self._held: list[socket.socket] = []
        self.offset = 0

    def __enter__(self) -> HeldPorts:
        first, *others = self._bases
        while len(self._held) < len(self._bases):
            self.close()
            self._held.append(hold())
            self.offset = int(self._held[0].getsockname()[1]) - first
            try:
                for base in others:
                    self._held.append(hold(base + self.offset))
            except (OSError, OverflowError):  # taken, or not a port: look elsewhere
                continue
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for held in self._held:
            held.close()
        self._held.clear()
