"""The client's side of one connection to a broker: requests go out in order and pipelined, answers come back in order.

    connection = await Connection.open("127.0.0.1", 9092, ConnectionSettings(client_id="orders"))
    response = await connection.request(MetadataRequest(topics=None))            # the highest version both sides have
    frame = await connection.request_raw(ApiKey.FETCH, 17, body)                 # a view of the answer's body
    await connection.close()

    frame    size int32 | header | body          a size below the smallest header or above the bound ends the connection

Receiving. Bytes land in a small buffer of the connection; small frames are copied out of it, many to a receive. A frame
that is not whole yet gets a buffer of its own, and the rest of it is received straight into that, in large pieces: the
system is told to wake us only when much of it is there (SO_RCVLOWAT), as a broker's sendfile comes 64 KiB at a time.
`records` of decoded messages and raw answers are views into the frame's own buffer: they stay valid as long as anybody
holds them; after that the memory is used again.

Failing. Bytes that do not fit (a correlation id that was not next, a size out of bounds, an answer that does not parse)
and a request that is not answered in time close the connection, because what follows cannot be told apart or waits
behind it. Whoever waits then gets a typed error. One timer per connection watches all deadlines and idleness.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from pystream.common.error_codes import NONE, UNSUPPORTED_VERSION
from pystream.common.errors import (
    Busy,
    Closed,
    ConnectFailed,
    Disconnected,
    KafkaError,
    LimitExceeded,
    MalformedInput,
    PystreamError,
    RequestTimedOut,
    UnsupportedVersion,
    error_class,
)
from pystream.protocol.api_keys import ApiKey, name_of, response_header_version
from pystream.protocol.frames import Block, decode_response, request_frame, response_body
from pystream.protocol.headers import RequestHeader
from pystream.protocol.message import Message
from pystream.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from pystream.protocol.messages.index import INDEX

if TYPE_CHECKING:
    from typing_extensions import Buffer

SYSTEM_BUFFER: Final = -1  # a socket buffer of the size that the operating system chooses and adapts
RECEIVE_BYTES: Final = 1 << 16
AWAITED_BYTES: Final = 1 << 19  # of a large frame, before we are woken
CLOSE_SECONDS: Final = 1.0  # for a peer that takes what is still buffered; then it is dropped
SMALLEST_FRAME_BYTES: Final = 4  # a correlation id
LARGEST_VERSION: Final = 32_767
SOFTWARE_NAME: Final = "pystream"
JOINED_BYTES: Final = 1 << 17  # of one write: asyncio joins what it is given, larger parts go by themselves

Then: TypeAlias = "Callable[[memoryview | None, Exception | None], object]"
_INT32: Final = struct.Struct(">i")
STRANGERS: Final = {  # how the answers of others begin, which would be sizes of frames
    b"HTTP": "is an HTTP server, not a Kafka broker: is it the port of the metrics?",
    b"\x15\x03": "speaks TLS: set security.protocol to SSL or SASL_SSL",
}
_FRONT: Final = struct.Struct(">ihhi")  # size, API key, version, correlation id


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """How a connection behaves. Times in milliseconds."""

    client_id: str | None = None
    software_version: str = "unknown"
    setup_timeout_ms: int = 10_000  # until connected and agreed on versions
    request_timeout_ms: int = 30_000
    idle_timeout_ms: int = 540_000  # closed after so long without a request; 0 or less: never
    send_buffer_bytes: int = SYSTEM_BUFFER
    receive_buffer_bytes: int = SYSTEM_BUFFER
    largest_frame_bytes: int = 100_000_000
    most_in_flight: int = 1_000


@dataclass(slots=True)
class _Waiting:
    """A request without its answer: a future that gets it, or somebody who is called."""

    correlation_id: int
    deadline: float  # on the loop's clock
    future: asyncio.Future[Any] | None
    then: Then | None
    api_key: int
    version: int
    raw: bool

    @property
    def is_given_up(self) -> bool:
        return self.future is not None and self.future.done()

    def fail(self, error: Exception, loop: asyncio.AbstractEventLoop) -> None:
        if self.then is not None:
            loop.call_soon(self.then, None, error)
        elif self.future is not None and not self.future.done():
            self.future.set_exception(error)


class Connection(asyncio.BufferedProtocol):
    """One connection. Made by `open`; belongs to the loop that it was opened on, and is not thread-safe."""

    def __init__(self, name: str, settings: ConnectionSettings, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.settings = settings
        self.versions: Mapping[int, tuple[int, int]] = {}  # API key -> what the broker takes, lowest and highest
        self.features: ApiVersionsResponse | None = None  # the broker's whole answer
        self.failure: Exception | None = None  # why it is closed
        self.on_throttle: Callable[[int], object] | None = None  # is told the throttle_time_ms of every answer
        self.sent_requests = 0
        self.sent_bytes = 0
        self.received_responses = 0
        self.received_bytes = 0
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Waiting] = deque()
        self._correlation_id = 0
        self._timer: asyncio.TimerHandle | None = None
        self._last_used = loop.time()
        self._throttled_until = self._last_used
        self._lost: asyncio.Future[None] = loop.create_future()
        self._writable: asyncio.Future[None] | None = None
        self._tails: dict[tuple[int, int], tuple[bytes, int]] = {}  # of headers, and where the answers' bodies begin
        self._held_back: list[bytes | memoryview] | None = None
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        self._held = 0  # bytes at the front of the scratch buffer: less than a size
        self._awaited = 1  # bytes, before we are woken
        self._set_awaited: Callable[[int, int, int], None] | None = None  # the socket's setsockopt, where that works
        self._frame: Block | None = None
        self._frame_view = memoryview(b"")
        self._filled = 0

    # --- opening and closing ------------------------------------------------------------------------------------------

    @classmethod
    async def open(cls, host: str, port: int, settings: ConnectionSettings | None = None) -> Connection:
        """A connection that has agreed on versions with its broker.

        Raises ConnectFailed when nobody listens or it takes longer than `setup_timeout_ms`; what the exchange of
        versions ran into (MalformedInput, UnsupportedVersion, Disconnected) as it is. Cancelled, it leaves nothing.
        """
        settings = settings or ConnectionSettings()
        loop = asyncio.get_running_loop()
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        connection = cls(name, settings, loop)
        limit = asyncio.timeout(settings.setup_timeout_ms / 1000)
        try:
            async with limit:
                await loop.create_connection(lambda: connection, host, port)
                await connection._agree_on_versions()
        except OSError as error:
            connection.abort()
            if limit.expired():
                raise ConnectFailed(
                    f"{name}: not connected, or no answer, within {settings.setup_timeout_ms} ms "
                    "(socket.connection.setup.timeout.ms)"
                ) from None
            raise ConnectFailed(f"{name}: {error.strerror or error}; is a broker listening there?") from error
        except (ValueError, OverflowError) as error:  # no name or port that there can be: brokers tell of one another
            connection.abort()
            raise ConnectFailed(f"{name!r} is no address: {error}") from error
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        """Whether requests may be sent."""
        return self.failure is None

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    async def close(self) -> None:
        """Send what is still buffered, close, and return when the socket is closed. Harmless when closed.

        Whoever waits for an answer gets Closed.
        """
        if self.failure is None and self._transport is not None:
            self._transport.close()
        self._fail(Closed(f"{self.name}: the connection was closed by this client"), abort=False)
        if self._transport is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self._lost)
        except TimeoutError:
            self._transport.abort()
            await asyncio.shield(self._lost)

    def abort(self, error: Exception | None = None) -> None:
        """Close at once, without waiting; whoever waits for an answer gets `error`, Closed when there is none."""
        self._fail(error or Closed(f"{self.name}: the connection was closed by this client"))

    # --- requests -----------------------------------------------------------------------------------------------------

    def version_of(self, api_key: int, lowest: int = 0, highest: int = LARGEST_VERSION) -> int:
        """The highest version of a key that both sides have, from `lowest` to `highest`.

        Raises UnsupportedVersion, which says what each side has.
        """
        entry = INDEX[api_key]
        found = self.versions.get(api_key)
        if found is None:
            raise UnsupportedVersion(
                f"{self.name} does not have {name_of(api_key)}: the broker is too old, or refuses it"
            )
        version = min(found[1], entry.requests[1], highest)
        if version < max(found[0], entry.requests[0], lowest):
            needed = f"{max(entry.requests[0], lowest)} to {min(entry.requests[1], highest)}"
            raise UnsupportedVersion(
                f"{self.name} has {name_of(api_key)} {found[0]} to {found[1]}, this client needs {needed}"
            )
        return version

    def supports(self, api_key: int, version: int = 0) -> bool:
        """Whether the broker takes `version` of a key, or a later one."""
        found = self.versions.get(api_key)
        return found is not None and found[1] >= version

    def request(
        self, request: Message, version: int | None = None, *, timeout_ms: int | None = None
    ) -> asyncio.Future[Any]:
        """Send at once; the future gives the decoded response, or raises.

        Disconnected: the connection broke. RequestTimedOut: no answer in `timeout_ms`. MalformedInput, LimitExceeded:
        the broker's bytes. Closed, Busy, UnsupportedVersion are raised here and now, before anything is sent. A future
        that is cancelled gives up its answer, not the connection.
        """
        if version is None:
            version = self.version_of(request.API_KEY)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._ask(request.API_KEY, version, timeout_ms, request, (), future)
        return future

    def request_raw(
        self, api_key: int, version: int, body: Iterable[Buffer], *, timeout_ms: int | None = None
    ) -> asyncio.Future[memoryview]:
        """As `request`, with a body that is encoded already, in parts; gives the response's body, not decoded."""
        future: asyncio.Future[memoryview] = self._loop.create_future()
        self._ask(api_key, version, timeout_ms, None, body, future, raw=True)
        return future

    def ask_raw(self, api_key: int, version: int, body: Iterable[Buffer], then: Then) -> None:
        """As `request_raw`, without a future and a turn of the loop for each answer.

        `then(body, None)` is called as soon as the answer is here, `then(None, error)` in a turn after it has failed.
        What it raises ends the connection.
        """
        self._ask(api_key, version, None, None, body, None, raw=True, then=then)

    def hold_back(self) -> None:
        """What is sent from now on goes out together, with `let_go`: one write for several requests."""
        if self._held_back is None:
            self._held_back = []

    def let_go(self) -> None:
        """Send what was held back. Harmless when nothing was."""
        parts, self._held_back = self._held_back, None
        if parts and self.failure is None:
            self._put(parts)

    def request_parts(
        self, api_key: int, version: int, body: Iterable[Buffer], *, timeout_ms: int | None = None
    ) -> asyncio.Future[Any]:
        """As `request`, with a body that is encoded already, in parts, which are not copied here: Produce."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._ask(api_key, version, timeout_ms, None, body, future)
        return future

    def send(self, api_key: int, version: int, body: Iterable[Buffer]) -> None:
        """A request that has no answer: Produce with acks=0."""
        self._check(0)
        self._correlation_id = self._correlation_id + 1 & 0x7FFFFFFF
        self._last_used = self._loop.time()
        self._write(api_key, version, None, body)

    def throttle(self, duration_ms: int) -> None:
        """The broker said that it will not read on for so long: nothing that is in flight, or sent until then, is late.

        Decoded responses call this themselves; whoever takes raw ones does it with their throttle_time_ms.
        """
        if self.on_throttle is not None:
            self.on_throttle(duration_ms)
        if duration_ms <= 0:
            return
        self._throttled_until = self._loop.time() + duration_ms / 1000
        for waiting in self._waiting:
            waiting.deadline += duration_ms / 1000

    async def drained(self) -> None:
        """Return once the transport's buffer has room again; at once when it has. Raises when the connection closes."""
        while self._writable is not None and self.failure is None:
            await asyncio.shield(self._writable)
        self._check(0)

    def _ask(
        self,
        api_key: int,
        version: int,
        timeout_ms: int | None,
        request: Message | None,
        body: Iterable[Buffer],
        future: asyncio.Future[Any] | None,
        *,
        raw: bool = False,
        then: Then | None = None,
    ) -> None:
        self._check(self.settings.most_in_flight)
        correlation_id = self._correlation_id = self._correlation_id + 1 & 0x7FFFFFFF
        self._write(api_key, version, request, body)
        allowed_ms = self.settings.request_timeout_ms if timeout_ms is None else timeout_ms
        self._last_used = self._loop.time()
        deadline = max(self._last_used, self._throttled_until) + allowed_ms / 1000
        self._waiting.append(_Waiting(correlation_id, deadline, future, then, api_key, version, raw))
        if self._timer is None or deadline < self._timer.when():
            self._watch(deadline)

    def _check(self, most_in_flight: int) -> None:
        if self.failure is not None:
            raise _copy_of(self.failure, "used after that")
        if self._transport is None:
            raise Closed(f"{self.name} is not open yet")
        if 0 < most_in_flight <= len(self._waiting):
            raise Busy(f"{self.name}: {len(self._waiting)} requests await their answer; await some of them first")

    def _write(self, api_key: int, version: int, request: Message | None, body: Iterable[Buffer]) -> None:
        tail, _ = self._tails.get((api_key, version)) or self._learn_header(api_key, version)
        parts: list[bytes | memoryview] = [b""]
        size = _FRONT.size - _INT32.size + len(tail)
        for part in body if request is None else (request.encode(version),):
            found = part if isinstance(part, bytes) else memoryview(part).cast("B")
            size += len(found)
            parts.append(found)
        parts[0] = _FRONT.pack(size, api_key, version, self._correlation_id) + tail
        if self._held_back is not None:
            self._held_back += parts
        else:
            self._put(parts)
        self.sent_requests += 1
        self.sent_bytes += size + _INT32.size

    def _put(self, parts: list[bytes | memoryview]) -> None:
        assert self._transport is not None
        joined: list[bytes | memoryview] = []
        for part in parts:
            if len(part) <= JOINED_BYTES:
                joined.append(part)
                continue
            self._transport.writelines(joined)
            self._transport.write(part)
            joined = []
        if joined:
            self._transport.writelines(joined)

    def _learn_header(self, api_key: int, version: int) -> tuple[bytes, int]:
        """What follows the correlation id in the header of a request, and how long the header of its answer is."""
        header = RequestHeader(
            api_key=api_key, api_version=version, correlation_id=0, client_id=self.settings.client_id
        )
        tail = request_frame(header, None)[_FRONT.size - _INT32.size :]
        learnt = tail, 5 if response_header_version(api_key, version) > 0 else 4
        self._tails[api_key, version] = learnt
        return learnt

    # --- the transport's calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's
        if self.failure is not None:
            self._transport.abort()
            return
        made = transport.get_extra_info("socket")
        for option, size in (
            (socket.SO_SNDBUF, self.settings.send_buffer_bytes),
            (socket.SO_RCVBUF, self.settings.receive_buffer_bytes),
        ):
            if size != SYSTEM_BUFFER:
                made.setsockopt(socket.SOL_SOCKET, option, size)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if transport.get_extra_info("ssl_object") is None:  # with TLS bytes wait elsewhere too
            self._set_awaited = made.setsockopt

    def connection_lost(self, error: Exception | None) -> None:
        reason = "the broker closed the connection" if error is None else f"the connection broke: {error}"
        self._fail(Disconnected(f"{self.name}: {reason}"))
        if not self._lost.done():
            self._lost.set_result(None)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self._release_writers()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._frame is not None:
            return self._frame_view[self._filled :]
        return self._scratch[self._held :]

    def buffer_updated(self, count: int) -> None:
        if self.failure is not None:
            return
        try:
            if self._frame is None:
                self._cut(self._held + count)
                return
            self._filled += count
            missing = len(self._frame) - self._filled
            if missing < self._awaited:
                self._await(missing)
            if missing == 0:
                frame, self._frame, self._frame_view = self._frame, None, memoryview(b"")
                self._answer(frame)
        except PystreamError as error:
            self._fail(error)

    def _cut(self, end: int) -> None:
        """Answer every whole frame of the scratch buffer; the beginning of one that is not whole moves out of it."""
        start = 0
        scratch = self._scratch
        while end - start >= 4:
            size = self._frame_size(start)
            body = start + 4
            if end - body < size:
                self._frame = Block(size)
                self._frame_view = memoryview(self._frame)
                self._filled = end - body
                self._frame_view[: self._filled] = scratch[body:end]
                self._await(size - self._filled)
                start = end
                break
            self._answer(bytes(scratch[body : body + size]))
            if self.failure is not None:
                return
            start = body + size
        self._held = end - start
        if start and self._held:
            scratch[: self._held] = bytes(scratch[start:end])

    def _await(self, missing: int) -> None:
        """Have us woken when so many bytes are there; or fewer, where they are many, or the buffer is full."""
        wanted = min(missing, AWAITED_BYTES) if missing >= RECEIVE_BYTES else 1
        if wanted != self._awaited and self._set_awaited is not None:
            self._awaited = wanted
            self._set_awaited(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)

    def _frame_size(self, start: int) -> int:
        size: int = _INT32.unpack_from(self._scratch, start)[0]
        if size < SMALLEST_FRAME_BYTES:
            raise MalformedInput(f"{self.name}: a frame of {size} bytes; is it a Kafka broker without TLS?")
        if size > self.settings.largest_frame_bytes:
            for beginning, what in STRANGERS.items():
                if bytes(self._scratch[start : start + _INT32.size]).startswith(beginning):
                    raise MalformedInput(f"{self.name} {what}")
            raise LimitExceeded(
                f"{self.name}: a frame of {size} bytes, receive.message.max.bytes is "
                f"{self.settings.largest_frame_bytes}; raise it, or is it a Kafka broker without TLS?"
            )
        return size

    def _answer(self, frame: bytes | Block) -> None:
        """Hand a frame to whoever waits for it."""
        self.received_responses += 1
        self.received_bytes += len(frame) + _INT32.size
        correlation_id: int = _INT32.unpack_from(frame)[0]
        if not self._waiting:
            raise MalformedInput(f"{self.name}: an answer ({correlation_id}) to nothing that was asked")
        waiting = self._waiting[0]
        if waiting.correlation_id != correlation_id:
            raise MalformedInput(
                f"{self.name}: the answer has correlation id {correlation_id}, expected {waiting.correlation_id}"
            )
        self._last_used = self._loop.time()
        if waiting.is_given_up:
            self._waiting.popleft()
            return
        try:
            answer = self._read(frame, waiting)
        except MalformedInput as error:
            raise MalformedInput(
                f"{self.name}: the answer to {name_of(waiting.api_key)} {waiting.version} does not parse: {error}"
            ) from error
        self._waiting.popleft()
        if not waiting.raw:
            self.throttle(getattr(answer, "throttle_time_ms", 0))
        if waiting.future is not None:
            waiting.future.set_result(answer)
        elif waiting.then is not None:
            waiting.then(answer, None)

    def _read(self, frame: bytes | Block, waiting: _Waiting) -> Any:
        if not waiting.raw:
            return decode_response(frame, waiting.api_key, waiting.version)
        _, begin = self._tails[waiting.api_key, waiting.version]
        view = memoryview(frame)
        if begin == 4 or (len(view) > 4 and view[4] == 0):  # without tagged fields in the header
            return view[begin:]
        return response_body(frame, waiting.api_key, waiting.version)

    # --- time and failure ---------------------------------------------------------------------------------------------

    def _watch(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        self._timer = None
        now = self._loop.time()
        late = [waiting for waiting in self._waiting if waiting.deadline <= now and not waiting.is_given_up]
        if late:
            names = ", ".join(sorted({name_of(waiting.api_key) for waiting in late}))
            for waiting in late:
                told = f"{self.name}: no answer to {name_of(waiting.api_key)} in time (request.timeout.ms)"
                waiting.fail(RequestTimedOut(told), self._loop)
                waiting.then = None
            self._fail(Disconnected(f"{self.name}: closed because {names} was not answered in time"))
            return
        live = [waiting.deadline for waiting in self._waiting if waiting.deadline > now]
        idle_at = self._last_used + self.settings.idle_timeout_ms / 1000
        if live:
            self._watch(min(live))
        elif self._waiting:  # only cancelled ones, their time over: nobody waits, and the broker is silent
            self._fail(Disconnected(f"{self.name}: closed because a request was not answered in time"))
        elif self.settings.idle_timeout_ms > 0:
            if idle_at <= now:
                self._fail(Disconnected(f"{self.name}: closed after {self.settings.idle_timeout_ms} ms without use"))
            else:
                self._watch(idle_at)

    def _fail(self, error: Exception, *, abort: bool = True) -> None:
        """Close and tell everybody who waits. The first reason counts."""
        if self.failure is not None:
            return
        self.failure = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._frame, self._frame_view = None, memoryview(b"")
        if self._transport is not None and abort:
            self._transport.abort()
        self._release_writers()
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            request.fail(_copy_of(error, f"awaiting {name_of(request.api_key)}"), self._loop)

    def _release_writers(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    async def _agree_on_versions(self) -> None:
        """Ask with our highest version; a broker that does not have it says in version 0 which it has."""
        version = INDEX[ApiKey.API_VERSIONS].requests[1]
        response: ApiVersionsResponse = await self.request(self._api_versions(), version)
        if response.error_code == UNSUPPORTED_VERSION:
            offered = {key.api_key: key.max_version for key in response.api_keys}.get(ApiKey.API_VERSIONS, 0)
            response = await self.request(self._api_versions(), min(max(offered, 0), version))
        if response.error_code != NONE:
            raise error_class(response.error_code)(f"{self.name}: ApiVersions was refused")
        self.features = response
        self.versions = {key.api_key: (key.min_version, key.max_version) for key in response.api_keys}

    def _api_versions(self) -> ApiVersionsRequest:
        return ApiVersionsRequest(
            client_software_name=SOFTWARE_NAME, client_software_version=self.settings.software_version
        )


def _copy_of(error: Exception, circumstance: str) -> Exception:
    """A new error for each who is told: one that several tasks raise would gather all their tracebacks."""
    if isinstance(error, KafkaError | Closed | MalformedInput | LimitExceeded):
        return type(error)(f"{error} ({circumstance})")
    return error
