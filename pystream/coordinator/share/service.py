"""ShareService: ShareFetch and ShareAcknowledge, from request to response.

    ShareFetch        session ── acknowledgements that came along ┐
                              └─ records, perhaps after a wait ───┴▶ one answer
    ShareAcknowledge  session ── acknowledgements ──▶ one result for each partition asked

The final epoch ends the session: what its member still has is released. So it is when its connection goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pystream.common.clock import SleepingClock
from pystream.common.error_codes import NONE
from pystream.common.errors import (
    InvalidRequest,
    InvalidShareSessionEpoch,
    KafkaError,
    ShareSessionLimitReached,
    message_of,
)
from pystream.common.model import TopicIdPartition
from pystream.coordinator.share.fetch import FetchWish, Share, ShareFetcher
from pystream.coordinator.share.hosted import SharePartitions, woken_in_time
from pystream.coordinator.share.partition import Acknowledgement, AcknowledgeType, checked
from pystream.coordinator.share.sessions import FINAL_EPOCH, INITIAL_EPOCH, SessionKey, ShareSession, ShareSessions
from pystream.coordinator.share.state import ShareKey
from pystream.protocol.messages import share_acknowledge, share_fetch
from pystream.protocol.messages.share_acknowledge import ShareAcknowledgeRequest, ShareAcknowledgeResponse
from pystream.protocol.messages.share_fetch import ShareFetchRequest, ShareFetchResponse

LONGEST_MEMBER_ID = 36
EXACT_RECORDS = 1  # ShareAcquireMode RECORD_LIMIT of KIP-1206; 0 is BATCH_OPTIMIZED

Said = dict[TopicIdPartition, list[Acknowledgement]]
Errors = dict[TopicIdPartition, KafkaError | None]


class ShareService:
    """See the head of this module. `connection` is what names the client's connection.

    `watch` is called with a connection that has a session now, or waits for want of one: at its end
    `connection_closed` is expected.
    """

    def __init__(
        self, partitions: SharePartitions, clock: SleepingClock, *, max_sessions: int, watch: Callable[[int], None]
    ) -> None:
        self.partitions = partitions
        self._watch = watch
        self.sessions = ShareSessions(max_sessions)
        self._fetcher = ShareFetcher(partitions, clock)
        self._clock = clock
        self._without_room: dict[int, asyncio.Event] = {}  # by connection: set to end the wait

    async def fetch(self, request: ShareFetchRequest, connection: int) -> ShareFetchResponse:
        """Raises KafkaError when nothing of the request can be done."""
        key = session_key(request)
        said = said_in(request.topics)
        if request.is_renew_ack:
            check_renewal(request)
        try:
            session = self._session(key, request, said, connection)
        except ShareSessionLimitReached:
            await self._wait_without_room(connection, request.max_wait_ms)  # or the member would ask again and again
            raise
        acknowledging = asyncio.ensure_future(self._acknowledge_all(session, said, renewal=request.is_renew_ack))
        try:
            shares = await self._shares(session, request)
        finally:
            errors = await acknowledging
        if request.share_session_epoch == FINAL_EPOCH:
            await self._end(key)
        everything = session.partitions if request.share_session_epoch == INITIAL_EPOCH else ()
        return ShareFetchResponse(
            acquisition_lock_timeout_ms=self.partitions.lock_duration_ms(key.group_id),
            responses=[
                share_fetch.ShareFetchableTopicResponse(topic_id=topic_id, partitions=found)
                for topic_id, found in by_topic(
                    (partition, fetched(partition, shares.get(partition), errors.get(partition)))
                    for partition in dict.fromkeys([*everything, *errors, *shares])
                )
            ],
        )

    async def acknowledge(self, request: ShareAcknowledgeRequest) -> ShareAcknowledgeResponse:
        """Raises KafkaError when nothing of the request can be done."""
        key = session_key(request)
        if request.share_session_epoch == INITIAL_EPOCH:
            raise InvalidShareSessionEpoch("the first request of a share session is a ShareFetch")
        session = self.sessions.take(key, request.share_session_epoch)
        errors = await self._acknowledge_all(session, said_in(request.topics), renewal=request.is_renew_ack)
        if request.share_session_epoch == FINAL_EPOCH:
            await self._end(key)
        asked = partitions_of(
            (topic.topic_id, (p.partition_index for p in topic.partitions)) for topic in request.topics
        )
        return ShareAcknowledgeResponse(
            acquisition_lock_timeout_ms=self.partitions.lock_duration_ms(key.group_id),
            responses=[
                share_acknowledge.ShareAcknowledgeTopicResponse(topic_id=topic_id, partitions=found)
                for topic_id, found in by_topic(
                    (partition, acknowledged(partition, errors.get(partition))) for partition in dict.fromkeys(asked)
                )
            ],
        )

    def connection_closed(self, connection: int) -> None:
        """The sessions of the connection end, and what their members had is released."""
        if waiting := self._without_room.get(connection):
            waiting.set()
        for key in self.sessions.of_connection(connection):
            self.member_left(*key)

    def close_all(self) -> None:
        """No more sessions: whoever waits for records is answered."""
        for key in self.sessions.members():
            self.sessions.close(key)
        for waiting in self._without_room.values():
            waiting.set()

    def member_left(self, group_id: str, member_id: str) -> None:
        """A member was removed from its group, or is gone."""
        self.sessions.close(SessionKey(group_id, member_id))
        self.partitions.release(group_id, member_id)

    async def _wait_without_room(self, connection: int, max_wait_ms: int) -> None:
        """For so long, unless the connection ends before, which has one request at a time, or the whole service."""
        ended = self._without_room[connection] = asyncio.Event()
        self._watch(connection)
        try:
            await woken_in_time(self._clock, ended, max_wait_ms)
        finally:
            self._without_room.pop(connection, None)

    async def _end(self, key: SessionKey) -> None:
        self.sessions.close(key)
        await asyncio.gather(*self.partitions.release(*key))

    def _session(self, key: SessionKey, request: ShareFetchRequest, said: Said, connection: int) -> ShareSession:
        """The session that the request belongs to, its partitions brought up to date."""
        if request.share_session_epoch == INITIAL_EPOCH:
            if said:
                raise InvalidRequest("the first request of a share session has nothing to acknowledge")
            if self.sessions.close(key) is not None:
                self.partitions.release(*key)
            session = self.sessions.open(key, connection)
            self._watch(connection)
        else:
            session = self.sessions.take(key, request.share_session_epoch)
        if request.share_session_epoch != FINAL_EPOCH:
            added = partitions_of(
                (topic.topic_id, (p.partition_index for p in topic.partitions)) for topic in request.topics
            )
            forgotten = partitions_of((topic.topic_id, topic.partitions) for topic in request.forgotten_topics_data)
            session.update(added, forgotten)
        return session

    async def _shares(self, session: ShareSession, request: ShareFetchRequest) -> dict[TopicIdPartition, Share]:
        if request.share_session_epoch == FINAL_EPOCH or request.is_renew_ack:
            return {}
        wish = FetchWish(
            max_wait_ms=request.max_wait_ms,
            min_bytes=request.min_bytes,
            max_bytes=request.max_bytes,
            max_records=request.max_records,
            batch_size=request.batch_size,
            exact=request.share_acquire_mode == EXACT_RECORDS,
        )
        return await self._fetcher.fetch(session, wish)

    async def _acknowledge_all(self, session: ShareSession, said: Said, *, renewal: bool) -> Errors:
        """What became of the acknowledgements of each partition, which are written side by side."""
        done = await asyncio.gather(
            *(self._acknowledge(session.key, partition, found, renewal=renewal) for partition, found in said.items())
        )
        return dict(zip(said, done, strict=True))

    async def _acknowledge(
        self, key: SessionKey, partition: TopicIdPartition, said: Sequence[Acknowledgement], *, renewal: bool
    ) -> KafkaError | None:
        try:
            for found in checked(said):
                if AcknowledgeType.RENEW in found.types and not renewal:
                    raise InvalidRequest("records are renewed by a request that says so")
            await self.partitions.acknowledge(ShareKey(key.group_id, *partition), key.member_id, said)
        except KafkaError as error:
            return error
        return None


def session_key(request: ShareFetchRequest | ShareAcknowledgeRequest) -> SessionKey:
    """Who asks. Raises InvalidRequest for ids that nobody has."""
    if not request.group_id:
        raise InvalidRequest("Invalid group id in the request.")
    if not request.member_id or len(request.member_id) > LONGEST_MEMBER_ID:
        raise InvalidRequest("Invalid member id in the request.")
    return SessionKey(request.group_id, request.member_id)


def check_renewal(request: ShareFetchRequest) -> None:
    """A request that renews asks for nothing. Raises InvalidRequest. Source: KIP-1222."""
    for name in ("max_bytes", "min_bytes", "max_records", "max_wait_ms"):
        if getattr(request, name):
            raise InvalidRequest(f"{name} must be 0 if isRenewAck is true.")


def said_in(topics: Iterable[Any]) -> Said:
    """The acknowledgements in the topics of either request. Partitions without any are left out."""
    said: Said = {}
    for topic in topics:
        for partition in topic.partitions:
            found = [
                Acknowledgement(batch.first_offset, batch.last_offset, batch.acknowledge_types)
                for batch in partition.acknowledgement_batches
            ]
            if found:
                said.setdefault(TopicIdPartition(topic.topic_id, partition.partition_index), []).extend(found)
    return said


def partitions_of(topics: Iterable[tuple[bytes, Iterable[int]]]) -> list[TopicIdPartition]:
    return [TopicIdPartition(topic_id, partition) for topic_id, partitions in topics for partition in partitions]


def by_topic(results: Iterable[tuple[TopicIdPartition, Any]]) -> list[tuple[bytes, list[Any]]]:
    """Results of partitions under their topics."""
    topics: dict[bytes, list[Any]] = {}
    for partition, result in results:
        topics.setdefault(partition.topic_id, []).append(result)
    return list(topics.items())


def fetched(partition: TopicIdPartition, share: Share | None, error: KafkaError | None) -> share_fetch.PartitionData:
    """What ShareFetch answers for a partition. `error` is that of its acknowledgements."""
    share = share or Share()
    return share_fetch.PartitionData(
        partition_index=partition.partition,
        error_code=NONE if share.error is None else share.error.code,
        error_message=None if share.error is None else message_of(share.error),
        acknowledge_error_code=NONE if error is None else error.code,
        acknowledge_error_message=None if error is None else message_of(error),
        records=share.records,
        acquired_records=[
            share_fetch.AcquiredRecords(first_offset=first, last_offset=last, delivery_count=delivery_count)
            for first, last, delivery_count in share.acquired
        ],
    )


def acknowledged(partition: TopicIdPartition, error: KafkaError | None) -> share_acknowledge.PartitionData:
    return share_acknowledge.PartitionData(
        partition_index=partition.partition,
        error_code=NONE if error is None else error.code,
        error_message=None if error is None else message_of(error),
    )
