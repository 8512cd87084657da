"""Ports that stay a broker's own through its restarts.

A port that was free a moment ago is given away to the next socket that asks for any. Here it is kept by a socket that
is bound and never listens: nobody else is given it, whoever connects is refused, and a server that binds it by name
with SO_REUSEADDR gets it, again and again.
"""

from __future__ import annotations

import socket

from pystream.testing.settings import HOST


class HeldPort:
    """A port of 127.0.0.1, any free one or this, until `close`. Raises OSError when it is taken."""

    def __init__(self, port: int = 0) -> None:
        self._socket = bound(port)
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()


def bound(port: int) -> socket.socket:
    """A socket bound to the port, beside others that do not listen."""
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
    except OSError:
        made.close()
        raise
    return made
