"""What became of the records of one send_batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Self

from pystream._native.delivery import Deliveries, Delivery, Span
from pystream.common.errors import PystreamError


class BatchDelivery:
    """The fate of all records of one send_batch, which may have taken several calls of the accumulator.

    `len` is how many records it has; iterated it gives spans: records that have travelled together.
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[Deliveries | Delivery] = []

    def add(self, part: Deliveries | Delivery) -> None:
        """More records of the same call."""
        self._parts.append(part)

    def __len__(self) -> int:
        return sum(1 if isinstance(part, Delivery) else part.taken for part in self._parts)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans())

    def done(self) -> bool:
        """Whether all were delivered or have failed."""
        return all(part.done() for part in self._parts)

    def spans(self) -> list[Span]:
        """What is known now, without waiting: topic, partition, first offset, count and error of each span."""
        found: list[Span] = []
        for part in self._parts:
            if isinstance(part, Delivery):
                error = part.exception() if part.done() else None
                found.append(Span(part.topic, part.partition, part.offset, 1, error))
            else:
                found += part.spans()
        return found

    def result(self, timeout: float | None = None) -> list[Span]:
        """Where they went. Blocks; raises the first error, and TimeoutError after `timeout` seconds."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self.spans()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The first error; None when all were delivered. Blocks as result() does."""
        until = None if timeout is None else time.monotonic() + timeout
        errors = [part.exception(None if until is None else max(until - time.monotonic(), 0)) for part in self._parts]
        return next((error for error in errors if error is not None), None)

    def add_callback(self, callback: Callable[[Self], object]) -> None:
        """Call it with this delivery once all are done, from the thread that completes the last."""
        parts = len(self._parts)
        if parts == 0:
            callback(self)
            return
        done = count(1)  # counted by whichever thread completes a part; next() is one step

        def count_down(_: object) -> None:
            if next(done) == parts:
                callback(self)

        for part in self._parts:
            part.add_callback(count_down)

    def __await__(self) -> Generator[Any, None, list[Span]]:
        """Where they went; raises the first error, after all are done."""
        if not self.done():
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self.add_callback(lambda _: loop.call_soon_threadsafe(_set, future))
            yield from future
        return self.result(0)

    def __repr__(self) -> str:
        return f"BatchDelivery({len(self)} records, done={self.done()})"


@contextmanager
def noted(topic: object, delivery: BatchDelivery) -> Iterator[None]:
    """What is raised says how much of the call is in the buffer, and for what is no row what to do."""
    try:
        yield
    except TypeError as error:
        if not isinstance(topic, str):
            raise TypeError(f"a topic is a str, not {type(topic).__name__}") from None
        error.add_note("a producer with key_serializer or value_serializer takes rows of any kind, without them bytes")
        raise
    except PystreamError as error:
        error.add_note(f"{len(delivery)} rows before the one that was refused are in the buffer")
        raise


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
