"""A consumer's place in its group: one task that runs the classic or the new protocol and asks the user on the way.

    unset group.protocol:  consumer (KIP-848) where the coordinator has it, else classic

What a protocol shares with the others is here: the coordinator, steps that wait for the user's next poll, the time
since that poll, leaving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, Protocol

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.coordinators import CoordinatorKind
from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.cluster.retry import is_retriable
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.commits import Commits, Identity
from pystream.client.consumer.group.steps import RebalanceStep, Steps
from pystream.client.consumer.group.subscription import Subscription
from pystream.client.consumer.model import RebalanceKind
from pystream.client.consumer.positions import PartitionState, Positions
from pystream.client.metrics.consumer import ConsumerMetrics
from pystream.common.errors import (
    Closed,
    CoordinatorNotAvailable,
    DeadlineExceeded,
    FencedInstanceId,
    InconsistentGroupProtocol,
    NetworkFailure,
    NotCoordinator,
    PystreamError,
    RequestTimedOut,
    UnsupportedVersion,
)
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition
from pystream.net.connection import Connection
from pystream.protocol.api_keys import ApiKey

logger = get_logger(__name__)

LEAVE_TIMEOUT_MS: Final = 5_000
CLASSIC: Final = "classic"


class GroupProtocol(Protocol):
    """What both protocols offer."""

    async def run(self) -> None:
        """Join, keep the place, follow assignments; returns when polls stopped and the group is left."""
        ...

    def subscription_changed(self) -> None:
        """Tell the group of a new subscription, soon."""
        ...

    def metadata_changed(self, metadata: ClusterMetadata) -> None:
        """Topics came, went or grew."""
        ...

    async def leave(self) -> None:
        """Tell the coordinator, once; errors are no more of interest."""
        ...


class Member(Protocol):
    """The consumer whose membership it is."""

    config: ConsumerConfig
    cluster: Cluster
    commits: Commits | None
    positions: Positions
    metrics: ConsumerMetrics
    subscription: Subscription | None
    steps: Steps
    last_poll_ms: int

    @property
    def is_polling(self) -> bool:
        """Whether the user waits in poll."""
        ...

    def set_assignment(self, partitions: Iterable[TopicPartition]) -> list[PartitionState]:
        """Hold exactly these."""
        ...

    def notify(self) -> None:
        """A step is there: the poll that waits goes on."""
        ...

    def fail(self, error: PystreamError) -> None:
        """Raise this from the next poll."""
        ...


class Membership:
    """Owned by the engine; lives from the first subscribe to unsubscribe or close."""

    def __init__(
        self,
        engine: Member,
        *,
        classic: Callable[[Membership], GroupProtocol],
        consumer: Callable[[Membership], GroupProtocol],
    ) -> None:
        self._classic = classic
        self._consumer = consumer
        self.engine = engine
        self.cluster = engine.cluster
        self.config = engine.config
        self.metrics = engine.metrics
        assert engine.commits is not None
        assert engine.config.group_id is not None
        self.commits = engine.commits
        self.group_id: str = engine.config.group_id
        self.protocol: GroupProtocol | None = None
        self._prefers_classic = engine.config.group_protocol == CLASSIC
        self.led_topics: frozenset[str] = frozenset()  # the leader's: what all members subscribe to
        self.awaits_poll = False  # the task waits for the user's next poll
        self._polled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- told by the engine -------------------------------------------------------------------------------------------

    def subscribed(self) -> None:
        """The subscription is new or changed."""
        if self._task is None or self._task.done():
            self._task = self.cluster.spawn(f"member of {self.group_id}", self._serve())
        elif self.protocol is not None:
            self.protocol.subscription_changed()

    def polled(self) -> None:
        """The user polled; in the loop."""
        self._polled.set()

    def metadata_changed(self, metadata: ClusterMetadata) -> None:
        """Topics came, went or grew."""
        if self.protocol is not None:
            self.protocol.metadata_changed(metadata)

    async def leave(self, *, leave_group: bool = True) -> None:
        """End the task; give up what is held, telling the user; tell the coordinator."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        protocol, self.protocol = self.protocol, None
        if protocol is not None and leave_group:
            try:
                async with asyncio.timeout(LEAVE_TIMEOUT_MS / 1000):
                    await protocol.leave()
            except (PystreamError, TimeoutError) as error:
                logger.debug("group not left in order", group=self.group_id, error=str(error))
        self.commits.identity = Identity()

    # --- the task -----------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        failures = 0
        while True:
            try:
                if self.protocol is None:
                    self.protocol = await self._choose()
                await self.protocol.run()
                failures = 0
                await self._wait_for_poll()
            except Closed:
                return
            except (UnsupportedVersion, InconsistentGroupProtocol) as error:
                if self._prefers_classic or self.config.group_protocol is not None:
                    self.engine.fail(error)
                    return
                logger.info(
                    "the new group protocol cannot be used, falling back", group=self.group_id, error=str(error)
                )
                self._prefers_classic, self.protocol = True, None
            except FencedInstanceId as error:
                while True:  # another process has this group.instance.id now: joining again would put that one out
                    self.engine.fail(FencedInstanceId(f"{error}; another consumer has the same group.instance.id"))
                    await self._wait_for_poll(after_failure=True)
            except PystreamError as error:
                if not is_retriable(error) and not isinstance(error, DeadlineExceeded):
                    self.engine.fail(error)
                    await self._wait_for_poll(after_failure=True)
                failures += 1
                await self.cluster.clock.sleep_ms(self.cluster.backoff.delay_ms(failures))

    async def _choose(self) -> GroupProtocol:
        if self._prefers_classic:
            return self._classic(self)
        if self.config.group_protocol is None:
            connection = await self.coordinator()
            if not connection.supports(ApiKey.CONSUMER_GROUP_HEARTBEAT):
                self._prefers_classic = True
                return self._classic(self)
        return self._consumer(self)

    async def _wait_for_poll(self, *, after_failure: bool = False) -> None:
        """Return when the user polls: after this moment, or with what was too long ago."""
        if after_failure or not self.engine.is_polling:
            self._polled.clear()
            self.awaits_poll = True
            await self._polled.wait()
            self.awaits_poll = False

    # --- for the protocols --------------------------------------------------------------------------------------------

    async def coordinator(self, lane: str = "coordinator") -> Connection:
        """A connection to the group's coordinator."""
        return await self.cluster.coordinator(CoordinatorKind.GROUP, self.group_id, lane)

    def note_error(self, error: Exception) -> None:
        """Forget the coordinator where an error says so."""
        if isinstance(error, NotCoordinator | CoordinatorNotAvailable | NetworkFailure | RequestTimedOut):
            self.cluster.coordinators.forget(CoordinatorKind.GROUP, self.group_id)

    @property
    def topics(self) -> list[str]:
        """What is subscribed to now."""
        assert self.engine.subscription is not None
        return self.engine.subscription.names(self.cluster.metadata)

    @property
    def held(self) -> list[TopicPartition]:
        """What is assigned now."""
        return self.engine.positions.keys()

    def is_late(self) -> bool:
        """Whether the last poll is longer ago than max.poll.interval.ms."""
        return self.left_ms() <= 0

    def left_ms(self) -> int:
        """Until that is so."""
        allowed_ms = self.config.max_poll_interval_ms
        if self.engine.is_polling:
            return allowed_ms
        return allowed_ms + 1 - (self.cluster.clock.monotonic_ms() - self.engine.last_poll_ms)

    def give(self, partitions: Iterable[TopicPartition]) -> asyncio.Future[None]:
        """Hold these too, with the user's next poll."""
        added = list(partitions)
        return self._step(
            RebalanceKind.ASSIGNED, added, lambda: self.engine.set_assignment(dict.fromkeys([*self.held, *added]))
        )

    def take_away(self, partitions: Iterable[TopicPartition], *, lost: bool = False) -> asyncio.Future[None]:
        """Hand out no more of these at once, and let go of them with the user's next poll."""
        waiting = self.engine.steps.take_all()  # what was not come to is settled by this: once given up, once told
        wanted = {*partitions, *chain.from_iterable(s.partitions for s in waiting if s.kind != RebalanceKind.ASSIGNED)}
        gone = [key for key in self.held if key in wanted]
        if not gone:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            finished = done
        else:
            for key in gone:
                state = self.engine.positions.get(key)
                if state is not None:
                    state.withdrawn = True
            lost = lost or any(step.kind == RebalanceKind.LOST for step in waiting)
            finished = self._step(
                RebalanceKind.LOST if lost else RebalanceKind.REVOKED,
                gone,
                lambda: self.engine.set_assignment([key for key in self.held if key not in wanted]),
            )
        for step in waiting:
            follow(finished, step.finished)
        return finished

    def last_step(self) -> RebalanceStep | None:
        """What the user is told before the group is left: all goes, lost where it has been lost; None for nothing."""
        self.engine.steps.drop_interrupted()
        self.take_away(self.held, lost=not self.commits.identity.member_id)
        return self.engine.steps.next()

    def _step(self, kind: str, partitions: list[TopicPartition], apply: Callable[[], object]) -> asyncio.Future[None]:
        step = RebalanceStep(kind, partitions, apply)
        self.engine.steps.add(step)
        self.engine.notify()
        return step.finished


def follow(first: asyncio.Future[None], second: asyncio.Future[None]) -> None:
    """The second is done when the first is."""

    def finish(_: asyncio.Future[None]) -> None:
        if not second.done():
            second.set_result(None)

    first.add_done_callback(finish)
