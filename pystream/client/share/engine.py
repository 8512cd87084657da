"""The share consumer's machinery behind both faces: asyncio, without threads of its own.

    face (user's task or thread)                      engine (loop)
      hand.settle ─▶ outbox ────────────────────────▶   post ─▶ BrokerSession, one for each broker
      hand.take   ◀─ buffer ◀────────────────────────   arrived ◀── ShareFetch
      nothing here: await wait(...)                     membership ─▶ assigned

What came and what was handed out of it is in `hand`.
Memory is bounded by one answer (fetch.max.bytes) of each broker: nothing is fetched while something is here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.config import ShareConsumerConfig
from pystream.client.consumer.decoding import Unasked
from pystream.client.consumer.record_batch import RecordBatch
from pystream.client.metrics.reporter import TelemetryReporter
from pystream.client.metrics.share import ShareMetrics
from pystream.client.share.delivery import AcknowledgeType, Delivery, Said
from pystream.client.share.hand_out import HandOut
from pystream.client.share.membership import Assignment, ShareMembership
from pystream.client.share.session import BrokerSession, Plan, Wish
from pystream.common.clock import SleepingClock
from pystream.common.errors import (
    ClientError,
    Closed,
    DeadlineExceeded,
    InvalidGroupId,
    PystreamError,
    SerializationError,
    Wakeup,
)
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AcknowledgementResult:
    """What became of acknowledgements of one partition: `error` is None when the broker has taken them."""

    partition: TopicPartition
    offsets: list[tuple[int, int]]  # first and last of each run, in order
    error: PystreamError | None


class ShareEngine:
    """One share consumer. All of it belongs to the loop of its first use, except where it says "any thread"."""

    def __init__(self, config: ShareConsumerConfig, *, clock: SleepingClock | None = None) -> None:
        if not config.group_id:
            raise InvalidGroupId("a share consumer needs group.id: set it")
        self.config = config
        self.cluster = Cluster(config, clock=clock, auto_create_topics=config.allow_auto_create_topics)
        self.metrics = ShareMetrics(self.cluster)
        self.reporter = (
            TelemetryReporter(self.cluster, self.metrics, self._labels) if config.enable_metrics_push else None
        )
        self.topics: list[str] = []
        self.assignment: Assignment = {}
        self.membership: ShareMembership | None = None
        self.wish: Wish | None = None
        self.acquisition_lock_timeout_ms: int | None = None
        self.is_closed = False
        self.is_dropped = False
        self.last_poll_ms = self.cluster.clock.monotonic_ms()
        self.wants_results = False  # somebody is told of every result
        self.results: deque[AcknowledgementResult] = deque()
        self._sessions: dict[int, BrokerSession] = {}
        self.hand = HandOut(config, self.metrics, self.cluster.clock, self._raise_failure)
        self._outbox: list[Said] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._woken = False
        self._failure: PystreamError | None = None
        self.cluster.subscribe(self._on_metadata)

    @property
    def group_id(self) -> str:
        return self.config.group_id or ""

    @property
    def member_id(self) -> str:
        return "" if self.membership is None else self.membership.member_id

    def _labels(self) -> dict[str, str | None]:
        """What brokers do not know of this client when it pushes its metrics."""
        config = self.config
        return {"client_rack": config.client_rack, "group_id": config.group_id, "group_member_id": self.member_id}

    @property
    def is_polling(self) -> bool:
        """Whether the user waits in poll."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where it runs; None before its first use."""
        return self._loop

    # --- polling: any thread ------------------------------------------------------------------------------------------

    def begin_poll(self) -> None:
        """The user is alive. Raises Closed, Wakeup, ClientError without a subscription."""
        self._check_open()
        if self._woken:
            self._woken = False
            raise Wakeup("poll was ended by wakeup()")
        if self.membership is None:
            raise ClientError("this share consumer is not subscribed to any topics; subscribe() first")
        self.last_poll_ms = self.cluster.clock.monotonic_ms()

    def settle(self) -> None:
        """What was handed out before goes to its brokers, with the next fetch. Any thread.

        Raises ClientError for records that are still to be acknowledged (explicit).
        """
        self.metrics.polled(self.cluster.clock.monotonic_ms())
        self._outbox += self.hand.settle()
        if self._outbox and self.hand.has_some():  # there will be no fetch to take it along
            self.in_loop(self.post)

    async def resolve(self, missing: Unasked) -> None:
        """Ask a registry what a deserializer needs to know. Raises as handing out does."""
        try:
            await missing.resolve()
        except SerializationError as error:
            self.hand.give_up_on(error)
            raise

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    # --- acknowledgements: any thread ---------------------------------------------------------------------------------

    def acknowledge(self, topic: str, partition: int, offset: int, kind: AcknowledgeType) -> None:
        """Say what became of one record. Raises ClientError unless it was handed out and is to be acknowledged."""
        self._check_open()
        self.hand.acknowledge(topic, partition, offset, kind)

    def acknowledge_rows(self, batch: RecordBatch, kind: AcknowledgeType) -> None:
        """Say what became of all rows of a batch that `poll_batch` gave."""
        self._check_open()
        self.hand.acknowledge_rows(batch, kind)

    def settle_for_commit(self) -> list[Said]:
        """What can be committed now: everything handed out (implicit), or what was acknowledged (explicit)."""
        self._check_open()
        outbox, self._outbox = self._outbox, []
        return outbox + self.hand.settle_for_commit()

    def _check_open(self) -> None:
        if self.is_closed:
            raise Closed("the share consumer is closed; make a new one")

    async def commit(
        self, said: Iterable[Said], timeout_ms: int | None = None
    ) -> dict[TopicPartition, PystreamError | None]:
        """Send, and return what became of each partition; DeadlineExceeded is the error of what took too long."""
        self.check_usable()
        loop = asyncio.get_running_loop()
        allowed_ms = self.config.default_api_timeout_ms if timeout_ms is None else timeout_ms
        waiting = list(said)
        for each in waiting:
            each.result = loop.create_future()
            each.deadline_ms = self.cluster.clock.monotonic_ms() + allowed_ms
            each.session.tell(each)
        if waiting:
            await asyncio.wait([each.result for each in waiting if each.result is not None], timeout=allowed_ms / 1000)
        found: dict[TopicPartition, PystreamError | None] = {}
        for each in waiting:
            assert each.result is not None
            error: PystreamError | None = DeadlineExceeded(
                f"acknowledgements of {each.key}: not done within {allowed_ms} ms"
            )
            if each.result.done():
                error = each.result.result()
            found[each.key] = found.get(each.key) or error
        return found

    def post_later(self, said: Iterable[Said]) -> None:
        """Send without waiting. Any thread."""
        self._outbox += said
        self.in_loop(self.post)

    def post(self) -> None:
        """Hand what was said to the sessions."""
        outbox, self._outbox = self._outbox, []
        for said in outbox:
            said.session.tell(said)

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def wait(self, timeout_s: float | None, most: int) -> bool:
        """Return True when there is something to take or to do, False after `timeout_s`. Raises as begin_poll."""
        self.check_usable()
        if self.membership is not None:
            self.membership.polled()
        self.post()
        loop = asyncio.get_running_loop()
        ends_at = None if timeout_s is None else loop.time() + timeout_s
        if not self._has_news():
            now_ms = self.cluster.clock.monotonic_ms()
            self.wish = Wish(most, None if timeout_s is None else now_ms + round(timeout_s * 1000))
        while not self._has_news():
            if ends_at is not None and loop.time() >= ends_at:
                self._look()
                return False
            waiter = self._waiter = loop.create_future()
            began = loop.time()
            self._look()
            timer = None if ends_at is None else loop.call_at(ends_at, _release, waiter)
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()
                waiter.cancel()
                self.last_poll_ms = self.cluster.clock.monotonic_ms()
                self.metrics.waited((loop.time() - began) * 1_000)
        return True

    def _has_news(self) -> bool:
        return self._woken or self.is_closed or self._failure is not None or self.hand.has_some()

    def notify(self) -> None:
        """Something came: whoever waits looks again."""
        if self.is_polling:  # until now: the user is not late for what took long to come
            self.last_poll_ms = self.cluster.clock.monotonic_ms()
        if self._waiter is not None:
            _release(self._waiter)

    def wakeup(self) -> None:
        """End the poll that waits, or the next one, with Wakeup. Any thread."""
        self._woken = True
        self.in_loop(self.notify)

    def in_loop(self, call: Callable[[], object]) -> None:
        """Have it called in the loop, soon. Any thread."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            loop.call_soon(call)
        else:
            loop.call_soon_threadsafe(call)

    def check_usable(self) -> None:
        """Raises Closed, ClientForked, ClientError on another loop."""
        self._check_open()
        self.cluster.check_usable()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()

    # --- told by sessions and membership ------------------------------------------------------------------------------

    def plan_for(self, node_id: int) -> Plan:
        """The partitions that are assigned, and led by a broker."""
        plan: Plan = {}
        for place, key in self.assignment.items():
            leader = self.cluster.leader_of(*key)
            if leader is not None and leader.node_id == node_id:
                plan[place] = key
        return plan

    def arrived(self, deliveries: Iterable[Delivery]) -> None:
        """Records came."""
        if not self.hand.arrived(deliveries):
            return
        self.wish = None
        self.notify()

    def settled(self, said: Said, error: PystreamError | None) -> None:
        """The broker has answered what was said, or never will."""
        if said.renewed and error is None:
            lock_ms = self.acquisition_lock_timeout_ms or 0
            expires_at_ms = self.cluster.clock.monotonic_ms() + lock_ms
            for delivery in said.renewed:
                delivery.expires_at_ms = max(expires_at_ms, delivery.expires_at_ms)
            self.hand.renewed(said.renewed)
            self.notify()
        offsets = said.offsets
        if error is not None:
            self.metrics.refused(sum(last - first + 1 for first, last in offsets))
        if self.wants_results and offsets:
            self.results.append(AcknowledgementResult(said.key, offsets, error))
        elif error is not None and offsets and said.result is None:
            logger.warning("acknowledgements failed", partition=str(said.key), error=str(error))
        if said.result is not None and not said.result.done():
            said.result.set_result(error)

    def assigned(self, assignment: Assignment) -> None:
        """These are the partitions from now on. What is here of others is given back."""
        if assignment == self.assignment:
            return
        self.assignment = assignment
        self.metrics.rebalanced()
        self._outbox += self.hand.keep(assignment)
        self.post()
        self._look()

    async def let_go(self) -> None:
        """Polls stopped: what is held is somebody else's, and what is said about it later fails."""
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions))

    def fail(self, error: PystreamError) -> None:
        """Raise this from the poll, after the records that are here."""
        self._failure = self._failure or error
        self.notify()

    def _look(self) -> None:
        """Have a session with every broker that leads something; those that have something to do go on."""
        for key in self.assignment.values():
            leader = self.cluster.leader_of(*key)
            if leader is None:
                self.cluster.refresh_soon()
            elif not self.is_closed:
                session = self._sessions.get(leader.node_id)
                if session is None or session.is_over:
                    self._sessions[leader.node_id] = BrokerSession(self, leader.node_id)
        for session in self._sessions.values():
            session.wake()

    def _on_metadata(self, metadata: ClusterMetadata) -> None:
        if self.membership is not None:
            self.membership.metadata_changed(metadata)
            self._look()

    # --- subscribing, and the end -------------------------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take records of these topics, with the other members of the group."""
        self.check_usable()
        wanted = sorted(set(topics))
        self.cluster.untrack(set(self.topics) - set(wanted))
        self.topics = wanted
        self.cluster.track(wanted)
        self.cluster.spawn("learn of topics", self.cluster.refresh())
        self.last_poll_ms = self.cluster.clock.monotonic_ms()
        if self.membership is None:
            self.membership = ShareMembership(self, self.group_id)
        else:
            self.membership.subscribed()

    async def unsubscribe(self) -> None:
        """Say what was acknowledged, release the rest, leave the group."""
        self.check_usable()
        await self._leave()
        self.cluster.untrack(self.topics)
        self.topics = []

    async def _leave(self) -> None:
        self._outbox += self.hand.leave()
        self.wish = None
        self.post()
        sessions, self._sessions = list(self._sessions.values()), {}
        membership = self.membership
        try:
            async with asyncio.timeout(self.cluster.closing_timeout_s()):
                await asyncio.gather(*(session.close() for session in sessions))
                if membership is not None:
                    await membership.leave()
        except TimeoutError:
            logger.warning("not left in order: no broker answered", group=self.group_id)
            for session in sessions:
                session.abandon()
            if membership is not None:
                membership.abandon()
        finally:
            self.membership = None
        self.assignment = {}
        self.hand.clear()

    async def close(self) -> None:
        """Say what was acknowledged, release the rest, leave the group, close. Harmless when closed, after a fork."""
        if self.is_closed:
            return
        try:
            if self._loop is not None and not self.cluster.is_forked:
                self.cluster.check_usable()
                await self._leave()
        finally:
            self.is_closed = True
            self.notify()
            if self.reporter is not None and self._loop is not None and not self.cluster.is_forked:
                await self.reporter.close()
            await self.cluster.close()

    async def abandon(self) -> None:
        """Close; what was handed out last, and not acknowledged, is given to others."""
        await self.close()

    def unfinished(self) -> str:
        """Nothing that a user must know."""
        return ""


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
