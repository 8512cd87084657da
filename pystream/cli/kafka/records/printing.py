"""What the consoles that print have in common: one way to poll, to print, to count and to stop."""

from __future__ import annotations

import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from pystream.cli.failure import silence
from pystream.cli.kafka.options import Given, WrongUsage, pairs
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.records.formatters import Formatter, Record, formatter
from pystream.common.errors import PystreamError, Wakeup

if TYPE_CHECKING:
    from types import FrameType

POLL_SECONDS: Final = 0.5  # how soon a stop is noticed
FORMATTER_DOC: Final = (
    "Of the formatter: print.timestamp, print.key, print.offset, print.delivery, print.epoch, print.partition, "
    "print.headers, print.value (true or false), key.separator, line.separator, headers.separator, null.literal, "
    "key.deserializer, value.deserializer, headers.deserializer."
)


class Source(Protocol):
    """A consumer of either kind."""

    @property
    def config(self) -> Any: ...
    def poll(self, timeout: float | None = None, max_records: int | None = None) -> Sequence[Any]: ...
    def wakeup(self) -> None: ...


def formatter_of(given: Given) -> Formatter:
    """How records are printed."""
    properties = load(given.value("formatter-config"))
    for option in ("key-deserializer", "value-deserializer"):
        if given.value(option):
            properties[option.replace("-", ".")] = given.value(option)
    return formatter(given.value("formatter"), properties | pairs(given.values("formatter-property")))


def one_group(given: Given, from_file: Mapping[str, str], extra: Mapping[str, str], file_option: str) -> str | None:
    """The group that is named, in one place or alike in many. Raises WrongUsage."""
    named = [given.value("group"), from_file.get("group.id"), extra.get("group.id")]
    groups = list(dict.fromkeys(name for name in named if name is not None))
    if len(groups) > 1:
        raise WrongUsage(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via "
            f"'--{file_option}') do not match. Detected group ids: {', '.join(map(repr, groups))}"
        )
    return groups[0] if groups else None


class Printer(ABC):
    """Prints what comes, until there is enough, nothing comes any more, or it is told to stop."""

    def __init__(self, source: Source, write: Formatter, given: Given) -> None:
        self._source = source
        self._write = write
        self._given = given
        self._count = 0

    @abstractmethod
    def begin(self) -> None:
        """Say what is to be read."""

    @abstractmethod
    def printed(self, message: Record) -> None:
        """A message was printed."""

    @abstractmethod
    def not_printed(self, message: Record, error: PystreamError) -> None:
        """A message could not be printed. Raises the error to end here."""

    def print_all(self) -> None:
        """The whole work; says at the end how much it was."""
        previous = signal.signal(signal.SIGTERM, self._stop)
        try:
            self.begin()
            self._read(self._most(), self._patience())
        except Wakeup:
            pass  # SIGTERM: what was printed counts as read
        finally:
            signal.signal(signal.SIGTERM, previous)
            print(f"Processed a total of {self._count} messages", file=sys.stderr)
            if self._given.has("enable-systest-events"):
                print("shutdown_complete")

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._source.wakeup()

    def _most(self) -> int | None:
        most: int | None = self._given.value("max-messages")
        return None if most is None or most < 0 else most

    def _patience(self) -> float | None:
        timeout_ms: int | None = self._given.value("timeout-ms")
        return None if timeout_ms is None or timeout_ms < 0 else timeout_ms / 1_000

    def _read(self, most: int | None, patience: float | None) -> None:
        last = time.monotonic()
        limit = self._source.config.max_poll_records
        while most is None or self._count < most:
            left = POLL_SECONDS if patience is None else min(POLL_SECONDS, max(last + patience - time.monotonic(), 0))
            messages = self._source.poll(left, limit if most is None else min(limit, most - self._count))
            if messages:
                if not self._print(messages):
                    return
                last = time.monotonic()
            elif patience is not None and time.monotonic() - last >= patience:
                return

    def _print(self, messages: Sequence[Any]) -> bool:
        """Whether standard output still takes it."""
        lines: list[bytes] = []
        try:
            for message in messages:
                self._count += 1
                try:
                    lines.append(self._write(message))
                except PystreamError as error:
                    self.not_printed(message, error)
                else:
                    self.printed(message)
        finally:
            written = _written(lines)
        return written


def _written(lines: Sequence[bytes]) -> bool:
    try:
        sys.stdout.buffer.write(b"".join(lines))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        print("Unable to write to standard out, closing consumer.", file=sys.stderr)
        silence()
        return False
    return True
