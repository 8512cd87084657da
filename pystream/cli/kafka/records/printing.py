"""What the consoles that print have in common: one way to poll, to print, to count and to stop."""

from __future__ import annotations

import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from pystream.cli.ending import silence
from pystream.cli.kafka.options import Given, WrongUsage, pairs
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.records.formatters import Record, writer_of
from pystream.cli.records import reading
from pystream.common.errors import PystreamError, Wakeup

if TYPE_CHECKING:
    from types import FrameType

    from pystream.cli.records.writers import Writer
    from pystream.client.consumer.record_batch import RecordBatch

FORMATTER_DOC: Final = (
    "Of the formatter: print.timestamp, print.key, print.offset, print.delivery, print.epoch, print.partition, "
    "print.headers, print.value (true or false), key.separator, line.separator, headers.separator, null.literal, "
    "key.deserializer, value.deserializer, headers.deserializer."
)


class Source(reading.Source, Protocol):
    """A consumer of either kind, which can be told to stop."""

    @property
    def config(self) -> Any: ...
    def wakeup(self) -> None: ...


def formatter_of(given: Given, out: BinaryIO) -> Writer:
    """How records are printed."""
    properties = load(given.value("formatter-config"))
    for option in ("key-deserializer", "value-deserializer"):
        if given.value(option):
            properties[option.replace("-", ".")] = given.value(option)
    return writer_of(given.value("formatter"), properties | pairs(given.values("formatter-property")), out)


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


class Printer(reading.Reader, ABC):
    """Prints what comes, until there is enough, nothing comes any more, or it is told to stop."""

    def __init__(self, source: Source, writer: Writer, out: BinaryIO, given: Given) -> None:
        super().__init__(source, writer, out, _limit(given, "max-messages"), source.config.max_poll_records)
        self._wakeup = source.wakeup
        self._given = given
        self._count = 0

    @abstractmethod
    def begin(self) -> None:
        """Say what is to be read."""

    @abstractmethod
    def printed(self, batch: RecordBatch, start: int, stop: int) -> None:
        """Rows of a batch were printed."""

    @abstractmethod
    def not_printed(self, message: Record, error: PystreamError) -> None:
        """A message could not be printed. Raises the error to end here."""

    def print_all(self) -> None:
        """The whole work; says at the end how much it was."""
        previous = signal.signal(signal.SIGTERM, self._stop)
        patience_ms = _limit(self._given, "timeout-ms")
        try:
            self.begin()
            if patience_ms is None:
                self.run_on()
            else:
                self.run_while_some_come(patience_ms / 1_000)
        except Wakeup:
            pass  # SIGTERM: what was printed counts as read
        finally:
            signal.signal(signal.SIGTERM, previous)
            print(f"Processed a total of {self._count} messages", file=sys.stderr)
            if self._given.has("enable-systest-events"):
                print("shutdown_complete")

    def put(self, batch: RecordBatch, rows: int) -> None:
        """Ends the reading where standard output takes no more."""
        try:
            try:
                self._put(batch, 0, rows)
            finally:
                self._out.flush()
        except BrokenPipeError:
            print("Unable to write to standard out, closing consumer.", file=sys.stderr)
            silence()
            self.left = 0

    def _put(self, batch: RecordBatch, start: int, stop: int) -> None:
        """Those that can be printed: of rows of which one cannot the halves, one after the other."""
        try:
            self._writer.write(batch, start, stop)
        except PystreamError as error:
            if stop - start > 1:
                middle = (start + stop) // 2
                self._put(batch, start, middle)
                self._put(batch, middle, stop)
                return
            self._count += 1
            self.not_printed(batch[start], error)
        else:
            self._count += stop - start
            self.printed(batch, start, stop)

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._wakeup()


def _limit(given: Given, name: str) -> int | None:
    """Of an option whose negative values are none."""
    limit: int | None = given.value(name)
    return None if limit is None or limit < 0 else limit
