"""The control plane without sockets and without a data plane: frames go in, frames come out.

The metadata store, the controller, the publisher, the applier, the router and the handlers are the real ones. The plane
and the logs are small stand-ins that keep what they are told, so that a test can look at it.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pystream._native.batch import parse_headers
from pystream._native.wire import Reader
from pystream.broker.applier import ImageApplier
from pystream.broker.config import BrokerConfig
from pystream.broker.context import BrokerContext
from pystream.broker.coordination.coordinators import Coordinators
from pystream.broker.handlers.api_versions import SUPPORTED_FEATURES
from pystream.broker.limits.client_quotas import ClientQuotas, QuotaWindow
from pystream.broker.monitoring.metrics import RequestMetrics
from pystream.broker.monitoring.telemetry import ClientTelemetry
from pystream.broker.registry import Registry
from pystream.broker.router import Router
from pystream.broker.settings_view import SettingsView
from pystream.broker.storage_executor import StorageExecutor
from pystream.common.clock import SystemClock
from pystream.common.config import definition_of
from pystream.common.errors import LogDirNotFound, ReplicaNotAvailable, UnknownTopicOrPartition
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
from pystream.metadata.image import ClusterImage
from pystream.metadata.publisher import ImagePublisher
from pystream.metadata.store.simulated import SimulatedStore
from pystream.protocol.api_keys import TELEMETRY_KEYS
from pystream.protocol.catalogue import response_class
from pystream.protocol.headers import RequestHeader, encode_request, read_response_header
from pystream.protocol.message import Message
from pystream.storage.config import CleanerConfig, LogConfig

NODE_ID = 1
LISTENER = "PLAINTEXT"
CLIENT_ID = "cold-rig"


def encode(request: Message, version: int, correlation_id: int) -> bytes:
    """Header and body, without the length in front."""
    header = RequestHeader(
        api_key=request.API_KEY, api_version=version, correlation_id=correlation_id, client_id=CLIENT_ID
    )
    return encode_request(header, request)


def decode(frame: bytes, request: Message, version: int, correlation_id: int) -> Any:
    """The body of a response frame, whose header is checked and which must end where its message does."""
    reader = Reader(frame)
    assert read_response_header(reader, request.API_KEY, version) == correlation_id
    response = response_class(request.API_KEY).read(reader, version)
    reader.finish()
    return response


class StandInLog:
    """A log of nothing: its end is where the test puts it."""

    def __init__(self) -> None:
        self.start_offset = 0
        self.end_offset = 0
        self.fences: dict[int, int] = {}  # by producer: its epoch

    def producer_epoch(self, producer_id: int) -> int:
        return self.fences.get(producer_id, -1)

    def end_offset_for_epoch(self, leader_epoch: int) -> tuple[int, int]:
        return (0, self.end_offset) if leader_epoch >= 0 else (-1, -1)


@dataclass
class StandInLogs:
    """The part of LogManager that handlers and the applier use."""

    logs: dict[tuple[str, int], Any] = field(default_factory=dict)

    def get(self, topic: str, partition: int) -> Any:
        return self.logs.get((topic, partition))

    def create(self, topic: str, partition: int, topic_id: bytes, config: LogConfig) -> Any:
        log = self.logs.get((topic, partition))
        if log is None:
            log = SimpleNamespace(native=StandInLog(), flusher=None, topic_id=topic_id, config=config)
            log.reconfigure = functools.partial(setattr, log, "config")
            self.logs[topic, partition] = log
        return log

    def sync_directories(self) -> None:
        """Nothing here outlives the process."""

    def delete(self, topic: str, partition: int) -> None:
        self.logs.pop((topic, partition), None)

    def reconfigure(self, topic: str, partition: int, config: LogConfig) -> None:
        self.logs[topic, partition].config = config

    def describe_dirs(self) -> list[Any]:
        names = {TopicPartition(*name): log.native.end_offset for name, log in self.logs.items()}
        return [SimpleNamespace(path="here", is_offline=False, total_bytes=9, usable_bytes=5, partitions=names)]

    def delete_records(self, topic: str, partition: int, offset: int) -> int:
        log = self.logs[topic, partition].native
        log.start_offset = max(log.start_offset, offset)
        return int(log.start_offset)


class StandInMoves:
    """ReplicaMoves of a broker with one log directory, called `here`."""

    def __init__(self, logs: StandInLogs) -> None:
        self._logs = logs

    def request(self, topic: str, partition: int, path: str, *, is_known: bool) -> None:
        if path != "here":
            raise LogDirNotFound(path)
        if self._logs.get(topic, partition) is None:
            raise ReplicaNotAvailable() if is_known else UnknownTopicOrPartition()

    def futures(self) -> list[Any]:
        return []


class StandInQueue:
    """The control queue's answering side; CLOSED instead of an answer when the connection was closed."""

    CLOSED = b""

    def __init__(self) -> None:
        self._answers: dict[int, asyncio.Future[bytes]] = {}

    def expect(self, handle: int) -> asyncio.Future[bytes]:
        return self._answers.setdefault(handle, asyncio.get_running_loop().create_future())

    def answer(self, handle: int, response: bytes, throttle_ms: int = 0) -> None:
        self._answers[handle].set_result(response)

    def close_connection(self, handle: int) -> None:
        self._answers[handle].set_result(self.CLOSED)


@dataclass
class StandInPlane:
    """Remembers which partitions it was told of.

    What is appended is committed in a later turn of the loop, as by group commit, or at once without `commits_late`.
    With `is_short_of_memory` it cannot say which partitions have moved.
    """

    logs: StandInLogs
    commits_late: bool = True
    is_short_of_memory: bool = False
    partitions: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    watched: set[tuple[str, int]] = field(default_factory=set)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)  # of partitions with more to be committed
    moved: dict[tuple[str, int], int] = field(default_factory=dict)
    event_fd: int = field(default_factory=lambda: os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
    quota_rules: list[Any] = field(default_factory=list)
    address_rates: Any = None
    control: Any = field(default_factory=lambda: SimpleNamespace(watch=lambda connection: None))

    def __del__(self) -> None:
        os.close(self.event_fd)

    def set_client_quotas(self, rules: list[Any], window_ms: int, *, longest_time_wait_ms: int) -> None:
        self.quota_rules = rules

    def bound_addresses(self, named: list[Any], *, default_rate: int, window_ms: int, longest_wait_ms: int) -> None:
        self.address_rates = (named, default_rate, window_ms, longest_wait_ms)

    def charge_request(self, client_id: str, microseconds: int, now_ms: int) -> int:
        return 0

    def append(self, topic: str, partition: int, batches: bytes, *, transaction_version: int = 0) -> tuple[int, int]:
        """The records are counted, committed, and forgotten."""
        log = self.logs.logs[topic, partition].native
        base_offset = log.end_offset
        log.end_offset += sum(header.record_count for header in parse_headers(batches))
        if self.commits_late:
            self.committed.setdefault((topic, partition), base_offset)
            asyncio.get_running_loop().call_soon(self._commit, topic, partition)
        return base_offset, log.end_offset

    def _commit(self, topic: str, partition: int) -> None:
        name = (topic, partition)
        if self.committed.pop(name, None) is not None and name in self.watched:
            self.moved[name] = self.partition_state(topic, partition)[1]
            os.eventfd_write(self.event_fd, 1)

    def watch(self, topic: str, partition: int) -> None:
        if (topic, partition) not in self.partitions:
            raise KeyError(topic)
        self.watched.add((topic, partition))

    def unwatch(self, topic: str, partition: int) -> None:
        if (topic, partition) not in self.partitions:
            raise KeyError(topic)
        self.watched.discard((topic, partition))

    def permit_transaction(self, topic: str, partition: int, producer_id: int, producer_epoch: int) -> None:
        if (topic, partition) not in self.partitions:
            raise KeyError(topic)

    def moved_fileno(self) -> int:
        return self.event_fd

    def take_moved(self) -> list[tuple[str, int, int]] | None:
        os.eventfd_read(self.event_fd)
        moved, self.moved = self.moved, {}
        if self.is_short_of_memory:
            return None
        return [(*name, high_watermark) for name, high_watermark in moved.items()]

    def add_partition(self, topic: str, topic_id: bytes, partition: int, log: Any, flusher: Any, **rest: Any) -> None:
        assert (topic, partition) not in self.partitions
        self.partitions[topic, partition] = {"topic_id": topic_id, **rest}

    def set_leadership(self, topic: str, partition: int, **rest: Any) -> None:
        self.partitions[topic, partition].update(rest)

    def remove_partition(self, topic: str, partition: int) -> None:
        del self.partitions[topic, partition]
        self.watched.discard((topic, partition))

    def advance_start_offset(self, topic: str, partition: int) -> None:
        assert (topic, partition) in self.partitions

    def partition_state(self, topic: str, partition: int) -> tuple[int, int, int, int, int]:
        if (topic, partition) not in self.partitions:
            raise KeyError(topic)
        log = self.logs.logs[topic, partition].native
        high_watermark = self.committed.get((topic, partition), log.end_offset)
        return log.start_offset, high_watermark, high_watermark, log.end_offset, 0

    def high_watermark(self, topic: str, partition: int) -> int:
        return self.partition_state(topic, partition)[1]


class ColdRig:
    """Made by `run_cold`."""

    def __init__(self, settings: dict[str, str], *, commits_late: bool = True) -> None:
        self.clock = SystemClock()
        self.config = BrokerConfig.from_settings({"log.dirs": "unused", "node.id": str(NODE_ID), **settings})
        self.queue = StandInQueue()
        self.logs = StandInLogs()
        self.plane = StandInPlane(self.logs, commits_late=commits_late)
        self.executor = StorageExecutor(2)
        self.store = SimulatedStore(self.clock)
        self.metrics = MetricsRegistry()
        self.broker_changes: list[tuple[BrokerConfig, CleanerConfig]] = []
        self._handle = 0

    async def reconfigure_broker(self, image: ClusterImage) -> None:
        """Every part that such a change concerns is a stand-in here."""
        self.broker_changes.append(self.settings.live(image))

    async def start(self, supervisor: Supervisor) -> None:
        publisher = ImagePublisher(self.store, self.clock)
        self.settings = SettingsView(self.config)
        self.applier = ImageApplier(
            node_id=NODE_ID,
            logs=self.logs,
            plane=self.plane,
            executor=self.executor,
            settings=self.settings,
            reconfigure_broker=self.reconfigure_broker,
        )
        publisher.subscribe(self.applier.submit)
        await found_cluster(self.store)
        session = BrokerSession(
            self.store,
            publisher,
            self.clock,
            self.config.controller,
            node_id=NODE_ID,
            endpoints=[Endpoint(LISTENER, "127.0.0.1", 9092)],
        )
        await session.register()
        await publisher.load()
        await self.applier.apply_pending()
        supervisor.start("watch metadata", publisher.run())
        supervisor.start("apply metadata", self.applier.run())
        committer = Committer(self.store, session.fence)
        topics = self._made_topics(publisher, committer)
        self.coordinators = self._made_coordinators(supervisor, topics, committer)
        self.coordinators.start(asyncio.get_running_loop())
        registry = Registry()
        left_out = () if self.config.client_telemetry_enable else TELEMETRY_KEYS
        self.context = BrokerContext(
            config=self.config,
            clock=self.clock,
            settings=self.settings,
            topics=topics,
            configs=self.settings.controller(publisher, committer),
            features=FeatureController(publisher, committer, SUPPORTED_FEATURES),
            scram=ScramController(publisher, committer),
            quotas=QuotaController(publisher, committer),
            client_quotas=self._client_quotas(supervisor),
            producer_ids=self.coordinators.producer_ids,
            publisher=publisher,
            applier=self.applier,
            logs=self.logs,
            moves=StandInMoves(self.logs),
            plane=self.plane,
            executor=self.executor,
            telemetry=self._client_telemetry(),
            coordinators=self.coordinators,
            advertised=tuple(registry.advertised(without=left_out)),
        )
        self.router = self._made_router(registry, supervisor)

    def _made_topics(self, publisher: ImagePublisher, committer: Committer) -> TopicController:
        return TopicController(
            self.store,
            publisher,
            committer,
            definition_of(LogConfig),
            self.config.controller,
            check_topic=self.settings.check_topic,
        )

    def _made_router(self, registry: Registry, supervisor: Supervisor) -> Router:
        return Router(
            queue=self.queue,
            listener_names=[LISTENER],
            context=self.context,
            registry=registry,
            supervisor=supervisor,
            metrics=RequestMetrics(self.metrics),
            clock=self.clock,
        )

    def _client_quotas(self, supervisor: Supervisor) -> ClientQuotas:
        window = QuotaWindow(11, 1)
        quotas = ClientQuotas(self.plane, self.clock, supervisor, window=window, controller_window=window)
        self.applier.on_applied(lambda delta, image: quotas.apply(image) if delta.client_quotas else None)
        return quotas

    def _made_coordinators(self, supervisor: Supervisor, topics: TopicController, committer: Committer) -> Coordinators:
        return Coordinators(
            node_id=NODE_ID,
            config=self.config.coordinator,
            static_layer=self.config.static_layer(),
            clock=self.clock,
            supervisor=supervisor,
            plane=self.plane,
            logs=self.logs,
            executor=self.executor,
            applier=self.applier,
            settings=self.settings,
            topics=topics,
            producer_ids=ProducerIdAllocator(committer),
        )

    def _client_telemetry(self) -> ClientTelemetry:
        telemetry = ClientTelemetry(
            self.clock,
            lambda: self.settings.client_metrics(self.applier.image),
            maximum_bytes=self.config.telemetry_max_bytes,
        )
        self.metrics.collect_from(telemetry.families)
        return telemetry

    async def send(self, frame: bytes) -> bytes:
        """The answer to a frame; StandInQueue.CLOSED when the connection was closed instead."""
        self._handle += 1
        answer = self.queue.expect(self._handle)
        self.router.take(self._handle, 0, frame)
        return await answer

    async def call(self, request: Message, version: int) -> Any:
        """The response to a generated request."""
        correlation_id = 1_000 + self._handle
        return decode(await self.send(encode(request, version, correlation_id)), request, version, correlation_id)


def run_cold(scenario: Any, settings: dict[str, str] | None = None, *, commits_late: bool = True) -> Any:
    """Run `await scenario(rig)` against a started rig and give what it gives."""

    async def run() -> Any:
        rig = ColdRig(settings or {}, commits_late=commits_late)
        async with Supervisor("test", rig.clock) as supervisor:
            await rig.start(supervisor)
            result = await scenario(rig)
            await rig.coordinators.stop()
            assert supervisor.failure is None
        rig.executor.close()
        await rig.store.close()
        return result

    work: Coroutine[Any, Any, Any] = run()
    return asyncio.run(work)
