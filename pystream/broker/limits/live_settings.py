"""Puts this broker's own settings in force while it runs; those of topics go through the applier.

    max.connections, max.connections.per.ip                      event loops, for connections to come
    num.io.threads, num.recovery.threads.per.data.dir            thread pools
    producer.id.expiration.ms                                    the next look for forgotten producers
    replica.alter.log.dirs.io.max.bytes.per.second               moves of replicas, those under way too
    log.cleaner.*                                                compaction begins its round again

num.network.threads is no such key here: event loops own their connections, so their number stands from the start.
Source: KIP-226.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystream.common.logging import get_logger

if TYPE_CHECKING:
    from pystream._native.data_plane import DataPlane
    from pystream.broker.settings_view import SettingsView
    from pystream.broker.storage_executor import StorageExecutor
    from pystream.metadata.image import ClusterImage
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
    ) -> None:
        self._settings = settings
        self._plane = plane
        self._logs = logs
        self._moves = moves
        self._cleaner = cleaner
        self._executor = executor

    async def apply(self, image: ClusterImage) -> None:
        """What the image says of this broker is in force when it returns."""
        broker, cleaner = self._settings.live(image)
        limits = broker.plane_limits()
        self._plane.update_limits({name: limits[name] for name in LIVE_LIMITS})
        self._executor.resize(broker.num_io_threads)
        self._logs.update(
            recovery_threads=broker.num_recovery_threads_per_data_dir,
            producer_id_expiration_ms=broker.producer_id_expiration_ms,
        )
        self._moves.pace.limit(broker.replica_alter_log_dirs_io_max_bytes_per_second)
        await self._executor.run(self._cleaner.reconfigure, cleaner)
