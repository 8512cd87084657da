"""What serves share groups in this broker: their groups, their records, and the states of their partitions.

handlers -> service (ShareFetch, ShareAcknowledge) -> share partitions -> logs, states
         -> groups  (heartbeat, describe, offsets) -> GroupCoordinator, states
         -> states  (keys 83 to 87)                -> runtime of __share_group_state
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystream.broker.coordination.share_log import BrokerShareLog
from pystream.common.config import Layer, definition_of
from pystream.common.errors import KafkaStorageError
from pystream.common.model import SHARE_GROUP_STATE_TOPIC
from pystream.coordinator.group.share.coordinator import ShareGroupCoordinator
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.share.config import SharePartitionConfig, ShareStateConfig
from pystream.coordinator.share.hosted import SharePartitions
from pystream.coordinator.share.pruner import Pruner
from pystream.coordinator.share.service import ShareService
from pystream.coordinator.share.states import ShareStates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pystream._native.data_plane import DataPlane
    from pystream.broker.coordination.coordinator_log import CoordinatorLog
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.common.clock import SleepingClock
    from pystream.common.tasks import Supervisor
    from pystream.coordinator.group.coordinator import GroupCoordinator
    from pystream.coordinator.group_settings import SettingsOfGroup
    from pystream.coordinator.runtime import CoordinatorRuntime
    from pystream.coordinator.share.state_shard import ShareStateShard
    from pystream.metadata.image import Delta
    from pystream.storage.log_manager import LogManager


class StateLogs:
    """The logs of `__share_group_state`, for the pruner."""

    def __init__(
        self, written: CoordinatorLog, *, logs: LogManager, plane: DataPlane, executor: StorageExecutor
    ) -> None:
        self._written = written
        self._logs = logs
        self._plane = plane
        self._executor = executor

    def bounds(self, partition: int) -> tuple[int, int]:
        return self._written.bounds(partition)

    async def delete_before(self, partition: int, offset: int) -> None:
        await self._executor.run(self._logs.delete_records, SHARE_GROUP_STATE_TOPIC, partition, offset)
        try:
            self._plane.advance_start_offset(SHARE_GROUP_STATE_TOPIC, partition)
        except KeyError as error:  # its log went offline meanwhile
            raise KafkaStorageError() from error


class Shares:
    """See the head of this module. Lives in the broker's loop."""

    def __init__(
        self,
        *,
        static_layer: Layer,
        runtime: CoordinatorRuntime[ShareStateShard],
        groups: GroupCoordinator,
        log: BrokerShareLog,
        state_logs: StateLogs,
        topics: TopicCatalog,
        settings_of: SettingsOfGroup,
        ensure_states: Callable[[], Awaitable[object]],
        watch_connection: Callable[[int], None],
        clock: SleepingClock,
        supervisor: Supervisor,
    ) -> None:
        config = definition_of(SharePartitionConfig).load(static_layer)
        self._log = log
        self._clock = clock
        self._supervisor = supervisor
        self._prune_interval_ms = definition_of(ShareStateConfig).load(static_layer).prune_interval_ms
        self._pruner = Pruner(runtime, state_logs)
        self._partitions = SharePartitions(
            log=log,
            states=ShareStates(runtime),
            settings=settings_of,
            config=config,
            clock=clock,
            supervisor=supervisor,
        )
        self.states = ShareStates(runtime)
        self.service = ShareService(
            self._partitions, clock, max_sessions=config.max_share_sessions, watch=watch_connection
        )
        self.groups = ShareGroupCoordinator(
            groups=groups,
            states=self.states,
            service=self.service,
            topics=topics,
            end_offset=lambda topic, partition: log.bounds(topic, partition).high_watermark,
            ensure_states=ensure_states,
            clock=clock,
            supervisor=supervisor,
        )
        groups.before_delete = self.groups.delete_states

    def start(self) -> None:
        """End locks in time, and keep the log of states short."""
        self._supervisor.start("share record locks", self._partitions.run())
        self._supervisor.start("prune share group state", self._pruner.run(self._clock, self._prune_interval_ms))

    def stop(self) -> None:
        """Answer who waits for records."""
        self.service.close_all()

    def moved(self, topic: str, partition: int) -> None:
        """Readers of a partition can read further."""
        self._log.moved(topic, partition)

    def watches(self, topic: str, partition: int) -> bool:
        """Whether somebody waits for the partition to move."""
        return self._log.watches(topic, partition)

    def all_moved(self) -> None:
        """Nobody knows which partitions can be read further: all may."""
        self._log.all_moved()

    def image_applied(self, delta: Delta) -> None:
        """Forget what was known of topics that are gone."""
        if delta.deleted:
            self.groups.topics_deleted([topic.topic_id for topic in delta.deleted])
