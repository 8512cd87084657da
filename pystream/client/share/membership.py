"""A share consumer's place in its group: heartbeats that carry the subscription there and the assignment back.

    epoch 0: join (topics) ──▶ epoch, interval, assignment ──▶ heartbeats ──▶ epoch -1: leave

Partitions of a share group may be assigned to many members at once: nothing is revoked in steps, and nobody is asked.
Source: KIP-932.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.cluster.retry import is_retriable
from pystream.client.config import ShareConsumerConfig
from pystream.client.metrics.share import ShareMetrics
from pystream.common import error_codes as codes
from pystream.common.errors import (
    Closed,
    CoordinatorNotAvailable,
    DeadlineExceeded,
    FencedMemberEpoch,
    NetworkFailure,
    NotCoordinator,
    PystreamError,
    UnknownMemberId,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import TopicIdPartition, TopicPartition, random_uuid, uuid_text
from pystream.protocol.messages.share_group_heartbeat import ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse

logger = get_logger(__name__)

JOINING: Final = 0
LEAVING: Final = -1
DEFAULT_INTERVAL_MS: Final = 5_000
UNKNOWN_TOPIC_WAIT_MS: Final = 100
FIRST_LOOK_MS: Final = 20  # after joining: the coordinator assigns once the state of the partitions has been made
LEAVE_TIMEOUT_MS: Final = 5_000

Target = dict[bytes, list[int]]  # topic id -> partitions
Assignment = Mapping[TopicIdPartition, TopicPartition]


class Member(Protocol):
    """The consumer whose membership it is."""

    config: ShareConsumerConfig
    cluster: Cluster
    topics: list[str]
    last_poll_ms: int
    metrics: ShareMetrics

    @property
    def is_polling(self) -> bool:
        """Whether the user waits in poll."""
        ...

    def assigned(self, assignment: Assignment) -> None:
        """These are the partitions from now on."""
        ...

    async def let_go(self) -> None:
        """Give back what is held."""
        ...

    def fail(self, error: PystreamError) -> None:
        """Raise this from the next poll."""
        ...


class ShareMembership:
    """One member. Its task lives from subscribe to `leave`."""

    def __init__(self, member: Member, group_id: str) -> None:
        self.group_id = group_id
        self.member_id = uuid_text(random_uuid())
        self._member = member
        self._cluster = member.cluster
        self._epoch = JOINING
        self._interval_ms = DEFAULT_INTERVAL_MS
        self._sent: list[str] | None = None  # the topics that the coordinator was told last
        self._is_known = False  # whether the coordinator may think that we are there
        self._target: Target = {}
        self._is_complete = True  # whether the names of all assigned topics are known
        self._look_again_ms = FIRST_LOOK_MS  # while nothing is assigned
        self._due = asyncio.Event()
        self._polled = asyncio.Event()
        self._task = self._cluster.spawn(f"member of {group_id}", self._serve())

    # --- told by the consumer -----------------------------------------------------------------------------------------

    def subscribed(self) -> None:
        """The subscription changed."""
        self._look_again_ms = FIRST_LOOK_MS
        self._due.set()

    def polled(self) -> None:
        """The user polled."""
        self._polled.set()

    def metadata_changed(self, metadata: ClusterMetadata) -> None:
        """Topics came, went or got other ids: then the coordinator knows better soon."""
        was_complete = self._is_complete
        self._resolve(metadata)
        if was_complete and not self._is_complete:
            self._due.set()

    async def leave(self) -> None:
        """End the task, and tell the coordinator."""
        self._task.cancel()
        await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_MS / 1000):
                await self._tell_leaving()
        except (PystreamError, TimeoutError) as error:
            logger.debug("group not left in order", group=self.group_id, error=str(error))

    def abandon(self) -> None:
        """End at once; the coordinator finds out by itself."""
        self._task.cancel()

    # --- the task -----------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        failures = 0
        while True:
            try:
                if self._left_ms() <= 0:
                    await self._sit_out()
                self._due.clear()
                await self._heartbeat()
                failures = 0
                await self._wait()
            except Closed:
                return
            except PystreamError as error:
                failures += 1
                await self._failed(error, failures)

    async def _wait(self) -> None:
        interval_ms = min(self._interval_ms, max(self._left_ms(), 1))
        if not self._is_complete:
            interval_ms = min(interval_ms, UNKNOWN_TOPIC_WAIT_MS)
            self._cluster.refresh_soon()
        if not self._target:
            interval_ms = min(interval_ms, self._look_again_ms)
            self._look_again_ms = min(2 * self._look_again_ms, self._interval_ms)
        try:
            async with asyncio.timeout(interval_ms / 1000):
                await self._due.wait()
        except TimeoutError:
            return

    def _left_ms(self) -> int:
        """Until the last poll is longer ago than max.poll.interval.ms."""
        allowed_ms = self._member.config.max_poll_interval_ms
        if self._member.is_polling:
            return allowed_ms
        return allowed_ms + 1 - (self._cluster.clock.monotonic_ms() - self._member.last_poll_ms)

    async def _sit_out(self) -> None:
        """Leave the group, and return when the user polls again."""
        logger.warning("polls stopped, the group is left", group=self.group_id)
        self._polled.clear()
        await self._member.let_go()
        await self._tell_leaving()
        self._out()
        if not self._member.is_polling:
            await self._polled.wait()

    async def _failed(self, error: PystreamError, failures: int) -> None:
        if isinstance(error, NotCoordinator | CoordinatorNotAvailable | NetworkFailure):
            self._cluster.coordinators.forget(CoordinatorKind.GROUP, self.group_id)
        if isinstance(error, UnknownMemberId | FencedMemberEpoch):
            logger.info("fenced, joining again", group=self.group_id, error=str(error))
            self._out()
            if failures == 1:
                return
        elif not is_retriable(error) and not isinstance(error, DeadlineExceeded):
            self._out()
            self._member.fail(error)
            self._polled.clear()
            await self._polled.wait()
        self._sent = None  # say everything again
        await self._cluster.clock.sleep_ms(self._cluster.backoff.delay_ms(failures))

    def _out(self) -> None:
        self._epoch = JOINING
        self._sent = None
        self._target = {}
        self._look_again_ms = FIRST_LOOK_MS
        self._resolve(self._cluster.metadata)

    # --- heartbeats ---------------------------------------------------------------------------------------------------

    async def _heartbeat(self) -> None:
        topics = self._member.topics
        is_news = self._epoch == JOINING or self._sent != topics
        self._sent = topics
        request = ShareGroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=self._epoch,
            rack_id=(self._member.config.client_rack or None) if is_news else None,
            subscribed_topic_names=topics if is_news else None,
        )
        response = await self._ask(request)
        if response.member_id:
            self.member_id = response.member_id
        self._epoch = response.member_epoch
        self._interval_ms = response.heartbeat_interval_ms or DEFAULT_INTERVAL_MS
        if response.assignment is not None:
            self._target = {part.topic_id: list(part.partitions) for part in response.assignment.topic_partitions}
            self._resolve(self._cluster.metadata)

    async def _tell_leaving(self) -> None:
        if not self._is_known:
            return
        self._is_known = False
        request = ShareGroupHeartbeatRequest(group_id=self.group_id, member_id=self.member_id, member_epoch=LEAVING)
        self._epoch, self._sent = JOINING, None
        await self._ask(request)

    async def _ask(self, request: ShareGroupHeartbeatRequest) -> ShareGroupHeartbeatResponse:
        connection = await self._cluster.coordinator(CoordinatorKind.GROUP, self.group_id)
        self._is_known = request.member_epoch != LEAVING
        clock = self._cluster.clock
        asked_at_ms = clock.monotonic_ms()
        response: ShareGroupHeartbeatResponse = await connection.request(request)
        self._member.metrics.heartbeat(clock.monotonic_ms() - asked_at_ms)
        if response.error_code != codes.NONE:
            raise error_class(response.error_code)(
                f"heartbeat in share group {self.group_id!r}: {response.error_message or ''}".rstrip(": ")
            )
        return response

    def _resolve(self, metadata: ClusterMetadata) -> None:
        """Tell the consumer its partitions by id and name, as far as names are known."""
        found: dict[TopicIdPartition, TopicPartition] = {}
        self._is_complete = True
        for topic_id, partitions in self._target.items():
            topic = metadata.topic_by_id(topic_id)
            if topic is None:
                self._is_complete = False
                continue
            for partition in partitions:
                found[TopicIdPartition(topic_id, partition)] = TopicPartition(topic.name, partition)
        self._member.assigned(found)
