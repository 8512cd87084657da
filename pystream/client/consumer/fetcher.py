"""Fetches what is assigned: one task and one fetch session for each broker that leads something of it.

    plan (which partitions, from where) ──▶ Fetch ──▶ per partition: a batch into the buffer, or what the error asks for
      ▲ woken by assign, seek, resume, metadata, room in the buffer

A partition is asked for while less than `max.partition.fetch.bytes` of it waits in the buffer, and the buffer as a
whole holds less than `queued.max.messages.kbytes`: the next answer is on its way while this one is read. What arrives
for a partition that moved meanwhile is dropped, and what it needs now is asked for on a second connection, because the
first one may wait for `fetch.max.wait.ms`. Source: KIP-227 (sessions), KIP-320 (epochs), KIP-392 (near replicas),
KIP-516 (topic ids), KIP-951 (leaders in answers).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from pystream._native.message_batch import MessageBatch
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import Leader, Node
from pystream.client.cluster.retry import is_retriable
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.fetch_buffer import FetchBuffer, Fetched
from pystream.client.consumer.fetch_session import FetchSession, PartitionWanted, Place, SessionRequest
from pystream.client.consumer.positions import PartitionState, Phase, Positions
from pystream.client.consumer.resets import reset_target, truncated
from pystream.client.metrics.consumer import ConsumerMetrics
from pystream.common import error_codes as codes
from pystream.common.errors import (
    BrokerNotAvailable,
    Closed,
    MalformedInput,
    OffsetOutOfRange,
    PystreamError,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import NO_BROKER, NO_LEADER_EPOCH, ZERO_UUID
from pystream.net.connection import LARGEST_VERSION, Connection
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
)

logger = get_logger(__name__)

FETCH_LANE: Final = "fetch"
OVERTAKING_LANE: Final = "fetch at once"
NO_EPOCH: Final = -1  # of a request without a session
TOPIC_IDS_SINCE: Final = 13
NAMES_UP_TO: Final = 12
LOWEST_VERSION: Final = 4
CROWDED_WAIT_MS: Final = 20  # a broker that leads partitions without room in the buffer is not asked to wait for long
READ_COMMITTED: Final = 1
STALE: Final = frozenset(
    {
        codes.NOT_LEADER_OR_FOLLOWER,
        codes.REPLICA_NOT_AVAILABLE,
        codes.KAFKA_STORAGE_ERROR,
        codes.FENCED_LEADER_EPOCH,
        codes.UNKNOWN_LEADER_EPOCH,
        codes.UNKNOWN_TOPIC_OR_PARTITION,
        codes.UNKNOWN_TOPIC_ID,
        codes.INCONSISTENT_TOPIC_ID,
        codes.OFFSET_NOT_AVAILABLE,
        codes.UNKNOWN_SERVER_ERROR,
        codes.LEADER_NOT_AVAILABLE,
    }
)  # ask for metadata and try again
SESSION_ERRORS: Final = frozenset(
    {codes.FETCH_SESSION_ID_NOT_FOUND, codes.INVALID_FETCH_SESSION_EPOCH, codes.FETCH_SESSION_TOPIC_ID_ERROR}
)

Plan = dict[Place, tuple[PartitionState, int, PartitionWanted]]  # -> state, its version, what to ask for


class Fetcher:
    """Owns a task for each broker. Used from the loop."""

    def __init__(
        self,
        cluster: Cluster,
        config: ConsumerConfig,
        positions: Positions,
        metrics: ConsumerMetrics,
        *,
        on_data: Callable[[], None],
        on_reset: Callable[[], None],
        nudge: Callable[[], None],
    ) -> None:
        self.buffer = FetchBuffer(nudge)
        self._cluster = cluster
        self._config = config
        self._positions = positions
        self._metrics = metrics
        self._on_data = on_data
        self._on_reset = on_reset
        self._most_queued_bytes = config.queued_max_messages_kbytes << 10
        self._most_queued_of_partition = config.max_partition_fetch_bytes
        self._nodes: dict[int, _Broker] = {}
        self._closed = False

    def wake(self) -> None:
        """Something changed: look again at what is to be fetched, from whom."""
        if self._closed:
            return
        leaders = {leader for state in self._positions if (leader := self._broker_of(state)) is not None}
        for node_id in leaders:
            broker = self._nodes.setdefault(node_id, _Broker(node_id))
            if broker.task is None or broker.task.done():
                broker.task = self._cluster.spawn(f"fetch from {node_id}", self._serve(broker))
        for broker in self._nodes.values():
            broker.changed.set()
            if broker.waiting_for and not broker.is_overtaking and self._overtaken(broker):
                broker.is_overtaking = True
                self._cluster.spawn(f"fetch at once from {broker.node_id}", self._overtake(broker))

    def close(self) -> None:
        """Ask for nothing more; the cluster ends the tasks."""
        self._closed = True
        self.buffer.clear()

    # --- what to fetch ------------------------------------------------------------------------------------------------

    def _broker_of(self, state: PartitionState) -> int | None:
        """Who to fetch a partition from; None while that is not known, or it needs something else first."""
        if state.phase is not Phase.FETCHING or state.fetch_offset < 0 or state.goes:
            return None
        if state.preferred_replica != NO_BROKER:
            if (
                self._cluster.clock.monotonic_ms() < state.preferred_until_ms
                and state.preferred_replica in self._cluster.metadata.nodes
            ):
                return state.preferred_replica
            state.preferred_replica = NO_BROKER
        leader = self._cluster.leader_of(state.topic, state.partition)
        return None if leader is None else leader.node_id

    def _plan(self, node_id: int) -> tuple[Plan, int, bool]:
        """What to ask of a broker, when to look again at the latest (0: when woken), and whether others had no room."""
        plan: Plan = {}
        now_ms = self._cluster.clock.monotonic_ms()
        look_at_ms = 0
        crowded = False
        for state in self._positions:
            if state.paused or state.failure is not None or self._broker_of(state) != node_id:
                continue
            if state.retry_at_ms > now_ms:
                look_at_ms = min(look_at_ms or state.retry_at_ms, state.retry_at_ms)
                continue
            if not self._has_room(state):
                self.buffer.wants_room = True  # and again, as room may have been made meanwhile
                if not self._has_room(state):
                    crowded = True
                    continue
            leader = self._cluster.leader_of(state.topic, state.partition)
            topic = self._cluster.metadata.topics.get(state.topic)
            plan[state.topic, state.partition] = (
                state,
                state.version,
                PartitionWanted(
                    ZERO_UUID if topic is None else topic.topic_id,
                    state.fetch_offset,
                    self._config.max_partition_fetch_bytes,
                    NO_LEADER_EPOCH if leader is None else leader.leader_epoch,
                    state.fetch_epoch,
                ),
            )
        return plan, look_at_ms, crowded

    def _has_room(self, state: PartitionState) -> bool:
        return self.buffer.size_bytes < self._most_queued_bytes and state.queued_bytes < self._most_queued_of_partition

    # --- one broker ---------------------------------------------------------------------------------------------------

    async def _serve(self, broker: _Broker) -> None:
        clock = self._cluster.clock
        while not self._closed:
            broker.changed.clear()
            plan, look_at_ms, crowded = self._plan(broker.node_id)
            if not plan:
                wait_s = (look_at_ms - clock.monotonic_ms()) / 1000 if look_at_ms else None
                try:
                    async with asyncio.timeout(wait_s):
                        await broker.changed.wait()
                except TimeoutError:
                    continue
                continue
            try:
                await self._fetch(broker, plan, crowded)
                broker.failures = 0
            except Closed:
                return
            except PystreamError as error:
                broker.session.reset()
                broker.failures += 1
                logger.debug("fetch failed", broker=broker.node_id, error=str(error))
                self._cluster.refresh_soon()
                is_news = not is_retriable(error) and not isinstance(error, BrokerNotAvailable)
                for state, _, _ in plan.values():
                    state.preferred_replica = NO_BROKER
                    if is_news:
                        state.failure = state.failure or error
                if is_news:
                    self._on_data()
                await clock.sleep_ms(self._cluster.backoff.delay_ms(broker.failures))

    def _overtaken(self, broker: _Broker) -> Plan:
        """What is wanted by now that the request under way does not ask for."""
        plan, _, _ = self._plan(broker.node_id)
        asked = broker.waiting_for
        return {place: entry for place, entry in plan.items() if place not in asked or asked[place][:2] != entry[:2]}

    async def _overtake(self, broker: _Broker) -> None:
        """Fetch without a session, on another connection, until the first one's answer is there."""
        try:
            while not self._closed and (plan := self._overtaken(broker)) and broker.waiting_for:
                connection = await self._cluster.connection_to(broker.node_id, OVERTAKING_LANE)
                wanted = {place: entry for place, (_, _, entry) in plan.items()}
                request = self._request(SessionRequest(0, NO_EPOCH, wanted), self._config.fetch_max_wait_ms)
                if not await self._ask(broker.node_id, connection, request, plan, self._config.fetch_max_wait_ms):
                    return
        except PystreamError as error:
            logger.debug("fetch at once failed", broker=broker.node_id, error=str(error))
        finally:
            broker.is_overtaking = False

    async def _fetch(self, broker: _Broker, plan: Plan, crowded: bool) -> None:
        connection = await self._cluster.connection_to(broker.node_id, FETCH_LANE)
        if broker.connection is not connection:
            broker.connection = connection
            broker.session.reset()
        session = broker.session.next_request({place: wanted for place, (_, _, wanted) in plan.items()})
        config = self._config
        wait_ms = min(config.fetch_max_wait_ms, CROWDED_WAIT_MS) if crowded else config.fetch_max_wait_ms
        broker.waiting_for = plan
        try:
            response = await self._ask(broker.node_id, connection, self._request(session, wait_ms), plan, wait_ms)
        finally:
            broker.waiting_for = {}
        if response is None:
            broker.session.reset()
        else:
            broker.session.answered(response.session_id)

    async def _ask(
        self, node_id: int, connection: Connection, request: FetchRequest, plan: Plan, wait_ms: int
    ) -> FetchResponse | None:
        """Send, and take what comes; None when the session is not what the broker thinks."""
        by_id = all(wanted.topic_id != ZERO_UUID for _, _, wanted in plan.values())
        version = connection.version_of(ApiKey.FETCH, LOWEST_VERSION, LARGEST_VERSION if by_id else NAMES_UP_TO)
        began_ms = self._cluster.clock.monotonic_ms()
        response: FetchResponse = await connection.request(
            request, version, timeout_ms=self._config.request_timeout_ms + wait_ms
        )
        now_ms = self._cluster.clock.monotonic_ms()
        self._metrics.fetched(node_id, now_ms - began_ms, response.throttle_time_ms, now_ms)
        if response.error_code == codes.NONE:
            self._take(connection, response, plan, by_id=version >= TOPIC_IDS_SINCE)
            return response
        if response.error_code not in SESSION_ERRORS:
            raise error_class(response.error_code)(f"{connection.name}: Fetch failed as a whole")
        if response.error_code == codes.FETCH_SESSION_TOPIC_ID_ERROR:
            self._cluster.refresh_soon()
        return None

    def _request(self, session: SessionRequest, wait_ms: int) -> FetchRequest:
        config = self._config
        topics: dict[tuple[str, bytes], list[FetchPartition]] = {}
        for (topic, partition), wanted in session.wanted.items():
            topics.setdefault((topic, wanted.topic_id), []).append(
                FetchPartition(
                    partition=partition,
                    fetch_offset=wanted.offset,
                    partition_max_bytes=wanted.max_bytes,
                    current_leader_epoch=wanted.current_leader_epoch,
                    last_fetched_epoch=wanted.last_fetched_epoch,
                )
            )
        forgotten: dict[tuple[str, bytes], list[int]] = {}
        for (topic, partition), topic_id in session.forgotten.items():
            forgotten.setdefault((topic, topic_id), []).append(partition)
        return FetchRequest(
            max_wait_ms=wait_ms,
            min_bytes=config.fetch_min_bytes,
            max_bytes=config.fetch_max_bytes,
            isolation_level=READ_COMMITTED if config.isolation_level == "read_committed" else 0,
            topics=[
                FetchTopic(topic=topic, topic_id=topic_id, partitions=partitions)
                for (topic, topic_id), partitions in topics.items()
            ],
            session_id=session.session_id,
            session_epoch=session.epoch,
            forgotten_topics_data=[
                ForgottenTopic(topic=topic, topic_id=topic_id, partitions=partitions)
                for (topic, topic_id), partitions in forgotten.items()
            ],
            rack_id=config.client_rack,
        )

    # --- answers ------------------------------------------------------------------------------------------------------

    def _take(self, connection: Connection, response: FetchResponse, plan: Plan, *, by_id: bool) -> None:
        nodes = {e.node_id: Node(e.node_id, e.host, e.port, e.rack) for e in response.node_endpoints}
        names = {wanted.topic_id: state.topic for state, _, wanted in plan.values()} if by_id else {}
        heard = False
        for topic in response.responses:
            name = names.get(topic.topic_id) if by_id else topic.topic
            for data in topic.partitions:
                found = plan.get((name, data.partition_index)) if name is not None else None
                if found is None:
                    continue  # of a partition that was not asked for, or is forgotten
                state, version, wanted = found
                self._note_offsets(state, data, wanted)
                if not self._positions.is_current(state, version) or state.fetch_offset != wanted.offset:
                    continue
                if state.phase is not Phase.FETCHING:
                    continue  # the leader has changed meanwhile: what the last one gave may not be the log's any more
                heard = self._take_partition(connection, state, data, nodes) or heard
        if heard:
            self._on_data()

    def _note_offsets(self, state: PartitionState, data: PartitionData, wanted: PartitionWanted) -> None:
        """How far the log reaches, which an answer that comes too late for its records tells all the same."""
        if data.error_code != codes.NONE or self._positions.get(state.key) is not state:
            return
        if state.topic_id not in (ZERO_UUID, wanted.topic_id):
            return  # of the topic before
        state.high_watermark = data.high_watermark
        state.last_stable_offset = data.last_stable_offset
        state.log_start_offset = data.log_start_offset

    def _take_partition(
        self, connection: Connection, state: PartitionState, data: PartitionData, nodes: dict[int, Node]
    ) -> bool:
        """True when the user has something to get: records, or an error."""
        leader = data.current_leader
        if leader is not None and leader.leader_id >= 0:
            told = Leader(leader.leader_id, leader.leader_epoch)
            self._cluster.note_leader(state.topic, state.partition, told, nodes.get(leader.leader_id))
        if data.error_code != codes.NONE:
            return self._failed(connection, state, data.error_code)
        diverging = data.diverging_epoch
        if diverging is not None and diverging.end_offset >= 0:
            truncated(state, self._config, self._cluster.clock.now_ms(), diverging.epoch, diverging.end_offset)
            self._on_reset()
            return state.failure is not None
        if data.preferred_read_replica >= 0 and data.preferred_read_replica != state.preferred_replica:
            state.preferred_replica = data.preferred_read_replica
            state.preferred_until_ms = self._cluster.clock.monotonic_ms() + self._config.metadata_max_age_ms
            self.wake()
            return False
        if not data.records:
            return False
        return self._take_records(state, data)

    def _take_records(self, state: PartitionState, data: PartitionData) -> bool:
        records = data.records or b""
        aborted = None
        if self._config.isolation_level == "read_committed":
            aborted = [(entry.producer_id, entry.first_offset) for entry in data.aborted_transactions or ()]
        batch = MessageBatch(
            records,
            state.topic,
            state.partition,
            from_offset=state.fetch_offset,
            aborted=aborted,
            check_crc=self._config.check_crcs,
        )
        batch.decode()
        self._metrics.received(len(records), len(batch))
        if batch.next_offset > state.fetch_offset:
            state.fetch_offset = batch.next_offset
            if batch.last_leader_epoch >= 0:
                state.fetch_epoch = batch.last_leader_epoch
            self.buffer.put(Fetched(state, state.version, batch))
            return True
        if batch.error is None:
            size = len(records)
            error: Exception = MalformedInput(
                f"{state.key}: {size} bytes at offset {state.fetch_offset} hold no whole record batch"
            )
        else:
            error = batch.error
        if not isinstance(error, PystreamError):
            raise error
        state.failure = error
        return True

    def _failed(self, connection: Connection, state: PartitionState, error_code: int) -> bool:
        what = f"{state.key} at offset {state.fetch_offset}, from {connection.name}"
        if error_code == codes.OFFSET_OUT_OF_RANGE:
            if state.preferred_replica != NO_BROKER:
                state.preferred_replica = NO_BROKER  # a follower that lags: ask the leader
                self.wake()
                return False
            if state.queued_bytes > 0:  # what was fetched before it is read first
                state.retry_at_ms = self._cluster.clock.monotonic_ms() + self._cluster.backoff.delay_ms(1)
                return False
            return self._out_of_range(state, what)
        if error_code in STALE:
            state.preferred_replica = NO_BROKER
            state.retry_at_ms = self._cluster.clock.monotonic_ms() + self._cluster.backoff.delay_ms(1)
            self._cluster.refresh_soon()
            return False
        state.failure = error_class(error_code)(what)
        return True

    def _out_of_range(self, state: PartitionState, what: str) -> bool:
        to = reset_target(self._config, self._cluster.clock.now_ms())
        if to is None:
            state.failure = OffsetOutOfRange(f"{what}: there is no such offset; seek, or set auto.offset.reset")
            return True
        logger.info("offset out of range, reset", partition=str(state.key), offset=state.fetch_offset)
        state.reset(to)
        self._on_reset()
        return False


class _Broker:
    """What belongs to one broker."""

    def __init__(self, node_id: int) -> None:
        self.node_id = node_id
        self.session = FetchSession()
        self.changed = asyncio.Event()
        self.connection: Connection | None = None
        self.waiting_for: Plan = {}  # of the request under way
        self.is_overtaking = False
        self.failures = 0
        self.task: asyncio.Task[None] | None = None
