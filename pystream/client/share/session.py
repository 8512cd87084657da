"""What one broker has given this member: one task, one share session, one request at a time.

    ShareFetch        acquires records for the poll that waits, and takes along what was said about others
    ShareAcknowledge  what was said when nobody waits for records, or records are renewed
    final epoch       ends the session: the broker releases what is still held

A session that is lost (the connection broke, the broker does not know it) takes everything with it that it gave: the
broker releases those records, and what is said about them afterwards fails with ShareSessionNotFound.
Source: KIP-932 (sessions), KIP-951 (leaders in answers), KIP-1206 (exact number of records), KIP-1222 (renewal).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from pystream._native.message_batch import MessageBatch
from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import Leader, Node
from pystream.client.cluster.retry import is_retriable
from pystream.client.config import ShareConsumerConfig
from pystream.client.metrics.share import ShareMetrics
from pystream.client.share.delivery import Delivery, Said, deliveries_of, ranges_of
from pystream.common import error_codes as codes
from pystream.common.errors import (
    BrokerNotAvailable,
    Closed,
    DeadlineExceeded,
    InvalidShareSessionEpoch,
    MalformedInput,
    PystreamError,
    ShareSessionNotFound,
    UnknownServerError,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import TopicIdPartition, TopicPartition
from pystream.net.connection import Connection
from pystream.protocol.api_keys import ApiKey
from pystream.protocol.messages import share_acknowledge, share_fetch
from pystream.protocol.messages.share_acknowledge import ShareAcknowledgeRequest, ShareAcknowledgeResponse
from pystream.protocol.messages.share_fetch import ShareFetchRequest, ShareFetchResponse

logger = get_logger(__name__)

SHARE_LANE: Final = "share"
FIRST_EPOCH: Final = 0
FINAL_EPOCH: Final = -1
LARGEST_EPOCH: Final = 0x7FFFFFFF
RENEWAL_SINCE: Final = 2  # of both requests; in ShareFetch also the exact number of records
EXACT_RECORDS: Final = 1
DEFAULT_LOCK_MS: Final = 30_000
MOST_RANGES: Final = 100_000  # acquired in one partition of one answer
STALE: Final = frozenset(
    {
        codes.NOT_LEADER_OR_FOLLOWER,
        codes.LEADER_NOT_AVAILABLE,
        codes.UNKNOWN_TOPIC_OR_PARTITION,
        codes.UNKNOWN_TOPIC_ID,
        codes.INCONSISTENT_TOPIC_ID,
        codes.FENCED_LEADER_EPOCH,
        codes.UNKNOWN_LEADER_EPOCH,
        codes.KAFKA_STORAGE_ERROR,
    }
)  # ask for metadata
FINAL_FOR_ACKNOWLEDGEMENTS: Final = STALE | {codes.NETWORK_EXCEPTION, codes.REQUEST_TIMED_OUT}  # retriable elsewhere
SESSION_LOST: Final = (ShareSessionNotFound, InvalidShareSessionEpoch)

Plan = dict[TopicIdPartition, TopicPartition]


class Wish(NamedTuple):
    """The poll that waits: how many records it takes, and until when."""

    most: int
    ends_at_ms: int | None


class Member(Protocol):
    """The consumer."""

    config: ShareConsumerConfig
    cluster: Cluster
    wish: Wish | None
    acquisition_lock_timeout_ms: int | None
    metrics: ShareMetrics

    @property
    def group_id(self) -> str: ...

    @property
    def member_id(self) -> str: ...

    @property
    def is_polling(self) -> bool: ...

    def plan_for(self, node_id: int) -> Plan:
        """The partitions that are assigned, and led by a broker."""
        ...

    def arrived(self, deliveries: Iterable[Delivery]) -> None:
        """Records came."""
        ...

    def settled(self, said: Said, error: PystreamError | None) -> None:
        """The broker has answered what was said, or never will."""
        ...

    def fail(self, error: PystreamError) -> None:
        """Raise this from the poll, after the records that are here."""
        ...


class BrokerSession:
    """See the head of this module. Used from the loop; `generation` is read anywhere."""

    def __init__(self, member: Member, node_id: int) -> None:
        self.node_id = node_id
        self.generation = 0  # rises when the session is lost
        self._member = member
        self._cluster = member.cluster
        self._config = member.config
        self._epoch = FIRST_EPOCH
        self._known: dict[TopicIdPartition, None] = {}  # what the broker thinks that we fetch
        self._queue: deque[Said] = deque()
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._held_back: dict[TopicIdPartition, int] = {}  # partitions that failed -> when to ask again
        self._failures = 0
        self._retry_at_ms = 0
        self._served: Wish | None = None  # the last one that was fetched for
        self._task = self._cluster.spawn(f"share session with {node_id}", self._serve())
        self._task.add_done_callback(self._ended)

    @property
    def is_over(self) -> bool:
        """Whether it does nothing any more."""
        return self._task.done()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """With an error that is not the broker's (no memory, our own bug) the poll must not wait for ever."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._lose(self._gone())
            self._member.fail(PystreamError(f"the share session with broker {self.node_id} failed: {error!r}"))

    def wake(self) -> None:
        """A poll waits, or partitions came or went."""
        self._changed.set()

    def tell(self, said: Said) -> None:
        """Send this soon. `member.settled` is called with what became of it."""
        if self._closing.is_set() or said.generation != self.generation:
            self._member.settled(said, self._gone())
            return
        if said.deadline_ms == 0:
            said.deadline_ms = self._cluster.clock.monotonic_ms() + self._config.default_api_timeout_ms
        self._queue.append(said)
        self._changed.set()

    def supports_renewal(self) -> bool:
        """Whether the broker knows RENEW."""
        connection = self._connection
        return connection is None or connection.supports(ApiKey.SHARE_ACKNOWLEDGE, RENEWAL_SINCE)

    async def close(self) -> None:
        """Say what is left to say and end the session; the broker releases what is held."""
        self._closing.set()
        self._changed.set()
        await asyncio.wait([self._task])

    def abandon(self) -> None:
        """End at once; the broker finds out by itself."""
        self._task.cancel()

    # --- the task -----------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        closing = self._closing
        while not closing.is_set() or (self._queue and not self._failures):
            self._changed.clear()
            await self._sit_out()
            plan = {} if closing.is_set() else self._plan()
            if not plan and not self._queue:
                await self._wait()
                continue
            try:
                await self._step(plan)
                self._failures = 0
            except Closed:
                break
            except PystreamError as error:
                self._failed(error)
        await self._end()

    async def _step(self, plan: Plan) -> None:
        """One request."""
        connection = await self._cluster.connection_to(self.node_id, SHARE_LANE)
        if connection is not self._connection:
            self._lose(ShareSessionNotFound(f"the connection to {connection.name} was lost, its share session with it"))
            self._connection = connection
        if plan and all(said.place in plan and not said.renews for said in self._queue):
            await self._fetch(connection, plan)
        elif self._queue:
            await self._acknowledge(connection, self._epoch)

    async def _sit_out(self) -> None:
        """The back-off after a failure, unless the end comes first."""
        left_ms = self._retry_at_ms - self._now_ms()
        self._retry_at_ms = 0
        if left_ms > 0:
            await _within(self._closing, left_ms)

    async def _wait(self) -> None:
        """For a poll, something to say, or the end of what partitions that failed are held back for."""
        if self._closing.is_set():
            return
        look_at_ms = min(self._held_back.values(), default=None) if self._member.wish is not None else None
        await _within(self._changed, None if look_at_ms is None else max(look_at_ms - self._now_ms(), 1))

    def _plan(self) -> Plan:
        """What to fetch now: nothing while no poll waits, and one request for a poll that waits no more."""
        wish = self._member.wish
        if wish is None or (wish is self._served and not self._member.is_polling):
            return {}
        plan = self._member.plan_for(self.node_id)
        if self._held_back:
            now_ms = self._now_ms()
            self._held_back = {place: at_ms for place, at_ms in self._held_back.items() if at_ms > now_ms}
            plan = {place: key for place, key in plan.items() if place not in self._held_back}
        return plan

    def _failed(self, error: PystreamError) -> None:
        """A request failed as a whole; what it took along has its answer."""
        self._failures += 1
        self._retry_at_ms = self._now_ms() + self._cluster.backoff.delay_ms(self._failures)
        if isinstance(error, SESSION_LOST):
            logger.info("share session lost", broker=self.node_id, group=self._member.group_id, error=str(error))
            self._lose(error)
            self._retry_at_ms = 0 if self._failures == 1 else self._retry_at_ms
            return
        logger.debug("share request failed", broker=self.node_id, error=str(error))
        self._lose(error)
        self._cluster.refresh_soon()
        if not is_retriable(error) and not isinstance(error, BrokerNotAvailable):
            self._member.fail(error)

    def _lose(self, error: PystreamError) -> None:
        """Begin anew: whatever this session gave is the broker's again."""
        if self._epoch == FIRST_EPOCH and not self._queue:
            return
        self.generation += 1
        self._epoch = FIRST_EPOCH
        self._known = {}
        queue, self._queue = self._queue, deque()
        for said in queue:
            self._member.settled(said, error)

    def _gone(self) -> PystreamError:
        return ShareSessionNotFound(
            f"broker {self.node_id} has released these records: the share session that they were given in is over"
        )

    def _now_ms(self) -> int:
        return self._cluster.clock.monotonic_ms()

    # --- requests -----------------------------------------------------------------------------------------------------

    def _take_queue(self) -> list[Said]:
        """What goes into one request: the first of each partition."""
        taken: dict[TopicIdPartition, Said] = {}
        left: deque[Said] = deque()
        for said in self._queue:
            if said.place in taken:
                left.append(said)
            else:
                taken[said.place] = said
        self._queue = left
        return list(taken.values())

    async def _ask(self, connection: Connection, request: Any, version: int, sent: list[Said], wait_ms: int) -> Any:
        """The answer; where there is none, everything that went along failed."""
        acknowledged = sum(last - first + 1 for said in sent for first, last in said.offsets)
        if acknowledged:
            self._member.metrics.acknowledging(acknowledged)
        try:
            response = await connection.request(request, version, timeout_ms=self._config.request_timeout_ms + wait_ms)
            if response.error_code != codes.NONE:
                raise error_class(response.error_code)(
                    f"{connection.name}: {response.error_message or ''}".rstrip(": ")
                )
        except (PystreamError, asyncio.CancelledError) as error:
            told = error if isinstance(error, PystreamError) else Closed("the share consumer was closed")
            for said in sent:
                self._member.settled(said, told)
            raise
        self._epoch = FIRST_EPOCH + 1 if self._epoch == LARGEST_EPOCH else self._epoch + 1
        self._member.acquisition_lock_timeout_ms = response.acquisition_lock_timeout_ms or None
        return response

    async def _fetch(self, connection: Connection, plan: Plan) -> None:
        version = connection.version_of(ApiKey.SHARE_FETCH)
        sent = [] if self._epoch == FIRST_EPOCH else self._take_queue()
        request = self._fetch_request(plan, sent, version)
        asked_at_ms = self._now_ms()
        response: ShareFetchResponse = await self._ask(connection, request, version, sent, request.max_wait_ms)
        self._known = dict.fromkeys(plan)
        self._note_fetch(response, asked_at_ms)
        left = {said.place: said for said in sent}
        nodes = {e.node_id: Node(e.node_id, e.host, e.port, e.rack) for e in response.node_endpoints}
        lock_ms = response.acquisition_lock_timeout_ms or DEFAULT_LOCK_MS
        for topic in response.responses:
            for data in topic.partitions:
                place = TopicIdPartition(topic.topic_id, data.partition_index)
                said = left.pop(place, None)
                if said is not None:
                    self._answered(said, data.acknowledge_error_code, data.acknowledge_error_message)
                key = plan.get(place)
                if key is not None:
                    self._note_leader(key, data.current_leader, nodes)
                    self._take_partition(key, place, data, asked_at_ms + lock_ms)
        self._left_out(connection, left.values())

    def _note_fetch(self, response: ShareFetchResponse, asked_at_ms: int) -> None:
        now_ms, metrics = self._now_ms(), self._member.metrics
        metrics.fetched(self.node_id, now_ms - asked_at_ms, response.throttle_time_ms, now_ms)
        parts = [part for topic in response.responses for part in topic.partitions]
        acquired = sum(each.last_offset - each.first_offset + 1 for part in parts for each in part.acquired_records)
        if acquired:
            metrics.received(sum(memoryview(part.records or b"").nbytes for part in parts), acquired)

    def _fetch_request(self, plan: Plan, sent: Sequence[Said], version: int) -> ShareFetchRequest:
        config = self._config
        wish = self._served = self._member.wish
        most = config.max_poll_records if wish is None else wish.most
        wait_ms = config.fetch_max_wait_ms
        if wish is not None and wish.ends_at_ms is not None:
            wait_ms = max(min(wait_ms, wish.ends_at_ms - self._now_ms()), 0)
        said = {each.place: each for each in sent}
        topics: dict[bytes, list[share_fetch.FetchPartition]] = {}
        for place in plan:
            if place in said or place not in self._known:
                topics.setdefault(place.topic_id, []).append(
                    share_fetch.FetchPartition(
                        partition_index=place.partition,
                        acknowledgement_batches=_batches(share_fetch.AcknowledgementBatch, said.get(place)),
                    )
                )
        forgotten: dict[bytes, list[int]] = {}
        for place in self._known:
            if place not in plan:
                forgotten.setdefault(place.topic_id, []).append(place.partition)
        exact = config.share_acquire_mode == "record_limit" and version >= RENEWAL_SINCE
        return ShareFetchRequest(
            group_id=self._member.group_id,
            member_id=self._member.member_id,
            share_session_epoch=self._epoch,
            max_wait_ms=wait_ms,
            min_bytes=config.fetch_min_bytes,
            max_bytes=config.fetch_max_bytes,
            max_records=most,
            batch_size=most,
            topics=[share_fetch.FetchTopic(topic_id=name, partitions=parts) for name, parts in topics.items()],
            forgotten_topics_data=[
                share_fetch.ForgottenTopic(topic_id=name, partitions=parts) for name, parts in forgotten.items()
            ],
            share_acquire_mode=EXACT_RECORDS if exact else 0,
        )

    async def _acknowledge(self, connection: Connection, epoch: int) -> None:
        """Send what is queued; with the final epoch that ends the session, also when nothing is."""
        if self._epoch == FIRST_EPOCH:  # no session: nothing can be said in it
            self._lose(self._gone())
            return
        version = connection.version_of(ApiKey.SHARE_ACKNOWLEDGE)
        sent = self._take_queue()
        topics: dict[bytes, list[share_acknowledge.AcknowledgePartition]] = {}
        for said in sent:
            topics.setdefault(said.place.topic_id, []).append(
                share_acknowledge.AcknowledgePartition(
                    partition_index=said.place.partition,
                    acknowledgement_batches=_batches(share_acknowledge.AcknowledgementBatch, said),
                )
            )
        request = ShareAcknowledgeRequest(
            group_id=self._member.group_id,
            member_id=self._member.member_id,
            share_session_epoch=epoch,
            topics=[share_acknowledge.AcknowledgeTopic(topic_id=name, partitions=p) for name, p in topics.items()],
            is_renew_ack=any(said.renews for said in sent),
        )
        response: ShareAcknowledgeResponse = await self._ask(connection, request, version, sent, 0)
        left = {said.place: said for said in sent}
        nodes = {e.node_id: Node(e.node_id, e.host, e.port, e.rack) for e in response.node_endpoints}
        for topic in response.responses:
            for data in topic.partitions:
                found = left.pop(TopicIdPartition(topic.topic_id, data.partition_index), None)
                if found is not None:
                    self._note_leader(found.key, data.current_leader, nodes)
                    self._answered(found, data.error_code, data.error_message)
        self._left_out(connection, left.values())

    async def _end(self) -> None:
        """The last request, when there is a session to end."""
        connection = self._connection
        try:
            if connection is not None and connection.is_open and self._epoch != FIRST_EPOCH:
                await self._acknowledge(connection, FINAL_EPOCH)
        except PystreamError as error:
            logger.debug("share session not closed in order", broker=self.node_id, error=str(error))
        finally:
            self._lose(self._gone())

    # --- answers ------------------------------------------------------------------------------------------------------

    def _answered(self, said: Said, error_code: int, message: str | None) -> None:
        if error_code == codes.NONE:
            self._member.settled(said, None)
            return
        error = error_class(error_code)(f"acknowledgements of {said.key}: {message or ''}".rstrip(": "))
        if error_code in STALE:
            self._cluster.refresh_soon()
        if not error.retriable or error_code in FINAL_FOR_ACKNOWLEDGEMENTS or isinstance(error, SESSION_LOST):
            self._member.settled(said, error)
        elif self._closing.is_set() or said.deadline_ms <= self._now_ms():
            what = f"acknowledgements of {said.key}: not done within {self._config.default_api_timeout_ms} ms"
            self._member.settled(said, error if self._closing.is_set() else DeadlineExceeded(what, error))
        else:
            self._retry_at_ms = self._now_ms() + self._cluster.backoff.delay_ms(1)
            self._queue.appendleft(said)

    def _left_out(self, connection: Connection, left: Iterable[Said]) -> None:
        for said in left:
            self._member.settled(said, UnknownServerError(f"{connection.name} said nothing of {said.key}"))

    def _note_leader(self, key: TopicPartition, leader: Any, nodes: Mapping[int, Node]) -> None:
        if leader is not None and leader.leader_id >= 0 and leader.leader_epoch > 0:
            told = Leader(leader.leader_id, leader.leader_epoch)
            self._cluster.note_leader(key.topic, key.partition, told, nodes.get(leader.leader_id))

    def _take_partition(
        self, key: TopicPartition, place: TopicIdPartition, data: share_fetch.PartitionData, expires_at_ms: int
    ) -> None:
        if data.error_code != codes.NONE:
            error = error_class(data.error_code)(f"{key}: {data.error_message or ''}".rstrip(": "))
            self._held_back[place] = self._now_ms() + self._cluster.backoff.delay_ms(1)
            if data.error_code in STALE:
                self._cluster.refresh_soon()
            elif not error.retriable:
                self._member.fail(error)
            return
        if not data.acquired_records:
            return
        acquired = [(each.first_offset, each.last_offset, each.delivery_count) for each in data.acquired_records]
        try:
            check_acquired(key, acquired)
        except MalformedInput as error:
            self._member.fail(error)
            return
        records = data.records or b""
        batch = MessageBatch(
            records,
            key.topic,
            key.partition,
            from_offset=acquired[0][0],
            check_crc=self._config.check_crcs,
            acquired=acquired,
        )
        batch.decode()
        deliveries, useless = deliveries_of(self, key, place, batch, records, acquired, expires_at_ms=expires_at_ms)
        self._member.arrived(deliveries)
        if useless:
            self.tell(Said(key, place, self, self.generation, useless))
        if batch.error is not None:
            if not isinstance(batch.error, PystreamError):
                raise batch.error
            self._member.fail(batch.error)


def check_acquired(key: TopicPartition, acquired: Sequence[tuple[int, int, int]]) -> None:
    """Raises MalformedInput for ranges that are empty, not in order, or absurdly many."""
    before = -1
    for first, last, count in acquired:
        if not before < first <= last or count < 0:
            raise MalformedInput(f"{key}: acquired {first} to {last} ({count} times), after {before}")
        before = last
    if len(acquired) > MOST_RANGES:
        raise MalformedInput(f"{key}: {len(acquired)} ranges acquired at once")


def _batches(kind: type[Any], said: Said | None) -> list[Any]:
    """The acknowledgements of a partition in either request's own words."""
    return [
        kind(first_offset=each.first, last_offset=each.last, acknowledge_types=list(each.kinds))
        for each in ranges_of(() if said is None else said.runs)
    ]


async def _within(event: asyncio.Event, duration_ms: int | None) -> None:
    """Return when it is set, or the time is over."""
    try:
        async with asyncio.timeout(None if duration_ms is None else duration_ms / 1000):
            await event.wait()
    except TimeoutError:
        return
