"""Finds the position of each partition that has none, and checks those whose leader changed. One task, woken on need.

a topic made anew under its name (another id) ──▶ RESET to BEGINNING
RESET to COMMITTED ── what the group committed ──▶ FETCHING; none: auto.offset.reset, or NoOffsetForPartition
RESET to a time, BEGINNING, END ── ListOffsets ──▶ FETCHING
FETCHING with a newer leader epoch ── OffsetForLeaderEpoch ──▶ FETCHING, or truncated (KIP-320)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.retry import is_retriable
from pystream.client.config import ConsumerConfig
from pystream.client.consumer.fetcher import Fetcher
from pystream.client.consumer.model import BEGINNING, END, OffsetAndMetadata
from pystream.client.consumer.offsets import Offsets
from pystream.client.consumer.positions import COMMITTED, PartitionState, Phase, Positions, named
from pystream.client.consumer.resets import reset_target, truncated
from pystream.common.error_codes import UNKNOWN_TOPIC_OR_PARTITION
from pystream.common.errors import (
    Closed,
    DeadlineExceeded,
    KafkaError,
    NoOffsetForPartition,
    OffsetOutOfRange,
    PystreamError,
    UnknownTopicOrPartition,
    error_class,
)
from pystream.common.logging import get_logger
from pystream.common.model import NO_LEADER_EPOCH, ZERO_UUID, TopicPartition

logger = get_logger(__name__)

UNKNOWN_PATIENCE: Final = 5  # so often a partition may be unknown in a row before the user is told

FetchCommitted = Callable[[list[TopicPartition]], Awaitable[Mapping[TopicPartition, OffsetAndMetadata | None]]]


class Resolver:
    """Works on partitions in RESET, and validates. Used from the loop."""

    def __init__(
        self,
        cluster: Cluster,
        config: ConsumerConfig,
        positions: Positions,
        fetcher: Fetcher,
        offsets: Offsets,
        *,
        committed: FetchCommitted | None,
        on_change: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._config = config
        self._positions = positions
        self._fetcher = fetcher
        self._offsets = offsets
        self._committed = committed
        self._on_change = on_change
        self._changed = asyncio.Event()
        self._unknown: dict[TopicPartition, int] = {}
        self.last_error: PystreamError | None = None  # what keeps positions from being found now
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Some partition may need its position; one with a new leader is not fetched before it is checked."""
        self._look_for_new_topics()
        self._look_for_new_leaders()
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = self._cluster.spawn("find positions", self._serve())

    async def _serve(self) -> None:
        failures = 0
        while True:
            self._changed.clear()
            self._look_for_new_topics()
            self._look_for_new_leaders()
            todo = [state for state in self._positions if self._needs_work(state)]
            if not todo:
                failures = 0
                await self._changed.wait()
                continue
            try:
                await self._prepare(todo)
                left = await self._resolve([state for state in todo if state.phase is Phase.RESET])
                left = await self._validate([s for s in todo if s.phase is Phase.VALIDATING]) or left
                left = left or not all(map(self._has_leader, todo))
                if not left:
                    self.last_error = None
            except Closed:
                return
            except PystreamError as error:
                left = True
                self.last_error = error
                logger.debug("positions not found", error=str(error))
                if not is_retriable(error) and not isinstance(error, DeadlineExceeded):
                    for state in todo:
                        state.failure = state.failure or error
                    self._on_change()
            self._fetcher.wake()
            self._on_change()
            if left:
                failures += 1
                await self._cluster.clock.sleep_ms(self._cluster.backoff.delay_ms(failures))

    def _needs_work(self, state: PartitionState) -> bool:
        if state.failure is not None or state.goes:
            return False
        return state.phase is not Phase.FETCHING or not self._has_leader(state)

    def _has_leader(self, state: PartitionState) -> bool:
        return self._cluster.leader_of(state.topic, state.partition) is not None

    def _look_for_new_topics(self) -> None:
        """A topic that was deleted and made anew has other records: all of them are still to be read."""
        for state in self._positions:
            topic = self._cluster.metadata.topics.get(state.topic)
            if topic is None or topic.topic_id in (ZERO_UUID, state.topic_id):
                continue
            before, state.topic_id = state.topic_id, topic.topic_id
            if before == ZERO_UUID:
                continue
            logger.warning("topic made anew", partition=str(state.key), position=state.position)
            state.reset(BEGINNING)
            if reset_target(self._config, self._cluster.clock.now_ms()) is None:
                state.failure = OffsetOutOfRange(
                    f"{state.key}: the topic was deleted and made anew, its offsets mean other records now; seek, or "
                    "go on with the first of them"
                )
                self._on_change()

    def _look_for_new_leaders(self) -> None:
        """Positions with a known epoch are checked against a leader newer than the one they were checked with."""
        for state in self._positions:
            leader = self._cluster.leader_of(state.topic, state.partition)
            if leader is None or state.phase is not Phase.FETCHING or leader.leader_epoch == state.leader_epoch:
                continue
            if state.leader_epoch == NO_LEADER_EPOCH and state.position_epoch == NO_LEADER_EPOCH:
                state.leader_epoch = leader.leader_epoch
            elif leader.leader_epoch > state.leader_epoch:
                state.phase = Phase.VALIDATING if state.fetch_epoch >= 0 else Phase.FETCHING
                state.leader_epoch = leader.leader_epoch

    async def _prepare(self, todo: list[PartitionState]) -> None:
        """Know the leaders of these partitions; partitions that stay unknown are the user's to know."""
        missing = [state for state in todo if not self._has_leader(state)]
        if not missing:
            return
        self._cluster.track({state.topic for state in missing})
        metadata = await self._cluster.refresh()
        for state in missing:
            topic = metadata.topics.get(state.topic)
            if topic is not None and state.partition < topic.partition_count:
                self._unknown.pop(state.key, None)
                continue
            error = error_class(metadata.failed.get(state.topic, UNKNOWN_TOPIC_OR_PARTITION))(f"{state.key}")
            if not is_retriable(error):
                state.failure = error
                self._on_change()
                continue
            count = self._unknown[state.key] = self._unknown.get(state.key, 0) + 1
            if count >= UNKNOWN_PATIENCE:
                del self._unknown[state.key]
                known = "the topic does not exist" if topic is None else f"it has {topic.partition_count} partitions"
                state.failure = UnknownTopicOrPartition(f"{state.key} cannot be consumed: {known}")
                self._on_change()

    async def _resolve(self, states: list[PartitionState]) -> bool:
        """Give positions; True when some are left."""
        committed = [state for state in states if state.reset_to == COMMITTED]
        if committed:
            await self._use_committed(committed)
        ready = {
            state.key: (state, state.version)
            for state in states
            if state.phase is Phase.RESET and state.reset_to != COMMITTED and state.failure is None
        }
        answers = await self._offsets.try_once({key: state.reset_to for key, (state, _) in ready.items()})
        left = False
        for key, answer in answers.items():
            state, version = ready[key]
            if not self._positions.is_current(state, version):
                continue
            if isinstance(answer, KafkaError):
                self.last_error = answer
                if is_retriable(answer):
                    left = True
                    self._cluster.refresh_soon()
                else:
                    state.failure = answer
                    self._on_change()
            elif answer is None:  # no record at or after that time
                state.reset_to = END
                left = True
            else:
                if state.reset_to == END:  # for lag(), until an answer to Fetch tells
                    if self._config.isolation_level == "read_committed":
                        state.last_stable_offset = answer.offset
                    else:
                        state.high_watermark = answer.offset
                logger.debug("position reset", partition=str(key), to=named(state.reset_to), offset=answer.offset)
                state.seek(answer.offset)
        return left

    async def _use_committed(self, states: list[PartitionState]) -> None:
        versions = {state.key: state.version for state in states}
        offsets: Mapping[TopicPartition, OffsetAndMetadata | None] = {}
        if self._committed is not None:
            offsets = await self._committed([state.key for state in states])
        to = reset_target(self._config, self._cluster.clock.now_ms())
        for state in states:
            if not self._positions.is_current(state, versions[state.key]):
                continue
            found = offsets.get(state.key)
            if found is not None:
                state.seek(found.offset, found.leader_epoch)
            elif to is not None:
                state.reset_to = to
            else:
                state.failure = NoOffsetForPartition(
                    f"{state.key}: no committed offset, and auto.offset.reset=none; seek, or set auto.offset.reset"
                )
                self._on_change()

    async def _validate(self, states: list[PartitionState]) -> bool:
        told = {state for state in states if await self._offsets.can_validate(state.key)}
        states = [state for state in states if state.phase is Phase.VALIDATING]  # others moved meanwhile
        able = [state for state in states if state in told]
        for state in states:
            if state not in told and self._cluster.leader_of(state.topic, state.partition) is not None:
                state.phase = Phase.FETCHING
        if not able:
            return any(state.phase is Phase.VALIDATING for state in states)
        versions = {state.key: (state, state.version) for state in able}
        answers = await self._offsets.end_of_epochs({state.key: state.fetch_epoch for state in able})
        left = False
        for key, answer in answers.items():
            state, version = versions[key]
            if not self._positions.is_current(state, version):
                continue
            if isinstance(answer, KafkaError):
                left = True
                self._cluster.refresh_soon()
                continue
            epoch, end_offset = answer
            if epoch < 0 or end_offset < state.fetch_offset:
                truncated(state, self._config, self._cluster.clock.now_ms(), epoch, end_offset)
                self._look_for_new_leaders()  # where it stands now is not fetched before it is checked
            else:
                state.phase = Phase.FETCHING
        return left
