"""The classic group protocol: members meet at a barrier (JoinGroup), one assigns, all get their part (SyncGroup).

    eager assignors         give up everything ─▶ join ─▶ sync ─▶ hold what was assigned
    cooperative assignors   join ─▶ sync ─▶ give up what went, hold what came; join again when something went

Heartbeats run on meanwhile, also while the user's callbacks are waited for. Source: KIP-62, KIP-345 (static members),
KIP-394 (member ids), KIP-429 (cooperative), KIP-800 (reasons), KIP-814 (static leaders).
"""

from __future__ import annotations

import asyncio
from typing import Final

from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.cluster.retry import is_retriable
from pystream.client.consumer.commits import NO_GENERATION, Identity
from pystream.client.consumer.group.assignors import Assignor, Member, assignors_of
from pystream.client.consumer.group.membership import Membership
from pystream.common import error_codes as codes
from pystream.common.errors import (
    ClientError,
    DeadlineExceeded,
    FencedInstanceId,
    IllegalGeneration,
    InconsistentGroupProtocol,
    KafkaError,
    MalformedInput,
    MemberIdRequired,
    PystreamError,
    RebalanceInProgress,
    UnknownMemberId,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition
from pystream.protocol.consumer_protocol import (
    PROTOCOL_TYPE,
    read_assignment,
    read_subscription,
    write_assignment,
    write_subscription,
)
from pystream.protocol.messages import consumer_protocol_assignment, consumer_protocol_subscription
from pystream.protocol.messages.heartbeat import HeartbeatRequest
from pystream.protocol.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from pystream.protocol.messages.leave_group import LeaveGroupRequest, MemberIdentity
from pystream.protocol.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse

logger = get_logger(__name__)

SUBSCRIPTION_VERSION: Final = 3
ASSIGNMENT_VERSION: Final = 1
GRACE_MS: Final = 5_000  # the answer to JoinGroup comes when the rebalance is over, or a little later
MEMBERS_SINCE: Final = 3  # LeaveGroup


class ClassicProtocol:
    """One membership. Its task is `run`."""

    def __init__(self, membership: Membership) -> None:
        self._group = membership
        self._config = membership.config
        self._assignors = assignors_of(membership.config.partition_assignment_strategy)
        self._is_cooperative = all(assignor.is_cooperative for assignor in self._assignors)
        self._member_id = ""
        self._generation = NO_GENERATION
        self._joined_topics: list[str] = []
        self._watched: dict[str, int] = {}  # the leader: topics and their partitions when it assigned
        self._rejoin = asyncio.Event()
        self._given_up: list[TopicPartition] = []  # eager: what was held before this rebalance

    # --- told by the membership ---------------------------------------------------------------------------------------

    def subscription_changed(self) -> None:
        self._rejoin.set()

    def metadata_changed(self, metadata: ClusterMetadata) -> None:
        if self._generation == NO_GENERATION:
            return
        grown = bool(self._watched) and self._counts(self._watched) != self._watched
        if grown or self._group.topics != self._joined_topics:
            self._rejoin.set()

    async def leave(self) -> None:
        if not self._member_id or self._config.group_instance_id is not None:
            return  # a static member comes back: its session says when it does not
        connection = await self._group.coordinator()
        version = connection.version_of(LeaveGroupRequest.API_KEY)
        group_id = self._group.group_id
        if version < MEMBERS_SINCE:
            request = LeaveGroupRequest(group_id=group_id, member_id=self._member_id)
        else:
            identity = MemberIdentity(member_id=self._member_id, reason="the consumer is being closed")
            request = LeaveGroupRequest(group_id=group_id, members=[identity])
        self._member_id = ""
        self._generation = NO_GENERATION
        await connection.request(request, version)

    # --- the life of a member -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Join and follow rebalances until polls stop. Raises what the user must know."""
        try:
            while not self._group.is_late():  # a turn ends with a reason to join again
                self._rejoin.clear()
                self._group.metrics.rebalance_began()
                if not self._is_cooperative:
                    self._given_up = self._group.held
                    await self._while_beating(self._group.take_away(self._group.held))
                try:
                    await self._rebalance()
                    self._group.metrics.rebalanced()
                    await self._stay()
                except (UnknownMemberId, IllegalGeneration) as error:
                    self._forget(keep_id=isinstance(error, IllegalGeneration))
                    await self._group.take_away(self._group.held, lost=True)
                except (RebalanceInProgress, MemberIdRequired):
                    continue
        except PystreamError as error:
            self._group.note_error(error)
            if isinstance(error, FencedInstanceId):
                self._forget(keep_id=False)
                self._group.take_away(self._group.held, lost=True)
            raise
        logger.warning("polls stopped, the group is left", group=self._group.group_id)
        await self.leave()
        self._forget(keep_id=False)
        self._group.take_away(self._group.held, lost=True)

    def _forget(self, *, keep_id: bool) -> None:
        if not keep_id:
            self._member_id = ""
        self._generation = NO_GENERATION
        self._group.commits.identity = Identity()

    async def _stay(self) -> None:
        """Heartbeats, until there is reason to join again: a coordinator that is away for a while is none."""
        failures = 0
        while not self._rejoin.is_set() and not self._group.is_late():
            wait_ms = self._config.heartbeat_interval_ms
            if failures:
                wait_ms = min(wait_ms, self._group.cluster.backoff.delay_ms(failures))
            try:
                async with asyncio.timeout(wait_ms / 1000):
                    await self._rejoin.wait()
            except TimeoutError:
                failures = 0 if await self._is_heard() else failures + 1

    async def _is_heard(self) -> bool:
        """Whether a heartbeat was answered; raises the answers that end this generation."""
        try:
            await self._beat()
        except PystreamError as error:
            if not is_retriable(error) and not isinstance(error, DeadlineExceeded):
                raise
            logger.debug("heartbeat failed", group=self._group.group_id, error=str(error))
            self._group.note_error(error)
            return False
        return True

    async def _while_beating(self, step: asyncio.Future[None]) -> None:
        """Wait for the user's callback without losing the place in the group."""
        interval_s = self._config.heartbeat_interval_ms / 1000
        while not step.done():
            await asyncio.wait([step], timeout=interval_s)
            if not step.done() and self._group.is_late():
                await self.leave()
                await step
                raise UnknownMemberId("polls stopped during a rebalance, and the group was left")
            if not step.done() and self._generation != NO_GENERATION:
                try:
                    await self._beat()
                except RebalanceInProgress:
                    continue
                except (KafkaError, ClientError) as error:
                    logger.debug("heartbeat failed while a callback runs", error=str(error))
                    self._group.note_error(error)
                    if isinstance(error, UnknownMemberId | IllegalGeneration):
                        await step
                        raise
        await step

    async def _beat(self) -> None:
        connection = await self._group.coordinator()
        began_ms = self._group.cluster.clock.monotonic_ms()
        response = await connection.request(
            HeartbeatRequest(
                group_id=self._group.group_id,
                generation_id=self._generation,
                member_id=self._member_id,
                group_instance_id=self._config.group_instance_id,
            )
        )
        self._raise_for(response.error_code, "heartbeat")
        self._group.metrics.heartbeat(self._group.cluster.clock.monotonic_ms() - began_ms)

    def _raise_for(self, error_code: int, what: str) -> None:
        if error_code == codes.NONE:
            return
        error = error_class(error_code)(f"{what} in group {self._group.group_id!r}")
        self._group.note_error(error)
        raise error

    # --- a rebalance --------------------------------------------------------------------------------------------------

    async def _rebalance(self) -> None:
        if self._group.engine.subscription is not None and self._group.engine.subscription.pattern is not None:
            await self._group.cluster.refresh()
        self._group.commits.is_rebalancing = True
        try:
            assigned = await self._meet()
        finally:
            self._group.commits.is_rebalancing = False
        held = set(self._group.held)
        gone = [key for key in self._group.held if key not in assigned]
        came = [key for key in assigned if key not in held]
        logger.info(
            "group joined", group=self._group.group_id, generation=self._generation, came=len(came), gone=len(gone)
        )
        if gone:
            await self._while_beating(self._group.take_away(gone))
            self._rejoin.set()  # others wait for what we gave up
        await self._while_beating(self._group.give(came))

    async def _meet(self) -> list[TopicPartition]:
        """Join and sync; gives what this member gets."""
        response = await self._join()
        assignments = []
        self._watched = {}
        self._group.led_topics = frozenset()
        if response.leader == response.member_id:
            assignments = await self._assign(response)
            if response.skip_assignment:  # a static leader came back: all stays, but its topics are watched (KIP-814)
                assignments = []
        assigned = await self._sync(response, assignments)
        self._group.commits.identity = Identity(self._generation, self._member_id, self._config.group_instance_id)
        return assigned

    async def _join(self) -> JoinGroupResponse:
        self._joined_topics = self._group.topics
        held = self._group.held
        generation = self._generation if held else NO_GENERATION
        subscription = consumer_protocol_subscription.ConsumerProtocolSubscription
        owned_type = consumer_protocol_subscription.TopicPartition
        protocols = []
        for assignor in self._assignors:
            topics: dict[str, list[int]] = {}
            for key in held if self._is_cooperative else ():
                topics.setdefault(key.topic, []).append(key.partition)
            metadata = subscription(
                topics=self._joined_topics,
                user_data=assignor.writes_user_data(held or self._given_up, self._generation) or None,
                owned_partitions=[owned_type(topic=topic, partitions=parts) for topic, parts in topics.items()],
                generation_id=generation,
                rack_id=self._config.client_rack or None,
            )
            protocols.append(
                JoinGroupRequestProtocol(
                    name=assignor.name, metadata=write_subscription(metadata, SUBSCRIPTION_VERSION)
                )
            )
        request = JoinGroupRequest(
            group_id=self._group.group_id,
            session_timeout_ms=self._config.session_timeout_ms,
            rebalance_timeout_ms=self._config.max_poll_interval_ms,
            member_id=self._member_id,
            group_instance_id=self._config.group_instance_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=protocols,
        )
        connection = await self._group.coordinator()
        timeout_ms = max(self._config.max_poll_interval_ms, self._config.request_timeout_ms) + GRACE_MS
        response: JoinGroupResponse = await connection.request(request, timeout_ms=timeout_ms)
        if response.error_code == codes.MEMBER_ID_REQUIRED:
            self._member_id = response.member_id
        self._raise_for(response.error_code, "JoinGroup")
        self._member_id = response.member_id
        self._generation = response.generation_id
        return response

    async def _assign(self, response: JoinGroupResponse) -> list[SyncGroupRequestAssignment]:
        assignor = next((a for a in self._assignors if a.name == response.protocol_name), None)
        if assignor is None:
            raise InconsistentGroupProtocol(
                f"group {self._group.group_id!r} chose {response.protocol_name!r}, this member has "
                f"{', '.join(a.name for a in self._assignors)}"
            )
        members = [self._member(assignor, m.member_id, m.group_instance_id, m.metadata) for m in response.members]
        topics = set().union(*(member.topics for member in members))
        self._group.led_topics = frozenset(topics)
        self._group.cluster.track(topics)
        if not topics <= self._group.cluster.metadata.topics.keys():
            await self._group.cluster.refresh()
        self._watched = self._counts(topics)
        known = {topic: count for topic, count in self._watched.items() if count}
        assignments = []
        for member_id, partitions in assignor.assign(members, known).items():
            by_topic: dict[str, list[int]] = {}
            for topic, partition in partitions:
                by_topic.setdefault(topic, []).append(partition)
            assignment = consumer_protocol_assignment.ConsumerProtocolAssignment(
                assigned_partitions=[
                    consumer_protocol_assignment.TopicPartition(topic=topic, partitions=parts)
                    for topic, parts in by_topic.items()
                ]
            )
            assignments.append(
                SyncGroupRequestAssignment(
                    member_id=member_id, assignment=write_assignment(assignment, ASSIGNMENT_VERSION)
                )
            )
        return assignments

    def _counts(self, topics: dict[str, int] | set[str]) -> dict[str, int]:
        known = self._group.cluster.metadata.topics
        return {topic: known[topic].partition_count if topic in known else 0 for topic in topics}

    @staticmethod
    def _member(assignor: Assignor, member_id: str, instance_id: str | None, metadata: bytes) -> Member:
        told = read_subscription(metadata)
        owned: tuple[TopicPartition, ...] = tuple(
            TopicPartition(part.topic, partition) for part in told.owned_partitions for partition in part.partitions
        )
        generation = told.generation_id
        if told.user_data:
            try:
                told_owned, told_generation = assignor.reads_user_data(bytes(told.user_data))
            except MalformedInput as error:  # of one member: it owns nothing then, the others are assigned to as ever
                logger.limited("user data of a member does not parse", member=member_id, error=error)
                told_owned, told_generation = None, NO_GENERATION
            owned = owned if told_owned is None else told_owned
            generation = max(generation, told_generation)
        return Member(member_id, frozenset(told.topics), instance_id, owned, generation)

    async def _sync(
        self, joined: JoinGroupResponse, assignments: list[SyncGroupRequestAssignment]
    ) -> list[TopicPartition]:
        connection = await self._group.coordinator()
        response: SyncGroupResponse = await connection.request(
            SyncGroupRequest(
                group_id=self._group.group_id,
                generation_id=self._generation,
                member_id=self._member_id,
                group_instance_id=self._config.group_instance_id,
                protocol_type=PROTOCOL_TYPE,
                protocol_name=joined.protocol_name,
                assignments=assignments,
            ),
            timeout_ms=max(self._config.max_poll_interval_ms, self._config.request_timeout_ms) + GRACE_MS,
        )
        self._raise_for(response.error_code, "SyncGroup")
        if not response.assignment:
            return []
        told = read_assignment(bytes(response.assignment))
        return [TopicPartition(part.topic, p) for part in told.assigned_partitions for p in part.partitions]
