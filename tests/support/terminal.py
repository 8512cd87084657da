"""A program on a terminal of its own: what it is told is typed, what it says is read off the screen.

with Terminal("bash", "--norc", "-i", environment=...) as shell:
    shell.type("pystream topics describe ord\\t")
    shell.sees("orders")
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from types import TracebackType

SECONDS = 120
SIZE_NAMES = {"COLUMNS", "LINES"}  # stronger than the terminal's size, and set in the workers of pytest-xdist
ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>()][0-9A-Za-z]?|[0-9A-Za-z])")


class Terminal:
    def __init__(
        self, *command: str, environment: Mapping[str, str] | None = None, columns: int = 200, rows: int = 50
    ) -> None:
        self._command = command
        kept = {**os.environ, **(environment or {})}
        self._environment = {**{name: kept[name] for name in kept.keys() - SIZE_NAMES}, "TERM": "xterm"}
        self._size = struct.pack("HHHH", rows, columns, 0, 0)
        self._screen = b""

    def __enter__(self) -> Terminal:
        self._fd, child = os.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, self._size)
        self._process = subprocess.Popen(
            self._command,
            stdin=child,
            stdout=child,
            stderr=child,
            env=self._environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(child)
        return self

    @property
    def screen(self) -> str:
        """All that was shown since the last `sees`, without colours and movements."""
        return ESCAPES.sub(b"", self._screen).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def sees(self, pattern: str, seconds: float = SECONDS) -> str:
        """Wait until the screen shows it; all that was shown up to then."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.screen):
            if not self._read(deadline):
                raise AssertionError(f"{pattern!r} was never shown, but {self.screen!r}")
        shown, self._screen = self.screen, b""
        return shown

    @property
    def raw(self) -> bytes:
        """The same with them."""
        return self._screen

    def read_all(self, seconds: float = SECONDS) -> str:
        """Read until the program has ended; the screen."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        self._process.wait(timeout=max(deadline - time.monotonic(), 1))
        return self.screen

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            got = os.read(self._fd, 65536)
        except OSError:  # as Linux says that the other side is closed
            return False
        self._screen += got
        return bool(got)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._fd)
