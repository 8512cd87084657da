"""The consumer group protocol of KIP-848: the coordinator assigns, heartbeats carry everything.

    heartbeat (epoch 0: join; what changed)  ──▶  epoch, target assignment
    reconcile: give up what is not in the target ─▶ heartbeat with what is held ─▶ take what came ─▶ heartbeat

Reconciling waits for the user's polls; heartbeats do not wait for it. Patterns are matched here, so that they are
Python's. Source: KIP-848, KIP-1082 (member ids of the client's making).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.consumer.commits import Identity
from pystream.client.consumer.group.membership import Membership
from pystream.common import error_codes as codes
from pystream.common.errors import (
    ClientError,
    DeadlineExceeded,
    FencedMemberEpoch,
    KafkaError,
    NoBrokersAvailable,
    PystreamError,
    UnknownMemberId,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition, random_uuid, uuid_text
from pystream.protocol.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)

logger = get_logger(__name__)

JOINING: Final = 0
LEAVING: Final = -1
LEAVING_FOR_A_WHILE: Final = -2  # a static member comes back
DEFAULT_INTERVAL_MS: Final = 5_000
UNKNOWN_TOPIC_WAIT_MS: Final = 100

Target = dict[bytes, list[int]]  # topic id -> partitions


class ConsumerProtocol:
    """One membership. Its tasks are `run` and what reconciles."""

    def __init__(self, membership: Membership) -> None:
        self._group = membership
        self._config = membership.config
        self._member_id = uuid_text(random_uuid())
        self._epoch = JOINING
        self._interval_ms = DEFAULT_INTERVAL_MS
        self._sent: dict[str, Any] = {}  # what the coordinator was told last
        self._target: Target | None = None
        self._target_changed = asyncio.Event()
        self._due = asyncio.Event()  # a heartbeat has something to say
        self._reconciling: asyncio.Task[None] | None = None

    # --- told by the membership ---------------------------------------------------------------------------------------

    def subscription_changed(self) -> None:
        self._due.set()

    def metadata_changed(self, metadata: ClusterMetadata) -> None:
        if self._sent.get("subscribed_topic_names", self._group.topics) != self._group.topics:
            self._due.set()
        self._target_changed.set()

    async def leave(self) -> None:
        await self._stop_reconciling()
        if self._epoch <= JOINING and not self._sent:
            return
        static = self._config.group_instance_id is not None
        request = ConsumerGroupHeartbeatRequest(
            group_id=self._group.group_id,
            member_id=self._member_id,
            member_epoch=LEAVING_FOR_A_WHILE if static else LEAVING,
            instance_id=self._config.group_instance_id,
        )
        self._epoch, self._sent = JOINING, {}
        connection = await self._group.coordinator()
        await connection.request(request)

    # --- the life of a member -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Join and follow assignments until polls stop. Raises what the user must know."""
        if self._group.engine.subscription is not None and self._group.engine.subscription.pattern is not None:
            await self._group.cluster.refresh()
        failures = 0
        self._follow_target()
        try:
            while not self._group.is_late():
                self._due.clear()
                try:
                    await self._heartbeat()
                    failures = 0
                except (KafkaError, NoBrokersAvailable, DeadlineExceeded) as error:
                    failures += 1
                    await self._failed(error, failures)
                    continue
                try:
                    async with asyncio.timeout(min(self._interval_ms, max(self._group.left_ms(), 1)) / 1000):
                        await self._due.wait()
                except TimeoutError:
                    continue
        except PystreamError:
            await self._stop_reconciling()
            raise
        logger.warning("polls stopped, the group is left", group=self._group.group_id)
        await self.leave()
        self._out()
        self._group.take_away(self._group.held, lost=True)

    async def _failed(self, error: KafkaError | ClientError, failures: int) -> None:
        """Mend what a failed heartbeat shows; raises what cannot be mended."""
        self._group.note_error(error)
        if isinstance(error, UnknownMemberId | FencedMemberEpoch):
            logger.info("fenced, joining again", group=self._group.group_id, error=str(error))
            await self._stop_reconciling()
            self._out()
            await self._group.take_away(self._group.held, lost=True)
            return
        if isinstance(error, KafkaError) and not error.retriable:
            self._out()
            self._group.take_away(self._group.held, lost=True)
            raise error
        self._sent = {}  # say everything again
        await self._group.cluster.clock.sleep_ms(self._group.cluster.backoff.delay_ms(failures))

    def _out(self) -> None:
        self._epoch = JOINING
        self._sent = {}
        self._target = None
        self._group.commits.identity = Identity()

    # --- heartbeats ---------------------------------------------------------------------------------------------------

    async def _heartbeat(self) -> None:
        request = self._request()
        connection = await self._group.coordinator()
        began_ms = self._group.cluster.clock.monotonic_ms()
        response: ConsumerGroupHeartbeatResponse = await connection.request(request)
        if response.error_code != codes.NONE:
            raise error_class(response.error_code)(
                f"heartbeat in group {self._group.group_id!r}: {response.error_message or ''}".rstrip(": ")
            )
        self._group.metrics.heartbeat(self._group.cluster.clock.monotonic_ms() - began_ms)
        if response.member_id:
            self._member_id = response.member_id
        self._epoch = response.member_epoch
        self._interval_ms = response.heartbeat_interval_ms or DEFAULT_INTERVAL_MS
        self._group.commits.identity = Identity(self._epoch, self._member_id, self._config.group_instance_id)
        if response.assignment is not None:
            self._target = {part.topic_id: list(part.partitions) for part in response.assignment.topic_partitions}
            self._follow_target()

    def _follow_target(self) -> None:
        self._target_changed.set()
        if self._target is not None and (self._reconciling is None or self._reconciling.done()):
            self._reconciling = self._group.cluster.spawn("reconcile", self._reconcile())

    def _request(self) -> ConsumerGroupHeartbeatRequest:
        """The next heartbeat: everything when joining, else what the coordinator does not know yet."""
        config = self._config
        everything: dict[str, Any] = {
            "instance_id": config.group_instance_id,
            "rack_id": config.client_rack or None,
            "rebalance_timeout_ms": config.max_poll_interval_ms,
            "subscribed_topic_names": self._group.topics,
            "server_assignor": config.group_remote_assignor,
            "topic_partitions": self._held_by_id(),
        }
        defaults: dict[str, Any] = {"rebalance_timeout_ms": -1}
        told: dict[str, Any] = {
            name: value
            if self._epoch == JOINING or self._sent.get(name) != value or name == "instance_id"
            else defaults.get(name)
            for name, value in everything.items()
        }
        self._sent = everything
        held = told.pop("topic_partitions")
        topics = (
            None
            if held is None
            else [
                ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=topic_id, partitions=partitions)
                for topic_id, partitions in held.items()
            ]
        )
        return ConsumerGroupHeartbeatRequest(
            group_id=self._group.group_id,
            member_id=self._member_id,
            member_epoch=self._epoch,
            topic_partitions=topics,
            **told,
        )

    def _held_by_id(self) -> dict[bytes, list[int]]:
        if self._epoch == JOINING:
            return {}
        known = self._group.cluster.metadata.topics
        held: dict[bytes, list[int]] = {}
        for topic, partition in sorted(self._group.held):
            if topic in known:
                held.setdefault(known[topic].topic_id, []).append(partition)
        return held

    # --- assignments --------------------------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        """Hold what the coordinator wants, step by step, until there is nothing to do."""
        self._group.metrics.rebalance_began()
        while self._target is not None:
            self._target_changed.clear()
            target = self._target
            wanted, unknown = self._names_of(target)
            held = self._group.held
            gone = [key for key in held if key not in wanted]
            if gone:
                await self._group.take_away(gone)
                self._due.set()
            came = [key for key in wanted if key not in held]
            if self._target is target and (came or not gone):
                await self._group.give(came)
                self._due.set()
            if unknown:
                await self._wait_for_names()
            elif self._target is target:
                self._group.metrics.rebalanced()
                return

    async def _wait_for_names(self) -> None:
        self._group.cluster.refresh_soon()
        try:
            async with asyncio.timeout(UNKNOWN_TOPIC_WAIT_MS / 1000):
                await self._target_changed.wait()
        except TimeoutError:
            return

    def _names_of(self, target: Target) -> tuple[list[TopicPartition], bool]:
        """The partitions by name, and whether some topic is not known yet."""
        wanted: list[TopicPartition] = []
        unknown = False
        for topic_id, partitions in target.items():
            topic = self._group.cluster.metadata.topic_by_id(topic_id)
            if topic is None:
                unknown = True
            else:
                wanted += [TopicPartition(topic.name, partition) for partition in partitions]
        return wanted, unknown

    async def _stop_reconciling(self) -> None:
        task, self._reconciling = self._reconciling, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
