"""The share partitions of this broker: loaded on first use, their changes written, their locks ended in time.

    first use ── read the stored state ── where to begin: stored, or share.auto.offset.reset ──▶ HostedPartition
    acknowledge, release, time-out ── Transition ── written by the share coordinator ── settled, waiters woken

A partition whose leadership or state epoch is gone is dropped and loaded anew by who comes next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from pystream.common.clock import SECOND_MS, SleepingClock
from pystream.common.error_codes import (
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    FENCED_LEADER_EPOCH,
    FENCED_STATE_EPOCH,
    GROUP_ID_NOT_FOUND,
    INVALID_REQUEST,
    NONE,
    NOT_COORDINATOR,
    NOT_LEADER_OR_FOLLOWER,
    UNKNOWN_SERVER_ERROR,
    UNKNOWN_TOPIC_OR_PARTITION,
)
from pystream.common.errors import (
    Closed,
    CoordinatorNotAvailable,
    KafkaError,
    KafkaStorageError,
    NotLeaderOrFollower,
    UnknownServerError,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.tasks import Supervisor, contained_now
from pystream.coordinator.group_settings import BY_DURATION, SettingsOfGroup, duration_ms
from pystream.coordinator.machine import Effects, Timers
from pystream.coordinator.share.config import SharePartitionConfig
from pystream.coordinator.share.metrics import ShareMetrics
from pystream.coordinator.share.partition import (
    NO_START_OFFSET,
    Acknowledgement,
    Limits,
    SharePartition,
    Transition,
)
from pystream.coordinator.share.ports import Bounds, ShareLog
from pystream.coordinator.share.state import ShareKey
from pystream.coordinator.share.state_shard import Result, Write
from pystream.coordinator.share.states import ShareStates

logger = get_logger(__name__)

RETRY_MS = SECOND_MS  # a lock whose end could not be written ends so much later
UNREACHABLE = frozenset({COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR})
GONE = frozenset(
    {FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, GROUP_ID_NOT_FOUND, INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION}
)
READ_COMMITTED = "read_committed"


@dataclass(slots=True, eq=False)
class HostedPartition:
    """A share partition that is loaded. `blocked`: who found somebody else reading for it.

    `bytes_per_record`: of what was read last, 0 before that; much more than is asked for need not be read.
    """

    key: ShareKey
    topic: str
    leader_epoch: int
    state_epoch: int
    machine: SharePartition
    bytes_per_record: float = 0.0
    is_reading: bool = False
    is_dropped: bool = False
    waiters: set[asyncio.Event] = field(default_factory=set)
    blocked: set[asyncio.Event] = field(default_factory=set)
    unwatch: Callable[[], None] | None = None

    def wake(self) -> None:
        """Records may be available: whoever waits looks again."""
        for waiter in self.waiters:
            waiter.set()

    def wake_blocked(self) -> None:
        """Nobody reads for it any more."""
        blocked, self.blocked = self.blocked, set()
        for waiter in blocked:
            waiter.set()


class SharePartitions:
    """See the head of this module. Lives in one asyncio loop."""

    def __init__(
        self,
        *,
        log: ShareLog,
        states: ShareStates,
        settings: SettingsOfGroup,
        config: SharePartitionConfig,
        clock: SleepingClock,
        supervisor: Supervisor,
    ) -> None:
        self.log = log
        self.settings = settings
        self.metrics = ShareMetrics()
        self._states = states
        self._limits = Limits(config.partition_max_record_locks, config.delivery_count_limit)
        self._clock = clock
        self._supervisor = supervisor
        self._hosted: dict[ShareKey, HostedPartition] = {}
        self._loading: dict[ShareKey, asyncio.Future[HostedPartition]] = {}
        self._timers = Timers()
        self._sooner = asyncio.Event()

    def __len__(self) -> int:
        return len(self._hosted)

    def now_ms(self) -> int:
        """The steady time that locks go by."""
        return self._clock.monotonic_ms()

    def is_committed(self, group_id: str) -> bool:
        """Whether the group is given committed records only."""
        return self.settings(group_id).share_isolation_level == READ_COMMITTED

    def lock_duration_ms(self, group_id: str) -> int:
        return self.settings(group_id).share_record_lock_duration_ms

    async def run(self) -> None:
        """End locks in time, until cancelled."""
        while True:
            self._sooner.clear()
            deadline_ms = self._timers.next_deadline_ms()
            if deadline_ms is None:
                await self._sooner.wait()
            else:
                await woken_in_time(self._clock, self._sooner, deadline_ms - self.now_ms())
            now_ms = self.now_ms()
            for operation in self._timers.due(now_ms):
                contained_now(
                    "share record locks not ended", partial(operation, now_ms, _NO_EFFECTS), lambda error: None
                )

    async def get(self, key: ShareKey) -> HostedPartition:
        """The share partition, loaded. Raises KafkaError: UnknownTopicId, NotLeaderOrFollower, ..."""
        topic = self.log.topic_name(key.topic_id)
        bounds = self.log.bounds(topic, key.partition)
        hosted = self._hosted.get(key)
        if hosted is not None:
            if hosted.leader_epoch == bounds.leader_epoch:
                if hosted.machine.advance_log_start(bounds.log_start_offset):
                    self._supervisor.attempt("share start offset", self._tell_start(hosted))
                return hosted
            self._drop(hosted)
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.get_running_loop().create_future()
            work = self._load_for(loading, key, topic, bounds)
            self._supervisor.attempt("load share partition", work, lambda error: _fail_loading(loading, error))
        return await asyncio.shield(loading)

    async def acknowledge(self, key: ShareKey, member_id: str, said: Sequence[Acknowledgement]) -> None:
        """Do what a member says of its records; returns once it is written. Raises KafkaError."""
        hosted = await self.get(key)
        renew_until_ms = self.now_ms() + self.lock_duration_ms(key.group_id)
        transition = hosted.machine.acknowledge(member_id, said, renew_until_ms=renew_until_ms)
        self.arm(hosted)
        if transition is not None:
            result = await self._persist(hosted, transition)
            if result.error_code:
                raise persister_error(result)
        self.metrics.count(said)

    def release(self, group_id: str, member_id: str) -> list[Awaitable[Result]]:
        """The member has gone: its records are available again, once that is written."""
        pending: list[Awaitable[Result]] = []
        for hosted in list(self._hosted.values()):
            if hosted.key.group_id == group_id:
                transition = hosted.machine.release(member_id)
                if transition is not None:
                    pending.append(self._supervised(hosted, transition))
        return pending

    def drop_group(self, group_id: str) -> None:
        """The stored states of the group were set anew or deleted: forget what is in memory."""
        for hosted in [found for found in self._hosted.values() if found.key.group_id == group_id]:
            self._drop(hosted)

    def drop_topics(self, topic_ids: Iterable[bytes]) -> None:
        """Topics were deleted."""
        gone = set(topic_ids)
        for hosted in [found for found in self._hosted.values() if found.key.topic_id in gone]:
            self._drop(hosted)

    def arm(self, hosted: HostedPartition) -> None:
        """Look at the partition when the next of its locks ends."""
        deadline_ms = hosted.machine.next_deadline_ms()
        if deadline_ms is None or hosted.is_dropped:
            self._timers.cancel(hosted.key)
            return
        earliest_ms = self._timers.next_deadline_ms()
        self._timers.schedule(hosted.key, deadline_ms, lambda now_ms, _: self._expire(hosted, now_ms))
        if earliest_ms is None or deadline_ms < earliest_ms:
            self._sooner.set()

    def watch(self, hosted: HostedPartition, waiter: asyncio.Event) -> None:
        """Set `waiter` whenever there may be records to acquire."""
        hosted.waiters.add(waiter)
        if hosted.unwatch is None:
            hosted.unwatch = self.log.watch(hosted.topic, hosted.key.partition, hosted.wake)

    def unwatch(self, hosted: HostedPartition, waiter: asyncio.Event) -> None:
        hosted.waiters.discard(waiter)
        hosted.blocked.discard(waiter)
        if not hosted.waiters and hosted.unwatch is not None:
            hosted.unwatch()
            hosted.unwatch = None

    def _expire(self, hosted: HostedPartition, now_ms: int) -> None:
        transition = hosted.machine.expire(now_ms)
        if transition is not None:
            logger.debug("share record locks timed out", share_partition=hosted.key, batches=len(transition.batches))
            self.metrics.lock_timeouts += sum(batch.last - batch.first + 1 for batch in transition.batches)
            self._supervised(hosted, transition)
        self.arm(hosted)

    def _supervised(self, hosted: HostedPartition, transition: Transition) -> Awaitable[Result]:
        """Write a transition that no request waits for."""
        pending = self._persist(hosted, transition)
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            result = await pending
            if not done.done():
                done.set_result(result)

        def failed(error: Exception) -> None:
            if not done.done():
                done.set_result(Result(error_code=UNKNOWN_SERVER_ERROR, error_message=str(error)))

        self._supervisor.attempt("share state", work(), failed)
        return done

    def _persist(self, hosted: HostedPartition, transition: Transition) -> Awaitable[Result]:
        """Hand a transition to the share coordinator at once; what is returned settles it when awaited."""
        change = Write(
            state_epoch=hosted.state_epoch,
            leader_epoch=hosted.leader_epoch,
            start_offset=transition.start_offset,
            delivery_complete_count=transition.delivery_complete_count,
            batches=transition.batches,
        )
        return self._settled(hosted, transition, self._states.write(hosted.key, change))

    async def _settled(self, hosted: HostedPartition, transition: Transition, pending: Awaitable[Result]) -> Result:
        result = await pending
        written = result.error_code == NONE
        hosted.machine.settle(transition, written=written, retry_ms=self.now_ms() + RETRY_MS)
        if not written:
            self.metrics.write_failures += 1
            logger.limited("share state not written", share_partition=hosted.key, error=result.error_code)
            if result.error_code in GONE:
                self._drop(hosted)
        self.arm(hosted)
        hosted.wake()
        if written:
            await self._tell_start(hosted)
        return result

    async def _tell_start(self, hosted: HostedPartition) -> None:
        """Write a start offset that has moved with nothing else to tell, so that lag is told right."""
        transition = None if hosted.is_dropped else hosted.machine.overdue()
        if transition is not None:
            await self._persist(hosted, transition)

    def _drop(self, hosted: HostedPartition) -> None:
        hosted.is_dropped = True
        if self._hosted.get(hosted.key) is hosted:
            del self._hosted[hosted.key]
        self._timers.cancel(hosted.key)
        hosted.wake()

    async def _load_for(
        self, loading: asyncio.Future[HostedPartition], key: ShareKey, topic: str, bounds: Bounds
    ) -> None:
        """Load for whoever waits by then; nobody may be left."""
        try:
            loading.set_result(await self._load(key, topic, bounds))
        except KafkaError as error:
            _fail_loading(loading, error)
        except (Closed, OSError) as error:  # its log was deleted meanwhile, or the disk fails
            _fail_loading(loading, KafkaStorageError(str(error)))
        finally:
            del self._loading[key]

    async def _load(self, key: ShareKey, topic: str, bounds: Bounds) -> HostedPartition:
        result = await self._states.read(key, leader_epoch=bounds.leader_epoch)
        if result.error_code:
            raise persister_error(result)
        start_offset = result.state.start_offset
        is_stored = start_offset != NO_START_OFFSET
        if not is_stored:
            start_offset = await self._first_start_offset(key, topic, bounds)
        machine = SharePartition(
            self._limits, start_offset=start_offset, is_stored=is_stored, batches=result.state.batches
        )
        machine.advance_log_start(bounds.log_start_offset)
        hosted = HostedPartition(key, topic, bounds.leader_epoch, result.state.state_epoch, machine)
        self._hosted[key] = hosted
        logger.debug("share partition loaded", share_partition=key, start_offset=machine.start_offset)
        await self._tell_start(hosted)
        return hosted

    async def _first_start_offset(self, key: ShareKey, topic: str, bounds: Bounds) -> int:
        """Where a group begins that has never read the partition."""
        reset = self.settings(key.group_id).share_auto_offset_reset
        if reset == "earliest":
            return bounds.log_start_offset
        if reset == "latest":
            return bounds.high_watermark
        span_ms = duration_ms(reset[len(BY_DURATION) :]) or 0
        return await self.log.offset_for_time(topic, key.partition, max(self._clock.now_ms() - span_ms, 0))


_NO_EFFECTS = Effects(lambda record: None)


def _fail_loading(loading: asyncio.Future[HostedPartition], error: Exception) -> None:
    """Tell whoever waits; nobody may be left."""
    if not loading.done():
        loading.set_exception(error if isinstance(error, KafkaError) else UnknownServerError(str(error)))
        loading.exception()


def persister_error(result: Result) -> KafkaError:
    """What members are told when the share coordinator refused. Source: Kafka's SharePartition.fetchPersisterError."""
    message = result.error_message or ""
    if result.error_code in UNREACHABLE:
        return CoordinatorNotAvailable(message)
    if result.error_code in (FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, NOT_LEADER_OR_FOLLOWER):
        return NotLeaderOrFollower(message)
    if result.error_code in (GROUP_ID_NOT_FOUND, UNKNOWN_TOPIC_OR_PARTITION):
        return error_class(result.error_code)(message)
    return UnknownServerError(message)


async def woken_in_time(clock: SleepingClock, event: asyncio.Event, timeout_ms: int) -> bool:
    """Whether `event` was set before `timeout_ms` were over."""
    if event.is_set() or timeout_ms <= 0:
        return event.is_set()
    waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep_ms(timeout_ms))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return event.is_set()
