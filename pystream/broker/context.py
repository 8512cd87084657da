"""What handlers are given: the parts of the broker they may use, who is calling, and how long they may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pystream.common.errors import PystreamError, RequestTimedOut, UnsupportedVersion
from pystream.common.logging import get_logger
from pystream.common.model import NO_BROKER, TopicPartition
from pystream.coordinator.group.group import Caller

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.applier import ImageApplier
    from pystream.broker.config import BrokerConfig
    from pystream.broker.coordination.coordinators import Coordinators
    from pystream.broker.coordination.shares import Shares
    from pystream.broker.limits.client_quotas import ClientQuotas
    from pystream.broker.monitoring.telemetry import ClientTelemetry
    from pystream.broker.settings_view import SettingsView
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.common.clock import Clock
    from pystream.common.model import Endpoint
    from pystream.controller.configs import ConfigController
    from pystream.controller.features import FeatureController
    from pystream.controller.producer_ids import ProducerIdAllocator
    from pystream.controller.quotas import QuotaController
    from pystream.controller.scram import ScramController
    from pystream.controller.topics import TopicController
    from pystream.coordinator.group.coordinator import GroupCoordinator
    from pystream.coordinator.transaction.coordinator import TransactionCoordinator
    from pystream.metadata.image import BrokerImage, ClusterImage, PartitionImage
    from pystream.metadata.publisher import ImagePublisher
    from pystream.storage.log_manager import LogManager
    from pystream.storage.replica_moves import ReplicaMoves


logger = get_logger(__name__)

R = TypeVar("R")
SHARE_VERSION = "share.version"


class Call(NamedTuple):
    """One request's header, and where it came in. `peer` is the client's address in digits."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    listener: str
    handle: int
    peer: str
    started_ms: int

    def caller(self) -> Caller:
        """Who calls, as coordinators are told."""
        return Caller(self.api_version, self.client_id or "", f"/{self.peer}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerContext:
    """`advertised` is what ApiVersions lists: (key, lowest version, highest version)."""

    config: BrokerConfig
    clock: Clock
    settings: SettingsView
    topics: TopicController
    configs: ConfigController
    features: FeatureController
    scram: ScramController
    quotas: QuotaController
    client_quotas: ClientQuotas
    producer_ids: ProducerIdAllocator
    publisher: ImagePublisher
    applier: ImageApplier
    logs: LogManager
    moves: ReplicaMoves
    plane: DataPlane
    executor: StorageExecutor
    telemetry: ClientTelemetry
    coordinators: Coordinators
    advertised: tuple[tuple[int, int, int], ...]

    def image(self) -> ClusterImage:
        """The cluster as far as this broker has applied it: what it shows takes records."""
        return self.applier.image

    def reachable_brokers(self, listener: str) -> list[tuple[BrokerImage, Endpoint]]:
        """The running brokers that listen under this name, and where."""
        found = [(broker, broker.endpoint(listener)) for broker in self.applier.image.brokers.values()]
        return [(broker, endpoint) for broker, endpoint in found if endpoint is not None]

    def leader_of(self, topic: str, partition: PartitionImage, reachable: Set[int]) -> int:
        """Who leads the partition and can be asked; NO_BROKER when nobody can: no log, or no such broker."""
        if partition.leader not in reachable or TopicPartition(topic, partition.index) in self.applier.unusable:
            return NO_BROKER
        return partition.leader

    @property
    def groups(self) -> GroupCoordinator:
        """Who coordinates groups."""
        return self.coordinators.groups

    @property
    def transactions(self) -> TransactionCoordinator:
        """Who coordinates transactions."""
        return self.coordinators.transactions

    @property
    def shares(self) -> Shares:
        """What serves share groups. Raises UnsupportedVersion unless the feature share.version is finalized."""
        if not self.applier.image.features.get(SHARE_VERSION):
            raise UnsupportedVersion()
        return self.coordinators.shares

    def connection_ended(self, handle: int) -> None:
        """A connection that somebody watches is gone."""
        self.coordinators.shares.service.connection_closed(handle)

    async def applied(self, revision: int) -> ClusterImage:
        """The image, once this broker has applied `revision` of the metadata."""
        await self.publisher.wait_for(revision)
        return await self.applier.caught_up()


async def in_time(work: Coroutine[Any, Any, R], timeout_ms: int) -> R:
    """What `work` gives. Raises RequestTimedOut after `timeout_ms`: the change goes on, unwatched."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=max(timeout_ms, 0) / 1_000)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.add_done_callback(_retrieve)
        raise RequestTimedOut()
    return task.result()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Take note of how forsaken work ended: nobody else does. That it was refused is no news."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, Exception) and not isinstance(error, PystreamError):
        logger.exception("request failed that nobody waited for any longer", error)
