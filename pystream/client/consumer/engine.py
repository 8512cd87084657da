"""The consumer's machinery behind both faces: asyncio, without threads of its own.

    face (user's task or thread)                     engine (loop)
      begin_poll ─ rebalance steps ─ hand.messages     fetcher ─▶ buffer     resolver ─▶ positions
      nothing here: await wait(...)          ◀─────────  notify               membership ─▶ steps

What the user does to partitions (assign, seek, pause) happens in the loop, between two polls.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata
from pystream.client.cluster.retry import Deadline, is_retriable
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.commits import BackgroundCommits, Commits
from pystream.client.consumer.durations import duration_ms
from pystream.client.consumer.fetcher import Fetcher
from pystream.client.consumer.group.classic import ClassicProtocol
from pystream.client.consumer.group.membership import Membership
from pystream.client.consumer.group.modern import ConsumerProtocol
from pystream.client.consumer.group.steps import RebalanceStep, Steps
from pystream.client.consumer.group.subscription import Subscription
from pystream.client.consumer.hand_out import HandOut
from pystream.client.consumer.model import (
    BEGINNING,
    END,
    GroupMetadata,
    OffsetAndMetadata,
    OffsetAndTimestamp,
    RebalanceKind,
)
from pystream.client.consumer.offsets import Offsets
from pystream.client.consumer.positions import PartitionState, Positions
from pystream.client.consumer.resolver import Resolver
from pystream.client.metrics.consumer import ConsumerMetrics
from pystream.client.metrics.reporter import TelemetryReporter
from pystream.common.clock import SleepingClock
from pystream.common.error_codes import TABLE, UNKNOWN_SERVER_ERROR
from pystream.common.errors import (
    ClientError,
    Closed,
    InvalidGroupId,
    PystreamError,
    Wakeup,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition

logger = get_logger(__name__)

CommittedOffsets = Mapping[TopicPartition, OffsetAndMetadata]


class Engine:
    """One consumer. All of it belongs to the loop of its first use, except where it says "any thread"."""

    def __init__(self, config: ConsumerConfig, *, clock: SleepingClock | None = None) -> None:
        if config.auto_offset_reset.startswith("by_duration:"):
            duration_ms(config.auto_offset_reset.removeprefix("by_duration:"))
        self.config = config
        self.cluster = Cluster(config, clock=clock, auto_create_topics=config.allow_auto_create_topics)
        self.cluster.on_fault = self.fail
        self.positions = Positions()
        self.subscription: Subscription | None = None
        self.membership: Membership | None = None
        self.steps = Steps()
        self.metrics = ConsumerMetrics(
            self.cluster, self.positions, read_committed=config.isolation_level == "read_committed"
        )
        self.reporter = (
            TelemetryReporter(self.cluster, self.metrics, self._labels) if config.enable_metrics_push else None
        )
        self.commits = Commits(self.cluster, config.group_id, self.metrics.committed) if config.group_id else None
        self.is_closed = False
        self.is_dropped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._held_up: threading.Lock | None = None  # of a thread that waits
        self._position_waiters: list[asyncio.Future[None]] = []
        self._woken = False
        self._is_leaving = False
        self._failure: PystreamError | None = None
        self._next_commit_ms = 0
        self.background = BackgroundCommits(self.cluster, self.group_commits, config.request_timeout_ms, self.notify)
        self.last_poll_ms = self.cluster.clock.monotonic_ms()
        self.fetcher = Fetcher(
            self.cluster,
            config,
            self.positions,
            self.metrics,
            on_data=self.notify,
            on_reset=self._look_again,
            nudge=self._nudge,
        )
        self.offsets = Offsets(self.cluster, read_committed=config.isolation_level == "read_committed")
        self.hand = HandOut(self.fetcher.buffer, self.raise_failure, self.metrics.consumed)
        self._resolver: Resolver | None = None
        self.cluster.subscribe(self._on_metadata)

    # --- polling ------------------------------------------------------------------------------------------------------

    def begin_poll(self) -> None:
        """The user is alive. Any thread. Raises Closed, Wakeup, and what ended the membership."""
        if self.is_closed:
            raise Closed("the consumer is closed; make a new one")
        if self._woken:
            self._woken = False
            raise Wakeup("poll was ended by wakeup()")
        self.last_poll_ms = now_ms = self.cluster.clock.monotonic_ms()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if self.membership is not None and self.membership.awaits_poll:
            self._in_loop(self.membership.polled)
        self.metrics.polled(now_ms)
        if self._next_commit_ms <= now_ms and self.commits is not None and self.config.enable_auto_commit:
            if self._next_commit_ms:
                self._in_loop(self.background.begin_automatic, self.positions.consumed(), at_once=True)
            self._next_commit_ms = now_ms + self.config.auto_commit_interval_ms

    def check_something_to_read(self) -> None:
        """Raises ClientError where a poll waits for ever: nothing is subscribed to or assigned. Any thread."""
        if self.subscription is None and not len(self.positions) and not self._has_news():
            raise ClientError("there is nothing to read: subscribe() to topics, or assign() partitions, before polling")

    async def wait(self, timeout_s: float | None) -> bool:
        """Return True when there is something to take or to do, False after `timeout_s`. Raises as begin_poll."""
        self.check_usable()
        if self.membership is not None:
            self.membership.polled()
        loop = asyncio.get_running_loop()
        began = loop.time()
        ends_at = None if timeout_s is None else began + timeout_s
        try:
            return await self._wait_until(loop, ends_at)
        finally:
            self.last_poll_ms = self.cluster.clock.monotonic_ms()
            self.metrics.waited((loop.time() - began) * 1_000)

    async def _wait_until(self, loop: asyncio.AbstractEventLoop, ends_at: float | None) -> bool:
        if ends_at is not None and loop.time() >= ends_at:
            await asyncio.sleep(0)  # who never waits must let the fetches run all the same
        while not self._has_news():
            if ends_at is not None and loop.time() >= ends_at:
                return False
            waiter = self._waiter = loop.create_future()
            timer = None if ends_at is None else loop.call_at(ends_at, _release, waiter)
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()
        return True

    def wait_in_thread(self, hold_up: Callable[[threading.Lock, float | None], bool], timeout_s: float | None) -> bool:
        """As `wait`, in the user's thread, without a step of the loop's.

        `hold_up` waits until the lock is released, and gives False when that took longer than so many seconds.
        """
        if self.membership is not None:
            self._in_loop(self.membership.polled)
        began = time.monotonic()
        try:
            while True:
                lock = threading.Lock()
                lock.acquire()
                self._held_up = lock  # then look: what comes from now on releases it
                if self._has_news():
                    return True
                left_s = None if timeout_s is None else timeout_s - (time.monotonic() - began)
                if left_s is not None and (left_s <= 0 or not hold_up(lock, left_s)):
                    return self._has_news()
                if left_s is None:
                    hold_up(lock, None)
        finally:
            self.last_poll_ms = self.cluster.clock.monotonic_ms()
            self._held_up = None
            self.metrics.waited((time.monotonic() - began) * 1_000)

    def _has_news(self) -> bool:
        return (
            self._woken
            or self.is_closed
            or bool(self.steps)
            or bool(self.background.finished)
            or self._failure is not None
            or self.fetcher.buffer.has_some()
            or any(state.failure is not None and not state.goes for state in self.positions)
        )

    def notify(self) -> None:
        """Something came: whoever waits looks again."""
        if self.is_polling:  # until now: the user is not late for what took long to come
            self.last_poll_ms = self.cluster.clock.monotonic_ms()
        if self._waiter is not None:
            _release(self._waiter)
        lock, self._held_up = self._held_up, None
        if lock is not None:
            lock.release()
        for waiting in self._position_waiters:
            _release(waiting)
        self._position_waiters.clear()

    def wakeup(self) -> None:
        """End the poll that waits, or the next one, with Wakeup. Any thread."""
        self._woken = True
        self._in_loop(self.notify)

    def raise_failure(self) -> None:
        """Raise what keeps a partition from being read, once nothing is left that came before it. Any thread."""
        for state in self.positions:
            if state.failure is not None and not state.goes:
                failure, state.failure = state.failure, None
                self._in_loop(self._look_again)
                raise failure

    def _labels(self) -> dict[str, str | None]:
        """What brokers do not know of this client when it pushes its metrics."""
        config = self.config
        return {
            "client_rack": config.client_rack,
            "group_id": config.group_id,
            "group_instance_id": config.group_instance_id,
            "group_member_id": None if self.commits is None else self.commits.identity.member_id,
        }

    def fail(self, error: PystreamError) -> None:
        """Tell the user with the next poll."""
        self._failure = self._failure or error
        self.notify()

    def _look_again(self) -> None:
        if self._resolver is not None:
            self._resolver.wake()
        self.fetcher.wake()

    def _nudge(self) -> None:
        self._in_loop(self.fetcher.wake)

    @property
    def is_polling(self) -> bool:
        """Whether the user waits in poll."""
        return self._held_up is not None or (self._waiter is not None and not self._waiter.done())

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where it runs; None before its first use."""
        return self._loop

    def _in_loop(self, call: Callable[..., object], *arguments: object, at_once: bool = False) -> None:
        """Have it called in the loop, soon; `at_once` where this is the loop: before what the user does next."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not loop:
            loop.call_soon_threadsafe(call, *arguments)
        elif at_once:
            call(*arguments)
        else:
            loop.call_soon(call, *arguments)

    async def begin_step(self) -> RebalanceStep | None:
        """Before the user's callback: what comes is there, what goes is committed. None where no step waits.

        A step whose beginning was given up is begun again by the next call.
        """
        step = self.steps.next()
        if step is not None:
            await self._begin(step)
        return step

    async def _begin(self, step: RebalanceStep) -> None:
        if step.kind == RebalanceKind.ASSIGNED:
            step.apply()
            return
        step.partitions = [key for key in step.partitions if key in self.positions]  # the rest was told of before
        if step.kind == RebalanceKind.REVOKED:
            await self.commit_before_leaving(step.partitions)

    def finish_step(self, step: RebalanceStep) -> None:
        """After the user's callback: what goes is gone, and the group is told."""
        if step.kind != RebalanceKind.ASSIGNED and not step.finished.done() and not self.is_closed:
            step.apply()
        self.steps.finished(step)
        _release(step.finished)

    async def finished(self, step: RebalanceStep) -> None:
        """Return when a step is finished."""
        await asyncio.wait([step.finished])

    async def begin_last_step(self, timeout_ms: int | None = None) -> RebalanceStep | None:
        """Before the group is left: what is held goes, and is committed; None where the user need not be told."""
        if self.is_closed or self._is_leaving or self._loop is None or self.membership is None:
            return None
        if self.cluster.is_forked:
            return None
        self.check_usable()
        self._is_leaving = True  # a callback that closes the consumer is not called for that again
        step = self.membership.last_step()
        if step is None:
            return None
        try:
            async with asyncio.timeout(self.cluster.closing_timeout_s(timeout_ms)):
                await self._begin(step)
        except TimeoutError:
            logger.warning("left without a commit: no broker answered", group=self.config.group_id)
        return step

    def check_usable(self) -> None:
        """Raises Closed, ClientForked, ClientError on another loop."""
        if self.is_closed:
            raise Closed("the consumer is closed; make a new one")
        self.cluster.check_usable()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()

    # --- what to consume ----------------------------------------------------------------------------------------------

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Consume exactly these partitions, without a group's help. Those assigned already keep their position."""
        self.check_usable()
        if self.subscription is not None:
            raise ClientError("this consumer is subscribed to topics; unsubscribe() first, then assign()")
        wanted = list(partitions)
        if self.config.enable_auto_commit and self.commits is not None:
            gone = self.positions.consumed(set(self.positions.keys()) - set(wanted))
            if gone:
                self.commit_in_background(gone)
        self.set_assignment(wanted)

    def set_assignment(self, partitions: Iterable[TopicPartition]) -> list[PartitionState]:
        """Hold exactly these; gives the states that are new."""
        added, _ = self.positions.assign(partitions)
        if self.subscription is not None:  # which may have changed since these were given to us
            self.positions.follow(self.subscription.matches)
        self.cluster.track({state.topic for state in added})
        self._forget_topics()
        self._moved()
        return added

    def _forget_topics(self) -> None:
        """Keep metadata of nothing but what is read or subscribed to: asking for more may create topics."""
        topics = {state.topic for state in self.positions}
        if self.subscription is not None:
            topics |= self.subscription.topics
        if self.membership is not None:
            topics |= self.membership.led_topics
        self.cluster.track_only(topics)

    async def subscribe(self, subscription: Subscription) -> None:
        """Have the group assign partitions of these topics."""
        self.check_usable()
        if self.commits is None:
            raise InvalidGroupId("subscribe() needs group.id: set it, or use assign()")
        if self.subscription is None and len(self.positions):
            raise ClientError("this consumer has assigned partitions; unsubscribe() first, then subscribe()")
        self.subscription = subscription
        self.positions.follow(subscription.matches)
        self.last_poll_ms = self.cluster.clock.monotonic_ms()
        self.commits.needs_member = True
        subscription.follow(self.cluster)
        self._forget_topics()
        self.cluster.spawn("learn of topics", self.cluster.refresh())  # while the group is being joined
        if self.membership is None:
            self.membership = Membership(self, classic=ClassicProtocol, consumer=ConsumerProtocol)
        self.membership.subscribed()
        self._look_again()

    async def unsubscribe(self) -> None:
        """Leave the group and hold no partition."""
        self.check_usable()
        membership, self.membership = self.membership, None
        self.subscription = None
        self._is_leaving = False
        if self.commits is not None:
            self.commits.needs_member = False
        self.cluster.track_all(False)
        try:
            if membership is not None:
                await membership.leave()
            else:
                await self.commit_before_leaving()
        finally:
            self.steps.clear()
            self.set_assignment(())

    def seek(self, key: TopicPartition, offset: int, leader_epoch: int = -1) -> None:
        """Go on at `offset`, or at BEGINNING or END."""
        state = self.state_of(key)
        if offset in (BEGINNING, END):
            state.reset(offset)
        elif offset < 0:
            raise ValueError(f"{key}: expected an offset of 0 and above, BEGINNING or END, found {offset}")
        else:
            state.seek(offset, leader_epoch)
        self._moved()

    def seek_to(self, keys: Iterable[TopicPartition] | None, to: int) -> None:
        """Go on at BEGINNING, END, or the first record at or after a timestamp; all partitions when None."""
        for key in self.positions.keys() if keys is None else keys:
            self.state_of(key).reset(to)
        self._moved()

    def pause(self, keys: Iterable[TopicPartition], paused: bool) -> None:
        """Hand out nothing of these partitions, or go on with them; a rebalance that keeps them keeps that."""
        for state in [self.state_of(key) for key in keys]:
            state.paused = paused
        self._moved()

    def state_of(self, key: TopicPartition) -> PartitionState:
        """Raises ClientError for a partition that is not assigned."""
        self.check_usable()
        return self.find(key)

    def find(self, key: TopicPartition) -> PartitionState:
        """The same in any thread, of a closed consumer too."""
        state = self.positions.get(key)
        if state is None:
            raise ClientError(f"{key} is not assigned to this consumer; it has {sorted(self.positions.keys())}")
        return state

    def _moved(self) -> None:
        """Positions, pauses or the assignment changed."""
        if self._resolver is None:
            self._resolver = Resolver(
                self.cluster,
                self.config,
                self.positions,
                self.fetcher,
                self.offsets,
                committed=None if self.commits is None else self.commits.committed,
                on_change=self.notify,
            )
        self._resolver.wake()
        self.fetcher.wake()
        self.notify()

    def _on_metadata(self, metadata: ClusterMetadata) -> None:
        if self.subscription is not None:
            self._check_subscription(metadata)
        if self._resolver is not None:
            self._resolver.wake()
            self.fetcher.wake()
        if self.membership is not None:
            self.membership.metadata_changed(metadata)

    def _check_subscription(self, metadata: ClusterMetadata) -> None:
        """Topics that time does not mend are told; one that is not there may come."""
        assert self.subscription is not None
        for name in sorted(self.subscription.topics & metadata.failed.keys()):
            code = metadata.failed[name]
            said = TABLE.get(code, TABLE[UNKNOWN_SERVER_ERROR]).message
            error = error_class(code)(f"topic {name!r} cannot be subscribed to: {said}")
            if not is_retriable(error):
                self.fail(error)

    # --- questions ----------------------------------------------------------------------------------------------------

    async def position(self, key: TopicPartition, timeout_ms: int | None = None) -> int:
        """The offset of the next record; waits for it to be found. Raises as poll does, and DeadlineExceeded."""
        state = self.state_of(key)

        async def look(deadline: Deadline) -> int:
            while state.position < 0:
                self.check_usable()
                if state.failure is not None:
                    failure, state.failure = state.failure, None
                    self._look_again()
                    raise failure
                deadline.last_error = None if self._resolver is None else self._resolver.last_error
                waiting = asyncio.get_running_loop().create_future()
                self._position_waiters.append(waiting)
                await waiting
            return state.position

        return await self.cluster.retrying(f"position of {key}", look, timeout_ms=timeout_ms)

    async def committed(
        self, keys: Iterable[TopicPartition], timeout_ms: int | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """What the group has committed."""
        self.check_usable()
        began_ms = self.cluster.clock.monotonic_ms()
        try:
            return await self.group_commits().committed(keys, timeout_ms=timeout_ms)
        finally:
            self.metrics.asking_committed_ms += self.cluster.clock.monotonic_ms() - began_ms

    async def offsets_for_times(
        self, wanted: Mapping[TopicPartition, int], timeout_ms: int | None = None
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after each time."""
        self.check_usable()
        return await self.offsets.ask(wanted, timeout_ms=timeout_ms)

    async def edge_offsets(
        self, keys: Iterable[TopicPartition], edge: int, timeout_ms: int | None = None
    ) -> dict[TopicPartition, int]:
        """The offsets of BEGINNING or END."""
        found = await self.offsets_for_times(dict.fromkeys(keys, edge), timeout_ms)
        return {key: entry.offset for key, entry in found.items() if entry is not None}

    # --- commits ------------------------------------------------------------------------------------------------------

    async def commit(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata] | None = None, timeout_ms: int | None = None
    ) -> None:
        """Commit these, or all positions."""
        self.check_usable()
        wanted = self.positions.consumed() if offsets is None else self.positions.placed(offsets)
        began_ms = self.cluster.clock.monotonic_ms()
        try:
            await self.background.done()
            await self.group_commits().commit(wanted, timeout_ms=timeout_ms)
        finally:
            self.metrics.committing_ms += self.cluster.clock.monotonic_ms() - began_ms

    def group_metadata(self) -> GroupMetadata:
        """Who this consumer is in its group now. Raises InvalidGroupId, CommitFailed."""
        who = self.group_commits().member()
        return GroupMetadata(self.group_commits().group_id, who.generation, who.member_id, who.instance_id)

    def group_commits(self) -> Commits:
        """Raises InvalidGroupId without a group to commit for."""
        if self.commits is None:
            raise InvalidGroupId("commits need group.id: set it")
        return self.commits

    def commit_in_background(self, offsets: CommittedOffsets, ticket: int | None = None) -> None:
        """Commit, without waiting; with a ticket what became of it is told in `background.finished`."""
        self.background.begin(self.positions.placed(offsets), ticket)

    async def commit_before_leaving(self, keys: Iterable[TopicPartition] | None = None) -> None:
        """The last automatic commit of partitions that go away."""
        if self.config.enable_auto_commit and self.commits is not None:
            offsets = self.positions.consumed(keys)
            if offsets:
                await self.background.last(offsets)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def close(self, *, leave_group: bool = True, timeout_ms: int | None = None, commits: bool = True) -> None:
        """Commit what is to be committed by itself, leave the group, close. Harmless when closed, and after a fork."""
        if self.is_closed:
            return
        try:
            if self._loop is not None and not self.cluster.is_forked:
                self.cluster.check_usable()
                async with asyncio.timeout(self.cluster.closing_timeout_s(timeout_ms)):
                    if commits:
                        await self.commit_before_leaving()
                    await self.background.done()
                    membership, self.membership = self.membership, None
                    if membership is not None:
                        await membership.leave(leave_group=leave_group)
        except TimeoutError:
            logger.warning("not closed in order: no broker answered", group=self.config.group_id)
        finally:
            self.is_closed = True
            self.fetcher.close()
            self.steps.clear()
            self.notify()
            if self.reporter is not None and self._loop is not None and not self.cluster.is_forked:
                await self.reporter.close()
            await self.cluster.close()

    async def abandon(self) -> None:
        """Leave the group and close, without a commit: what was handed out last may not be processed."""
        await self.close(commits=False)

    def unfinished(self) -> str:
        """Nothing that a user must know."""
        return ""


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
