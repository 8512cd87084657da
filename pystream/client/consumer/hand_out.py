"""Hands out what was fetched: some messages, a chunk to iterate over, or a batch of columns. No waiting, no I/O.

A chunk's messages count as read one by one, without a step of ours for each: how far its iterator has come is asked
only when somebody wants to know the position. A seek empties the chunk, and the loop over it ends there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import length_hint

from pystream._native.message_batch import Message
from pystream.client.consumer.fetch_buffer import FetchBuffer, Fetched
from pystream.client.consumer.record_batch import RecordBatch


class _Chunk:
    """Messages that are being iterated over."""

    __slots__ = ("fetched", "iterator", "messages", "size", "start")

    def __init__(self, fetched: Fetched, start: int, messages: list[Message]) -> None:
        self.fetched = fetched
        self.start = start
        self.messages = messages
        self.size = len(messages)
        self.iterator = iter(messages)

    def read(self) -> int:
        """How many the user has got."""
        return self.size - length_hint(self.iterator)


class HandOut:
    """Belongs to whoever calls the consumer: one task or thread at a time."""

    def __init__(self, buffer: FetchBuffer, raise_failure: Callable[[], None]) -> None:
        self._buffer = buffer
        self._raise_failure = raise_failure
        self._current: Fetched | None = None
        self._chunk: _Chunk | None = None

    def messages(self, most: int) -> list[Message]:
        """Up to `most` messages of one partition, read with this; none when nothing is here. Raises what failed."""
        self.settle()
        while (fetched := self._next()) is not None:
            batch = fetched.batch
            start = fetched.start
            stop = min(start + most, len(batch))
            messages = batch.messages(start, stop)
            self._advance(fetched, stop)
            if messages:
                return messages
        return []

    def chunk(self, most: int) -> Iterator[Message] | None:
        """Up to `most` messages of one partition, read as they are iterated over; None when nothing is here."""
        self.settle()
        while (fetched := self._next()) is not None:
            batch = fetched.batch
            start = fetched.start
            stop = min(start + most, len(batch))
            if stop == start:
                self._advance(fetched, stop)
                continue
            self._chunk = _Chunk(fetched, start, batch.messages(start, stop))
            return self._chunk.iterator
        return None

    def batch(self, most: int | None) -> RecordBatch | None:
        """What is left of one fetched batch, or `most` rows of it, as columns; None when nothing is here."""
        self.settle()
        while (fetched := self._next()) is not None:
            start = fetched.start
            stop = len(fetched.batch) if most is None else min(start + most, len(fetched.batch))
            self._advance(fetched, stop)
            if stop > start:
                return RecordBatch(fetched.batch, start, stop)
        return None

    def settle(self) -> None:
        """Bring the position to where the iteration is; what of its chunk was not read comes again."""
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            return
        stop = chunk.start + chunk.read()
        chunk.messages.clear()
        if chunk.fetched.is_current:
            self._advance(chunk.fetched, stop)

    def note_position(self) -> None:
        """Bring the position to where the iteration is, which goes on."""
        chunk = self._chunk
        if chunk is None or not chunk.fetched.is_current:
            return
        read = chunk.read()
        if read:
            self._stand_behind(chunk.fetched, chunk.start + read)

    def drop(self) -> None:
        """Some partitions moved: the chunk of one that did ends; what is current counts no more, or waits aside."""
        self.note_position()
        chunk = self._chunk
        if chunk is not None and (not chunk.fetched.is_current or chunk.fetched.state.is_held):
            self.settle()

    def _next(self) -> Fetched | None:
        current = self._current
        if current is not None:
            if current.is_current and not current.state.is_held:
                return current
            self._current = None
            if current.is_current:
                self._buffer.put_back(current)
        self._current = self._buffer.take()
        if self._current is None:
            self._raise_failure()
        return self._current

    def _advance(self, fetched: Fetched, stop: int) -> None:
        """The rows before `stop` are read."""
        fetched.start = stop
        if not fetched.is_current:
            return
        self._stand_behind(fetched, stop)
        if stop >= len(fetched.batch) and self._current is fetched:
            self._current = None

    def _stand_behind(self, fetched: Fetched, stop: int) -> None:
        batch, state = fetched.batch, fetched.state
        if stop >= len(batch):
            state.position = batch.next_offset
            state.position_epoch = batch.last_leader_epoch
        elif stop > 0:
            last = batch[stop - 1]
            state.position = last.offset + 1
            state.position_epoch = last.leader_epoch
