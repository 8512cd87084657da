"""What a forked process runs: it takes the test's surroundings, then it is a broker until SIGTERM or the test's end."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
from typing import Any, Final

from pystream.broker.config import BrokerConfig
from pystream.broker.process import run
from pystream.common.errors import PystreamError

LENGTH_BYTES: Final = 4


def main(connection: socket.socket) -> int:
    """The exit code. The connection is the test's lifeline and hears when the broker is ready."""
    connection.sendall(json.dumps({"pid": os.getpid()}).encode() + b"\n")
    request = received(connection)
    if request is None:
        return 0  # the test's process is gone
    try:
        surround(request["environment"], request["directory"], request["limits"])
        run(
            BrokerConfig.from_settings(request["settings"]),
            ready_fd=os.dup(connection.fileno()),
            lifeline_fd=connection.fileno(),
        )
    except (PystreamError, OSError) as error:
        print(f"broker: {error}", file=sys.stderr)
        return 1
    return 0


def surround(environment: dict[str, str], directory: str, limits: dict[str, list[int]]) -> None:
    """Take over what a process that is started would inherit: environment, working directory, limits."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(directory)
    for number, (soft, hard) in limits.items():
        if resource.getrlimit(int(number)) != (soft, hard):
            resource.setrlimit(int(number), (soft, hard))


def received(connection: socket.socket) -> dict[str, Any] | None:
    """The request: its length, then JSON. None when the connection ends before it is whole."""
    with connection.makefile("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "big")
        text = stream.read(length)
    if not length or len(text) < length:
        return None
    request: dict[str, Any] = json.loads(text)
    return request
