"""What every call goes through, in a server of this process and without a cluster: faults, time, cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pystream.client.cluster.retry import allowed_ms
from pystream.client.grpc import connect_aio
from pystream.client.grpc.faces import AioAdmin
from pystream.client.operations.declaration import Answer, Failure, Operation
from pystream.common.clock import SystemClock
from pystream.common.errors import DeadlineExceeded, NonEmptyGroup, PystreamError, UnknownServerError
from pystream.common.logging import event_of
from pystream.services.admin.config import AdminServerConfig
from pystream.services.admin.server import AdminServer

pytestmark = pytest.mark.unsanitized  # a server of a foreign library, with threads of its own

Handler = Callable[..., Awaitable[Answer]]
NOBODY = {"bootstrap.servers": "127.0.0.1:1", "listen": "127.0.0.1:0", "health.interval.ms": "10"}


def served(
    monkeypatch: pytest.MonkeyPatch, handler: Handler, work: Callable[[AioAdmin, AdminServer], Awaitable[None]]
) -> None:
    """Run `work` with a server whose operations are all `handler`."""
    monkeypatch.setattr(Operation, "load", lambda _: handler)

    async def run() -> None:
        server = AdminServer(AdminServerConfig.from_settings({**NOBODY, "stop.timeout.ms": "1000"}))
        address = await server.start()
        try:
            async with connect_aio(address) as admin:
                await work(admin, server)
        finally:
            await server.stop()
            await server.stop()  # harmless

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_fault_of_ours_tells_clients_nothing_and_the_log_everything(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def broken(_: object, **__: object) -> Answer:
        raise ZeroDivisionError("a path that is nobody's business")

    async def work(admin: AioAdmin, server: AdminServer) -> None:
        with pytest.raises(UnknownServerError) as unary:
            await admin.topics.list_topics()
        with pytest.raises(UnknownServerError) as stream:
            await anext(admin.topics.watch_topics())
        assert "business" not in f"{unary.value}{stream.value}"
        assert server.failure is None

    with caplog.at_level(logging.ERROR):
        served(monkeypatch, broken, work)

    assert [event_of(record) for record in caplog.records if record.exc_info] == ["call failed", "stream failed"]


def test_the_callers_deadline_is_the_operations_time(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []

    async def measure(_: object, **__: object) -> Answer:
        seen.append(allowed_ms(SystemClock(), 1_000_000))
        return Answer([])

    async def work(admin: AioAdmin, _: AdminServer) -> None:
        await admin.topics.list_topics(timeout=7)
        await admin.topics.list_topics()

    served(monkeypatch, measure, work)

    assert 4_000 < seen[0] < 7_000
    assert 25_000 < seen[1] <= 30_000


def test_an_operation_that_does_not_look_at_the_time_is_ended(monkeypatch: pytest.MonkeyPatch):
    async def forever(_: object, **__: object) -> Answer:
        return await asyncio.get_running_loop().create_future()

    async def work(admin: AioAdmin, _: AdminServer) -> None:
        with pytest.raises(DeadlineExceeded):
            await admin.topics.list_topics(timeout=0.2)

    served(monkeypatch, forever, work)


@pytest.mark.parametrize("streams", [False, True])
def test_a_call_that_is_cancelled_cancels_its_operation(monkeypatch: pytest.MonkeyPatch, streams: bool):
    async def work(admin: AioAdmin, _: AdminServer) -> None:
        if streams:
            stream = admin.topics.watch_topics()
            await began.wait()
            stream.cancel()
        else:
            call = asyncio.create_task(admin.topics.list_topics())
            await began.wait()
            call.cancel()
        await ended.wait()

    began, ended = asyncio.Event(), asyncio.Event()

    async def operation(_: object, **__: object) -> Answer:
        began.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    served(monkeypatch, operation, work)

    assert ended.is_set()


def test_failures_are_data_and_errors_are_raised(monkeypatch: pytest.MonkeyPatch):
    async def partly(_: object, *, groups: list[str], **__: object) -> Answer:
        if "whole" in groups:
            raise NonEmptyGroup("all of it")
        return Answer([], [Failure("g", NonEmptyGroup("one of them"))])

    async def work(admin: AioAdmin, _: AdminServer) -> None:
        answer = await admin.groups.delete_groups(groups=["g"])
        assert [(each.item, each.error.message) for each in answer.failures] == [("g", "one of them")]
        with pytest.raises(NonEmptyGroup, match="all of it"):
            await admin.groups.delete_groups(groups=["whole"])

    served(monkeypatch, partly, work)


def test_a_server_that_stops_ends_streams_and_takes_no_more_calls(monkeypatch: pytest.MonkeyPatch):
    async def nothing(_: object, **__: object) -> Answer:
        return Answer([])

    async def work(admin: AioAdmin, server: AdminServer) -> None:
        stream: Any = admin.topics.watch_topics()
        await stream.wait_until_begun()
        assert list((await anext(stream)).results) == []
        stopping = asyncio.create_task(server.stop())
        with pytest.raises(PystreamError, match="stopping"):
            await anext(stream)
        await stopping
        with pytest.raises(PystreamError):
            await admin.topics.list_topics(timeout=5)

    served(monkeypatch, nothing, work)


def test_a_server_without_its_cluster_is_not_serving_and_still_answers(monkeypatch: pytest.MonkeyPatch):
    from grpc.aio import insecure_channel
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async def nothing(_: object, **__: object) -> Answer:
        return Answer([])

    async def work(admin: AioAdmin, server: AdminServer) -> None:
        async with insecure_channel(server.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            ours = await health.Check(health_pb2.HealthCheckRequest(service="pystream.admin.v1.TopicService"))
            own = await health.Check(health_pb2.HealthCheckRequest(service="grpc.health.v1.Health"))
        assert ours.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert own.status == health_pb2.HealthCheckResponse.SERVING
        assert list((await admin.topics.list_topics()).results) == []

    served(monkeypatch, nothing, work)
