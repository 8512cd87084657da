"""What every call goes through: its deadline, errors as status with details, limits, counts, the server's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from pystream.client.cluster.retry import time_limit
from pystream.client.grpc.status import TRAILER, brief_status_of
from pystream.common.clock import SleepingClock
from pystream.common.errors import (
    Busy,
    Closed,
    DeadlineExceeded,
    MalformedInput,
    PystreamError,
    UnknownServerError,
)
from pystream.common.metrics import Registry
from pystream.common.tasks import Supervisor, contained

MARGIN_SHARE: Final = 10  # a tenth of a deadline is left for the answer to come back,
LARGEST_MARGIN_MS: Final = 100  # but no more than this
GONE: Final = (grpc.aio.InternalError, asyncio.InvalidStateError)  # of a call that has ended already
CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

Unary = Callable[[Any], Awaitable[Any]]
Begun = Callable[[], Awaitable[None]]
Streaming = Callable[[Any, Begun], AsyncGenerator[Any]]


class Calls:
    """Runs the work of calls. Not thread-safe."""

    def __init__(
        self, registry: Registry, supervisor: Supervisor, clock: SleepingClock, *, timeout_ms: int, max_streams: int
    ) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._max_streams = max_streams
        self._pumps: set[asyncio.Task[None]] = set()
        self._stopping = False
        names = ("method",)
        self._ended = registry.counter("pystream_admin_calls_total", "Calls that ended.", labels=(*names, "code"))
        self._took = registry.histogram("pystream_admin_call_duration_ms", "How long unary calls took.", labels=names)
        self._open = registry.gauge("pystream_admin_streams", "Streams that are open.", labels=names)

    def unary(self, method: str, message: Any, work: Unary) -> Callable[[bytes, Any], Awaitable[Any]]:
        """The handler of a method with one answer; requests are of the class `message`."""

        async def handle(request: bytes, context: Any) -> Any:
            began_ms = self._clock.monotonic_ms()
            try:
                working = self._in_time(message, work, request, context)
                outcome = await contained("call failed", working, _hidden, method=method)
            except asyncio.CancelledError:
                self._ended.labels(method, "CANCELLED").add()
                raise
            self._took.labels(method).observe(self._clock.monotonic_ms() - began_ms)
            return await self._finish(method, context, outcome)

        return handle

    def stream(self, method: str, message: Any, work: Streaming) -> Callable[[bytes, Any], Awaitable[None]]:
        """The handler of a method whose answers go on."""

        async def handle(request: bytes, context: Any) -> None:
            if self._stopping or len(self._pumps) >= self._max_streams:
                await self._finish(method, context, self._refusal())
            outcome: list[PystreamError | None] = []
            pump = self._supervisor.start(method, self._pump(method, message, work, request, context, outcome))
            self._pumps.add(pump)
            self._open.labels(method).add(1)
            try:
                await asyncio.wait([pump])
                if pump.cancelled() and not self._stopping:
                    raise asyncio.CancelledError  # nobody is there to take the answers
            except asyncio.CancelledError:
                self._ended.labels(method, "CANCELLED").add()
                raise
            finally:
                pump.cancel()
                await asyncio.wait([pump])
                self._pumps.discard(pump)
                self._open.labels(method).add(-1)
            await self._finish(method, context, outcome[0] if outcome else Closed("the admin server is stopping"))

        return handle

    def end_streams(self) -> None:
        """The server stops: streams end with UNAVAILABLE, and no new ones begin."""
        self._stopping = True
        for pump in self._pumps:
            pump.cancel()

    async def _in_time(self, message: Any, work: Unary, request: bytes, context: Any) -> Any:
        """The answer, or the error. What is left of the caller's deadline is the operation's time."""
        left_ms, margin_ms = self._timeout_ms, LARGEST_MARGIN_MS
        remaining_s = context.time_remaining()
        if remaining_s is not None:
            remaining_ms = int(remaining_s * 1000)
            margin_ms = min(remaining_ms // MARGIN_SHARE, LARGEST_MARGIN_MS)
            left_ms = min(left_ms, remaining_ms - margin_ms)
        try:
            async with asyncio.timeout((left_ms + margin_ms / 2) / 1000):  # operations know better what was not done
                with time_limit(self._clock, left_ms):
                    return await work(parsed(message, request))
        except PystreamError as error:
            return error
        except TimeoutError:
            return DeadlineExceeded(f"not done within {left_ms} ms")

    async def _pump(
        self,
        method: str,
        message: Any,
        work: Streaming,
        request: bytes,
        context: Any,
        outcome: list[PystreamError | None],
    ) -> None:
        async def begun() -> None:
            await sent(context.send_initial_metadata(()))

        async def pumped() -> PystreamError | None:
            try:
                async with aclosing(work(parsed(message, request), begun)) as answers:
                    async for answer in answers:
                        await sent(context.write(answer))
            except PystreamError as error:
                return error
            return None

        outcome.append(await contained("stream failed", pumped(), _hidden, method=method))

    def _refusal(self) -> PystreamError:
        if self._stopping:
            return Closed("the admin server is stopping")
        return Busy(f"{len(self._pumps)} streams are open, as many as the server allows (max.streams)")

    async def _finish(self, method: str, context: Any, outcome: Any) -> Any:
        if not isinstance(outcome, PystreamError):
            self._ended.labels(method, "OK").add()
            return outcome
        await abort(context, outcome, lambda code: self._ended.labels(method, code).add())


def parsed(message: Any, request: bytes) -> Any:
    """Raises MalformedInput for bytes that are no message of this class."""
    try:
        return message.FromString(request)
    except DecodeError as error:
        raise MalformedInput(f"no {message.DESCRIPTOR.name}: {error}") from None


async def sent(sending: Awaitable[Any]) -> None:
    """Raises CancelledError where nobody is there to take it any more: gRPC may notice before it cancels the call."""
    try:
        await sending
    except GONE as error:
        raise asyncio.CancelledError from error


async def abort(context: Any, error: PystreamError, note: Callable[[str], object]) -> NoReturn:
    """End the call with the error's status; `note` is told its code."""
    status = brief_status_of(error)
    code = CODES[status.code]
    note(code.name)
    try:
        await context.abort(code, status.message, ((TRAILER, status.SerializeToString()),))
    except GONE as error:
        raise asyncio.CancelledError from error
    raise AssertionError("abort raises")


def _hidden(_: Exception) -> PystreamError:
    """A fault of ours keeps its details to itself: the log has them."""
    return UnknownServerError()
