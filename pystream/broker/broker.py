"""One broker: starts its parts in order, keeps them going, stops them in reverse.

start   logs recovered -> metadata store -> listeners bound -> registered -> image loaded
        -> logs and plane tables made to match -> event loops and router started -> ready
        -> coordinators load their partitions
stop    coordinators answer who waits -> no new connections -> requests in flight answered -> periodic work ended
        -> logs flushed, marked clean -> registration given up -> store closed
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from pystream._native.data_plane import DataPlane
from pystream.broker.applier import ImageApplier
from pystream.broker.config import BrokerConfig, nearest_key
from pystream.broker.context import BrokerContext
from pystream.broker.coordination.coordinators import Coordinators
from pystream.broker.found_logs import adopt, collect_garbage, missing_logs, report_missing, report_strays
from pystream.broker.handlers.api_versions import SUPPORTED_FEATURES
from pystream.broker.limits.client_quotas import ClientQuotas, QuotaWindow
from pystream.broker.limits.live_settings import LiveSettings
from pystream.broker.monitoring.metrics import BrokerMetrics, RequestMetrics, process_metrics
from pystream.broker.monitoring.refused_frames import LOOK_INTERVAL_MS, RefusedFrames
from pystream.broker.monitoring.status_pages import StatusPages
from pystream.broker.monitoring.telemetry import ClientTelemetry
from pystream.broker.registry import Registry
from pystream.broker.router import Router
from pystream.broker.settings_view import SettingsView
from pystream.broker.storage_executor import StorageExecutor
from pystream.common.clock import SECOND_MS, SleepingClock
from pystream.common.config import LONG_MAX, definition_of
from pystream.common.logging import get_logger
from pystream.common.metrics import Registry as MetricsRegistry
from pystream.common.model import Endpoint, TopicPartition
from pystream.common.tasks import Supervisor
from pystream.controller.commit import Committer
from pystream.controller.features import FeatureController
from pystream.controller.producer_ids import ProducerIdAllocator
from pystream.controller.quotas import QuotaController
from pystream.controller.registration import BrokerSession, found_cluster
from pystream.controller.scram import ScramController
from pystream.controller.topics import TopicController
from pystream.metadata.image import ClusterImage, difference
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.store.backups import keep_backups
from pystream.metadata.store.sqlite import SqliteStore
from pystream.protocol.api_keys import TELEMETRY_KEYS
from pystream.storage.cleaner import LogCleaner
from pystream.storage.config import LogConfig
from pystream.storage.disk import DiskState
from pystream.storage.log_manager import LogManager
from pystream.storage.replica_moves import ReplicaMoves
from pystream.storage.scrubber import Scrubber

logger = get_logger(__name__)

METADATA_FILE = "metadata.db"
METRICS_KEY = "metrics.listener"
FLUSH_INTERVAL_MS = SECOND_MS


class Broker:
    """Started once, stopped once. Lives in one asyncio loop, but for the data plane and the storage threads."""

    def __init__(self, config: BrokerConfig, *, clock: SleepingClock) -> None:
        self.config = config
        self.is_ready = False
        self.endpoints: tuple[Endpoint, ...] = ()
        self.metrics = MetricsRegistry()
        self._clock = clock
        self._supervisor = Supervisor("broker", clock)
        self._executor = StorageExecutor(config.num_io_threads)
        self._logs = LogManager(config.storage(), clock)
        self._cleaner = LogCleaner(config.cleaner(), self._logs.partitions, clock)
        self._settings = SettingsView(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._publisher: ImagePublisher | None = None
        self._status_pages = StatusPages(
            exposition=self.metrics.exposition, health=self._health, executor=self._executor
        )
        self._plane: DataPlane | None = None
        self._store: SqliteStore | None = None
        self._session: BrokerSession | None = None
        self._applier: ImageApplier | None = None
        self._router: Router | None = None
        self._coordinators: Coordinators | None = None
        self._moves: ReplicaMoves | None = None

    @property
    def failure(self) -> BaseException | None:
        """What made a part of the broker fail; it stops then."""
        return self._supervisor.failure

    @property
    def _metadata_path(self) -> Path:
        return Path((self.config.log_dirs or ())[0]) / METADATA_FILE

    @property
    def metrics_address(self) -> str:
        """host:port of /metrics and /health; empty when they are not served."""
        return self._status_pages.address

    def addresses(self) -> dict[str, str]:
        """host:port by listener, as clients are told."""
        return {endpoint.listener: str(endpoint).partition("://")[2] for endpoint in self.endpoints}

    async def start(self) -> None:
        """Return once clients can produce and consume. Raises PystreamError or OSError; stop() cleans up after it."""
        began_ms = self._clock.monotonic_ms()
        for name in self.config.unknown_settings():
            hint = {"did_you_mean": near} if (near := nearest_key(name)) else {}
            logger.warning("setting is not known and has no effect", key=name, **hint)
        self._loop = asyncio.get_running_loop()
        await self._executor.run(self._logs.open, self._recovered_config, self._newest_leader_epoch)
        publisher = await self._opened_metadata()
        assert self._store is not None, "opened with the publisher"
        cluster_id = await found_cluster(
            self._store,
            cluster_id=self.config.cluster_id or self._logs.cluster_id,
            min_insync_replicas=self._settings.log_config({}, ClusterImage()).min_insync_replicas,
        )
        await self._executor.run(self._logs.set_cluster_id, cluster_id)
        plane = self._plane = DataPlane(
            node_id=self.config.node_id,
            event_loops=self.config.num_network_threads,
            limits=self.config.plane_limits(),
        )
        self.endpoints = self._bind(plane)
        await self._start_control_plane(self._store, publisher, plane)
        plane.start()
        self.is_ready = True
        await self._serve_status_pages()
        logger.info(
            "broker ready",
            node_id=self.config.node_id,
            cluster_id=cluster_id,
            listeners=",".join(map(str, self.endpoints)),
            metrics=self.metrics_address,
            took_ms=self._clock.monotonic_ms() - began_ms,
        )

    async def wait(self, stopping: asyncio.Event) -> None:
        """Until `stopping` is set or a part has failed."""
        await self._supervisor.failed_or(stopping)

    async def stop(self) -> None:
        """Answer what is in flight, make everything durable, leave the cluster. Also after a start that failed."""
        self.is_ready = False
        began_ms = self._clock.monotonic_ms()
        if self._coordinators is not None:
            await self._coordinators.stop()
        if self._plane is not None:
            drain_ms = self.config.shutdown_drain_ms if self.config.controlled_shutdown_enable else 0
            await self._executor.run(self._plane.stop, drain_ms)
        if self._moves is not None:
            await self._executor.run(self._moves.stop)
        if self._router is not None:
            self._router.stop(asyncio.get_running_loop())
        await self._supervisor.stop()
        await self._status_pages.stop()
        if self._session is not None:
            await self._session.leave()
        await self._executor.run(self._cleaner.stop)
        await self._executor.run(self._logs.close)
        if self._store is not None:
            await self._store.close()
        self._executor.close()
        logger.info("broker stopped", took_ms=self._clock.monotonic_ms() - began_ms)

    def _recovered_config(self, topic: str) -> LogConfig:
        """The settings of a topic whose log is about to be recovered. Called on recovery threads.

        The metadata lies in the first directory, so it is opened only now that the directories are locked.
        """
        image = self._recovered_image()
        found = image.topics.get(topic)
        return self._settings.log_config(found.configs if found is not None else {}, image)

    def _newest_leader_epoch(self, name: TopicPartition, topic_id: bytes) -> int | None:
        """What the controller has given to a partition whose log is to be recovered; None where the log is another's.

        Called on recovery threads.
        """
        found = self._recovered_image().topics_by_id.get(topic_id)
        partition = found.partition(name.partition) if found is not None and found.name == name.topic else None
        return None if partition is None else partition.leader_epoch

    def _recovered_image(self) -> ClusterImage:
        assert self._loop is not None, "set before the logs are opened"
        opened = self._publisher or asyncio.run_coroutine_threadsafe(self._opened_metadata(), self._loop).result()
        return opened.image

    async def _opened_metadata(self) -> ImagePublisher:
        """The publisher, its image loaded; the store is opened on the first call."""
        async with self._opening:
            if self._publisher is None:
                self._store = SqliteStore.open(self._metadata_path, self._clock, self._logs.make_room)
                publisher = ImagePublisher(self._store, self._clock)
                await publisher.load()
                self._publisher = publisher
            return self._publisher

    async def _serve_status_pages(self) -> None:
        """A second broker on a machine finds the default port taken: it does without, unless the port was named."""
        try:
            await self._status_pages.start(self.config.metrics_listener)
        except OSError as error:
            if METRICS_KEY in self.config.settings:
                raise OSError(error.errno, f"{METRICS_KEY}={self.config.metrics_listener}: {error.strerror}") from error
            logger.warning("metrics and health are not served", listener=self.config.metrics_listener, error=error)

    def _bind(self, plane: DataPlane) -> tuple[Endpoint, ...]:
        """Open the listeners; clients connect only once the plane is started."""
        endpoints = []
        for listener in self.config.open_listeners():
            if listener.misleads:
                logger.warning(
                    "clients of other machines are told a loopback address",
                    listener=listener.name,
                    advertised_host=listener.advertised_host,
                    remedy="set advertised.listeners",
                )
            port = plane.listen(listener.bind_host, listener.bind_port)
            told = listener.advertised_port or port
            endpoints.append(Endpoint(listener.name, listener.advertised_host, told, listener.security_protocol))
        return tuple(endpoints)

    def _health(self) -> tuple[bool, dict[str, object]]:
        """Well while it serves. Damaged partitions are told of, but ending the process would help none of them.

        With every log directory offline nothing is served any more, until a start finds one that works.
        """
        state = "failed" if self.failure is not None else "ready" if self.is_ready else "stopping"
        unusable = len(self._applier.unusable) if self._applier is not None else 0
        offline = unusable + sum(log.native.is_offline for log in self._logs.partitions())
        disks = self._logs.disk_states()
        return state == "ready" and disks.count(None) < len(disks), {
            "state": state,
            "offline_partitions": offline,
            "offline_log_dirs": disks.count(None),
            "full_log_dirs": disks.count(DiskState.FULL),
        }

    async def _start_control_plane(self, store: SqliteStore, publisher: ImagePublisher, plane: DataPlane) -> None:
        """Registration, image, tables, router; everything but the plane's own threads."""
        is_new_cluster = not publisher.image.cluster_id  # the image is older than the founding
        moves = self._moves = ReplicaMoves(
            self._logs, plane, self._clock, threads=self.config.replica_alter_log_dirs_threads()
        )
        moves.pace.limit(self.config.replica_alter_log_dirs_io_max_bytes_per_second)
        applier = self._applier = self._make_applier(plane, moves)
        session = self._session = BrokerSession(
            store,
            publisher,
            self._clock,
            self.config.controller,
            node_id=self.config.node_id,
            endpoints=self.endpoints,
            rack=self.config.broker_rack,
        )
        await session.register()
        await publisher.load()
        await self._apply_first_image(applier, publisher)
        committer = Committer(store, session.fence)
        topics = self._made_topics(store, publisher, committer)
        coordinators = self._coordinators = self._made_coordinators(plane, applier, topics, committer)
        registry = Registry()
        context = BrokerContext(
            config=self.config,
            clock=self._clock,
            settings=self._settings,
            topics=topics,
            configs=self._settings.controller(publisher, committer),
            features=FeatureController(publisher, committer, SUPPORTED_FEATURES),
            scram=ScramController(publisher, committer),
            quotas=QuotaController(publisher, committer),
            client_quotas=self._client_quotas(plane, applier),
            producer_ids=coordinators.producer_ids,
            publisher=publisher,
            applier=applier,
            logs=self._logs,
            moves=moves,
            plane=plane,
            executor=self._executor,
            telemetry=self._client_telemetry(applier),
            coordinators=coordinators,
            advertised=tuple(
                registry.advertised(without=() if self.config.client_telemetry_enable else TELEMETRY_KEYS)
            ),
        )
        router = self._router = self._made_router(context, registry, self._collect_metrics(plane, applier))
        self._supervisor.start("watch metadata", publisher.run())
        self._supervisor.start("apply metadata", applier.run())
        self._supervisor.start("heartbeat", session.run())
        self._supervisor.every("tell of refused frames", LOOK_INTERVAL_MS, RefusedFrames(plane.counters).look)
        if is_new_cluster:  # before groups are loaded, which forget their offsets for topics that there are not
            await adopt(topics, self._logs.partitions(), node_id=self.config.node_id)
        report_strays(self._logs.partitions(), await applier.caught_up())
        coordinators.start(asyncio.get_running_loop())
        router.start(asyncio.get_running_loop())
        self._start_log_work(topics)

    async def _apply_first_image(self, applier: ImageApplier, publisher: ImagePublisher) -> None:
        """Logs and tables as the metadata has them, and from now on as it changes."""
        missing = missing_logs(self._logs, publisher.image, node_id=self.config.node_id)
        applier.submit(difference(ClusterImage(), publisher.image), publisher.image)
        publisher.subscribe(applier.submit)
        await applier.apply_pending()
        report_missing(name for name in missing if name not in applier.unusable)

    def _made_router(self, context: BrokerContext, registry: Registry, requests: RequestMetrics) -> Router:
        return Router(
            queue=context.plane.control,
            listener_names=[endpoint.listener for endpoint in self.endpoints],
            context=context,
            registry=registry,
            supervisor=self._supervisor,
            metrics=requests,
            clock=self._clock,
            vouch=context.coordinators.vouch,
        )

    def _made_topics(self, store: SqliteStore, publisher: ImagePublisher, committer: Committer) -> TopicController:
        return TopicController(
            store,
            publisher,
            committer,
            definition_of(LogConfig),
            self.config.controller,
            check_topic=self._settings.check_topic,
        )

    def _made_coordinators(
        self, plane: DataPlane, applier: ImageApplier, topics: TopicController, committer: Committer
    ) -> Coordinators:
        coordinators = Coordinators(
            node_id=self.config.node_id,
            config=self.config.coordinator,
            static_layer=self.config.static_layer(),
            clock=self._clock,
            supervisor=self._supervisor,
            plane=plane,
            logs=self._logs,
            executor=self._executor,
            applier=applier,
            settings=self._settings,
            topics=topics,
            producer_ids=ProducerIdAllocator(committer),
        )
        self.metrics.collect_from(coordinators.families)
        return coordinators

    def _make_applier(self, plane: DataPlane, moves: ReplicaMoves) -> ImageApplier:
        live = LiveSettings(
            settings=self._settings,
            plane=plane,
            logs=self._logs,
            moves=moves,
            cleaner=self._cleaner,
            executor=self._executor,
            window=QuotaWindow(self.config.quota_window_num, self.config.quota_window_size_seconds),
        )
        return ImageApplier(
            node_id=self.config.node_id,
            logs=self._logs,
            plane=plane,
            executor=self._executor,
            settings=self._settings,
            reconfigure_broker=live.apply,
        )

    def _client_quotas(self, plane: DataPlane, applier: ImageApplier) -> ClientQuotas:
        config = self.config
        quotas = ClientQuotas(
            plane,
            self._clock,
            self._supervisor,
            window=QuotaWindow(config.quota_window_num, config.quota_window_size_seconds),
            controller_window=QuotaWindow(
                config.controller_quota_window_num, config.controller_quota_window_size_seconds
            ),
        )
        quotas.apply(applier.image)
        applier.on_applied(lambda delta, image: quotas.apply(image) if delta.client_quotas else None)
        return quotas

    def _client_telemetry(self, applier: ImageApplier) -> ClientTelemetry:
        telemetry = ClientTelemetry(
            self._clock,
            lambda: self._settings.client_metrics(applier.image),
            maximum_bytes=self.config.telemetry_max_bytes,
        )
        self.metrics.collect_from(telemetry.families)
        return telemetry

    def _collect_metrics(self, plane: DataPlane, applier: ImageApplier) -> RequestMetrics:
        requests = RequestMetrics(self.metrics)
        broker_metrics = BrokerMetrics(
            node_id=self.config.node_id, plane=plane, logs=self._logs, applier=applier, requests=requests
        )
        self.metrics.collect_from(broker_metrics.collect)
        self.metrics.collect_from(self._cleaner.families)
        self.metrics.collect_from(process_metrics(time.time(), self._clock.monotonic_ms))
        return requests

    def _start_log_work(self, topics: TopicController) -> None:
        """Flushes and checkpoints, compaction, and retention after its first delay."""
        self._supervisor.start("collect garbage", collect_garbage(topics))
        self._cleaner.start()
        interval_ms = self.config.log_flush_scheduler_interval_ms
        self._supervisor.every(
            "flush logs", FLUSH_INTERVAL_MS if interval_ms == LONG_MAX else interval_ms, self._flush_and_checkpoint
        )
        self._supervisor.start("retention", self._enforce_retention())
        if self._store is not None and self.config.metadata_backup_interval_ms >= 0:
            backups = keep_backups(
                self._store, self._metadata_path, self._clock, interval_ms=self.config.metadata_backup_interval_ms
            )
            self._supervisor.start("back up metadata", backups)
        if self.config.log_scrub_interval_ms >= 0:
            self._supervisor.start("scrub logs", self._scrub())
        self._supervisor.every(
            "expire producers", self.config.producer_id_expiration_check_interval_ms, self._expire_producers
        )

    async def _flush_and_checkpoint(self) -> None:
        """A checkpoint that cannot be written costs recovery time, no data: it is tried again."""
        await self._executor.run(self._logs.flush_dirty, self._clock.now_ms())
        try:
            await self._executor.run(self._logs.checkpoint)
        except OSError as error:
            logger.limited("checkpoints not written", error=error)

    async def _enforce_retention(self) -> None:
        await self._clock.sleep_ms(self.config.log_initial_task_delay_ms)
        while True:
            await self._executor.run(self._logs.enforce_retention, self._clock.now_ms())
            await self._clock.sleep_ms(self.config.log_retention_check_interval_ms)

    async def _scrub(self) -> None:
        scrubber = Scrubber(
            self._logs,
            interval_ms=self.config.log_scrub_interval_ms,
            bytes_per_second=self.config.log_scrub_bytes_per_second,
        )
        self.metrics.collect_from(scrubber.families)
        await self._clock.sleep_ms(self.config.log_initial_task_delay_ms)
        try:
            while True:
                await self._clock.sleep_ms(await self._executor.run(scrubber.step, self._clock.now_ms()))
        finally:
            await self._executor.run(scrubber.save)

    async def _expire_producers(self) -> None:
        await self._executor.run(self._logs.expire_producers, self._clock.now_ms())
