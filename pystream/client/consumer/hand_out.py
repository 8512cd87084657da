"""Hands out what was fetched: some messages, a chunk to iterate over, or a batch of columns. No waiting, no I/O.

A chunk's messages count as read one by one, without a step of ours for each: how far its iterator has come is asked
only when somebody wants to know the position. A seek empties the chunk, and the loop over it ends there.

`decode`, where there is one, makes what is handed out of the messages: of all, or of those in front of one that it
cannot decode. Where that is the first it raises, and nothing of it counts as read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import length_hint
from typing import Any, TypeAlias

from pystream._native.message_batch import Message
from pystream.client.consumer.fetch_buffer import FetchBuffer, Fetched
from pystream.client.consumer.record_batch import RecordBatch

Decode: TypeAlias = Callable[[Sequence[Message]], list[Any]]


class _Chunk:
    """Messages that are being iterated over."""

    __slots__ = ("fetched", "iterator", "messages", "size", "start")

    def __init__(self, fetched: Fetched, start: int, messages: list[Any]) -> None:
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

    def __init__(
        self,
        buffer: FetchBuffer,
        raise_failure: Callable[[], None],
        consumed: Callable[[str, int, int], object] | None = None,
    ) -> None:
        """`consumed(topic, records, bytes)` is told of what was handed out."""
        self._buffer = buffer
        self._raise_failure = raise_failure
        self._consumed = consumed
        self._current: Fetched | None = None
        self._chunk: _Chunk | None = None
        self.decode: Decode | None = None

    def messages(self, most: int) -> list[Any]:
        """Up to `most` messages of one partition, read with this; none when nothing is here. Raises what failed."""
        self.settle()
        while (fetched := self._next()) is not None:
            batch = fetched.batch
            start = fetched.start
            stop = min(start + most, len(batch))
            messages: list[Any] = batch.messages(start, stop)
            if self.decode is not None and messages:
                messages = self.decode(messages)
                stop = start + len(messages)
            self._advance(fetched, stop)
            if messages:
                return messages
        return []

    def chunk(self, most: int) -> Iterator[Any] | None:
        """Up to `most` messages of one partition, read as they are iterated over; None when nothing is here."""
        self.settle()
        while (fetched := self._next()) is not None:
            batch = fetched.batch
            start = fetched.start
            stop = min(start + most, len(batch))
            if stop == start:
                self._advance(fetched, stop)
                continue
            messages: list[Any] = batch.messages(start, stop)
            if self.decode is not None:
                messages = self.decode(messages)
            self._chunk = _Chunk(fetched, start, messages)
            return self._chunk.iterator
        return None

    def batch(self, most: int | None) -> RecordBatch | None:
        """What is left of one fetched batch, or `most` rows of it, as columns; None when nothing is here."""
        self.settle()
        while (fetched := self._next()) is not None:
            start = fetched.start
            stop = len(fetched.batch) if most is None else min(start + most, len(fetched.batch))
            decoded = None
            if self.decode is not None and stop > start:
                decoded = self.decode(fetched.batch.messages(start, stop))
                stop = start + len(decoded)
            self._advance(fetched, stop)
            if stop > start:
                return RecordBatch(fetched.batch, start, stop, decoded)
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
        rows = stop - fetched.start
        if rows > 0 and self._consumed is not None:
            self._consumed(fetched.state.topic, rows, fetched.size_bytes * rows // len(fetched.batch))
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
        if not fetched.is_current:  # it moved meanwhile, in the loop's thread: that counts
            state.position, state.position_epoch = state.fetch_offset, state.fetch_epoch
