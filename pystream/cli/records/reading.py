"""How a consumer is read by every command that prints records: batch by batch, each written at once, until enough."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from pystream.cli.ending import Unheard
from pystream.common.model import TopicPartition

if TYPE_CHECKING:
    from pystream.cli.records.bounds import Ends
    from pystream.cli.records.writers import Writer
    from pystream.client.consumer.record_batch import RecordBatch
    from pystream.client.sync.consumer import Consumer

POLL_SECONDS: Final = 0.25  # how soon a stop is noticed


class Source(Protocol):
    """A consumer of either kind."""

    def poll_batch(self, timeout: float | None = None, max_records: int | None = None) -> RecordBatch | None: ...


class Reader:
    """Reads until it has `most` records, or has come to what a `run` ends at; `at_once` are taken by one poll."""

    def __init__(
        self, source: Source, writer: Writer, out: BinaryIO, most: int | None, at_once: int | None = None
    ) -> None:
        self._source = source
        self._writer = writer
        self._out = out
        self._at_once = at_once
        self.left = most  # records still wanted

    def run_on(self) -> None:
        """For ever, or as many as are wanted."""
        while self.left != 0:
            self.take()

    def run_while_some_come(self, seconds: float) -> None:
        """Until none has come for so long."""
        last = time.monotonic()
        while self.left != 0:
            patience = max(last + seconds - time.monotonic(), 0)
            if self.take(seconds=min(POLL_SECONDS, patience)) is not None:
                last = time.monotonic()
            elif time.monotonic() - last >= seconds:
                return

    def take(self, ends: Ends | None = None, seconds: float = POLL_SECONDS) -> RecordBatch | None:
        """Write what comes next, and give the batch that it came in."""
        limits = [limit for limit in (self.left, self._at_once) if limit is not None]
        batch = self._source.poll_batch(seconds, min(limits, default=None))
        if batch is None:
            return None
        rows = len(batch) if ends is None else ends.rows(batch)
        if self.left is not None:
            self.left -= rows
        if rows:
            self.put(batch, rows)
        return batch

    def put(self, batch: RecordBatch, rows: int) -> None:
        """Write the first rows of a batch."""
        self._writer.write(batch, 0, rows)
        self._out.flush()


class RangeReader(Reader):
    """Reads up to ends, and tells of each as kcat does unless it is to be quiet."""

    def __init__(self, consumer: Consumer, writer: Writer, out: BinaryIO, most: int | None, *, quiet: bool) -> None:
        super().__init__(consumer, writer, out, most)
        self._consumer = consumer
        self._quiet = quiet

    def run_to(self, ends: Ends) -> None:
        """Up to the end of every partition; one that has come there is read no more."""
        self._note(ends.reached(self._consumer, list(ends.open)), ends)
        while ends.open:
            batch = self.take(ends)
            if self.left == 0:
                return  # as kcat: who has counted enough is told of no end
            among = ends.open if batch is None else [TopicPartition(batch.topic, batch.partition)]
            self._note(ends.reached(self._consumer, among), ends)

    def run_group(self) -> None:
        """Until the group is at the end of all partitions that this member has."""
        while self.left != 0:
            if self.take() is not None:
                continue
            assigned = self._consumer.assignment()
            if assigned and all(self._consumer.lag(each) == 0 for each in assigned):
                return

    def _note(self, reached: Sequence[tuple[TopicPartition, int]], ends: Ends) -> None:
        if not reached:
            return
        self._consumer.pause([each for each, _ in reached])
        if self._quiet:
            return
        for each, offset in reached:
            last = ": exiting" if not ends.open and each == reached[-1][0] else ""
            said = f"% Reached end of topic {each.topic} [{each.partition}] at offset {offset}{last}"
            print(said, file=sys.stderr)


def standard_output() -> BinaryIO:
    """Writes whole what it is given, or raises BrokenPipeError; unbuffered, Python's own may write a part of it."""
    out = sys.stdout.buffer
    own = isinstance(out, io.RawIOBase) or isinstance(getattr(out, "raw", None), Unheard)
    return open(out.fileno(), "wb", closefd=False) if own else out
