"""kafka.future: what asynchronous calls give."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable
from typing import Any, Self

from pystream.compat.kafka_python.errors import KafkaTimeoutError, RetriableError


class Future:
    """A result to come. Callbacks are called by the thread that brings it, those added later at once; what they raise
    goes to the log of concurrent.futures.
    """

    def __init__(self) -> None:
        self._outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

    @property
    def is_done(self) -> bool:
        return self._outcome.done()

    @property
    def value(self) -> Any:
        """The result; None before it is there, and after a failure."""
        return self._outcome.result() if self.succeeded() else None

    @property
    def exception(self) -> BaseException | None:
        """What it failed with; None before that."""
        return self._outcome.exception() if self.is_done else None

    def succeeded(self) -> bool:
        return self.is_done and self.exception is None

    def failed(self) -> bool:
        return self.is_done and self.exception is not None

    def retriable(self) -> bool:
        return isinstance(self.exception, RetriableError)

    def success(self, value: Any) -> Self:
        self._outcome.set_result(value)
        return self

    def failure(self, error: BaseException | type[BaseException]) -> Self:
        self._outcome.set_exception(error() if isinstance(error, type) else error)
        return self

    def add_callback(self, f: Callable[..., object], *args: Any, **kwargs: Any) -> Self:
        """Call f(*args, result, **kwargs) after success."""
        call = functools.partial(f, *args, **kwargs)
        self._outcome.add_done_callback(lambda done: call(done.result()) if done.exception() is None else None)
        return self

    def add_errback(self, f: Callable[..., object], *args: Any, **kwargs: Any) -> Self:
        """Call f(*args, error, **kwargs) after failure."""
        call = functools.partial(f, *args, **kwargs)
        self._outcome.add_done_callback(lambda done: call(done.exception()) if done.exception() is not None else None)
        return self

    def add_both(self, f: Callable[..., object], *args: Any, **kwargs: Any) -> Self:
        return self.add_callback(f, *args, **kwargs).add_errback(f, *args, **kwargs)

    def chain(self, future: Future) -> Self:
        return self.add_callback(future.success).add_errback(future.failure)

    def get(self, timeout: float | None = None) -> Any:
        """The result. Raises what it failed with, and KafkaTimeoutError after `timeout` seconds."""
        concurrent.futures.wait([self._outcome], timeout)
        if not self.is_done:
            raise KafkaTimeoutError(f"Timeout after waiting for {timeout} secs.")
        return self._outcome.result()
