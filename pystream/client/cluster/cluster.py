"""What one client knows of a cluster: brokers, topics, leaders, coordinators; and how to reach them.

    cluster = Cluster(config)
    topic = await cluster.topic("orders")                       # asks, and waits while a leader is being elected
    leader = cluster.leader_of("orders", 3)                     # what is known, without asking
    connection = await cluster.connection_to(leader.node_id)
    ...                                                         # NOT_LEADER_OR_FOLLOWER: cluster.refresh_soon()
    await cluster.close()

Metadata covers the topics that are tracked. It is renewed after metadata.max.age.ms, when asked for, and when somebody
finds it stale; however many ask at once, one request goes out, and who asks while it is under way gets the next one.
A client belongs to the loop it is first used on, and to the process that made it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar

from pystream.client.cluster.canonical import canonical
from pystream.client.cluster.connections import MAIN_LANE, Connections
from pystream.client.cluster.coordinators import COORDINATOR_LANE, CoordinatorKind, Coordinators
from pystream.client.cluster.metadata import ClusterMetadata, Leader, Node, TopicInfo
from pystream.client.cluster.retry import Backoff, Deadline, allowed_ms, retrying, without_time_limit
from pystream.client.config import CANONICAL_NAMES, ClientConfig, addresses
from pystream.common.clock import SleepingClock, SystemClock
from pystream.common.error_codes import NONE, REBOOTSTRAP_REQUIRED, TABLE
from pystream.common.errors import (
    BrokerNotAvailable,
    ClientError,
    ClientForked,
    Closed,
    DeadlineExceeded,
    LeaderNotAvailable,
    NetworkFailure,
    NoBrokersAvailable,
    PystreamError,
    UnknownTopicOrPartition,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import NO_BROKER, ZERO_UUID
from pystream.net.connection import Connection
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.message import Message
from pystream.protocol.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse

logger = get_logger(__name__)

T = TypeVar("T")
FIRST_BOOTSTRAP_ID: Final = -2  # and down: bootstrap servers before they are known by their ids
CLOSING_TIMEOUT_MS: Final = 30_000  # as in Kafka's clients
ALONE_TIMEOUT_MS: Final = 500
AUTO_CREATE_SINCE: Final = 4  # versions of Metadata before it always create topics


class Cluster:
    """Brokers, topics and coordinators as one client sees them. Not thread-safe."""

    def __init__(
        self, config: ClientConfig, *, clock: SleepingClock | None = None, auto_create_topics: bool = False
    ) -> None:
        self.config = config
        self.clock: SleepingClock = clock or SystemClock()
        self.metadata = ClusterMetadata()
        self.backoff = Backoff(config.retry_backoff_ms, config.retry_backoff_max_ms)
        self.connections = Connections(config, self.clock)
        self.coordinators = Coordinators(self)
        self.on_fault: Callable[[PystreamError], object] | None = None  # is told when a task of ours dies of a bug
        self._auto_create_topics = auto_create_topics
        self._bootstrap = _bootstrap_nodes(addresses(config.bootstrap_servers))
        self._is_resolved = config.client_dns_lookup != CANONICAL_NAMES
        self._tracked: set[str] = set()
        self._warned_of: set[str] = set()  # topics that the log has been told of
        self._all_topics = False
        self._subscribers: list[Callable[[ClusterMetadata], None]] = []
        self._running: asyncio.Task[ClusterMetadata] | None = None
        self._queued: asyncio.Task[ClusterMetadata] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._aging: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process_id = os.getpid()
        self._closed = False
        self._updated_at_ms = self.clock.monotonic_ms()

    def closing_timeout_s(self, timeout_ms: int | None = None) -> float:
        """How long saying goodbye may take: not for long where no broker is connected any more."""
        allowed_ms = CLOSING_TIMEOUT_MS if timeout_ms is None else max(timeout_ms, 0)
        return (allowed_ms if self.connections.has_some else min(allowed_ms, ALONE_TIMEOUT_MS)) / 1000

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where it runs; None before its first use."""
        return self._loop

    @property
    def is_forked(self) -> bool:
        """Whether this is the child of a process that was forked after the client was made."""
        return os.getpid() != self._process_id

    # --- brokers ------------------------------------------------------------------------------------------------------

    async def connection_to(self, node_id: int, lane: str = MAIN_LANE) -> Connection:
        """An open connection to a broker; see `Connections.get`. Raises BrokerNotAvailable for an unknown one."""
        self.check_usable()
        found = self.connections.existing(node_id, lane)
        if found is not None:
            return found
        node = self.metadata.nodes.get(node_id)
        if node is None:
            await self.refresh()
            node = self.metadata.nodes.get(node_id)
        if node is None:
            raise BrokerNotAvailable(f"broker {node_id} is not among {sorted(self.metadata.nodes)} of the cluster")
        return await self.connections.get(node, lane)

    async def any_broker(self) -> Connection:
        """A connection to some broker: an open one with little in flight, else the first that can be reached.

        Raises NoBrokersAvailable, which says what each of them failed with.
        """
        self.check_usable()
        nodes = list(self.metadata.nodes.values())
        random.shuffle(nodes)
        live = [found for node in (*nodes, *self._bootstrap) if (found := self.connections.existing(node.node_id))]
        if live:
            return min(live, key=lambda connection: connection.in_flight)
        nodes.sort(key=lambda node: self.connections.wait_ms(node.node_id))
        if not nodes or self.config.metadata_recovery_strategy == "rebootstrap":
            nodes += await self._bootstrap_servers()
        failures = []
        for node in nodes:
            try:
                return await self.connections.get(node)
            except PystreamError as error:
                if isinstance(error, Closed):
                    raise
                failures.append(str(error))
        raise NoBrokersAvailable(f"no broker could be reached: {'; '.join(failures)}")

    async def _bootstrap_servers(self) -> list[Node]:
        if not self._is_resolved:
            timeout_s = self.config.socket_connection_setup_timeout_ms / 1000
            servers = addresses(self.config.bootstrap_servers)
            found = await canonical(servers, asyncio.get_running_loop(), timeout_s=timeout_s)
            if found is not None and not self._is_resolved:
                self._bootstrap, self._is_resolved = _bootstrap_nodes(found), True
        return self._bootstrap

    async def controller(self) -> Connection:
        """A connection to the controller, or in KRaft to a broker that hands requests on to it."""
        if self.metadata.controller_id == NO_BROKER:
            await self.refresh()
        if self.metadata.controller_id == NO_BROKER:
            return await self.any_broker()
        return await self.connection_to(self.metadata.controller_id)

    async def coordinator(self, kind: CoordinatorKind, key: str, lane: str = COORDINATOR_LANE) -> Connection:
        """A connection to the coordinator of a group or transactional id, on a lane of its own.

        NOT_COORDINATOR and connections that break call for `coordinators.forget(kind, key)`.
        """
        node = await self.coordinators.find(kind, key)
        try:
            return await self.connections.get(node, lane)
        except NetworkFailure:
            self.coordinators.forget(kind, key)
            raise

    async def ask(
        self,
        request: Message,
        *,
        node_id: int | None = None,
        lane: str = MAIN_LANE,
        lowest_version: int = 0,
        timeout_ms: int | None = None,
    ) -> Any:
        """The response of broker `node_id`, or of any: one request, once, in the highest version both sides have."""
        connection = await (self.any_broker() if node_id is None else self.connection_to(node_id, lane))
        version = connection.version_of(request.API_KEY, lowest_version)
        return await connection.request(request, version, timeout_ms=timeout_ms)

    async def retrying(
        self,
        what: str,
        work: Callable[[Deadline], Coroutine[Any, Any, T]],
        *,
        timeout_ms: int | None = None,
        after_error: Callable[[Exception], Coroutine[Any, Any, None]] | None = None,
    ) -> T:
        """What `work` gives, tried again after retriable errors for `timeout_ms` (default.api.timeout.ms)."""
        self.check_usable()
        wanted = self.config.default_api_timeout_ms if timeout_ms is None else timeout_ms
        allowed = allowed_ms(self.clock, wanted)
        deadline = Deadline(self.clock, allowed, what)
        try:
            with deadline.under_way():
                async with asyncio.timeout(allowed / 1000):
                    return await retrying(
                        lambda: work(deadline),
                        deadline=deadline,
                        backoff=self.backoff,
                        clock=self.clock,
                        after_error=after_error,
                    )
        except TimeoutError:
            raise deadline.exceeded() from deadline.last_error

    # --- topics -------------------------------------------------------------------------------------------------------

    def track(self, topics: Iterable[str]) -> None:
        """Keep metadata of these topics from the next refresh on."""
        self._tracked.update(topics)

    def untrack(self, topics: Iterable[str]) -> None:
        """Forget these topics at the next refresh."""
        self._tracked.difference_update(topics)

    def track_only(self, topics: Iterable[str]) -> None:
        """Forget all topics but these at the next refresh."""
        self._tracked.intersection_update(topics)

    def track_all(self, wanted: bool = True) -> None:
        """Keep metadata of all topics there are: what a pattern is matched with."""
        self._all_topics = wanted

    def subscribe(self, subscriber: Callable[[ClusterMetadata], None]) -> None:
        """`subscriber(metadata)` is called after each change of the picture."""
        self._subscribers.append(subscriber)

    def leader_of(self, topic: str, partition: int) -> Leader | None:
        """Who leads, as far as is known; None calls for `refresh`."""
        return self.metadata.leader_of(topic, partition)

    async def topic(self, name: str, *, timeout_ms: int | None = None) -> TopicInfo:
        """A topic, tracked from now on. Asks when it is not known, and again while it is being created.

        Raises UnknownTopicOrPartition when the time (default.api.timeout.ms) is over, other errors at once.
        """
        known = self.metadata.topics.get(name)
        if known is not None:
            return known
        self.track((name,))
        try:
            return await self.retrying(f"metadata of topic {name!r}", lambda _: self._told(name), timeout_ms=timeout_ms)
        except DeadlineExceeded as error:
            if not isinstance(error.last_error, UnknownTopicOrPartition):
                raise
            raise UnknownTopicOrPartition(
                f"topic {name!r} does not exist and nobody created it in time; create it first, or check its name"
            ) from error

    async def _told(self, name: str) -> TopicInfo:
        metadata = await self.refresh()
        found = metadata.topics.get(name)
        if found is not None:
            return found
        code = metadata.failed.get(name, NONE)
        if code == NONE:
            raise LeaderNotAvailable(f"nothing known of topic {name!r} yet")
        raise error_class(code)(f"topic {name!r}: {TABLE[code].message}")

    def note_leader(self, topic: str, partition: int, leader: Leader, node: Node | None = None) -> None:
        """Believe a newer leader that Produce or Fetch told of (KIP-951); an older one is ignored."""
        changed = self.metadata.with_leader(topic, partition, leader, node)
        if changed is not self.metadata:
            self._publish(changed)

    @property
    def metadata_age_ms(self) -> int:
        """How long ago the picture was renewed."""
        return self.clock.monotonic_ms() - self._updated_at_ms

    def note_brokers(self, response: MetadataResponse) -> None:
        """Believe what an answer to somebody's own Metadata request tells of brokers and controller."""
        self._publish(self.metadata.with_brokers(response))

    # --- renewal ------------------------------------------------------------------------------------------------------

    async def refresh(self) -> ClusterMetadata:
        """Ask for metadata now; give the picture that came after the call. Raises what the request failed with."""
        self.check_usable()
        if self._queued is None:
            self._queued = self.spawn("refresh metadata", self._refresh_in_turn())
        return await asyncio.shield(self._queued)

    def refresh_soon(self) -> None:
        """Somebody found the picture stale: renew it in the background. Failures are retried there."""
        if self._queued is None and not self._closed:
            self._queued = self.spawn("refresh metadata", self._refresh_in_turn(patient=True))

    async def _refresh_in_turn(self, patient: bool = False) -> ClusterMetadata:
        me = asyncio.current_task()
        try:
            if self._running is not None:
                await asyncio.wait([self._running])
            if patient:
                since = self.clock.monotonic_ms() - self._updated_at_ms
                await self.clock.sleep_ms(self.backoff.delay_ms(1) - since)
            self._running, self._queued = me, None
            return await self._fetch_metadata()
        except PystreamError as error:
            logger.debug("metadata not refreshed", error=error)
            self._begin_anew_after_too_long()
            self._age_after(self.backoff.delay_ms(1))
            raise
        finally:
            if self._queued is me:
                self._queued = None
            if self._running is me:
                self._running = None

    def _begin_anew_after_too_long(self) -> None:
        """Forget brokers that have told nothing for so long; bootstrap.servers are asked next. Source: KIP-1102."""
        silent_ms = self.clock.monotonic_ms() - self._updated_at_ms
        rebootstrap = self.config.metadata_recovery_strategy == "rebootstrap"
        if rebootstrap and silent_ms > self.config.metadata_recovery_rebootstrap_trigger_ms:
            self.metadata = replace(self.metadata, nodes={}, controller_id=NO_BROKER)

    async def _fetch_metadata(self) -> ClusterMetadata:
        connection = await self.any_broker()
        whole = self._all_topics
        tracked = set(self._tracked)
        version = connection.version_of(ApiKey.METADATA, 0 if self._auto_create_topics else AUTO_CREATE_SINCE)
        topics = None if whole else [MetadataRequestTopic(topic_id=ZERO_UUID, name=name) for name in sorted(tracked)]
        response: MetadataResponse = await connection.request(
            MetadataRequest(topics=topics, allow_auto_topic_creation=self._auto_create_topics), version
        )
        if response.error_code == REBOOTSTRAP_REQUIRED:
            self.metadata = ClusterMetadata()
            raise error_class(response.error_code)(f"{connection.name} asks to begin anew at bootstrap.servers")
        if not response.brokers:
            raise LeaderNotAvailable(f"{connection.name} knows of no brokers yet")
        kept = None if whole else self._tracked
        metadata = self.metadata.merged(response, whole=whole, kept=kept)
        self._warn_of_topics(metadata)
        self._publish(metadata)
        return self.metadata

    def _warn_of_topics(self, metadata: ClusterMetadata) -> None:
        """A topic that is not there twice in a row is told, once: a consumer may wait for it for ever."""
        before = self.metadata.failed
        for name, code in metadata.failed.items():
            if before.get(name) == code and name not in self._warned_of:
                self._warned_of.add(name)
                logger.limited("topic cannot be used", topic=name, error=TABLE[code].name)
        self._warned_of.intersection_update(metadata.failed)

    def _publish(self, metadata: ClusterMetadata) -> None:
        self.metadata = metadata
        self._updated_at_ms = self.clock.monotonic_ms()
        self.connections.forget_absent(set(metadata.nodes))
        self._age_after(self.config.metadata_max_age_ms)
        for subscriber in list(self._subscribers):
            subscriber(metadata)

    def _age_after(self, delay_ms: int) -> None:
        """Have the picture renewed in so long."""
        if self._aging is not None:
            self._aging.cancel()
        if self._loop is not None and not self._closed:
            self._aging = self._loop.call_later(max(delay_ms, self.config.retry_backoff_ms) / 1000, self.refresh_soon)

    # --- life ---------------------------------------------------------------------------------------------------------

    def check_usable(self) -> None:
        """Raises Closed, ClientForked, and ClientError on another loop than the first."""
        if self._closed:
            raise Closed("the client is closed; make a new one")
        if self.is_forked:
            raise ClientForked("this client was made before the process was forked; make a new one in the child")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ClientError("this client belongs to another event loop; make one for each loop")

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as a task that `close` cancels and waits for. Whoever wants its error awaits it."""
        context = self.connections.context_of_tasks(without_time_limit())
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)
        return task

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, PystreamError):
            logger.exception("a task of the client failed", error, task=task.get_name())
            if self.on_fault is not None:
                self.on_fault(ClientError(f"the client's task {task.get_name()!r} died: {error!r}; please report this"))

    async def close(self) -> None:
        """Stop the tasks and close the connections. Harmless when closed, and in a forked child."""
        if self._closed:
            return
        self._closed = True
        if self._aging is not None:
            self._aging.cancel()
            self._aging = None
        if self.is_forked:
            return
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.connections.close()

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _bootstrap_nodes(servers: list[tuple[str, int]]) -> list[Node]:
    """As brokers whose ids are not known yet."""
    return [Node(FIRST_BOOTSTRAP_ID - place, host, port) for place, (host, port) in enumerate(servers)]
