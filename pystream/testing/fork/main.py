"""The process that brokers under test are forked from. It has imported what a broker needs and runs no thread.

    test's process ── control ── this one         a message of one byte and two descriptors: fork
          │                         │
          └────── connection ── broker            made anew for each: the second end is the first descriptor
                                                  the other descriptor is where the broker writes its log

On a connection, lines of JSON: the broker says {"pid": ...}, then as it is ready {"listeners": ...}; after its end this
process says {"status": ...}, as waitpid gives it. The broker is reaped once the test's process has read that and shut
its side down: until then its pid is nobody else's. The end of control is the end of the test's process, or of its use
for brokers: those that still run are stopped as by SIGTERM.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from types import FrameType
from typing import Final, NoReturn

from pystream.testing.fork.child import main as run_broker

WAKE_BYTES: Final = 64
RECEIVE_BYTES: Final = 1 << 16


class ForkMain:
    """Single-threaded, and without a loop of asyncio's, so that a fork has all that there is."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._running: dict[int, socket.socket] = {}  # by pid
        self._told: dict[int, socket.socket] = {}  # ended, and its status said
        self._woken, self._wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_wanted = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until control has ended, and every broker with it."""
        while self._is_wanted or self._running or self._told:
            for descriptor in self._ready():
                if descriptor == self._woken:
                    os.read(self._woken, WAKE_BYTES)
                elif descriptor == self._control.fileno():
                    self._answer()
            self._look_after()

    def _ready(self) -> list[int]:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if self._is_wanted:
            poll.register(self._control, select.POLLIN)
        for connection in self._told.values():
            poll.register(connection, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll()]

    def _answer(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
        if message:
            self._fork(socket.socket(fileno=descriptors[0]), descriptors[1])
            return
        self._is_wanted = False
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)

    def _fork(self, connection: socket.socket, log: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            os.write(log, f"broker: no process could be forked: {error}\n".encode())
            connection.close()
            os.close(log)
            return
        if pid == 0:
            self._become_broker(connection, log)
        os.close(log)
        self._running[pid] = connection

    def _look_after(self) -> None:
        for pid, connection in list(self._running.items()):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                self._told[pid] = self._running.pop(pid)
                _say(connection, {"status": status})
        for pid, connection in list(self._told.items()):
            if not self._is_wanted or _is_shut(connection):
                os.waitpid(pid, 0)
                self._told.pop(pid).close()

    def _become_broker(self, connection: socket.socket, log: int) -> NoReturn:
        code: int | None = None
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.dup2(log, sys.stdout.fileno())
            os.dup2(log, sys.stderr.fileno())
            for descriptor in (self._woken, self._wakes, self._control.detach(), log):
                os.close(descriptor)
            for other in (*self._running.values(), *self._told.values()):
                other.close()
            code = run_broker(connection)
        finally:
            if code is None:  # the top of a process: what came up so far is written, and goes no further
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1 if code is None else code)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """SIGCHLD has a handler, so that it wakes the poll."""


def _say(connection: socket.socket, what: dict[str, int]) -> None:
    try:
        connection.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        return  # whoever would have read it is gone, and `_is_shut` then


def _is_shut(connection: socket.socket) -> bool:
    """Whether the other side will send nothing more; nobody but this process reads here any more."""
    try:
        return connection.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def main(control_fd: str) -> None:
    """What the process runs."""
    gc.collect()
    gc.freeze()  # the pages of what all brokers share stay shared
    ForkMain(socket.socket(fileno=int(control_fd))).serve()
