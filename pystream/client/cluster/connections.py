"""The connections of one client: one for each broker and lane, opened when needed, with back-off after failures."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pystream
from pystream.client.cluster.metadata import Node
from pystream.client.cluster.retry import JITTER, LARGEST_EXPONENT, Backoff
from pystream.client.config import ClientConfig
from pystream.common.clock import SleepingClock
from pystream.common.errors import Closed, PystreamError
from pystream.net.connection import Connection, ConnectionSettings

MAIN_LANE = ""  # of requests that are answered at once
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


class Connections:
    """Owns connections and the tasks that open them. Used from one loop."""

    def __init__(self, config: ClientConfig, clock: SleepingClock) -> None:
        self._config = config
        self._clock = clock
        self._backoff = Backoff(config.reconnect_backoff_ms, config.reconnect_backoff_max_ms)
        self._lanes: dict[tuple[int, str], _Lane] = {}
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
            entry.opening = asyncio.get_running_loop().create_task(self._open(entry), name=f"connect to {node.node_id}")
            entry.opening.add_done_callback(_look_at)
        return await asyncio.shield(entry.opening)

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

    def abandon(self) -> None:
        """Drop all of them at once, from a loop that will not run any more."""
        self._closed = True
        for entry in self._lanes.values():
            self._drop(entry)
        self._lanes.clear()

    def _drop(self, entry: _Lane) -> None:
        if entry.opening is not None:
            entry.opening.cancel()
        if entry.connection is not None:
            entry.connection.abort()

    async def _open(self, entry: _Lane) -> Connection:
        try:
            await self._clock.sleep_ms(entry.retry_at_ms - self._clock.monotonic_ms()) if entry.failures else None
            try:
                connection = await Connection.open(entry.node.host, entry.node.port, self._settings(entry.failures))
            except PystreamError:
                entry.failures += 1
                self._totals["connection-failure-total"] += 1
                entry.retry_at_ms = self._clock.monotonic_ms() + self._backoff.delay_ms(entry.failures)
                raise
            entry.failures = 0
            entry.retry_at_ms = self._clock.monotonic_ms() + self._backoff.delay_ms(1)
            entry.connection = connection
            self._settle()
            self._made.add(connection)
            self._totals["connection-creation-total"] += 1
            return connection
        finally:
            entry.opening = None

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
