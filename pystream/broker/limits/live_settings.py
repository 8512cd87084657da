"""Puts this broker's own settings in force while it runs; those of topics go through the applier.

    max.connections, max.connections.per.ip                      event loops, for connections to come
    max.connection.creation.rate, also of one listener           connections to come
    num.network.threads                                          event loops: see DataPlane.resize()
    num.io.threads, num.recovery.threads.per.data.dir            thread pools
    producer.id.expiration.ms                                    the next look for forgotten producers
    replica.alter.log.dirs.io.max.bytes.per.second               moves of replicas, those under way too
    log.cleaner.*                                                compaction begins its round again

Source: KIP-226, KIP-612.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystream.common.config import INT_MAX
from pystream.common.logging import get_logger
from pystream.metadata.image import ClusterImage

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.limits.client_quotas import QuotaWindow
    from pystream.broker.settings_view import SettingsView
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.storage.cleaner import LogCleaner
    from pystream.storage.log_manager import LogManager
    from pystream.storage.replica_moves import ReplicaMoves

logger = get_logger(__name__)
LIVE_LIMITS = ("max.connections", "max.connections.per.ip")


class LiveSettings:
    """Called by the applier, in its order, before clients are shown the change."""

    def __init__(
        self,
        *,
        settings: SettingsView,
        plane: DataPlane,
        logs: LogManager,
        moves: ReplicaMoves,
        cleaner: LogCleaner,
        executor: StorageExecutor,
        window: QuotaWindow,
    ) -> None:
        self._settings = settings
        self._plane = plane
        self._logs = logs
        self._moves = moves
        self._cleaner = cleaner
        self._executor = executor
        self._window = window
        self._bound_connections(ClusterImage())

    async def apply(self, image: ClusterImage) -> None:
        """What the image says of this broker is in force when it returns."""
        broker, cleaner = self._settings.live(image)
        limits = broker.plane_limits()
        self._plane.update_limits({name: limits[name] for name in LIVE_LIMITS})
        self._bound_connections(image)
        self._resize_loops(broker.num_network_threads)
        self._executor.resize(broker.num_io_threads)
        self._logs.update(
            recovery_threads=broker.num_recovery_threads_per_data_dir,
            producer_id_expiration_ms=broker.producer_id_expiration_ms,
        )
        self._moves.pace.limit(broker.replica_alter_log_dirs_io_max_bytes_per_second)
        await self._executor.run(self._cleaner.reconfigure, cleaner)

    def _bound_connections(self, image: ClusterImage) -> None:
        """How fast they may come, on all listeners and on each."""
        rates = (self._settings.live(image)[0].max_connection_creation_rate, *self._settings.listener_rates(image))
        of_all, *of_each = (0 if rate == INT_MAX else rate for rate in rates)
        self._plane.bound_listeners(
            of_all, of_each, window_ms=self._window.burst_ms, longest_wait_ms=self._window.sample_ms
        )

    def _resize_loops(self, event_loops: int) -> None:
        """Where threads or descriptors are short the broker goes on with the loops that it has."""
        try:
            self._plane.resize(event_loops)
        except OSError as error:
            logger.error("event loops could not be added", wanted=event_loops, error=error)
