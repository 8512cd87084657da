"""Structured logs: an event with fields, as text for people or JSON for machines.

    logger = get_logger(__name__)
    logger.info("segment rolled", partition=tp, base_offset=base, size_bytes=size, reason="size")

    2026-01-31 12:00:00.123 INFO    segment rolled  partition=orders-3 base_offset=40 size_bytes=1048576 reason=size
    {"time":"2026-01-31T12:00:00.123Z","level":"info","logger":"pystream.storage.log","event":"segment rolled",...}

It stands on the standard library's logging, so that other libraries' lines arrive in the same place. Whatever came
from the network is escaped: a line is one line, whatever a client calls itself. `limited` is for what a client can
cause at will. `listen` gives the lines of one context, of a client and its tasks, to somebody who asked for them.
"""

from __future__ import annotations

import json
import logging as standard
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any, Final, TypeAlias

from pystream.common.clock import Clock, SystemClock
from pystream.common.errors import InvalidConfig

LEVELS: Final = {
    "debug": standard.DEBUG,
    "info": standard.INFO,
    "warning": standard.WARNING,
    "error": standard.ERROR,
}
FORMATS: Final = ("auto", "text", "json")
MAXIMUM_VALUE_LENGTH: Final = 1_000  # characters of one field; the rest is cut and counted
LIMITED_LINES_PER_INTERVAL: Final = 10
LIMIT_INTERVAL_MS: Final = 10_000

_COLOURS: Final = {
    standard.DEBUG: "\x1b[2m",
    standard.INFO: "\x1b[32m",
    standard.WARNING: "\x1b[33m",
    standard.ERROR: "\x1b[31m",
}
Listener: TypeAlias = "Callable[[int, str, LogLine], bool]"  # level, the logger's name, the line; True: it took it

_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"


class Logger:
    """Writes events under one name. Get it from `get_logger`, once per module."""

    __slots__ = ("_allowances", "_clock", "_logger")

    def __init__(self, logger: standard.Logger, clock: Clock | None = None) -> None:
        self._logger = logger
        self._clock = clock or SystemClock()
        self._allowances: dict[str, _Allowance] = {}

    def debug(self, event: str, **fields: object) -> None:
        self._write(standard.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write(standard.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write(standard.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write(standard.ERROR, event, fields)

    def exception(self, event: str, error: BaseException, **fields: object) -> None:
        """An `error` line with the traceback of `error`."""
        self._write(standard.ERROR, event, {**fields, "error": error}, error)

    def limited(self, event: str, **fields: object) -> None:
        """A `warning` that outsiders can cause: at most 10 lines of one `event` in 10 s, then a count of the others.

        `event` is a constant of the code, never text from the network, so the table of allowances stays small.
        """
        allowance = self._allowances.setdefault(event, _Allowance())
        suppressed = allowance.take(self._clock.monotonic_ms())
        if suppressed is None:
            return
        if suppressed:
            fields["suppressed"] = suppressed
        self._write(standard.WARNING, event, fields)

    def is_debug(self) -> bool:
        """Whether a debug line would be written: ask before computing costly fields."""
        return _listener.get() is not None or self._logger.isEnabledFor(standard.DEBUG)

    def _write(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        listener = _listener.get()
        if listener is not None and listener(level, self._logger.name, LogLine(event, fields)):
            return
        if not self._logger.isEnabledFor(level):
            return
        trace = None if error is None else (type(error), error, error.__traceback__)
        record = self._logger.makeRecord(
            self._logger.name, level, "", 0, LogLine(event, fields), (), trace, extra={"event_fields": fields}
        )
        self._logger.handle(record)


class LogLine:
    """What a formatter of the application's own writes: the event with its fields."""

    __slots__ = ("_fields", "event")

    def __init__(self, event: str, fields: dict[str, object]) -> None:
        self.event = event
        self._fields = fields

    def __str__(self) -> str:
        return f"{escape(self.event)}  {_format_fields(self._fields)}".rstrip()


class _Allowance:
    """Lines of one event that may still be written in the interval."""

    __slots__ = ("ends_at_ms", "left", "suppressed")

    def __init__(self) -> None:
        self.ends_at_ms: int | None = None
        self.left = 0
        self.suppressed = 0

    def take(self, now_ms: int) -> int | None:
        """None: keep silent. Otherwise write, and say how many lines were kept back since the last one."""
        if self.ends_at_ms is None or now_ms >= self.ends_at_ms:
            self.ends_at_ms = now_ms + LIMIT_INTERVAL_MS
            self.left = LIMITED_LINES_PER_INTERVAL
        if self.left == 0:
            self.suppressed += 1
            return None
        self.left -= 1
        suppressed, self.suppressed = self.suppressed, 0
        return suppressed


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def listen(listener: Listener) -> None:
    """From now on in this context, and in tasks that are begun in it, `listener` gets every line first, debug too.

    Where it gives True the line goes nowhere else. It is called wherever the line is written, and must not raise.
    """
    _listener.set(listener)


def get_logger(name: str, clock: Clock | None = None) -> Logger:
    """The logger of a module: `get_logger(__name__)`."""
    return Logger(standard.getLogger(name), clock)


def escape(text: str) -> str:
    """`text` on one line: control, bidirectional and other unprintable characters become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def format_value(value: object) -> str:
    """One field's value: bare when it is one plain word, otherwise quoted."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    if len(text) > MAXIMUM_VALUE_LENGTH:
        text = f"{text[:MAXIMUM_VALUE_LENGTH]}… ({len(text)} characters)"
    if text and text.isprintable() and not any(c in ' "=\\' for c in text):
        return text
    return '"' + escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


class TextFormatter(standard.Formatter):
    """`time LEVEL event  key=value …`, coloured for a terminal."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: standard.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = f"{record.levelname:<7}"
        event = escape(event_of(record))
        fields = _format_fields(_fields_of(record))
        stamp = f"{moment}.{int(record.msecs):03d}"
        if self._colour:
            level = f"{_COLOURS.get(record.levelno, '')}{level}{_RESET}"
            stamp = f"{_DIM}{stamp}{_RESET}"
            fields = f"{_DIM}{fields}{_RESET}" if fields else fields
        line = f"{stamp} {level} {event}  {fields}".rstrip()
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


class JsonFormatter(standard.Formatter):
    """One JSON object a line; fields of the event lie beside `time`, `level`, `logger` and `event`."""

    def format(self, record: standard.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event_of(record),
        }
        for name, value in _fields_of(record).items():
            line[name if name not in line else f"field_{name}"] = _json_value(value)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"))


def event_of(record: standard.LogRecord) -> str:
    """The event of a line, without its fields."""
    return record.msg.event if isinstance(record.msg, LogLine) else record.getMessage()


def _format_fields(fields: dict[str, object]) -> str:
    return " ".join(f"{name}={format_value(value)}" for name, value in fields.items())


def _fields_of(record: standard.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "event_fields", {})
    return fields


def _json_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= MAXIMUM_VALUE_LENGTH else text[:MAXIMUM_VALUE_LENGTH] + "…"


def configure(level: str = "info", format: str = "auto", stream: IO[str] | None = None) -> None:
    """Send every logger of the process to `stream` (standard error). `auto`: text, coloured on a terminal.

    Called once, by an entry point. Raises InvalidConfig for a level or format that does not exist.
    """
    if level not in LEVELS:
        raise InvalidConfig(f"log level {level!r} is none of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise InvalidConfig(f"log format {format!r} is none of {', '.join(FORMATS)}")
    target = stream or sys.stderr
    handler = standard.StreamHandler(target)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter(colour=_is_terminal(target, format)))
    root = standard.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])


def _is_terminal(stream: IO[str], format: str) -> bool:
    return format == "auto" and stream.isatty()
