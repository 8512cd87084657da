"""What every operation stands on: one way to ask once, one way to ask for many items."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pystream.client.admin.results import Results, raise_for
from pystream.client.admin.routes import ANYWHERE, Route, ToController, ToNodes
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.cluster.retry import Deadline, allowed_ms
from pystream.client.config import AdminConfig
from pystream.client.dropped import watch
from pystream.client.given import listed
from pystream.client.metrics.client import ClientMetrics
from pystream.client.metrics.reporter import TelemetryReporter
from pystream.common.errors import Closed, DeadlineExceeded, PystreamError, UnknownServerError, UnsupportedVersion
from pystream.net.connection import LARGEST_VERSION, Connection
from pystream.protocol.message import Message

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Asked:
    """One broker, asked within a deadline."""

    __slots__ = ("_request_timeout_ms", "connection", "deadline", "node_id")

    def __init__(self, node_id: int, connection: Connection, deadline: Deadline, request_timeout_ms: int) -> None:
        self.node_id = node_id  # ANYWHERE where it does not matter who answers
        self.connection = connection
        self.deadline = deadline
        self._request_timeout_ms = request_timeout_ms

    @property
    def timeout_ms(self) -> int:
        """For a request that carries how long the broker may take."""
        return self.deadline.at_most(self._request_timeout_ms)

    async def ask(self, request: Message, *, lowest: int = 0, highest: int = LARGEST_VERSION) -> Any:
        """Its response, in the highest version that both sides have."""
        version = self.connection.version_of(request.API_KEY, lowest, highest)
        return await self.connection.request(request, version, timeout_ms=max(self.timeout_ms, 1))


Asking = Callable[[Asked, list[K]], Awaitable[Mapping[K, V | PystreamError]]]


class AdminEngine:
    """What an admin client stands on, and leaves behind when it is dropped."""

    def __init__(self, config: AdminConfig) -> None:
        self.cluster = Cluster(config)
        self.metrics = ClientMetrics("admin-client", self.cluster)
        self.reporter = TelemetryReporter(self.cluster, self.metrics, dict) if config.enable_metrics_push else None
        self.is_dropped = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where it runs; None before its first use."""
        return self.cluster.loop

    def unfinished(self) -> str:
        """Nothing that a user must know."""
        return ""

    async def abandon(self) -> None:
        """Close the connections. Harmless when closed."""
        if self.reporter is not None:
            await self.reporter.close()
        await self.cluster.close()


class AdminBase:
    """The cluster, and the two ways of asking it."""

    def __init__(self, config: AdminConfig) -> None:
        self.config = config
        self.engine = AdminEngine(config)
        self.cluster = self.engine.cluster
        self.watched = watch(self, self.engine)
        self._client_instance_id: bytes | None = None
        self._reporter = self.engine.reporter

    async def close(self) -> None:
        """Close the connections. Harmless when closed; operations under way get Closed."""
        self.watched.detach()
        await self.engine.abandon()

    async def metrics(self) -> dict[str, int]:
        """Counts of this client's connections, requests and bytes, under the names of Kafka's own metrics."""
        return self.cluster.connections.metrics()

    async def _once(
        self,
        what: str,
        request: Callable[[int], Message] | Message,
        *,
        route: Route[Any] | None = None,
        target: int = ANYWHERE,
        lowest: int = 0,
        highest: int = LARGEST_VERSION,
        timeout_ms: int | None = None,
    ) -> Any:
        """The response to a request that is about no items; retriable errors of the whole are tried again.

        `request` may be made from the milliseconds that the broker may take. Raises the response's own error.
        """
        way = route or Route(self.cluster)

        async def work(deadline: Deadline) -> Any:
            asked = Asked(target, await way.connection(target), deadline, self.config.request_timeout_ms)
            message = request if isinstance(request, Message) else request(asked.timeout_ms)
            response = await asked.ask(message, lowest=lowest, highest=highest)
            raise_for(getattr(response, "error_code", 0), getattr(response, "error_message", None), what)
            return response

        async def after_error(error: Exception) -> None:
            if isinstance(error, PystreamError):
                way.failed(target, error)

        return await self.cluster.retrying(what, work, timeout_ms=timeout_ms, after_error=after_error)

    async def _each(
        self,
        what: str,
        items: Iterable[K],
        route: Route[K],
        ask: Asking[K, V],
        *,
        timeout_ms: int | None = None,
    ) -> Results[K, V]:
        """For each item what `ask` gives for it. Items go out together, one request for each target of `route`.

        Items with retriable errors go out again, until the deadline (default.api.timeout.ms).
        """
        self.cluster.check_usable()
        limit_ms = self.config.default_api_timeout_ms if timeout_ms is None else timeout_ms
        deadline = Deadline(self.cluster.clock, allowed_ms(self.cluster.clock, limit_ms), what)
        wanted = list(dict.fromkeys(listed(items)))
        pending = wanted
        outcomes: dict[K, V | PystreamError] = {}
        failures = 0
        while pending:
            told = await self._round(pending, route, ask, deadline)
            for item in pending:
                outcomes[item] = told[item] if item in told else _too_late(deadline, outcomes.get(item))
            again: list[K] = []
            for item in pending:
                error = outcomes[item]
                if isinstance(error, PystreamError):
                    route.failed(item, error)
                    if failures < self.config.retries and route.worth_retrying(error, failures):
                        again.append(item)
            failures += 1
            delay = self.cluster.backoff.delay_ms(failures)
            if again and deadline.left_ms <= delay:
                outcomes.update({item: _too_late(deadline, outcomes[item]) for item in again})
                break
            pending = again
            if pending:
                await self.cluster.clock.sleep_ms(delay)
        return Results({item: outcomes[item] for item in wanted})

    async def _round(
        self, items: list[K], route: Route[K], ask: Asking[K, V], deadline: Deadline
    ) -> dict[K, V | PystreamError]:
        """Ask for all items once. What is not told when the time is over is left out."""
        told: dict[K, V | PystreamError] = {}
        of_no_item: list[PystreamError] = []

        async def one(target: int, group: list[K]) -> None:
            try:
                asked = Asked(target, await route.connection(target), deadline, self.config.request_timeout_ms)
                found = await ask(asked, group)
                told.update({item: found[item] if item in found else _left_out(asked, item) for item in group})
            except (Closed, UnsupportedVersion) as error:  # of the client, or of what the broker can do
                of_no_item.append(error)
            except PystreamError as error:
                told.update(dict.fromkeys(group, error))

        with deadline.under_way(), suppress(TimeoutError):
            async with asyncio.timeout(deadline.left_ms / 1000):
                try:
                    groups, errors = await route.groups(items)
                except (Closed, UnsupportedVersion):
                    raise
                except PystreamError as error:
                    return dict.fromkeys(items, error)
                told.update(errors)
                await asyncio.gather(*(one(target, group) for target, group in groups.items()))
        for fault in of_no_item:
            raise fault
        return told

    async def _fresh(self, _: Deadline) -> ClusterMetadata:
        """Who the brokers are now."""
        return await self.cluster.refresh()

    async def _everywhere(self, what: str, ask: Asking[int, V], *, timeout_ms: int | None = None) -> dict[int, V]:
        """What each broker of the cluster gives. Raises the first error."""
        nodes = (await self.cluster.retrying(what, self._fresh, timeout_ms=timeout_ms)).nodes
        route = ToNodes[int](self.cluster, lambda node_id: node_id)
        return (await self._each(what, nodes, route, ask, timeout_ms=timeout_ms)).checked()

    def _controller(self) -> ToController[Any]:
        return ToController(self.cluster)


def _too_late(deadline: Deadline, last: object) -> DeadlineExceeded:
    """An item's error when the time is over, with the one that it had before."""
    return deadline.exceeded(last if isinstance(last, PystreamError) else None)


def _left_out(asked: Asked, item: object) -> UnknownServerError:
    return UnknownServerError(f"{asked.connection.name} left {item} out of its answer")
