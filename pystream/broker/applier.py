"""Makes the logs and the tables of the data plane follow the cluster image.

    publisher -> submit(delta, image) -> [storage executor: create, reconfigure, delete logs] -> plane tables -> image

`image` is the one applied last: handlers show clients a topic only once its partitions take records. Changes that
arrive while others are applied are taken together, so what waits is never more than one image.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from pystream.common.errors import InconsistentTopicId, PystreamError
from pystream.common.logging import get_logger
from pystream.common.model import TopicPartition
from pystream.common.tasks import contained_now
from pystream.metadata.image import ClusterImage, Delta, PartitionImage, TopicImage, difference

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.settings_view import SettingsView
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.storage.config import LogConfig
    from pystream.storage.log_manager import LogManager
    from pystream.storage.partition_log import PartitionLog

logger = get_logger(__name__)

Hosted = tuple[TopicImage, PartitionImage]
Follower = Callable[[Delta, ClusterImage], None]
TOPICS_NAMED = 10  # in one line of the log


class ImageApplier:
    """Lives in the broker's loop."""

    def __init__(
        self,
        *,
        node_id: int,
        logs: LogManager,
        plane: DataPlane,
        executor: StorageExecutor,
        settings: SettingsView,
        reconfigure_broker: Callable[[ClusterImage], Awaitable[None]],
    ) -> None:
        self.image = ClusterImage()
        self.unusable: dict[TopicPartition, str] = {}  # partitions whose log could not be made, and why
        self._in_plane: set[TopicPartition] = set()
        self._node_id = node_id
        self._logs = logs
        self._plane = plane
        self._executor = executor
        self._settings = settings
        self._reconfigure_broker = reconfigure_broker
        self._pending: tuple[Delta | None, ClusterImage] | None = None
        self._submitted = 0
        self._applied = 0
        self._wake = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._followers: list[Follower] = []

    def on_applied(self, follower: Follower) -> None:
        """Call `follower` with each image once it is applied, and with what differs from the one before."""
        self._followers.append(follower)

    def submit(self, delta: Delta, image: ClusterImage) -> None:
        """Subscriber of the publisher: to be applied by `run`, soon and in order."""
        self._pending = (delta if self._pending is None else None, image)
        self._submitted += 1
        self._wake.set()

    async def run(self) -> None:
        """Apply what is submitted, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.apply_pending()

    async def apply_pending(self) -> None:
        """Apply what has been submitted so far."""
        if self._pending is None:
            return
        (delta, image), self._pending = self._pending, None
        number = self._submitted
        if delta is None:
            delta = difference(self.image, image)
        await self._apply(delta, image)
        self.image = image
        self._applied = number
        for follower in self._followers:
            _tell(follower, delta, image)
        self._waiting = [waiting for waiting in self._waiting if not self._released(*waiting)]

    async def caught_up(self) -> ClusterImage:
        """The applied image, once everything submitted before this call is in it."""
        if self._applied < self._submitted:
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((self._submitted, reached))
            await reached
        return self.image

    def _released(self, number: int, reached: asyncio.Future[None]) -> bool:
        if self._applied < number:
            return False
        if not reached.done():
            reached.set_result(None)
        return True

    async def _apply(self, delta: Delta, image: ClusterImage) -> None:
        await self._remove([(t, p) for t in delta.deleted for p in t.partitions if self._hosts(p)])
        left = [(topic, partition) for topic, partition in delta.changed_partitions if not self._hosts(partition)]
        await self._remove([hosted for hosted in left if self._logs.get(hosted[0].name, hosted[1].index)])
        here = [(t, p) for t in delta.created for p in t.partitions if self._hosts(p)]
        here += [(topic, partition) for topic, partition in delta.changed_partitions if self._hosts(partition)]
        await self._open(here, image)
        if delta.broker_configs:
            await self._reconfigure_broker(image)
            await self._reconfigure(image.topics.values(), image)
        else:
            await self._reconfigure(delta.reconfigured, image)

    def _hosts(self, partition: PartitionImage) -> bool:
        return self._node_id in partition.replicas

    async def _remove(self, gone: list[Hosted]) -> None:
        """Out of the plane first: whoever waits there is answered before the files go."""
        for topic, partition in gone:
            name = TopicPartition(topic.name, partition.index)
            self.unusable.pop(name, None)
            if name in self._in_plane:
                self._in_plane.remove(name)
                self._plane.remove_partition(topic.name, partition.index)
        if gone:
            await self._executor.run(self._delete_logs, gone)
            logger.info("partitions deleted", count=len(gone), topics=_names(gone))

    def _delete_logs(self, gone: list[Hosted]) -> None:
        for topic, partition in gone:
            try:
                self._logs.delete(topic.name, partition.index)
            except (PystreamError, OSError) as error:
                logger.error("log not deleted", partition=f"{topic.name}-{partition.index}", error=error)
        try:
            self._logs.sync_directories()
        except PystreamError as error:
            logger.error("deletion of logs may not outlast a power cut", error=error)

    async def _open(self, here: list[Hosted], image: ClusterImage) -> None:
        """Make logs that do not exist, put the topics' settings in force in those that do, and tell the plane."""
        if not here:
            return
        failures = await self._executor.run(self._open_logs, here, image)
        opened = 0
        for topic, partition in here:
            name = TopicPartition(topic.name, partition.index)
            reason = failures.get(name)
            if reason is not None:
                self.unusable[name] = reason
                logger.error("log cannot be used", partition=name, error=reason)
                continue
            self.unusable.pop(name, None)
            log = self._logs.get(topic.name, partition.index)
            if log is not None:
                opened += name not in self._in_plane
                self._tell_plane(topic, partition, log)
        if opened:
            logger.info("partitions opened", count=opened, topics=_names(here))

    def _open_logs(self, here: list[Hosted], image: ClusterImage) -> dict[TopicPartition, str]:
        """On a storage thread. What cannot be opened, and why."""
        failures = {}
        configs: dict[str, LogConfig] = {}
        for topic, partition in here:
            config = configs.get(topic.name)
            if config is None:
                config = configs[topic.name] = self._settings.log_config(topic.configs, image)
            try:
                log = self._log_of(topic, partition, config)
                if log.config is not config:
                    log.reconfigure(config)
            except (PystreamError, OSError) as error:
                failures[TopicPartition(topic.name, partition.index)] = str(error)
        try:
            self._logs.sync_directories()
        except PystreamError as error:
            failures |= {TopicPartition(topic.name, partition.index): str(error) for topic, partition in here}
        return failures

    def _log_of(self, topic: TopicImage, partition: PartitionImage, config: LogConfig) -> PartitionLog:
        """The partition's log. One of a former topic of that name, whose deletion was cut short, is set aside."""
        try:
            return self._logs.create(topic.name, partition.index, topic.topic_id, config)
        except InconsistentTopicId as error:
            kept = self._logs.set_aside(topic.name, partition.index)
            logger.error("log of a former topic set aside", kept=kept, error=error)
            return self._logs.create(topic.name, partition.index, topic.topic_id, config)

    def _tell_plane(self, topic: TopicImage, partition: PartitionImage, log: PartitionLog) -> None:
        name = TopicPartition(topic.name, partition.index)
        if name not in self._in_plane:
            self._in_plane.add(name)
            self._plane.add_partition(
                topic.name,
                topic.topic_id,
                partition.index,
                log.native,
                log.flusher,
                leader_epoch=partition.leader_epoch,
            )
        self._plane.set_leadership(
            topic.name,
            partition.index,
            leader=partition.leader == self._node_id,
            leader_epoch=partition.leader_epoch,
            leader_id=partition.leader,
            enough_replicas=len(partition.isr) >= least_in_sync(partition, log.config),
        )

    async def _reconfigure(self, topics: Iterable[TopicImage], image: ClusterImage) -> None:
        """min.insync.replicas may have changed, so the plane is told of leadership again."""
        topics = list(topics)
        if not topics:
            return
        await self._executor.run(self._reconfigure_logs, topics, image)
        for topic in topics:
            for partition in topic.partitions:
                log = self._logs.get(topic.name, partition.index)
                if log is not None and TopicPartition(topic.name, partition.index) not in self.unusable:
                    self._tell_plane(topic, partition, log)

    def _reconfigure_logs(self, topics: list[TopicImage], image: ClusterImage) -> None:
        for topic in topics:
            config = self._settings.log_config(topic.configs, image)
            for partition in topic.partitions:
                if self._logs.get(topic.name, partition.index) is not None:
                    self._logs.reconfigure(topic.name, partition.index, config)


def least_in_sync(partition: PartitionImage, config: LogConfig) -> int:
    """Replicas in sync without which acks=all is refused. More than there are cannot be asked for, as in Kafka."""
    return min(config.min_insync_replicas, len(partition.replicas))


def _names(hosted: list[Hosted]) -> str:
    """The topics of some partitions, each once and not too many of them, for a line of the log."""
    names = list(dict.fromkeys(topic.name for topic, _ in hosted))
    left_out = len(names) - TOPICS_NAMED
    return ",".join(names[:TOPICS_NAMED]) + (f" and {left_out} more" if left_out > 0 else "")


def _tell(follower: Follower, delta: Delta, image: ClusterImage) -> None:
    """A follower that a change is too much for keeps what it had; the others, and the broker, go on."""
    contained_now("change not taken in", lambda: follower(delta, image), lambda error: None, revision=image.revision)
