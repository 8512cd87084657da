"""The connections of one client: one for each broker and lane, opened when needed, with back-off after failures.

A broker that cannot be reached is told in the log, a warning when that begins and then one in WARNING_INTERVAL_MS.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Final

import pystream
from pystream.client.cluster.metadata import Node
from pystream.client.cluster.retry import JITTER, LARGEST_EXPONENT, Backoff
from pystream.client.config import ClientConfig
from pystream.common.clock import SleepingClock
from pystream.common.errors import Closed, ConnectFailed, Disconnected, PystreamError
from pystream.common.logging import Listener, get_logger, listen
from pystream.net.connection import Connection, ConnectionSettings

logger = get_logger(__name__)

MAIN_LANE = ""  # of requests that are answered at once
WARNING_INTERVAL_MS: Final = 30_000  # between two lines that say that one address cannot be reached
TOTALS = (
    "connection-creation-total",
    "connection-close-total",
    "connection-failure-total",
    "request-total",
    "response-total",
    "outgoing-byte-total",
    "incoming-byte-total",
)


@dataclass(slots=True)
class _Lane:
    """One broker, one purpose."""

    node: Node
    connection: Connection | None = None
    opening: asyncio.Task[Connection] | None = None
    failures: int = 0
    retry_at_ms: int = 0


@dataclass(slots=True)
class _Unreached:
    """An address that connections cannot be opened to."""

    warn_at_ms: int
    failures: int = 1


class Connections:
    """Owns connections and the tasks that open them. Used from one loop."""

    def __init__(self, config: ClientConfig, clock: SleepingClock) -> None:
        self.listener: Listener | None = None  # gets what the client's tasks log, of those begun from now on
        self.on_throttle: Callable[[Node, int], object] | None = None  # is told the throttle_time_ms of every answer
        self._config = config
        self._clock = clock
        self._backoff = Backoff(config.reconnect_backoff_ms, config.reconnect_backoff_max_ms)
        self._lanes: dict[tuple[int, str], _Lane] = {}
        self._unreached: dict[tuple[str, int], _Unreached] = {}
        self._closed = False
        self._made: set[Connection] = set()  # the open ones, and those that were not added to the totals yet
        self._totals: dict[str, int] = dict.fromkeys(TOTALS, 0)

    def metrics(self) -> dict[str, int]:
        """Counts since the beginning, and the connections open now, under the names of Kafka's own metrics."""
        self._settle()
        counts = dict(self._totals)
        for connection in self._made:
            _add(counts, connection)
        counts["connection-count"] = len(self._made)
        return counts

    async def get(self, node: Node, lane: str = MAIN_LANE) -> Connection:
        """An open connection to `node`; everybody who asks while it is being opened gets the same one.

        After failures it first sits out the back-off, then tries once. Raises ConnectFailed and the errors of
        `Connection.open`; Closed after `close`.
        """
        if self._closed:
            raise Closed("the client is closed; make a new one")
        entry = self._lanes.get((node.node_id, lane))
        if entry is None or entry.node[1:3] != node[1:3]:
            if entry is not None:
                self._drop(entry)
            entry = self._lanes[node.node_id, lane] = _Lane(node)
        if entry.connection is not None and entry.connection.is_open:
            return entry.connection
        if entry.opening is None:
            entry.opening = asyncio.get_running_loop().create_task(
                self._open(entry), name=f"connect to {node.node_id}", context=self.context_of_tasks(copy_context())
            )
            entry.opening.add_done_callback(_look_at)
        opening = entry.opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not opening.cancelled() or (task is not None and task.cancelling()):
                raise
        if self._closed:
            raise Closed("the client is closed; make a new one")
        raise ConnectFailed(f"{node.host}:{node.port}: broker {node.node_id} has left the cluster, or has moved")

    def context_of_tasks(self, context: Context) -> Context:
        """`context`, with what is logged there going to the listener."""
        if self.listener is not None:
            context.run(listen, self.listener)
        return context

    def existing(self, node_id: int, lane: str = MAIN_LANE) -> Connection | None:
        """The connection to a broker, where one is open."""
        entry = self._lanes.get((node_id, lane))
        if entry is None or entry.connection is None or not entry.connection.is_open:
            return None
        return entry.connection

    @property
    def has_some(self) -> bool:
        """Whether any connection is open."""
        return any(entry.connection is not None and entry.connection.is_open for entry in self._lanes.values())

    def wait_ms(self, node_id: int, lane: str = MAIN_LANE) -> int:
        """How long `get` would sit out the back-off; 0 for a broker that nothing is held against."""
        entry = self._lanes.get((node_id, lane))
        return 0 if entry is None else max(entry.retry_at_ms - self._clock.monotonic_ms(), 0)

    def forget_absent(self, node_ids: set[int]) -> None:
        """Close what leads to brokers that are no longer part of the cluster. Bootstrap servers stay."""
        for place, entry in list(self._lanes.items()):
            if place[0] >= 0 and place[0] not in node_ids and not _in_use(entry):
                self._drop(self._lanes.pop(place))
        known = {entry.node[1:3] for entry in self._lanes.values()}
        self._unreached = {address: told for address, told in self._unreached.items() if address in known}

    async def close(self) -> None:
        """Close all of them; nobody gets another one. Harmless when closed."""
        self._closed = True
        lanes, self._lanes = list(self._lanes.values()), {}
        opening = [entry.opening for entry in lanes if entry.opening is not None]
        for task in opening:
            task.cancel()
        if opening:
            await asyncio.wait(opening)
        open_ones = [entry.connection for entry in lanes if entry.connection is not None]
        if open_ones:
            await asyncio.gather(*(connection.close() for connection in open_ones))

    def _drop(self, entry: _Lane) -> None:
        """Close at once; whoever waits for an answer may ask again elsewhere."""
        if entry.opening is not None:
            entry.opening.cancel()
        if entry.connection is not None:
            left = f"{entry.connection.name}: closed, broker {entry.node.node_id} has left the cluster, or has moved"
            entry.connection.abort(Disconnected(left))

    async def _open(self, entry: _Lane) -> Connection:
        try:
            await self._clock.sleep_ms(entry.retry_at_ms - self._clock.monotonic_ms()) if entry.failures else None
            try:
                connection = await Connection.open(entry.node.host, entry.node.port, self._settings(entry.failures))
            except PystreamError as error:
                entry.failures += 1
                self._totals["connection-failure-total"] += 1
                entry.retry_at_ms = self._clock.monotonic_ms() + self._backoff.delay_ms(entry.failures)
                self._warn(entry.node, error)
                raise
            if self._unreached.pop(entry.node[1:3], None) is not None:
                logger.info("broker reached again", broker=entry.node.node_id, address=connection.name)
            if self.on_throttle is not None:
                connection.on_throttle = partial(self.on_throttle, entry.node)
            entry.failures = 0
            entry.retry_at_ms = self._clock.monotonic_ms() + self._backoff.delay_ms(1)
            entry.connection = connection
            self._settle()
            self._made.add(connection)
            self._totals["connection-creation-total"] += 1
            return connection
        finally:
            entry.opening = None

    def _warn(self, node: Node, error: PystreamError) -> None:
        now_ms = self._clock.monotonic_ms()
        told = self._unreached.get(node[1:3])
        if told is None:
            self._unreached[node[1:3]] = _Unreached(now_ms + WARNING_INTERVAL_MS)
            logger.warning("broker cannot be reached", broker=node.node_id, error=error)
            return
        told.failures += 1
        if now_ms >= told.warn_at_ms:
            told.warn_at_ms = now_ms + WARNING_INTERVAL_MS
            logger.warning("broker cannot be reached", broker=node.node_id, failures=told.failures, error=error)

    def _settle(self) -> None:
        """Add what closed connections did to the totals, and let go of them."""
        for connection in [each for each in self._made if not each.is_open]:
            self._made.discard(connection)
            self._totals["connection-close-total"] += 1
            _add(self._totals, connection)

    def _settings(self, failures: int) -> ConnectionSettings:
        config = self._config
        longest = max(config.socket_connection_setup_timeout_max_ms, config.socket_connection_setup_timeout_ms)
        setup = min(config.socket_connection_setup_timeout_ms << min(failures, LARGEST_EXPONENT), longest)
        return ConnectionSettings(
            client_id=config.client_id,
            software_version=pystream.__version__,
            setup_timeout_ms=round(setup * random.uniform(1 - JITTER, 1 + JITTER)) if failures else setup,
            request_timeout_ms=config.request_timeout_ms,
            idle_timeout_ms=config.connections_max_idle_ms,
            send_buffer_bytes=config.send_buffer_bytes,
            receive_buffer_bytes=config.receive_buffer_bytes,
            largest_frame_bytes=config.receive_message_max_bytes,
        )


def _add(counts: dict[str, int], connection: Connection) -> None:
    counts["request-total"] += connection.sent_requests
    counts["response-total"] += connection.received_responses
    counts["outgoing-byte-total"] += connection.sent_bytes
    counts["incoming-byte-total"] += connection.received_bytes


def _in_use(entry: _Lane) -> bool:
    return entry.connection is not None and entry.connection.in_flight > 0


def _look_at(task: asyncio.Task[Connection]) -> None:
    """Whoever waited has the error; when all of them gave up nobody must be told that it was not looked at."""
    if not task.cancelled():
        task.exception()
