"""Takes the frames that the data plane does not answer itself, and gives them their answers.

    control queue -> header -> pinned table -> codec -> handlers/<api>.py -> codec -> control queue

What cannot be answered closes its connection, with a line in the log that is rate limited: a key that is not offered, a
version that is not (but ApiVersions: a v0 body with error 35 and the range of key 18), bytes that do not parse. A fault
of a handler is logged and answered with UNKNOWN_SERVER_ERROR in every requested item.

Bytes after a request's end are passed over, as Kafka does: librdkafka 2.16 sends three too many when it asks for the
metadata of all topics.

A connection stays muted until its answer is given, so at most one request of a connection is here at a time.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pystream._native.wire import Reader, Writer
from pystream.broker.context import BrokerContext, Call
from pystream.broker.handlers.api_versions import unsupported_version_response
from pystream.broker.monitoring.metrics import RequestMetrics
from pystream.broker.registry import Handler, Registry
from pystream.common.clock import Clock
from pystream.common.error_codes import INVALID_TXN_STATE, UNKNOWN_SERVER_ERROR
from pystream.common.errors import KafkaError, PystreamError, message_of
from pystream.common.logging import get_logger
from pystream.common.metrics import Histogram
from pystream.common.tasks import Supervisor, contained, contained_now
from pystream.protocol.api_keys import ApiKey, request_header_version, response_header_version
from pystream.protocol.message import Message

if TYPE_CHECKING:
    from pystream._native.control_queue import ControlQueue

logger = get_logger(__name__)

FRAMES_AT_A_TIME = 64
TRANSACTION_QUESTION = -1  # the listener of what the data plane asks itself; see _native.control_queue
CONNECTION_ENDED = -2  # in place of a listener: a connection that somebody watches has ended
Vouch = Callable[[bytes], Awaitable[int]]  # (question) -> error code for partitions that get no permit
_KEY_AND_VERSION = struct.Struct(">hh")
KEY_AND_VERSION_SIZE = _KEY_AND_VERSION.size


class Route(NamedTuple):
    """How requests of one key and version are read and answered; made when the first one comes."""

    api_key: int
    api_version: int
    handler: Handler
    tagged_request: bool
    tagged_response: bool
    read: Callable[[Reader], Any]
    durations: Histogram


class Router:
    """Between the control queue and the handlers. Lives in the broker's asyncio loop."""

    def __init__(
        self,
        *,
        queue: ControlQueue,
        listener_names: list[str],
        context: BrokerContext,
        registry: Registry,
        supervisor: Supervisor,
        metrics: RequestMetrics,
        clock: Clock,
        vouch: Vouch | None = None,
    ) -> None:
        """`listener_names` in the order in which the plane was told to listen: frames carry an index into it.

        `vouch` answers the plane's questions about transactions; without it no transactional batch is let in.
        """
        self._queue = queue
        self._listener_names = listener_names
        self._context = context
        self._registry = registry
        self._supervisor = supervisor
        self._metrics = metrics
        self._clock = clock
        self._vouch = vouch
        self._spent_ns: dict[int, int] = {}  # on requests that are not yet answered, by handle; only under a quota
        self._routes: dict[bytes, Route] = {}  # by the first bytes of a frame: as many as there are versions

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take frames whenever the queue has some."""
        loop.add_reader(self._queue.fileno(), self._take_waiting)
        loop.add_reader(self._queue.patient_fileno(), self._take_waiting)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take no more frames. What is in progress goes on until the supervisor stops."""
        loop.remove_reader(self._queue.fileno())
        loop.remove_reader(self._queue.patient_fileno())

    def _take_waiting(self) -> None:
        for cold in self._queue.receive(FRAMES_AT_A_TIME):
            # One that fails in a way that nobody expected costs its own connection, not those behind it.
            contained_now("frame not taken", partial(self._take_one, *cold), partial(self._give_up, cold[0]))

    def _take_one(self, handle: int, listener: int, frame: bytes, peer: str) -> None:
        if listener == TRANSACTION_QUESTION:
            self._ask(handle, frame)
        elif listener == CONNECTION_ENDED:
            self._context.connection_ended(handle)
        else:
            self.take(handle, listener, frame, peer)

    def _give_up(self, handle: int, error: Exception) -> None:
        self._metrics.refused()
        self._queue.close_connection(handle)

    def _ask(self, handle: int, question: bytes) -> None:
        """A Produce waits until the coordinator has vouched for its transaction; it goes on in any case."""
        if self._vouch is None:
            self._queue.resume(handle, INVALID_TXN_STATE)
        else:
            self._supervisor.start("vouch for a transaction", self._resume(handle, self._vouch(question)))

    async def _resume(self, handle: int, verdict: Awaitable[int]) -> None:
        async def work() -> int:
            try:
                return await verdict
            except KafkaError as error:
                return error.code

        code = await contained("transaction not vouched for", work(), lambda error: UNKNOWN_SERVER_ERROR)
        self._queue.resume(handle, code)

    def take(self, handle: int, listener: int, frame: bytes, peer: str = "") -> None:
        """Answer one frame (without its length) of the client at `peer`, now or in a task, or close its connection."""
        route = self._routes.get(frame[:KEY_AND_VERSION_SIZE]) or self._new_route(handle, frame, peer)
        if route is None:
            return
        try:
            reader = Reader(frame)
            reader.int32()
            correlation_id = reader.int32()
            client_id = reader.nullable_string()
            if route.tagged_request:
                reader.skip_tagged_fields()
            request = route.read(reader)
        except PystreamError as error:
            name, version = route.handler.name, route.api_version
            self._refuse(handle, peer, "request does not parse", api=name, version=version, error=error)
            return
        call = Call(
            route.api_key,
            route.api_version,
            correlation_id,
            client_id,
            self._listener_names[listener],
            handle,
            peer,
            self._clock.monotonic_ms(),
        )
        self._answer(route, call, request)

    def _new_route(self, handle: int, frame: bytes, peer: str) -> Route | None:
        """The way of a key and version that are asked for the first time; None when the frame has been dealt with."""
        if len(frame) < KEY_AND_VERSION_SIZE:
            self._refuse(handle, peer, "frame shorter than a request header", size_bytes=len(frame))
            return None
        api_key, api_version = _KEY_AND_VERSION.unpack_from(frame)
        handler = self._registry.find(api_key, api_version)
        if handler is None:
            self._unknown(handle, peer, api_key, api_version, frame)
            return None
        route = self._routes[frame[:KEY_AND_VERSION_SIZE]] = Route(
            api_key=api_key,
            api_version=api_version,
            handler=handler,
            tagged_request=request_header_version(api_key, api_version) > 1,
            tagged_response=response_header_version(api_key, api_version) > 0,
            read=handler.request_class.READERS[api_version],
            durations=self._metrics.durations(handler.name),
        )
        return route

    def _answer(self, route: Route, call: Call, request: Any) -> None:
        """Call the handler; what it has to wait for goes on in a task."""
        handler = route.handler

        def work() -> Any:
            try:
                return handler.handle(self._context, call, request)
            except KafkaError as error:
                return handler.failed(request, error.code, str(error))

        began_ns = time.perf_counter_ns()
        response = contained_now("request failed", work, _fault_of(handler, request), api=handler.name)
        if self._context.client_quotas.bounds_requests:
            self._spent_ns[call.handle] = time.perf_counter_ns() - began_ns
        if isinstance(response, Message):
            self._send(route, call, response)
        elif isinstance(response, asyncio.Future):
            response.add_done_callback(lambda done: self._answer_done(route, call, request, done))
        else:
            self._supervisor.start(handler.name, self._answer_later(route, call, request, response))

    def _answer_done(self, route: Route, call: Call, request: Any, done: asyncio.Future[Any]) -> None:
        """What a handler has waited for without a task of its own."""
        handler = route.handler

        def work() -> Any:
            try:
                return done.result()
            except KafkaError as error:
                return handler.failed(request, error.code, str(error))

        if not done.cancelled():
            response = contained_now("request failed", work, _fault_of(handler, request), api=handler.name)
            self._send(route, call, response)

    async def _answer_later(self, route: Route, call: Call, request: Any, pending: Awaitable[Any]) -> None:
        handler = route.handler

        async def work() -> Any:
            try:
                return await pending
            except KafkaError as error:
                return handler.failed(request, error.code, str(error))

        response = await contained("request failed", work(), _fault_of(handler, request), api=handler.name)
        self._send(route, call, response)

    def _send(self, route: Route, call: Call, response: Any) -> None:
        throttle_ms = self._throttle_ms(call, response)

        def work() -> bytes | None:
            writer = Writer()
            writer.int32(call.correlation_id)
            if route.tagged_response:
                writer.no_tagged_fields()
            response.write(writer, route.api_version)
            return writer.getvalue()

        encoded = contained_now("response does not encode", work, lambda error: None, api=route.handler.name)
        route.durations.observe(self._clock.monotonic_ms() - call.started_ms)
        if encoded is None:
            self._queue.close_connection(call.handle)
        else:
            self._queue.answer(call.handle, encoded, throttle_ms)

    def _throttle_ms(self, call: Call, response: Any) -> int:
        """How long the client is asked to wait, and its connection is left alone: by the handler's own quota, or by
        that of request time.
        """
        throttle_ms: int = getattr(response, "throttle_time_ms", 0)
        spent_ns = self._spent_ns.pop(call.handle, 0) if self._spent_ns else 0
        if spent_ns:
            throttle_ms = max(throttle_ms, self._context.client_quotas.request_throttle_ms(call.client_id, spent_ns))
            if hasattr(response, "throttle_time_ms"):
                response.throttle_time_ms = throttle_ms
        return throttle_ms

    def _unknown(self, handle: int, peer: str, api_key: int, api_version: int, frame: bytes) -> None:
        if api_key == ApiKey.API_VERSIONS:
            answer = unsupported_version_response(frame)
            if answer is not None:
                self._queue.answer(handle, answer)
                return
        self._refuse(
            handle, peer, "request of a key or version that is not offered", api_key=api_key, version=api_version
        )

    def _refuse(self, handle: int, peer: str, event: str, **fields: object) -> None:
        logger.limited(event, peer=peer, **fields)
        self._metrics.refused()
        self._queue.close_connection(handle)


def _fault_of(handler: Handler, request: Any) -> Callable[[Exception], Any]:
    """The answer to a request whose handler has failed in a way that nobody expected."""
    return lambda error: handler.failed(request, UNKNOWN_SERVER_ERROR, message_of(error))
