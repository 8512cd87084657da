"""The gRPC server: services of pystream.admin.v1, reflection, health.

    server = AdminServer(config)
    address = await server.start()
    await server.stop()

A guest of the cluster: one admin client, one producer, and a consumer for each peek and tail. Which methods there are
is told by the descriptors; each is bound to a declared operation, or to what `OTHERS` holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from pystream.client.admin.client import AdminClient
from pystream.client.cluster.retry import time_limit
from pystream.client.grpc.messages import metrics_pb2, records_pb2
from pystream.client.operations.registry import HOMES, operations_of
from pystream.common.clock import SleepingClock, SystemClock
from pystream.common.errors import PystreamError
from pystream.common.logging import get_logger
from pystream.common.metrics import Registry
from pystream.common.tasks import Supervisor
from pystream.services.admin import reflection
from pystream.services.admin.calls import Calls
from pystream.services.admin.config import AdminServerConfig
from pystream.services.admin.looks import Looks
from pystream.services.admin.metrics import Metrics
from pystream.services.admin.naming import MESSAGES, file_name, method_name, service_name, watch_name
from pystream.services.admin.operations import OperationMethod
from pystream.services.admin.records import Records

if TYPE_CHECKING:
    from pystream.net.http import HttpServer

logger = get_logger(__name__)

WHOLE_SERVER: Final = ""  # its name in grpc.health.v1
LONGEST_LOOK_MS: Final = 2_000
FIRST_LOOK_MS: Final = 1_000  # whoever waits for the server is told first
METADATA_BYTES: Final = 16 << 10
REFUSED_AT_ONCE: Final = 16  # calls of one connection beyond the limit; more of them wait in the client


class AdminServer:
    """One server on one address."""

    def __init__(
        self, config: AdminServerConfig, *, clock: SleepingClock | None = None, registry: Registry | None = None
    ) -> None:
        self.config = config
        self.registry = registry or Registry()
        self.address = ""  # where it listens, once it does
        self.metrics_address = ""  # of /metrics and /health; empty where they are not served
        self._pages: HttpServer | None = None
        self._clock: SleepingClock = clock or SystemClock()
        self._supervisor = Supervisor("admin", self._clock)
        self._health = reflection.Health(_others(config))
        self._healthy: bool | None = None
        self._calls = Calls(
            self.registry,
            self._supervisor,
            self._clock,
            timeout_ms=config.default_api_timeout_ms,
            max_streams=config.max_streams,
        )
        self._looks = Looks(self._clock)
        self._server: Any = None
        self._admin: AdminClient | None = None
        self._records: Records | None = None

    @property
    def failure(self) -> BaseException | None:
        """Why it cannot go on; None while it can."""
        return self._supervisor.failure

    async def start(self) -> str:
        """Listen; gives host:port. The cluster need not be up: calls say so. Raises OSError, InvalidConfig."""
        config = self.config
        settings = {**config.client_settings(), "default.api.timeout.ms": str(config.default_api_timeout_ms)}
        self._admin = AdminClient(settings)
        self._records = Records(self._admin, config, self._clock)
        self._server = grpc.aio.server(options=_options(config), maximum_concurrent_rpcs=config.max_concurrent_calls)
        handlers = dict(self._handlers(self._admin, self._records))
        for service, methods in handlers.items():
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*handlers, health.SERVICE_NAME, *reflection.SERVICE_NAMES)
        reflection.enable((*handlers, health.SERVICE_NAME), self._server, _others(config))
        host, _, port = config.listen.rpartition(":")
        try:
            bound = self._server.add_insecure_port(config.listen)
        except RuntimeError as error:
            await self._close_clients()
            raise OSError(f"cannot listen on {config.listen}: is something else there? ({error})") from error
        await self._server.start()
        self.address = f"{host}:{bound or port}"
        await self._serve_pages()
        await self._look(names, FIRST_LOOK_MS)
        self._supervisor.every("health", config.health_interval_ms, lambda: self._look(names))
        logger.info("grpc listening", address=self.address, cluster=",".join(config.bootstrap_servers))
        return self.address

    async def wait(self, stopping: asyncio.Event) -> None:
        """Return when `stopping` is set or the server has failed."""
        await self._supervisor.failed_or(stopping)

    async def stop(self) -> None:
        """End streams, let calls that run end for `stop.timeout.ms`, take no new ones, close. Harmless when stopped."""
        server, self._server = self._server, None
        if server is not None:
            await self._health.enter_graceful_shutdown()
            self._calls.end_streams()
            await server.stop(self.config.stop_timeout_ms / 1000)
            logger.info("grpc stopped", address=self.address)
        await self._supervisor.stop()
        pages, self._pages = self._pages, None
        if pages is not None:
            await pages.stop()
        await self._close_clients()

    async def _serve_pages(self) -> None:
        """/metrics and /health, where they are wanted; the HTTP kit is imported here. Raises OSError."""
        if not self.config.metrics_listener:
            return
        from pystream.net.http import HttpServer, application, operations_routes

        host, port = self.config.metrics_address()
        routes = operations_routes(self.registry.exposition, lambda: (bool(self._healthy), {"grpc": self.address}))
        self._pages = HttpServer(application(routes), host=host, port=port)
        bound = await self._pages.start()
        self.metrics_address = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"

    async def _close_clients(self) -> None:
        records, self._records = self._records, None
        if records is not None:
            await records.close()
        if self._admin is not None:
            await self._admin.close()

    async def _look(self, names: tuple[str, ...], longest_ms: int = LONGEST_LOOK_MS) -> None:
        """Services are SERVING while the cluster answers: a guest without a host serves nobody."""
        assert self._admin is not None, "started"
        try:
            with time_limit(self._clock, longest_ms):
                await self._admin.describe_cluster()
            healthy = True
        except PystreamError as error:
            healthy = False
            logger.limited("cluster out of reach", error=error)
        if healthy == self._healthy:
            return
        self._healthy = healthy
        serving = health_pb2.HealthCheckResponse.SERVING
        not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
        for name in (WHOLE_SERVER, *names):
            always = name in (health.SERVICE_NAME, *reflection.SERVICE_NAMES)
            await self._health.set(name, serving if healthy or always else not_serving)

    # --- methods ------------------------------------------------------------------------------------------------------

    def _handlers(self, admin: AdminClient, records: Records) -> Iterator[tuple[str, dict[str, Any]]]:
        """Service -> its methods."""
        metrics = Metrics(self.registry, admin, self.config, self._clock)
        works: dict[str, Any] = {
            "PeekRecords": records.peek,
            "TailRecords": records.tail,
            "ProduceRecords": records.produce,
            "ListMetrics": metrics.list_metrics,
        }
        for service in (_service(records_pb2), _service(metrics_pb2)):
            yield service.full_name, {name: self._bound(service, name, works[name]) for name in service.methods_by_name}
        for noun in HOMES:
            service = _service(import_module(f"{MESSAGES}.{file_name(noun)}_pb2"), service_name(noun))
            yield service.full_name, dict(self._operations(noun, service, admin))

    def _operations(self, noun: str, service: Any, admin: AdminClient) -> Iterator[tuple[str, Any]]:
        for operation in operations_of(noun):
            name = method_name(operation)
            response = service.methods_by_name[name].output_type._concrete_class
            method = OperationMethod(operation, response, admin, self.config, self._clock, self._looks)
            yield name, self._bound(service, name, method.answer)
            if watch := watch_name(operation):
                yield watch, self._bound(service, watch, method.watch)

    def _bound(self, service: Any, name: str, work: Any) -> Any:
        described = service.methods_by_name[name]
        request = described.input_type._concrete_class
        full_name = f"{service.name}/{name}"
        if described.server_streaming:
            handler = self._calls.stream(full_name, request, work)
            return grpc.unary_stream_rpc_method_handler(handler, response_serializer=_serialized)
        handler = self._calls.unary(full_name, request, work)
        return grpc.unary_unary_rpc_method_handler(handler, response_serializer=_serialized)


def _service(module: Any, name: str | None = None) -> Any:
    """A service that a module of messages describes; without a name the only one."""
    services = module.DESCRIPTOR.services_by_name
    return next(iter(services.values())) if name is None else services[name]


def _serialized(message: Any) -> bytes:
    """Watches give bytes: one message for all that watch the same."""
    found: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return found


def _others(config: AdminServerConfig) -> int:
    """Streams of health, and of reflection, that leave room for calls."""
    return max(config.max_concurrent_calls // 4, 1)


def _options(config: AdminServerConfig) -> list[tuple[str, Any]]:
    """Limits of one connection, and no sharing of the port with another process."""
    return [
        ("grpc.max_receive_message_length", config.max_request_bytes),
        ("grpc.max_send_message_length", config.max_answer_bytes),
        ("grpc.max_concurrent_streams", config.max_concurrent_calls + REFUSED_AT_ONCE),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.keepalive_time_ms", config.keepalive_time_ms),
        ("grpc.so_reuseport", 0),
    ]
