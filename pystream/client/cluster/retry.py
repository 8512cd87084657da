"""When to try again, and until when."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Final, TypeVar

from pystream.common.clock import Clock, SleepingClock
from pystream.common.errors import Busy, DeadlineExceeded, KafkaError, NoBrokersAvailable

T = TypeVar("T")
JITTER: Final = 0.2
LARGEST_EXPONENT: Final = 32


_ends_at_ms: ContextVar[int | None] = ContextVar("ends_at_ms", default=None)  # of the caller's `time_limit`
_around: ContextVar[Deadline | None] = ContextVar("around", default=None)  # of the operation under way


@contextmanager
def time_limit(clock: Clock, timeout_ms: int) -> Iterator[None]:
    """What is asked within takes no longer, all operations together: each gets what is left, or less if it says so."""
    token = _ends_at_ms.set(clock.monotonic_ms() + timeout_ms)
    try:
        yield
    finally:
        _ends_at_ms.reset(token)


def allowed_ms(clock: Clock, timeout_ms: int) -> int:
    """`timeout_ms`, or what is left of the caller's `time_limit` where that is less."""
    ends_at_ms = _ends_at_ms.get()
    return timeout_ms if ends_at_ms is None else max(min(timeout_ms, ends_at_ms - clock.monotonic_ms()), 0)


def without_time_limit() -> Context:
    """The caller's context without its `time_limit`: for tasks that serve others, too."""
    context = copy_context()
    context.run(_ends_at_ms.set, None)
    context.run(_around.set, None)
    return context


def is_retriable(error: BaseException) -> bool:
    """Whether the same request may succeed when it is sent again, perhaps to another broker."""
    if isinstance(error, KafkaError):
        return error.retriable
    return isinstance(error, NoBrokersAvailable | Busy)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `initial_ms` to `maximum_ms`, each a fifth longer or shorter by chance."""

    initial_ms: int
    maximum_ms: int

    def delay_ms(self, failures: int) -> int:
        """The wait after so many failures in a row, the first being 1."""
        exponent = min(max(failures - 1, 0), LARGEST_EXPONENT)
        delay: int = min(self.initial_ms << exponent, max(self.maximum_ms, self.initial_ms))
        return round(delay * random.uniform(1 - JITTER, 1 + JITTER))


class Deadline:
    """The end of an operation with all its retries."""

    __slots__ = ("_around", "_clock", "_ends_at_ms", "last_error", "timeout_ms", "what")

    def __init__(self, clock: Clock, timeout_ms: int, what: str) -> None:
        self.timeout_ms = timeout_ms
        self.what = what
        self.last_error: Exception | None = None  # what kept the operation from succeeding so far
        self._clock = clock
        self._ends_at_ms = clock.monotonic_ms() + timeout_ms
        self._around = _around.get()

    def note(self, error: Exception) -> None:
        """What keeps this operation from succeeding, and those that it is a part of."""
        deadline: Deadline | None = self
        while deadline is not None:
            deadline.last_error = error
            deadline = deadline._around

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Operations that begin within are parts of this one."""
        token = _around.set(self)
        try:
            yield
        finally:
            _around.reset(token)

    @property
    def left_ms(self) -> int:
        """Milliseconds left, 0 when it is over."""
        return max(self._ends_at_ms - self._clock.monotonic_ms(), 0)

    def at_most(self, timeout_ms: int) -> int:
        """`timeout_ms`, or what is left where that is less."""
        return min(timeout_ms, self.left_ms)

    def exceeded(self, last_error: Exception | None = None) -> DeadlineExceeded:
        """The error to raise once nothing is left; it tells the last error."""
        return DeadlineExceeded(f"{self.what}: not done within {self.timeout_ms} ms", last_error or self.last_error)


async def retrying(
    work: Callable[[], Awaitable[T]],
    *,
    deadline: Deadline,
    backoff: Backoff,
    clock: SleepingClock,
    retries: int | None = None,
    after_error: Callable[[Exception], Awaitable[None]] | None = None,
) -> T:
    """What `work` gives, called again after errors that are retriable until the deadline or `retries` are used up.

    `after_error` may first mend what the error shows to be stale; where that fails for now, `work` is tried all the
    same. Raises DeadlineExceeded with the last error, and errors that are not retriable as they are.
    """
    failures = 0
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_retriable(error) or (retries is not None and failures >= retries):
                raise
            failures += 1
            deadline.note(error)
            delay = backoff.delay_ms(failures)
            if deadline.left_ms <= delay:
                raise deadline.exceeded() from error
            if after_error is not None:
                await _mend(after_error, error, deadline)
        await clock.sleep_ms(delay)


async def _mend(after_error: Callable[[Exception], Awaitable[None]], error: Exception, deadline: Deadline) -> None:
    try:
        await after_error(error)
    except Exception as failure:
        if not is_retriable(failure):
            raise
        deadline.note(failure)
