"""The producer's sender: takes batches off the accumulator, sends them to their leaders, settles them by the answers.

    accumulator ──ready──► by leader ──► one batch a partition, max.request.size ──► Produce, max.in.flight a broker
         ▲                                                                               │
         └────────── again, with back-off ◄── refused, connection lost ◄── settled ◄─────┘

It runs in the loop, a turn at a time, when something happened: records came, an answer came, time is over, a connection
opened, metadata changed. A turn never waits. There is no task for a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pystream._native.accumulator import Accumulator
from pystream._native.delivery import ProducerBatch
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata, Leader, Node
from pystream.client.config import ProducerConfig
from pystream.client.metrics.producer import ProducerMetrics
from pystream.client.producer import produce_request
from pystream.client.producer.produce_request import NEWEST, TOPIC_IDS_SINCE
from pystream.client.producer.sequencing import (
    WRITTEN_PERHAPS,
    Place,
    Sequencing,
    Verdict,
    unknown_outcome,
)
from pystream.client.producer.topics import KnownTopics
from pystream.common.error_codes import NONE, TABLE
from pystream.common.errors import (
    BrokerNotAvailable,
    DeliveryTimeout,
    Disconnected,
    FencedLeaderEpoch,
    InvalidRecord,
    KafkaStorageError,
    LeaderNotAvailable,
    MalformedInput,
    MessageTooLarge,
    NotLeaderOrFollower,
    PystreamError,
    RequestTimedOut,
    UnknownLeaderEpoch,
    UnknownTopicId,
    UnknownTopicOrPartition,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import ZERO_UUID
from pystream.net.connection import Connection
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages.produce import ProduceResponse

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = get_logger(__name__)

LOWEST_PRODUCE: Final = 3  # the first one with record batches v2
BLOCKED_MS: Final = 100  # to look again where something else than time holds a batch back
NO_OFFSET: Final = -1
NO_RECORD_ERRORS: Final[Mapping[int, PystreamError]] = {}
STALE_METADATA: Final = (
    NotLeaderOrFollower,
    LeaderNotAvailable,
    UnknownTopicOrPartition,
    UnknownTopicId,
    FencedLeaderEpoch,
    UnknownLeaderEpoch,
    KafkaStorageError,
    BrokerNotAvailable,
    Disconnected,
    RequestTimedOut,
)


@dataclass(slots=True)
class _Broker:
    """What is between the producer and one broker."""

    in_flight: int = 0
    connecting: bool = False
    not_before_ms: int = 0  # it asked to be left alone until then (KIP-219)


@dataclass(slots=True)
class _Sent:
    """A request that is in flight."""

    connection: Connection
    broker: _Broker
    node_id: int
    batches: list[ProducerBatch]
    ids: Mapping[str, bytes]  # of topics, by name
    version: int
    sent_ms: int


class Sender:
    """One for each producer. Belongs to the loop of its cluster."""

    def __init__(
        self,
        config: ProducerConfig,
        cluster: Cluster,
        accumulator: Accumulator,
        metrics: ProducerMetrics,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self.sequencing: Sequencing | None = None
        self._config = config
        self._cluster = cluster
        self._accumulator = accumulator
        self._metrics = metrics
        self._on_failure = on_failure
        self._acks = -1 if config.acks == "all" else int(config.acks)
        self._brokers: dict[int, _Broker] = {}
        self.topics = KnownTopics(config, cluster, accumulator)
        self._last_errors: dict[Place, PystreamError] = {}
        self._mutes = config.max_in_flight_requests_per_connection == 1 and not config.enable_idempotence
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._stopped = False
        cluster.subscribe(self._metadata_changed)

    # --- turns --------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Take a turn soon. Called in the loop."""
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def stop(self) -> None:
        """No more turns. What is in flight is settled by its answer still, while the connections are open."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        try:
            now_ms = self._cluster.clock.monotonic_ms()
            for batch in self._accumulator.expire(now_ms):
                self._expired(batch)
            assert self.sequencing is not None
            if self.sequencing.may_send():
                self._send_ready(self.sequencing, now_ms)
            self._come_back(now_ms)
        except Exception as error:  # our own bug, or no memory: nobody may wait for ever; the loop reports it
            self._on_failure(error)
            raise

    def _come_back(self, now_ms: int) -> None:
        """Set the timer for what time alone brings about."""
        deadline_ms = self._accumulator.next_deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_ms is not None:
            delay_ms = deadline_ms - now_ms
            self._timer = asyncio.get_running_loop().call_later(
                (delay_ms if delay_ms > 0 else BLOCKED_MS) / 1000, self._turn_by_time
            )

    def _turn_by_time(self) -> None:
        self._timer = None
        if not self._scheduled:
            self._turn()

    def _metadata_changed(self, metadata: ClusterMetadata) -> None:
        self.topics.changed(metadata)
        self.wake()

    # --- sending ------------------------------------------------------------------------------------------------------

    def _send_ready(self, sequencing: Sequencing, now_ms: int) -> None:
        places_by_leader: dict[int, list[Place]] = {}
        without_leader = False
        for place in self._accumulator.ready(now_ms):
            if not sequencing.admits(*place):
                continue
            leader = self._cluster.leader_of(*place)
            self.topics.used(place[0], now_ms)
            if leader is None:
                without_leader = True
                self._cluster.track((place[0],))
                self._note_unknown(place)
            else:
                places_by_leader.setdefault(leader.node_id, []).append(place)
        if without_leader:
            self._cluster.refresh_soon()
        for node_id, places in places_by_leader.items():
            self.topics.could_send(node_id, self._send_to(sequencing, node_id, places, now_ms), now_ms)

    def _note_unknown(self, place: Place) -> None:
        """Why its leader is not known, where the cluster has said so: for the error, should it stay so."""
        code = self._cluster.metadata.failed.get(place[0], NONE)
        if code != NONE:
            self._last_errors[place] = error_class(code)(f"topic {place[0]!r}: {TABLE[code].message}")

    def _send_to(self, sequencing: Sequencing, node_id: int, places: list[Place], now_ms: int) -> bool:
        """Whether anything went out."""
        broker = self._brokers.setdefault(node_id, _Broker())
        connection = self._cluster.connections.existing(node_id)
        if connection is None:
            self._connect(node_id, broker)
            return False
        if broker.not_before_ms > now_ms:
            return False
        some = False
        connection.hold_back()
        try:
            while broker.in_flight < self._config.max_in_flight_requests_per_connection:
                batches = self._drain(places, now_ms)
                if not batches or not self._send(sequencing, connection, node_id, broker, batches):
                    break
                some = True
        finally:
            connection.let_go()
        return some

    def _drain(self, places: list[Place], now_ms: int) -> list[ProducerBatch]:
        """At most one batch of each partition, together at most max.request.size; a batch alone may be larger."""
        room = self._config.max_request_size
        batches: list[ProducerBatch] = []
        for topic, partition in places:
            if batches:
                batch = self._accumulator.drain(topic, partition, now_ms, max(room, 0))
            else:
                batch = self._accumulator.drain(topic, partition, now_ms)
            if batch is not None:
                batches.append(batch)
                room -= batch.size_bytes
                if self._mutes:
                    self._accumulator.mute(topic, partition)
        return batches

    def _send(
        self,
        sequencing: Sequencing,
        connection: Connection,
        node_id: int,
        broker: _Broker,
        batches: list[ProducerBatch],
    ) -> bool:
        """Whether it was sent; when not, the batches are settled."""
        try:
            ids = self._topic_ids(batches)
            highest = sequencing.highest_produce_version
            if ids is None:
                highest = min(highest, TOPIC_IDS_SINCE - 1)
            version = connection.version_of(ApiKey.PRODUCE, LOWEST_PRODUCE, highest)
            body = self._body(sequencing, batches, version, ids or {})
            now_ms = self._cluster.clock.monotonic_ms()
            sent = _Sent(connection, broker, node_id, batches, ids or {}, version, now_ms)
            if self._acks == 0:
                connection.send(ApiKey.PRODUCE, version, body)
            else:
                connection.ask_raw(ApiKey.PRODUCE, version, body, partial(self._answered, sent))
        except PystreamError as error:
            for batch in batches:
                self._settle(batch, error, answered=not unknown_outcome(error))
            self.wake()
            return False
        broker.in_flight += 1
        self._metrics.sent(batches, now_ms)
        if self._acks == 0:
            answer: asyncio.Future[Any] = asyncio.ensure_future(connection.drained())
            for batch in batches:
                self._deliver(sequencing, batch, NO_OFFSET, -1)
            answer.add_done_callback(partial(self._sent_unasked, sent))
        return True

    def _body(
        self, sequencing: Sequencing, batches: list[ProducerBatch], version: int, ids: Mapping[str, bytes]
    ) -> list[Buffer]:
        transactional_id, timeout_ms = sequencing.transactional_id, self._config.request_timeout_ms
        if version == NEWEST and len(batches) == 1:
            batch = batches[0]
            return produce_request.encode_one(
                batch,
                transactional_id=transactional_id,
                acks=self._acks,
                timeout_ms=timeout_ms,
                topic_id=ids[batch.topic],
            )
        return produce_request.encode(
            batches,
            version,
            transactional_id=transactional_id,
            acks=self._acks,
            timeout_ms=timeout_ms,
            topic_ids=ids,
        )

    def _topic_ids(self, batches: list[ProducerBatch]) -> dict[str, bytes] | None:
        """None when one of them has none."""
        topics = self._cluster.metadata.topics
        ids = {}
        for batch in batches:
            topic = topics.get(batch.topic)
            if topic is None or topic.topic_id == ZERO_UUID:
                return None
            ids[batch.topic] = topic.topic_id
        return ids

    def _connect(self, node_id: int, broker: _Broker) -> None:
        if not broker.connecting:
            broker.connecting = True
            self._cluster.spawn(f"connect to {node_id} to produce", self._open(node_id, broker))

    async def _open(self, node_id: int, broker: _Broker) -> None:
        """The next turn uses it. A broker that cannot be reached may have been replaced."""
        try:
            await self._cluster.connection_to(node_id)
        except (PystreamError, OSError) as error:
            logger.debug("no connection to a leader", node_id=node_id, error=error)
            self._cluster.refresh_soon()
            await self._cluster.clock.sleep_ms(self._cluster.backoff.delay_ms(1))
        finally:
            broker.connecting = False
        self.wake()

    # --- answers ------------------------------------------------------------------------------------------------------

    def _answered(self, sent: _Sent, body: memoryview | None, error: Exception | None) -> None:
        sent.broker.in_flight -= 1
        if body is None:
            self._note_answer(sent, None)
        else:
            error = self._read(sent, body)
        if error is not None:
            told = error if isinstance(error, PystreamError) else Disconnected(f"broker {sent.node_id}: {error}")
            for batch in sent.batches:
                self._settle(batch, told, answered=not unknown_outcome(told))
        self.wake()

    def _sent_unasked(self, sent: _Sent, drained: asyncio.Future[None]) -> None:
        """Of acks=0: the batches were settled when they were sent."""
        sent.broker.in_flight -= 1
        if not drained.cancelled():
            drained.exception()  # is not told of: nobody was promised anything
        self._note_answer(sent, None)
        self.wake()

    def _read(self, sent: _Sent, body: memoryview) -> PystreamError | None:
        """Settle by the answer; the error when it is none, which ends the connection."""
        assert self.sequencing is not None
        batches = sent.batches
        usual = produce_request.written(body, sent.version) if len(batches) == 1 else None
        if usual is not None:
            batch = batches[0]
            if usual.partition == batch.partition and usual.topic_id == sent.ids[batch.topic]:
                self._note_answer(sent, usual.throttle_time_ms)
                self._deliver(self.sequencing, batch, usual.base_offset, usual.append_time_ms)
                return None
        try:
            response = ProduceResponse.decode(body, sent.version)
        except MalformedInput as error:
            self._note_answer(sent, None)
            broken = MalformedInput(f"{sent.connection.name}: the answer to Produce {sent.version}: {error}")
            sent.connection.abort(broken)
            return broken
        self._read_any(self.sequencing, sent, response)
        return None

    def _note_answer(self, sent: _Sent, throttle_ms: int | None) -> None:
        """None: there is no answer, or none that can be read."""
        now_ms = self._cluster.clock.monotonic_ms()
        self._metrics.settled(sent.node_id, now_ms - sent.sent_ms, throttle_ms, now_ms)
        if throttle_ms is not None:
            sent.connection.throttle(throttle_ms)
        if throttle_ms:
            sent.broker.not_before_ms = now_ms + throttle_ms

    def _read_any(self, sequencing: Sequencing, sent: _Sent, response: ProduceResponse) -> None:
        self._note_answer(sent, response.throttle_time_ms)
        waiting = {(batch.topic, batch.partition): batch for batch in sent.batches}
        names = {topic_id: name for name, topic_id in sent.ids.items()}
        for topic in response.responses:
            name = topic.name or names.get(topic.topic_id, "")
            for answer in topic.partition_responses:
                batch = waiting.pop((name, answer.index), None)
                if batch is None:
                    continue
                if answer.error_code == NONE:
                    self._deliver(sequencing, batch, answer.base_offset, answer.log_append_time_ms)
                else:
                    self._refused(batch, answer, response.node_endpoints)
        for batch in waiting.values():
            self._settle(batch, Disconnected("the leader's answer left the partition out"), answered=False)

    def _refused(self, batch: ProducerBatch, answer: Any, endpoints: Any) -> None:
        kind = error_class(answer.error_code)
        error = kind(f"{batch.topic}-{batch.partition}: {answer.error_message or kind()}")
        moved = False
        if answer.current_leader is not None and answer.current_leader.leader_id >= 0:
            told = answer.current_leader
            nodes = {node.node_id: Node(node.node_id, node.host, node.port, node.rack) for node in endpoints}
            leader = Leader(told.leader_id, told.leader_epoch)
            self._cluster.note_leader(batch.topic, batch.partition, leader, nodes.get(told.leader_id))
            moved = self._cluster.leader_of(batch.topic, batch.partition) == leader
        record_errors = {
            told.batch_index: kind(f"{batch.topic}-{batch.partition}: {told.batch_index_error_message or error}")
            for told in answer.record_errors
        }
        self._settle(
            batch,
            error,
            answered=not isinstance(error, WRITTEN_PERHAPS),
            at_once=moved,
            log_start_offset=answer.log_start_offset,
            record_errors=record_errors,
        )

    def _deliver(self, sequencing: Sequencing, batch: ProducerBatch, base_offset: int, append_time_ms: int) -> None:
        sequencing.delivered(batch)
        self._unmute(batch)
        self._last_errors.pop((batch.topic, batch.partition), None)
        self._accumulator.complete(batch, base_offset, append_time_ms)

    def _settle(
        self,
        batch: ProducerBatch,
        error: PystreamError,
        *,
        answered: bool,
        at_once: bool = False,
        log_start_offset: int = -1,
        record_errors: Mapping[int, PystreamError] = NO_RECORD_ERRORS,
    ) -> None:
        """Send it again, or let its deliveries raise `error`. `answered`: the leader certainly does not have it."""
        assert self.sequencing is not None
        self._unmute(batch)
        if batch.done():  # it expired while it was in flight
            return
        if isinstance(error, STALE_METADATA) and not at_once:
            self._cluster.refresh_soon()
        self._last_errors[batch.topic, batch.partition] = error
        if isinstance(error, MessageTooLarge) and self._accumulator.split(batch) > 0:
            self._metrics.split()
            return
        verdict = self.sequencing.judge(batch, error, log_start_offset)
        if verdict is Verdict.DELIVERED:
            self._deliver(self.sequencing, batch, NO_OFFSET, -1)
        elif verdict is Verdict.AGAIN and batch.attempts <= self._config.retries and not self._stopped:
            self._metrics.retried(batch)
            delay_ms = 0 if at_once else self._cluster.backoff.delay_ms(batch.attempts)
            self._accumulator.retry(batch, self._cluster.clock.monotonic_ms() + delay_ms)
        else:
            self._give_up(batch, error, answered=answered, record_errors=record_errors)

    def _give_up(
        self,
        batch: ProducerBatch,
        error: PystreamError,
        *,
        answered: bool,
        record_errors: Mapping[int, PystreamError] = NO_RECORD_ERRORS,
    ) -> None:
        """`record_errors`: by index those that were refused; the others were not written because of them (KIP-467)."""
        assert self.sequencing is not None
        self._metrics.failed(batch)
        close_gap = self.sequencing.given_up(batch, error, answered=answered)
        self._last_errors.pop((batch.topic, batch.partition), None)
        if record_errors:
            logger.debug("records refused", topic=batch.topic, partition=batch.partition, records=len(record_errors))
            others = InvalidRecord(
                f"{batch.topic}-{batch.partition}: not written, because {len(record_errors)} other records of its "
                f"batch were refused: send it again; {error}"
            )
            self._accumulator.fail(batch, others, close_gap=close_gap, record_errors=dict(record_errors))
        else:
            self._accumulator.fail(batch, _explained(error, self._config), close_gap=close_gap)

    def _expired(self, batch: ProducerBatch) -> None:
        place = batch.topic, batch.partition
        last_error = self._last_errors.get(place)
        waited = f"not acknowledged within delivery.timeout.ms={self._config.delivery_timeout_ms}"
        tried = f"sent {batch.attempts} times" if batch.attempts else "never sent: its leader could not be reached"
        said = f"; the last error was: {last_error}" if last_error is not None else ""
        error = DeliveryTimeout(
            f"{batch.topic}-{batch.partition}: {batch.record_count} records {waited}, {tried}{said}. Look whether the "
            "partition's leader is up and keeps pace, or raise delivery.timeout.ms"
        )
        self._unmute(batch)
        self._give_up(batch, error, answered=False)

    def _unmute(self, batch: ProducerBatch) -> None:
        if self._mutes:
            self._accumulator.unmute(batch.topic, batch.partition)


def _explained(error: PystreamError, config: ProducerConfig) -> PystreamError:
    """The error as the deliveries raise it: with what to do."""
    if isinstance(error, MessageTooLarge):
        return MessageTooLarge(
            f"{error}; the topic takes at most max.message.bytes (of the broker: message.max.bytes): raise that, or "
            f"compress (compression.type={config.compression_type})"
        )
    if isinstance(error, UnknownTopicOrPartition):
        return UnknownTopicOrPartition(f"{error}; was the topic deleted?")
    return error
