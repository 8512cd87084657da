"""The coordinators of this broker: each runs on a runtime over its topic, and loads what this broker leads.

    applied image -> partitions of the coordinators' topics led here -> runtime.load | unload
    data plane's word of high watermarks that moved -> runtime.committed -> answers

A coordinator joins with a few lines of __init__: its topic's runtime, and the facade that handlers call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pystream.broker.coordination.coordinator_log import CoordinatorLog
from pystream.broker.coordination.image_topics import ImageTopics
from pystream.broker.coordination.internal_topics import InternalTopics
from pystream.broker.coordination.share_log import BrokerShareLog
from pystream.broker.coordination.shares import Shares, StateLogs
from pystream.broker.coordination.transactions import BrokerTransactionPorts, answer_question
from pystream.broker.monitoring.coordinator_metrics import coordinator_families, fault_family, load_families
from pystream.broker.monitoring.group_metrics import group_families
from pystream.broker.monitoring.share_metrics import share_families
from pystream.broker.monitoring.transaction_metrics import transaction_families
from pystream.common.clock import SECOND_MS
from pystream.common.config import definition_of
from pystream.common.errors import KafkaError, PystreamError
from pystream.common.logging import get_logger
from pystream.common.model import (
    CONSUMER_OFFSETS_TOPIC,
    SHARE_GROUP_STATE_TOPIC,
    TRANSACTION_STATE_TOPIC,
    TopicPartition,
)
from pystream.coordinator.group.coordinator import GroupCoordinator
from pystream.coordinator.group.metrics import GroupMetrics
from pystream.coordinator.group.parts import GroupConfigs, make_group_shard
from pystream.coordinator.group.topics import TopicCatalog
from pystream.coordinator.machine import Shard
from pystream.coordinator.runtime import CoordinatorRuntime
from pystream.coordinator.share.config import ShareStateConfig
from pystream.coordinator.share.state_shard import ShareStateShard
from pystream.coordinator.transaction.config import TransactionConfig
from pystream.coordinator.transaction.coordinator import TransactionCoordinator
from pystream.coordinator.transaction.shard import TransactionShard

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.applier import ImageApplier
    from pystream.broker.settings_view import SettingsView
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.common.clock import SleepingClock
    from pystream.common.config import Layer
    from pystream.common.metrics import Family
    from pystream.common.tasks import Supervisor
    from pystream.controller.producer_ids import ProducerIdAllocator
    from pystream.controller.topics import TopicController
    from pystream.coordinator.config import CoordinatorConfig
    from pystream.coordinator.group_settings import GroupSettings
    from pystream.coordinator.ports import TopicMetadata
    from pystream.metadata.image import ClusterImage, Delta
    from pystream.storage.log_manager import LogManager

logger = get_logger(__name__)

NO_CODEC = 0
TRANSACTION_WRITE_TIMEOUT_MS = 5 * SECOND_MS

S = TypeVar("S", bound=Shard)


class Coordinators:
    """Lives in the broker's loop. `groups`, `transactions` and `shares` are what handlers call."""

    def __init__(
        self,
        *,
        node_id: int,
        config: CoordinatorConfig,
        static_layer: Layer,
        clock: SleepingClock,
        supervisor: Supervisor,
        plane: DataPlane,
        logs: LogManager,
        executor: StorageExecutor,
        applier: ImageApplier,
        settings: SettingsView,
        topics: TopicController,
        producer_ids: ProducerIdAllocator,
    ) -> None:
        self._node_id = node_id
        self._clock = clock
        self._supervisor = supervisor
        self._plane = plane
        self._logs = logs
        self._executor = executor
        self._applier = applier
        self._settings = settings
        self._image_topics = ImageTopics(applier.image)
        self._settings_of_groups: dict[str, GroupSettings] = {}
        self.runtimes: dict[str, CoordinatorRuntime[Any]] = {}
        self._written: dict[str, CoordinatorLog] = {}
        self._codecs = codecs_of(config)
        self.producer_ids = producer_ids
        self.internal_topics = InternalTopics(topics, applier, config, lambda: len(applier.image.brokers))

        group_configs = GroupConfigs.load(static_layer)
        self._group_metrics = GroupMetrics()
        self.groups = GroupCoordinator(
            self._runtime(
                CONSUMER_OFFSETS_TOPIC,
                lambda partition: make_group_shard(
                    partition,
                    group_configs,
                    topics=self.topic_metadata,
                    settings_of=self.settings_of_group,
                    share_member_left=lambda group_id, member_id: self.shares.service.member_left(group_id, member_id),
                    metrics=self._group_metrics,
                ),
                write_timeout_ms=config.offsets_commit_timeout_ms,
            )
        )
        self.shares = self._made_shares(static_layer, write_timeout_ms=config.share_write_timeout_ms)

        self.transaction_ports = BrokerTransactionPorts(
            plane, clock, applier, self.groups, producer_ids.next_id, self._is_watched
        )
        self.transactions = self._made_transactions(definition_of(TransactionConfig).load(static_layer))

    def _made_transactions(self, config: TransactionConfig) -> TransactionCoordinator:
        runtime = self._runtime(
            TRANSACTION_STATE_TOPIC,
            lambda partition: TransactionShard(partition, config, self._transactions_loaded),
            write_timeout_ms=TRANSACTION_WRITE_TIMEOUT_MS,
        )
        return TransactionCoordinator(runtime, config, self.transaction_ports, self._clock, self._supervisor)

    async def vouch(self, question: bytes) -> int:
        """Answers the data plane's question about a transaction: an error code for what must not be written."""
        return await answer_question(self.transactions, question)

    def _transactions_loaded(self, shard: TransactionShard) -> None:
        self.transactions.loaded(shard)

    def _made_shares(self, static_layer: Layer, *, write_timeout_ms: int) -> Shares:
        updates = definition_of(ShareStateConfig).load(static_layer).update_records_per_snapshot
        runtime = self._runtime(
            SHARE_GROUP_STATE_TOPIC, lambda partition: ShareStateShard(updates), write_timeout_ms=write_timeout_ms
        )
        written = self._written[SHARE_GROUP_STATE_TOPIC]
        return Shares(
            static_layer=static_layer,
            runtime=runtime,
            groups=self.groups,
            log=BrokerShareLog(
                node_id=self._node_id,
                logs=self._logs,
                plane=self._plane,
                applier=self._applier,
                executor=self._executor,
                is_watched_elsewhere=self._is_watched_elsewhere,
            ),
            state_logs=StateLogs(written, logs=self._logs, plane=self._plane, executor=self._executor),
            topics=TopicCatalog(self.topic_metadata),
            settings_of=self.settings_of_group,
            ensure_states=lambda: self.internal_topics.ensure(SHARE_GROUP_STATE_TOPIC),
            watch_connection=lambda connection: self._plane.control.watch(connection),
            clock=self._clock,
            supervisor=self._supervisor,
        )

    def _runtime(self, topic: str, make_shard: Callable[[int], S], *, write_timeout_ms: int) -> CoordinatorRuntime[S]:
        log = CoordinatorLog(
            topic,
            plane=self._plane,
            logs=self._logs,
            executor=self._executor,
            clock=self._clock,
            codec=self._codecs.get(topic, NO_CODEC),
        )
        runtime = CoordinatorRuntime(
            topic, make_shard, log, log, self._clock, self._supervisor, write_timeout_ms=write_timeout_ms
        )
        self._written[topic] = log
        self.runtimes[topic] = runtime
        return runtime

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load what is led here, and follow the image and the data plane from here on."""
        loop.add_reader(self._plane.moved_fileno(), self._take_moved)
        self._applier.on_applied(self._image_applied)
        self._image_topics = ImageTopics(self._applier.image)
        for topic in self.runtimes:
            self._follow(topic, self._applier.image)
        self.transactions.start()
        self.shares.start()

    async def stop(self) -> None:
        """Answer whoever waits, while the data plane still runs; what comes later is told NOT_COORDINATOR."""
        self.shares.stop()
        await asyncio.gather(*(runtime.stop() for runtime in self.runtimes.values()))
        asyncio.get_running_loop().remove_reader(self._plane.moved_fileno())

    def families(self) -> Iterator[Family]:
        """For the metrics."""
        yield from coordinator_families(self.runtimes.values())
        yield from group_families(self.groups.runtime, self._group_metrics)
        yield from transaction_families(self.transactions)
        yield from load_families("sharecoordinatormetrics", self.runtimes[SHARE_GROUP_STATE_TOPIC])
        yield from share_families(self.shares.service)
        yield fault_family(self._supervisor)

    # ------------------------------------------------------------------------------------------------ what shards ask

    def topic_metadata(self) -> TopicMetadata:
        """The topics as this broker has applied them last."""
        return self._image_topics

    def settings_of_group(self, group_id: str) -> GroupSettings:
        """What a group goes by at present."""
        found = self._settings_of_groups.get(group_id)
        if found is None:
            image = self._applier.image
            own = group_id if group_id in image.configs_of_groups else ""  # all without settings of their own share one
            found = self._settings_of_groups.get(own)
            if found is None:
                found = self._settings_of_groups[own] = self._settings.group_settings(own, image)
        return found

    # ------------------------------------------------------------------------------------------------ following

    def _take_moved(self) -> None:
        moved = self._plane.take_moved()
        if moved is None:
            moved = self._all_watermarks()
            self.shares.all_moved()
            self.transaction_ports.markers.look_again()
        for topic, partition, high_watermark in moved:
            runtime = self.runtimes.get(topic)
            if runtime is not None:
                runtime.committed(partition, high_watermark)
            self.transaction_ports.markers.moved(topic, partition, high_watermark)
            self.shares.moved(topic, partition)

    def _all_watermarks(self) -> list[tuple[str, int, int]]:
        """Of every partition that is coordinated here. One that is gone is left out: the image tells of it."""
        found = []
        for topic, runtime in self.runtimes.items():
            for partition in runtime.led():
                try:
                    found.append((topic, partition, self._written[topic].high_watermark(partition)))
                except KafkaError as error:
                    logger.limited("partition of a coordinator is gone", topic=topic, partition=partition, error=error)
        return found

    def _is_watched(self, topic: str, partition: int) -> bool:
        """Whether a coordinator, or a reader of a share group, must go on to be told of a partition."""
        return topic in self.runtimes or self.shares.watches(topic, partition)

    def _is_watched_elsewhere(self, topic: str, partition: int) -> bool:
        """Whether a coordinator, or a marker, must go on to be told of a partition that no share group reads."""
        return topic in self.runtimes or self.transaction_ports.markers.waits_for(topic, partition)

    def _image_applied(self, delta: Delta, image: ClusterImage) -> None:
        self._image_topics = ImageTopics(image)
        self._settings_of_groups.clear()
        for topic in self.runtimes:
            self._follow(topic, image)
        if delta.deleted:
            self.groups.topics_deleted(topic.name for topic in delta.deleted)
        self.shares.image_applied(delta)

    def _follow(self, name: str, image: ClusterImage) -> None:
        runtime = self.runtimes[name]
        topic = image.topics.get(name)
        partitions = topic.partitions if topic is not None else ()
        led = {
            partition.index
            for partition in partitions
            if partition.leader == self._node_id and TopicPartition(name, partition.index) not in self._applier.unusable
        }
        for partition in set(runtime.led()) - led:
            runtime.unload(partition)
        runtime.set_partition_count(len(partitions))
        for partition in sorted(led.difference(runtime.led())):
            try:
                self._written[name].watch(partition)
            except PystreamError as error:
                logger.error("coordinator not loaded", topic=name, partition=partition, error=error)
            else:
                runtime.load(partition)


def codecs_of(config: CoordinatorConfig) -> dict[str, int]:
    """How the topics' batches are compressed, where that can be set."""
    return {
        CONSUMER_OFFSETS_TOPIC: config.offsets_topic_compression_codec,
        SHARE_GROUP_STATE_TOPIC: config.share_state_topic_compression_codec,
    }
