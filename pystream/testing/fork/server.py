"""Processes for brokers in milliseconds: forked from one that has imported all of it. See `main` for their talk.

One such process for each process of tests, and another where variables that are read as Python starts have changed
since. It is started by the first broker and ends with the test's process, however that ends.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import pystream
from pystream.common.errors import PystreamError

CODE: Final = (  # this pystream, wherever it lies; nothing else is looked for there
    "import sys; sys.path.insert(0, sys.argv[1]); import pystream; sys.path.remove(sys.argv[1]); "
    "from pystream.testing.fork.main import main; main(sys.argv[2])"
)
HOME: Final = str(Path(pystream.__file__).resolve().parents[1])
READ_AT_START: Final = re.compile(r"(PYTHON|LD_|MALLOC_|GLIBC_|[A-Z]+SAN_OPTIONS$)")
LIMITS: Final = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
LENGTH_BYTES: Final = 4
RECEIVE_BYTES: Final = 1 << 16
END_SECONDS: Final = 10.0  # for brokers that a test run leaves to its very end
LOG_TAIL_BYTES: Final = 8_192


class ForkServerFailed(PystreamError):
    """No process for a broker could be had; the message has what was written about it."""


class ForkedProcess:
    """A broker's process. Its pid is its own for as long as this object does not know of its end."""

    def __init__(self, connection: socket.socket) -> None:
        self.pid = 0
        self.exit_code: int | None = None  # -9 after SIGKILL; None as well when whoever could tell has been killed
        self.is_over = False
        self._connection = connection
        self._said: dict[str, Any] = {}
        self._unread = b""
        self._lock = threading.Lock()
        _processes.add(self)

    def begin(self, request: Mapping[str, object], deadline: float) -> bool:
        """Tell it what to run; False, and it is forgotten, when it has ended before or not taken it by the deadline."""
        text = json.dumps(request).encode()
        try:
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            self._connection.sendall(len(text).to_bytes(LENGTH_BYTES, "big") + text)
            self._connection.setblocking(False)
            self.pid = self.wait_for("pid", deadline) or 0
        except OSError:
            self.pid = 0
        if not self.pid:
            self.abandon()
        return self.pid != 0

    def wait_for(self, key: str, deadline: float) -> Any:
        """What it says under a name; None when it ends before, or has not said it by the deadline."""
        while not self.poll() and key not in self._said:
            if not self._readable(deadline):
                break
        return self._said.get(key)

    def poll(self) -> bool:
        """Whether it has ended, and its pid is given back."""
        with self._lock:
            while not self.is_over:
                try:
                    chunk = self._connection.recv(RECEIVE_BYTES)
                except BlockingIOError:
                    break
                except OSError:
                    chunk = b""
                self._take(chunk)
            return self.is_over

    def wait(self, deadline: float) -> bool:
        """Whether it has ended by the deadline."""
        while not self.poll():
            if not self._readable(deadline):
                return False
        return True

    def send_signal(self, number: signal.Signals) -> None:
        """Harmless when it has ended."""
        with self._lock:
            if self.pid and not self.is_over and "status" not in self._said:
                os.kill(self.pid, number)

    def abandon(self) -> None:
        """Forget it, in a fork of the test's process: its life does not hang on this one."""
        self._connection.close()
        self.is_over = True

    def _readable(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(max(deadline - time.monotonic(), 0) * 1_000))

    def _take(self, chunk: bytes) -> None:
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            self._said |= json.loads(line)
        if "status" in self._said and self.exit_code is None:
            self.exit_code = self._said["status"]
            try:
                self._connection.shutdown(socket.SHUT_WR)  # it may be reaped, and its pid be another's
            except OSError:
                chunk = b""
        if not chunk:
            self.is_over = True
            self._connection.close()


class _ForkServer:
    """The process that the others are forked from."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.has_forked = False
        self._log: IO[bytes] = tempfile.TemporaryFile(prefix="pystream-fork-")  # noqa: SIM115 - closed by close()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", CODE, HOME, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=environment,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C is the test run's; it stops its brokers when it is done with them
            )

    def fork(self, log: int) -> ForkedProcess | None:
        """None when the server has gone."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"f"], [theirs.fileno(), log])
        except OSError:
            ours.close()
            return None
        return ForkedProcess(ours)

    def has_ended(self, within_s: float = END_SECONDS) -> bool:
        """Whether it ends in this time; its sockets are closed a little before."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def complaint(self) -> str:
        """The end of what it has written."""
        self._log.seek(max(self._log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES, 0))
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """Have it stop the brokers that are left, and end."""
        self._control.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def abandon(self) -> None:
        self._control.close()
        self._log.close()
        self._process.returncode = 0  # it is another process's child


_servers: Final[dict[tuple[str, ...], _ForkServer]] = {}
_servers_lock: Final = threading.Lock()
_processes: Final[weakref.WeakSet[ForkedProcess]] = weakref.WeakSet()


def prepare() -> None:
    """Start what brokers are forked from, unless it runs, and do not wait for it."""
    environment = dict(os.environ)
    with _servers_lock:
        _server(environment)


def forked(settings: Mapping[str, str], log: int, deadline: float) -> ForkedProcess:
    """A broker's process, which has taken its settings. Raises ForkServerFailed."""
    environment = dict(os.environ)
    limits = {str(number): resource.getrlimit(number) for number in LIMITS}
    request = {"settings": settings, "environment": environment, "directory": os.getcwd(), "limits": limits}
    while True:
        with _servers_lock:
            server = _server(environment)
            was_ready = server.has_forked
            process = server.fork(log)
        if process is not None and process.begin(request, deadline):
            server.has_forked = True
            return process
        if not was_ready or time.monotonic() >= deadline or not server.has_ended():
            raise ForkServerFailed(f"no process for a broker\n{server.complaint()}")


def _server(environment: dict[str, str]) -> _ForkServer:
    key = (sys.executable, *sorted(f"{k}={v}" for k, v in environment.items() if READ_AT_START.match(k)))
    server = _servers.get(key)
    if server is not None and server.has_ended(0):
        server.close()
        server = None
    if server is None:
        server = _servers[key] = _ForkServer(environment)
    return server


@atexit.register
def _close_all() -> None:
    while _servers:
        _servers.popitem()[1].close()


def _abandon_all() -> None:
    """In a fork of the test's process: brokers end with their own, and so do these servers."""
    global _servers_lock
    _servers_lock = threading.Lock()  # type: ignore[misc]  # whoever held it is not here
    for server in _servers.values():
        server.abandon()
    _servers.clear()
    for process in list(_processes):
        process.abandon()


os.register_at_fork(after_in_child=_abandon_all)
