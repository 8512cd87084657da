"""How a call is made: requests and answers are messages, errors are those of our tree."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import grpc
import grpc.aio

from pystream.client.grpc.status import error_of_call
from pystream.common.errors import Closed

T = TypeVar("T")
LONGEST_SECONDS: Final = 1e9  # those of thirty years
CHANNEL_ERRORS: Final = (ValueError, grpc.aio.UsageError)  # what a closed channel raises, and one for asyncio


class Calls:
    """The methods of a service on a channel, made when first called."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._made: dict[str, Any] = {}

    def _method(self, kind: str, path: str, answer: Any) -> Any:
        found = self._made.get(path)
        if found is None:
            found = self._made[path] = getattr(self._channel, kind)(
                path,
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=answer.FromString,
            )
        return found

    def _begin(self, kind: str, path: str, answer: Any, request: Any, timeout: float | None) -> Any:
        """The call, or its answer. Raises Closed, for which gRPC has no error of its own, TypeError and ValueError."""
        seconds = _seconds(timeout)
        try:
            return self._method(kind, path, answer)(request, timeout=seconds)
        except CHANNEL_ERRORS as error:
            if "closed" not in str(error):
                raise
            raise Closed(f"{path.rpartition('/')[2]}: this client is closed") from error


def _seconds(timeout: float | None) -> float | None:
    """As gRPC takes it, which ends calls at once that may go on for more than some decades."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, or None, not {timeout!r}")
    if math.isnan(timeout):
        raise ValueError("timeout is a number of seconds, or None, not nan")
    return None if timeout > LONGEST_SECONDS else timeout


class Service(Calls):
    """A service, called by threads that wait."""

    def _unary(self, path: str, request: Any, answer: type[T], timeout: float | None) -> T:
        try:
            found: T = self._begin("unary_unary", path, answer, request, timeout)
        except grpc.RpcError as error:
            raise error_of_call(error) from error
        return found

    def _stream(self, path: str, request: Any, answer: type[T], timeout: float | None) -> Stream[T]:
        return Stream(self._begin("unary_stream", path, answer, request, timeout))


class AioService(Calls):
    """A service, called on a loop."""

    async def _unary(self, path: str, request: Any, answer: type[T], timeout: float | None) -> T:
        try:
            found: T = await self._begin("unary_unary", path, answer, request, timeout)
        except grpc.RpcError as error:
            raise error_of_call(error) from error
        return found

    def _stream(self, path: str, request: Any, answer: type[T], timeout: float | None) -> AioStream[T]:
        return AioStream(self._begin("unary_stream", path, answer, request, timeout))


class Stream(Iterator[T], Generic[T]):
    """Answers as they come. Leaving its `with` block, or `cancel`, ends it on the server too."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def wait_until_begun(self) -> None:
        """Return once the server has begun: what happens from now on is seen. Raises what it failed with."""
        try:
            self._call.initial_metadata()
            if not self._call.is_active() and self._call.code() is not grpc.StatusCode.OK:
                raise error_of_call(self._call)
        except grpc.RpcError as error:
            raise error_of_call(error) from error

    def cancel(self) -> None:
        """Harmless when it has ended."""
        self._call.cancel()

    def __next__(self) -> T:
        try:
            found: T = next(self._call)
        except grpc.RpcError as error:
            raise error_of_call(error) from error
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()


class AioStream(AsyncIterator[T], Generic[T]):
    """`Stream` for asyncio."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._answers = aiter(call)

    async def wait_until_begun(self) -> None:
        """Return once the server has begun: what happens from now on is seen. Raises what it failed with."""
        await self._call.initial_metadata()
        if self._call.done() and await self._call.code() is not grpc.StatusCode.OK:
            raise error_of_call(
                grpc.aio.AioRpcError(
                    await self._call.code(),
                    await self._call.initial_metadata(),
                    await self._call.trailing_metadata(),
                    await self._call.details(),
                )
            )

    def cancel(self) -> None:
        """Harmless when it has ended."""
        self._call.cancel()

    async def __anext__(self) -> T:
        try:
            found: T = await anext(self._answers)
        except grpc.RpcError as error:
            raise error_of_call(error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._call.cancelled() and task is not None and not task.cancelling():
                raise Closed("the stream was cancelled") from None  # the stream, and not who reads it
            raise
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
