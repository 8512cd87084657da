"""How every command ends: what standard output and Ctrl-C make of its exit code, without a traceback.

    with Ending("pystream topics list"):
        ...                                 # leaves by SystemExit, or by coming to its end: 0

    130 Ctrl-C    143 SIGTERM    141 whoever read standard output is gone    1 it cannot be written, which is told

Imports nothing that `--help` would have to wait for.
"""

from __future__ import annotations

import errno
import io
import os
import sys

TYPE_CHECKING = False  # see `commands`
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141  # as the shell says of a program that SIGPIPE ended
EXIT_TERMINATED = 143
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Ending:
    """Leaves by SystemExit. `command` stands before what is told; `unread` is the code where nobody reads any more."""

    def __init__(self, command: str = "", unread: int = EXIT_PIPE_CLOSED) -> None:
        self.command = command
        self._unread = unread

    def __enter__(self) -> Ending:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        code: Any = 0
        if isinstance(error, SystemExit):
            code = error.code
        elif isinstance(error, KeyboardInterrupt):
            code = EXIT_TERMINATED if isinstance(error, Terminated) else EXIT_INTERRUPTED
        elif isinstance(error, BrokenPipeError):
            silence()
            code = self._unread
        elif isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is None:
            code = self._unwritten(error)
        elif error is not None:
            return
        self._leave(code)

    def _leave(self, code: Any) -> NoReturn:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            silence()
            code = code or self._unread
        except OSError as error:
            if code:
                silence()  # it was told
            code = code or self._unwritten(error)
        raise SystemExit(code) from None

    def _unwritten(self, error: OSError) -> int:
        silence()
        print(f"{self.command}{': ' if self.command else ''}standard output: {error.strerror}", file=sys.stderr)
        return 1


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command as Ctrl-C does."""


class Terminating:
    """While it lasts, SIGTERM ends the command as Ctrl-C does: what was sent is flushed, the group is left."""

    def __enter__(self) -> None:
        import signal

        def terminate(_: int, __: FrameType | None) -> None:
            raise Terminated

        self._before = signal.signal(signal.SIGTERM, terminate)

    def __exit__(self, *_: object) -> None:
        import signal

        signal.signal(signal.SIGTERM, self._before)


def silence() -> None:
    """Standard output takes no more: what is left goes nowhere, or the interpreter would complain at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


class Unheard(io.FileIO):
    """Standard output as Java has it: where nobody reads it any more it goes nowhere, and the work goes on."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            silence()
            return memoryview(data).nbytes


def go_on_unheard() -> None:
    """From now on a pipe that is closed stops nothing. Not where standard output is somebody else's."""
    out = sys.stdout
    if out is None or out is not sys.__stdout__ or not isinstance(out, io.TextIOWrapper):
        return
    out.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(Unheard(out.fileno(), "wb", closefd=False)),
        encoding=out.encoding,
        errors=out.errors,
        line_buffering=out.line_buffering,
        write_through=out.write_through,
    )
